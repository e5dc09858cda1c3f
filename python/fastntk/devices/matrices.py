# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Matrices that come from outside, checked and converted to floats, in one place.

Each error names the argument, what it is and what was expected. What passed is not checked again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.dtypes import FLOAT_DTYPES, SMALLEST_NORMAL
from fastntk._support.memory import require_memory
from fastntk.devices import gpu_arrays

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike

    from fastntk._support.dtypes import FloatArray, FloatDType


# The kinds of NumPy's types of real numbers: truth values, integers and floats.
_REAL = "biuf"


def host_array(values: Any, name: str) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """Return `values` as an array of NumPy in the byte order of this machine, of any type.

    What NumPy would convert by dropping something, or not at all, is refused: the mask of a masked
    array, missing values, sparse matrices, rows of different lengths, tensors that cannot be
    exported, and what lies in the memory of a GPU. Tables of pandas become numbers if all of their
    columns are numbers or truth values, nullable types included.
    """
    if type(values) is np.ndarray:  # as a rule: nothing else is to be asked
        return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))
    # A packed kernel; tensors, which have this method too, are arrays.
    if hasattr(type(values), "to_dense") and not hasattr(values, "__dlpack__"):
        raise TypeError(
            f"{name} is a {type(values).__qualname__}: expected an array; hand over "
            f"{name}.to_dense()"
        )
    if values is None or isinstance(values, (str, bytes, bytearray)):
        raise TypeError(f"{name}={arguments.shown(values)}: expected an array of numbers")
    if gpu_arrays.on_gpu(values):
        gpu_arrays.refuse(values, name)
    if hasattr(values, "toarray") and hasattr(values, "nnz"):
        raise TypeError(
            f"{name} is a sparse {type(values).__qualname__}: expected a dense array; hand over "
            f"{name}.toarray()"
        )
    array = _table_of_numbers(values, name) if _is_table(values) else _converted(values, name)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _converted(values: Any, name: str) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    try:
        if isinstance(values, range):
            require_memory(8 * len(values), name, "take fewer")
        if isinstance(values, (list, tuple)) and _holds_masked(values):
            array: Any = np.ma.array(values)
        elif hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
            array = np.from_dlpack(values)
        else:
            array = np.asanyarray(values)
    except Exception as error:  # of an object of somebody's own, any error
        given = type(values).__qualname__
        if isinstance(error, MemoryError):
            raise MemoryError(
                f"{name} is a {given} that does not fit in the memory that is available: take "
                "fewer of its items"
            ) from error
        if hasattr(values, "detach"):
            raise TypeError(
                f"{name} is a {given} that cannot become an array ({error}): hand over "
                f"{name}.detach().cpu(), of a type of NumPy (not bfloat16: {name}.float())"
            ) from error
        if isinstance(values, (list, tuple)):
            raise ValueError(
                f"{name} is a {given} whose items do not make up an array: expected numbers, in "
                f"rows of the same length ({error})"
            ) from error
        raise TypeError(
            f"{name} is a {given} that cannot become an array: expected numbers ({error})"
        ) from error
    if isinstance(array, np.ma.MaskedArray):
        _require_unmasked(array, name)
    return np.asarray(array)


def _holds_masked(items: Any) -> bool:
    return any(isinstance(item, np.ma.MaskedArray) for item in items)


def _require_unmasked(values: Any, name: str) -> None:
    """Raise ValueError with the first masked element: its number must not be computed with."""
    mask = np.ma.getmaskarray(values)
    if mask.dtype.names is None and mask.any():
        raise ValueError(
            f"{_element(name, np.argwhere(mask)[0])} is masked: expected numbers only "
            f"({np.count_nonzero(mask)} of {mask.size} are masked; leave their samples out, or "
            f"fill them in with {name}.filled(…))"
        )


def _element(name: str, index: Any) -> str:
    return f"{name}[{', '.join(str(int(k)) for k in index)}]" if len(index) else name


# Tables of pandas. They are told by what they offer, so that pandas need not be imported.


def _is_table(values: Any) -> bool:
    return hasattr(values, "isna") and hasattr(values, "to_numpy") and hasattr(values, "ndim")


def _column_types(values: Any) -> list[Any]:
    return list(values.dtypes) if values.ndim == 2 else [values.dtype]


