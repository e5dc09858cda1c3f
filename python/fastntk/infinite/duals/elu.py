# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""ELU: by Hermite series, and in closed form where its kink would make these long.

On each side of 0 the function is linear or exponential: φ(x) = x₊ − α h(−x), with
h(y) = 1 − exp(−y) for y > 0 and 0 elsewhere. So E[φ(u)φ(v)] consists of E[u₊v₊], α E[u₊h(−v)],
α E[h(−u)v₊] and α² E[h(−u)h(−v)], each of a function without a sign. Since x₊ and h(−x) are nowhere
both different from 0, none of them is larger than the product of the root mean squares of φ(u) and
φ(v): where each is exact to some roundings of that bound, so is the normalized dual.

An exponential under a normal density shifts the mean, so everything comes down to probabilities of
quadrants with a moved corner, times the exponential of the same size; `_corner` is that product.
D. B. Owen, "Tables for computing bivariate normal probabilities", 1956.

Both the gap of u and v and its complement 2 − gap are handed on, so that −u may take the place of u
without a loss of digits.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from scipy.special import erf, erfc, erfcx, owens_t

from fastntk.infinite.duals.base import CANCELLATION, Correlation, Gaps
from fastntk.infinite.duals.closed_form import refine_small
from fastntk.infinite.duals.expectation import ByQuadrature
from fastntk.infinite.duals.hermite import hermite_coefficients
from fastntk.infinite.duals.kinked import OFF, TERMS, Kinked
from fastntk.infinite.duals.parallel import opposite_gap

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastntk.infinite.duals.base import Array, State

_DENSITY = 1 / math.sqrt(2 * math.pi)  # of a standard normal number at 0

# Quadratures give the terms of series for samples between these.
_SMALLEST, _LARGEST = 1e-100, 8.0


