# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals that are exponentials of covariances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.duals.base import CANCELLATION, State
from fastntk.infinite.duals.compiled import CompiledDual, Loop
from fastntk.infinite.duals.vectorized import exp_parts

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs


@Loop
def fill_exponential(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,
    tangent: bool,  # noqa: ARG001
    out: RowGaps,
) -> int:
    """Write 1 ∓ exp(−rate² var(u − v)/2), see `Loop`, to the digits of small ones.

    Samples have |rate| s, the constant is the rate.
    """
    near, _, difference = pairs
    s, t, rate = row[0], columns[0, first:], constants[0]
    for j in range(len(near)):
        apart = rate * difference[j]
        part, scale = exp_parts(-0.5 * apart * apart - s * t[j] * near[j])
        lost = -(part + (scale - 1.0))
        out[0][j], out[1][j] = lost, 2.0 - lost
        out[2][j], out[3][j] = lost, 2.0 - lost
    return 0


@Loop
def fill_exp_normalized(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,
    tangent: bool,  # noqa: ARG001
    out: RowGaps,
) -> int:
    """Write 1 ∓ exp(−γ (1 − ρ)), see `Loop`, to the digits of small ones.

    The constant is γ; samples have 0 where they are 0, and 1 elsewhere.
    """
    near = pairs[0]
    gamma, own, others = constants[0], row[0], columns[0, first:]
    for j in range(len(near)):
        part, scale = exp_parts(-gamma * near[j])
        lost = -(part + (scale - 1.0))
        gap = 1.0 if own * others[j] == 0.0 else lost
        out[0][j], out[1][j] = gap, 2.0 - gap
        out[2][j], out[3][j] = lost, 2.0 - lost
    return 0


class Exponential(CompiledDual):
    """The dual of φ(x) = exp(rate x), whose derivative is a multiple of it."""

    gap_error = CANCELLATION
    keeps_digits = True

    loop = fill_exponential

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def state(self, deviation: Array) -> State:
        """Return the state of samples; E[φ(u)²] = exp(2 rate² s²)."""
        with np.errstate(over="ignore"):  # what samples grow to is looked at for all activations
            value = np.exp((self.rate * deviation) ** 2)
        samples = abs(self.rate) * deviation[np.newaxis]
        constants = np.array([self.rate])
        return State(deviation, value, abs(self.rate) * value, samples, constants)


class ExpNormalized(CompiledDual):
    """The normalized Gaussian kernel E[φ(u)φ(v)] = s t exp(γ(ρ − 1)), which no function φ has.

    Shankar et al., "Neural kernels without tangents", ICML 2020.
    """

    gap_error = CANCELLATION
    keeps_digits = True
    scale_free = True

    loop = fill_exp_normalized

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def state(self, deviation: Array) -> State:
        """Return the state of samples; the derivative by the covariance is γ exp(−γ (1 − ρ))."""
        slope = np.full_like(deviation, math.sqrt(self.gamma))
        present = np.sign(deviation)[np.newaxis]
        return State(deviation, deviation, slope, present, np.array([self.gamma]))
