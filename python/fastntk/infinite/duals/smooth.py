# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Closed forms for analytic activations.

In every one of them what tends to 0 for close pairs or large samples is written without
subtraction, through var(u − v) = (s − t)² + 2 s t gap and similar sums. In docstrings, k is the
covariance s t (1 − gap) of u and v.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.duals.base import ClosedForm

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array


def _determinant(s: Array, t: Array, gap: Array) -> Array:
    """Return (1 + s²)(1 + t²) − cov(u, v)²."""
    return 1 + s**2 + t**2 + (s * t) ** 2 * gap * (2 - gap)


class ErrorFunction(ClosedForm):
    """The dual of φ(x) = erf(slope x) + offset.

    Williams, "Computing with infinite networks", NIPS 1996.
    """

    def __init__(self, slope: float, offset: float) -> None:
        self.slope, self.offset = slope, offset

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return 2/π arcsin(2k/√((1 + 2s²)(1 + 2t²))) + offset², with the slope in s and t."""
        # arctan2 keeps the digits where arcsin(cov/√…) would lose them.
        s, t = math.sqrt(2) * self.slope * s, math.sqrt(2) * self.slope * t
        root = np.sqrt(_determinant(s, t, gap))
        return 2 / math.pi * np.arctan2(s * t * (1 - gap), root) + self.offset**2

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return 4/π / √((1 + 2s²)(1 + 2t²) − 4k²), with the slope in s and t."""
        s, t = math.sqrt(2) * self.slope * s, math.sqrt(2) * self.slope * t
        return 4 * self.slope**2 / math.pi / np.sqrt(_determinant(s, t, gap))


class Gelu(ClosedForm):
    """The dual of φ(x) = x P(w ≤ x).

    With P(w) the normal distribution, p its density, k = cov(u, v), D = (1 + s²)(1 + t²) − k²:
    E[P(u)P(v)] = 1/4 + arctan(k/√D)/(2π) and E[p(u)p(v)] = 1/(2π√D); partial integration
    (Stein's lemma) reduces both expectations to these two.
    """

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return E[uP(u) vP(v)], in terms of E[P(u)P(v)] and E[p(u)p(v)]."""
        k = s * t * (1 - gap)
        gates, peaks, _ = self._terms(s, t, gap)
        inverse = 1 / (1 + s**2) + 1 / (1 + t**2)
        return k * gates + peaks * ((s * t) ** 2 * gap * (2 - gap) + k**2 * inverse)

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return E[(P(u) + up(u)) (P(v) + vp(v))], in the same terms."""
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
    """The dual of φ(x) = amplitude · sin(frequency x + phase)."""

    def __init__(self, frequency: float, phase: float, amplitude: float = 1.0) -> None:
        self.frequency, self.phase, self.amplitude = frequency, phase, amplitude

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return half the expectation of cos(f(u − v)) − cos(f(u + v) + 2 phase), scaled."""
        return self.amplitude**2 * self._sines(s, t, gap, self.phase)

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return the same for the cosine, a sine of another phase."""
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
    """The dual of φ(x) = exp(rate x)."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return exp(rate² var(u + v)/2)."""
        return np.exp(self.rate**2 * ((s + t) ** 2 / 2 - s * t * gap))

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return E[φ'(u)φ'(v)], which is rate² E[φ(u)φ(v)]."""
        return self.rate**2 * self.covariance(s, t, gap)


class Gaussian(ClosedForm):
    """The dual of φ(x) = exp(−rate x²)."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return 1/√D with D = (1 + 2 rate s²)(1 + 2 rate t²) − (2 rate k)²."""
        width = math.sqrt(2 * self.rate)
        return 1 / np.sqrt(_determinant(width * s, width * t, gap))

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return E[φ'(u)φ'(v)] = 4 rate² k/D^{3/2}."""
        k = s * t * (1 - gap)
        return 4 * self.rate**2 * k * self.covariance(s, t, gap) ** 3


class Gabor(ClosedForm):
    """The dual of φ(x) = exp(−x²) sin x.

    The factor exp(−u² − v²) leaves a normal density, of covariance S(1 + 2S)⁻¹ for the covariance
    S of u and v, and the weight 1/√D with D = det(1 + 2S); the rest is as for the sine. The second
    expectation is the derivative of the first by cov(u, v) (Price's theorem).
    """

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return E[φ(u)φ(v)] = (exp(−var(u − v)/2) − exp(−var(u + v)/2))/(2√D)."""
        _, determinant, minus, plus = self._terms(s, t, gap)
        value = -np.exp(-minus) * np.expm1(minus - plus) / (2 * np.sqrt(determinant))
        return np.asarray(value)

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return E[φ'(u)φ'(v)] = ∂E[φ(u)φ(v)]/∂k."""
        k, determinant, minus, plus = self._terms(s, t, gap)
        minus_slope = (-(4 * k + 1) + 8 * k * minus) / determinant
        plus_slope = (1 - 4 * k + 8 * k * plus) / determinant
        both = np.exp(-minus) * (4 * k / determinant - minus_slope) - np.exp(-plus) * (
            4 * k / determinant - plus_slope
        )
        return np.asarray(both / (2 * np.sqrt(determinant)))

    @staticmethod
    def _terms(s: Array, t: Array, gap: Array) -> tuple[Array, Array, Array, Array]:
        """Return k, D, and var(u ∓ v)/2 under the new density."""
        k = s * t * (1 - gap)
        cross = 4 * (s * t) ** 2 * gap * (2 - gap)
        determinant = 1 + 2 * (s**2 + t**2) + cross
        minus = (s - t) ** 2 + 2 * s * t * gap + cross
        plus = (s - t) ** 2 + 2 * s * t * (2 - gap) + cross
        return k, determinant, minus / (2 * determinant), plus / (2 * determinant)


class ExpNormalized(ClosedForm):
    """The normalized Gaussian kernel E[φ(u)φ(v)] = s t exp(γ(ρ − 1)), which no function φ has.

    Shankar et al., "Neural kernels without tangents", ICML 2020.
    """

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return s t exp(−γ gap)."""
        return s * t * np.exp(-self.gamma * gap)

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return γ exp(−γ gap), the derivative by the covariance."""
        return self.gamma * np.exp(-self.gamma * gap) * np.ones_like(s * t)
