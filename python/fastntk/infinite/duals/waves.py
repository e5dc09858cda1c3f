# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Sines of any phase."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.duals.closed_form import ClosedForm, put
from fastntk.infinite.duals.compiled import Loop
from fastntk.infinite.duals.expectation import Even, Expectation, InParts, Odd
from fastntk.infinite.duals.vectorized import exp_parts

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Gaps
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs


class Sinusoid(ClosedForm):
    """The dual of φ(x) = amplitude · sin(frequency x + phase)."""

    def __init__(self, frequency: float, phase: float, amplitude: float = 1.0) -> None:
        # A phase that is a multiple of π/2 but for its rounding is one: its sine or cosine is 0.
        rounding = 2.0**-52 * max(1.0, abs(phase))
        sine2, cosine2 = (
            value**2 if abs(value) > rounding else 0.0
            for value in (math.sin(phase), math.cos(phase))
        )
        self.frequency = abs(frequency)
        size = amplitude**2
        super().__init__(
            wave(self.frequency, (sine2, cosine2), size),
            # The cosine is a sine of another phase.
            wave(self.frequency, (cosine2, sine2), size * self.frequency**2),
            fill_wave,
            (self.frequency, 2 * sine2, 2 * cosine2),
        )
        self.size = size

    def samples(self, s: Array, norms: tuple[Array, Array]) -> Array:
        """Return the standard deviation and both norms for a frequency and an amplitude of 1."""
        size = math.sqrt(self.size / 2)
        return np.stack(
            [
                self.frequency * s,
                size * norms[0],
                size * self.frequency * norms[1],
                np.zeros_like(s),
            ]
        )


@Loop
def fill_wave(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,
    tangent: bool,  # noqa: ARG001
    out: RowGaps,
) -> int:
    """Write 1 ∓ c, as `ClosedForm.loop`, from the frequency and 2 sin² and 2 cos² of the phase."""
    frequency, sine2, cosine2 = constants[0], constants[1], constants[2]
    nears, fars, differences = pairs
    s, size, slope_size = row[0], row[1], row[2]
    t, sizes, slope_sizes = columns[0, first:], columns[1, first:], columns[2, first:]
    half = 0.5 * frequency * frequency
    # What is constant of both expectations, and what of their other part for acute angles; for
    # obtuse ones that is 1.
    value, slope = size * sine2, slope_size * cosine2
    turn = 0.5 * (cosine2 - sine2)  # cos(2 phase)
    fallen, risen = -size * turn, slope_size * turn
    close = 0
    for j in range(len(nears)):
        product, gap = s * t[j], min(nears[j], fars[j])
        # The smaller one of the exponents, and 1 − exp of twice what the other one is beyond it
        lost = product * gap
        part, scale = exp_parts(-half * (differences[j] * differences[j]) - lost)
        least = part + scale
        part, scale = exp_parts(2.0 * (lost - product))
        fall = part + (scale - 1.0)
        acute = nears[j] <= fars[j]
        c = (least * (value + (fallen if acute else size) * fall)) * sizes[j]
        d = (least * (slope + (risen if acute else slope_size) * fall)) * slope_sizes[j]
        close += put(out, j, c, d)
    return close


def wave(frequency: float, squares: tuple[float, float], size: float) -> Wave:
    """Return the expectation of √size · sin(frequency x + phase).

    Parameters
    ----------
    frequency, size : float
        Positive numbers.
    squares : tuple of float
        The squares of the sine and of the cosine of the phase.
    """
    kind = OddWave if squares[0] == 0 else EvenWave if squares[1] == 0 else Wave
    return kind(frequency, squares, size)


