# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals of close and of opposite pairs: both gaps to the digits of their own size."""

from __future__ import annotations

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from dual_expectations import CASES, Case
from mpmath import mpf

from fastntk import activations, infinite
from fastntk.activations import Activation
from fastntk.infinite.duals import Correlation, Dual, Gaps, State, dual_of
from fastntk.infinite.duals.base import error_by_size

DEVIATIONS = (1e-9, 1e-3, 0.9, 19.3, 1e6)
RATIOS = (1.0, 1 + 1e-9, 1.02, 3.0)
SMALL_GAPS = (0.0, 1e-25, 1e-9, 1e-3)


def pair(s: float, difference: float, gap: float, *, opposite: bool) -> Correlation:
    gaps = Gaps(np.array([[gap]]), np.array([[2 - gap]]))
    return Correlation(gaps.swapped if opposite else gaps, np.array([[difference]]))


def states(dual: Dual, s: float, t: float) -> tuple[State, State]:
    both = dual.state(np.array([s, t]))
    return both.take(slice(0, 1)), both.take(slice(1, 2))


def assert_digits(found: Gaps, cosine: mpf, where: object) -> None:
    for gap, right in ((found.near[0, 0], 1 - cosine), (found.far[0, 0], 1 + cosine)):
        assert abs(gap - right) <= error_by_size(abs(float(right))), (where, gap, right)


@pytest.mark.parametrize("case", CASES, ids=[repr(case[0]) for case in CASES])
def test_close_and_opposite_pairs(case: Case) -> None:
    phi, value, slope, (least, most) = case
    dual = dual_of(phi)
    deviations = [s for s in DEVIATIONS if least < s < most]
    for s, ratio in ((s, ratio) for s in deviations for ratio in RATIOS):
        t = s * ratio
        x, z = states(dual, s, t)
        with mpmath.workdps(100):
            functions = [(value, dual.gap)]
            if slope is not None:
                functions.append((slope, dual.derivative_gap))
            for expectation, function in functions:
                norms = [expectation(mpf(r), mpf(r), mpf(1)) for r in (s, t)]
                scale = mpmath.sqrt(norms[0] * norms[1])
                for gap in SMALL_GAPS:
                    for opposite in (False, True):
                        rho = mpf(gap) - 1 if opposite else 1 - mpf(gap)
                        right = expectation(mpf(s), mpf(t), rho) / scale
                        found = function(x, z, pair(s, s - t, gap, opposite=opposite))
                        assert_digits(found, right, (s, t, gap, opposite))


@pytest.mark.parametrize("case", CASES, ids=[repr(case[0]) for case in CASES])
def test_differences_that_the_norms_do_not_show(case: Case) -> None:
    phi, value, slope, _ = case
    dual = dual_of(phi)
    s, difference = 0.7, 1e-19
    x, z = states(dual, s, s)
    with mpmath.workdps(100):
        t = mpf(s) - mpf(difference)
        for expectation, function in ((value, dual.gap), (slope, dual.derivative_gap)):
            if expectation is not None:
                norms = [expectation(r, r, mpf(1)) for r in (mpf(s), t)]
                right = expectation(mpf(s), t, mpf(1)) / mpmath.sqrt(norms[0] * norms[1])
                found = function(x, z, pair(s, difference, 0.0, opposite=False))
                assert abs(found.near[0, 0] - (1 - right)) <= 1e-9 * (1 - right) + 1e-90
                assert found.far[0, 0] == pytest.approx(2.0, rel=1e-15, abs=0)


def elu(alpha: float) -> tuple[Callable[[mpf], mpf], Callable[[mpf], mpf]]:
    def function(x: mpf) -> mpf:
        return x if x > 0 else alpha * mpmath.expm1(x)

    def slope(x: mpf) -> mpf:
        return mpf(1) if x > 0 else alpha * mpmath.exp(x)

    return function, slope


def over_normal(function: Callable[[mpf], mpf], scale: float) -> mpf:
    points = sorted({mpf(0), mpf(1) / scale, 8 / mpf(scale), mpf(1) / 2, mpf(14)})
    nodes = [point for point in points if point <= 14]
    nodes = [-point for point in nodes[:0:-1]] + nodes
    return mpmath.quad(lambda u: function(u) * mpmath.npdf(u), nodes)


@pytest.mark.parametrize(("alpha", "s"), [(1.0, 1e-5), (1.0, 40.0), (0.4, 0.8), (1.7, 1e6)])
def test_elu_of_close_pairs_of_equal_norms(alpha: float, s: float) -> None:
    # By the first terms of expansions in the angle: for φ, and for φ' of the jump of φ' or, without
    # one, of φ''. The next terms are of the size of the angle times s.
    dual = dual_of(activations.elu(alpha))
    x, z = states(dual, s, s)
    gap = 1e-50
    with mpmath.workdps(25):
        function, slope = elu(alpha)
        size = over_normal(lambda u: function(s * u) ** 2, s)
        slope_size = over_normal(lambda u: slope(s * u) ** 2, s)
        if alpha == 1:
            bend = over_normal(lambda u: slope(s * u) ** 2 if u < 0 else mpf(0), s)
            right = s**2 * gap * bend / slope_size
        else:
            theta = mpmath.sqrt(2 * mpf(gap))
            right = (1 - mpf(alpha)) ** 2 * theta / (2 * mpmath.pi) / slope_size
        pairs = pair(s, 0.0, gap, opposite=False)
        near = dual.gap(x, z, pairs).near[0, 0]
        assert near == pytest.approx(float(s**2 * gap * slope_size / size), rel=1e-12, abs=0)
        assert dual.derivative_gap(x, z, pairs).near[0, 0] == pytest.approx(
            float(right), rel=1e-12, abs=0
        )


