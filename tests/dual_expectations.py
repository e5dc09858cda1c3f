# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""E[φ(u)φ(v)] and E[φ'(u)φ'(v)] of activations with closed forms, in as many digits as are wanted.

All of them up to factors, from the standard deviations and the correlation of u and v.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import mpmath
from mpmath import mpf

from fastntk import activations
from fastntk.activations import Activation

# E[φ(u)φ(v)] or E[φ'(u)φ'(v)] from s, t and the correlation.
Expectation: TypeAlias = Callable[[mpf, mpf, mpf], mpf]

# An activation, the expectations of φ and of φ', if that exists, and the standard deviations below
# and above which squares leave the range of float64.
Case: TypeAlias = tuple[Activation, Expectation, Expectation | None, tuple[float, float]]


def sinusoid(frequency: float, phase: float, *, slope: bool) -> Expectation:
    def value(s: mpf, t: mpf, rho: mpf) -> mpf:
        s, t = frequency * s, frequency * t
        c = mpmath.cos(2 * mpf(phase)) if phase != HALF_PI else mpf(-1)
        minus, plus = (mpmath.exp(-(s**2 + t**2 + 2 * k) / 2) for k in (-s * t * rho, s * t * rho))
        return minus - (-c if slope else c) * plus

    return value


def determinant(s: mpf, t: mpf, rho: mpf) -> mpf:
    return (1 + s**2) * (1 + t**2) - (s * t * rho) ** 2


def error_function(s: mpf, t: mpf, rho: mpf) -> mpf:
    s, t = mpmath.sqrt(2) * s, mpmath.sqrt(2) * t
    return mpmath.atan2(s * t * rho, mpmath.sqrt(determinant(s, t, rho)))


def error_slope(s: mpf, t: mpf, rho: mpf) -> mpf:
    return 1 / mpmath.sqrt(determinant(mpmath.sqrt(2) * s, mpmath.sqrt(2) * t, rho))


def gelu(s: mpf, t: mpf, rho: mpf) -> mpf:
    k, d = s * t * rho, determinant(s, t, rho)
    gates = mpf(1) / 4 + mpmath.atan2(k, mpmath.sqrt(d)) / (2 * mpmath.pi)
    inverse = 1 / (1 + s**2) + 1 / (1 + t**2)
    peaks = (s * t) ** 2 * (1 - rho**2) + k**2 * inverse
    return k * gates + peaks / (2 * mpmath.pi * mpmath.sqrt(d))


def gelu_slope(s: mpf, t: mpf, rho: mpf) -> mpf:
    k, d = s * t * rho, determinant(s, t, rho)
    gates = mpf(1) / 4 + mpmath.atan2(k, mpmath.sqrt(d)) / (2 * mpmath.pi)
    inverse = 1 / (1 + s**2) + 1 / (1 + t**2) + 1 / d
    return gates + k * inverse / (2 * mpmath.pi * mpmath.sqrt(d))


def gaussian(s: mpf, t: mpf, rho: mpf) -> mpf:
    return error_slope(s, t, rho)


def gaussian_slope(s: mpf, t: mpf, rho: mpf) -> mpf:
    return s * t * rho * error_slope(s, t, rho) ** 3


def gabor(s: mpf, t: mpf, rho: mpf) -> mpf:
    # E[cos(u ∓ v) exp(−u² − v²)], by the covariance under the new density.
    d = determinant(mpmath.sqrt(2) * s, mpmath.sqrt(2) * t, rho)
    k, both = s * t * rho, 4 * (s * t) ** 2 * (1 - rho**2)
    minus, plus = (mpmath.exp(-(s**2 + t**2 + sign * 2 * k + both) / (2 * d)) for sign in (-1, 1))
    return (minus - plus) / mpmath.sqrt(d)


