# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals for pairs of all angles and of all norms, equal and not, against many digits."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
from dual_expectations import CASES, Case
from infinite_reference import pairs_at
from mpmath import mpf

from fastntk import activations
from fastntk.infinite.duals import dual_of
from fastntk.infinite.duals.base import CANCELLATION

WIDE = (1e-150, 1e-16, 1e-3, 0.9, 6.0, 19.3, 1e6, 1e150)
GAPS = (0.0, 1e-300, 1e-9, 0.3, 1.0, 1.2, 2 - 2.0**-40, 2.0)
DIGITS = 350  # those of products of the smallest norms, beside 1

# Norms and gaps of the quick tests.
SOME = (1e-150, 1e-3, 0.9, 19.3, 1e150)
SOME_GAPS = (0.0, 1e-9, 0.3, 1.2, 2 - 2.0**-40)


def check(case: Case, deviations: tuple[float, ...], gaps: tuple[float, ...]) -> None:
    phi, value, slope, (least, most) = case
    deviations = tuple(s for s in deviations if least < s < most)
    dual = dual_of(phi)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        states = dual.state(np.array(deviations))
        pairs = {gap: pairs_at(states, states, gap) for gap in gaps}
        found = [{gap: dual.gap(states, states, pairs[gap]) for gap in gaps}]
        if slope is not None:
            found += [{gap: dual.derivative_gap(states, states, pairs[gap]) for gap in gaps}]
    with mpmath.workdps(DIGITS):
        norms = [mpf(s) for s in deviations]
        for expectation, both in zip((value, slope), found, strict=False):
            assert expectation is not None
            own = [expectation(s, s, mpf(1)) for s in norms]
            for gap in gaps:
                for i, s in enumerate(norms):
                    for j in range(i + 1):
                        scale = mpmath.sqrt(own[i] * own[j])
                        right = expectation(s, norms[j], 1 - mpf(gap)) / scale
                        for k in ((i, j), (j, i)):
                            near, far = both[gap].near[k], both[gap].far[k]
                            assert abs(near - (1 - right)) < CANCELLATION / 8, (gap, s, norms[j])
                            assert abs(far - (1 + right)) < CANCELLATION / 8, (gap, s, norms[j])


@pytest.mark.parametrize("case", CASES, ids=[repr(case[0]) for case in CASES])
def test_angles_and_norms(case: Case) -> None:
    check(case, SOME, SOME_GAPS)


@pytest.mark.long
@pytest.mark.parametrize("case", CASES, ids=[repr(case[0]) for case in CASES])
def test_all_angles_and_norms(case: Case) -> None:
    check(case, WIDE, GAPS)


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
