# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A sine under a bell."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk.infinite.duals.closed_form import ClosedForm, put
from fastntk.infinite.duals.compiled import Loop
from fastntk.infinite.duals.expectation import ByQuadrature, Even, Odd, either
from fastntk.infinite.duals.vectorized import arc_cosine, arc_samples, exp_parts

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Gaps
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs


class Gabor(ClosedForm):
    """The dual of φ(x) = exp(−x²) sin x.

    The factor exp(−u² − v²) leaves a normal density, of covariance S(1 + 2S)⁻¹ for the covariance
    S of u and v, and the weight 1/√D with D = det(1 + 2S); the rest is as for the sine. The second
    expectation is the derivative of the first by cov(u, v) (Price's theorem).
    """

    def __init__(self) -> None:
        super().__init__(Value(), Slope(), fill_gabor)

    def samples(self, s: Array, norms: tuple[Array, Array]) -> Array:
        """Return sin a and cos a, for √2 s, and the inverse norms."""
        return np.stack([*arc_samples(math.sqrt(2) * s), *norms])


# Pairs that are taken through one step after another: a core does not see far enough ahead to
# overlap the rounds of one loop that takes all steps.
_PAIRS_AT_ONCE = 256


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _fill_exponentials(x: Array, less: Array) -> None:
    """Write exp(x) and exp(x) − 1 of x ≤ 0 in place of two rows of numbers."""
    for j in range(len(x)):
        part, scale = exp_parts(x[j])
        x[j] = part + scale
        part, scale = exp_parts(less[j])
        less[j] = part + (scale - 1.0)


@Loop
def fill_gabor(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,  # noqa: ARG001
    tangent: bool,  # noqa: ARG001
    out: RowGaps,
) -> int:
    """Write 1 ∓ c from E[φ(u)φ(v)] = ±exp(−m) (1 − exp(−q))/(2√D), with the sign of k.

    m < 1/2 is the smaller of var(u ∓ v)/2 under the new density, and m + q the larger one, where
    q = 2|k|/D: both are sums of terms without a sign.
    """
    sine, cosine, size, slope_size = row[0], row[1], row[2], row[3]
    half, half_slope = -0.5 * size, 0.5 * slope_size
    scratch = np.empty((5, _PAIRS_AT_ONCE))
    close = 0
    for start in range(0, len(pairs[0]), _PAIRS_AT_ONCE):
        m = min(_PAIRS_AT_ONCE, len(pairs[0]) - start)
        nears, fars = pairs[0][start : start + m], pairs[1][start : start + m]
        differences = pairs[2][start : start + m]
        sines, cosines = columns[0, first + start :], columns[1, first + start :]
        weights, falls = scratch[0, :m], scratch[1, :m]
        parts, aparts, rests = scratch[2, :m], scratch[3, :m], scratch[4, :m]
        for j in range(m):
            share, across = sine * sines[j], nears[j] * fars[j]
            gap = min(nears[j], fars[j])
            inverse = 1.0 / arc_cosine(sine, cosine, cosines[j], share, across)
            part, cross = cosine * (cosines[j] * inverse), share * inverse  # 1/√D, 2 s t/√D
            twice, difference = cross * part, differences[j] * part  # 2 s t/D
            weights[j] = -0.5 * (difference * difference + twice * gap + cross * cross * across)
            falls[j] = twice * (gap - 1.0)
            parts[j], aparts[j], rests[j] = part, -falls[j], 1.0 + weights[j]
        _fill_exponentials(weights, falls)
        sizes, slope_sizes = columns[2, first + start :], columns[3, first + start :]
        new = out[0][start:], out[1][start:], out[2][start:], out[3][start:]
        for j in range(m):
            part, apart, fall = parts[j], aparts[j], falls[j]
            weight, rest = weights[j] * part, 1.0 + fall
            c = (weight * fall) * (half if nears[j] <= fars[j] else -half) * sizes[j]
            both = part * part * (1.0 + rest) + 4.0 * apart * (apart * rest - rests[j] * fall)
            d = (weight * both) * half_slope * slope_sizes[j]
            close += put(new, j, c, d)
    return close


