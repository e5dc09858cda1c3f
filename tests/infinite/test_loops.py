# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Compiled loops over pairs: against explicit formulas, and where less is wanted of them."""

from __future__ import annotations

import numpy as np
import pytest
from infinite_reference import expectation, pairs_at
from numpy.typing import NDArray

from fastntk import activations, infinite
from fastntk.activations import Activation, Function
from fastntk.infinite.duals import dual_of
from fastntk.infinite.duals.base import CANCELLATION, Gaps
from fastntk.infinite.duals.elu import Slope, Value
from fastntk.infinite.duals.series import Series, add_series


@pytest.mark.parametrize("alpha", [1.0, 0.3, 2.0])
@pytest.mark.parametrize("gap", [0.01, 0.05, 0.09, 0.3, 1.0, 1.4, 1.9, 1.99])
def test_series_of_elu_against_its_closed_form(alpha: float, gap: float) -> None:
    dual = dual_of(activations.elu(alpha))
    # Some that have a series, and some that are too large for one.
    s = np.array([1e-120, 1e-9, 0.01, 0.3, 1.0, 1.7, 3.0, 5.0, 7.9, 8.1, 40.0, 1e9])
    state = dual.state(s)
    pairs = pairs_at(state, state, gap)
    for expectation_of, norms, found in (
        (Value(alpha), state.activation, dual.gap),
        (Slope(alpha), state.derivative, dual.derivative_gap),
    ):
        gaps = found(state, state, pairs)
        covariance = expectation_of.covariance(s[:, np.newaxis], s, Gaps(*pairs.gaps))
        cosine = covariance / np.outer(norms, norms)
        np.testing.assert_allclose(gaps.near, 1 - cosine, rtol=0, atol=CANCELLATION)
        np.testing.assert_allclose(gaps.far, 1 + cosine, rtol=0, atol=CANCELLATION)


def test_series_of_elu_come_from_interpolated_coefficients() -> None:
    # So many samples that their coefficients are interpolated, and one by one.
    dual = dual_of(activations.elu(0.7))
    s = np.random.default_rng(0).uniform(0.4, 2.5, 300)
    state = dual.state(s)
    few = slice(0, 5)
    pairs = pairs_at(state.take(few), state.take(few), 0.6)
    alone = dual.state(s[few])
    for name in ("gap", "derivative_gap"):
        found = getattr(dual, name)(state.take(few), state.take(few), pairs)
        right = getattr(dual, name)(alone, alone, pairs)
        np.testing.assert_allclose(found.near, right.near, rtol=0, atol=CANCELLATION)


@pytest.mark.parametrize("large", [(), (100,), (70, 71, 90), tuple(range(64, 128)), (0, 299)])
def test_series_of_neighbours_whatever_terms_they_need(large: tuple[int, ...]) -> None:
    # Few large arguments are summed apart from the others, many together with them.
    rng = np.random.default_rng(0)
    coefficients = rng.uniform(0.5, 1.0, (60, 300)) * 0.7 ** np.arange(60.0)[:, np.newaxis]
    coefficients /= np.sqrt((coefficients**2).sum(axis=0))
    error = 1e-11
    series = Series.of(coefficients, np.zeros(300), error)
    x = rng.uniform(-0.3, 0.3, 300)
    x[list(large)] = 0.98
    total = np.empty(300)
    add_series(total, x, series.coefficients[:, 7].copy(), series.coefficients, 0, series.limits)
    powers = x ** np.arange(60)[:, np.newaxis]
    right = (coefficients[:, 7, np.newaxis] * coefficients * powers).sum(axis=0)
    np.testing.assert_allclose(total, right, rtol=0, atol=error)


def rectified(power: int) -> Function:
    def function(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(x > 0, x**power, 0.0)

    return function


@pytest.mark.parametrize("degree", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("rho", [-0.97, -0.4, 0.0, 0.3, 0.9])
def test_rectified_monomials_against_double_integrals(degree: int, rho: float) -> None:
    dual = dual_of(activations.rectified_monomial(degree))
    state = dual.state(np.array([1.0, 1.3]))
    pairs = pairs_at(state, state, 1 - rho)
    for power, norms, gaps in (
        (degree, state.activation, dual.gap(state, state, pairs)),
        (degree - 1, state.derivative / degree, dual.derivative_gap(state, state, pairs)),
    ):
        right = expectation(rectified(power), 1.0, 1.3, rho)
        found = gaps.cosine[0, 1] * norms[0] * norms[1]
        assert found == pytest.approx(right, rel=1e-9, abs=1e-13 * norms[0] * norms[1])


PHIS: list[Activation] = [
    *map(activations.get, ("erf", "gelu", "sin", "relu2", "tanh", "silu", "elu", "exp_normalized")),
    activations.hermite(3),
    activations.custom(np.arctan, lambda x: 1 / (1 + x**2)),
]


@pytest.mark.parametrize("phi", PHIS, ids=repr)
def test_a_kernel_is_the_same_without_the_other_one(phi: Activation) -> None:
    X = np.random.default_rng(0).standard_normal((30, 8))
    both = infinite.kernels(X, depth=2, activation=phi)
    np.testing.assert_array_equal(infinite.nngp(X, depth=2, activation=phi), both.nngp)
    np.testing.assert_array_equal(infinite.ntk(X, depth=2, activation=phi), both.ntk)
