# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel, the gradients and the outputs of finite networks, against the slow reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import FUNCTIONS, ReferenceNetwork, angle, infinite_gradient_angle
from tolerances import RTOL, assert_close

import fastntk

DTYPES = ["float32", "float64"]


def normal(shape: tuple[int, ...], seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


@st.composite
def networks(draw: st.DrawFn) -> tuple[fastntk.MLP, ReferenceNetwork]:
    widths = draw(st.lists(st.integers(1, 9), min_size=2, max_size=6))
    weight_std = draw(st.sampled_from([0.5, 1.0, 1.7]))
    bias_std = draw(st.sampled_from([0.0, 0.3]))
    net = fastntk.MLP(
        widths,
        activation=draw(st.sampled_from(sorted(FUNCTIONS))),
        weight_std=weight_std,
        bias_std=bias_std,
        activation_scale=draw(st.sampled_from([None, 0.8])),
        seed=draw(st.integers(0, 2**64)),
        dtype=draw(st.sampled_from(DTYPES)),
    )
    return net, ReferenceNetwork.like(net, weight_std, bias_std)


def samples_for(net: fastntk.MLP, n: int, seed: int) -> npt.NDArray[Any]:
    return normal((n, net.widths[0]), seed).astype(net.dtype)


@given(networks(), st.integers(1, 40), st.integers(0, 99))
def test_everything_agrees_with_the_reference(
    pair: tuple[fastntk.MLP, ReferenceNetwork], n: int, seed: int
) -> None:
    net, reference = pair
    X, Z = samples_for(net, n, seed), samples_for(net, 5, seed + 100)
    x_rows, z_rows = X.astype(np.float64), Z.astype(np.float64)
    assert_close(net(X), [reference.output(x) for x in x_rows], net.dtype)
    for output in range(net.widths[-1]):
        features = reference.features(x_rows, output)
        assert features.shape == (n, net.n_parameters)
        assert_close(net.gradient_features(X, output), features, net.dtype)
        assert_close(net.ntk(X, outputs=output), features @ features.T, net.dtype)
    assert_close(net.ntk(X), reference.ntk(x_rows, x_rows), net.dtype)
    assert_close(net.ntk(X, Z), reference.ntk(x_rows, z_rows), net.dtype)


@pytest.mark.parametrize("bias_std", [0.0, 0.4])
@pytest.mark.parametrize("activation", sorted(FUNCTIONS))
def test_gradients_agree_with_finite_differences(activation: str, bias_std: float) -> None:
    net = fastntk.MLP([3, 7, 5, 6, 2], activation=activation, bias_std=bias_std, seed=3)
    assert np.isfinite(net.activation_scale)
    reference = ReferenceNetwork.like(net, bias_std=bias_std)
    X = normal((4, 3))
    nearest_kink = min(np.abs(z).min() for x in X for z in reference.preactivations(x)[:-1])
    assert nearest_kink > 1e-4, "differences across a kink of ReLU say nothing"
    for output in (0, 1):
        differences = [reference.gradient_by_differences(x, output) for x in X]
        np.testing.assert_allclose(
            net.gradient_features(X, output), differences, rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 63, 65, 129, 600, 1100])
def test_kernel_of_any_number_of_samples(n: int, dtype: str) -> None:
    net = fastntk.MLP([5, 20, 30, 1], seed=2, dtype=dtype)
    X = normal((n, 5)).astype(dtype)
    F = net.gradient_features(X).astype(np.float64)
    K = net.ntk(X)
    assert K.dtype == np.dtype(dtype)
    assert np.array_equal(K, K.T)
    assert_close(K, F @ F.T, dtype)


@given(networks(), st.integers(2, 70), st.integers(0, 99))
def test_kernel_properties(pair: tuple[fastntk.MLP, ReferenceNetwork], n: int, seed: int) -> None:
    net, _ = pair
    X = samples_for(net, n, seed)
    K = net.ntk(X)
    tolerance = RTOL[net.dtype] * float(K.max())
    assert np.array_equal(K, K.T)
    assert np.linalg.eigvalsh(K.astype(np.float64))[0] >= -tolerance * n
    order = np.random.default_rng(seed).permutation(n)
    np.testing.assert_allclose(net.ntk(X[order]), K[np.ix_(order, order)], rtol=0, atol=tolerance)
    half = n // 2
    np.testing.assert_allclose(net.ntk(X[:half], X[half:]), K[:half, half:], rtol=0, atol=tolerance)
    np.testing.assert_allclose(net.ntk(X[half:], X[:half]), K[half:, :half], rtol=0, atol=tolerance)


@given(st.floats(1e-3, 1e3), st.integers(0, 4), st.sampled_from(["relu", "identity"]))
def test_without_biases_the_kernel_is_homogeneous(
    factor: float, depth: int, activation: str
) -> None:
    net = fastntk.MLP([4, *[8] * depth, 1], activation=activation)
    X = normal((10, 4))
    assert_close(net.ntk(factor * X), factor**2 * net.ntk(X), "float64")


