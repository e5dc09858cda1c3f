# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""By how much a function of parallel samples of different norms fails to be parallel.

For a standard normal u and g_s(u) = f(su)/√E[f(su)²], this is

    1 − E[g_s g_t] = ½ E[(g_s − g_t)²],

an integral of a square, which keeps the digits that one minus the expectation loses. The integral
is the trapezoidal rule in the logarithms of u > 0 and of −u > 0: in these an entire function of su,
of whatever scale, is analytic in a strip of half the width π/4, and so is one with a kink at 0. The
error of the rule with the step h is exp(−2π (π/4)/h) of the integral.
L. N. Trefethen, J. A. C. Weideman, "The exponentially convergent trapezoidal rule", 2014.

Between norms that are close, g_s − g_t is (s − t) times the mean of the derivative by s.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk.infinite.duals.base import Array

_STEP = 0.125  # error exp(−39)
_LARGEST = 9.0  # the normal density is 1e-18 of its maximum there
# Below this over the larger norm, and over 1, f is constant, but for 1e-5 of itself, or linear and
# small.
_LEAST = 1e-5

# Up to this relative difference, derivatives at the nodes of Gauss are taken in place of the
# difference, with a relative error of 1e-12.
_CLOSE = 0.05
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(3)

_PAIRS_AT_ONCE = 256


def parallel_gap(
    function: Callable[[Array], Array],
    slope: Callable[[Array], Array],
    s: Array,
    t: Array,
    difference: Array,
) -> Array:
    """Return 1 − E[f(su)f(tu)]/√(E[f(su)²] E[f(tu)²]), to about twice the digits of s and t.

    Parameters
    ----------
    function, slope : callable
        f and f', analytic but for 0.
    s, t : ndarray (n,)
        Positive numbers.
    difference : ndarray (n,)
        s − t, with digits that the difference of s and t may lack.

    Returns
    -------
    ndarray (n,)
    """
    result = np.empty_like(s)
    # Pairs of similar norms share their nodes.
    order = np.argsort(np.maximum(s, t))
    for first in range(0, len(s), _PAIRS_AT_ONCE):
        part = order[first : first + _PAIRS_AT_ONCE]
        a, b, d = s[part], t[part], difference[part]
        nodes, weights = _nodes(max(1.0, float(a.max()), float(b.max())))
        apart = _distance(function, nodes, weights, a, b)
        close = np.abs(d) < _CLOSE * np.minimum(a, b)
        if close.any():
            apart[:, close] = _small_distance(
                (function, slope), nodes, weights, a[close], b[close], d[close]
            )
        result[part] = weights @ apart**2 / 2
    return result


def opposite_gap(function: Callable[[Array], Array], s: Array, t: Array, sign: Array) -> Array:
    """Return 1 − sign · E[f(su)f(−tu)]/√(E[f(su)²] E[f(tu)²]), for signs of ±1 (n,)."""
    result = np.empty_like(s)
    order = np.argsort(np.maximum(s, t))
    for first in range(0, len(s), _PAIRS_AT_ONCE):
        part = order[first : first + _PAIRS_AT_ONCE]
        a, b = s[part], t[part]
        nodes, weights = _nodes(max(1.0, float(a.max()), float(b.max())))
        left, right = _unit(function(a * nodes), weights), _unit(function(-b * nodes), weights)
        result[part] = weights @ (left - sign[part] * right) ** 2 / 2
    return result


def _nodes(scale: float) -> tuple[Array, Array]:
    """Return nodes (2k, 1) on both sides of 0, and weights (2k,)."""
    top = math.log(_LARGEST)
    count = math.ceil((top - math.log(_LEAST / scale)) / _STEP)
    u = np.exp(top - _STEP * np.arange(count))
    weights = _STEP * u * np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    # What lies below the last node, if the function is constant there.
    weights[-1] /= -math.expm1(-_STEP)
    return np.concatenate([u, -u])[:, np.newaxis], np.concatenate([weights, weights])


def _distance(
    function: Callable[[Array], Array], nodes: Array, weights: Array, s: Array, t: Array
) -> Array:
    return _unit(function(s * nodes), weights) - _unit(function(t * nodes), weights)


def _unit(values: Array, weights: Array) -> Array:
    return values / np.sqrt(weights @ values**2)


def _small_distance(
    functions: tuple[Callable[[Array], Array], Callable[[Array], Array]],
    nodes: Array,
    weights: Array,
    s: Array,
    t: Array,
    difference: Array,
) -> Array:
    function, slope = functions
    total = np.zeros((len(nodes), len(s)))
    for point, weight in zip(_POINTS, _WEIGHTS, strict=True):
        middle = (s + t) / 2 + point * difference / 2
        value, change = function(middle * nodes), nodes * slope(middle * nodes)
        square = weights @ value**2
        change -= value * (weights @ (value * change) / square)
        total += weight / 2 * change / np.sqrt(square)
    return difference * total
