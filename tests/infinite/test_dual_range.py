# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals for pairs of all angles and of all norms, equal and not, against many digits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import mpmath
import numpy as np
import pytest
from infinite_reference import pairs_at
from mpmath import mpf

from fastntk import activations
from fastntk.activations import Activation
from fastntk.infinite.duals import dual_of
from fastntk.infinite.duals.base import CANCELLATION

# E[φ(u)φ(v)] or E[φ'(u)φ'(v)] from s, t and the correlation.
Expectation: TypeAlias = Callable[[mpf, mpf, mpf], mpf]

WIDE = (1e-150, 1e-16, 1e-3, 0.9, 6.0, 19.3, 1e6, 1e150)
GAPS = (0.0, 1e-300, 1e-9, 0.3, 1.0, 1.2, 2 - 2.0**-40, 2.0)
DIGITS = 350  # those of products of the smallest norms, beside 1


def sinusoid(frequency: float, c: float, *, slope: bool) -> Expectation:
    def value(s: mpf, t: mpf, rho: mpf) -> mpf:
        s, t = frequency * s, frequency * t
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


CASES: list[tuple[Activation, Expectation, Expectation, tuple[float, ...]]] = [
    (activations.get("sin"), sinusoid(1, 1, slope=False), sinusoid(1, 1, slope=True), WIDE),
    (activations.get("cos"), sinusoid(1, -1, slope=False), sinusoid(1, -1, slope=True), WIDE),
    (activations.sine(30.0), sinusoid(30, 1, slope=False), sinusoid(30, 1, slope=True), WIDE),
    (activations.rbf(0.5), sinusoid(1, 0, slope=False), sinusoid(1, 0, slope=True), WIDE),
    (activations.get("erf"), error_function, error_slope, WIDE),
    (activations.get("gelu"), gelu, gelu_slope, WIDE),
    (activations.get("gaussian"), gaussian, gaussian_slope, WIDE),
    (activations.get("gabor"), gabor, gabor_slope, WIDE),
    (activations.exponential(0.3), exponential, exponential, tuple(s for s in WIDE if s < 70)),
    (activations.exp_normalized(2.0), exp_normalized, exp_normalized_slope, WIDE),
    (activations.monomial(3), cube, cube_slope, tuple(s for s in WIDE if 1e-30 < s < 1e30)),
    (activations.get("relu"), relu, gate, WIDE),
    (activations.get("relu2"), squared_relu, relu, WIDE),
]


@pytest.mark.parametrize(
    ("phi", "value", "slope", "deviations"), CASES, ids=[repr(case[0]) for case in CASES]
)
def test_all_angles_and_norms(
    phi: Activation, value: Expectation, slope: Expectation, deviations: tuple[float, ...]
) -> None:
    dual = dual_of(phi)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        states = dual.state(np.array(deviations))
        found = {
            gap: (
                dual.gap(states, states, pairs_at(states, states, gap)).near,
                dual.derivative_gap(states, states, pairs_at(states, states, gap)).near,
            )
            for gap in GAPS
        }
    with mpmath.workdps(DIGITS):
        norms = [mpf(s) for s in deviations]
        for position, expectation in enumerate((value, slope)):
            own = [expectation(s, s, mpf(1)) for s in norms]
            for gap in GAPS:
                rho = 1 - mpf(gap)
                for i, s in enumerate(norms):
                    for j in range(i + 1):
                        scale = mpmath.sqrt(own[i] * own[j])
                        right = 1 - expectation(s, norms[j], rho) / scale
                        for got in (found[gap][position][i, j], found[gap][position][j, i]):
                            assert abs(got - right) < CANCELLATION / 8, (gap, s, norms[j])


