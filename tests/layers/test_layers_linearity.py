# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Second derivatives of networks of layers, their linear models, and how far they move."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import layer_reference as reference
import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import given, settings
from hypothesis import strategies as st
from test_finite_network import (
    DESCRIPTION,
    X,
    assert_near,
    with_parameters,
)
from threadpoolctl import threadpool_limits
from tolerances import assert_close

import fastntk
from fastntk import activations, layers
from fastntk.architectures.finite import FiniteNetwork
from fastntk.layers import Dense, LayerNorm, ReLU, Residual, RMSNorm
from fastntk.linearity import (
    hessian_norm,
    hessian_operator,
    hessian_vector_product,
    kernel_change,
    kernel_drift,
    loss_hessian,
)
from fastntk.networks.wired import with_arrays

if TYPE_CHECKING:
    from collections.abc import Callable

numbers = np.random.default_rng(5)
# With steps of 1e-3, differences of the fourth order of derivatives to all digits have ten.
STEP, DIFFERENCES = 1e-3, 1e-9


def moved(net: FiniteNetwork, change: Any) -> FiniteNetwork:
    ends = np.cumsum([array.size for array in net.parameters])[:-1]
    parts = zip(net.parameters, np.split(change, ends), strict=True)
    arrays = [array + part.reshape(array.shape) for array, part in parts]
    return FiniteNetwork.of_network(with_arrays(net.layers, net.inputs, arrays))


def along(function: Callable[[Any], Any], v: Any) -> Any:
    """The derivative of a function of the change of the parameters, along v."""
    step = STEP / (1 + np.linalg.norm(v))
    near = function(step * v) - function(-step * v)
    far = function(2 * step * v) - function(-2 * step * v)
    return (8 * near - far) / (12 * step)


def dense_hessian(net: FiniteNetwork, x: Any, output: int = 0) -> Any:
    return hessian_vector_product(net, x, np.eye(net.n_parameters), output=output)


@settings(max_examples=12)
@given(description=networks(activations=("tanh", "silu")), seed=st.integers(0, 99))
def test_products_are_derivatives_of_the_gradient(description: fastntk.Network, seed: int) -> None:
    net, _ = with_parameters(description, seed)
    draw = np.random.default_rng(seed)
    x, u = draw.standard_normal((4, description.inputs)), draw.standard_normal((4, net.n_outputs))
    v, w = draw.standard_normal((2, net.n_parameters))

    def gradient(change: Any) -> Any:
        arrays = list(moved(net, change).parameters)
        return np.einsum("icp,ic->p", reference.jacobian(description, arrays, x), u)

    H = hessian_operator(net, x, coefficients=u)
    of_v, of_w = H @ v, H @ w
    scale = 1 + np.abs(of_v).max() + np.abs(gradient(0 * v)).max()
    np.testing.assert_allclose(of_v, along(gradient, v), rtol=0, atol=1e3 * DIFFERENCES * scale)
    assert abs(w @ of_v - v @ of_w) <= 1e-11 * (1 + np.linalg.norm(of_v) * np.linalg.norm(w))


def test_products_with_every_kind_of_step() -> None:
    net, parameters = with_parameters(DESCRIPTION, 3)
    x, u = X[:4], numbers.standard_normal((4, 3))
    V = numbers.standard_normal((net.n_parameters, 6))

    def gradient(change: Any) -> Any:
        arrays = list(moved(net, change).parameters)
        return np.einsum("icp,ic->p", reference.jacobian(DESCRIPTION, arrays, x), u)

    assert len(parameters) == len(net.parameters)
    products = hessian_vector_product(net, x, V, coefficients=u)
    expected = along(gradient, V[:, 5])
    np.testing.assert_allclose(
        products[:, 5], expected, rtol=0, atol=DIFFERENCES * np.abs(expected).max()
    )
    # Alone, of one output after the other, and with the operator.
    assert np.array_equal(hessian_vector_product(net, x, V[:, 5], coefficients=u), products[:, 5])
    each = [
        hessian_vector_product(net, x, V, output=c, coefficients=np.ascontiguousarray(u[:, c]))
        for c in range(3)
    ]
    assert_near(sum(each), products)
    assert_near(hessian_operator(net, x, coefficients=u) @ V, products)
    H = dense_hessian(net, x, 1)
    assert np.abs(H - H.T).max() <= 1e-13 * np.abs(H).max()