class _Falls(NamedTuple):
    """What is lost from parallel to other samples, of the factors of the expectations.

    These are exp(−A) sinh(B)/√D and its derivative, with A = (s² + t² + 4 (s t sin θ)²)/(2D) and
    B = k/D ≤ 1/4. Before the falls: B² and 1/D, both at ρ = 1, and (s² + t²) twice.
    """

    square: Array
    inverse: Array
    norms: Array
    weight: Array
    ratio: Array
    hyperbolic_sine: Array
    hyperbolic_cosine: Array
    determinant: Array

    @classmethod
    def of(cls, s: Array, t: Array, rho: Gaps) -> _Falls:
        across = np.hypot(np.hypot(1, math.sqrt(2) * s), math.sqrt(2) * t)  # √D at ρ = 1
        x = (2 * (s / across) * t * rho.sine) ** 2  # D grows by the factor 1 + x
        inverse = 1 / across / across
        norms = 2 * ((s / across) ** 2 + (t / across) ** 2)  # over D: all of it but 1/D
        determinant = x / (1 + x)
        exponent = determinant * (inverse + norms / 2) / 2
        roots = x / (1 + x + np.sqrt(1 + x))
        ratio = (x + rho.near) / (1 + x)
        square = ((s / across) * (t / across)) ** 2
        hyperbolic = (
            either(ratio, _series_fall(square, ratio, odd=True)),
            _series_fall(square, ratio, odd=False),
        )
        weight = either(-np.expm1(-exponent), roots)
        return cls(square, inverse, norms, weight, ratio, *hyperbolic, determinant)


def _at_parallel(s: Array, t: Array) -> tuple[Array, Array, Array]:
    """Return √D, m and q at ρ = 1."""
    across = np.hypot(np.hypot(1, math.sqrt(2) * s), math.sqrt(2) * t)
    return across, ((s - t) / across) ** 2 / 2, 2 * (s / across) * (t / across)


def _series(square: Array, *, odd: bool) -> Array:
    """Return sinh(B)/B or cosh(B) from B² ≤ 1/16."""
    total = np.ones_like(square)
    for k in range(6, 0, -1):
        total = 1 + total * square / (2 * k * (2 * k + 1 if odd else 2 * k - 1))
    return total


def _series_fall(square: Array, ratio: Array, *, odd: bool) -> Array:
    """Return what is lost of sinh(B)/B or cosh(B) while B falls by the given part."""
    rest = (1 - ratio) ** 2
    # Differences of powers: 1 − rest^k = (1 − rest) (1 + … + rest^(k−1)).
    total, powers = np.zeros_like(square), np.zeros_like(square)
    for k in range(1, 7):
        powers = 1 + rest * powers
        total = total + square**k * powers / math.factorial(2 * k + odd)
    return ratio * (2 - ratio) * total / _series(square, odd=odd)


class Value(Odd, ByQuadrature):
    """The expectation of φ."""

    def at_parallel(self, s: Array, t: Array) -> Array:
        """Return exp(−m) (1 − exp(−q))/(2√D) at ρ = 1."""
        across, least, apart = _at_parallel(s, t)
        return np.asarray(-np.exp(-least) * np.expm1(-apart) / (2 * across))

    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return what is lost of exp(−A) sinh(B)/√D."""
        falls = _Falls.of(s, t, rho)
        return either(falls.weight, falls.hyperbolic_sine)

    def function(self, x: Array) -> Array:
        """Return φ(x)."""
        x = np.clip(x, -40, 40)  # beyond, the factor underflows
        return np.exp(-(x**2)) * np.sin(x)

    def slope(self, x: Array) -> Array:
        """Return φ'(x)."""
        x = np.clip(x, -40, 40)
        return np.exp(-(x**2)) * (np.cos(x) - 2 * x * np.sin(x))


class Slope(Even, ByQuadrature):
    """The expectation of φ', the derivative of the above by k."""

    def at_parallel(self, s: Array, t: Array) -> Array:
        """Return the derivative of the above."""
        across, least, apart = _at_parallel(s, t)
        both = (1 + np.exp(-apart)) / across / across
        both += 4 * apart * (-(1 - least) * np.expm1(-apart) + apart * np.exp(-apart))
        return np.asarray(np.exp(-least) * both / (2 * across))

    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return what is lost, with d = D at ρ = 1, of exp(−A)/√D times.

        sinh B (4k/D) (1 + (1 + s² + t²)/D) + cosh B (1/D) (1 + 8k²/D) .
        """
        falls = _Falls.of(s, t, rho)
        root_square = np.sqrt(falls.square)
        share = falls.inverse + falls.norms / 2
        first = root_square * _series(falls.square, odd=True) * 4 * root_square * (1 + share)
        first_lost = either(
            falls.hyperbolic_sine, falls.ratio, share * falls.determinant / (1 + share)
        )
        # 8 k²/D over D
        bend = 8 * falls.square
        second = _series(falls.square, odd=False) * (falls.inverse + bend)
        bend_lost = either(falls.ratio, falls.ratio)
        inner = (falls.inverse * falls.determinant + bend * bend_lost) / (falls.inverse + bend)
        second_lost = either(falls.hyperbolic_cosine, inner)
        return either(falls.weight, (first * first_lost + second * second_lost) / (first + second))

    def function(self, x: Array) -> Array:
        """Return φ'(x)."""
        return Value().slope(x)

    def slope(self, x: Array) -> Array:
        """Return φ''(x)."""
        x = np.clip(x, -40, 40)
        return np.exp(-(x**2)) * ((4 * x**2 - 3) * np.sin(x) - 4 * x * np.cos(x))
