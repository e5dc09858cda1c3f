# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Proved errors of kernels: they hold for every network, and are of use in ordinary ones."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from long_networks import Long, eigenvalues_of, exact_features
from threadpoolctl import threadpool_limits

import fastntk
from fastntk import activations
from fastntk.kernels.spectral_norms import spectral_norm

if TYPE_CHECKING:
    from fastntk.activations import Activation

ACTIVATIONS = [
    *(activations.get(name) for name in activations.FINITE_WIDTH),
    activations.leaky_relu(-0.3),
    activations.abrelu(-0.4, 1.5),
    activations.rectified_monomial(1),
    activations.rectified_monomial(3),
    activations.erf(0.8, 0.3),
    activations.sine(3.0, 0.3),
    activations.cosine(1.4, 0.3),
    activations.softplus(5.0),
    activations.elu(1.7),
    activations.celu(0.3),
    activations.squareplus(0.1),
    activations.hardtanh(-0.3, 0.7),
]


def random_network(rng: np.random.Generator, dtype: str, phi: Activation) -> fastntk.MLP:
    depth = int(rng.choice([0, 1, 1, 2, 2, 3, 5, 10, 20]))
    largest = 6 if phi.name in {"gelu", "erf"} else 24
    widths = [int(width) for width in rng.integers(1, largest, depth + 2)]
    widths[-1] = int(rng.integers(1, 4))
    return fastntk.MLP(
        widths,
        activation=phi,
        dtype=dtype,
        seed=int(rng.integers(2**32)),
        weight_std=float(rng.choice([0.5, 1.0, 1.0, 2.0])),
        bias_std=float(rng.choice([0.0, 0.0, 0.3])),
        parametrization=str(rng.choice(["ntk", "standard"])),
        activation_scale=float(rng.choice([0.7, 1.0])) if rng.random() < 0.3 else None,
    )


def random_samples(rng: np.random.Generator, net: fastntk.MLP) -> Any:
    """Return some samples of a random size, two of them close together."""
    X = rng.standard_normal((4, net.widths[0])) * 10.0 ** rng.choice([-4, -1, 0, 0, 0, 1])
    X[1] = X[0] * (1 + 10.0 ** rng.integers(-12, -1) * rng.standard_normal(net.widths[0]))
    return X.astype(net.dtype)


def check(rng: np.random.Generator, dtype: str, phi: Activation) -> bool:
    """Look whether the bounds of one random network hold; return whether they say anything."""
    net = random_network(rng, dtype, phi)
    X = random_samples(rng, net)
    with np.errstate(all="ignore"):
        exact = exact_features(net, X)
    if not np.isfinite(exact).all() or np.abs(exact).max() > 1e15:
        return False
    # Each output by itself, in the precision of the network.
    said = False
    for output in range(net.n_outputs):
        error = net.ntk_errors(X, outputs=output)["feature_error"]
        try:
            computed = net.gradient_features(X, output=output).astype(Long)
        except OverflowError:  # between the layers
            continue
        size = np.linalg.norm(computed.astype(float), axis=1)
        off = np.linalg.norm((computed - exact[:, output]).astype(float), axis=1)
        if math.isfinite(error):
            # The products δ h of which gradient_features consist are rounded besides.
            allowed = (error + 2 * np.finfo(dtype).eps) * size + 1e3 * np.finfo(dtype).tiny
            assert (off <= allowed).all(), (net, off, allowed)
        said |= error < 1e-2
    # The eigenvalues of the kernel in float64 of all of them.
    try:
        kernel = net.ntk(X, dtype="float64")
    except OverflowError:
        return said
    if not 1e-100 < np.trace(kernel) < 1e100:  # which `conditioning` refuses
        return said
    errors = net.ntk_errors(X, dtype="float64")
    bounds = fastntk.conditioning(kernel, **errors).bounds
    assert bounds is not None
    values = eigenvalues_of(exact)
    slack = 1e-17 * values[-1]  # of the reference
    for interval, value in (
        (bounds.eigenvalue_min, values[0]),
        (bounds.eigenvalue_max, values[-1]),
    ):
        assert interval.lower - slack <= value <= interval.upper + slack, (net, interval, value)
    return said


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_error_is_above_its_bound(dtype: str) -> None:
    rng = np.random.default_rng(0)
    said = [check(rng, dtype, phi) for phi in ACTIVATIONS]
    assert np.mean(said) > (0.6 if dtype == "float64" else 0.15)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_error_is_above_its_bound_in_thousands_of_networks(dtype: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for phi in ACTIVATIONS:
        for _ in range(25):
            check(rng, dtype, phi)


def test_a_gate_that_rounding_may_turn_is_an_error_of_its_own() -> None:
    # The sum is 1, and 0 where the terms are added from left to right: with and without a gradient.
    weights = [np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]), np.array([[1.0, 1e-8]])]
    net = fastntk.MLP.from_weights(weights, activation="relu", parametrization="standard")
    X = np.array([[1e16, 1.0, -1e16]])
    error = net.ntk_errors(X)["feature_error"]
    F = net.gradient_features(X)[0]
    exact = exact_features(net, X)[0, 0].astype(float)
    assert exact[:3].tolist() == (X[0] * net.activation_scale).tolist()
    assert error > 0.5 or np.linalg.norm(F - exact) <= error * np.linalg.norm(F)
    # Far from the kink there is next to no error.
    assert net.ntk_errors(np.array([[1.0, 2.0, 3.0]]))["feature_error"] < 1e-13


