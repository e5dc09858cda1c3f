# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks with skip connections and normalization, against PyTorch's functions and autograd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import layer_reference as reference
import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from test_finite_network import DESCRIPTION, assert_near, leaves_only_signs, with_parameters

from fastntk import layers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import fastntk
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
            assert isinstance(layer, (layers.LayerNorm, layers.RMSNorm))
            gain = next(rest) if layer.gain else None
            shift = next(rest) if layer.shift else None
            if isinstance(layer, layers.LayerNorm):
                h = F.layer_norm(h, h.shape[1:], gain, shift, eps=layer.epsilon)
            else:
                h = F.rms_norm(h, h.shape[1:], gain, eps=layer.epsilon)
                h = h if shift is None else h + shift
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
    steps = description.steps
    assume(not any(leaves_only_signs(step, steps.widths) for step in steps.steps))
    check(description, seed)


def test_every_kind_of_step() -> None:
    check(DESCRIPTION, 3)
