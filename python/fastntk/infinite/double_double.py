# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Double-double arithmetic: numbers that are unevaluated sums of two float64, with 106 bits.

What is divided or rooted is corrected once, from the exact residual, so that relative errors are
below 2^-100 (Dekker 1971; Joldes, Muller and Popescu, Tight and rigorous error bounds for basic
building blocks of double-word arithmetic, 2017). Nothing here may be contracted: products and
their errors are formed of parts of 26 bits.

A `Scaled` number has an exponent of its own, so that no product of sizes leaves the range.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Number: TypeAlias = tuple[float, float]


class Scaled(NamedTuple):
    """Numbers (high + low) · 2^exponent that are not negative.

    Attributes
    ----------
    parts : ndarray (2, n)
        high, which is in [1/2, 1) or 0, and low.
    exponents : ndarray of int (n,)
    """

    parts: Array
    exponents: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Array, exponents: Integers) -> Scaled:
        """Return the numbers (high + low) · 2^exponent, of any size."""
        return cls(*_normalized(parts, exponents))

    @classmethod
    def rounded(cls, values: Array) -> Scaled:
        """Return numbers that are known to the digits of a float64."""
        return cls.of(np.stack([values, np.zeros_like(values)]), np.zeros(len(values), np.int64))

    @classmethod
    def filled(cls, value: float, n: int) -> Scaled:
        """Return n times the same number."""
        significand, exponent = math.frexp(value)
        return cls(np.array([[significand], [0.0]]).repeat(n, axis=1), np.full(n, exponent))

    @property
    def value(self) -> Array:
        """The numbers as parts (2, n), where they are in range."""
        return np.ldexp(self.parts, self.exponents)

    def times(self, factor: float) -> Scaled:
        """Return the numbers times a factor that is not negative."""
        significand, exponent = math.frexp(factor)
        if significand == 0.5:  # a power of two
            return Scaled(self.parts, self.exponents + (exponent - 1))
        return Scaled.of(_multiples(self.parts, significand), self.exponents + exponent)

    def by(self, other: Scaled) -> Scaled:
        """Return products."""
        return Scaled.of(product(self.parts, other.parts), self.exponents + other.exponents)

    def over(self, other: Scaled) -> Scaled:
        """Return quotients; 0 where a divisor is 0."""
        return Scaled.of(_quotients(self.parts, other.parts), self.exponents - other.exponents)


def lengths(entries: list[Scaled]) -> tuple[Scaled, list[Array]]:
    """Return the lengths of vectors with these entries, and the entries of unit vectors (2, n).

    The entries of vectors of length 0 stay 0.
    """
    parts = np.array([each.parts for each in entries])
    length, exponents, units = _lengths(parts, np.array([each.exponents for each in entries]))
    return Scaled(length, exponents), list(units)


@njit(nogil=True, cache=True)
def split(a: float) -> Number:
    """Return two numbers of 26 bits whose sum is a."""
    shifted = 134217729.0 * a  # 2^27 + 1
    high = shifted - (shifted - a)
    return high, a - high


@njit(nogil=True, cache=True)
def square(a: float) -> Number:
    """Return a² as the sum of the rounded square and its error."""
    rounded = a * a
    high, low = split(a)
    return rounded, ((high * high - rounded) + 2.0 * high * low) + low * low


@njit(nogil=True, cache=True)
def _joined(high: float, low: float) -> Number:
    """Return a sum of two numbers, of which the first is the larger one, and its error."""
    total = high + low
    return total, low - (total - high)