def test_an_error_that_the_next_layer_makes_larger() -> None:
    # A difference of two hidden units that cancels: the error of either is that of their sum.
    weights = [np.array([[0.1, 0.7], [0.1, 0.7 + 1e-9]]), np.array([[1e9, -1e9]]), np.ones((1, 1))]
    net = fastntk.MLP.from_weights(weights, activation="tanh", parametrization="standard")
    X = np.random.default_rng(0).standard_normal((50, 2))
    exact = exact_features(net, X)[:, 0]
    computed = net.gradient_features(X)
    off = np.linalg.norm((computed - exact).astype(float), axis=1) / np.linalg.norm(
        computed, axis=1
    )
    error = net.ntk_errors(X)["feature_error"]
    assert 1e-9 < off.max() <= error < 1e3 * off.max()


def test_an_error_that_is_passed_on() -> None:
    # The terms of the first layer cancel; the second one changes nothing.
    weights = [np.array([[1 / 3, 1 / 3, 1 / 7]]), np.ones((1, 1)), np.ones((1, 1))]
    for layers in (weights, weights[::2]):
        net = fastntk.MLP.from_weights(layers, activation="identity", parametrization="standard")
        X = np.array([[1e8 + 0.7 + k, -1e8, 0.3] for k in range(20)])
        computed, exact = net.gradient_features(X)[:, -1], exact_features(net, X)[:, 0, -1]
        off = np.abs((computed - exact) / exact).max()
        of_readout = net.ntk_errors(X, layer_weights=[*[0] * (len(layers) - 1), 1])
        assert 1e-9 < off <= of_readout["feature_error"] < 1e4 * off


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu", "identity"])
def test_the_bounds_are_of_use(activation: str) -> None:
    """What is resolved by what rounding does as a rule stays so by what is proved."""
    X = np.random.default_rng(0).standard_normal((60, 10)).astype(np.float32)
    for depth, most in ((1, 1e-11), (3, 1e-9), (5, 1e-7)):
        net = fastntk.MLP([10, *[128] * depth, 1], activation=activation, dtype="float32")
        errors = net.ntk_errors(X, dtype="float64")
        assert errors["feature_error"] < most
        kernel = net.ntk(X, dtype="float64")
        assert errors["kernel_error"] < 1e-13 * np.trace(kernel)
        as_a_rule = fastntk.conditioning(kernel, feature_error=net.feature_error)
        proved = fastntk.conditioning(kernel, **errors)
        assert proved.resolved == as_a_rule.resolved == (activation != "identity")
        assert proved.bounds is not None
        if proved.resolved:
            lower, upper = proved.bounds.condition_number
            assert upper < lower * (1 + 1e-3)


def test_bounds_hold_where_features_nearly_agree() -> None:
    """Pairs of samples as near as float32 can tell them apart: λ_min is the determinant/λ_max."""
    rng = np.random.default_rng(0)
    resolved = 0
    for activation in ("relu", "leaky_relu", "tanh", "silu", "elu", "sin"):
        for widths in ([10, 64, 64, 1], [5, *[16] * 6, 1]):
            net = fastntk.MLP(widths, activation=activation, dtype="float32", bias_std=0.1)
            x = rng.standard_normal(widths[0])
            for distance in (1.2e-7, 1e-6, 1e-4):
                near = x * (1 + distance * rng.standard_normal(len(x)))
                X = np.stack([x, near]).astype(np.float32)
                F = exact_features(net, X)[:, 0]
                apart = F[1] - F[0]
                a, b, c = F[0] @ F[0], F[0] @ apart, apart @ apart
                total = 2 * a + 2 * b + c
                smallest = 2 * (a * c - b * b) / (total + np.sqrt(total**2 - 4 * (a * c - b * b)))
                result = fastntk.conditioning(
                    net.ntk(X, dtype="float64"), **net.ntk_errors(X, dtype="float64")
                )
                assert result.bounds is not None
                lower, upper = result.bounds.eigenvalue_min
                assert lower <= smallest <= upper
                if result.resolved:
                    assert result.eigenvalue_min == pytest.approx(float(smallest), rel=1.0, abs=0)
                    resolved += 1
    assert resolved > 5


def test_errors_are_those_of_every_sample() -> None:
    """So that they hold for minibatches: the largest of the samples, and none is averaged away."""
    net = fastntk.MLP([4, 32, 32, 1], activation="tanh", bias_std=0.5)
    X = np.random.default_rng(0).standard_normal((30, 4))
    X[7] *= 1e3
    of_each = [net.ntk_errors(x[np.newaxis])["feature_error"] for x in X]
    together = net.ntk_errors(X)["feature_error"]
    assert together == pytest.approx(max(of_each), rel=1e-5, abs=0)