class Wave(InParts, Expectation):
    """The expectation of √size · sin(frequency x + phase).

    It is half of exp(−var(u − v)/2) − c exp(−var(u + v)/2), with c = cos(2 phase) and for a
    frequency and a size of 1. The larger exponential is taken out of the difference.
    """

    def __init__(self, frequency: float, squares: tuple[float, float], size: float) -> None:
        self.frequency, self.size = frequency, size
        self.sine2, self.cosine2 = squares
        self.c = self.cosine2 - self.sine2

    def at_parallel(self, s: Array, t: Array) -> Array:
        """Return E(s, t, 1)."""
        s, t = self.frequency * s, self.frequency * t
        return self.size / 2 * np.exp(-((s - t) ** 2) / 2) * self._wave(s * t)

    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return λ; 1 + c exp(−(1 + ρ) s t) is a wave of the other phase."""
        product = (self.frequency * s) * (self.frequency * t)
        far = rho.far * product
        rest = (
            1 + self.c * np.exp(-far) if self.c >= 0 else 2 * self.cosine2 + self.c * np.expm1(-far)
        )
        return -np.expm1(-product * rho.near) * (rest / self._wave(product))

    def parallel(self, s: Array, t: Array, difference: Array) -> Array:
        """Return P = 1 − √(1 − V).

        With p = (s + t)²/2 and q = (s − t)²/2, for a frequency of 1, and W(x) = 1 − c exp(−2x),

            V W(s²) W(t²) = (1 − exp(−2q)) (1 − c² exp(−2p)) − 4 c exp(−p − q) sinh² √(pq) .
        """
        s, t = self.frequency * s, self.frequency * t
        p, q = (s + t) ** 2 / 2, (self.frequency * difference) ** 2 / 2
        right, left = -np.expm1(-2 * q), -np.expm1(-2 * p)
        lengths = self._wave(s**2), self._wave(t**2)
        if self.c <= 0:
            half = np.exp(-((np.sqrt(p) - np.sqrt(q)) ** 2) / 2) * np.expm1(-2 * np.sqrt(p * q))
            # 1 − c² exp(−2p)
            rest = 4 * self.sine2 * self.cosine2 + self.c**2 * left
            square = right * rest - self.c * half**2
            total = square / lengths[0] / lengths[1]
        else:
            # 2 exp(−p − q) sinh q ((1 − c²) cosh p + (1 − c)² sinh p), and the rest below
            square = 2 * self.cosine2 * (1 + np.exp(-2 * p)) + 2 * self.sine2 * left
            total = self.sine2 * right * square / lengths[0] / lengths[1]
            total += 4 * self.c * _rest(s, t, p, q, lengths)
        return np.asarray(total / (1 + np.sqrt(np.maximum(1 - total, 0.0))))

    def parts(self, s: Array, t: Array, rho: Gaps) -> tuple[Array, Array]:
        """Return those of the cosine and of the sine."""
        product = (self.frequency * s) * (self.frequency * t)
        rise = np.exp(-product * rho.near) / self._wave(product)
        turn = 2 * product * rho.cosine
        return (
            self.sine2 * rise * (1 + np.exp(-turn)),
            -self.cosine2 * rise * np.expm1(-turn),
        )

    def _wave(self, x: Array) -> Array:
        """Return 1 − c exp(−2x) without cancellation."""
        if self.c <= 0:
            return np.asarray(1 - self.c * np.exp(-2 * x))
        return np.asarray(2 * self.sine2 - self.c * np.expm1(-2 * x))


class OddWave(Odd, Wave):
    """A sine."""


class EvenWave(Even, Wave):
    """A cosine."""


_TERMS = 10  # of total degree 2n in p and q, below 1e-17 of the first for p ≤ 1


def _rest(s: Array, t: Array, p: Array, q: Array, lengths: tuple[Array, Array]) -> Array:
    """Return exp(−p − q) (sinh p sinh q − sinh² √(pq)) over both lengths, for p ≥ q.

    For p < 1 as a sum of squares: with i odd, the terms of degree 2n are

        Σ_{i<n} binom(2n, i) (pq)^i (p^(n−i) − q^(n−i))² / (2n)! .
    """
    with np.errstate(under="ignore"):
        half = np.exp(-((np.sqrt(p) - np.sqrt(q)) ** 2) / 2) * np.expm1(-2 * np.sqrt(p * q))
        direct = (np.expm1(-2 * p) * np.expm1(-2 * q) - half**2) / 4
        a, b = np.minimum(p, 1), np.minimum(q, 1)
        total = np.zeros_like(a)
        for n in range(2, _TERMS):
            for i in range(1, n, 2):
                # (p^m − q^m)/(p − q)
                quotient = sum(a**j * b ** (n - i - 1 - j) for j in range(n - i))
                weight = math.comb(2 * n, i) / math.factorial(2 * n)
                total = total + weight * (a * b) ** i * quotient**2
        # p − q = 2 s t
        series = 4 * np.exp(-a - b) * total * (s**2 / lengths[0]) * (t**2 / lengths[1])
        return np.asarray(np.where(p < 1, series, direct / lengths[0] / lengths[1]))
