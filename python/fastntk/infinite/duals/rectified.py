# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Powers on the positive side of 0.

Cho and Saul, "Kernel methods for deep learning", NeurIPS 2009.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.duals.base import CANCELLATION, Dual, Gaps, State, gaps_from_near
from fastntk.infinite.duals.expectation import CLOSE

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Correlation


class RectifiedMonomial(Dual):
    """The dual of φ(x) = max(x, 0)^degree, whose gaps are free of scale."""

    gap_error = CANCELLATION
    keeps_digits = True
    scale_free = True

    def __init__(self, degree: int) -> None:
        self.degree = degree
        self.slope_jumps = degree == 1

    def state(self, deviation: Array) -> State:
        """Return the state of samples, by homogeneity."""
        slope = self.degree * deviation ** (self.degree - 1)
        return State(
            deviation,
            deviation**self.degree * math.sqrt(_parallel_moment(self.degree)),
            slope * math.sqrt(_parallel_moment(self.degree - 1)),
        )

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ(u)φ(v)], and 1 for zero samples."""
        return _gaps(self.degree, pairs.gaps, x.activation, z.activation)

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the same for φ', degree times the rectified monomial one below."""
        return _gaps(self.degree - 1, pairs.gaps, x.derivative, z.derivative)


def _gaps(p: int, rho: Gaps, rows: Array, columns: Array) -> Gaps:
    near = 1 - _rectified_moment(p, rho) / _parallel_moment(p)
    near[rho.near == 0] = 0.0
    close = (near < CLOSE) & (rho.near > 0)
    if close.any():
        near[close] = _lost(p, Gaps(*(gap[close] for gap in rho)))
    zero = (rows == 0)[:, np.newaxis] | (columns == 0)
    return gaps_from_near(np.where(zero, 1.0, near))


# Nodes on [0, 1] for an entire function of an angle so small that the expectation is close to 1.
_ANGLES, _ANGLE_WEIGHTS = (
    (points + 1) / 2 if k == 0 else points / 2
    for k, points in enumerate(np.polynomial.legendre.leggauss(10))
)


def _lost(p: int, rho: Gaps) -> Array:
    """Return 1 − M(p, p) over itself at ρ = 1, to the digits of small ones.

    The derivative of M(p, p) by ρ is p² M(p − 1, p − 1) (Price's theorem).
    """
    if p == 0:
        return np.asarray(rho.angle / math.pi)
    total = np.zeros_like(rho.near)
    for node, weight in zip(_ANGLES, _ANGLE_WEIGHTS, strict=True):
        half = node * rho.angle / 2
        gaps = Gaps(2 * np.sin(half) ** 2, 2 * np.cos(half) ** 2)
        total += weight * gaps.sine * _rectified_moment(p - 1, gaps)
    return total * rho.angle * (p**2 / _parallel_moment(p))


@cache
def _parallel_moment(p: int) -> float:
    return float(_rectified_moment(p, Gaps(np.zeros(()), np.full((), 2.0))))


def _rectified_moment(p: int, gaps: Gaps) -> Array:
    """Return E[u₊^p v₊^p] for standard deviations of 1.

    M(a, b) = E[u₊^a v₊^b] obeys, by partial integration over u (Stein's lemma),
    M(a, b) = (a − 1) M(a − 2, b) + b ρ M(a − 1, b − 1) for a ≥ 2; with a = 1 the boundary term
    E[δ(u) v₊^b] = (1 − ρ²)^(b/2) E[w₊^b]/√(2π) takes the place of the first one.
    """
    rho, sine, gate = gaps.cosine, gaps.sine, gaps.swapped.angle / (2 * math.pi)
    table: dict[tuple[int, int], Array] = {}

    def boundary(b: int) -> Array:
        half_moment = 2 ** (b / 2 - 1) * math.gamma((b + 1) / 2) / math.sqrt(math.pi)
        return sine**b * (half_moment / math.sqrt(2 * math.pi))

    def moment(a: int, b: int) -> Array:
        a, b = max(a, b), min(a, b)
        if (a, b) not in table:
            if a == 0:
                table[a, b] = gate
            elif a == 1 and b == 0:
                table[a, b] = (1 + rho) / (2 * math.sqrt(2 * math.pi))
            elif a == 1:
                table[a, b] = boundary(1) + rho * moment(0, 0)
            elif b == 0:
                # By parts over the power of u; the gate 1[v > 0] changes at the boundary.
                table[a, b] = (a - 1) * moment(a - 2, 0) + rho * boundary(a - 1)
            else:
                table[a, b] = (a - 1) * moment(a - 2, b) + b * rho * moment(a - 1, b - 1)
        return table[a, b]

    return moment(p, p)
