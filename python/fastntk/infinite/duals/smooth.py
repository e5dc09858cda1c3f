# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Closed forms for analytic activations.

In every one of them what tends to 0 for close pairs or large samples is written without
subtraction, through var(u − v) = (s − t)² + 2 s t (1 − ρ) and similar sums. In docstrings, k is the
covariance s t ρ of u and v.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.duals.base import CANCELLATION, ClosedForm, Dual, State, gaps_from_near

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Correlation, Gaps


def _root(s: Array, t: Array, rho: Gaps) -> Array:
    """Return √((1 + s²)(1 + t²) − cov(u, v)²), without squares that would overflow."""
    return np.asarray(np.hypot(np.hypot(np.hypot(1, s), t), s * t * rho.sine))


class ErrorFunction(ClosedForm):
    """The dual of φ(x) = erf(slope x) + offset.

    Williams, "Computing with infinite networks", NIPS 1996.
    """

    def __init__(self, slope: float, offset: float) -> None:
        self.slope, self.offset = slope, offset

    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return 2/π arcsin(2k/√((1 + 2s²)(1 + 2t²))) + offset², with the slope in s and t."""
        # arctan2 keeps the digits where arcsin(cov/√…) would lose them.
        s, t = math.sqrt(2) * self.slope * s, math.sqrt(2) * self.slope * t
        root = _root(s, t, rho)
        return 2 / math.pi * np.arctan2(s * t * rho.cosine, root) + self.offset**2

    def derivative_covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return 4/π / √((1 + 2s²)(1 + 2t²) − 4k²), with the slope in s and t."""
        s, t = math.sqrt(2) * self.slope * s, math.sqrt(2) * self.slope * t
        return 4 * self.slope**2 / math.pi / _root(s, t, rho)


class Gelu(ClosedForm):
    """The dual of φ(x) = x P(w ≤ x).

    With P(w) the normal distribution, p its density, k = cov(u, v), D = (1 + s²)(1 + t²) − k²:
    E[P(u)P(v)] = 1/4 + arctan(k/√D)/(2π) and E[p(u)p(v)] = 1/(2π√D); partial integration
    (Stein's lemma) reduces both expectations to these two.
    """

    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return E[uP(u) vP(v)], in terms of E[P(u)P(v)] and E[p(u)p(v)]."""
        k = s * t * rho.cosine
        gates, root = self._terms(s, t, rho)
        # k² and (s t sin θ)², each in two factors: the squares would overflow.
        sine = s * t * rho.sine
        peaks = sine * (sine / root) + (k * self._inverse(s, t)) * (k / root)
        return k * gates + peaks / (2 * math.pi)

    def derivative_covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return E[(P(u) + up(u)) (P(v) + vp(v))], in the same terms."""
        gates, root = self._terms(s, t, rho)
        k = s * t * rho.cosine
        return gates + (k / root) * (self._inverse(s, t) + 1 / root / root) / (2 * math.pi)

    @staticmethod
    def _inverse(s: Array, t: Array) -> Array:
        """Return 1/(1 + s²) + 1/(1 + t²)."""
        return np.asarray(1 / (1 + s**2) + 1 / (1 + t**2))

    @staticmethod
    def _terms(s: Array, t: Array, rho: Gaps) -> tuple[Array, Array]:
        """Return E[P(u)P(v)] and √D."""
        root = _root(s, t, rho)
        return 0.25 + np.arctan2(s * t * rho.cosine, root) / (2 * math.pi), root


class Sinusoid(Dual):
    """The dual of φ(x) = amplitude · sin(frequency x + phase).

    E[φ(u)φ(v)] is half of exp(−var(u − v)/2) − c exp(−var(u + v)/2) with c = cos(2 phase), for a
    frequency and an amplitude of 1. The larger exponential is taken out of the difference. At equal
    norms gaps of all sizes keep their digits: the sum of which they consist has no signs.
    """

    gap_error = CANCELLATION

    def __init__(self, frequency: float, phase: float, amplitude: float = 1.0) -> None:
        self.frequency, self.amplitude = abs(frequency), abs(amplitude)
        # A phase that is a multiple of π/2 but for its rounding is one: its sine or cosine is 0.
        rounding = 2.0**-52 * max(1.0, abs(phase))
        self.sine2, self.cosine2 = (
            value**2 if abs(value) > rounding else 0.0
            for value in (math.sin(phase), math.cos(phase))
        )

    def state(self, deviation: Array) -> State:
        """Return the state of samples."""
        square = (self.frequency * deviation) ** 2
        value = self.amplitude * np.sqrt(_wave(square, self.sine2, self.cosine2) / 2)
        slope = np.sqrt(_wave(square, self.cosine2, self.sine2) / 2)
        return State(deviation, value, self.amplitude * self.frequency * slope)

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ(u)φ(v)], all samples of x against all of z."""
        return self._gap(x, z, pairs, self.sine2, self.cosine2)

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the same for the cosine, a sine of another phase."""
        return self._gap(x, z, pairs, self.cosine2, self.sine2)

    def _gap(self, x: State, z: State, pairs: Correlation, sine2: float, cosine2: float) -> Gaps:
        s, t = self.frequency * x.deviation[:, np.newaxis], self.frequency * z.deviation
        product = s * t
        square = np.sqrt(_wave(s**2, sine2, cosine2)) * np.sqrt(_wave(t**2, sine2, cosine2))
        parallel = _wave(product, sine2, cosine2)
        # How much is left for parallel samples of these norms, and what the angle takes of that.
        apart = self.frequency * pairs.difference
        ratio = np.exp(-(apart**2) / 2) * _ratio(parallel, square)
        ratio = np.where(s == t, square > 0, ratio)
        # 1 + c exp(−(1 + ρ) s t) is a wave of the other phase.
        near, far = pairs.gaps
        rest = _wave(far * product / 2, cosine2, sine2)
        lost = _ratio(-np.expm1(-product * near) * rest, parallel)
        return gaps_from_near((1 - ratio) + ratio * lost)


