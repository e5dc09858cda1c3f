# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hessians of outputs and of losses as operators, and networks to second order."""

from __future__ import annotations

import copy
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import ReferenceNetwork, sample_loss
from scipy.sparse.linalg import LinearOperator, eigsh

import fastntk
from fastntk.linearity import (
    hessian_norm,
    hessian_operator,
    hessian_vector_product,
    loss_hessian,
)

if TYPE_CHECKING:
    from collections.abc import Callable

Array = npt.NDArray[np.float64]

OUTPUTS = ("identity", "square", "tanh", "sigmoid", "softmax", "softplus")

# Central differences with steps of 1e-5 err by the square of the step, and rounding over the step.
DIFFERENCES = 1e-8

generator = np.random.default_rng(4)
X, Z = generator.standard_normal((5, 3)), generator.standard_normal((4, 3))
LABELS = np.array([0, 2, 1, 1, 0])
NO_NET: Any = 3
NUMBERS = generator.standard_normal((5, 3))


def network(bias_std: float = 0.3, **options: Any) -> fastntk.MLP:
    settings: dict[str, Any] = {"activation": "tanh", "bias_std": bias_std} | options
    return fastntk.MLP([3, 5, 4, 3], **settings)


def by_differences(net: fastntk.MLP, gradient: Callable[[ReferenceNetwork], Array]) -> Array:
    """The derivatives of a gradient, one parameter after the other."""
    reference = ReferenceNetwork.like(net, bias_std=0.3)
    columns = []
    for weights, bias in zip(reference.weights, reference.biases, strict=True):
        for flat in (weights.reshape(-1), bias):
            for k in range(flat.size):
                kept = flat[k]
                sides = []
                for step in (1e-5, -1e-5):
                    flat[k] = kept + step
                    sides.append(gradient(reference))
                flat[k] = kept
                columns.append((sides[0] - sides[1]) / 2e-5)
    return np.stack(columns, axis=1)


def loss_gradient(reference: ReferenceNetwork, y: Array, loss: str) -> Array:
    total = np.zeros(1)
    for x, target in zip(X, y, strict=True):
        _, slopes = sample_loss(reference.output(x), target, loss)
        for c, slope in enumerate(slopes):
            total = total + slope * reference.gradient(x, c) / len(X)
    return total


