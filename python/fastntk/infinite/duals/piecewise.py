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

from fastntk.infinite.duals.base import Dual, Gaps, State
from fastntk.infinite.duals.compiled import CompiledDual, Loop
from fastntk.infinite.duals.half_angle import angle_factor, deficit_factor

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Correlation
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs


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


@Loop
def fill_sign(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,  # noqa: ARG001
    tangent: bool,  # noqa: ARG001
    out: RowGaps,
) -> int:
    """Write 2θ/π and 2 − 2θ/π, and 1 for zero samples, see `Loop`, to the digits of small ones.

    Samples have 0 where they are 0, and 1 elsewhere; there are no constants.
    """
    near, far = pairs[0], pairs[1]
    own, others = row[0], columns[0, first:]
    for j in range(len(near)):
        v = 0.5 * min(near[j], far[j])
        turn = 2.0 * (math.sqrt(v) * angle_factor(v))
        acute = near[j] <= far[j]
        gap, other = (turn, 2.0 - turn) if acute else (2.0 - turn, turn)
        zero = own * others[j] == 0.0
        out[0][j] = 1.0 if zero else gap
        out[1][j] = 1.0 if zero else other
    return 0


class Sign(CompiledDual):
    """The dual of φ(x) = sign(x)."""

    scale_free = True
    no_derivative = "the derivative of a jump is a point mass, which has no second moment"
    loop = fill_sign

    def state(self, deviation: Array) -> State:
        """Return the state of samples; because of sign(0) = 0, a zero sample stays one."""
        sign = np.sign(deviation)
        return State(deviation, sign, np.zeros_like(deviation), sign[np.newaxis], np.empty(0))
