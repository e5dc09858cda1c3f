# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a dual activation is: the Gaussian expectations that take a kernel through a layer.

These are E[φ(u)φ(v)] and E[φ'(u)φ'(v)] for u, v jointly normal with standard deviations s, t and
the correlation 1 − gap. The recursion over layers takes them normalized, as gaps:
1 − E[φ(u)φ(v)]/√(E[φ(u)²] E[φ(v)²]).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    Array: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class State:
    """What a dual keeps of single samples before an activation, for all pairs of them.

    Attributes
    ----------
    deviation : ndarray (n,)
        s, the standard deviation of u.
    activation, derivative : ndarray (n,)
        √E[φ(u)²] and √E[φ'(u)²].
    series, derivative_series : ndarray (K, n), or None
        Coefficients in Hermite polynomials of φ(su) and φ'(su), for the duals that need them.
    """

    deviation: Array
    activation: Array
    derivative: Array
    series: Array | None = None
    derivative_series: Array | None = None

    def take(self, samples: slice | NDArray[np.intp]) -> State:
        """Return the state of some of the samples."""
        return State(
            self.deviation[samples],
            self.activation[samples],
            self.derivative[samples],
            None if self.series is None else self.series[:, samples],
            None if self.derivative_series is None else self.derivative_series[:, samples],
        )


class Dual(ABC):
    """The dual of one activation."""

    # Why E[φ'(u)²] does not exist, if it does not.
    no_derivative: ClassVar[str | None] = None

    # By how much the gaps that it returns may be off, in absolute terms; 0 where the smallest ones
    # keep their digits.
    gap_error: float = 0.0

    # Whether φ' jumps: the gap of derivatives then grows like the root of that of the samples, and
    # so does its error where two samples are one up to rounding.
    slope_jumps: bool = False

    @abstractmethod
    def state(self, deviation: Array) -> State:
        """Return what pairs will need of samples with these standard deviations."""

    @abstractmethod
    def gap(self, x: State, z: State, gap: Array) -> Array:
        """Return 1 − the normalized E[φ(u)φ(v)], all samples of x against all of z."""

    @abstractmethod
    def derivative_gap(self, x: State, z: State, gap: Array) -> Array:
        """Return 1 − the normalized E[φ'(u)φ'(v)], all samples of x against all of z."""


# The absolute error of 1 − covariance where the covariance, close to 1, is a sum or a formula of
# some dozen operations.
CANCELLATION = 2.0**-46


class ClosedForm(Dual):
    """A dual with formulas in s, t and gap, arrays of shapes that broadcast."""

    gap_error = CANCELLATION

    @abstractmethod
    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return E[φ(u)φ(v)]."""

    @abstractmethod
    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return E[φ'(u)φ'(v)]."""

    def state(self, deviation: Array) -> State:
        """Return the state of samples, from the formulas at a gap of 0."""
        s, zero = deviation, np.zeros_like(deviation)
        slope = self.derivative_covariance(s, s, zero) if self.no_derivative is None else zero
        return State(s, np.sqrt(self.covariance(s, s, zero)), np.sqrt(slope))

    def gap(self, x: State, z: State, gap: Array) -> Array:
        """Return 1 − the normalized covariance, all samples of x against all of z."""
        s, t = x.deviation[:, np.newaxis], z.deviation
        return normalized_gap(self.covariance(s, t, gap), x.activation, z.activation)

    def derivative_gap(self, x: State, z: State, gap: Array) -> Array:
        """Return 1 − the normalized covariance of slopes, all samples of x against all of z."""
        s, t = x.deviation[:, np.newaxis], z.deviation
        return normalized_gap(self.derivative_covariance(s, t, gap), x.derivative, z.derivative)


def normalized_gap(covariance: Array, rows: Array, columns: Array) -> Array:
    """Return 1 − covariance / (rows · columns), within its bounds; 1 where it is 0/0."""
    with np.errstate(divide="ignore"):
        inverse_rows = np.where(rows > 0, 1 / rows, 0.0)
        inverse_columns = np.where(columns > 0, 1 / columns, 0.0)
    cosine = covariance * inverse_rows[:, np.newaxis] * inverse_columns
    return np.clip(1 - cosine, 0.0, 2.0)