def elu_expectation(s: float, t: float, gap: float, *, slope: bool) -> mpf:
    """Integrate over u what v makes of it, in closed form, in pieces of all scales."""
    s, t, rho = mpf(s), mpf(t), 1 - mpf(gap)
    sine = mpmath.sqrt(1 - rho**2)
    deviation = t * sine

    def outer(x: mpf) -> mpf:
        if slope:
            return mpf(1) if x > 0 else mpmath.exp(x)
        return (x if x > 0 else mpmath.expm1(x)) / s

    def inner(mean: mpf) -> mpf:
        if deviation == 0:
            exact = mpf(1) if slope else mean
            return exact if mean > 0 else (mpmath.exp(mean) if slope else mpmath.expm1(mean))
        below = mpmath.exp(mean + deviation**2 / 2) * mpmath.ncdf(-(mean / deviation + deviation))
        above = mpmath.ncdf(mean / deviation)
        if slope:
            return above + below
        density = mpmath.npdf(mean / deviation)
        return mean * above + deviation * density + below - (1 - above)

    scales = [mpf(1) / 3, 1 / s]
    if rho:
        scales += [sine / abs(rho), 1 / (t * abs(rho))]
    points = {mpf(0), mpf(11)} | {c * m for c in scales for m in (1, 8) if 0 < c * m < 11}
    right = sorted(points)
    nodes = [-p for p in right[:0:-1]] + right

    def integrand(u: mpf) -> mpf:
        return outer(s * u) * inner(t * rho * u) * mpmath.npdf(u) / (1 if slope else t)

    return mpmath.quad(integrand, nodes, maxdegree=6)


ELU_PAIRS = [
    (1e-4, 1e-4, 1e-3),
    (0.5, 0.5, 1.99),
    (1.0, 1e6, 1.5),
    (1e6, 1e-3, 1.7),
    (6.0, 6.0, 0.5),
    (8.0, 1.0, 1.5),
    (12.0, 1.0, 0.5),
    (1.9, 2.1, 2 - 2.0**-30),
    (300.0, 300.0, 1e-6),
    (1e6, 1e6, 0.5),
    (1e6, 2e6, 1.999),
]


@pytest.mark.parametrize(("s", "t", "gap"), ELU_PAIRS)
def test_elu_for_all_angles_and_norms(s: float, t: float, gap: float) -> None:
    dual = dual_of(activations.get("elu"))
    states = dual.state(np.array([s, t]))
    x, z = states.take(slice(0, 1)), states.take(slice(1, 2))
    pairs = pairs_at(x, z, gap)
    scale, slope_scale = x.activation * (z.activation / (s * t)), x.derivative * z.derivative
    with mpmath.workdps(24):
        value = elu_expectation(s, t, gap, slope=False) / float(scale[0])
        slope = elu_expectation(s, t, gap, slope=True) / float(slope_scale[0])
        assert abs(dual.gap(x, z, pairs).near[0, 0] - (1 - value)) < CANCELLATION / 8
        assert abs(dual.derivative_gap(x, z, pairs).near[0, 0] - (1 - slope)) < CANCELLATION / 8


@pytest.mark.parametrize("gap", GAPS)
def test_elu_of_tiny_and_of_huge_samples(gap: float) -> None:
    # It is leaky ReLU for the former and ReLU for the latter, but for parts of s and of 1/s.
    dual = dual_of(activations.elu(0.7))
    for deviations, limit in (
        ((1e-150, 1e-150), activations.leaky_relu(0.7)),
        ((1e-18, 1e-150), activations.leaky_relu(0.7)),
        ((1e18, 1e18), activations.relu()),
        ((1e18, 1e150), activations.relu()),
    ):
        states = dual.state(np.array(deviations))
        x, z = states.take(slice(0, 1)), states.take(slice(1, 2))
        pairs = pairs_at(x, z, gap)
        piecewise = dual_of(limit)
        values = dual.gap(x, z, pairs), piecewise.gap(x, z, pairs)
        assert abs(values[0].near - values[1].near) < CANCELLATION / 8
        slopes = dual.derivative_gap(x, z, pairs), piecewise.derivative_gap(x, z, pairs)
        assert abs(slopes[0].near - slopes[1].near) < CANCELLATION / 8
