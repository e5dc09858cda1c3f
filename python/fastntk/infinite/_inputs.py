# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Norms and angles of the input samples, to all digits at any scale.

Rows are scaled by powers of two, which changes no digit, so that no sum of squares over- or
underflows. Angles of pairs come from inner products of the scaled rows, except for close pairs:
their 1 − cos θ would lose its digits, and their angle is taken from differences instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fastntk.infinite._recursion import TINY

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray

# 1 − cos θ below which a pair is close: θ < 0.0625. Above, the rounding of an inner product moves
# θ by less than 16 ε.
CLOSE = 2.0**-9

_COLUMNS_AT_ONCE = 2048


@dataclass(frozen=True)
class Norms:
    """Norms of samples, ‖x‖ = significand · 2^exponent.

    Attributes
    ----------
    dimension : int
        Number of inputs d.
    significands : ndarray (n,)
        At least 1/2, or 0 for a zero row.
    exponents : ndarray (n,)
        Such that the largest entry of a row is between 1/2 and 1 times 2^exponent.
    """

    dimension: int
    significands: NDArray[np.float64]
    exponents: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.significands)

    def followed_by(self, others: Norms) -> Norms:
        """Return the norms of both sets of samples, one after the other."""
        return Norms(
            self.dimension,
            np.concatenate([self.significands, others.significands]),
            np.concatenate([self.exponents, others.exponents]),
        )


@dataclass(frozen=True)
class Samples:
    """Samples as given, one a row, float32 or float64, and their norms."""

    rows: FloatArray
    norms: Norms

    @classmethod
    def of(cls, X: FloatArray) -> Samples:
        """Measure the rows of X."""
        n = len(X)
        significands, exponents = np.empty(n), np.empty(n, dtype=np.int64)
        step = max(1, 2**18 // X.shape[1])
        for first in range(0, n, step):
            rows = slice(first, first + step)
            largest = np.maximum(X[rows].max(axis=1), -X[rows].min(axis=1)).astype(np.float64)
            # 2^1024 and the reciprocals of subnormal numbers are not representable.
            exponents[rows] = np.clip(np.frexp(largest)[1], -1022, 1023)
            scaled = _scaled(X[rows], exponents[rows])
            significands[rows] = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
        return cls(X, Norms(X.shape[1], significands, exponents))

    def __len__(self) -> int:
        return len(self.rows)

    def scaled(self, rows: slice, columns: slice) -> NDArray[np.float64]:
        """Return a panel of the rows, scaled by powers of two."""
        return _scaled(self.rows[rows, columns], self.norms.exponents[rows])

    def inverse_significands(self, rows: slice) -> NDArray[np.float64]:
        """Return 1 / significand, and 0 for zero rows."""
        values = self.norms.significands[rows]
        return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


def _scaled(X: FloatArray, exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.multiply(X, np.ldexp(1.0, -exponents)[:, np.newaxis], dtype=np.float64)


def gaps(
    X: Samples,
    Z: Samples,
    rows: slice,
    columns: slice,
    out: NDArray[np.float64],
    *,
    same: bool,
) -> None:
    """Write the gaps, with a sign, of the angles ∠(x_i, z_j) for a tile of pairs.

    Rows of zeros are taken as perpendicular to all others. With `same`, X is Z, and samples are at
    no distance from themselves.
    """
    d = X.norms.dimension
    first = slice(0, _COLUMNS_AT_ONCE)
    left, right = X.scaled(rows, first), Z.scaled(columns, first)
    np.matmul(left, right.T, out=out)
    for start in range(_COLUMNS_AT_ONCE, d, _COLUMNS_AT_ONCE):
        part = slice(start, start + _COLUMNS_AT_ONCE)
        out += X.scaled(rows, part) @ Z.scaled(columns, part).T
    inverse_rows = X.inverse_significands(rows)
    close = _gaps_from_products(out, inverse_rows, Z.inverse_significands(columns))
    if close == 0:
        return
    if d > _COLUMNS_AT_ONCE:
        left, right = X.scaled(rows, slice(None)), Z.scaled(columns, slice(None))
    offset = rows.start - columns.start if same else len(Z)
    _refine(out, left, right, offset)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _gaps_from_products(
    products: NDArray[np.float64], rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> int:
    """Turn inner products into gaps; return how many pairs are close, or nearly opposite."""
    close = 0
    for i in range(products.shape[0]):
        line = products[i]
        for j in range(line.shape[0]):
            cosine = line[j] * (rows[i] * columns[j])
            gap = max(1.0 - abs(cosine), 0.0)
            line[j] = gap if cosine >= 0.0 else -gap
            close += gap < CLOSE
    return close


@njit(nogil=True, cache=True)
def _refine(
    gaps: NDArray[np.float64],
    left: NDArray[np.float64],
    right: NDArray[np.float64],
    offset: int,
) -> None:
    for i in range(gaps.shape[0]):
        for j in range(gaps.shape[1]):
            if i + offset == j:
                gaps[i, j] = 0.0
            elif abs(gaps[i, j]) < CLOSE:
                gaps[i, j] = _close_gap(left[i], right[j])


@njit(nogil=True, cache=True)
def _close_gap(x: NDArray[np.float64], z: NDArray[np.float64]) -> float:
    """Return the gap of θ to nearly all digits, where θ is close to 0 or π.

    With α = ⟨x, z⟩/‖x‖², the part of z perpendicular to x is z − αx, and sin θ its norm over ‖z‖.
    The products α x_k are formed exactly (Dekker), so each difference is rounded once; what is
    left of x in it, by the rounding of α, is taken out by a second step.
    """
    xx = 0.0
    xz = 0.0
    zz = 0.0
    for k in range(x.shape[0]):
        xx += x[k] * x[k]
        xz += x[k] * z[k]
        zz += z[k] * z[k]
    alpha = xz / xx
    alpha_high, alpha_low = _split(alpha)
    along = 0.0
    for k in range(x.shape[0]):
        along += x[k] * _difference(z[k], x[k], alpha, alpha_high, alpha_low)
    beta = along / xx
    square = 0.0
    for k in range(x.shape[0]):
        difference = _difference(z[k], x[k], alpha, alpha_high, alpha_low) - beta * x[k]
        square += difference * difference
    sine2 = square / zz
    gap = sine2 / (1.0 + math.sqrt(1.0 - sine2))
    return gap if alpha > 0.0 else -max(gap, TINY)


@njit(nogil=True, cache=True)
def _split(a: float) -> tuple[float, float]:
    """Return two numbers of 26 bits whose sum is a."""
    shifted = 134217729.0 * a  # 2^27 + 1
    high = shifted - (shifted - a)
    return high, a - high


@njit(nogil=True, cache=True)
def _difference(z: float, x: float, alpha: float, alpha_high: float, alpha_low: float) -> float:
    """Return z − αx, rounded about once."""
    product = alpha * x
    high, low = _split(x)
    error = ((alpha_high * high - product) + alpha_high * low + alpha_low * high) + alpha_low * low
    return (z - product) - error
