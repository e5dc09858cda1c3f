# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The linear system (Θ + λ) a = y of a kernel, and whether rounding leaves it a solution.

Its rows and columns are scaled by powers of two, so that the diagonal is between 1/2 and 2: that
changes no digit of the Cholesky decomposition or of a solution, whose errors are relative to
√(Θ_ii Θ_jj) (Demmel, "On floating point errors in Cholesky", LAPACK Working Note 14, 1989). Samples
of very different norms then do not look as if they made the system singular.

The system is resolved if the least eigenvalue of the scaled matrix is above the noise floor: n ε
λ_max, by which rounding may have moved it, and the error of the kernel itself. Where that is the
rest of a series, it is in the diagonal and missing beside it, and looks like a ridge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.linalg import LinAlgError
from scipy.linalg.lapack import dlange

from fastntk.eigenvalues.noise import Noise
from fastntk.symmetric import lapack

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# A ridge of so many noise floors lets rounding move no eigenvalue by more than its thousandth.
_RIDGE_FLOORS = 1e3

# LAPACK's estimate of ‖A⁻¹‖₁ ≥ 1/λ_min is too small by a factor of 3 at most, as a rule (Higham,
# "Accuracy and Stability of Numerical Algorithms", 15.2). Up to this many floors the eigenvalues
# themselves decide.
_CERTAIN_FLOORS = 10.0

_ROWS_AT_ONCE = 256
_PAIRS_SHOWN = 3

# Unit vectors at a distance below this are called parallel in messages.
_PARALLEL = 1e-7


class KernelSystem:
    """(Θ + λ) a = y for a symmetric positive semidefinite Θ (n, n) and a λ ≥ 0.

    Parameters
    ----------
    kernel : ndarray (n, n)
        Θ.
    ridge : float
        λ.
    error : float
        The error of Θ_ij relative to √(Θ_ii Θ_jj), beside rounding.

    Attributes
    ----------
    resolved : bool
        Whether the system has a solution that rounding does not decide.
    """

    def __init__(self, kernel: Array, ridge: float, error: float) -> None:
        self._kernel, self._ridge, self._error = kernel, ridge, error
        self._diagonal = np.diagonal(kernel) + ridge
        exponents = np.where(self._diagonal > 0, np.frexp(self._diagonal)[1] // 2, 0)
        self._scales = np.ldexp(1.0, -exponents)
        scaled = self._scaled()
        # The largest sum of a column, which λ_max is not above.
        self._norm = float(dlange("1", scaled.T))  # type: ignore[call-arg]
        self._floor = self._noise_floor(self._norm)
        try:
            self._factor = lapack.CholeskyFactor(scaled)
        except LinAlgError:
            self.resolved = False
        else:
            inverse = self._factor.reciprocal_condition(self._norm)
            self.resolved = inverse * self._norm > _CERTAIN_FLOORS * self._floor
            if not self.resolved:
                values, _ = lapack.eigenpairs(self._scaled(), vectors=False, overwrite=True)
                self._floor = self._noise_floor(float(values[-1]))
                self.resolved = bool(values[0] > self._floor)

    def _scaled(self) -> Array:
        matrix = self._kernel * self._scales
        matrix *= self._scales[:, np.newaxis]
        matrix.flat[:: len(matrix) + 1] = self._diagonal * self._scales**2
        return matrix

    def _noise_floor(self, largest: float) -> float:
        error = 2 * self._error  # no entry of the scaled matrix is above 2
        noise = Noise(len(self._scales), np.finfo(np.float64).eps, math.nan, 0.0, error)
        return noise.floor(largest)

    @cached_property
    def sufficient_ridge(self) -> float:
        """A λ with which the system is resolved; 0 where there is no kernel but 0."""
        return _RIDGE_FLOORS * float(self._diagonal.max()) * float(self._noise_floor(self._norm))

    def solve(self, right: Array) -> Array:
        """Return the solution for each column of `right` (n, k) of a resolved system."""
        scales = self._scales[:, np.newaxis]
        return np.asarray(scales * self._factor.solve(scales * right))

    def singular(self, samples: Array) -> LinAlgError:
        """Return the error that says why the system is not resolved, and what would do."""
        reason = _reason(self._kernel, samples, self._floor)
        ways = "solution='least_squares' or a finite time"
        if self.sufficient_ridge > 0:
            ways = f"ridge={self.sufficient_ridge:.2g} or more, ridge='auto', {ways}"
        return LinAlgError(
            f"ridge={self._ridge!r}: the kernel of X is singular to working precision, with a "
            f"smallest eigenvalue that rounding decides: {reason}; expected {ways}"
        )


@dataclass(frozen=True, order=True)
class _Pair:
    gap: float  # 1 − |cos| of the angle between their gradients
    i: int
    j: int


def _reason(kernel: Array, samples: Array, floor: float) -> str:
    zero = np.flatnonzero(np.diagonal(kernel) <= 0)
    if zero.size:
        return f"X[{zero[0]}] has a kernel of 0, as a row of zeros has ({zero.size} such rows)"
    pairs = _closest_pairs(kernel)
    close = [pair for pair in pairs if pair.gap <= floor]
    if close:
        shown = [_relation(samples, pair.i, pair.j) for pair in close[:_PAIRS_SHOWN]]
        more = len(close) - len(shown)
        return ", ".join(shown) + (f", and {more} more such pairs" if more else "")
    closest = ""
    if pairs:
        closest = (
            f" (the closest rows, X[{pairs[0].i}] and X[{pairs[0].j}], have |cos| = 1 - "
            f"{pairs[0].gap:.2g} in it)"
        )
    return "no two rows are the same to it, but together they are dependent" + closest


def _closest_pairs(kernel: Array) -> list[_Pair]:
    """Return for each row but the last its closest one of those after it, closest pairs first."""
    inverse = 1 / np.sqrt(np.diagonal(kernel))
    n = len(kernel)
    pairs = []
    for first in range(0, n - 1, _ROWS_AT_ONCE):
        rows = np.arange(first, min(first + _ROWS_AT_ONCE, n - 1))
        cosines = np.abs(kernel[rows] * inverse * inverse[rows, np.newaxis])
        cosines[np.arange(n) <= rows[:, np.newaxis]] = -1.0
        partners = cosines.argmax(axis=1)
        gaps = np.maximum(1 - cosines[np.arange(len(rows)), partners], 0.0)
        pairs += [
            _Pair(float(gap), int(i), int(j))
            for gap, i, j in zip(gaps, rows, partners, strict=True)
        ]
    return sorted(pairs)


def _relation(samples: Array, i: int, j: int) -> str:
    if np.array_equal(samples[i], samples[j]):
        how = "are equal"
    else:
        x, z = (_unit(samples[k]) for k in (i, j))
        if np.linalg.norm(x - z) < _PARALLEL:
            how = "are parallel or nearly so"
        elif np.linalg.norm(x + z) < _PARALLEL:
            how = "are opposite or nearly so"
        else:
            how = "are the same to it up to rounding"
    return f"X[{i}] and X[{j}] {how}"


def _unit(row: Array) -> Array:
    scaled = row / max(float(np.abs(row).max()), np.finfo(np.float64).tiny)
    return np.asarray(scaled / max(float(np.linalg.norm(scaled)), 1.0))
