# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Expectations in closed form, and their gaps to the digits of close and of opposite pairs.

For most pairs the gaps 1 − c and 1 + c of a normalized expectation c = E(s, t, ρ)/√(E(s, s, 1)
E(t, t, 1)) are differences from 1. Where one of them is small, and digits would be lost, it is put
together from terms without a sign. For acute angles, ρ ≥ 0,

    1 − c = P + (1 − P) λ,     1 − P = E(s, t, 1)/√(E(s, s, 1) E(t, t, 1)),

    1 − λ = E(s, t, ρ)/E(s, t, 1)

of which P comes of different norms and λ of the angle. For obtuse ones, the even and the odd part
of a function have expectations of their own, which add up to c at |ρ| and subtract at −|ρ|:

    1 ± c(−|ρ|) = (1 − c(|ρ|)) + 2 (that of the even part, or the odd one)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.duals.base import Gaps
from fastntk.infinite.duals.parallel import parallel_gap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.duals.base import Array, Correlation

# Gaps below this are formed without cancellation; above, the difference from 1 keeps 12 digits.
CLOSE = 2.0**-9


class Expectation(ABC):
    """E[f(u)f(v)] of a function, of normal u and v with standard deviations s and t.

    Arguments are arrays whose shapes broadcast.
    """

    @abstractmethod
    def at_parallel(self, s: Array, t: Array) -> Array:
        """Return E(s, t, 1)."""

    @abstractmethod
    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return λ, to the digits of small ones, for acute angles."""

    @abstractmethod
    def parallel(self, s: Array, t: Array, difference: Array) -> Array:
        """Return P, to the digits of small ones, where s − t is the difference."""

    @abstractmethod
    def opposite(self, s: Array, t: Array, rho: Gaps, acute: tuple[Array, Array]) -> Gaps:
        """Return the gaps for obtuse angles.

        Parameters
        ----------
        s, t : ndarray (n,)
            Standard deviations.
        rho : Gaps
            Those of −ρ.
        acute : tuple of ndarray (n,)
            What 1 − c is there, and P.
        """

    def root_mean_square(self, s: Array) -> Array:
        """Return √E[f(u)²]."""
        return np.asarray(np.sqrt(self.at_parallel(s, s)))

    def refine(
        self, result: Gaps, close: NDArray[np.bool_], norms: tuple[Array, Array], pairs: Correlation
    ) -> None:
        """Write gaps of close and of opposite pairs to their own digits.

        Parameters
        ----------
        result : Gaps
            Those of all pairs.
        close : ndarray of bool
            Which of these are small.
        norms : tuple of ndarray (rows,), (columns,)
            Standard deviations.
        pairs : Correlation
            The pairs.
        """
        rows, columns = np.nonzero(close)
        s, t = norms[0][rows], norms[1][columns]
        part = Gaps(*(gap[close] for gap in pairs.gaps))
        found = self._close_gaps(s, t, part, pairs.difference[close])
        for whole, gap in zip(result, found, strict=True):
            whole[close] = gap

    def _close_gaps(self, s: Array, t: Array, rho: Gaps, difference: Array) -> Gaps:
        obtuse = rho.far < rho.near
        acute = Gaps(np.minimum(*rho), np.maximum(*rho))
        lost = self.lost(s, t, acute)
        apart = self._apart(s, t, difference, lost)
        near = apart + (1 - apart) * lost
        far = 2 - near
        if obtuse.any():
            turned = Gaps(acute.near[obtuse], acute.far[obtuse])
            near[obtuse], far[obtuse] = self.opposite(
                s[obtuse], t[obtuse], turned, (near[obtuse], apart[obtuse])
            )
        return Gaps(near, far)

    def _apart(self, s: Array, t: Array, difference: Array, beside: Array) -> Array:  # noqa: ARG002
        """Return P, beside λ."""
        return np.where(difference == 0, 0.0, self.parallel(s, t, difference))


class Even:
    """The gaps of an even function for obtuse angles: those of the acute ones."""

    def opposite(self, s: Array, t: Array, rho: Gaps, acute: tuple[Array, Array]) -> Gaps:  # noqa: ARG002
        """See `Expectation`."""
        return Gaps(acute[0], 2 - acute[0])


class Odd:
    """The gaps of an odd function for obtuse angles: those of the acute ones, exchanged."""

    def opposite(self, s: Array, t: Array, rho: Gaps, acute: tuple[Array, Array]) -> Gaps:  # noqa: ARG002
        """See `Expectation`."""
        return Gaps(2 - acute[0], acute[0])


class InParts(ABC):
    """The gaps for obtuse angles of a function of which even and odd part are known."""

    @abstractmethod
    def parts(self, s: Array, t: Array, rho: Gaps) -> tuple[Array, Array]:
        """Return the expectations of the even and odd parts over E(s, t, 1), for acute angles."""

    def opposite(self, s: Array, t: Array, rho: Gaps, acute: tuple[Array, Array]) -> Gaps:
        """See `Expectation`."""
        near, apart = acute
        even, odd = ((1 - apart) * part for part in self.parts(s, t, rho))
        return Gaps(near + 2 * odd, near + 2 * even)


# P is formed as a difference from 1 where it, or what it is added to, is above this; that is right
# to eight digits.
_SMALL = 2.0**-20

# What is left of P beside λ where the square of the relative difference of the norms is below this
# part of λ.
_NEGLIGIBLE = 2.0**-52


class ByQuadrature(Expectation):
    """An expectation of which P has no formula."""

    @abstractmethod
    def function(self, x: Array) -> Array:
        """Return f(x)."""

    @abstractmethod
    def slope(self, x: Array) -> Array:
        """Return f'(x) for x ≠ 0."""

    def parallel(self, s: Array, t: Array, difference: Array) -> Array:
        """Return P by quadrature."""
        return parallel_gap(self.function, self.slope, s, t, difference)

    def _apart(self, s: Array, t: Array, difference: Array, beside: Array) -> Array:
        norms = self.root_mean_square(s) * self.root_mean_square(t)
        products = self.at_parallel(s, t)
        cosines = np.divide(products, norms, out=np.ones_like(norms), where=norms > 0)
        result: Array = np.maximum(1 - cosines, 0.0)
        most = np.sqrt(_NEGLIGIBLE * np.maximum(beside, 0.0)) * np.minimum(s, t)
        negligible = np.abs(difference) <= most
        small = ~negligible & (result + beside < _SMALL)
        result[negligible] = 0.0
        if small.any():
            result[small] = self.parallel(s[small], t[small], difference[small])
        return result