def gabor_slope(s: mpf, t: mpf, rho: mpf) -> mpf:
    # The derivative by k of the above, written out term by term.
    d = determinant(mpmath.sqrt(2) * s, mpmath.sqrt(2) * t, rho)
    k, both = s * t * rho, 4 * (s * t) ** 2 * (1 - rho**2)
    total = mpf(0)
    for sign in (-1, 1):
        top = s**2 + t**2 + sign * 2 * k + both
        by_exponent = -((2 * sign - 8 * k) * d + 8 * k * top) / (2 * d**2)
        by_root = 4 * k / d
        total -= sign * mpmath.exp(-top / (2 * d)) / mpmath.sqrt(d) * (by_exponent + by_root)
    return total


def exponential(s: mpf, t: mpf, rho: mpf) -> mpf:
    return mpmath.exp(mpf(0.3) ** 2 * ((s**2 + t**2) / 2 + s * t * rho))


def relu(s: mpf, t: mpf, rho: mpf) -> mpf:
    theta = mpmath.acos(rho)
    return s * t * (mpmath.sin(theta) + (mpmath.pi - theta) * rho)


def gate(s: mpf, t: mpf, rho: mpf) -> mpf:
    return mpmath.pi - mpmath.acos(rho)


def squared_relu(s: mpf, t: mpf, rho: mpf) -> mpf:
    theta = mpmath.acos(rho)
    angular = 3 * mpmath.sin(theta) * rho + (mpmath.pi - theta) * (1 + 2 * rho**2)
    return (s * t) ** 2 * angular


def cube(s: mpf, t: mpf, rho: mpf) -> mpf:
    return (s * t) ** 3 * (9 * rho + 6 * rho**3)


def cube_slope(s: mpf, t: mpf, rho: mpf) -> mpf:
    return (s * t) ** 2 * (1 + 2 * rho**2)


def exp_normalized(s: mpf, t: mpf, rho: mpf) -> mpf:
    return s * t * mpmath.exp(2 * rho)


def exp_normalized_slope(s: mpf, t: mpf, rho: mpf) -> mpf:
    return mpmath.exp(2 * rho)


def shifted_error_function(s: mpf, t: mpf, rho: mpf) -> mpf:
    return error_function(s, t, rho) + mpmath.pi / 2 * mpf(0.3) ** 2


def abrelu(negative: float, positive: float, *, slope: bool) -> Expectation:
    """The powers of degree 1, or of degree 0, of one sign and of both."""

    def value(s: mpf, t: mpf, rho: mpf) -> mpf:
        same, both = mpf(negative) ** 2 + mpf(positive) ** 2, 2 * mpf(negative) * mpf(positive)
        turned = gate(s, t, -rho) if slope else relu(s, t, -rho)
        straight = gate(s, t, rho) if slope else relu(s, t, rho)
        return same * straight + (both if slope else -both) * turned

    return value


def sign(s: mpf, t: mpf, rho: mpf) -> mpf:
    # Of the inverse trigonometric functions, the one that keeps the digits of all angles.
    return mpmath.atan2(rho, mpmath.sqrt((1 - rho) * (1 + rho)))


def cubed_relu(s: mpf, t: mpf, rho: mpf) -> mpf:
    theta = mpmath.acos(rho)
    sine = mpmath.sin(theta)
    angular = 15 * sine - 11 * sine**3 + (mpmath.pi - theta) * (9 * rho + 6 * rho**3)
    return (s * t) ** 3 * angular


def fourth_relu(s: mpf, t: mpf, rho: mpf) -> mpf:
    theta = mpmath.acos(rho)
    angular = mpmath.sin(theta) * rho * (55 + 50 * rho**2)
    angular += (mpmath.pi - theta) * (9 + 72 * rho**2 + 24 * rho**4)
    return (s * t) ** 4 * angular


def cubic(s: mpf, t: mpf, rho: mpf) -> mpf:
    """That of 0.2 + 0.7 x − 0.3 x² + 0.1 x³, by products of Hermite polynomials."""
    a, b, c, d = (mpf(x) for x in CUBIC)

    def series(s: mpf) -> tuple[mpf, ...]:
        return a + c * s**2, b * s + 3 * d * s**3, c * s**2, d * s**3

    return mpmath.fsum(
        mpmath.factorial(k) * x * y * rho**k
        for k, (x, y) in enumerate(zip(series(s), series(t), strict=True))
    )