def test_float64_grams_of_a_float32_network_are_those_of_its_features() -> None:
    net = fastntk.MLP([6, 50, 40, 1], seed=5, dtype="float32")
    X = normal((90, 6)).astype(np.float32)
    K = net.ntk(X, dtype="float64")
    assert K.dtype == np.float64
    # Gradient features are rounded once more than the factors of the kernel, to float32.
    F = net.gradient_features(X).astype(np.float64)
    assert_close(K, F @ F.T, "float32")
    # K is a Gram matrix in float64: its errors are far below float32's.
    assert np.linalg.eigvalsh(K)[0] > 0
    reference = ReferenceNetwork.like(net)
    assert_close(K, reference.ntk(X.astype(float), X.astype(float)), "float32")
    assert net.ntk(X).dtype == np.float32
    assert fastntk.MLP([6, 50, 1]).ntk(X, dtype="float32").dtype == np.float32


def test_depth_0_is_the_gram_matrix() -> None:
    X = normal((20, 7))
    assert_close(fastntk.MLP([7, 1]).ntk(X), X @ X.T / 7, "float64")
    assert_close(fastntk.MLP([7, 3]).ntk(X), 3 * X @ X.T / 7, "float64")
    with_bias = fastntk.MLP([7, 1], weight_std=2.0, bias_std=0.5)
    assert_close(with_bias.ntk(X), 4 * X @ X.T / 7 + 0.25, "float64")


def test_linear_network_at_large_width_keeps_the_gram_matrix() -> None:
    X = normal((12, 5))
    gram = X @ X.T / 5
    errors = []
    for width in (64, 1024):
        kernels = [
            fastntk.MLP([5, width, width, width, 1], seed=s).linear().ntk(X) for s in range(24)
        ]
        deviations = [np.abs(K / 4 - gram).max() / gram.max() for K in kernels]
        errors.append(np.mean(deviations))
    assert errors[1] < 0.15
    # Sixteen times the width, a quarter of the fluctuation.
    assert 2.5 < errors[0] / errors[1] < 6.5


@pytest.mark.parametrize("depth", [1, 3, 6])
@pytest.mark.parametrize(
    ("theta", "degrees"),
    [
        (0.05, {1: 7.77410, 3: 12.74962, 6: 17.60961}),
        (1.0, {1: 59.85149, 3: 62.94097, 6: 65.54387}),
        (2.0, {1: 90.37245, 3: 78.77310, 6: 74.22384}),
    ],
)
def test_wide_networks_approach_the_infinite_width_angles(
    theta: float, degrees: dict[int, float], depth: int
) -> None:
    limit = infinite_gradient_angle(theta, depth)
    assert np.degrees(limit) == pytest.approx(degrees[depth], abs=6e-6)
    X = np.array([[1.0, 0.0], [np.cos(theta), np.sin(theta)]])
    width, seeds = 2048, 6
    found = []
    for seed in range(seeds):
        K = fastntk.MLP([2, *[width] * depth, 1], seed=seed, dtype="float32").ntk(
            X, dtype="float64"
        )
        found.append(K[0, 1] / np.sqrt(K[0, 0] * K[1, 1]))
    # The mean over seeds of a quantity that fluctuates like √(depth/width).
    assert np.mean(found) == pytest.approx(np.cos(limit), abs=3 * np.sqrt(depth / width / seeds))


def test_linear_network_keeps_the_angle() -> None:
    theta = 0.7
    X = np.array([[1.0, 0.0], [np.cos(theta), np.sin(theta)]])
    net = fastntk.MLP([2, 2048, 2048, 2048, 1], seed=4).linear()
    u, v = net.gradient_features(X)
    assert angle(u, v) == pytest.approx(theta, abs=0.05)


def test_linear_shares_the_weights() -> None:
    net = fastntk.MLP([4, 6, 2], bias_std=0.5)
    linear = net.linear()
    assert linear.activation.name == "identity"
    assert linear.activation_scale == 1.0
    assert all(np.shares_memory(a, b) for a, b in zip(net.weights, linear.weights, strict=True))
    assert net.biases is not None
    assert linear.biases is not None
    assert len(linear.biases) == 2


def test_attributes() -> None:
    net = fastntk.MLP([4, 6, 5, 2], bias_std=0.5, dtype="float32")
    assert net.widths == (4, 6, 5, 2)
    assert net.depth == 2
    assert net.dtype == np.float32
    assert [w.shape for w in net.weights] == [(6, 4), (5, 6), (2, 5)]
    assert net.n_parameters == 6 * 4 + 5 * 6 + 2 * 5 + 6 + 5 + 2
    assert net.activation_scale == pytest.approx(np.sqrt(2), rel=1e-9, abs=0)
    assert fastntk.MLP([4, 2]).biases is None
    assert "widths=(4, 6, 5, 2)" in repr(net)


def test_arrays_of_any_layout_are_taken() -> None:
    net = fastntk.MLP([4, 6, 1])
    X = normal((9, 4))
    expected = net.ntk(X)
    read_only = X.copy()
    read_only.flags.writeable = False
    wide = np.zeros((18, 8))
    wide[::2, ::2] = X
    for same in (read_only, np.asfortranarray(X), wide[::2, ::2], X.tolist()):
        assert np.array_equal(net.ntk(same), expected)

    class Tensor:  # speaks DLPack and nothing else
        def __dlpack__(self, **arguments: Any) -> Any:
            return X.__dlpack__(**arguments)

        def __dlpack_device__(self) -> Any:
            return X.__dlpack_device__()

    assert np.array_equal(net.ntk(Tensor()), expected)  # type: ignore[call-overload]
    integers = np.arange(12).reshape(3, 4)
    assert np.array_equal(net.ntk(integers), net.ntk(integers.astype(float)))
    assert np.array_equal(net.ntk(X > 0), net.ntk((X > 0).astype(float)))
