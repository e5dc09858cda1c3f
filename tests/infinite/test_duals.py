# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dual activations: closed forms against quadrature, series against both, and their limits."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
from activation_cases import FUNCTIONS, identify
from infinite_reference import expectation, general_kernels, pairs_at

from fastntk import activations, infinite
from fastntk.activations import Activation
from fastntk.infinite.duals import dual_of


@pytest.mark.parametrize("phi", FUNCTIONS, ids=identify)
def test_expectations(phi: Activation) -> None:
    dual, kinks = dual_of(phi, 1e-12), phi.breakpoints or (0.0,)
    states = dual.state(np.array([0.4, 1.7, 1.0]))
    first, second = states.take(slice(0, 2)), states.take(slice(2, 3))
    for s, i, gap in ((0.4, 0, 0.01), (1.7, 1, 0.6), (1.7, 1, 1.9)):
        pairs = pairs_at(first, second, gap)
        assert phi.function is not None
        cosine = 1 - dual.gap(first, second, pairs).near[i, 0]
        found = cosine * first.activation[i] * second.activation[0]
        expected = expectation(phi.function, s, 1.0, 1 - gap, kinks)
        scale = first.activation[i] * second.activation[0]
        assert found == pytest.approx(expected, rel=1e-11, abs=1e-11 * scale)
        if dual.no_derivative is None:
            assert phi.derivative is not None
            cosine = 1 - dual.derivative_gap(first, second, pairs).near[i, 0]
            scale = first.derivative[i] * second.derivative[0]
            expected = expectation(phi.derivative, s, 1.0, 1 - gap, kinks)
            assert cosine * scale == pytest.approx(expected, rel=1e-11, abs=1e-11 * scale)


@pytest.mark.parametrize("name", ["gelu", "tanh", "relu2"])
@pytest.mark.parametrize("bias_std", [0.0, 0.3])
def test_kernels_by_explicit_integrals(name: str, bias_std: float) -> None:
    X = np.random.default_rng(0).standard_normal((3, 4))
    nngp, ntk = infinite.kernels(X, depth=2, activation=name, weight_std=1.1, bias_std=bias_std)
    sigma, theta = general_kernels(X, 2, activations.get(name), 1.1, bias_std)
    np.testing.assert_allclose(nngp, sigma, rtol=1e-10)
    np.testing.assert_allclose(ntk, theta, rtol=1e-10)


@pytest.mark.parametrize("name", ["sin", "gaussian", "gabor", "gelu", "erf", "rbf"])
def test_series_against_closed_forms(name: str) -> None:
    phi = activations.get(name)
    X = np.random.default_rng(0).standard_normal((6, 8))
    alias = activations.custom(phi.function, phi.derivative, name="alias")  # type: ignore[arg-type]
    for a, b in zip(
        infinite.kernels(X, depth=2, activation=phi),
        infinite.kernels(X, depth=2, activation=alias),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9 * a.max())


def test_custom_activations_without_a_derivative() -> None:
    X = np.random.default_rng(0).standard_normal((6, 8))
    alias = activations.custom(np.tanh)
    K = infinite.ntk(X, depth=2, activation=alias, tolerance=1e-9)
    np.testing.assert_allclose(K, infinite.ntk(X, depth=2, activation="tanh"), rtol=1e-7)


def test_custom_activations_with_a_kink() -> None:
    def shifted(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.maximum(x - 0.5, 0)

    X = np.random.default_rng(0).standard_normal((6, 8))
    phi = activations.custom(shifted, lambda x: np.where(x > 0.5, 1.0, 0.0), breakpoints=(0.5,))
    with pytest.raises(ValueError, match=r"tolerance=1e-10: expected at least .* terms of its Her"):
        infinite.ntk(X, depth=2, activation=phi)
    nngp = infinite.nngp(X, depth=1, activation=phi, tolerance=0.05)
    sigma, _ = general_kernels(X[:2], 1, phi, 1.0, 0.0)
    np.testing.assert_allclose(nngp[:2, :2], sigma, rtol=1e-5)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-6, 1e-9])
def test_series_keep_their_tolerance(tolerance: float) -> None:
    X = np.random.default_rng(0).standard_normal((6, 8))
    exact = infinite.nngp(X, depth=1, activation="tanh", tolerance=1e-14)
    K = infinite.nngp(X, depth=1, activation="tanh", tolerance=tolerance)
    np.testing.assert_allclose(K, exact, rtol=0, atol=tolerance * exact.max())
    tanh = activations.get("tanh")
    assert tanh.function is not None
    alias = activations.custom(tanh.function, tanh.derivative, "alias", breakpoints=(0.0,))
    K = infinite.nngp(X, depth=1, activation=alias, tolerance=tolerance)
    np.testing.assert_allclose(K, exact, rtol=0, atol=tolerance * exact.max())
    state = dual_of(alias, tolerance).state(np.array([2.0]))
    assert state.samples is not None
    assert state.constants is not None
    terms = int(state.constants[0])  # of φ; those of φ' follow
    assert 1 - (state.samples[:terms] ** 2).sum() <= tolerance


