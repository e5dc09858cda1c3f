# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Polynomials: Hermite series that end.

With φ(su)/√E[φ(su)²] = Σ_k a_k(s) h_k(u) in the orthonormal Hermite polynomials, and b_k = a_k(t),

    c = Σ_k a_k b_k ρ^k,      1 − c = ½ Σ_k (a_k − b_k)² + Σ_k a_k b_k (1 − ρ^k)

for normal u and v with the correlation ρ ≥ 0 (Mehler's formula), where 1 − ρ^k comes from 1 − ρ
without cancellation. For obtuse angles −b_k takes the place of b_k for odd k. The a_k are unit
vectors, which have no scale: only √E[φ(su)²] has the range of a power of s.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.polynomial import hermite_e, polynomial
from scipy import special

from fastntk.infinite.duals.base import CANCELLATION, State
from fastntk.infinite.duals.compiled import CompiledDual, Loop

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs


@Loop
def fill_polynomial(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,
    tangent: bool,
    out: RowGaps,
) -> int:
    """Write 1 ∓ c, see `Loop`; all of them have their digits.

    Samples have the standard deviation, 0 where φ is 0 of them, and for φ and for φ' a_k and their
    derivatives by log s; the constants are the numbers of the k.
    """
    near, far, difference = pairs
    scratch = np.empty((4, _PAIRS_AT_ONCE))
    sample = 2
    for part in range(2 if tangent else 1):
        terms = int(constants[part])
        own, others = row[sample : sample + 2 * terms], columns[sample : sample + 2 * terms]
        sample += 2 * terms
        for start in range(0, len(near), _PAIRS_AT_ONCE):
            stop = min(start + _PAIRS_AT_ONCE, len(near))
            gaps = near[start:stop], far[start:stop]
            relative, lost = scratch[0, : stop - start], scratch[1, : stop - start]
            t, present = columns[0, first + start :], columns[1, first + start :]
            for j in range(stop - start):
                relative[j] = 2.0 * difference[start + j] / (row[0] + t[j])
                lost[j] = 0.0
            found = scratch[2, : stop - start], scratch[3, : stop - start]
            _sum_gaps(found, gaps, (relative, lost), own, others[:, first + start :])
            new_near, new_far = out[2 * part][start:stop], out[2 * part + 1][start:stop]
            for j in range(stop - start):
                zero = row[1] * present[j] == 0.0
                new_near[j] = 1.0 if zero else found[0][j]
                new_far[j] = 1.0 if zero else found[1][j]
    return 0


class Polynomial(CompiledDual):
    """The dual of a polynomial.

    Parameters
    ----------
    coefficients : tuple of float
        Those of the powers of x, lowest first.
    """

    gap_error = CANCELLATION
    keeps_digits = True
    loop = fill_polynomial

    def __init__(self, coefficients: tuple[float, ...]) -> None:
        self.coefficients = np.trim_zeros(np.array(coefficients, dtype=np.float64), "b")

    def state(self, deviation: Array) -> State:
        """Return the state of samples: a_k(s), and after them their derivatives by log s."""
        slopes = np.asarray(polynomial.polyder(self.coefficients), np.float64)
        size, series = _unit_series(self.coefficients, deviation)
        slope_size, slope_series = _unit_series(slopes, deviation)
        samples = np.concatenate([np.stack([deviation, np.sign(size)]), series, slope_series])
        constants = np.array([len(series) / 2, len(slope_series) / 2])
        return State(deviation, size, slope_size, samples, constants)


def _unit_series(coefficients: Array, deviation: Array) -> tuple[Array, Array]:
    """Return √E[φ(su)²] (n,), and a_k(s) and their derivatives by log s (2K, n)."""
    if not coefficients.any():
        return np.zeros_like(deviation), np.zeros((2, len(deviation)))
    # x^j = s^j u^j, and u^j in Hermite polynomials by a triangular matrix.
    powers = np.flatnonzero(coefficients)
    terms = np.zeros((coefficients.size, powers.size))
    for column, j in enumerate(powers):
        norms = np.sqrt([float(math.factorial(k)) for k in range(j + 1)])
        power = hermite_e.poly2herme([0.0] * int(j) + [1.0])
        terms[: j + 1, column] = coefficients[j] * power * norms
    # The largest power is taken out; for a single one nothing but the unit vector is left.
    with np.errstate(divide="ignore"):
        logarithms = special.xlogy(powers, deviation[:, np.newaxis])
    sizes = np.log(np.abs(coefficients[powers])) + logarithms
    largest = powers[np.argmax(sizes, axis=1)]
    with np.errstate(divide="ignore", under="ignore"):
        relative = deviation ** (powers[:, np.newaxis] - largest)
    relative = np.where(powers[:, np.newaxis] == largest, 1.0, relative)
    series = terms @ relative
    rates = terms @ (relative * (powers[:, np.newaxis] - largest))
    length = np.sqrt((series**2).sum(axis=0))
    series /= length
    rates /= length
    rates -= series * (series * rates).sum(axis=0)
    return length * deviation**largest, np.concatenate([series, rates])


_PAIRS_AT_ONCE = 128

# Up to this relative difference of the norms, that of the a_k is taken from their derivatives, with
# the square of it for the relative error.
_CLOSE = 2.0**-17


@njit(nogil=True, cache=True, fastmath={"contract"})
def _sum_gaps(
    out: tuple[Array, Array],
    gaps: tuple[Array, Array],
    pairs: tuple[Array, Array],
    row: Array,
    columns: Array,
) -> None:
    """Write the gaps of some pairs.

    Parameters
    ----------
    out, gaps : tuple of ndarray (m,)
        Where they go, and those of ρ.
    pairs : tuple of ndarray (m,)
        Relative differences of the norms, and 0, of which 1 − |ρ|^k is made.
    row, columns : ndarray (2K,), (2K, ≥ m)
        a_k and their derivatives by log s.
    """
    near, far = out
    relative, lost = pairs
    terms = len(row) // 2
    for j in range(len(near)):
        near[j] = far[j] = 0.0
    for k in range(terms):
        a, rate = row[k], row[terms + k]
        for j in range(len(near)):
            b = columns[k, j]
            apart = a - b
            if abs(relative[j]) < _CLOSE:
                apart = relative[j] * (0.5 * (rate + columns[terms + k, j]))
            apart = 0.5 * apart * apart
            together = 0.5 * (a + b) * (a + b)
            turned = a * b * lost[j]
            acute, obtuse = apart + turned, together - turned
            swapped = k % 2 == 1 and gaps[0][j] > gaps[1][j]
            near[j] += obtuse if swapped else acute
            far[j] += acute if swapped else obtuse
            lost[j] += min(gaps[0][j], gaps[1][j]) * (1.0 - lost[j])