def test_many_samples_in_both_precisions_by_any_number_of_threads() -> None:
    net, _ = with_parameters(DESCRIPTION, 4)
    many = numbers.standard_normal((1100, 5))  # several blocks
    V = numbers.standard_normal((net.n_parameters, 5))
    products = hessian_vector_product(net, many, V)
    parts = [hessian_vector_product(net, many[rows], V) for rows in (slice(600), slice(600, None))]
    assert_near(sum(parts), products)
    single = hessian_vector_product(net.astype("float32"), many, V)
    assert single.dtype == np.float32
    scale = np.abs(products).max()
    np.testing.assert_allclose(single, products, rtol=0, atol=3e-5 * scale)
    for count in (1, 3):
        with threadpool_limits(count, user_api="blas"):
            assert np.array_equal(hessian_vector_product(net, many, V), products)


def test_a_chain_of_layers_has_the_hessian_of_the_mlp() -> None:
    described = [Dense(9), layers.GELU(), Dense(8), layers.GELU(), Dense(2)]
    net = fastntk.Network(described, inputs=5).sample(seed=4)
    mlp = fastntk.MLP([5, 9, 8, 2], activation="gelu", seed=4)
    V = numbers.standard_normal((mlp.n_parameters, 3))
    y, labels = numbers.standard_normal((40, 2)), numbers.integers(0, 2, 40)
    pairs: list[Callable[[Any], Any]] = [
        lambda n: hessian_vector_product(n, X, V, output=1),
        lambda n: loss_hessian(n, X, y, loss="mse") @ V,
        lambda n: loss_hessian(n, X, labels) @ V,
        lambda n: loss_hessian(n, X, labels, part="gauss_newton") @ V,
        lambda n: hessian_norm(n, X[:3], output=1, tolerance=1e-9).values,
        lambda n: kernel_change(n, X, 0.1 * V[:, 0], 2).relative_change,
        lambda n: n.linearize()(X, V[:, 1]),
        lambda n: n.linearize().fit(X, y, layer_weights=[1, 0.5, 2]).outputs(X[:4], time=[1, 9]),
        lambda n: n.linearize().fit(X, y, solver="cg", ridge=0.1).outputs(X[:4]),
    ]
    for quantity in pairs:
        assert_near(quantity(net), quantity(mlp))


@pytest.mark.parametrize("output", [0, 2])
def test_norms(output: int) -> None:
    net, _ = with_parameters(DESCRIPTION, 6)
    norms = hessian_norm(net, X[:3], output=output, tolerance=1e-7)
    assert norms.resolved.all()
    for x, value in zip(X[:3], norms.values, strict=True):
        expected = np.abs(np.linalg.eigvalsh(dense_hessian(net, x[np.newaxis], output))).max()
        assert value == pytest.approx(expected, rel=1e-12)
    single = hessian_norm(net.astype("float32"), X[:3], output=output)
    np.testing.assert_allclose(single.values, norms.values, rtol=1e-5)


def test_norms_of_normalized_inputs_and_of_shifts_alone() -> None:
    described = [
        LayerNorm(gain=True, epsilon=0.1),
        Dense(6),
        RMSNorm(shift=True),
        layers.Tanh(),
        Dense(2),
    ]
    net, _ = with_parameters(fastntk.Network(described, inputs=5), 7)
    H = dense_hessian(net, X[:1])
    expected = np.abs(np.linalg.eigvalsh(H)).max()
    assert hessian_norm(net, X[:1]).values[0] == pytest.approx(expected, rel=1e-8)


