# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks as PyTorch modules: what `torch_modules` reads, written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import activations, layers
from fastntk.activations.outputs import LINEAR
from fastntk.networks.network import Layer

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.activations.outputs import OutputActivation
    from fastntk.networks.network import Network
    from fastntk.networks.wired import GainAndShift, WiredNetwork


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
        parts += [_linear(layer, factor, f"module[{len(parts)}]"), *_module(between, nn)]
        factor = network.activation_scale
    (readout,) = network.readouts
    parts += [_linear(readout.layer, factor, f"module[{len(parts)}]"), *_module(last, nn)]
    return nn.Sequential(*parts)


def sequential_of_layers(network: WiredNetwork) -> Any:
    """Return the torch.nn.Sequential that computes the same; see `FiniteNetwork.to_torch`."""
    _require_modules(network.description, "layers")
    import torch

    parameters = iter(network.layers)
    parts = _parts(network.description, network.input_width, parameters, "layers")[0]
    return torch.nn.Sequential(*parts).eval()


def _require_modules(described: Sequence[layers.Layer], path: str) -> None:
    for i, layer in enumerate(described):
        if isinstance(layer, layers.Activation):
            _require_module(layer.phi, f"{path}[{i}]")
        elif isinstance(layer, layers.Residual):
            _require_modules(layer.layers, f"{path}[{i}].layers")


def _parts(
    described: Sequence[layers.Layer],
    width: int,
    parameters: Iterator[Layer | GainAndShift],
    path: str,
) -> tuple[list[Any], int]:
    """Return the modules of layers that take so many neurons, and how many these make."""
    import torch

    from fastntk.networks.torch_layers import Rescale, Residual, Scale

    nn: Any = torch.nn
    parts: list[Any] = []
    factor = 1.0  # of what there is so far: the weights of the next layer take it, if it has some
    for i, layer in enumerate(described):
        name = f"{path}[{i}]"
        if isinstance(layer, layers.Dense):
            parts.append(_linear(_next_map(parameters), factor, name))
            width, factor = layer.width, 1.0
            continue
        if factor != 1:
            parts.append(Scale(factor))
            factor = 1.0
        if isinstance(layer, layers.Activation):
            parts += _module(layer.phi, nn)
            factor = layer.factor
        elif isinstance(layer, layers.Residual):
            skip = None
            if layer.projection is not None:
                skip = _linear(_next_map(parameters), 1.0, f"{name}.projection")
            branch, width = _parts(layer.layers, width, parameters, f"{name}.layers")
            parts.append(Residual(branch, layer.scale, skip))
        elif isinstance(layer, layers.Rescale):
            parts.append(Rescale(width, *_elementwise(parameters, name)))
        else:
            assert isinstance(layer, (layers.LayerNorm, layers.RMSNorm))
            parts += _normalization(layer, width, parameters, name)
    if factor != 1:
        parts.append(Scale(factor))
    return parts, width


def _normalization(
    layer: layers.LayerNorm | layers.RMSNorm,
    width: int,
    parameters: Iterator[Layer | GainAndShift],
    path: str,
) -> list[Any]:
    """Return the module, with a gain and a shift beside it where PyTorch's has not got the same."""
    import torch

    from fastntk.networks.torch_layers import Rescale

    centered = isinstance(layer, layers.LayerNorm)
    make: Any = torch.nn.LayerNorm if centered else torch.nn.RMSNorm
    module = make(width, eps=layer.epsilon, elementwise_affine=False)
    if not (layer.gain or layer.shift):
        return [module]
    gain, shift = _elementwise(parameters, path)
    if gain is None or (shift is not None and not centered):
        return [module, Rescale(width, gain, shift)]
    module.elementwise_affine = True
    module.weight = gain
    if centered:
        module.bias = shift
    return [module]


def _next_map(parameters: Iterator[Layer | GainAndShift]) -> Layer:
    found = next(parameters)
    assert isinstance(found, Layer)
    return found


def _elementwise(parameters: Iterator[Layer | GainAndShift], path: str) -> list[Any]:
    """Return the next gain and shift as parameters, None for what is not there."""
    both = next(parameters)
    assert not isinstance(both, Layer)
    omega = both.kernel_weights
    return [
        None if array is None else _parameter(array, 1.0, rate, f"{what} of {path}")
        for what, array, rate in zip(("gain", "shift"), (both.gain, both.shift), omega, strict=True)
    ]


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


def _linear(layer: Layer, factor: float, path: str) -> Any:
    """Return a Linear whose weights and bias have the scales, and the factor of its inputs."""
    import torch

    nn: Any = torch.nn
    of_weights, of_bias = layer.kernel_weights
    n_out, n_in = layer.weights.shape
    # Without initial weights, for which PyTorch would draw random numbers.
    linear = nn.utils.skip_init(nn.Linear, n_in, n_out, bias=layer.bias is not None)
    scale = factor * layer.weight_scale
    linear.weight = _parameter(layer.weights, scale, of_weights, f"weight of {path}")
    if layer.bias is not None:
        linear.bias = _parameter(layer.bias, layer.bias_scale, of_bias, f"bias of {path}")
    return linear


def _parameter(array: FloatArray, scale: float, omega: float, name: str) -> Any:
    """Return a parameter with a copy of an array times a scale; frozen where ω is 0."""
    import torch

    if omega not in {0.0, 1.0}:
        raise ValueError(
            f"layer_weights: {omega:g} for the {name}: expected 0 or 1, frozen or trained"
        )
    values = torch.from_numpy(_scaled(array, scale, name))
    return torch.nn.Parameter(values, requires_grad=omega == 1.0)


def _scaled(array: FloatArray, scale: float, name: str) -> FloatArray:
    """Return a copy of an array times a scale, rounded once."""
    if scale == 1.0:
        return np.array(array, order="C")
    dtype: FloatDType = array.dtype
    with np.errstate(over="ignore"):
        result: FloatArray = (array.astype(np.float64) * scale).astype(dtype)
    if not np.isfinite(result).all():
        raise OverflowError(
            f"{name}: the weights times their scale {scale:g} are beyond {dtype.name}"
        )
    return result
