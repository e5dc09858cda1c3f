# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of infinite width in many digits, for activations with elementary expectations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np
from mpmath import mpf

from fastntk import activations
from fastntk.activations import Activation

DIGITS = 120

# E[φ(u)φ(v)] from s, t, ρ and √(1 − ρ²).
Expectation = Callable[[mpf, mpf, mpf, mpf], mpf]


class Case(NamedTuple):
    phi: Activation
    value: Expectation
    slope: Expectation | None
    tangent: bool = True


def kinked(alpha: float) -> tuple[Expectation, Expectation]:
    """Return those of φ(x) = x for x > 0, αx for x < 0."""
    even = (1 - alpha) ** 2 / 2

    def value(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
        rest = mpmath.atan2(sine, -rho)
        return s * t * (even * (sine + rest * rho) / mpmath.pi + alpha * rho)

    def slope(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
        return even * mpmath.atan2(sine, -rho) / mpmath.pi + alpha

    return value, slope


def squared_relu(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    rest = mpmath.atan2(sine, -rho)
    return (s * t) ** 2 * (3 * sine * rho + rest * (1 + 2 * rho**2)) / (2 * mpmath.pi)


def squared_relu_slope(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return 4 * kinked(0.0)[0](s, t, rho, sine)


def sign(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return 2 / mpmath.pi * mpmath.atan2(rho, sine)


def root(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return mpmath.sqrt(1 + s**2 + t**2 + (s * t * sine) ** 2)


def error_function(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    a, b = mpmath.sqrt(2) * s, mpmath.sqrt(2) * t
    return 2 / mpmath.pi * mpmath.atan2(a * b * rho, root(a, b, rho, sine))


def error_slope(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return 4 / mpmath.pi / root(mpmath.sqrt(2) * s, mpmath.sqrt(2) * t, rho, sine)


def gelu(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    k, d = s * t * rho, root(s, t, rho, sine)
    gates = mpf(1) / 4 + mpmath.atan2(k, d) / (2 * mpmath.pi)
    inverse = 1 / (1 + s**2) + 1 / (1 + t**2)
    return k * gates + ((s * t * sine) ** 2 + k**2 * inverse) / (2 * mpmath.pi * d)


def gelu_slope(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    k, d = s * t * rho, root(s, t, rho, sine)
    gates = mpf(1) / 4 + mpmath.atan2(k, d) / (2 * mpmath.pi)
    inverse = 1 / (1 + s**2) + 1 / (1 + t**2) + 1 / d**2
    return gates + k * inverse / (2 * mpmath.pi * d)


def gaussian(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return 1 / root(mpmath.sqrt(2) * s, mpmath.sqrt(2) * t, rho, sine)


def gaussian_slope(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return 4 * s * t * rho * gaussian(s, t, rho, sine) ** 3


def wave(c: int) -> Expectation:
    """Return that of sin for c = 1, of cos for c = −1."""

    def value(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
        squares = s**2 + t**2
        minus, plus = (mpmath.exp(-squares / 2 + sign * s * t * rho) for sign in (1, -1))
        return (minus - c * plus) / 2

    return value


def exponential(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return mpmath.exp(mpf(0.3) ** 2 * ((s**2 + t**2) / 2 + s * t * rho))


def exponential_slope(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return mpf(0.3) ** 2 * exponential(s, t, rho, sine)


def cube(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return (s * t) ** 3 * (9 * rho + 6 * rho**3)


def cube_slope(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return 9 * (s * t) ** 2 * (1 + 2 * rho**2)


def exp_normalized(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return s * t * mpmath.exp(2 * (rho - 1))


def exp_normalized_slope(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return 2 * mpmath.exp(2 * (rho - 1))


def series_of_erf() -> Activation:
    """Return erf as a function without a closed form."""
    plain = activations.get("erf")
    assert plain.function is not None
    return activations.custom(plain.function, plain.derivative, name="series")


CASES = {
    "identity": Case(activations.get("identity"), *kinked(1.0)),
    "relu": Case(activations.get("relu"), *kinked(0.0)),
    "abs": Case(activations.get("abs"), *kinked(-1.0)),
    "leaky_relu": Case(activations.leaky_relu(0.25), *kinked(0.25)),
    "sign": Case(activations.get("sign"), sign, None),
    "relu2": Case(activations.get("relu2"), squared_relu, squared_relu_slope),
    "erf": Case(activations.get("erf"), error_function, error_slope),
    "series": Case(series_of_erf(), error_function, error_slope),
    "gelu": Case(activations.get("gelu"), gelu, gelu_slope),
    "gaussian": Case(activations.get("gaussian"), gaussian, gaussian_slope),
    "sin": Case(activations.get("sin"), wave(1), wave(-1)),
    "cos": Case(activations.get("cos"), wave(-1), wave(1)),
    "exponential": Case(activations.exponential(0.3), exponential, exponential_slope),
    "monomial": Case(activations.monomial(3), cube, cube_slope),
    "exp_normalized": Case(activations.exp_normalized(2.0), exp_normalized, exp_normalized_slope),
}
PIECEWISE_LINEAR = ("identity", "relu", "abs", "leaky_relu")


def exact_kernels(
    case: Case, covariance: tuple[mpf, mpf, mpf], depth: int, weight: float, bias: float
) -> tuple[list[mpf], list[mpf]]:
    """Return Σ and Θ of (x, x), (z, z) and (x, z), with `activation_scale=1`.

    The covariance is ‖x‖², ‖z‖² and ⟨x, z⟩ over the number of inputs.
    """
    w, b = mpf(weight) ** 2, mpf(bias) ** 2
    p, q, c = covariance
    sigma = [w * p + b, w * q + b, w * c + b]
    theta = list(sigma)
    for _ in range(depth):
        s, t = mpmath.sqrt(sigma[0]), mpmath.sqrt(sigma[1])
        rho = unless_rounding(sigma[2] / (s * t))
        sine = mpmath.sqrt(1 - rho**2)
        triples = (s, s, mpf(1), mpf(0)), (t, t, mpf(1), mpf(0)), (s, t, rho, sine)
        sigma = [w * case.value(*triple) + b for triple in triples]
        slopes = [case.slope(*triple) if case.slope else mpf(0) for triple in triples]
        theta = [x + w * slope * y for x, slope, y in zip(sigma, slopes, theta, strict=True)]
    return sigma, theta


def exact_gaps(
    case: Case, covariance: tuple[mpf, mpf, mpf], depth: int, weight: float, bias: float
) -> tuple[mpf, mpf]:
    """Return 1 − cos of the last hidden layer and of the gradients."""
    kernels = exact_kernels(case, covariance, depth, weight, bias)
    near, gradient = (1 - unless_rounding(k[2] / mpmath.sqrt(k[0] * k[1])) for k in kernels)
    return near, gradient


def unless_rounding(rho: mpf) -> mpf:
    """Return a cosine, ±1 where the digits of the reference leave nothing else."""
    return mpmath.nint(rho) if abs(abs(rho) - 1) < mpf(10) ** (10 - DIGITS) else rho


def exact_angle(gap: mpf) -> mpf:
    return 2 * mpmath.asin(mpmath.sqrt(min(max(gap / 2, mpf(0)), mpf(1))))


def covariance_of(pair: np.ndarray[Any, Any]) -> tuple[mpf, mpf, mpf]:
    rows = [[mpf(float(x)) for x in row] for row in pair]
    p, q, c = (mpmath.fdot(rows[i], rows[j]) / len(rows[0]) for i, j in ((0, 0), (1, 1), (0, 1)))
    return p, q, c
