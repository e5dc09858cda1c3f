# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A full symmetric matrix that need not be looked at again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk._support.dtypes import epsilon_of
from fastntk._support.threads import core_threads
from fastntk.devices import matrices

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType

# By so many roundings of its largest element a matrix may differ from its mirror image.
SYMMETRY_ROUNDINGS = 16

# Rows that are compared at a time to find the place of an error.
_ROWS = 256


class SymmetricMatrix:
    """A symmetric matrix (n, n) of floats: checked once, or made here and never checked.

    Looking for elements that differ from their mirror images, or that are not finite, reads all of
    the matrix; an object of this class says that it is done. Whoever takes a matrix from outside
    calls `of`, whoever formed one calls `made`, and both hand the result on. It can stand wherever
    an array can. What overflowed when a matrix was formed is found when its norm is asked for.

    Attributes
    ----------
    array : ndarray (n, n)
        float32 or float64, C-contiguous; not to be written.
    epsilon : float
        The distance from 1 to the next number, in the precision that the elements came in: that of
        float16 for a matrix of float16, which is worked on in float64.
    """

    __slots__ = ("_name", "_norm", "array", "epsilon")

    def __init__(self, array: FloatArray, name: str, norm: float | None, epsilon: float) -> None:
        self.array = array
        self.epsilon = epsilon
        self._name = name
        self._norm = norm

    @classmethod
    def of(cls, values: npt.ArrayLike, name: str) -> SymmetricMatrix:
        """Return a matrix from outside, which has to be symmetric up to rounding, and finite.

        A SymmetricMatrix is returned as it is.

        Raises
        ------
        ValueError, TypeError
            With the name of the argument, and the first element that is not as it should be.
        """
        if isinstance(values, cls):
            return values
        given = matrices.real_matrix(values, name)
        array = matrices.as_floats(given, name)
        matrices.require_square(array, name)
        difference, norm = _asymmetry_and_norm(array)
        if not math.isfinite(norm):
            matrices.require_finite(array, name, given)
        epsilon = epsilon_of(given.dtype)
        if difference > 0 and difference > SYMMETRY_ROUNDINGS * epsilon * _largest(array):
            raise _not_symmetric(array, name, difference)
        # Finite elements whose squares overflow have the norm inf, and not NaN.
        return cls(array, name, norm if math.isfinite(norm) else math.inf, epsilon)

    @classmethod
    def made(
        cls, array: FloatArray, name: str = "K", *, epsilon: float | None = None
    ) -> SymmetricMatrix:
        """Return a matrix that this library formed, and that is symmetric for that reason.

        Its `epsilon` is that of the array, unless it is made of one that came in less precision.
        """
        return cls(array, name, None, epsilon_of(array.dtype) if epsilon is None else epsilon)

    @property
    def n(self) -> int:
        """The number of rows."""
        return len(self.array)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns, (n, n)."""
        return (self.n, self.n)

    @property
    def dtype(self) -> FloatDType:
        """The precision of the elements, float32 or float64."""
        dtype: FloatDType = self.array.dtype
        return dtype

    @property
    def frobenius_norm(self) -> float:
        """√(Σ_ij K_ij²), in float64; inf where the squares overflow.

        It comes from the reading that checked the matrix, or from a first one now.

        Raises
        ------
        ValueError
            If an element is not finite, because what formed the matrix overflowed.
        """
        if self._norm is None:
            _, norm = _asymmetry_and_norm(self.array)
            if not math.isfinite(norm):
                matrices.require_finite(self.array, self._name)
                norm = math.inf
            self._norm = norm
        return self._norm

    def submatrix(self, indices: npt.NDArray[np.integer[Any]]) -> FloatArray:
        """Return the rows and columns of these indices, as an array."""
        part: FloatArray = self.array[np.ix_(indices, indices)]
        return part

    def __array__(
        self, dtype: npt.DTypeLike | None = None, copy: bool | None = None
    ) -> npt.NDArray[Any]:
        result: npt.NDArray[Any] = np.array(self.array, dtype=dtype, copy=copy)
        return result


def _asymmetry_and_norm(array: FloatArray) -> tuple[float, float]:
    """Return the largest difference of an element to its mirror image, and the Frobenius norm.

    One reading of the matrix finds both. The norm is not finite if an element is not, or if the
    squares overflow.
    """
    with core_threads() as threads:
        difference, squares = _core.symmetry(array, threads, None)
    return difference, math.sqrt(squares)


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
        f"{name} is not symmetric: {name}[{i}, {j}]={square[i, j]} but "
        f"{name}[{j}, {i}]={square[j, i]}"
    )
