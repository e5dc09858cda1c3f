# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Operators of Hessians against dense ones by autograd, for outputs with every activation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastntk
from fastntk.linearity import hessian_norm, hessian_operator, loss_hessian

torch = pytest.importorskip("torch")

X = np.random.default_rng(0).standard_normal((4, 3))
Y = 0.5 + 0.2 * np.random.default_rng(1).standard_normal((4, 2))
LABELS = np.array([0, 1, 1, 0])

OUTPUTS = {
    "identity": lambda g: g,
    "square": torch.square,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax": lambda g: torch.softmax(g, dim=-1),
    "softplus": torch.nn.functional.softplus,
}


def functional(net: fastntk.MLP, psi: str) -> tuple[Any, Any]:
    """The outputs as a function of all parameters and of one sample, and the parameters."""
    biases = net.biases
    assert biases is not None
    flat = torch.from_numpy(
        np.concatenate([np.r_[w.ravel(), b] for w, b in zip(net.weights, biases, strict=True)])
    )
    layers = net.network.layers

    def f(parameters: Any, x: Any) -> Any:
        h, first = x, 0
        for k, layer in enumerate(layers):
            rows, columns = layer.weights.shape
            w = parameters[first : first + rows * columns].view(rows, columns)
            b = parameters[first + rows * columns : first + rows * (columns + 1)]
            first += rows * (columns + 1)
            z = layer.weight_scale * (w @ h) + layer.bias_scale * b
            h = OUTPUTS[psi](z) if k + 1 == len(layers) else net.activation_scale * torch.tanh(z)
        return h

    return f, flat


def dense(function: Any, flat: Any) -> Any:
    # Not torch.func.hessian: its forward mode uses what PyTorch itself warns of.
    return torch.func.jacrev(torch.func.jacrev(function))(flat).numpy()


def assert_is(operator: Any, expected: Any) -> None:
    atol = 1e-12 * np.abs(expected).max()
    np.testing.assert_allclose(operator @ np.eye(len(expected)), expected, rtol=1e-9, atol=atol)


@pytest.mark.parametrize("psi", OUTPUTS)
def test_hessians_equal_those_of_autograd(psi: str) -> None:
    net = fastntk.MLP([3, 6, 5, 2], activation="tanh", output_activation=psi, bias_std=0.3)
    f, flat = functional(net, psi)
    samples = torch.from_numpy(X)
    np.testing.assert_allclose(net(X), np.array([f(flat, x).numpy() for x in samples]), rtol=1e-12)
    of_one = [dense(lambda w, x=x: f(w, x)[1], flat) for x in samples]
    assert_is(hessian_operator(net, X[:1], output=1), of_one[0])
    u = np.array([1.0, -2.0, 0.5, 3.0])
    assert_is(
        hessian_operator(net, X, output=1, coefficients=u),
        np.einsum("i,ipq->pq", u, np.array(of_one)),
    )
    norms = hessian_norm(net, X, output=1, tolerance=1e-8).values
    np.testing.assert_allclose(norms, np.linalg.norm(np.array(of_one), 2, axis=(1, 2)), rtol=1e-9)
    targets = torch.from_numpy(Y)

    def outputs(w: Any) -> Any:
        return torch.stack([f(w, x) for x in samples])

    def square(w: Any) -> Any:
        return 0.5 * (outputs(w) - targets).square().sum(dim=1).mean()

    assert_is(loss_hessian(net, X, Y, loss="mse"), dense(square, flat))
    J = torch.func.jacrev(outputs)(flat).numpy()
    assert_is(
        loss_hessian(net, X, Y, loss="mse", part="gauss_newton"),
        np.einsum("icp,icq->pq", J, J) / len(X),
    )


def test_hessians_of_the_cross_entropy_equal_those_of_autograd() -> None:
    net = fastntk.MLP([3, 6, 5, 2], activation="tanh", bias_std=0.3)
    f, flat = functional(net, "identity")
    samples, labels = torch.from_numpy(X), torch.from_numpy(LABELS)

    def entropy(w: Any) -> Any:
        return torch.nn.functional.cross_entropy(torch.stack([f(w, x) for x in samples]), labels)

    assert_is(loss_hessian(net, X, LABELS), dense(entropy, flat))
    J = torch.func.jacrev(lambda w: torch.stack([f(w, x) for x in samples]))(flat).numpy()
    p = torch.softmax(torch.stack([f(flat, x) for x in samples]), dim=1).numpy()
    curvature = np.eye(2) * p[:, :, np.newaxis] - p[:, :, np.newaxis] * p[:, np.newaxis]
    expected = np.einsum("icp,icd,idq->pq", J, curvature, J) / len(X)
    assert_is(loss_hessian(net, X, LABELS, part="gauss_newton"), expected)
