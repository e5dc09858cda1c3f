# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a dual activation is: the Gaussian expectations that take a kernel through a layer.

These are E[φ(u)φ(v)] and E[φ'(u)φ'(v)] for u, v jointly normal with standard deviations s, t and
the correlation ρ. The recursion over layers takes them normalized, c = E[φ(u)φ(v)]/√(E[φ(u)²]
E[φ(v)²]), as the two gaps 1 − c and 1 + c. What makes gaps small comes in without cancellation as
well: 1 − ρ, 1 + ρ and s − t.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

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
    samples : ndarray (k, n), or None
        What a compiled loop needs of each sample, see `compiled`.
    constants : ndarray, or None
        What it needs beside that, the same for all samples of one call of `Dual.state`.
    """

    deviation: Array
    activation: Array
    derivative: Array
    samples: Array | None = None
    constants: Array | None = None

    def take(self, samples: slice | NDArray[np.intp]) -> State:
        """Return the state of some of the samples."""
        return State(
            self.deviation[samples],
            self.activation[samples],
            self.derivative[samples],
            None if self.samples is None else self.samples[:, samples],
            self.constants,
        )


class Gaps(NamedTuple):
    """Cosines c of pairs, by their distances from both ends.

    Attributes
    ----------
    near, far : ndarray
        1 − c and 1 + c; the smaller one has the digits that c has lost.
    """

    near: Array
    far: Array

    @property
    def cosine(self) -> Array:
        """c, rounded once."""
        return np.where(self.near <= self.far, 1 - self.near, self.far - 1)

    @property
    def sine(self) -> Array:
        """√(1 − c²)."""
        return np.sqrt(self.near * self.far)

    @property
    def angle(self) -> Array:
        """The angle arccos c."""
        return 2 * np.arctan2(np.sqrt(self.near), np.sqrt(self.far))

    @property
    def swapped(self) -> Gaps:
        """The gaps of −c."""
        return Gaps(self.far, self.near)


class Correlation(NamedTuple):
    """Pairs of samples before an activation, all of x (rows) against all of z (columns).

    Attributes
    ----------
    gaps : Gaps
        Their correlation ρ, as 1 − ρ and 1 + ρ.
    difference : ndarray (rows, columns)
        s − t to nearly all digits, however close s and t are: not the difference of these numbers,
        which have been rounded.
    """

    gaps: Gaps
    difference: Array


class Dual(ABC):
    """The dual of one activation."""

    # Why E[φ'(u)²] does not exist, if it does not.
    no_derivative: ClassVar[str | None] = None

    # By how much the gaps that it returns may be off, in absolute terms, beside the relative error
    # ROUNDING; 0 where the smallest ones keep their digits.
    gap_error: float = 0.0

    # The relative error of √E[φ(u)²] and √E[φ'(u)²].
    size_error: float = 2.0**-46

    # Whether `differences` of these keep their digits.
    keeps_differences: bool = False

    # Whether the gaps do not depend on the standard deviations, except for that of zero samples.
    scale_free: bool = False

    # Whether small gaps keep their digits although large ones are differences: see `error_by_size`.
    keeps_digits: ClassVar[bool] = False

    # Whether φ' jumps: the gap of derivatives then grows like the root of that of the samples, and
    # so does its error where two samples are one up to rounding.
    slope_jumps: bool = False

    @abstractmethod
    def state(self, deviation: Array) -> State:
        """Return what pairs will need of samples with these standard deviations.

        Both samples of a pair have to come from one call, or from `State.take` of it.
        """

    @abstractmethod
    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ(u)φ(v)], all samples of x against all of z."""

    @abstractmethod
    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ'(u)φ'(v)], all samples of x against all of z."""

    def both_gaps(
        self, x: State, z: State, pairs: Correlation, *, tangent: bool
    ) -> tuple[Gaps, Gaps | None]:
        """Return `gap` and, where they are wanted and exist, `derivative_gap`."""
        slopes = tangent and self.no_derivative is None
        return self.gap(x, z, pairs), self.derivative_gap(x, z, pairs) if slopes else None

    def differences(self, x: State, z: State, difference: Array) -> tuple[Array, Array]:  # noqa: ARG002
        """Return by how much √E[φ(u)²] and √E[φ'(u)²] of x are above those of z.

        Parameters
        ----------
        x, z : State
            The samples.
        difference : ndarray (rows, columns)
            s − t, see `Correlation`.
        """
        return (
            x.activation[:, np.newaxis] - z.activation,
            x.derivative[:, np.newaxis] - z.derivative,
        )

    def absolute_error(self, x: State, z: State) -> Array:  # noqa: ARG002
        """Return by how much gaps of pairs of some states may be off, beside `ROUNDING`."""
        return np.asarray(self.gap_error)

    def error(self, x: State, z: State, gap: Array) -> Array:
        """Return by how much gaps of this size, 1 − c or 1 + c, may be off."""
        if self.keeps_digits:
            return error_by_size(gap)
        return np.asarray(self.absolute_error(x, z) + ROUNDING * gap)


# The relative error of gaps that keep their digits, after the few operations of one map.
ROUNDING = 2.0**-48

# The relative error of small gaps that are put together from what norms and what angles do to them,
# and the absolute error of the angle of which they are 1 − cos: of the functions of which that of
# the norms is the difference.
DIGITS, CHORD = 2.0**-28, 2.0**-48

# The absolute error of 1 − covariance where the covariance, close to 1, is a sum or a formula of
# some dozen operations.
CANCELLATION = 2.0**-46


def error_by_size(gap: Array | float) -> Array:
    """Return by how much gaps may be off that keep their digits where they are small."""
    return np.asarray(np.minimum(CANCELLATION, DIGITS * gap + CHORD * (np.sqrt(gap) + CHORD)))