def test_what_is_piecewise_linear_has_blocks_of_different_layers_alone() -> None:
    described = [Dense(7), ReLU(), Residual([Dense(6), ReLU(), Dense(7)], scale=0.5), Dense(2)]
    net = fastntk.Network(described, inputs=5).sample(seed=1)
    H = dense_hessian(net, X)
    ends = np.cumsum([array.size for array in net.parameters])
    for first, end in zip([0, *ends[:-1]], ends, strict=True):
        assert not H[first:end, first:end].any()
    assert H.any()
    # A normalization bends: the block of the layer before it is not zero.
    normalized = fastntk.Network([Dense(7), RMSNorm(), Dense(2)], inputs=5).sample(seed=1)
    assert dense_hessian(normalized, X)[:35, :35].any()
    affine = fastntk.Network([RMSNorm(), Dense(2)], inputs=5).sample()
    assert not dense_hessian(affine, X).any()
    assert hessian_norm(affine, X[:2]).values.tolist() == [0.0, 0.0]


def test_the_hessian_of_a_loss() -> None:
    net, _ = with_parameters(DESCRIPTION, 8)
    y, v = numbers.standard_normal((40, 3)), numbers.standard_normal(net.n_parameters)

    def gradient(change: Any) -> Any:
        other = moved(net, change)
        return other.vjp(X, (other(X) - y) / 40)

    expected = along(gradient, v)
    found = loss_hessian(net, X, y, loss="mse") @ v
    np.testing.assert_allclose(found, expected, rtol=0, atol=DIFFERENCES * np.abs(expected).max())
    J = net.jacobian(X)
    half = loss_hessian(net, X, y, loss="mse", part="gauss_newton") @ v
    assert_near(half, np.einsum("icp,icq,q->p", J, J, v) / 40)


def test_the_linear_model_is_the_network_to_first_order() -> None:
    net, _ = with_parameters(DESCRIPTION, 9)
    model, v = net.linearize(), numbers.standard_normal(net.n_parameters)
    assert repr(net) in repr(model)
    assert_near(model(X, 0 * v), net(X))
    assert_near(model(X, v), net(X) + net.jacobian(X) @ v)
    errors = [np.abs(moved(net, step * v)(X) - model(X, step * v)).max() for step in (1e-3, 1e-4)]
    assert 80 < errors[0] / errors[1] < 125  # of second order
    bent = v @ hessian_vector_product(net, X[:1], v) / 2
    second = moved(net, 1e-4 * v)(X[:1]) - model(X[:1], 1e-4 * v)
    assert second[0, 0] == pytest.approx(1e-8 * bent, rel=1e-2)


def test_training_of_the_linear_model_is_descent_with_the_kernel() -> None:
    net, y = DESCRIPTION.sample(seed=3), numbers.standard_normal((40, 3))
    training = net.linearize().fit(X, y)
    K = net.ntk(X, outputs="full").transpose(0, 2, 1, 3).reshape(120, 120)
    rate, f, error = 1.5 * training.best_learning_rate / 2, net(X), (net(X) - y).reshape(-1)
    for _ in range(20):
        error = error - rate / 40 * (K @ error)
    outputs = training.outputs(steps=20, learning_rate=rate)
    assert_near(outputs, y + error.reshape(40, 3))
    change = training.parameter_change(steps=20, learning_rate=rate)
    assert_near(net.linearize()(X, change), outputs)
    assert_near(net.jacobian(X) @ change, outputs - f)
    # What is not trained does not move, and rates of layers are those of their parameters.
    frozen = fastntk.Network(
        [Dense(9, trained=False), LayerNorm(gain=True, trained=(0.5, 0)), Dense(2)], inputs=5
    ).sample()
    still = frozen.linearize().fit(X, y[:, :2]).parameter_change(time=3.0)
    assert not still[:45].any()
    assert still[45:].all()
    solved = net.linearize().fit(X, y, solver="cg", ridge=0.5)
    alpha = np.linalg.solve(K + 0.5 * np.eye(120), (y - f).reshape(-1))
    assert_close(solved.outputs(), f + (K @ alpha).reshape(40, 3), np.float32)


