# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks as PyTorch modules: what `torch_modules` reads, written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import activations
from fastntk.activations.outputs import LINEAR

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.activations.outputs import OutputActivation
    from fastntk.networks.network import Layer, Network


def sequential_of(network: Network) -> Any:
    """Return the torch.nn.Sequential that computes the same; see `MLP.to_torch`."""
    between, last = network.activation, network.output_activation
    if network.hidden:
        _require_module(between, "activation")
    _require_module(last, "output_activation")
    import torch

    nn: Any = torch.nn
    parts: list[Any] = []
    factor = 1.0  # c_φ, which the next layer's weights take
    for layer in network.hidden:
        parts += [_linear(layer, factor, len(parts), network.dtype, nn), *_module(between, nn)]
        factor = network.activation_scale
    (readout,) = network.readouts
    parts += [_linear(readout.layer, factor, len(parts), network.dtype, nn), *_module(last, nn)]
    return nn.Sequential(*parts)


def _require_module(activation: OutputActivation, name: str) -> None:
    if activation == LINEAR or activation.module is not None:
        return
    known = [phi for phi in map(activations.get, activations.names()) if phi.module is not None]
    raise ValueError(
        f"{name}={activation!r}: expected one that torch.nn has a module for: "
        f"{', '.join(repr(phi.name) for phi in (LINEAR, *known))}"
        + (", 'softmax'" if name == "output_activation" else "")
    )


def _module(activation: OutputActivation, nn: Any) -> list[Any]:
    """Return the module of an activation, and none of the identity."""
    if activation.module is None:
        return []
    made = getattr(nn, activation.module.name)
    return [made(**activation.module.arguments(*activation.parameters))]


def _linear(layer: Layer, factor: float, index: int, dtype: FloatDType, nn: Any) -> Any:
    """Return a Linear whose weights and bias have the scales, and the factor of its inputs."""
    import torch

    arrays = {"weight": (layer.weights, factor * layer.weight_scale, layer.kernel_weights[0])}
    if layer.bias is not None:
        arrays["bias"] = (layer.bias, layer.bias_scale, layer.kernel_weights[1])
    n_out, n_in = layer.weights.shape
    # Without initial weights, for which PyTorch would draw random numbers.
    linear = nn.utils.skip_init(nn.Linear, n_in, n_out, bias=layer.bias is not None)
    for name, (array, scale, omega) in arrays.items():
        if omega not in {0.0, 1.0}:
            raise ValueError(
                f"layer_weights: {omega:g} for the {name} of module[{index}]: expected 0 or 1, "
                "frozen or trained"
            )
        values = torch.from_numpy(_scaled(array, scale, f"{name} of module[{index}]", dtype))
        setattr(linear, name, nn.Parameter(values, requires_grad=omega == 1.0))
    return linear


def _scaled(array: FloatArray, scale: float, name: str, dtype: FloatDType) -> FloatArray:
    """Return a copy of an array times a scale, rounded once."""
    if scale == 1.0:
        return np.array(array, order="C")
    with np.errstate(over="ignore"):
        result: FloatArray = (array.astype(np.float64) * scale).astype(dtype)
    if not np.isfinite(result).all():
        raise OverflowError(
            f"{name}: the weights times their scale {scale:g} are beyond {dtype.name}"
        )
    return result