def _table_of_numbers(values: Any, name: str) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """Return a table, or column, as an array of the smallest type that holds its columns' numbers.

    Raises
    ------
    TypeError
        If a column is of something else than numbers or truth values.
    ValueError
        If a value is missing.
    """
    labels = list(values.columns) if values.ndim == 2 else [getattr(values, "name", None)]
    types = []
    for label, dtype in zip(labels, _column_types(values), strict=True):
        numbers = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))
        if not isinstance(numbers, np.dtype) or numbers.kind not in "biufc":
            raise TypeError(
                f"{name} has the column {label!r} of dtype {dtype}: expected columns of numbers"
            )
        types.append(numbers)
    missing = np.asarray(values.isna())
    if missing.any():
        index = np.argwhere(missing)[0]
        label = labels[int(index[1]) if len(index) == 2 else 0]
        raise ValueError(
            f"{_element(name, index)} is missing (column {label!r}): expected numbers only "
            f"({np.count_nonzero(missing)} of {missing.size} are missing)"
        )
    dtype = np.result_type(*types) if types else np.dtype(np.float64)
    return np.asarray(values.to_numpy(dtype=dtype))


def matrix(
    values: ArrayLike, name: str, dtype: FloatDType | None = None, *, given: Any = None
) -> FloatArray:
    """Return a finite, non-empty, C-contiguous matrix of floats; convert what can be converted.

    Without `dtype`, float32 stays float32 and everything else becomes float64. `given` is the array
    that the user gave, where `values` are it in another shape: errors have its indices.
    """
    array = real_matrix(values, name)
    result = as_floats(array, name, dtype)
    require_finite(result, name, array if given is None else given)
    _require_digits(result, name, array)
    return result


def _require_digits(floats: FloatArray, name: str, given: Any) -> None:
    """Raise ValueError if numbers of a wider type are all too small for this one, and not 0."""
    if given.dtype.kind != "f" or given.dtype.itemsize <= floats.dtype.itemsize:
        return
    # The first row says as a rule that something is left, and then all need not be read.
    least = SMALLEST_NORMAL[floats.dtype]
    if any(max(rows.max(), -rows.min()) >= least for rows in (floats[:1], floats)):
        return
    if given.any():
        raise ValueError(
            f"{name} with elements of at most {float(np.abs(given).max()):.3g}: expected larger "
            f"ones, as {floats.dtype} has none below {least:.2g} with all digits"
        )


def require_real_matrix(array: Any, name: str) -> None:
    """Raise TypeError or ValueError if an array, of NumPy or CuPy, is no matrix of real numbers."""
    if array.ndim == 2 and array.size > 0 and array.dtype.kind in _REAL:
        return  # as a rule: nothing else is to be asked
    require_real(array, name)
    if array.ndim != 2:
        raise ValueError(
            f"{name} has shape {array.shape}: expected a matrix, one sample a row"
            f"{_as_a_matrix(array.shape, name)}"
        )
    raise ValueError(f"{name} has shape {array.shape}: expected at least one row and column")


def _as_a_matrix(shape: tuple[int, ...], name: str) -> str:
    """Return how an array of some shape other than a matrix's is made one, if there is a way."""
    name = name.rpartition(" ")[2]  # of an array of a file, without what that is called
    if len(shape) == 1:
        return f"; {name}.reshape(1, -1) is a single row, {name}.reshape(-1, 1) a single column"
    if len(shape) == 4 and shape[0] == shape[1] and shape[2] == shape[3]:
        rows = shape[0] * shape[2]
        return (
            f"; a kernel of all pairs of outputs becomes one by "
            f"{name}.transpose(0, 2, 1, 3).reshape({rows}, {rows})"
        )
    if len(shape) > 2:
        columns = math.prod(shape[1:])
        return f"; {name}.reshape({shape[0]}, {columns}) is one row for each of {shape[0]} samples"
    return ""


def require_real(array: Any, name: str) -> None:
    """Raise TypeError if an array, of NumPy or CuPy, is not of integers, truth values or floats."""
    if array.dtype.kind not in _REAL:
        raise TypeError(f"{name} has dtype {array.dtype}: expected real numbers")


