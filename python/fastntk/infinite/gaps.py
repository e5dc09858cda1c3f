# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gaps: 1 − cos θ in place of the cosine, which would lose the digits of small angles.

A gap with a sign keeps the digits of angles near π as well: it is 1 − cos θ for acute angles,
−(1 + cos θ) for obtuse ones, and never 0 for the latter.

Gaps of pairs of samples come from inner products of rows that are scaled by powers of two, except
for close pairs: their 1 − cos θ would lose its digits, and is taken from differences instead.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fastntk.infinite.double_double import split, two_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.sample_norms import Samples

TINY = 5e-324  # the least positive number: the gap of opposite samples

# What is below the smallest normal number has fewer digits: by how much gaps may be off besides.
UNDERFLOW = 2.0**-1022

# Below this the rounding of `_close_gap`, to angles of about ε² √d, may be all that there is: as a
# rule such samples are multiples of each other.
_AS_GOOD_AS_PARALLEL = 2.0**-190

# A pair with 1 − cos θ below this is close: θ < 0.0625. Above, the rounding of an inner product
# moves θ by less than 16 ε.
CLOSE = 2.0**-9

# So many entries of two rows the BLAS multiplies and adds up, in an order that nobody knows; what
# the parts of the rows make is added up in turn. So sums take fewer roundings one after the
# other, which `cosine_error` counts; for 784 inputs this takes no longer than all at once.
_COLUMNS_AT_ONCE = 256

_EPS = float(np.finfo(np.float64).eps)


def cosine_error(dimension: int) -> float:
    """Return by how much gaps of samples that are not close may be off.

    A sum of k products in any order is off by k roundings at most, each by half an ε of the
    product of both norms (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1);
    the norms and divisions by them take a few more.
    """
    parts = -(-dimension // _COLUMNS_AT_ONCE)
    return (min(dimension, _COLUMNS_AT_ONCE) + parts + 8) * _EPS / 2


def close_gap_error(dimension: int) -> float:
    """Return by how much gaps of close samples may be off, in relative terms.

    They are quotients of two sums of squares of small numbers, each rounded a few times.
    """
    return 4 * (dimension + 16) * _EPS


def gaps_of_angles(theta: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the gaps, with a sign, of angles in [0, π]."""
    obtuse = -np.maximum(2 * np.cos(theta / 2) ** 2, TINY)
    return np.where(theta <= math.pi / 2, 2 * np.sin(theta / 2) ** 2, obtuse)


def fill_gaps(
    X: Samples,
    Z: Samples,
    rows: slice,
    columns: slice,
    out: NDArray[np.float64],
    *,
    same: bool,
) -> None:
    """Write the gaps, with a sign, of the angles ∠(x_i, z_j) for a tile of pairs.

    Rows of zeros are taken as perpendicular to all others but rows of zeros, which are the same
    sample. With `same`, X is Z, and samples are at no distance from themselves.
    """
    if same and rows.start == columns.start:
        # NumPy multiplies a matrix with its own transpose in another way than with that of an equal
        # one, which has other last bits: samples at hand twice, for the rows and for the columns,
        # are taken from one of both.
        X = Z
    d = X.norms.dimension
    first = slice(0, _COLUMNS_AT_ONCE)
    left, right = X.scaled(rows, first), Z.scaled(columns, first)
    np.matmul(left, right.T, out=out)
    for start in range(_COLUMNS_AT_ONCE, d, _COLUMNS_AT_ONCE):
        part = slice(start, start + _COLUMNS_AT_ONCE)
        out += X.scaled(rows, part) @ Z.scaled(columns, part).T
    inverse_rows, inverse_columns = X.inverse_norms(rows), Z.inverse_norms(columns)
    close = _gaps_from_products(out, inverse_rows, inverse_columns)
    if close > 0:
        left = np.array(X.scaled(rows, slice(None)), order="C")
        right = np.array(Z.scaled(columns, slice(None)), order="C")
        offset = rows.start - columns.start if same else len(Z)
        _refine(out, left, right, offset)
    out[np.ix_(inverse_rows == 0.0, inverse_columns == 0.0)] = 0.0


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
    alpha_high, alpha_low = split(alpha)
    along = 0.0
    for k in range(x.shape[0]):
        along += x[k] * _difference(z[k], x[k], alpha, alpha_high, alpha_low)
    beta = along / xx
    square = 0.0
    parallel = True
    for k in range(x.shape[0]):
        difference = _difference(z[k], x[k], alpha, alpha_high, alpha_low) - beta * x[k]
        square += difference * difference
        parallel &= difference == 0.0
    sine2 = square / zz
    gap = sine2 / (1.0 + math.sqrt(1.0 - sine2))
    if gap == 0.0 and not parallel:  # the square vanished
        gap = TINY
    if gap < _AS_GOOD_AS_PARALLEL and _are_multiples(x, z):
        gap = 0.0
    return gap if alpha > 0.0 else -max(gap, TINY)


@njit(nogil=True, cache=True)
def _are_multiples(x: NDArray[np.float64], z: NDArray[np.float64]) -> bool:
    """Return whether x and z are multiples of each other, by exact products of entries."""
    pivot = np.argmax(np.abs(x))
    for k in range(x.shape[0]):
        if two_product(x[pivot], z[k]) != two_product(x[k], z[pivot]):
            return False
    return True


@njit(nogil=True, cache=True)
def _difference(z: float, x: float, alpha: float, alpha_high: float, alpha_low: float) -> float:
    """Return z − αx, rounded about once."""
    product = alpha * x
    high, low = split(x)
    error = ((alpha_high * high - product) + alpha_high * low + alpha_low * high) + alpha_low * low
    return (z - product) - error