def test_the_same_for_any_number_of_threads() -> None:
    net = fastntk.MLP([6, 150, 150, 1], activation="gelu")
    X = np.random.default_rng(0).standard_normal((600, 6))  # three blocks
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            found.append(net.ntk_errors(X))
    assert found[0] == found[1] == found[2]
    # In pieces it is the same, too.
    pieces = [net.ntk_errors(X[first : first + 200]) for first in (0, 200, 400)]
    largest = max(piece["feature_error"] for piece in pieces)
    assert found[0]["feature_error"] == pytest.approx(largest, rel=1e-6, abs=0)
    together = sum(piece["kernel_error"] for piece in pieces)
    assert found[0]["kernel_error"] == pytest.approx(together, rel=1e-6, abs=0)


def test_the_rounding_of_gram_matrices() -> None:
    net = fastntk.MLP([200, 1])  # whose features are the samples
    X = np.abs(np.random.default_rng(0).standard_normal((20, 200)))
    exact = X.astype(Long) @ X.T.astype(Long) / 200
    for dtype in ("float32", "float64"):
        errors = net.ntk_errors(X, dtype=dtype)
        off = np.linalg.norm((net.ntk(X, dtype=dtype) - exact).astype(float), 2)
        features = 2 * errors["feature_error"] * float(np.trace(exact))
        assert 0 < off <= errors["kernel_error"] + features
        assert errors["kernel_error"] < 1e4 * off
    assert net.ntk_errors(X)["feature_error"] == 0
    assert 6e-8 < net.ntk_errors(X, dtype="float32")["feature_error"] < 1e-6


def test_samples_without_an_error_and_networks_without_a_proof() -> None:
    X = np.random.default_rng(0).standard_normal((5, 3))
    net = fastntk.MLP([3, 16, 1])
    padded = np.concatenate([X, np.zeros((1, 3))])
    assert net.ntk_errors(padded)["feature_error"] == net.ntk_errors(X)["feature_error"] < 1e-13
    unknown = fastntk.MLP(
        [3, 16, 1], activation=activations.custom(lambda x: x * x, lambda x: 2 * x)
    )
    with np.errstate(over="ignore"):
        huge = fastntk.MLP([3, 16, 1], activation="relu2").ntk_errors(X * 1e100)
    for errors in (unknown.ntk_errors(X), huge):
        assert errors["feature_error"] == math.inf
    result = fastntk.conditioning(net.ntk(X), **unknown.ntk_errors(X))
    assert not result.resolved
    assert result.bounds is not None
    assert result.bounds.condition_number == (1.0, math.inf)


@pytest.mark.parametrize(("psi", "size"), [("identity", 2.0**-500), ("square", 2.0**-250)])
def test_errors_of_small_kernels_do_not_vanish(psi: str, size: float) -> None:
    # The square of a rounding of features as small as 1e-150 is below the smallest number.
    net = fastntk.MLP([4, 16, 1], output_activation=psi)
    X = np.random.default_rng(0).standard_normal((5, 4))
    assert 1e-305 < net.ntk(size * X).max() < 1e-290
    bounds = [net.ntk_errors(scale * X)["feature_error"] for scale in (1.0, size)]
    assert bounds[0] > 0
    assert bounds[1] == pytest.approx(bounds[0], rel=1e-6, abs=0)


def test_outputs_and_weights_of_layers_count() -> None:
    net = fastntk.MLP([3, 16, 16, 2], bias_std=0.3)
    X = np.random.default_rng(0).standard_normal((9, 3))
    both, first = (net.ntk_errors(X, outputs=outputs) for outputs in ("trace", 0))
    assert both["kernel_error"] > first["kernel_error"]
    # The error of all features is between those of the features of each layer.
    by_layer = [net.ntk_errors(X, layer_weights=row)["feature_error"] for row in np.eye(3)]
    assert 0 < min(by_layer) < both["feature_error"] < max(by_layer)
    scaled = net.ntk_errors(X, layer_weights=[4, 4, 4])
    assert scaled["feature_error"] == pytest.approx(both["feature_error"], rel=1e-9, abs=0)
    assert scaled["kernel_error"] == pytest.approx(4 * both["kernel_error"], rel=1e-9, abs=0)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (40, 70), (200, 150), (150, 200)])
def test_spectral_norm(shape: tuple[int, int]) -> None:
    W = np.random.default_rng(0).standard_normal(shape)
    with threadpool_limits(1):
        exact = float(np.linalg.norm(W, 2))
        for scale in (1.0, 1e-200, 1e200):
            assert exact <= spectral_norm(W * scale) / scale <= 1.02 * exact
        assert spectral_norm(np.zeros(shape)) == 0


def test_spectral_norms_of_clustered_and_separate_eigenvalues() -> None:
    with threadpool_limits(1):
        rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((150, 150)))[0]
        assert 1 - 1e-12 <= spectral_norm(rotation) <= 1.02
        assert 1e3 <= spectral_norm(np.diag([1e3, *[1.0] * 149])) <= 1.02e3