def test_drift_and_change_of_the_kernel() -> None:
    net = DESCRIPTION.sample(seed=2)
    v = 0.05 * numbers.standard_normal(net.n_parameters)
    path = [net, moved(net, v), moved(net, 2 * v)]
    drift = kernel_drift(path, X)
    change = kernel_change(net, X, 2 * v, 2)
    assert_near(drift.relative_change[1:], change.relative_change)
    K = [other.ntk(X) for other in path]
    expected = np.linalg.norm(K[2] - K[0]) / np.linalg.norm(K[0])
    assert drift.relative_change[2] == pytest.approx(expected, rel=1e-10)
    assert_near(drift.weight_change, np.arange(3) * np.linalg.norm(v))
    assert drift.layer_change.shape == (3, 8)
    linear = net(X) + net.jacobian(X) @ v
    error = np.sqrt(np.mean((path[1](X) - linear) ** 2))
    assert drift.linear_error[1] == pytest.approx(error, rel=1e-8)
    of_gain = kernel_change(net, X, v, layer_weights=np.eye(8)[1])
    kernels = [other.ntk(X, layer_weights=np.eye(8)[1]) for other in path[:2]]
    expected = np.linalg.norm(kernels[1] - kernels[0]) / np.linalg.norm(kernels[0])
    assert of_gain.relative_change[0] == pytest.approx(expected, rel=1e-10)
    other = fastntk.Network([Dense(4), Dense(3)], inputs=5).sample()
    with pytest.raises(ValueError, match=r"networks, step 1: layers .*Dense\(4\).* expected the"):
        kernel_drift([net, other], X)


def test_samples_of_any_size_and_without_a_direction() -> None:
    described = [Dense(6), LayerNorm(gain=True), layers.Tanh(), Dense(2)]
    net, _ = with_parameters(fastntk.Network(described, inputs=5), 1)
    v = numbers.standard_normal(net.n_parameters)
    v[:30] = 0  # what is before the normalization moves by its share of the size
    expected = hessian_vector_product(net, X, v)[30:]
    norm = hessian_norm(net, X[:1]).values[0]
    for size in (1e-120, 1e120):
        assert_near(hessian_vector_product(net, size * X, v)[30:], expected)
    assert hessian_norm(net, 4 * X[:1]).values[0] <= norm * (1 + 1e-6)
    broken = X.copy()
    broken[5] = 0.0
    calls: list[Callable[[], Any]] = [
        lambda: hessian_vector_product(net, broken, v),
        lambda: hessian_norm(net, broken),
        lambda: net.linearize()(broken, v),
        lambda: net.linearize().fit(broken, np.zeros((40, 2))),
        lambda: kernel_change(net, broken, v),
    ]
    for call in calls:
        with pytest.raises(ValueError, match=r"^X\[5\]: the values before layers\[1\]=LayerNorm"):
            call()


def test_bad_input() -> None:
    net = DESCRIPTION.sample()
    v = np.ones(net.n_parameters)
    with pytest.raises(ValueError, match=rf"v has shape \(3,\): expected \({net.n_parameters},\)"):
        hessian_vector_product(net, X, [1, 2, 3])
    with pytest.raises(TypeError, match=r"net=3: expected a fastntk\.MLP or a fastntk\.Finite"):
        hessian_vector_product(3, X, v)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"expected a fastntk\.MLP or a fastntk\.FiniteNetwork"):
        hessian_norm(DESCRIPTION, X)  # type: ignore[arg-type]
    custom = activations.custom(lambda z: z**3, lambda z: 3 * z**2)
    described = [Dense(4), Residual([layers.Activation(custom), Dense(4)]), Dense(3)]
    own = fastntk.Network(described, inputs=5).sample()
    y = np.zeros((40, 3))
    refused: list[Callable[[], Any]] = [
        lambda: hessian_vector_product(own, X, np.ones(own.n_parameters)),
        lambda: hessian_norm(own, X),
        lambda: hessian_operator(own, X),
        lambda: loss_hessian(own, X, y, loss="mse"),
    ]
    for call in refused:
        with pytest.raises(ValueError, match=r"^layers\[1\]\.layers\[0\] is the activation"):
            call()


