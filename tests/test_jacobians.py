# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Jacobians, their products and the kernel as an operator."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse.linalg import cg, eigsh
from tolerances import RTOL, assert_close

import fastntk


def normal(*shape: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


@given(
    st.lists(st.integers(1, 8), min_size=2, max_size=5),
    st.sampled_from(["relu", "tanh", "identity", "softplus"]),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from(["float32", "float64"]),
    st.sampled_from(["ntk", "standard"]),
    st.integers(1, 12),
)
def test_products_agree_with_the_explicit_jacobian(
    widths: list[int], activation: str, bias_std: float, dtype: str, parametrization: str, n: int
) -> None:
    net = fastntk.MLP(
        widths,
        activation=activation,
        bias_std=bias_std,
        dtype=dtype,
        parametrization=parametrization,
    )
    X = normal(n, widths[0]).astype(dtype)
    J = net.jacobian(X).astype(float)
    v = normal(net.n_parameters, 2, seed=1).astype(dtype)
    u = normal(n, widths[-1], 2, seed=2).astype(dtype)
    forward, backward = net.jvp(X, v), net.vjp(X, u)
    assert forward.dtype == backward.dtype == np.dtype(dtype)
    assert forward.shape == (n, widths[-1], 2)
    assert backward.shape == (net.n_parameters, 2)
    for result, expected, size in (
        (forward, np.einsum("icp,pk->ick", J, v), np.abs(J).sum(axis=2).max() * np.abs(v).max()),
        (backward, np.einsum("icp,ick->pk", J, u), np.abs(J).sum(axis=0).max() * np.abs(u).max()),
    ):
        np.testing.assert_allclose(result, expected, rtol=0, atol=RTOL[net.dtype] * max(size, 1))
    np.testing.assert_array_equal(net.jvp(X, v[:, 0]), forward[:, :, 0])
    np.testing.assert_array_equal(net.vjp(X, u[:, :, 1]), backward[:, 1])
    # ⟨F v, u⟩ = ⟨v, Fᵀ u⟩
    left = float(np.sum(forward[:, :, 0].astype(float) * u[:, :, 0]))
    right = float(v[:, 0].astype(float) @ backward[:, 0].astype(float))
    scale = float(np.sum(np.abs(J)) * np.abs(u).max() * np.abs(v).max())
    assert left == pytest.approx(right, abs=RTOL[net.dtype] * max(scale, 1))


@pytest.mark.parametrize("outputs", ["trace", 1])
def test_the_operator_is_the_matrix(outputs: Any) -> None:
    net = fastntk.MLP([5, 30, 20, 3], bias_std=0.2)
    X = normal(600, 5)
    K, operator = net.ntk(X, outputs=outputs), net.ntk_operator(X, outputs=outputs)
    assert operator.shape == K.shape
    v = normal(600, 4, seed=1)
    assert_close(operator @ v, K @ v, "float64")
    assert_close(operator @ v[:, 0], K @ v[:, 0], "float64")
    assert_close(operator.T @ v, K @ v, "float64")
    double_of_single = net.astype("float32").ntk_operator(X, outputs=outputs, dtype="float64")
    assert double_of_single.dtype == np.float64
    assert_close(double_of_single @ v, K @ v, "float32")


@pytest.mark.parametrize("layer_weights", [None, [0.0, 1.0, 0.3]])
def test_the_operator_of_all_pairs_of_outputs(layer_weights: Any) -> None:
    net = fastntk.MLP([5, 30, 20, 3], bias_std=0.2)
    X, v = normal(40, 5), normal(120, 4, seed=1)
    operator = net.ntk_operator(X, outputs="full", layer_weights=layer_weights)
    K = net.ntk(X, outputs="full", layer_weights=layer_weights)
    matrix = K.transpose(0, 2, 1, 3).reshape(120, 120)
    assert operator.shape == matrix.shape
    assert_close(operator @ v, matrix @ v, "float64")
    assert_close(operator @ v[:, 0], matrix @ v[:, 0], "float64")
    assert_close(operator.T @ v, matrix @ v, "float64")


def test_operator_in_scipy_solvers() -> None:
    net = fastntk.MLP([10, 300, 300, 1])
    X = normal(60, 10)
    K, operator = net.ntk(X), net.ntk_operator(X)
    top = eigsh(operator, k=2, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(np.sort(top), np.linalg.eigvalsh(K)[-2:], rtol=1e-9)
    y = normal(60, seed=1)
    solution, info = cg(operator, y, rtol=1e-10, maxiter=5000)
    assert info == 0
    np.testing.assert_allclose(K @ solution, y, atol=1e-8)


def test_products_do_not_depend_on_threads() -> None:
    from threadpoolctl import threadpool_limits

    net = fastntk.MLP([5, 300, 40, 2], bias_std=0.5)
    X, v = normal(1100, 5), normal(1100, 2, seed=1)
    results = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            results.append(net.ntk_operator(X) @ v)
    assert np.array_equal(results[0], results[1])
    assert np.array_equal(results[0], results[2])


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_input_jacobian(depth: int, activation: str) -> None:
    net = fastntk.MLP([4, *[12] * depth, 3], activation=activation, bias_std=0.3)
    X, step = normal(50, 4), 1e-6
    J = net.input_jacobian(X)
    assert J.shape == (50, 3, 4)
    for k, e in enumerate(step * np.eye(4)):
        difference = (net(X + e) - net(X - e)) / (2 * step)
        np.testing.assert_allclose(J[:, :, k], difference, rtol=1e-6, atol=1e-8)


def test_linearized_network_is_the_first_order() -> None:
    net = fastntk.MLP([4, 30, 30, 2], activation="tanh", bias_std=0.1, seed=1)
    X = normal(6, 4)
    change = normal(net.n_parameters, seed=2)
    model = net.linearize()
    errors = []
    for step in (1e-3, 1e-4):
        first = 0
        moved_w, moved_b = [], []
        for w, b in zip(net.weights, net.biases or (), strict=True):
            moved_w.append(w + step * change[first : first + w.size].reshape(w.shape))
            first += w.size
            moved_b.append(b + step * change[first : first + len(w)])
            first += len(w)
        moved = fastntk.MLP.from_weights(moved_w, moved_b, activation="tanh", bias_std=0.1)
        errors.append(np.abs(moved(X) - model(X, step * change)).max())
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1, abs=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda n, X: n.jvp(X, np.ones(3)), r"v has shape \(3,\): expected \(35,\) or \(35, k\)"),
        (lambda n, X: n.jvp(X, np.full(35, np.nan)), r"v\[0\]=nan"),
        (lambda n, X: n.vjp(X, np.ones(5)), r"u has shape \(5,\): expected \(5, 2\[, k\]\)"),
        (lambda n, X: n.vjp(X, np.ones((5, 3))), r"u has shape \(5, 3\): expected \(5, 2\["),
        (lambda n, X: n.gradient_features(X, 2), "output=2: expected"),
        (lambda n, X: n.linearize()(X, np.ones(3)), r"change has shape \(3,\): expected \(35,\)"),
        (lambda n, X: n.linearize()(X, np.ones((35, 2))), "change is a matrix of 2 columns"),
    ],
)
def test_bad_arguments(call: Any, message: str) -> None:
    net = fastntk.MLP([3, 7, 2])
    with pytest.raises(ValueError, match=message):
        call(net, normal(5, 3))


def test_memory_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    net = fastntk.MLP([3, 100, 2])
    monkeypatch.setattr("fastntk._support.memory.ALWAYS_THERE", 0)
    monkeypatch.setattr("fastntk._support.memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match=r"20 × 500 matrix of gradient features .*jvp, vjp"):
        net.jacobian(normal(10, 3))
    with pytest.raises(MemoryError, match="the features of 10 samples in float64 needs"):
        net.ntk_operator(normal(10, 3))