class Elu(Kinked):
    """The dual of scale · φ(rate · x), φ(x) = x for x > 0, α(exp(x) − 1) for x < 0.

    Pairs that are not nearly parallel or opposite take their Hermite series, which the kink does
    not make long, all others and large samples the closed form.

    Parameters
    ----------
    alpha : float
        α.
    scale, rate : float
        By what the function and its argument are multiplied.
    """

    gap_error = CANCELLATION
    keeps_digits = True

    def __init__(self, alpha: float, scale: float = 1.0, rate: float = 1.0) -> None:
        self.covariances = Value(alpha), Slope(alpha)
        self.scales = scale, scale * rate
        self.rate = rate
        self.slope_jumps = alpha != 1

    def norms(self, s: Array) -> tuple[Array, Array]:
        """Return those of the two parts."""
        value, slope = (part.root_mean_square(self.rate * s) for part in self.covariances)
        return self.scales[0] * value, self.scales[1] * slope

    def has_series(self, s: Array) -> NDArray[np.bool_]:
        """Return where squares do not underflow and exponentials are smooth enough."""
        return (self.rate * s >= _SMALLEST) & (self.rate * s <= _LARGEST)

    def coefficients(self, s: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Return them by quadrature."""
        value, slope = (
            hermite_coefficients(part.function, self.rate * s, TERMS, OFF)
            for part in self.covariances
        )
        return value, slope

    def refine(self, x: State, z: State, pairs: Correlation, found: tuple[Gaps, ...]) -> None:
        """Write gaps that have no series, and small ones to their own digits."""
        first, second = self.scales
        norms = (
            (x.activation / first, z.activation / first),
            (x.derivative / second, z.derivative / second),
        )
        deviations = self.rate * x.deviation, self.rate * z.deviation
        pairs = Correlation(pairs.gaps, self.rate * pairs.difference)
        for part, result, (left, right) in zip(self.covariances, found, norms, strict=False):
            rows, columns = np.nonzero((result.near == 0) & (result.far == 0))
            s, t = deviations[0][rows], deviations[1][columns]
            gaps = Gaps(*(gap[rows, columns] for gap in pairs.gaps))
            whole = left[rows] * right[columns]
            cosine = np.divide(
                part.covariance(s, t, gaps), whole, out=np.zeros_like(whole), where=whole > 0
            )
            result.near[rows, columns], result.far[rows, columns] = 1 - cosine, 1 + cosine
            refine_small(part, result, deviations, pairs)


class Part(ByQuadrature):
    """The expectation of φ or of φ'."""

    @abstractmethod
    def turn(self, s: Array, t: Array, angle: Array, rho: Callable[[Array], Gaps]) -> Array:
        """Return by how much the expectation changes at angles from 0 to here, or from π.

        Parameters
        ----------
        s, t : ndarray (n,)
            Standard deviations.
        angle : ndarray (n,)
            The acute angle.
        rho : callable
            The gaps for acute angles, or for those to which they complement them.
        """

    @abstractmethod
    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return the expectation."""

    def at_parallel(self, s: Array, t: Array) -> Array:
        """Return E(s, t, 1)."""
        return self.covariance(s, t, Gaps(np.zeros_like(s), np.full_like(s, 2.0)))

    def lost(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return λ by Price's theorem: from an integral over ρ of the next derivatives."""
        return self.turn(s, t, rho.angle, _gaps) / self.at_parallel(s, t)

    def opposite(self, s: Array, t: Array, rho: Gaps, acute: tuple[Array, Array]) -> Gaps:  # noqa: ARG002
        """Return the gaps for obtuse angles, by the same integral from exactly opposite samples."""

        def obtuse(angle: Array) -> Gaps:
            return _gaps(angle).swapped

        norms = self.root_mean_square(s) * self.root_mean_square(t)
        sign = np.where(self.covariance(s, t, rho.swapped) > 0, 1.0, -1.0)
        turned = self.turn(s, t, rho.angle, obtuse) / norms
        least = opposite_gap(self.function, s, t, sign) - sign * turned
        return Gaps(np.where(sign > 0, least, 2 - least), np.where(sign > 0, 2 - least, least))


class Value(Part):
    """The expectation of φ."""

    def __init__(self, alpha: float) -> None:
        self.alpha, self.derivative = alpha, Slope(alpha)

    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return E[φ(u)φ(v)], summed over the quadrants of linear and exponential sides."""
        s, t, gap, other = np.broadcast_arrays(s, t, *rho)
        linear = s * t * (_sine(gap, other) / (2 * math.pi) + (1 - gap) * _quadrant(gap, other))
        mixed = _mixed(s, t, other, gap) + _mixed(t, s, other, gap)
        return linear - self.alpha * mixed + self.alpha**2 * _saturated(s, t, gap, other)

    def turn(self, s: Array, t: Array, angle: Array, rho: Callable[[Array], Gaps]) -> Array:
        """Return the integral of s t E[φ'(u)φ'(v)]."""

        def integrand(angle: Array) -> Array:
            gaps = rho(angle)
            return self.derivative.covariance(s, t, gaps) * gaps.sine

        return s * t * _over_angles(integrand, s, t, angle)

    def function(self, x: Array) -> Array:
        """Return φ(x)."""
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def slope(self, x: Array) -> Array:
        """Return φ'(x)."""
        return self.derivative.function(x)


class Slope(Part):
    """The expectation of φ'."""

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha

    def covariance(self, s: Array, t: Array, rho: Gaps) -> Array:
        """Return E[φ'(u)φ'(v)], summed over the quadrants of linear and exponential sides."""
        s, t, gap, other = np.broadcast_arrays(s, t, *rho)
        mixed = _one(t, other, gap) + _one(s, other, gap)
        return _quadrant(gap, other) + self.alpha * mixed + self.alpha**2 * _both(s, t, gap, other)

    def turn(self, s: Array, t: Array, angle: Array, rho: Callable[[Array], Gaps]) -> Array:
        """Return the integral of s t E[φ''(u)φ''(v)].

        φ''(x) is α exp(x) below 0 and (1 − α) δ(x) at 0.
        """
        alpha, jump = self.alpha, 1 - self.alpha

        def integrand(angle: Array) -> Array:
            gaps = rho(angle)
            total = alpha**2 * s * t * _both(s, t, *gaps)
            for deviation in (s, t) if jump else ():
                edge = erfcx(deviation * gaps.sine / math.sqrt(2)) / 2
                total += alpha * jump * deviation * _DENSITY * edge
            return total * gaps.sine

        return _over_angles(integrand, s, t, angle) + jump**2 * angle / (2 * math.pi)

    def function(self, x: Array) -> Array:
        """Return φ'(x)."""
        return np.where(x > 0, 1.0, self.alpha * np.exp(np.minimum(x, 0)))

    def slope(self, x: Array) -> Array:
        """Return φ''(x) for x ≠ 0."""
        return np.where(x > 0, 0.0, self.alpha * np.exp(np.minimum(x, 0)))


# Nodes on [0, 1] for an integral over a part of an angle, with a relative error of 1e-13.
_ANGLES, _ANGLE_WEIGHTS = (
    (points + 1) / 2 if k == 0 else points / 2
    for k, points in enumerate(np.polynomial.legendre.leggauss(12))
)
_PART, _WHOLE = 2.0, 36.0


def _over_angles(function: Callable[[Array], Array], s: Array, t: Array, angle: Array) -> Array:
    """Return the integral of a function from 0 to an angle.

    It changes where the angle is about one over the standard deviations. That number times a
    hyperbolic sine, angles have nodes there and at all larger scales.
    """
    scale = 1 / np.maximum(np.maximum(s, t), 1)
    end = np.arcsinh(angle / scale)
    length = np.minimum(end, _WHOLE)  # what is left out is exp(−36) of the angle
    count = max(1, math.ceil(length.max() / _PART))
    total = np.zeros_like(s)
    for part in range(count):
        for node, weight in zip(_ANGLES, _ANGLE_WEIGHTS, strict=True):
            place = end - length * ((part + node) / count)
            total += weight / count * length * function(scale * np.sinh(place)) * np.cosh(place)
    return total * scale


def _gaps(angle: Array) -> Gaps:
    return Gaps(2 * np.sin(angle / 2) ** 2, 2 * np.cos(angle / 2) ** 2)


def _sine(gap: Array, other: Array) -> Array:
    return np.asarray(np.sqrt(gap * other))


def _quadrant(gap: Array, other: Array) -> Array:
    """Return P(u > 0, v > 0)."""
    return np.asarray(Gaps(other, gap).angle / (2 * math.pi))


def _mixed(s: Array, t: Array, gap: Array, other: Array) -> Array:
    """Return E[u₊ h(v)], by partial integration over u (Stein's lemma)."""
    inner = (1 - gap) * t * _one(t, gap, other)
    return np.asarray(s * (_DENSITY * _mean(t * _sine(gap, other)) + inner))


def _mean(t: Array) -> Array:
    """Return E[h(v)] = (1 − erfcx(t/√2))/2."""
    x = t / math.sqrt(2)
    small = np.minimum(x, 0.5)  # where 1 − erfcx(x) would lose digits
    return np.asarray(
        np.where(x < 0.5, np.exp(small**2) * erf(small) - np.expm1(small**2), 1 - erfcx(x)) / 2
    )


# Nodes on [0, 1] for the expectation over a deviation of at most 1, an entire function of it whose
# derivative of order n is a moment of that order: the error is below 1e-16.
_DEVIATIONS, _DEVIATION_WEIGHTS = (
    (points + 1) / 2 if k == 0 else points / 2
    for k, points in enumerate(np.polynomial.legendre.leggauss(8))
)


def _saturated(s: Array, t: Array, gap: Array, other: Array) -> Array:
    """Return E[h(u)h(v)]."""
    large, small = np.maximum(s, t), np.minimum(s, t)
    result = np.empty_like(large)
    direct = small >= 1
    if direct.any():
        a, b, g, o = (array[direct] for array in (large, small, gap, other))
        result[direct] = _quadrant(g, o) - _one(a, g, o) - _one(b, g, o) + _both(a, b, g, o)
    if not direct.all():
        # These terms would cancel. With v = tV, h(v) is the integral of V exp(−τV) over τ < t, and
        # partial integration over V takes V out of it; all terms are at most of the size of s.
        a, b, g, o = (array[~direct] for array in (large, small, gap, other))
        boundary = _DENSITY * _mean(a * _sine(g, o))
        total = np.zeros_like(a)
        for node, weight in zip(_DEVIATIONS, _DEVIATION_WEIGHTS, strict=True):
            tau = node * b
            both = _both(a, tau, g, o)
            total += weight * (boundary + (1 - g) * a * both - tau * (_one(tau, g, o) - both))
        result[~direct] = b * total
    return result


def _one(t: Array, gap: Array, other: Array) -> Array:
    """Return E[exp(−v); u > 0, v > 0]."""
    half = erfcx(t / math.sqrt(2)) / 4
    return np.asarray(half + _corner((1 - gap) * t, _sine(gap, other) * t))


def _both(s: Array, t: Array, gap: Array, other: Array) -> Array:
    """Return E[exp(−u − v); u > 0, v > 0]."""
    rho, sine = 1 - gap, _sine(gap, other)
    acute = gap < 1
    h = np.where(acute, s + rho * t, (s - t) + t * other)
    k = np.where(acute, t + rho * s, (t - s) + s * other)
    return _corner(h, t * sine) + _corner(k, s * sine)


# Up to this distance of the corner, exp(distance²/2) costs no digits worth mentioning.
_FAR = 2.0


def _corner(h: Array, b: Array) -> Array:
    """Return exp((h² + b²)/2) (Q(h)/2 − T(h, b/h)), odd in h, where Q(h) = P(U > h).

    T is Owen's function; far from 0, where both terms and their difference underflow, this is

        h/(2π) ∫_0^∞ exp(−y²/2 − b y) / (h² + (b + y)²) dy .
    """
    size = np.abs(h)
    distance = np.hypot(size, b)
    near = np.minimum(size, _FAR)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(near > 0, b / near, np.inf)
    near_value = erfc(near / math.sqrt(2)) / 4 - owens_t(near, slope)
    result = np.exp(np.minimum(distance, _FAR) ** 2 / 2) * near_value
    far = distance > _FAR
    if far.any():
        result[far] = _far_corner(size[far], b[far], distance[far])
    return np.asarray(np.where(h < 0, -result, result))


# The integrand is below 1e-17 of its maximum where the exponent reaches 38, and its poles are at
# least 2 away from y = 0: the error is below 1e-16 of the integral.
_EXPONENT = 38.0
_NODES, _WEIGHTS = (
    (points + 1) / 2 if k == 0 else points / 2
    for k, points in enumerate(np.polynomial.legendre.leggauss(36))
)


@njit(nogil=True, cache=True)
def _far_corner(h: Array, b: Array, distance: Array) -> Array:
    result = np.empty_like(h)
    for i in range(len(h)):
        length = 2 * _EXPONENT / (b[i] + math.sqrt(b[i] * b[i] + 2 * _EXPONENT))
        inverse = 1 / distance[i]
        cosine = h[i] * inverse
        total = 0.0
        for k in range(len(_NODES)):
            y = _NODES[k] * length
            v = (b[i] + y) * inverse
            total += _WEIGHTS[k] * math.exp(-y * (0.5 * y + b[i])) / (cosine * cosine + v * v)
        result[i] = total * length * inverse * cosine / (2 * math.pi)
    return result
