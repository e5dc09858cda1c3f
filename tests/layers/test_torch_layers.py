# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks with skip connections and normalization, against PyTorch's functions and autograd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import layer_reference as reference
import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import given, settings
from hypothesis import strategies as st
from test_finite_network import DESCRIPTION, assert_near, with_parameters
from training_problems import orders, problem

import fastntk
from fastntk import layers
from fastntk.linearity import hessian_vector_product

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastntk.layers import Layer

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F: Any = torch.nn.functional

FUNCTIONS = {"tanh": torch.tanh, "silu": F.silu, "gelu": F.gelu, "softplus": F.softplus}


def dense(layer: layers.Dense, h: Any, rest: Iterator[Any]) -> Any:
    weights = layer.weight_std / h.shape[1] ** 0.5 * next(rest)
    return F.linear(h, weights, layer.bias_std * next(rest) if layer.bias_std > 0 else None)


def passed(described: Sequence[Layer], h: Any, rest: Iterator[Any]) -> Any:
    for layer in described:
        if isinstance(layer, layers.Dense):
            h = dense(layer, h, rest)
        elif isinstance(layer, layers.Activation):
            h = layer.factor * FUNCTIONS[layer.phi.name](h)
        elif isinstance(layer, layers.Residual):
            skip = h if layer.projection is None else dense(layer.projection, h, rest)
            h = skip + layer.scale * passed(layer.layers, h, rest)
        else:
            assert isinstance(layer, (layers.LayerNorm, layers.RMSNorm, layers.Rescale))
            # PyTorch fails at second derivatives where there is no gain, or no shift.
            gain = next(rest) if layer.gain else torch.ones_like(h[0])
            shift = next(rest) if layer.shift else torch.zeros_like(h[0])
            if isinstance(layer, layers.LayerNorm):
                h = F.layer_norm(h, h.shape[1:], gain, shift, eps=layer.epsilon)
            elif isinstance(layer, layers.Rescale):
                h = gain * h + shift
            else:
                h = F.rms_norm(h, h.shape[1:], gain, eps=layer.epsilon) + shift
    return h


def check(description: fastntk.Network, seed: int) -> None:
    """Compare outputs, Jacobians and kernels to 1e-11 of their largest terms."""
    net, parameters = with_parameters(description, seed)
    X = np.random.default_rng(seed).standard_normal((5, description.inputs))
    tensors = [torch.from_numpy(array).requires_grad_() for array in parameters]
    x = torch.from_numpy(X).requires_grad_()
    f = passed(description.layers, x, iter(tensors))
    assert_near(net(X), f.detach().numpy())
    J, by_inputs = [], []
    for row in f:
        for value in row:
            *found, of_x = torch.autograd.grad(
                value, [*tensors, x], retain_graph=True, allow_unused=True, materialize_grads=True
            )
            J.append(np.concatenate([g.numpy().reshape(-1) for g in found]))
            by_inputs.append(of_x.numpy().sum(axis=0))  # of one sample
    shape = len(X), net.n_outputs
    jacobian = np.array(J).reshape(*shape, -1)
    assert_near(net.jacobian(X), jacobian)
    assert_near(net.input_jacobian(X), np.array(by_inputs).reshape(*shape, -1))
    weighted = jacobian * np.sqrt(reference.rates(description))
    full = np.einsum("icp,jdp->ijcd", weighted, weighted)
    assert_near(net.ntk(X, outputs="full"), full)
    assert_near(net.ntk_by_layer(X).sum(axis=0), np.einsum("ijcc->ij", full))


@settings(max_examples=15)
@given(
    description=networks(activations=("tanh", "silu", "gelu", "softplus"), limit=False),
    seed=st.integers(0, 99),
)
def test_random_networks(description: fastntk.Network, seed: int) -> None:
    check(description, seed)


def test_every_kind_of_step() -> None:
    check(DESCRIPTION, 3)


@settings(max_examples=10)
@given(
    description=networks(activations=("tanh", "silu", "gelu", "softplus")), seed=st.integers(0, 99)
)
def test_hessians_of_random_networks(description: fastntk.Network, seed: int) -> None:
    check_hessian(description, seed)


def test_hessian_with_every_kind_of_step() -> None:
    check_hessian(DESCRIPTION, 3)


def check_hessian(description: fastntk.Network, seed: int) -> None:
    """Compare products to 1e-10 of the largest element of gradients and products."""
    net, parameters = with_parameters(description, seed)
    draw = np.random.default_rng(seed)
    X, u = draw.standard_normal((3, description.inputs)), draw.standard_normal((3, net.n_outputs))
    v = draw.standard_normal(net.n_parameters)
    sizes, x = [array.size for array in parameters], torch.from_numpy(X)

    def weighted(flat: Any) -> Any:
        parts = zip(flat.split(sizes), parameters, strict=True)
        tensors = [part.reshape(array.shape) for part, array in parts]
        return (torch.from_numpy(u) * passed(description.layers, x, iter(tensors))).sum()

    def along(flat: Any) -> Any:
        return (torch.func.grad(weighted)(flat) * torch.from_numpy(v)).sum()

    flat = torch.from_numpy(np.concatenate([array.reshape(-1) for array in parameters]))
    gradient, expected = torch.func.grad(weighted)(flat), torch.func.grad(along)(flat).numpy()
    product = hessian_vector_product(net, X, v, coefficients=u)
    scale = np.abs(gradient.numpy()).max() + np.abs(expected).max()
    np.testing.assert_allclose(product, expected, rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_training(loss: str, momentum: float) -> None:
    """As torch.optim.SGD descends the gradients that autograd finds."""
    X, y = problem(loss, n=17)
    net, parameters = with_parameters(DESCRIPTION, 6)
    history = fastntk.train(
        net, X, y, loss=loss, learning_rate=0.1, epochs=5, batch_size=6, momentum=momentum, seed=2
    )
    tensors = [torch.from_numpy(array.copy()).requires_grad_() for array in parameters]
    optimizer = torch.optim.SGD(tensors, lr=0.1, momentum=momentum)
    x, targets = torch.from_numpy(X), torch.from_numpy(y)
    losses = []
    for batch in orders(17, 6, 5, 2):
        f = passed(DESCRIPTION.layers, x[batch], iter(tensors))
        mean = 3 * F.mse_loss(f, targets[batch]) / 2 if loss == "mse" else None
        mean = F.cross_entropy(f, targets[batch]) if mean is None else mean
        optimizer.zero_grad()
        mean.backward()
        optimizer.step()
        losses.append(len(batch) * mean.item())
    np.testing.assert_allclose(
        history.loss, np.reshape(losses, (5, 3)).sum(axis=1) / 17, rtol=1e-10
    )
    for found, tensor in zip(history.net.parameters, tensors, strict=True):
        assert_near(found, tensor.detach().numpy())