def cubic_slope(s: mpf, t: mpf, rho: mpf) -> mpf:
    _, b, c, d = (mpf(x) for x in CUBIC)

    def series(s: mpf) -> tuple[mpf, ...]:
        return b + 3 * d * s**2, 2 * c * s, 3 * d * s**2

    return mpmath.fsum(
        mpmath.factorial(k) * x * y * rho**k
        for k, (x, y) in enumerate(zip(series(s), series(t), strict=True))
    )


def hermite3(s: mpf, t: mpf, rho: mpf) -> mpf:
    """That of x³ − 3x."""
    k = s * t * rho
    return 6 * k**3 + 9 * k * (s**2 - 1) * (t**2 - 1)


def hermite3_slope(s: mpf, t: mpf, rho: mpf) -> mpf:
    k = s * t * rho
    return 2 * k**2 + (s**2 - 1) * (t**2 - 1)


def waves(frequency: float, phase: float) -> tuple[Expectation, Expectation]:
    value, slope = (sinusoid(frequency, phase, slope=slope) for slope in (False, True))
    return value, slope


def kinked(negative: float, positive: float) -> tuple[Expectation, Expectation]:
    value, slope = (abrelu(negative, positive, slope=slope) for slope in (False, True))
    return value, slope


CUBIC = (0.2, 0.7, -0.3, 0.1)
HALF_PI = math.pi / 2

ALL = (0.0, math.inf)
CASES: list[Case] = [
    (activations.get("sin"), *waves(1.0, 0.0), ALL),
    (activations.get("cos"), *waves(1.0, HALF_PI), ALL),
    (activations.sine(30.0), *waves(30.0, 0.0), ALL),
    (activations.sine(1.4, 0.3), *waves(1.4, 0.3), ALL),
    (activations.sine(0.8, -1.1), *waves(0.8, -1.1), ALL),
    (activations.cosine(1.4, 0.3), *waves(1.4, 0.3 + HALF_PI), ALL),
    (activations.rbf(0.5), *waves(1.0, math.pi / 4), ALL),
    (activations.get("erf"), error_function, error_slope, ALL),
    (activations.erf(1.0, 0.3), shifted_error_function, error_slope, ALL),
    (activations.get("gelu"), gelu, gelu_slope, ALL),
    (activations.get("gaussian"), gaussian, gaussian_slope, ALL),
    (activations.get("gabor"), gabor, gabor_slope, ALL),
    (activations.exponential(0.3), exponential, exponential, (0.0, 70.0)),
    (activations.exp_normalized(2.0), exp_normalized, exp_normalized_slope, ALL),
    (activations.monomial(3), cube, cube_slope, (1e-90, 1e90)),
    (activations.polynomial(*CUBIC), cubic, cubic_slope, (0.0, 1e90)),
    (activations.hermite(3), hermite3, hermite3_slope, (0.0, 1e90)),
    (activations.get("sign"), sign, None, ALL),
    (activations.get("identity"), *kinked(1.0, 1.0), ALL),
    (activations.get("abs"), *kinked(-1.0, 1.0), ALL),
    (activations.leaky_relu(0.3), *kinked(0.3, 1.0), ALL),
    (activations.abrelu(-0.4, 1.5), *kinked(-0.4, 1.5), ALL),
    (activations.get("relu"), relu, gate, ALL),
    (activations.rectified_monomial(1), relu, gate, ALL),
    (activations.get("relu2"), squared_relu, relu, ALL),
    (activations.rectified_monomial(3), cubed_relu, squared_relu, (1e-90, 1e90)),
    (activations.rectified_monomial(4), fourth_relu, cubed_relu, (1e-70, 1e70)),
]