@njit(nogil=True, cache=True)
def two_sum(a: float, b: float) -> Number:
    """Return a + b as the sum of the rounded sum and its error (Knuth)."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


@njit(nogil=True, cache=True)
def two_product(a: float, b: float) -> Number:
    """Return a b as the sum of the rounded product and its error."""
    rounded = a * b
    (high, low), (other_high, other_low) = split(a), split(b)
    rest = ((high * other_high - rounded) + high * other_low + low * other_high) + low * other_low
    return rounded, rest


@njit(nogil=True, cache=True)
def _product(x: Number, y: Number) -> Number:
    high, low = two_product(x[0], y[0])
    return _joined(high, low + (x[0] * y[1] + x[1] * y[0]))


@njit(nogil=True, cache=True)
def _sum(x: Number, y: Number) -> Number:
    """Return the sum of two numbers that are not negative."""
    total, rest = two_sum(x[0], y[0])
    return _joined(total, rest + (x[1] + y[1]))


@njit(nogil=True, cache=True)
def _quotient(x: Number, y: Number) -> Number:
    first = x[0] / y[0]
    high, low = _product((first, 0.0), y)
    second = ((x[0] - high) + (x[1] - low)) / y[0]
    return _joined(first, second)


@njit(nogil=True, cache=True)
def _root(x: Number) -> Number:
    first = math.sqrt(x[0])
    high, low = square(first)
    return _joined(first, ((x[0] - high) + (x[1] - low)) / (2.0 * first))


@njit(nogil=True, cache=True)
def product(x: Array, y: Array) -> Array:
    """Return the products of numbers (2, n) that are not far from 1."""
    out = np.empty(x.shape)
    for j in range(x.shape[1]):
        out[0, j], out[1, j] = _product((x[0, j], x[1, j]), (y[0, j], y[1, j]))
    return out


@njit(nogil=True, cache=True)
def _multiples(x: Array, factor: float) -> Array:
    out = np.empty(x.shape)
    for j in range(x.shape[1]):
        out[0, j], out[1, j] = _product((x[0, j], x[1, j]), (factor, 0.0))
    return out


@njit(nogil=True, cache=True)
def _quotients(x: Array, y: Array) -> Array:
    out = np.zeros(x.shape)
    for j in range(x.shape[1]):
        if y[0, j] != 0.0:
            out[0, j], out[1, j] = _quotient((x[0, j], x[1, j]), (y[0, j], y[1, j]))
    return out


@njit(nogil=True, cache=True)
def _normalized(parts: Array, exponents: Integers) -> tuple[Array, Integers]:
    """Return the same numbers with first parts in [1/2, 1), or 0."""
    out, shifted = np.empty(parts.shape), np.empty_like(exponents)
    for j in range(len(exponents)):
        out[0, j], shift = math.frexp(parts[0, j])
        out[1, j], shifted[j] = math.ldexp(parts[1, j], -shift), exponents[j] + shift
    return out, shifted


@njit(nogil=True, cache=True)
def _lengths(parts: Array, exponents: Integers) -> tuple[Array, Integers, Array]:
    """Return the parts and exponents of lengths, and the unit vectors, see `lengths`."""
    k, n = exponents.shape
    out, found = np.zeros((2, n)), np.zeros(n, dtype=np.int64)
    units = np.zeros(parts.shape)
    near = np.zeros((k, 2))
    for j in range(n):
        most = -(2**40)
        for i in range(k):
            if parts[i, 0, j] > 0.0:
                most = max(most, exponents[i, j])
        total = (0.0, 0.0)
        for i in range(k):
            near[i] = 0.0
            if parts[i, 0, j] > 0.0:
                # What is beyond the range below the largest entry has no part in the length.
                down = max(exponents[i, j] - most, -(2**12))
                near[i, 0] = math.ldexp(parts[i, 0, j], down)
                near[i, 1] = math.ldexp(parts[i, 1, j], down)
            each = (near[i, 0], near[i, 1])
            total = _sum(total, _product(each, each))
        if total[0] > 0.0:
            length = _root(total)
            out[0, j], shift = math.frexp(length[0])
            out[1, j], found[j] = math.ldexp(length[1], -shift), most + shift
            for i in range(k):
                units[i, 0, j], units[i, 1, j] = _quotient((near[i, 0], near[i, 1]), length)
    return out, found, units
