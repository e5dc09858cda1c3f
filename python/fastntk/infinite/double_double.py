# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Double-double arithmetic: numbers that are unevaluated sums of two float64, with 106 bits.

What is divided or rooted is corrected once, from the exact residual, so that relative errors are
below 2^-100 (Dekker 1971; Joldes, Muller and Popescu, Tight and rigorous error bounds for basic
building blocks of double-word arithmetic, 2017). Nothing here may be contracted: the error of a
product is what is left of it by a fused multiply-add that is written as such.

Loops have no branch and call nothing, so that a processor takes several numbers at once.

A `Scaled` number has an exponent of its own, so that no product of sizes leaves the range.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numba import njit

from fastntk.infinite.fused import fused

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Number: TypeAlias = tuple[float, float]


# The powers of 2 from 2^-1074 to 2, and 0 before them: what is multiplied by one is rounded once.
_LEAST = 1075
_POWERS = np.append(0.0, np.ldexp(1.0, np.arange(1 - _LEAST, 2)))


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
    return rounded, fused(a, b, -rounded)


@njit(nogil=True, cache=True)
def square(a: float) -> Number:
    """Return a² as the sum of the rounded square and its error."""
    return two_product(a, a)


@njit(nogil=True, cache=True)
def _product(x: Number, y: Number) -> Number:
    high, low = two_product(x[0], y[0])
    return _joined(high, low + (x[0] * y[1] + x[1] * y[0]))


@njit(nogil=True, cache=True)
def _sum(x: Number, y: Number) -> Number:
    """Return the sum of two numbers that are not negative."""
    total, rest = two_sum(x[0], y[0])
    return _joined(total, rest + (x[1] + y[1]))


@njit(nogil=True, cache=True, error_model="numpy")
def _quotient(x: Number, y: Number) -> Number:
    first = x[0] / y[0]
    high, low = _product((first, 0.0), y)
    second = ((x[0] - high) + (x[1] - low)) / y[0]
    return _joined(first, second)


@njit(nogil=True, cache=True, error_model="numpy")
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
    most = np.full(n, -(2**40))
    for i in range(k):
        for j in range(n):
            if parts[i, 0, j] > 0.0:
                most[j] = max(most[j], exponents[i, j])
    near, squares = np.empty(parts.shape), np.zeros((2, n))
    for i in range(k):
        for j in range(n):
            # What is beyond the range below the largest entry has no part in the length.
            down = _POWERS[max(_LEAST + min(exponents[i, j] - most[j], 0), 0)]
            near[i, 0, j], near[i, 1, j] = parts[i, 0, j] * down, parts[i, 1, j] * down
            each = near[i, 0, j], near[i, 1, j]
            total = _sum((squares[0, j], squares[1, j]), _product(each, each))
            squares[0, j], squares[1, j] = total
    lengths, units = np.empty((2, n)), np.empty(parts.shape)
    for j in range(n):
        # Of vectors of length 0 all entries are 0, whatever they are divided by.
        some = squares[0, j] if squares[0, j] > 0.0 else 1.0
        lengths[0, j], lengths[1, j] = _root((some, squares[1, j]))
    for i in range(k):
        for j in range(n):
            each = near[i, 0, j], near[i, 1, j]
            units[i, 0, j], units[i, 1, j] = _quotient(each, (lengths[0, j], lengths[1, j]))
    bits = lengths.view(np.int64)
    for j in range(n):
        # Lengths are at least ½, but for rounding: no number with fewer digits is among them.
        shift = (bits[0, j] >> 52) - 1022 if squares[0, j] > 0.0 else 0
        down = _POWERS[_LEAST - shift] if squares[0, j] > 0.0 else 0.0
        lengths[0, j], lengths[1, j] = lengths[0, j] * down, lengths[1, j] * down
        most[j] = most[j] + shift if squares[0, j] > 0.0 else 0
    return lengths, most, units
