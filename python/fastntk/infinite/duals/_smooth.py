# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Closed forms for analytic activations.

In every one of them what tends to 0 for close pairs or large samples is written without
subtraction, through var(u − v) = (s − t)² + 2 s t gap and its like.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.duals._base import ClosedForm

if TYPE_CHECKING:
    from fastntk.infinite.duals._base import Array


def _determinant(s: Array, t: Array, gap: Array) -> Array:
    """Return (1 + s²)(1 + t²) − cov(u, v)²."""
    return 1 + s**2 + t**2 + (s * t) ** 2 * gap * (2 - gap)


class ErrorFunction(ClosedForm):
    """φ(x) = erf(slope x) + offset; Williams, "Computing with infinite networks", NIPS 1996."""

    def __init__(self, slope: float, offset: float) -> None:
        self.slope, self.offset = slope, offset

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        # arctan2 keeps the digits where arcsin(cov/√…) would lose them.
        s, t = math.sqrt(2) * self.slope * s, math.sqrt(2) * self.slope * t
        root = np.sqrt(_determinant(s, t, gap))
        return 2 / math.pi * np.arctan2(s * t * (1 - gap), root) + self.offset**2

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        s, t = math.sqrt(2) * self.slope * s, math.sqrt(2) * self.slope * t
        return 4 * self.slope**2 / math.pi / np.sqrt(_determinant(s, t, gap))


class Gelu(ClosedForm):
    """φ(x) = x P(w ≤ x).

    With P(w) the normal distribution and p its density, D = (1 + s²)(1 + t²) − k² and k = cov(u, v):
    E[P(u)P(v)] = 1/4 + arctan(k/√D)/(2π) and E[p(u)p(v)] = 1/(2π√D); partial integration
    (Stein's lemma) reduces both expectations to these two.
    """

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        k = s * t * (1 - gap)
        gates, peaks, _ = self._terms(s, t, gap)
        inverse = 1 / (1 + s**2) + 1 / (1 + t**2)
        return k * gates + peaks * ((s * t) ** 2 * gap * (2 - gap) + k**2 * inverse)

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        k = s * t * (1 - gap)
        gates, peaks, determinant = self._terms(s, t, gap)
        inverse = 1 / (1 + s**2) + 1 / (1 + t**2)
        return gates + peaks * k * (inverse + 1 / determinant)

    @staticmethod
    def _terms(s: Array, t: Array, gap: Array) -> tuple[Array, Array, Array]:
        determinant = _determinant(s, t, gap)
        root = np.sqrt(determinant)
        gates = 0.25 + np.arctan2(s * t * (1 - gap), root) / (2 * math.pi)
        return gates, 1 / (2 * math.pi * root), determinant


class Sinusoid(ClosedForm):
    """φ(x) = amplitude · sin(frequency x + phase)."""

    def __init__(self, frequency: float, phase: float, amplitude: float = 1.0) -> None:
        self.frequency, self.phase, self.amplitude = frequency, phase, amplitude

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        return self.amplitude**2 * self._sines(s, t, gap, self.phase)

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        cosines = self._sines(s, t, gap, self.phase + math.pi / 2)
        return (self.amplitude * self.frequency) ** 2 * cosines

    def _sines(self, s: Array, t: Array, gap: Array, phase: float) -> Array:
        """Return E[sin(fu + phase) sin(fv + phase)] from var(u − v) and var(u + v)."""
        half = -(self.frequency**2) / 2
        difference = half * ((s - t) ** 2 + 2 * s * t * gap)
        total = half * ((s - t) ** 2 + 2 * s * t * (2 - gap))
        if math.cos(2 * phase) == 1:  # no phase: both terms may be close to 1
            return -np.exp(difference) * np.expm1(total - difference) / 2
        return (np.exp(difference) - math.cos(2 * phase) * np.exp(total)) / 2


class Exponential(ClosedForm):
    """φ(x) = exp(rate x)."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        return np.exp(self.rate**2 * ((s + t) ** 2 / 2 - s * t * gap))

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        return self.rate**2 * self.covariance(s, t, gap)


class Gaussian(ClosedForm):
    """φ(x) = exp(−rate x²)."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        width = math.sqrt(2 * self.rate)
        return 1 / np.sqrt(_determinant(width * s, width * t, gap))

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        k = s * t * (1 - gap)
        return 4 * self.rate**2 * k * self.covariance(s, t, gap) ** 3
