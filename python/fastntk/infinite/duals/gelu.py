# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""GELU: the products of a number and of the probability that a normal one is below it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr

from fastntk.infinite.duals.closed_form import ClosedForm, put
from fastntk.infinite.duals.compiled import Loop
from fastntk.infinite.duals.expectation import (
    TAU,
    Arc,
    ByQuadrature,
    InParts,
    either,
    less_sine,
)
from fastntk.infinite.duals.vectorized import arc_angle, arc_cosine, arc_samples, correlation

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Gaps
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs

_DENSITY = 1 / math.sqrt(TAU)


class Gelu(ClosedForm):
    """The dual of φ(x) = x P(w ≤ x).

    With P(w) the normal distribution, p its density, k = cov(u, v), D = (1 + s²)(1 + t²) − k²:
    E[P(u)P(v)] = 1/4 + ψ/(2π), tan ψ = k/√D, and E[p(u)p(v)] = 1/(2π√D); partial integration
    (Stein's lemma) reduces both expectations to these two.
    """

    def __init__(self) -> None:
        super().__init__(Value(), Slope(), fill_gelu)

    def samples(self, s: Array, norms: tuple[Array, Array]) -> Array:
        """Return sin a and cos a, s over the norm of φ, and one over that of φ'."""
        return np.stack([*arc_samples(s), s * norms[0], norms[1]])


@Loop
def fill_gelu(
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
        rho = correlation(nears[j], fars[j])
        root = arc_cosine(sine, cosine, cosines[j], share, across)
        inverse = 1.0 / root
        gate = 0.25 + 0.5 * arc_angle(share * rho, root)  # E[P(u)P(v)]
        peak = share * inverse * (0.5 / math.pi)
        both = cosine * cosine + cosines[j] * cosines[j]  # 1/(1 + s²) + 1/(1 + t²)
        part = cosine * (cosines[j] * inverse)  # 1/√D
        c = (rho * gate + peak * (across + rho * rho * both)) * (size * sizes[j])
        d = (gate + rho * peak * (both + part * part)) * (slope_size * slope_sizes[j])
        close += put(out, j, c, d)
    return close


def _inverse(s: Array, t: Array) -> Array:
    """Return 1/(1 + s²) + 1/(1 + t²)."""
    return np.asarray(1 / (1 + s**2) + 1 / (1 + t**2))


class Value(InParts, ByQuadrature):
    """The expectation of φ.

    With m = √((1 + s²)(1 + t²)) and e = 1 + s² + t², it is over s t/(2π)

        (π/2) ρ + (m (ψ sin ψ + cos ψ) − (e + 1) cos ψ/m + 1/(m cos ψ))/(s t) ,

    a sum of functions that grow with ψ.
    """

    def at_parallel(self, s: Array, t: Array) -> Array:
        """Return E(s, t, 1)."""
        return s * t / TAU * self._parallel(s, t)

    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return λ, summed over the terms above; those with ψ sin ψ + cos ψ by its arcs."""
        arc = Arc(s, t, rho)
        share, both = arc.sine, rho.near * rho.far
        cosine = arc.parallel_root / arc.size
        middle = np.arctan2(share, cosine) - arc.fall / 2
        quarter = arc.fall / 4
        # cos(ψ₁ − (ψ₁ − ψ)/4), of which the sine of ψ₁ less that in the middle is made
        between = cosine * np.cos(quarter) + share * np.sin(quarter)
        turned = 2 * arc.fall * between * np.sin(quarter)
        turned += 2 * np.sin(middle) * less_sine(arc.fall / 2)
        total = (math.pi / 2 + arc.angle) * rho.near + turned / share
        roots = arc.root + arc.parallel_root
        total += share * both * ((arc.parallel_root**2 + 1) / arc.size) / roots
        total += (s / arc.root) * (t / arc.parallel_root) * (both / roots)
        return np.asarray(total / self._parallel(s, t))

    def parts(self, s: Array, t: Array, rho: Gaps) -> tuple[Array, Array]:
        """Return those of x (P(x) − 1/2) and of x/2."""
        arc = Arc(s, t, rho)
        even = arc.angle * rho.cosine + arc.sine * (
            arc.root / arc.size + rho.cosine**2 / arc.size / arc.root
        )
        total = self._parallel(s, t)
        return even / total, math.pi / 2 * rho.cosine / total

    @staticmethod
    def _parallel(s: Array, t: Array) -> Array:
        """Return E(s, t, 1) over s t/(2π)."""
        size, across = np.hypot(1, s) * np.hypot(1, t), np.hypot(np.hypot(1, s), t)
        sine = s * t / size
        angle = np.arctan2(s * t, across)
        return np.asarray(math.pi / 2 + angle + sine * (across / size + 1 / size / across))

    def function(self, x: Array) -> Array:
        """Return φ(x)."""
        return np.asarray(x * ndtr(x))

    def slope(self, x: Array) -> Array:
        """Return φ'(x)."""
        return np.asarray(ndtr(x) + x * (_DENSITY * np.exp(-(x**2) / 2)))


class Slope(InParts, ByQuadrature):
    """The expectation of φ', over 1/(2π) π/2 + ψ + tan ψ (1/(1 + s²) + 1/(1 + t²) + 1/D)."""

    def at_parallel(self, s: Array, t: Array) -> Array:
        """Return E(s, t, 1)."""
        across = np.hypot(np.hypot(1, s), t)
        angle, slope = np.arctan2(s * t, across), (s / across) * t
        inner = _inverse(s, t) + 1 / across / across
        return np.asarray((math.pi / 2 + angle + slope * inner) / TAU)

    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return λ, summed over the terms."""
        arc = Arc(s, t, rho)
        slope, inverse, inner = self._at_parallel(s, t, arc)
        once = either(rho.near, arc.lost_root)
        total = arc.fall + slope * inverse * once
        total += slope * inner * either(once, arc.lost_root, arc.lost_root)
        whole = math.pi / 2 + arc.angle + arc.fall + slope * (inverse + inner)
        return np.asarray(total / whole)

    def parts(self, s: Array, t: Array, rho: Gaps) -> tuple[Array, Array]:
        """Return those of 1/2 and of the rest."""
        arc = Arc(s, t, rho)
        slope, inverse, inner = self._at_parallel(s, t, arc)
        total = math.pi / 2 + arc.angle + arc.fall + slope * (inverse + inner)
        rest = (s / arc.root) * t * rho.cosine * (inverse + 1 / arc.root / arc.root)
        return math.pi / 2 / total, (arc.angle + rest) / total

    @staticmethod
    def _at_parallel(s: Array, t: Array, arc: Arc) -> tuple[Array, Array, Array]:
        """Return tan ψ₁, 1/(1 + s²) + 1/(1 + t²) and 1/D at ρ = 1."""
        slope = (s / arc.parallel_root) * t
        return slope, _inverse(s, t), 1 / arc.parallel_root / arc.parallel_root

    def function(self, x: Array) -> Array:
        """Return φ'(x)."""
        return Value().slope(x)

    def slope(self, x: Array) -> Array:
        """Return φ''(x)."""
        # Beyond 40 the density is 0, and the square might overflow.
        x = np.clip(x, -40, 40)
        return _DENSITY * np.exp(-(x**2) / 2) * (2 - x**2)