def operand(values: Any, name: str) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """Return what a linear operator multiplies: an array of real or complex numbers.

    NaN and infinities are allowed: a product with them has them too, as with `numpy.matmul`.
    """
    array = host_array(values, name)
    require_numbers(array, name)
    if array.dtype.char in "gG":  # long doubles, which no product is taken of
        with np.errstate(over="ignore"):
            rounded = array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)
        if (np.isinf(rounded) & np.isfinite(array)).any():
            raise ValueError(f"{name} has numbers beyond the range of float64: expected none")
        return rounded
    return array


def require_numbers(array: Any, name: str) -> None:
    """Raise TypeError if an array, of NumPy or CuPy, is not of real or complex numbers."""
    if array.dtype.kind not in "biufc":
        raise TypeError(f"{name} has dtype {array.dtype}: expected real or complex numbers")


def of_parts(product: Callable[[Any], Any], vectors: Any, xp: Any = np) -> Any:
    """Return a real linear map of vectors (n,) or (n, k) of the module `xp`, complex ones too.

    The real and the imaginary parts of complex vectors are the columns of one real product.
    """
    if vectors.dtype.kind != "c":
        return product(vectors)
    columns = vectors.reshape(len(vectors), -1)
    both = product(xp.concatenate([columns.real, columns.imag], axis=1))
    half = columns.shape[1]
    return (both[:, :half] + 1j * both[:, half:]).reshape(vectors.shape)


def require_square(array: Any, name: str) -> None:
    """Raise ValueError if a matrix, of NumPy or CuPy, is not square."""
    if array.shape[0] != array.shape[1]:
        raise ValueError(f"{name} has shape {array.shape}: expected a square matrix")


def real_matrix(values: ArrayLike, name: str) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """Return a non-empty matrix of real numbers as an array of NumPy, in the type that it has."""
    array = host_array(values, name)
    require_real_matrix(array, name)
    return array


def as_floats(
    array: np.ndarray[Any, np.dtype[Any]], name: str, dtype: FloatDType | None = None
) -> FloatArray:
    """Return a C-contiguous array of floats, finite or not; see `matrix` for the type.

    It is aligned, too, as those that come out of a file or from another process need not be: loops
    have other bits where they are not.

    Raises
    ------
    MemoryError
        If a copy is needed and does not fit: views of few numbers may have any shape.
    """
    if dtype is None:
        dtype = array.dtype if array.dtype in FLOAT_DTYPES else np.dtype(np.float64)
    flags, right_type = array.flags, type(array) is np.ndarray and dtype == array.dtype
    if right_type and flags.c_contiguous and flags.aligned:
        return array
    require_memory(
        array.size * dtype.itemsize,
        f"{name} of shape {array.shape}, as an array of {dtype},",
        "take fewer of them",
    )
    with np.errstate(over="ignore"):  # what overflows is found by `require_finite`
        return np.require(np.asarray(array), dtype, ("C", "A"))


def require_finite(floats: FloatArray, name: str, given: Any = None) -> None:
    """Raise ValueError with the first element that is not finite, as it was given if that is known.

    `given` is the array from which `floats` was converted, of the same or of another shape.
    """
    finite = np.isfinite(floats)
    count = np.count_nonzero(finite)  # which takes half of the time that `all` does of a few
    if count != finite.size:
        source = floats if given is None else given
        with np.errstate(over="ignore"):
            bad = ~np.isfinite(source.astype(floats.dtype, copy=False))
        index = tuple(np.argwhere(bad)[0])
        raise ValueError(
            f"{_element(name, index)}={arguments.shown(source[index])}: expected numbers that are "
            f"finite in {floats.dtype} ({finite.size - count} of {finite.size} are not)"
        )


def samples(
    values: ArrayLike,
    name: str,
    dtype: FloatDType | None = None,
    *,
    columns: int | None = None,
    why: str = "one for each input",
) -> FloatArray:
    """Return a matrix of samples, one a row, with the given number of columns."""
    result = matrix(values, name, dtype)
    require_columns(result.shape, name, columns, why)
    return result


def require_columns(
    shape: tuple[int, ...], name: str, columns: int | None, why: str = "one for each input"
) -> None:
    """Raise ValueError if samples do not have so many columns."""
    if columns is not None and shape[1] != columns:
        raise ValueError(f"{name} has shape {shape}: expected {columns} columns, {why}")