def _wave(x: Array, sine2: float, cosine2: float) -> Array:
    """Return 1 − c exp(−2x), with c = cos² − sin² and without cancellation."""
    c = cosine2 - sine2
    if c <= 0:
        return np.asarray(1 - c * np.exp(-2 * x))
    return np.asarray(2 * sine2 - c * np.expm1(-2 * x))


def _ratio(part: Array, whole: Array) -> Array:
    return np.divide(part, whole, out=np.zeros(np.shape(part)), where=whole > 0)


class Exponential(Dual):
    """The dual of φ(x) = exp(rate x), whose derivative is a multiple of it."""

    gap_error = CANCELLATION  # where s and t are large, and s t (1 − ρ) with them

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


class Gaussian(ClosedForm):
    """The dual of φ(x) = exp(−rate x²)."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return 1/√D with D = (1 + 2 rate s²)(1 + 2 rate t²) − (2 rate k)²."""
        width = math.sqrt(2 * self.rate)
        return 1 / _root(width * s, width * t, rho)

    def derivative_covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return E[φ'(u)φ'(v)] = 4 rate² k/D^{3/2}."""
        width = math.sqrt(2 * self.rate)
        root = _root(width * s, width * t, rho)
        return 2 * self.rate * (width * s / root) * (width * t / root) * rho.cosine / root


class Gabor(ClosedForm):
    """The dual of φ(x) = exp(−x²) sin x.

    The factor exp(−u² − v²) leaves a normal density, of covariance S(1 + 2S)⁻¹ for the covariance
    S of u and v, and the weight 1/√D with D = det(1 + 2S); the rest is as for the sine. The second
    expectation is the derivative of the first by cov(u, v) (Price's theorem).

    With m < 1/2 the smaller of var(u ∓ v)/2 under the new density, and m + q the larger one, where
    q = 2|k|/D, both are sums of terms without a sign.
    """

    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return E[φ(u)φ(v)] = ±exp(−m) (1 − exp(−q))/(2√D), with the sign of k."""
        _, root, least, apart = self._terms(s, t, rho)
        value = -np.exp(-least) * np.expm1(-apart) / (2 * root)
        return np.asarray(np.where(rho.near <= rho.far, value, -value))

    def derivative_covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return E[φ'(u)φ'(v)] = ∂E[φ(u)φ(v)]/∂k."""
        inverse, root, least, apart = self._terms(s, t, rho)
        both = inverse * (1 + np.exp(-apart))
        both += 4 * apart * (-(1 - least) * np.expm1(-apart) + apart * np.exp(-apart))
        return np.asarray(np.exp(-least) * both / (2 * root))

    @staticmethod
    def _terms(s: Array, t: Array, rho: Gaps) -> tuple[Array, Array, Array, Array]:
        """Return 1/D, √D, m and q."""
        root = _root(math.sqrt(2) * s, math.sqrt(2) * t, rho)
        left, right = s / root, t / root
        # The sign of the larger variance is left to the callers.
        nearest = ((s - t) / root) ** 2 + 2 * left * right * np.minimum(rho.near, rho.far)
        cross = (2 * s * right * rho.sine) ** 2
        return 1 / root / root, root, (nearest + cross) / 2, 2 * left * right * np.abs(rho.cosine)


class ExpNormalized(Dual):
    """The normalized Gaussian kernel E[φ(u)φ(v)] = s t exp(γ(ρ − 1)), which no function φ has.

    Shankar et al., "Neural kernels without tangents", ICML 2020.
    """

    gap_error = CANCELLATION
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
