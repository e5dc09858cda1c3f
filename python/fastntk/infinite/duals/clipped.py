# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lines between two kinks: hardtanh, ReLU6, the hard sigmoid; and the hard swish, x times one.

φ'' is a constant k between the kinks b and two point masses j there. So E[φ''(u)φ''(v)] is known,
for every angle ψ: a sum of normal densities at pairs of kinks, of probabilities that one number is
between the kinks while the other is at one, and of the probability R that both are between them,
whose derivative by the angle consists of such densities again. Price's theorem,

    ∂E[f(u)f(v)]/∂cov(u, v) = E[f'(u)f'(v)] ,

then gives both expectations as integrals over angles. With g for what the point masses have part in
and r for the derivative of R, both times sin ψ, from parallel samples to those at an angle θ,

    E'(0) − E'(θ) = ∫ g + k² s t (R(0) (1 − cos θ) − ∫ r c),
    E(0) − E(θ) = s t (E'(0) (1 − cos θ) − ∫ g c − k² s t (R(0) (1 − cos θ)² − ∫ r c²)/2) ,

where c = cos ψ − cos θ. For obtuse angles −u takes the place of u, and φ(−x) that of φ(x).

In the same way both kinds of Hermite coefficients are sums over kinks of Hermite functions there.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy.special import ndtr

from fastntk.infinite.duals.base import CANCELLATION
from fastntk.infinite.duals.kinked import TERMS, Kinked

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastntk.infinite.duals.base import Array, Correlation, Gaps, State

# The normal density is 0 at this, and 1e-43 of its maximum at the other.
_BEYOND, _REACH = 40.0, 14.0

# Gauss's rule on panels of length 2 is exact for a normal density times a polynomial.
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_PANELS = 14
_PAIRS_AT_ONCE = 64

# The density of u at one kink and v at another begins to differ from 0 where the angle is about the
# distance of the kinks: angles have nodes in each octave down to a sixteenth of that, but in no
# more than so many.
_OCTAVES = 46
_LEAST_GAP = 1e-200  # its angle, 1e-100, adds nothing
_ANGLES, _ANGLE_WEIGHTS = np.polynomial.legendre.leggauss(12)


class Clipped(Kinked):
    """The dual of rate · x + offset, constant beyond two kinks; or of x times that, a gate.

    Parameters
    ----------
    below, above : float
        The kinks.
    rate, offset : float
        Those of the line.
    is_gate : bool
        Whether φ(x) is x times it. The line is then 0 at the kink below.
    """

    slope_jumps = True
    gap_error = CANCELLATION

    def __init__(
        self, below: float, above: float, rate: float, offset: float, *, is_gate: bool = False
    ) -> None:
        self.kinks = below, above
        self.rate, self.offset, self.is_gate = rate, offset, is_gate
        self.constant = 2 * rate if is_gate else 0.0
        self.masses = (rate * below, -rate * above) if is_gate else (rate, -rate)

    def absolute_error(self, x: State, z: State) -> Array:
        """Return it, which grows with the samples: E is then small beside what is subtracted."""
        largest = max(x.deviation.max(initial=0.0), z.deviation.max(initial=0.0))
        return np.asarray(self.gap_error * (1 + 2.0**-4 * largest))

    def function(self, x: Array) -> Array:
        """Return φ(x)."""
        line = self.rate * np.clip(x, *self.kinks) + self.offset
        return np.where(x > self.kinks[0], x * line, 0.0) if self.is_gate else line

    def slope(self, x: Array) -> Array:
        """Return φ'(x)."""
        below, above = self.kinks
        inside = (x > below) & (x <= above)
        if not self.is_gate:
            return np.where(inside, self.rate, 0.0)
        beyond = (x > above) * (self.rate * above + self.offset)
        return np.where(inside, 2 * self.rate * x + self.offset, beyond)

    def norms(self, s: Array) -> tuple[Array, Array]:
        """Return them by quadrature between the kinks."""
        distinct, back = np.unique(s, return_inverse=True)
        edges, positive = _edges(self._places(distinct)), _positive(distinct)
        value = _expectation(lambda u: self.function(distinct[:, np.newaxis] * u) ** 2, edges)
        slope = _expectation(lambda u: self.slope(positive[:, np.newaxis] * u) ** 2, edges)
        return np.sqrt(value)[back], np.sqrt(slope)[back]

    def has_series(self, s: Array) -> NDArray[np.bool_]:
        """Return that all have."""
        return np.ones(len(s), bool)

    def coefficients(self, s: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Return them from the Hermite functions at the kinks."""
        places = self._places(s)
        edges, positive = _edges(places), _positive(s)
        at_kinks = [_hermite_functions(TERMS, place) for place in places.T]
        orders = np.sqrt(np.arange(1.0, TERMS))[:, np.newaxis]
        # E[φ''(u) h_k(u)] s.
        bends = sum(j * at for j, at in zip(self.masses, at_kinks, strict=True))
        between = np.empty_like(at_kinks[0])
        between[0] = ndtr(places[:, 1]) - ndtr(places[:, 0])
        between[1:] = (at_kinks[0] - at_kinks[1])[:-1] / orders
        bends = bends + self.constant * s * between
        slopes = np.empty_like(bends)
        slopes[0] = _expectation(lambda u: self.slope(positive[:, np.newaxis] * u), edges)
        slopes[1:] = bends[:-1] / orders
        values = np.empty_like(bends)
        values[0] = _expectation(lambda u: self.function(s[:, np.newaxis] * u), edges)
        values[1:] = s * slopes[:-1] / orders
        value, slope = (
            _normalized(part, norm)
            for part, norm in zip((values, slopes), self.norms(s), strict=True)
        )
        return value, slope

    def refine(self, x: State, z: State, pairs: Correlation, found: tuple[Gaps, ...]) -> None:
        """Write the gaps of close and of opposite pairs."""
        left = np.zeros(pairs.difference.shape, bool)
        for result in found:
            left |= (result.near == 0) & (result.far == 0)
        rows, columns = np.nonzero(left)
        for first in range(0, len(rows), _PAIRS_AT_ONCE):
            part = rows[first : first + _PAIRS_AT_ONCE], columns[first : first + _PAIRS_AT_ONCE]
            s, t = x.deviation[part[0]], z.deviation[part[1]]
            near, far = (gap[part] for gap in pairs.gaps)
            both = self._expectations(s, t, near, far)
            equal = (near == 0) & (pairs.difference[part] == 0)
            norms = (x.activation, z.activation), (x.derivative, z.derivative)
            for result, expectation, (own, others) in zip(found, both, norms, strict=False):
                whole = own[part[0]] * others[part[1]]
                cosine = np.divide(expectation, whole, out=np.zeros_like(whole), where=whole > 0)
                cosine[equal & (whole > 0)] = 1.0
                cosine = np.clip(cosine, -1.0, 1.0)
                result.near[part], result.far[part] = 1 - cosine, 1 + cosine

    def _expectations(self, s: Array, t: Array, near: Array, far: Array) -> tuple[Array, Array]:
        """Return E[φ(u)φ(v)] and E[φ'(u)φ'(v)]."""
        turned = np.where(far < near, -1.0, 1.0)
        gap = np.minimum(near, far)
        own, other = self._places(s), self._places(t)
        # Of −u, the kinks are at −b, the upper one first.
        own[turned < 0] = -own[turned < 0]
        edges = _edges(np.sort(np.concatenate([own, other], axis=1), axis=1))
        a, b, sign = s[:, np.newaxis], t[:, np.newaxis], turned[:, np.newaxis]
        value = _expectation(lambda u: self.function(sign * a * u) * self.function(b * u), edges)
        a, b = _positive(a), _positive(b)
        slope = _expectation(lambda u: self.slope(sign * a * u) * self.slope(b * u), edges)
        low, high = (
            np.maximum(own.min(axis=1), other[:, 0]),
            np.minimum(own.max(axis=1), other[:, 1]),
        )
        together = np.maximum(ndtr(high) - ndtr(low), 0.0)
        masses = _densities(gap, own, other, np.outer(self.masses, self.masses))
        k = self.constant
        squares = np.zeros_like(masses)
        if k:
            # Of the derivative of what is 1 between the kinks, which −u gives the other sign.
            squares = turned * _densities(gap, own, other, np.outer((1.0, -1.0), (1.0, -1.0)))
            masses[:2] += k * _mixed(gap, (own, other), (s, t), self.masses)
        product, both = s * t, k**2 * s * t
        # φ'(−x) is minus the slope of φ(−x).
        slope *= turned
        lost = masses[0] + both * (together * gap - squares[1])
        lost_value = slope * gap - masses[1] - both * (together * gap**2 / 2 - squares[2])
        return value - product * lost_value, turned * (slope - lost)

    def _places(self, s: Array) -> Array:
        """Return where the kinks are in units of the standard deviations (n, 2)."""
        places = [np.clip(b / _positive(s), -_BEYOND, _BEYOND) for b in self.kinks]
        return np.stack(places, axis=1)


def _positive(s: Array) -> Array:
    """Return the standard deviations, a tiny one in place of 0."""
    return np.maximum(s, 1e-200)


def _edges(places: Array) -> Array:
    """Return the edges of pieces without kinks (n, k)."""
    n = len(places)
    inner = np.clip(places, -_REACH, _REACH)
    return np.concatenate([np.full((n, 1), -_REACH), inner, np.full((n, 1), _REACH)], axis=1)


def _expectation(function: Callable[[Array], Array], edges: Array) -> Array:
    """Return the expectation of a function of a standard normal number, for each row of edges."""
    total = np.zeros(len(edges))
    parts = (np.arange(_PANELS)[:, np.newaxis] + (_POINTS + 1) / 2).ravel() / _PANELS
    weights = np.tile(_WEIGHTS, _PANELS) / (2 * _PANELS)
    for low, high in zip(edges.T, edges.T[1:], strict=False):
        length = (high - low)[:, np.newaxis]
        nodes = low[:, np.newaxis] + length * parts
        density = np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
        # Row by row: the bits do not depend on how many there are.
        total += np.einsum("nk,k->n", function(nodes) * (density * length), weights)
    return total


def _normalized(coefficients: Array, norm: Array) -> tuple[Array, Array]:
    result = np.divide(coefficients, norm, out=np.zeros_like(coefficients), where=norm > 0)
    return result, np.abs(1 - (result**2).sum(axis=0)) * (norm > 0)


def _hermite_functions(terms: int, x: Array) -> Array:
    """Return the orthonormal polynomials times the normal density (terms, n)."""
    result = np.empty((terms, len(x)))
    result[0] = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    result[1] = x * result[0]
    for k in range(2, terms):
        result[k] = (x * result[k - 1] - math.sqrt(k - 1) * result[k - 2]) / math.sqrt(k)
    return result


@njit(nogil=True, cache=True)
def _octaves(own: Array, other: Array, theta: float) -> int:
    """Return in how many octaves of angles up to this one there are nodes."""
    least = theta
    for x in own:
        for y in other:
            # Kinks at the same place have a density at all angles.
            if 0.0 < abs(x - y) < least:
                least = abs(x - y)
    return min(5 + int(math.log2(theta / least)), _OCTAVES)


@njit(nogil=True, cache=True)
def _densities(gap: Array, own: Array, other: Array, weights: Array) -> Array:
    """Return ∫ w, ∫ w c and ∫ w c²/2 of densities at pairs of kinks with these weights (3, n)."""
    result = np.zeros((3, len(gap)))
    for i in range(len(gap)):
        if gap[i] < _LEAST_GAP:
            continue
        # The sine of half the angle: 1 − cos ψ and sin ψ have all their digits from it.
        theta = 2.0 * math.asin(math.sqrt(0.5 * gap[i]))
        top = theta
        octaves = _octaves(own[i], other[i], theta)
        for octave in range(octaves):
            low = 0.0 if octave == octaves - 1 else 0.5 * top
            for k in range(len(_ANGLES)):
                psi = low + (top - low) * (0.5 * (_ANGLES[k] + 1.0))
                half = math.sin(0.5 * psi)
                near = 2.0 * half * half
                across = near * (2.0 - near)
                density = 0.0
                for a in range(2):
                    for b in range(2):
                        x, y = own[i, a], other[i, b]
                        square = (x - y) * (x - y) / across + 2.0 * x * y / (2.0 - near)
                        density += weights[a, b] * math.exp(-0.5 * square)
                density *= 0.5 * _ANGLE_WEIGHTS[k] * (top - low) / (2.0 * math.pi)
                fall = gap[i] - near
                result[0, i] += density
                result[1, i] += density * fall
                result[2, i] += density * (0.5 * fall * fall)
            top = low
    return result


@njit(nogil=True, cache=True)
def _mixed(
    gap: Array,
    places: tuple[Array, Array],
    deviations: tuple[Array, Array],
    masses: tuple[float, float],
) -> Array:
    """Return ∫ w and ∫ w c of one number at a kink while the other is between both (2, n)."""
    result = np.zeros((2, len(gap)))
    for i in range(len(gap)):
        if gap[i] < _LEAST_GAP:
            continue
        theta = 2.0 * math.asin(math.sqrt(0.5 * gap[i]))
        top = theta
        octaves = _octaves(places[0][i], places[1][i], theta)
        for octave in range(octaves):
            low = 0.0 if octave == octaves - 1 else 0.5 * top
            for k in range(len(_ANGLES)):
                psi = low + (top - low) * (0.5 * (_ANGLES[k] + 1.0))
                half = math.sin(0.5 * psi)
                near = 2.0 * half * half
                sine = math.sqrt(near * (2.0 - near))
                total = 0.0
                for side in range(2):
                    at, between = places[side], places[1 - side]
                    ends = min(between[i, 0], between[i, 1]), max(between[i, 0], between[i, 1])
                    for a in range(2):
                        x = at[i, a]
                        unit = 1.0 / (sine * math.sqrt(2.0))
                        mean = (1.0 - near) * x
                        inside = math.erfc((ends[0] - mean) * unit) - math.erfc(
                            (ends[1] - mean) * unit
                        )
                        density = math.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
                        total += deviations[1 - side][i] * masses[a] * density * (0.5 * inside)
                total *= sine * (0.5 * _ANGLE_WEIGHTS[k] * (top - low))
                result[0, i] += total
                result[1, i] += total * (gap[i] - near)
            top = low
    return result
