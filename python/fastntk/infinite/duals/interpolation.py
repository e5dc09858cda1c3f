# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Costly functions of single samples, computed at a few Chebyshev points and interpolated.

Points are added until those before them give the function at the new ones to the error that is
allowed: all points together then have an error that is far smaller still.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk.infinite.duals.base import Array

# Intervals between the points at first.
_FEWEST = 8


def interpolated(function: Callable[[Array], Array], s: Array, error: float) -> Array:
    """Return a function at s > 0, computed at fewer points where that is exact enough.

    Parameters
    ----------
    function : callable
        Takes standard deviations (n,) and returns (K, n): vectors, and their lengths in the last
        row.
    s : ndarray (n,)
        Standard deviations above 0, ascending.
    error : float
        What a vector may be off, as a share of its length.
    """
    intervals = _FEWEST
    if len(s) <= 2 * intervals + 1:
        return function(s)
    low, high = np.log(s[[0, -1]])
    x = np.clip((2 * np.log(s) - (low + high)) / (high - low), -1.0, 1.0)
    values = function(_deviations(_points(intervals), low, high))
    # The next points would be more than half as many as there are samples.
    while 4 * intervals < len(s):
        new = _points(2 * intervals)[1::2]
        right = function(_deviations(new, low, high))
        off = values @ _weights(intervals, new) - right
        merged = np.empty((len(values), 2 * intervals + 1))
        merged[:, ::2], merged[:, 1::2] = values, right
        values, intervals = merged, 2 * intervals
        if (np.linalg.norm(off, axis=0) <= error * right[-1]).all():
            return values @ _weights(intervals, x)
    return function(s)


def _deviations(x: Array, low: float, high: float) -> Array:
    return np.exp((low + high) / 2 + x * (high - low) / 2)


def _points(intervals: int) -> Array:
    """Return the Chebyshev points, those of half as many intervals among them."""
    return np.asarray(np.sin(np.pi / 2 * np.arange(-intervals, intervals + 1, 2) / intervals))


def _weights(intervals: int, x: Array) -> Array:
    """Return with which weights (intervals + 1, n) the values at the points give those at x.

    J.-P. Berrut and L. N. Trefethen, "Barycentric Lagrange interpolation", SIAM Review 46, 2004.
    """
    signs = np.ones(intervals + 1)
    signs[1::2] = -1.0
    signs[[0, -1]] /= 2
    distances = x - _points(intervals)[:, np.newaxis]
    exact = distances == 0
    terms = np.divide(signs[:, np.newaxis], distances, out=np.zeros_like(distances), where=~exact)
    at_points = exact.any(axis=0)
    terms[:, at_points] = exact[:, at_points]
    return np.asarray(terms / terms.sum(axis=0))