def either(*losses: Array) -> Array:
    """Return λ of a product from the λ of its factors."""
    result = losses[0]
    for loss in losses[1:]:
        result = result + loss - result * loss
    return result


class Arc:
    """The angle ψ between 1 + u and 1 + v, so to speak: sin ψ = k/√((1 + s²)(1 + t²)).

    k is the covariance of u and v. It grows from ψ to ψ₁ while the angle θ of u and v, which is
    acute, falls to 0.

    Attributes
    ----------
    size : ndarray
        √((1 + s²)(1 + t²)).
    root, parallel_root : ndarray
        size · cos ψ, and that of ψ₁.
    lost_root : ndarray
        1 − cos ψ₁/cos ψ.
    angle, fall : ndarray
        ψ and ψ₁ − ψ.
    sine : ndarray
        s t/size = sin ψ₁.
    """

    def __init__(self, s: Array, t: Array, rho: Gaps) -> None:
        product = s * t
        self.size = np.hypot(1, s) * np.hypot(1, t)
        self.parallel_root = np.hypot(np.hypot(1, s), t)
        across = product * rho.sine
        self.root = np.hypot(self.parallel_root, across)
        self.lost_root = (across / self.root) * (across / (self.root + self.parallel_root))
        self.sine = product / self.size
        self.angle = np.arctan2(product * rho.cosine, self.root)
        turn = self.root * self.lost_root + rho.near * self.parallel_root
        self.fall = np.arctan2(
            self.sine * (turn / self.size),
            (self.root / self.size) * (self.parallel_root / self.size) + self.sine**2 * rho.cosine,
        )


def less_sine(x: Array) -> Array:
    """Return x − sin x for 0 ≤ x ≤ 1."""
    square = x**2
    total = np.zeros_like(x)
    for k in range(9, 0, -1):
        total = (1 - total) * square / (2 * k * (2 * k + 1))
    return x * total


TAU = 2 * math.pi
