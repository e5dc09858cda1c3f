# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Checks of arguments: each error names the argument, its value and what was expected."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk._support.dtypes import FLOAT_DTYPES
from fastntk._support.threads import core_threads
from fastntk.devices import gpu_arrays

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastntk._support.dtypes import FloatArray, FloatDType


# By so many roundings of its largest element a kernel may differ from its mirror image.
SYMMETRY_ROUNDINGS = 16

# Rows that are compared at a time to find the place of an error.
_ROWS = 256


def host_array(values: Any, name: str) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """Return `values` as an array of NumPy; refuse what lies in the memory of a GPU."""
    if gpu_arrays.on_gpu(values):
        gpu_arrays.refuse(values, name)
    if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
        return np.from_dlpack(values)
    return np.asarray(values)


def matrix(values: ArrayLike, name: str, dtype: FloatDType | None = None) -> FloatArray:
    """Return a finite, non-empty, C-contiguous matrix of floats; convert what can be converted.

    Without `dtype`, float32 stays float32 and everything else becomes float64.
    """
    array, result = _floats(values, name, dtype)
    require_finite(result, name, array)
    return result


def require_real_matrix(array: Any, name: str) -> None:
    """Raise TypeError or ValueError if an array, of NumPy or CuPy, is no matrix of real numbers."""
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}: expected real numbers")
    if array.ndim != 2:
        raise ValueError(f"{name} has shape {array.shape}: expected a matrix, one sample a row")
    if 0 in array.shape:
        raise ValueError(f"{name} has shape {array.shape}: expected at least one row and column")


def require_square(array: Any, name: str) -> None:
    """Raise ValueError if a matrix, of NumPy or CuPy, is not square."""
    if array.shape[0] != array.shape[1]:
        raise ValueError(f"{name} has shape {array.shape}: expected a square matrix")


def _floats(
    values: ArrayLike, name: str, dtype: FloatDType | None
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[Any]], FloatArray]:
    """Return the values as they were given, and as a matrix of floats, finite or not."""
    array = host_array(values, name)
    require_real_matrix(array, name)
    if dtype is None:
        dtype = array.dtype if array.dtype in FLOAT_DTYPES else np.dtype(np.float64)
    with np.errstate(over="ignore"):  # what overflows is reported
        return array, np.ascontiguousarray(array, dtype=dtype)


def require_finite(matrix: FloatArray, name: str, given: Any = None) -> None:
    """Raise ValueError with the first element that is not, as it was before it was converted."""
    finite = np.isfinite(matrix)
    if not finite.all():
        i, j = (int(k) for k in np.argwhere(~finite)[0])
        value = (matrix if given is None else given)[i, j]
        raise ValueError(
            f"{name}[{i}, {j}]={value!r}: expected numbers that are finite in {matrix.dtype} "
            f"({finite.size - np.count_nonzero(finite)} of {finite.size} are not)"
        )


def samples(
    values: ArrayLike, name: str, dtype: FloatDType | None = None, *, columns: int | None = None
) -> FloatArray:
    """Return a matrix of samples, one a row, with the given number of columns."""
    result = matrix(values, name, dtype)
    require_columns(result.shape, name, columns)
    return result


def require_columns(shape: tuple[int, ...], name: str, columns: int | None) -> None:
    """Raise ValueError if samples do not have one column for each input."""
    if columns is not None and shape[1] != columns:
        raise ValueError(
            f"{name} has shape {shape}: expected {columns} columns, one for each input"
        )


def symmetric_matrix(values: ArrayLike, name: str) -> FloatArray:
    """Return a square matrix that is symmetric up to rounding."""
    return symmetric_matrix_and_norm(values, name)[0]


def symmetric_matrix_and_norm(values: ArrayLike, name: str) -> tuple[FloatArray, float]:
    """Return a square matrix that is symmetric up to rounding, and its Frobenius norm.

    The norm is inf where the squares overflow.
    """
    array, result = _floats(values, name, None)
    require_square(result, name)
    with core_threads() as threads:
        difference, squares = _core.symmetry(result, threads, None)
    if not math.isfinite(squares):
        require_finite(result, name, array)
    if difference > 0 and difference > SYMMETRY_ROUNDINGS * np.finfo(result.dtype).eps * _largest(
        result
    ):
        raise _not_symmetric(result, name, difference)
    # Of inf the weight 0 makes NaN.
    return result, math.sqrt(squares) if math.isfinite(squares) else math.inf


def _largest(array: FloatArray) -> float:
    return max(abs(float(array.max())), abs(float(array.min())))


def _not_symmetric(square: FloatArray, name: str, difference: float) -> ValueError:
    """Return the error that names the elements that differ by so much."""
    rows = range(0, len(square), _ROWS)
    strips = (np.abs(square[i : i + _ROWS] - square[:, i : i + _ROWS].T) for i in rows)
    i, j = next(
        (start + int(at[0]), int(at[1]))
        for start, strip in zip(rows, strips, strict=True)
        for at in np.argwhere(strip == difference)
    )
    return ValueError(
        f"{name} is not symmetric: {name}[{i}, {j}]={square[i, j]!r} but "
        f"{name}[{j}, {i}]={square[j, i]!r}"
    )
