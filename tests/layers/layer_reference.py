# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of layers in plain NumPy, from their description, with derivatives by complex steps.

Nothing here is shared with the package. A function that is analytic, f(w + i h), has Im f/h for its
derivative without any subtraction: to all digits, with h as small as one likes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import layers
from fastntk.layers.steps import GainShift, Linear

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import fastntk
    from fastntk.layers import Layer

STEP = 1e-60

FUNCTIONS: dict[str, Any] = {
    "identity": lambda z: z,
    "relu": lambda z: np.where(z.real > 0, z, 0.0),
    "tanh": np.tanh,
    "silu": lambda z: z / (1 + np.exp(-z)),
}


def _dense(layer: layers.Dense, h: Any, rest: Iterator[Any]) -> Any:
    z = layer.weight_std / np.sqrt(h.shape[1]) * (h @ next(rest).T)
    return z + layer.bias_std * next(rest) if layer.bias_std > 0 else z


def _passed(described: Sequence[Layer], h: Any, rest: Iterator[Any]) -> Any:
    for layer in described:
        if isinstance(layer, layers.Dense):
            h = _dense(layer, h, rest)
        elif isinstance(layer, layers.Activation):
            h = layer.factor * FUNCTIONS[layer.phi.name](h)
        elif isinstance(layer, layers.Residual):
            skip = h if layer.projection is None else _dense(layer.projection, h, rest)
            h = skip + layer.scale * _passed(layer.layers, h, rest)
        else:
            assert isinstance(layer, (layers.LayerNorm, layers.RMSNorm, layers.Rescale))
            if isinstance(layer, layers.LayerNorm):
                h = h - h.mean(axis=1, keepdims=True)
            if not isinstance(layer, layers.Rescale):
                h = h / np.sqrt((h**2).mean(axis=1, keepdims=True) + layer.epsilon)
            h = h * next(rest) if layer.gain else h
            h = h + next(rest) if layer.shift else h
    return h


def outputs(net: fastntk.Network, parameters: Sequence[Any], X: Any) -> Any:
    """f (n, C) of a description with arrays of parameters, in the order of gradients."""
    rest = iter(parameters)
    f = _passed(net.layers, X, rest)
    assert next(rest, None) is None
    return f


def jacobian(net: fastntk.Network, parameters: Sequence[Any], X: Any) -> Any:
    """∂f/∂w (n, C, P), to as many digits as parameters and samples have, and float64 at least."""
    columns = []
    for k, array in enumerate(parameters):
        for at in np.ndindex(array.shape):
            moved = array.astype(np.result_type(array, complex))
            moved[at] += 1j * STEP
            f = outputs(net, [*parameters[:k], moved, *parameters[k + 1 :]], X)
            columns.append(f.imag / STEP)
    return np.stack(columns, axis=-1)


def input_jacobian(net: fastntk.Network, parameters: Sequence[Any], X: Any) -> Any:
    """∂f/∂x (n, C, d)."""
    columns = []
    for j in range(X.shape[1]):
        moved = X.astype(complex)
        moved[:, j] += 1j * STEP
        columns.append(outputs(net, parameters, moved).imag / STEP)
    return np.stack(columns, axis=-1)


def rates(net: fastntk.Network) -> Any:
    """ω (P,) of all parameters."""
    found: list[float] = []
    for step in net.steps.steps:
        if isinstance(step, Linear):
            weights = step.inputs * step.outputs
            sizes = weights, step.n_parameters - weights
        elif isinstance(step, GainShift):
            sizes = step.width * step.layer.gain, step.width * step.layer.shift
        else:
            continue
        for size, omega in zip(sizes, step.layer.rates, strict=True):
            found += [omega] * size
    return np.array(found)
