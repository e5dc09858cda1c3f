# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Power series whose coefficients are products of those of two samples, each pair at its argument.

For samples with coefficients a_k and b_k such that Σ_k a_k² and Σ_k b_k² are at most 1, the sum
Σ_k a_k b_k x^k over k ≥ m is at most √(τ_m υ_m) |x|^m, with the tails τ_m = Σ_{k≥m} a_k² and υ_m:
so many terms are added for a few neighbouring pairs as the largest of their arguments needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array

# Pairs for which the number of terms is chosen together, and those of which all are summed together
# where that adds few terms: the longer the rows of coefficients, the faster they come into the
# nearest cache, where the sums stay.
_PAIRS_AT_ONCE, PAIRS_AT_ONCE = 64, 512
_FEW = 1.25


@dataclass(frozen=True)
class Series:
    """Coefficients of samples.

    Attributes
    ----------
    coefficients : ndarray (K, n)
        a_k.
    rest : ndarray (n,)
        What the K coefficients leave out of the sum of all squares.
    limits : ndarray (K + 1,)
        Up to which |x| so many terms are enough, for any two of all samples.
    """

    coefficients: Array
    rest: Array
    limits: Array

    @classmethod
    def of(cls, coefficients: Array, rest: Array, error: float) -> Self:
        """Return the series of samples, without the terms that no pair needs.

        Parameters
        ----------
        coefficients : ndarray (K, n)
            a_k.
        rest : ndarray (n,)
            See above.
        error : float
            What a sum may leave out.
        """
        # The tail of each sample after each number of terms, and the largest of all samples.
        tails = np.concatenate([coefficients**2, rest[np.newaxis]])[::-1].cumsum(axis=0)[::-1]
        largest = tails.max(axis=1, initial=0.0)
        enough = np.flatnonzero(largest <= error)
        terms = int(enough[0]) if len(enough) else len(coefficients)
        with np.errstate(divide="ignore", over="ignore"):
            limits = (error / largest[: terms + 1]) ** (1 / np.arange(terms + 1.0))
        limits[0] = 1.0 if terms == 0 else -1.0
        return cls(coefficients[:terms], tails[terms], limits)


@njit(nogil=True, cache=True)
def terms_up_to(x: float, limits: Array) -> int:
    """Return how many terms are enough for arguments of at most this size."""
    last = len(limits) - 1
    for terms in range(last):
        if x <= limits[terms]:
            return terms
    return last


@njit(nogil=True, cache=True, fastmath={"contract"})
def _add_terms(total: Array, x: Array, row: Array, columns: Array, first: int) -> None:
    """Write Σ_k row[k] columns[k, first + j] x_j^k by Horner's rule, four terms at a time."""
    last = first + len(total)
    k = len(row) // 4 * 4
    for j in range(len(total)):
        total[j] = 0.0
    for m in range(len(row) - 1, k - 1, -1):
        a, p = row[m], columns[m, first:last]
        for j in range(len(total)):
            total[j] = total[j] * x[j] + a * p[j]
    while k > 0:
        k -= 4
        a, b, c, d = row[k], row[k + 1], row[k + 2], row[k + 3]
        p, q = columns[k, first:last], columns[k + 1, first:last]
        r, s = columns[k + 2, first:last], columns[k + 3, first:last]
        for j in range(len(total)):
            value = (total[j] * x[j] + d * s[j]) * x[j] + c * r[j]
            total[j] = (value * x[j] + b * q[j]) * x[j] + a * p[j]


@njit(nogil=True, cache=True)
def _add_terms_once(x: float, row: Array, columns: Array, column: int) -> float:
    """Return Σ_k row[k] columns[k, column] x^k."""
    total = 0.0
    for k in range(len(row) - 1, -1, -1):
        total = total * x + row[k] * columns[k, column]
    return total


@njit(nogil=True, cache=True)
def _two_largest(x: Array) -> tuple[int, float, float]:
    """Return where |x| is largest, and the two largest |x|."""
    position, first, second = 0, 0.0, 0.0
    for j in range(len(x)):
        size = abs(x[j])
        if size > first:
            position, first, second = j, size, first
        elif size > second:
            second = size
    return position, first, second


@njit(nogil=True, cache=True)
def add_series(
    total: Array, x: Array, row: Array, columns: Array, first: int, limits: Array
) -> None:
    """Write Σ_k row[k] columns[k, first + j] x_j^k for some neighbouring pairs.

    Of each few of them the pair with the largest argument, which is often that of a sample with
    itself, is taken by itself: all others need fewer terms.

    Parameters
    ----------
    total, x : ndarray (m,)
        Where the sums go, and the arguments.
    row, columns : ndarray (K,), (K, columns)
        Coefficients of one sample, and of others.
    first : int
        The first of these.
    limits : ndarray (K + 1,)
        See `Series`.
    """
    m = len(x)
    parts = (m + _PAIRS_AT_ONCE - 1) // _PAIRS_AT_ONCE
    found = np.empty((3, parts), np.int64)
    positions, alone, others = found[0], found[1], found[2]
    most, needed = 0, 0
    for part in range(parts):
        start, stop = part * _PAIRS_AT_ONCE, min((part + 1) * _PAIRS_AT_ONCE, m)
        position, largest, second = _two_largest(x[start:stop])
        positions[part], alone[part] = start + position, terms_up_to(largest, limits)
        others[part] = terms_up_to(second, limits)
        most = max(most, others[part])
        needed += others[part] * (stop - start)
    together = most * m <= _FEW * needed
    if together:
        _add_terms(total, x, row[:most], columns, first)
    for part in range(parts):
        if together:
            others[part] = most
        else:
            start, stop = part * _PAIRS_AT_ONCE, min((part + 1) * _PAIRS_AT_ONCE, m)
            terms = row[: others[part]]
            _add_terms(total[start:stop], x[start:stop], terms, columns, first + start)
        if alone[part] > others[part]:
            j = positions[part]
            total[j] = _add_terms_once(x[j], row[: alone[part]], columns, first + j)


@njit(nogil=True, cache=True, fastmath={"contract"})
def write_gaps(cosines: Array, near: Array, far: Array) -> None:
    """Write 1 ∓ c, brought within their bounds."""
    for j in range(len(near)):
        gap = 1.0 - cosines[j]
        gap = 0.0 if gap < 0.0 else gap
        gap = 2.0 if gap > 2.0 else gap
        near[j], far[j] = gap, 2.0 - gap
