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

from fastntk.infinite.duals.base import CANCELLATION, Dual, Gaps, State

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Correlation


class Polynomial(Dual):
    """The dual of a polynomial.

    Parameters
    ----------
    coefficients : tuple of float
        Those of the powers of x, lowest first.
    """

    gap_error = CANCELLATION
    keeps_digits = True

    def __init__(self, coefficients: tuple[float, ...]) -> None:
        self.coefficients = np.trim_zeros(np.array(coefficients, dtype=np.float64), "b")

    def state(self, deviation: Array) -> State:
        """Return the state of samples: a_k(s), and after them their derivatives by log s."""
        slopes = np.asarray(polynomial.polyder(self.coefficients), np.float64)
        size, series = _unit_series(self.coefficients, deviation)
        slope_size, slope_series = _unit_series(slopes, deviation)
        return State(deviation, size, slope_size, series, slope_series)

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ(u)φ(v)], all samples of x against all of z."""
        assert x.series is not None
        assert z.series is not None
        return _gaps(x, z, (x.series, z.series), pairs)

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ'(u)φ'(v)], all samples of x against all of z."""
        assert x.derivative_series is not None
        assert z.derivative_series is not None
        return _gaps(x, z, (x.derivative_series, z.derivative_series), pairs)


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
        sizes = np.log(np.abs(coefficients[powers])) + np.outer(np.log(deviation), powers)
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


def _gaps(x: State, z: State, series: tuple[Array, Array], pairs: Correlation) -> Gaps:
    near, far = np.empty((2, *pairs.difference.shape))
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = 2 * pairs.difference / (x.deviation[:, np.newaxis] + z.deviation)
    _sum_gaps(Gaps(near, far), pairs.gaps, relative, series)
    zero = (x.activation == 0)[:, np.newaxis] | (z.activation == 0)
    return Gaps(*(np.where(zero, 1.0, gap) for gap in (near, far)))


# Up to this relative difference of the norms, that of the a_k is taken from their derivatives, with
# the square of it for the relative error.
_CLOSE = 2.0**-17


@njit(nogil=True, cache=True, fastmath={"contract"})
def _sum_gaps(
    out: tuple[Array, Array],
    gaps: tuple[Array, Array],
    difference: Array,
    series: tuple[Array, Array],
) -> None:
    near, far = out
    rows, columns = series
    terms = rows.shape[0] // 2
    lost = np.empty(near.shape[1])  # 1 − |ρ|^k
    for i in range(near.shape[0]):
        near[i] = 0.0
        far[i] = 0.0
        lost[:] = 0.0
        for k in range(terms):
            for j in range(near.shape[1]):
                a, b = rows[k, i], columns[k, j]
                apart = a - b
                if abs(difference[i, j]) < _CLOSE:
                    apart = difference[i, j] * (0.5 * (rows[terms + k, i] + columns[terms + k, j]))
                apart = 0.5 * apart * apart
                together = 0.5 * (a + b) * (a + b)
                turned = a * b * lost[j]
                if k % 2 == 1 and gaps[0][i, j] > gaps[1][i, j]:
                    near[i, j] += together - turned
                    far[i, j] += apart + turned
                else:
                    near[i, j] += apart + turned
                    far[i, j] += together - turned
                lost[j] += min(gaps[0][i, j], gaps[1][i, j]) * (1.0 - lost[j])
