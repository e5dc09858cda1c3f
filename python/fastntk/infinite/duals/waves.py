# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Sines of any phase."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fastntk.infinite.duals.base import Correlation
from fastntk.infinite.duals.closed_form import ClosedForm
from fastntk.infinite.duals.expectation import Expectation

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Gaps


class Sinusoid(ClosedForm):
    """The dual of φ(x) = amplitude · sin(frequency x + phase)."""

    def __init__(self, frequency: float, phase: float, amplitude: float = 1.0) -> None:
        # A phase that is a multiple of π/2 but for its rounding is one: its sine or cosine is 0.
        rounding = 2.0**-52 * max(1.0, abs(phase))
        sine2, cosine2 = (
            value**2 if abs(value) > rounding else 0.0
            for value in (math.sin(phase), math.cos(phase))
        )
        frequency, size = abs(frequency), amplitude**2
        super().__init__(
            wave(frequency, (sine2, cosine2), size),
            # The cosine is a sine of another phase.
            wave(frequency, (cosine2, sine2), size * frequency**2),
        )


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


class Wave(Expectation):
    """The expectation of √size · sin(frequency x + phase).

    It is half of exp(−var(u − v)/2) − c exp(−var(u + v)/2), with c = cos(2 phase) and for a
    frequency and a size of 1. The larger exponential is taken out of the difference.
    """

    def __init__(self, frequency: float, squares: tuple[float, float], size: float) -> None:
        self.frequency, self.size = frequency, size
        self.sine2, self.cosine2 = squares
        self.c = self.cosine2 - self.sine2

    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return the expectation."""
        return self.of_pairs(s, t, Correlation(rho, s - t))

    def of_pairs(self, s: Array, t: Array, pairs: Correlation) -> Array:
        """Return the expectation; of large norms the difference counts, not its part of them."""
        rho = pairs.gaps
        product = (self.frequency * s) * (self.frequency * t)
        apart = (self.frequency * pairs.difference) ** 2 / 2
        least = np.exp(-apart - product * np.minimum(*rho))
        twice = 2 * product * np.abs(rho.cosine)
        acute = self._wave(twice / 2)
        obtuse = np.expm1(-twice) + 2 * self.sine2  # exp(−twice) − c
        return self.size / 2 * least * np.where(rho.near <= rho.far, acute, obtuse)

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

    def root_mean_square(self, s: Array) -> Array:
        """Return the root of half of W(s²)."""
        return np.asarray(np.sqrt(self.size * self._wave((self.frequency * s) ** 2) / 2))

    def _wave(self, x: Array) -> Array:
        """Return 1 − c exp(−2x) without cancellation."""
        if self.c <= 0:
            return np.asarray(1 - self.c * np.exp(-2 * x))
        return np.asarray(2 * self.sine2 - self.c * np.expm1(-2 * x))


class OddWave(Wave):
    """A sine."""

    parity: ClassVar[int] = -1


class EvenWave(Wave):
    """A cosine."""

    parity: ClassVar[int] = 1


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
