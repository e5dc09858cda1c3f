# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The error function and the Gaussian, each other's slopes but for factors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import erf

from fastntk.infinite.duals.closed_form import ClosedForm, put
from fastntk.infinite.duals.compiled import Loop
from fastntk.infinite.duals.expectation import (
    Arc,
    ByQuadrature,
    Even,
    Expectation,
    InParts,
    Odd,
    either,
)
from fastntk.infinite.duals.vectorized import arc_angle, arc_cosine, arc_samples, correlation

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Gaps
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs


class ErrorFunction(ClosedForm):
    """The dual of φ(x) = erf(slope x) + offset.

    E[φ(u)φ(v)] is 2/π ψ + offset², E[φ'(u)φ'(v)] is 4 slope²/π over √D = m cos ψ, with √2 slope in
    s and t. Williams, "Computing with infinite networks", NIPS 1996.
    """

    def __init__(self, slope: float, offset: float) -> None:
        self.rate = slope
        value = Step(slope, offset) if offset else OddStep(slope, 0.0)
        bell = Bell(slope**2, 4 * slope**2 / math.pi)
        super().__init__(value, bell, fill_step, (offset**2 / 2, 0.0, 0.0))

    def samples(self, s: Array, norms: tuple[Array, Array]) -> Array:
        """Return sin a and cos a, √2 over the norm of φ, and that of φ'."""
        arc = arc_samples(math.sqrt(2) * self.rate * s)
        slope = 2 * self.rate / math.sqrt(math.pi) * arc[1] * norms[1]
        return np.stack([*arc, math.sqrt(2) * norms[0], slope])


class Gaussian(ClosedForm):
    """The dual of φ(x) = exp(−rate x²).

    E[φ(u)φ(v)] is 1/√D, E[φ'(u)φ'(v)] is 4 rate² k/D^{3/2}, with √(2 rate) in s and t.
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        super().__init__(Bell(rate, 1.0), BellSlope(rate), fill_bell)

    def samples(self, s: Array, norms: tuple[Array, Array]) -> Array:
        """Return sin a and cos a, and factors of both expectations."""
        arc = arc_samples(math.sqrt(2 * self.rate) * s)
        return np.stack([*arc, arc[1] * norms[0], math.sqrt(2 * self.rate) * norms[1]])


@Loop
def fill_step(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,
    tangent: bool,  # noqa: ARG001
    out: RowGaps,
) -> int:
    """Write 1 ∓ c, as `ClosedForm.loop`; the constant is half of offset²."""
    offset = constants[0]
    nears, fars, _ = pairs
    sine, cosine, size, slope_size = row[0], row[1], row[2], row[3]
    sines, cosines = columns[0, first:], columns[1, first:]
    sizes, slope_sizes = columns[2, first:], columns[3, first:]
    close = 0
    for j in range(len(nears)):
        share, across = sine * sines[j], nears[j] * fars[j]
        root = arc_cosine(sine, cosine, cosines[j], share, across)
        psi = arc_angle(share * correlation(nears[j], fars[j]), root)
        c = (psi + offset) * size * sizes[j]
        d = slope_size * (slope_sizes[j] / root)
        close += put(out, j, c, d)
    return close


@Loop
def fill_bell(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,  # noqa: ARG001
    tangent: bool,  # noqa: ARG001
    out: RowGaps,
) -> int:
    """Write 1 ∓ c, as `ClosedForm.loop`; there are no constants."""
    nears, fars, _ = pairs
    sine, cosine, size, slope_size = row[0], row[1], row[2], row[3]
    sines, cosines = columns[0, first:], columns[1, first:]
    sizes, slope_sizes = columns[2, first:], columns[3, first:]
    close = 0
    for j in range(len(nears)):
        share, across = sine * sines[j], nears[j] * fars[j]
        inverse = 1.0 / arc_cosine(sine, cosine, cosines[j], share, across)
        c = size * (sizes[j] * inverse)
        part = cosine * (cosines[j] * inverse)
        d = (part * slope_size) * (part * slope_sizes[j]) * (share * inverse)
        d *= correlation(nears[j], fars[j])
        close += put(out, j, c, d)
    return close


class Step(InParts, ByQuadrature):
    """The expectation of erf(rate x) + offset."""

    def __init__(self, rate: float, offset: float) -> None:
        self.rate, self.offset = rate, offset
        self.width = math.sqrt(2) * rate

    def at_parallel(self, s: Array, t: Array) -> Array:
        """Return 2/π ψ + offset², with the rate in s and t."""
        s, t = self.width * s, self.width * t
        # arctan2 keeps the digits where arcsin would lose them.
        arc = np.arctan2(s * t, np.hypot(np.hypot(1, s), t))
        return np.asarray(2 / math.pi * arc + self.offset**2)

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


class OddStep(Odd, Step):
    """The same without an offset."""


class Bell(Even, Expectation):
    """The expectation of √size · exp(−rate x²)."""

    def __init__(self, rate: float, size: float) -> None:
        self.width, self.size = math.sqrt(2 * rate), size

    def at_parallel(self, s: Array, t: Array) -> Array:
        """Return size/√D with D = 1 + 2 rate s² + 2 rate t²."""
        return np.asarray(self.size / np.hypot(np.hypot(1, self.width * s), self.width * t))

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


class BellSlope(Odd, Bell):
    """The expectation of the derivative of exp(−rate x²)."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate, 2 * rate)

    def at_parallel(self, s: Array, t: Array) -> Array:
        """Return 4 rate² s t/D^{3/2}."""
        s, t = self.width * s, self.width * t
        across = np.hypot(np.hypot(1, s), t)
        return np.asarray(self.size * (s / across) * (t / across) / across)

    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return what is lost of ρ/D^{3/2}."""
        once = super().lost(s, t, rho)
        return either(rho.near, once, once, once)

    def parallel(self, s: Array, t: Array, difference: Array) -> Array:
        """Return that of the third power of 1/√D."""
        once = super().parallel(s, t, difference)
        return either(once, once, once)
