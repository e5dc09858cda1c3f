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
    from numpy.typing import NDArray

    from fastntk.infinite.duals.base import Array

# Pairs for which the number of terms is chosen together: their sums stay in the nearest cache.
PAIRS_AT_ONCE = 64


@dataclass(frozen=True)
class Series:
    """Coefficients of samples.

    Attributes
    ----------
    coefficients : ndarray (n, K)
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
        coefficients : ndarray (n, K)
            a_k.
        rest : ndarray (n,)
            See above.
        error : float
            What a sum may leave out.
        """
        largest = _largest_tails(coefficients, rest)
        enough = np.flatnonzero(largest <= error)
        terms = int(enough[0]) if len(enough) else coefficients.shape[1]
        with np.errstate(divide="ignore", over="ignore"):
            limits = (error / largest[: terms + 1]) ** (1 / np.arange(terms + 1.0))
        limits[0] = 1.0 if terms == 0 else -1.0
        cut = coefficients[:, terms:]
        return cls(
            np.ascontiguousarray(coefficients[:, :terms]), rest + (cut**2).sum(axis=1), limits
        )

    def take(self, samples: slice | NDArray[np.intp]) -> Self:
        """Return the series of some of the samples."""
        return type(self)(self.coefficients[samples], self.rest[samples], self.limits)


@njit(nogil=True, cache=True)
def _largest_tails(coefficients: Array, rest: Array) -> Array:
    """Return the largest tail of any sample after each number of terms."""
    n, terms = coefficients.shape
    result = np.zeros(terms + 1)
    for i in range(n):
        tail = rest[i]
        result[terms] = max(result[terms], tail)
        for k in range(terms - 1, -1, -1):
            tail += coefficients[i, k] ** 2
            result[k] = max(result[k], tail)
    return result


@njit(nogil=True, cache=True)
def terms_up_to(x: float, limits: Array) -> int:
    """Return how many terms are enough for arguments of at most this size."""
    last = len(limits) - 1
    for terms in range(last):
        if x <= limits[terms]:
            return terms
    return last


@njit(nogil=True, cache=True)
def fill_panel(panel: Array, coefficients: Array) -> None:
    """Write the first coefficients (m, K) of some samples as rows of a panel (k, m)."""
    for j in range(len(coefficients)):
        for k in range(len(panel)):
            panel[k, j] = coefficients[j, k]


@njit(nogil=True, cache=True, fastmath={"contract"})
def add_terms(total: Array, x: Array, row: Array, panel: Array) -> None:
    """Write Σ_k row[k] panel[k, j] x_j^k by Horner's rule, two terms at a time.

    Parameters
    ----------
    total, x : ndarray (m,)
        Where the sums go, and the arguments.
    row : ndarray (k,)
        Coefficients of one sample.
    panel : ndarray (≥ k, m)
        Coefficients of the others.
    """
    k = len(row)
    even = k % 2 == 0
    for j in range(len(total)):
        total[j] = 0.0 if even else row[k - 1] * panel[k - 1, j]
    k -= 0 if even else 1
    while k > 0:
        k -= 2
        low, high = row[k], row[k + 1]
        first, second = panel[k], panel[k + 1]
        for j in range(len(total)):
            total[j] = (total[j] * x[j] + high * second[j]) * x[j] + low * first[j]


@njit(nogil=True, cache=True)
def _add_terms_once(x: float, row: Array, column: Array) -> float:
    """Return Σ_k row[k] column[k] x^k."""
    total = 0.0
    for k in range(len(row) - 1, -1, -1):
        total = total * x + row[k] * column[k]
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
    values: Array, first: int, x: Array, rows: Array, columns: Array, limits: Array
) -> None:
    """Write Σ_k rows[i, k] columns[j, k] x_ij^k for some neighbouring pairs.

    The pair of each row with the largest argument, which is often that of a sample with itself, is
    taken by itself: all others need fewer terms.

    Parameters
    ----------
    values : ndarray (n, …)
        Where the sums go, from the column `first` on.
    first : int
        See above.
    x : ndarray (n, PAIRS_AT_ONCE)
        Arguments; of columns beyond the last sample, anything.
    rows, columns : ndarray (n, K), (m, K)
        Coefficients of the samples of the rows, and of those few of the columns.
    limits : ndarray (K + 1,)
        See `Series`.
    """
    n, m = len(rows), len(columns)
    terms = np.empty((n, 3), np.int64)
    most = 0
    for i in range(n):
        position, largest, second = _two_largest(x[i, :m])
        terms[i, 0], terms[i, 1] = position, terms_up_to(largest, limits)
        terms[i, 2] = terms_up_to(second, limits)
        most = max(most, terms[i, 2])
    panel = np.empty((most, PAIRS_AT_ONCE))
    fill_panel(panel, columns)
    for i in range(n):
        position, alone, others = terms[i]
        add_terms(values[i, first : first + m], x[i, :m], rows[i, :others], panel)
        if alone > others:
            total = _add_terms_once(x[i, position], rows[i, :alone], columns[position])
            values[i, first + position] = total


@njit(nogil=True, cache=True)
def sum_series(arguments: Array, rows: Array, columns: Array, limits: Array) -> Array:
    """Return Σ_k rows[i, k] columns[j, k] x_ij^k.

    Parameters
    ----------
    arguments : ndarray (n, m)
        x_ij.
    rows, columns : ndarray (n, K), (m, K)
        Coefficients of the samples of the rows and of the columns.
    limits : ndarray (K + 1,)
        See `Series`.
    """
    result = np.empty(arguments.shape)
    n, m = arguments.shape
    x = np.empty((n, PAIRS_AT_ONCE))
    for first in range(0, m, PAIRS_AT_ONCE):
        last = min(first + PAIRS_AT_ONCE, m)
        for i in range(n):
            for j in range(first, last):
                x[i, j - first] = arguments[i, j]
        add_series(result, first, x, rows, columns[first:last], limits)
    return result