@pytest.mark.parametrize(
    ("alpha", "s", "t"),
    [
        (1.0, 1e-5, 2e-5),
        (0.4, 0.8, 0.8008),
        *(
            pytest.param(*values, marks=pytest.mark.long)
            for values in ((1.0, 3e-9, 3e-9), (1.0, 0.8, 0.8008), (1.0, 1e6, 3e6), (0.4, 1e6, 3e6))
        ),
    ],
)
def test_elu_of_parallel_and_of_opposite_pairs(alpha: float, s: float, t: float) -> None:
    dual = dual_of(activations.elu(alpha))
    x, z = states(dual, s, t)
    with mpmath.workdps(40):
        for f, gaps in zip(elu(alpha), (dual.gap, dual.derivative_gap), strict=True):
            norms = [
                mpmath.sqrt(over_normal(lambda u, f=f, r=r: f(r * u) ** 2, r))  # type: ignore[misc]
                for r in (s, t)
            ]
            for opposite in (False, True):
                sign = -1 if opposite else 1
                cosine = over_normal(
                    lambda u, f=f, sign=sign: f(s * u) * f(sign * t * u),  # type: ignore[misc]
                    max(s, t),
                ) / (norms[0] * norms[1])
                found = gaps(x, z, pair(s, s - t, 0.0, opposite=opposite))
                assert_digits(found, cosine, (s, t, opposite))


@pytest.mark.parametrize("opposite", [False, True])
@pytest.mark.parametrize("alpha", [1.0, 0.4])
def test_elu_of_nearly_opposite_pairs_by_differences(alpha: float, opposite: bool) -> None:
    # What the angle adds to the gaps at exactly parallel or opposite samples grows as it should:
    # its derivative by ρ is s t E[φ'(u)φ'(v)] (Price's theorem).
    s, t, gap = 0.5, 0.6, 1e-4
    dual = dual_of(activations.elu(alpha))
    x, z = states(dual, s, t)
    points, weights = np.polynomial.legendre.leggauss(12)
    total = 0.0
    for point, weight in zip(points, weights, strict=True):
        angle = (point + 1) / 2 * 2 * np.arcsin(np.sqrt(gap / 2))
        there = pair(s, s - t, 2 * np.sin(angle / 2) ** 2, opposite=opposite)
        cosine = dual.derivative_gap(x, z, there).cosine[0, 0]
        total += weight / 2 * np.sin(angle) * cosine * 2 * np.arcsin(np.sqrt(gap / 2))
    change = s * t * total * x.derivative[0] * z.derivative[0]
    change /= x.activation[0] * z.activation[0]
    least, found = (dual.gap(x, z, pair(s, s - t, g, opposite=opposite)) for g in (0.0, gap))
    # 1 − c grows with the angle from parallel samples on, 1 + c from opposite ones
    grown = found.far - least.far if opposite else found.near - least.near
    assert grown[0, 0] == pytest.approx(change, rel=1e-9, abs=0)


@pytest.mark.parametrize("s", [1e-100, 1e100])
def test_powers_whose_squares_leave_the_range_of_numbers(s: float) -> None:
    for phi in (activations.monomial(3), activations.rectified_monomial(3)):
        dual = dual_of(phi)
        unit, there = (dual.state(np.array([r, 1.7 * r])) for r in (1.0, s))
        assert there.activation == pytest.approx(unit.activation * s**3, rel=1e-14, abs=0)
        assert there.derivative == pytest.approx(unit.derivative * s**2, rel=1e-14, abs=0)
        for gap in (0.0, 1e-9, 0.4, 1.7):
            gaps = [
                dual.gap(
                    state,
                    state,
                    Correlation(
                        Gaps(np.full((2, 2), gap), np.full((2, 2), 2 - gap)),
                        np.subtract.outer(state.deviation, state.deviation),
                    ),
                )
                for state in (unit, there)
            ]
            for found, right in zip(gaps[1], gaps[0], strict=True):
                np.testing.assert_allclose(found, right, rtol=1e-14, atol=0)


@pytest.mark.parametrize("depth", [1, 2, 6])
@pytest.mark.parametrize("distance", [1e-6, 1e-9, 1e-12])
def test_sign_of_nearly_opposite_samples(distance: float, depth: int) -> None:
    with mpmath.workdps(60):
        cosine = mpmath.cos(mpmath.atan2(mpf(distance), -1))
        for _ in range(depth):
            cosine = 2 / mpmath.pi * mpmath.asin(cosine)
    X = np.sqrt(2) * np.array([[1.0, 0.0], [-1.0, distance], [1.0, distance]])
    K = infinite.nngp(X, depth=depth, activation="sign")
    assert K[0, 1] == pytest.approx(float(cosine), rel=1e-14, abs=0)
    assert K[0, 2] == pytest.approx(-float(cosine), rel=1e-14, abs=0)


@pytest.mark.parametrize(
    "phi", [activations.erf(), activations.sine(2.0), activations.get("gabor")]
)
def test_odd_functions_keep_the_angles_of_opposite_samples(phi: Activation) -> None:
    theta = np.array([1e-9, 1e-7, 1e-3, 1.0])
    X = np.stack([np.cos(theta), np.sin(theta)], axis=1)
    K = infinite.ntk([[1.0, 0.0]], np.concatenate([X, -X]), depth=3, activation=phi)[0]
    np.testing.assert_array_equal(K[:4], -K[4:])
    angles = infinite.gradient_angle(theta[:2], 3, phi)
    assert angles[1] == pytest.approx(100 * angles[0], rel=1e-9, abs=0)