def test_products_that_vanish_are_told_from_those_that_are_0() -> None:
    described = [Dense(6), layers.Tanh(), Residual([Dense(6), layers.Tanh(), Dense(6)]), Dense(1)]
    net, _ = with_parameters(fastntk.Network(described, inputs=5), 2)
    v = numbers.standard_normal(net.n_parameters)
    with pytest.raises(OverflowError, match="the largest element of the result is too small"):
        hessian_vector_product(net, X, 1e-320 * v)
    assert not hessian_vector_product(net, X, 0 * v).any()
    assert not hessian_norm(net, 1e-310 * X[:1]).resolved[0]
    dead = fastntk.Network([Dense(6), ReLU(), Dense(1)], inputs=5).sample()
    silent = moved(dead, np.zeros(dead.n_parameters))
    arrays = [np.full((6, 5), -1.0), silent.parameters[1]]
    silent = FiniteNetwork.of_network(with_arrays(dead.layers, 5, arrays))
    positive = np.abs(X)
    assert not hessian_vector_product(silent, positive, np.ones(36)).any()
    norms = hessian_norm(silent, positive[:2])
    assert norms.resolved.all()
    assert not norms.values.any()


@pytest.mark.parametrize("scale", [1e-170, 1e-300])
def test_derivatives_that_an_activation_of_the_samples_makes_vanish_are_refused(
    scale: float,
) -> None:
    """A power that comes first makes 0 of tiny samples, where in fact there is a number."""
    X = np.random.default_rng(0).standard_normal((3, 4)) * scale
    square, cube = (
        fastntk.Network([layers.RectifiedMonomial(k), layers.Dense(5), layers.Dense(2)], inputs=4)
        for k in (2, 3)
    )
    calls: list[Callable[[], Any]] = [
        lambda: square.sample().jacobian(X),
        lambda: square.sample().gradient_features(X),
        lambda: square.sample().jvp(X, np.ones(30)),
        lambda: cube.sample().input_jacobian(X),
    ]
    for call in calls:
        with pytest.raises(OverflowError, match="too small for float64"):
            call()
    assert not square.sample().jacobian(-np.abs(X)).any()  # no unit is active: zeros that are right
    assert not cube.sample().input_jacobian(np.zeros((1, 4))).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slopes_behind_powers_that_vanish_are_refused(dtype: str) -> None:
    """And only those: smooth functions have one slope at 0, and larger samples keep their sign."""
    square, kink = layers.RectifiedMonomial(2), layers.LeakyReLU(0.2)
    large, small = (1e-15, 1e-30) if dtype == "float32" else (1e-120, 1e-170)

    def network(*after: layers.Layer) -> FiniteNetwork:
        described = [Dense(5), square, Dense(4), *after, Dense(2)]
        return fastntk.Network(described, inputs=5).sample(dtype=dtype)

    net, some = network(kink), np.random.default_rng(0).standard_normal((3, 5))
    expected = net.input_jacobian(some)
    tolerance = 1e-5 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(net.input_jacobian(large * some) / large, expected, rtol=tolerance)
    with pytest.raises(OverflowError, match=r"layers\[3\]=LeakyReLU\(.*\) has another slope"):
        net.input_jacobian(np.concatenate([some, small * some]))
    smooth = network(layers.Tanh()).input_jacobian(small * some) / small
    tanh = np.asarray(network(layers.Tanh()).input_jacobian(large * some)) / large
    np.testing.assert_allclose(smooth, tanh, rtol=tolerance)
    behind = network(layers.Residual([Dense(4), kink, Dense(4)]))
    with pytest.raises(OverflowError, match=r"LeakyReLU\(.*\) has another slope"):
        behind.input_jacobian(small * some)
    assert not net.input_jacobian(np.zeros((1, 5))).any()