def test_custom_functions_are_refused_where_their_series_is_too_long() -> None:
    alias = activations.custom(np.tanh, breakpoints=(0.0,))
    X = np.array([[9.0], [-4.0]])
    with pytest.raises(ValueError, match=r"tolerance=1e-10: expected at least .* deviations up to"):
        infinite.nngp(X, depth=1, activation=alias)
    found = infinite.nngp(X, depth=1, activation=alias, tolerance=1e-2)
    expected = infinite.nngp(X, depth=1, activation="tanh")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-2 * expected.max())


def bump(width: float, center: float) -> Any:
    return lambda x: x + 3 * np.exp(-(((x - center) / width) ** 2))


def test_sharp_turns_do_not_fall_between_nodes() -> None:
    """Whether they are named or not: kernels keep their tolerance, or are refused."""
    kept, places = 0, [(1.5, 0.5), (1.5, 3.0), (3.0, 5.0)]
    for width, (center, s) in itertools.product((0.3, 0.05, 0.01), places):
        nodes, weights = activations.gaussian_nodes((center / s,), 64)
        values = bump(width, center)(s * nodes)
        square, mean = weights @ values**2, weights @ values
        for points, tolerance in itertools.product(((), (center,)), (1e-10, 1e-6, 1e-1)):
            phi = activations.custom(bump(width, center), name="bump", breakpoints=points)
            net = infinite.Network(1, phi, activation_scale=1.0, tolerance=tolerance)
            try:
                K = net.nngp(s * math.sqrt(2) * np.eye(2))
            except ValueError as error:
                assert "tolerance=" in str(error)  # noqa: PT017
                continue
            kept += 1
            off = abs(K - [[square, mean**2], [mean**2, square]])
            assert off.max() <= 2 * tolerance * square
    assert kept >= 18


def test_turns_that_are_seen_between_nodes_are_refused() -> None:
    phi = activations.custom(lambda x: x + 30 * np.exp(-(((x - 3) / 0.01) ** 2)), name="bump")
    with pytest.raises(ValueError, match=r"tolerance=1e-10: expected .* turns sharply belongs int"):
        infinite.nngp(2 * math.sqrt(2) * np.eye(2), depth=1, activation=phi)


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0])
def test_elu_kernels_have_no_negative_eigenvalues(scale: float) -> None:
    X = scale * np.random.default_rng(0).standard_normal((20, 10))
    K = infinite.ntk(X, depth=4, activation="elu", weight_std=2.0)
    eigenvalues = np.linalg.eigvalsh(K)
    assert eigenvalues[0] > 1e-3 * eigenvalues[-1]


def test_elu_takes_zero_and_tiny_samples() -> None:
    X = np.array([[1.0, 2.0], [0.0, 0.0], [1e-4, 2e-4], [1e-150, -1e-150]])
    K = infinite.nngp(X, depth=2, activation="elu")
    assert (K[1] == 0).all()
    # Small samples see the slope of the function at 0, for them a multiple of the identity.
    linear = infinite.nngp(X[2:3], depth=2, activation="identity")
    second_moment = activations.get("elu").second_moment
    assert K[2, 2] == pytest.approx(linear[0, 0] / second_moment**2, rel=1e-3, abs=0)


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_waves_of_opposite_samples(name: str) -> None:
    # E[sin u sin(−u)] = −(1 − exp(−2 s²))/2 and likewise for the cosine.
    s = np.array([15.0, 19.2, 25.0, 100.0])
    X = np.concatenate([s, -s])[:, np.newaxis]
    K = infinite.nngp(X, depth=1, activation=name)[range(4), range(4, 8)]
    half = math.exp(-2.0)
    expected = -1 / (1 - half) if name == "sin" else 1 / (1 + half)
    np.testing.assert_allclose(K, np.full(4, expected), rtol=1e-14)


@pytest.mark.parametrize("turns", [-10_000, -1, 1, 10_000])
def test_a_phase_of_whole_turns_is_none(turns: int) -> None:
    """The rounding of a large phase makes no part of the other parity, whatever its sign."""
    theta = np.array([1e-9, 0.1, 3.0])
    for make in (activations.sine, activations.cosine):
        found, right = (
            infinite.gradient_angle(theta, 2, activation=make(1.3, phase))
            for phase in (2 * np.pi * turns, 0.0)
        )
        np.testing.assert_array_equal(found, right)


def test_waves_of_close_samples_keep_their_digits() -> None:
    dual = dual_of(activations.sine(30.0))
    states = dual.state(np.array([1.0]))
    for gap in (1e-300, 1e-25, 1e-12):
        # 1 − exp(−s² gap) (1 − exp(−2 s²(1 − gap)))/(1 − exp(−2 s²)), with s = 30
        found = dual.gap(states, states, pairs_at(states, states, gap)).near[0, 0]
        assert found == pytest.approx(-math.expm1(-900 * gap), rel=1e-14, abs=0)


def test_functions_that_are_not_finite() -> None:
    def spike(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return np.where(np.abs(x) > 20, np.inf, x)

    phi = activations.custom(spike)
    with pytest.raises(ValueError, match="values at finite numbers are not all finite"):
        infinite.ntk(np.array([[9.0]]), activation=phi, depth=1)


def test_norms_that_grow_without_bound() -> None:
    X = np.full((2, 3), 3.0)
    with pytest.raises(OverflowError, match=r"depth=30: samples grow beyond .* at layer"):
        infinite.ntk(X, depth=30, activation="relu2")