def assert_is(operator: LinearOperator, expected: Array, atol: float) -> None:
    count = len(expected)
    assert operator.shape == (count, count)
    dense = operator @ np.eye(count)
    np.testing.assert_allclose(dense, expected, rtol=0, atol=atol * np.abs(expected).max())
    v = generator.standard_normal(count)
    np.testing.assert_allclose(operator @ v, dense @ v, rtol=1e-12, atol=1e-13)
    np.testing.assert_array_equal(operator.T @ v, operator @ v)
    complex_product = operator @ (v + 2j * v)
    np.testing.assert_allclose(complex_product, (1 + 2j) * (dense @ v), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus"])
def test_hessians_are_derivatives_of_explicit_gradients(activation: str) -> None:
    net = network(activation=activation)
    of_one = by_differences(net, lambda reference: reference.gradient(X[0], 2))
    assert_is(hessian_operator(net, X[:1], output=2), of_one, DIFFERENCES)
    assert hessian_norm(net, X[:1], output=2).values[0] == pytest.approx(
        np.linalg.norm(of_one, 2), rel=1e-5, abs=0
    )
    u = generator.standard_normal((5, 3))

    def gradient(reference: ReferenceNetwork) -> Array:
        pairs = [u[i, c] * reference.gradient(X[i], c) for i in range(5) for c in range(3)]
        total: Array = np.sum(pairs, axis=0)
        return total

    total = by_differences(net, gradient)
    assert_is(hessian_operator(net, X, coefficients=u), total, DIFFERENCES)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_hessians_of_losses_are_derivatives_of_explicit_gradients(loss: str) -> None:
    net = network()
    y = NUMBERS if loss == "mse" else np.eye(3)[LABELS]
    whole = by_differences(net, lambda reference: loss_gradient(reference, y, loss))
    assert_is(loss_hessian(net, X, y, loss=loss), whole, DIFFERENCES)
    if loss == "cross_entropy":
        labels = loss_hessian(net, X, LABELS) @ np.eye(net.n_parameters)
        np.testing.assert_array_equal(labels, loss_hessian(net, X, y) @ np.eye(net.n_parameters))


@pytest.mark.parametrize("psi", OUTPUTS)
@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
def test_parts_of_the_hessian_of_a_loss(loss: str, psi: str) -> None:
    net = network(output_activation=psi)
    if loss == "cross_entropy" and psi != "identity":
        with pytest.raises(ValueError, match="loss='cross_entropy' with output_activation="):
            loss_hessian(net, X, LABELS, loss=loss)
        return
    y = NUMBERS if loss == "mse" else np.eye(3)[LABELS]
    gauss_newton: Any = 0.0
    rest: Any = 0.0
    J = net.jacobian(X)
    for i, f in enumerate(net(X)):
        p = np.exp(f) / np.exp(f).sum()
        curvature = np.eye(3) if loss == "mse" else np.diag(p) - np.outer(p, p)
        gauss_newton = gauss_newton + J[i].T @ curvature @ J[i] / 5
        errors = f - y[i] if loss == "mse" else p - y[i]
        every = np.eye(net.n_parameters)
        rest = rest + hessian_vector_product(
            net, X[i : i + 1], every, coefficients=errors[np.newaxis] / 5
        )
    part = loss_hessian(net, X, y, loss=loss, part="gauss_newton")
    assert_is(part, np.asarray(gauss_newton), 1e-12)
    assert_is(loss_hessian(net, X, y, loss=loss), np.asarray(gauss_newton + rest), 1e-12)
    eigenvalues = np.linalg.eigvalsh(part @ np.eye(net.n_parameters))
    assert eigenvalues[0] >= -1e-13 * eigenvalues[-1]
    if loss == "mse":
        K = net.ntk(X, outputs="full").transpose(0, 2, 1, 3).reshape(15, 15)
        np.testing.assert_allclose(
            eigenvalues[-15:], np.linalg.eigvalsh(K) / 5, rtol=1e-9, atol=1e-12
        )


def test_scipy_takes_them() -> None:
    net = fastntk.MLP([3, 40, 1], activation="softplus")
    H = hessian_operator(net, X, coefficients=[1.0, -2.0, 0.5, 0.0, 3.0])
    dense = H @ np.eye(net.n_parameters)
    found = eigsh(H, k=3, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(np.sort(found), np.linalg.eigvalsh(dense)[-3:], rtol=1e-9)
    sum_of_both = H + loss_hessian(net, X, NUMBERS[:, 0], loss="mse", part="gauss_newton")
    assert (sum_of_both @ np.ones(160)).shape == (160,)
    none: Any = H @ np.ones((160, 0))
    assert none.shape == (160, 0)


@pytest.mark.parametrize("make", [copy.deepcopy, lambda H: pickle.loads(pickle.dumps(H))])
def test_copies(make: Any) -> None:
    net = network()
    for operator in (hessian_operator(net, X), loss_hessian(net, X, LABELS)):
        v = generator.standard_normal(net.n_parameters)
        np.testing.assert_array_equal(make(operator) @ v, operator @ v)


def test_products_follow_the_weights() -> None:
    net = network()
    operators = [hessian_operator(net, X), loss_hessian(net, X, LABELS)]
    fastntk.train(net, X, LABELS, learning_rate=0.1, epochs=3, inplace=True)
    v = generator.standard_normal(net.n_parameters)
    for operator, anew in zip(
        operators, [hessian_operator(net, X), loss_hessian(net, X, LABELS)], strict=True
    ):
        np.testing.assert_array_equal(operator @ v, anew @ v)


def test_float32() -> None:
    net = network(dtype="float32")
    v = generator.standard_normal(net.n_parameters).astype("float32")
    two = [net, net.astype("float64")]
    for single, double in (
        [hessian_operator(each, X) for each in two],
        [loss_hessian(each, X, LABELS) for each in two],
        [loss_hessian(each, X, NUMBERS, loss="mse", part="gauss_newton") for each in two],
    ):
        assert single.dtype == np.float32
        assert (single @ v).dtype == np.float32
        np.testing.assert_allclose(single @ v, double @ v, rtol=1e-3, atol=1e-4)


def test_gauss_newton_needs_no_second_derivative() -> None:
    custom = fastntk.activations.custom(
        lambda z: z / (1 + z * z) ** 0.5, lambda z: (1 + z * z) ** -1.5
    )
    net, labels = fastntk.MLP([3, 6, 2], activation=custom), LABELS % 2
    part = loss_hessian(net, X, labels, part="gauss_newton")
    expected: Any = 0.0
    for f, J in zip(net(X), net.jacobian(X), strict=True):
        p = np.exp(f) / np.exp(f).sum()
        expected = expected + J.T @ (np.diag(p) - np.outer(p, p)) @ J / 5
    assert_is(part, np.asarray(expected), 1e-12)
    expected_error = r"net has the activation .*: expected one with a second derivative"
    with pytest.raises(ValueError, match=expected_error):
        loss_hessian(net, X, labels)
    with pytest.raises(ValueError, match=expected_error):
        hessian_operator(net, X)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda _: hessian_operator(NO_NET, X), TypeError, "net=3: expected a fastntk.MLP"),
        (lambda net: hessian_operator(net, X[:, :2]), ValueError, "X has shape .*: expected 3"),
        (lambda net: hessian_operator(net, X, output=3), ValueError, "output=3: expected"),
        (
            lambda net: hessian_operator(net, X, coefficients=[1.0]),
            ValueError,
            r"coefficients has shape \(1,\): expected",
        ),
        (lambda _: loss_hessian(NO_NET, X, LABELS), TypeError, "net=3: expected a fastntk.MLP"),
        (
            lambda net: loss_hessian(net, X, LABELS, loss="hinge"),
            ValueError,
            "loss='hinge': expected one of 'cross_entropy', 'mse'",
        ),
        (
            lambda net: loss_hessian(net, X, LABELS, part="fisher"),
            ValueError,
            "part='fisher': expected one of 'full', 'gauss_newton'",
        ),
        (lambda net: loss_hessian(net, X, LABELS, loss="mse"), ValueError, "y has shape"),
        (lambda net: loss_hessian(net, X, LABELS + 1), ValueError, "y"),
        (lambda net: hessian_operator(net, X) @ np.ones(3), ValueError, "dimension mismatch"),
        (
            lambda net: loss_hessian(net, 1e200 * X, NUMBERS, loss="mse") @ np.full(59, 1e200),
            OverflowError,
            "X with elements",
        ),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call(network())


def remainders(net: fastntk.MLP, delta: Array, sizes: Array) -> tuple[Array, Array]:
    """|f(w + s δ) − f(w) − s ∇f·δ − s²/2 δᵀHδ| in the mean over samples, and without H."""
    second, first = [], []
    slope, H = net.jvp(Z, delta), [hessian_operator(net, z[np.newaxis]) for z in Z]
    bend = np.array([[delta @ (each @ delta)] for each in H])
    for s in sizes:
        parts, at = [], 0
        for weights in net.weights:
            part = delta[at : at + weights.size].reshape(weights.shape)
            parts.append(weights + s * part)
            at += weights.size
        moved = fastntk.MLP.from_weights(
            parts,
            activation=net.activation,
            output_activation=net.network.output_activation,
        )
        rest = moved(Z) - net(Z) - s * slope
        first.append(np.abs(rest).mean())
        second.append(np.abs(rest - s**2 / 2 * bend).mean())
    return np.array(first), np.array(second)


def order(sizes: Array, values: Array) -> float:
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


@given(
    st.sampled_from(["tanh", "gelu", "softplus", "sin"]),
    st.sampled_from([psi for psi in OUTPUTS if psi != "softmax"]),
    st.integers(1, 3),
    st.integers(0, 10**6),
)
def test_smooth_networks_are_quadratic_to_third_order(
    activation: str, psi: str, depth: int, seed: int
) -> None:
    net = fastntk.MLP(
        [3, *[12] * depth, 1], activation=activation, output_activation=psi, seed=seed
    )
    delta = np.random.default_rng(seed).standard_normal(net.n_parameters)
    delta /= np.linalg.norm(delta)
    sizes = np.array([0.04, 0.02, 0.01])
    first, second = remainders(net, delta, sizes)
    # The mean over samples keeps one that happens to have no third derivative from deciding.
    assert order(sizes, second) > 2.6 or second[0] < 1e-9
    assert order(sizes, first) > 1.7 or first[0] < 1e-9
    assert np.all(second <= first) or first[0] < 1e-7


def test_relu_networks_are_quadratic_to_second_order_only() -> None:
    """Kinks that are crossed add s² in sum, and nothing for a step that crosses none.

    A unit crosses its kink if |z| < s |ż|, which has a probability of the order s, and then adds
    what is of the order s: in the mean over networks the remainder is of the order s².
    """
    sizes = np.array([0.4, 0.2, 0.1, 0.05])
    totals, smallest = np.zeros(4), []
    for seed in range(40):
        net = fastntk.MLP([3, 60, 60, 1], seed=seed)
        delta = np.random.default_rng(seed).standard_normal(net.n_parameters)
        delta *= 10 / np.linalg.norm(delta)
        totals += remainders(net, delta, sizes)[1]
        smallest.append(remainders(net, delta, np.array([2e-6, 1e-6]))[1])
    assert 1.7 < order(sizes, totals) < 2.4
    # Without a kink on the way the network is a polynomial of the step, of degree L + 1.
    assert np.median(smallest) < 1e-14
