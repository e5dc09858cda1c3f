# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals that are exponentials of covariances."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.duals.base import CANCELLATION, Dual, State, gaps_from_near

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Correlation, Gaps


class Exponential(Dual):
    """The dual of φ(x) = exp(rate x), whose derivative is a multiple of it."""

    gap_error = CANCELLATION
    keeps_digits = True

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def state(self, deviation: Array) -> State:
        """Return the state of samples; E[φ(u)²] = exp(2 rate² s²)."""
        value = np.exp((self.rate * deviation) ** 2)
        return State(deviation, value, abs(self.rate) * value)

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return 1 ∓ exp(−rate² var(u − v)/2), to the digits of small ones."""
        s, t = abs(self.rate) * x.deviation[:, np.newaxis], abs(self.rate) * z.deviation
        apart = self.rate * pairs.difference
        return gaps_from_near(-np.expm1(-(apart**2) / 2 - s * t * pairs.gaps.near))

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the same, as the rate drops out."""
        return self.gap(x, z, pairs)


class ExpNormalized(Dual):
    """The normalized Gaussian kernel E[φ(u)φ(v)] = s t exp(γ(ρ − 1)), which no function φ has.

    Shankar et al., "Neural kernels without tangents", ICML 2020.
    """

    gap_error = CANCELLATION
    keeps_digits = True
    scale_free = True

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def state(self, deviation: Array) -> State:
        """Return the state of samples; the derivative by the covariance is γ exp(−γ (1 − ρ))."""
        return State(deviation, deviation, np.full_like(deviation, math.sqrt(self.gamma)))

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return 1 ∓ exp(−γ (1 − ρ)), to the digits of small gaps, and 1 for zero samples."""
        zero = (x.deviation == 0)[:, np.newaxis] | (z.deviation == 0)
        return gaps_from_near(np.where(zero, 1.0, self.derivative_gap(x, z, pairs).near))

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:  # noqa: ARG002
        """Return 1 ∓ exp(−γ (1 − ρ))."""
        return gaps_from_near(-np.expm1(-self.gamma * pairs.gaps.near))
