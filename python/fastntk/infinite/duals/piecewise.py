# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations with a kink or jump at 0 and powers on both sides: arc-cosine kernels.

Cho and Saul, "Kernel methods for deep learning", NeurIPS 2009.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fastntk.infinite.duals.base import CANCELLATION, Dual, Gaps, State, gaps_from_near
from fastntk.infinite.duals.half_angle import deficit_factor

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Correlation


class PiecewiseLinear(Dual):
    """The dual of φ(x) = negative · x for x < 0, positive · x for x > 0.

    All of them are one family in the kink k = (positive − negative)²/(positive² + negative²):
    E[φ(u)φ(v)] normalized is (1 − k) cos θ + k κ_1(θ) with the κ_1 of ReLU. Positive homogeneity
    takes the norms out, and the compiled recursion does the rest.
    """

    size_error = 2.0**-50
    keeps_differences = True
    scale_free = True

    def __init__(self, negative: float, positive: float) -> None:
        squares = negative**2 + positive**2
        self.kink = (positive - negative) ** 2 / squares
        self.slope_jumps = self.kink > 0
        self.root_mean_square = math.sqrt(squares / 2)

    def state(self, deviation: Array) -> State:
        """Return the state of samples, whose root mean squares are proportional to s."""
        slope = np.full_like(deviation, self.root_mean_square)
        return State(deviation, deviation * slope, slope)

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:  # noqa: ARG002
        """Return 1 − ρ − (k/π) (sin θ − θ cos θ) and its complement, to nearly all digits."""
        return Gaps(*_activation_gaps(*pairs.gaps, self.kink))

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:  # noqa: ARG002
        """Return k θ/π and its complement."""
        share = self.kink / math.pi
        rest = pairs.gaps.swapped.angle  # π − θ
        return Gaps(share * pairs.gaps.angle, (2 - self.kink) + share * rest)

    def differences(self, x: State, z: State, difference: Array) -> tuple[Array, Array]:  # noqa: ARG002
        """Return multiples of s − t, and 0."""
        return self.root_mean_square * difference, np.zeros_like(difference)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _activation_gaps(near: Array, far: Array, kink: float) -> tuple[Array, Array]:
    """Return both gaps of an activation with this kink, see `recursion`."""
    new, rest = np.empty_like(near), np.empty_like(far)
    for i in range(near.shape[0]):
        for j in range(near.shape[1]):
            v = 0.5 * min(near[i, j], far[i, j])
            deficit = kink * (v * math.sqrt(v) * deficit_factor(v))
            if near[i, j] <= far[i, j]:
                new[i, j] = near[i, j] - deficit
                rest[i, j] = far[i, j] + deficit
            else:
                turned = (1.0 - kink) * far[i, j] + deficit
                new[i, j] = (2.0 - kink) - turned
                rest[i, j] = kink + turned
    return new, rest


class Sign(Dual):
    """The dual of φ(x) = sign(x)."""

    scale_free = True
    no_derivative = "the derivative of a jump is a point mass, which has no second moment"

    def state(self, deviation: Array) -> State:
        """Return the state of samples; because of sign(0) = 0, a zero sample stays one."""
        return State(deviation, np.sign(deviation), np.zeros_like(deviation))

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return 2θ/π and 2 − 2θ/π, and 1 for zero samples."""
        zero = (x.deviation == 0)[:, np.newaxis] | (z.deviation == 0)
        both = (
            np.where(zero, 1.0, 2 / math.pi * gaps.angle)
            for gaps in (pairs.gaps, pairs.gaps.swapped)
        )
        return Gaps(*both)

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:  # noqa: ARG002
        """Raise ValueError: E[φ'(u)²] does not exist."""
        raise ValueError(self.no_derivative)


class RectifiedMonomial(Dual):
    """The dual of φ(x) = max(x, 0)^degree, whose gaps are free of scale."""

    gap_error = CANCELLATION
    scale_free = True

    def __init__(self, degree: int) -> None:
        self.degree = degree
        self.slope_jumps = degree == 1
        equal = Gaps(np.zeros(()), np.full((), 2.0))
        self.parallel, self.parallel_slope = (
            float(_rectified_moment(p, equal)) for p in (degree, degree - 1)
        )

    def state(self, deviation: Array) -> State:
        """Return the state of samples, by homogeneity."""
        slope = self.degree * deviation ** (self.degree - 1)
        return State(
            deviation,
            deviation**self.degree * math.sqrt(self.parallel),
            slope * math.sqrt(self.parallel_slope),
        )

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ(u)φ(v)], and 1 for zero samples."""
        cosine = _rectified_moment(self.degree, pairs.gaps) / self.parallel
        return _gaps_unless_zero(cosine, x.activation, z.activation)

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the same for φ', degree times the rectified monomial one below."""
        cosine = _rectified_moment(self.degree - 1, pairs.gaps) / self.parallel_slope
        return _gaps_unless_zero(cosine, x.derivative, z.derivative)


def _gaps_unless_zero(cosine: Array, rows: Array, columns: Array) -> Gaps:
    zero = (rows == 0)[:, np.newaxis] | (columns == 0)
    return gaps_from_near(np.where(zero, 1.0, 1 - cosine))


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
