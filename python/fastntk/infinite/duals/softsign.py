# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Softsign: by Hermite series, and by integrals over the plane where its kink makes these long.

In polar coordinates u = s r cos a and v = t r cos(a − θ). Where both are positive, as well as where
one of them is, the functions of r and of a are smooth: analytic in the logarithm of r, along which
the trapezoidal rule converges exponentially, and in the logarithms of the angular distances from
the axes, in octaves of which Gauss's rule does.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fastntk.infinite.duals.base import CANCELLATION
from fastntk.infinite.duals.hermite import hermite_coefficients
from fastntk.infinite.duals.kinked import OFF, TERMS, Kinked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.duals.base import Array, Correlation, Gaps, State

# Quadratures give the terms of series for samples between these.
_SMALLEST, _LARGEST = 1e-100, 100.0

# The density is 1e-18 of its maximum at the largest radius; below the smallest one, over the larger
# deviation, functions are constant or small. The error of the rule is about 14 exp(−2π · 0.7/step).
_LEAST, _MOST, _STEP = 1e-9, 9.2, 0.11

# Angles of a sector have nodes in so many octaves from either end, beside those down to where the
# numbers are far below 1.
_OCTAVES = 6
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(10)


class Softsign(Kinked):
    """The dual of φ(x) = x/(1 + |x|)."""

    gap_error = CANCELLATION

    def norms(self, s: Array) -> tuple[Array, Array]:
        """Return them by integrals over half-lines."""
        value, slope = _norms(s, *_radii(s.max(initial=1.0)))
        return value, slope

    def has_series(self, s: Array) -> NDArray[np.bool_]:
        """Return where squares do not underflow and the turn at 0 is not too sharp."""
        return (s >= _SMALLEST) & (s <= _LARGEST)

    def coefficients(self, s: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Return them by quadrature."""
        return (
            hermite_coefficients(lambda x: x / (1 + np.abs(x)), s, TERMS, OFF),
            hermite_coefficients(lambda x: (1 + np.abs(x)) ** -2.0, s, TERMS, OFF),
        )

    def refine(self, x: State, z: State, pairs: Correlation, found: tuple[Gaps, ...]) -> None:
        """Write the gaps of pairs that have no series."""
        left = np.zeros(pairs.difference.shape, bool)
        for result in found:
            left |= (result.near == 0) & (result.far == 0)
        rows, columns = np.nonzero(left)
        near, far = (gap[left] for gap in pairs.gaps)
        s, t = x.deviation[rows], z.deviation[columns]
        nodes = _radii(max(s.max(initial=1.0), t.max(initial=1.0)))
        both = _expectations(s, t, np.minimum(near, far), *nodes)
        equal = (near == 0) & (pairs.difference[left] == 0)
        norms = (x.activation, z.activation), (x.derivative, z.derivative)
        # φ is odd, and φ' is even.
        signs = np.where(far < near, -1.0, 1.0), 1.0
        for k, result in enumerate(found):
            whole = norms[k][0][rows] * norms[k][1][columns]
            cosine = np.divide(both[k], whole, out=np.zeros_like(whole), where=whole > 0)
            cosine[equal & (whole > 0)] = 1.0
            cosine = signs[k] * np.minimum(cosine, 1.0)
            result.near[left], result.far[left] = 1 - cosine, 1 + cosine


def _radii(largest: float) -> tuple[Array, Array]:
    """Return radii, descending, and their weights in the plane, up to the largest deviation."""
    radii = _MOST * np.exp(-_STEP * np.arange(_count(largest)))
    return radii, _STEP * radii**2 * np.exp(-(radii**2) / 2) / (2 * math.pi)


@njit(nogil=True, cache=True)
def _count(deviation: float) -> int:
    """Return how many radii a deviation needs: the same ones, whatever others are there."""
    return int(math.log(_MOST / _LEAST * max(1.0, deviation)) / _STEP) + 2


@njit(nogil=True, cache=True)
def _norms(s: Array, radii: Array, weights: Array) -> Array:
    """Return √E[φ(u)²] and √E[φ'(u)²] (2, n)."""
    result = np.empty((2, len(s)))
    for i in range(len(s)):
        value, slope, whole = 0.0, 0.0, 0.0
        for j in range(_count(s[i])):
            weight = weights[j] / radii[j] * math.sqrt(8.0 * math.pi)  # on a line
            x = s[i] * radii[j]
            inverse = 1.0 / (1.0 + x)
            value += weight * ((x * inverse) * (x * inverse))
            slope += weight * (inverse * inverse) * (inverse * inverse)
            whole += weight
        # Below the last radius φ' is 1.
        result[0, i], result[1, i] = math.sqrt(value), math.sqrt(slope + (1.0 - whole))
    return result


@njit(nogil=True, cache=True)
def _expectations(s: Array, t: Array, gap: Array, radii: Array, radius_weights: Array) -> Array:
    """Return E[φ(u)φ(v)] and E[φ'(u)φ'(v)] for acute angles (2, n)."""
    result = np.zeros((2, len(s)))
    for i in range(len(s)):
        theta = 2.0 * math.asin(math.sqrt(0.5 * gap[i]))
        count = _count(max(s[i], t[i]))
        octaves = _OCTAVES + int(math.log2(1.0 + max(s[i], t[i])))
        # Sectors in which the signs are the same, and in which they are not, two of each.
        for sector in range(2):
            length = math.pi - theta if sector == 0 else theta
            sign = 2.0 if sector == 0 else -2.0
            for end in range(2):
                top = 0.5 * length
                for octave in range(octaves):
                    low = 0.0 if octave == octaves - 1 else 0.5 * top
                    for k in range(len(_POINTS)):
                        at = low + (top - low) * 0.5 * (_POINTS[k] + 1.0)
                        # How far the angle is from where u is 0, and from where v is.
                        first, second = (at, length - at) if end == 0 else (length - at, at)
                        x, y = s[i] * math.sin(first), t[i] * math.sin(second)
                        weight = _WEIGHTS[k] * (top - low)
                        value, slope = 0.0, 0.0
                        for j in range(count):
                            a, b = x * radii[j], y * radii[j]
                            inverse = 1.0 / ((1.0 + a) * (1.0 + b))
                            value += radius_weights[j] * (a * b) * inverse
                            slope += radius_weights[j] * (inverse * inverse)
                        result[0, i] += sign * 0.5 * weight * value
                        result[1, i] += 2.0 * 0.5 * weight * slope
                    top = low
    return result
