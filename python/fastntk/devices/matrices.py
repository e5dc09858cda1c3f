# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Matrices that come from outside, checked and converted to floats, in one place.

Each error names the argument, what it is and what was expected. What passed is not checked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dtypes import FLOAT_DTYPES
from fastntk.devices import gpu_arrays

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastntk._support.dtypes import FloatArray, FloatDType


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
    given = real_matrix(values, name)
    result = as_floats(given, dtype)
    require_finite(result, name, given)
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


def real_matrix(values: ArrayLike, name: str) -> np.ndarray[tuple[int, ...], np.dtype[Any]]:
    """Return a non-empty matrix of real numbers as an array of NumPy, in the type that it has."""
    array = host_array(values, name)
    require_real_matrix(array, name)
    return array


def as_floats(array: np.ndarray[Any, np.dtype[Any]], dtype: FloatDType | None = None) -> FloatArray:
    """Return a C-contiguous array of floats, finite or not; see `matrix` for the type."""
    if dtype is None:
        dtype = array.dtype if array.dtype in FLOAT_DTYPES else np.dtype(np.float64)
    with np.errstate(over="ignore"):  # what overflows is found by `require_finite`
        return np.ascontiguousarray(array, dtype=dtype)


def require_finite(floats: FloatArray, name: str, given: Any = None) -> None:
    """Raise ValueError with the first element that is not finite, as it was given if that is known.

    `given` is the matrix from which `floats` was converted.
    """
    finite = np.isfinite(floats)
    if not finite.all():
        i, j = (int(k) for k in np.argwhere(~finite)[0])
        value = (floats if given is None else given)[i, j]
        raise ValueError(
            f"{name}[{i}, {j}]={value!r}: expected numbers that are finite in {floats.dtype} "
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
