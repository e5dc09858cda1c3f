# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gaps of samples that are close, or nearly opposite, from differences.

The part of z perpendicular to x is that of z − αx, whatever α is. With α = z_p/x_p, where x_p is
the largest entry of x, the entries of x_p (z − αx) are determinants of entries of x and z, and
nothing of α is rounded. Determinants have all digits but for two roundings (Jeannerod, Louvet and
Muller, Further analysis of Kahan's algorithm for the accurate computation of 2×2 determinants,
2013), and are 0 just where the samples are multiples of each other. What x has in z − αx is taken
out by its projection; it is at most √d times the perpendicular part, as x_p is at least ‖x‖/√d.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fastntk.infinite.double_double import two_product

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Vector = NDArray[np.float64]

TINY = 5e-324  # the least positive number: the gap of opposite samples

_EPS = float(np.finfo(np.float64).eps)


def close_gap_error(dimension: int) -> float:
    """Return by how much gaps of close samples may be off, in relative terms.

    They are quotients of two sums of d squares, each of which adds d roundings, by half an ε; those
    of the entries before them are less than 8 √d in the sum.
    """
    return 4 * (dimension + 16) * _EPS


@njit(nogil=True, cache=True)
def close_gap(x: Vector, z: Vector) -> float:
    """Return the gap of θ, with a sign, to nearly all digits, where θ is close to 0 or π."""
    pivot = np.argmax(np.abs(x))
    own, other = x[pivot], z[pivot]
    across = np.empty_like(x)
    for k in range(x.shape[0]):
        high, low = two_product(own, z[k])
        taken, taken_low = two_product(other, x[k])
        across[k] = (((high - taken) + low) - taken_low) / own
    xx = 0.0
    xz = 0.0
    zz = 0.0
    along = 0.0
    parallel = True
    for k in range(x.shape[0]):
        xx += x[k] * x[k]
        xz += x[k] * z[k]
        zz += z[k] * z[k]
        along += x[k] * across[k]
        parallel &= across[k] == 0.0
    beta = along / xx
    square = 0.0
    for k in range(x.shape[0]):
        difference = across[k] - beta * x[k]
        square += difference * difference
    sine2 = square / zz
    gap = sine2 / (1.0 + math.sqrt(1.0 - sine2))
    if not parallel:  # although the square may have vanished
        gap = max(gap, 2.0 * TINY)
    return gap if xz > 0.0 else -max(gap, TINY)
