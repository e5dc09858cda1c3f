# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The error function and the Gaussian, each other's slopes but for factors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import erf

from fastntk.infinite.duals.closed_form import ClosedForm
from fastntk.infinite.duals.expectation import Arc, ByQuadrature, Expectation, either, root

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Gaps


class ErrorFunction(ClosedForm):
    """The dual of φ(x) = erf(slope x) + offset.

    Williams, "Computing with infinite networks", NIPS 1996.
    """

    def __init__(self, slope: float, offset: float) -> None:
        value = Step(slope, offset) if offset else OddStep(slope, 0.0)
        super().__init__(value, Bell(slope**2, 4 * slope**2 / math.pi))


class Gaussian(ClosedForm):
    """The dual of φ(x) = exp(−rate x²)."""

    def __init__(self, rate: float) -> None:
        super().__init__(Bell(rate, 1.0), BellSlope(rate))


class Step(ByQuadrature):
    """The expectation of erf(rate x) + offset."""

    def __init__(self, rate: float, offset: float) -> None:
        self.rate, self.offset = rate, offset
        self.width = math.sqrt(2) * rate

    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return 2/π arcsin(2k/√((1 + 2s²)(1 + 2t²))) + offset², with the rate in s and t."""
        # arctan2 keeps the digits where arcsin(cov/√…) would lose them.
        s, t = self.width * s, self.width * t
        return 2 / math.pi * np.arctan2(s * t * rho.cosine, root(s, t, rho)) + self.offset**2

    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return the share of the fall of the arc."""
        arc = Arc(self.width * s, self.width * t, rho)
        return np.asarray(arc.fall / (arc.angle + arc.fall + math.pi / 2 * self.offset**2))

    def parts(self, s: Array, t: Array, rho: Gaps) -> tuple[Array, Array]:
        """Return the shares of the offset and of the error function."""
        arc = Arc(self.width * s, self.width * t, rho)
        even = math.pi / 2 * self.offset**2
        total = arc.angle + arc.fall + even
        return even / total, arc.angle / total

    def function(self, x: Array) -> Array:
        """Return erf(rate x) + offset."""
        return np.asarray(erf(self.rate * x) + self.offset)

    def slope(self, x: Array) -> Array:
        """Return its derivative."""
        return 2 * self.rate / math.sqrt(math.pi) * np.exp(-((self.rate * x) ** 2))


class OddStep(Step):
    """The same without an offset."""

    parity = -1


class Bell(Expectation):
    """The expectation of √size · exp(−rate x²)."""

    parity = 1

    def __init__(self, rate: float, size: float) -> None:
        self.width, self.size = math.sqrt(2 * rate), size

    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return size/√D with D = (1 + 2 rate s²)(1 + 2 rate t²) − (2 rate k)²."""
        return self.size / root(self.width * s, self.width * t, rho)

    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return what is lost of 1/√D."""
        return np.asarray(Arc(self.width * s, self.width * t, rho).lost_root)

    def parallel(self, s: Array, t: Array, difference: Array) -> Array:
        """Return 1 − (1 + q²)^(−1/4) with q = (s² − t²)/√((1 + 2s²)(1 + 2t²)), the rate in s, t."""
        s, t = self.width * s, self.width * t
        # 1 + 2s² and 1 + 2t² are what 1 + s² + t² is at equal norms.
        first, second = (np.hypot(1, math.sqrt(2) * x) for x in (s, t))
        q = (self.width * difference / np.minimum(first, second)) * (
            (s + t) / np.maximum(first, second)
        )
        return -np.expm1(-np.log1p(q**2) / 4)


class BellSlope(Bell):
    """The expectation of the derivative of exp(−rate x²)."""

    parity = -1

    def __init__(self, rate: float) -> None:
        super().__init__(rate, 2 * rate)

    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return 4 rate² k/D^{3/2}."""
        s, t = self.width * s, self.width * t
        across = root(s, t, rho)
        return self.size * (s / across) * (t / across) * rho.cosine / across

    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return what is lost of ρ/D^{3/2}."""
        once = super().lost(s, t, rho)
        return either(rho.near, once, once, once)

    def parallel(self, s: Array, t: Array, difference: Array) -> Array:
        """Return that of the third power of 1/√D."""
        once = super().parallel(s, t, difference)
        return either(once, once, once)
