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
    def of(cls, parts: Array, exponents: NDArray[np.int64]) -> Scaled:
        """Return the numbers (high + low) · 2^exponent, of any size."""
        shifts = np.frexp(parts[0])[1]
        return cls(np.ldexp(parts, -shifts), exponents + shifts)

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
        parts = product(self.parts, np.array([[significand], [0.0]]))
        return Scaled.of(parts, self.exponents + exponent)

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
    exponents = np.max(
        [np.where(each.parts[0] > 0, each.exponents, -(2**40)) for each in entries], axis=0
    )
    # What is beyond the range of numbers below the largest entry has no part in the length.
    near = [
        np.ldexp(each.parts, np.maximum(each.exponents - exponents, -(2**12)).astype(np.int32))
        for each in entries
    ]
    length = _lengths(np.stack(near))
    return Scaled.of(length, exponents), [_quotients(each, length) for each in near]


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
def _products(x: Array, y: Array, out: Array) -> None:
    for j in range(out.shape[1]):
        out[0, j], out[1, j] = _product((x[0, j], x[1, j]), (y[0, j], y[1, j]))


def product(x: Array, y: Array) -> Array:
    """Return the products of numbers (2, n), or (2, 1), that are not far from 1."""
    x, y = np.broadcast_arrays(x, y)
    out = np.empty(x.shape)
    _products(np.ascontiguousarray(x), np.ascontiguousarray(y), out)
    return out


@njit(nogil=True, cache=True)
def _quotients(x: Array, y: Array) -> Array:
    out = np.zeros(x.shape)
    for j in range(x.shape[1]):
        if y[0, j] != 0.0:
            out[0, j], out[1, j] = _quotient((x[0, j], x[1, j]), (y[0, j], y[1, j]))
    return out


@njit(nogil=True, cache=True)
def _lengths(entries: Array) -> Array:
    out = np.zeros((2, entries.shape[2]))
    for j in range(entries.shape[2]):
        total = (0.0, 0.0)
        for k in range(len(entries)):
            each = (entries[k, 0, j], entries[k, 1, j])
            total = _sum(total, _product(each, each))
        if total[0] > 0.0:
            out[0, j], out[1, j] = _root(total)
    return out
