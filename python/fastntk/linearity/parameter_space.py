# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Vectors with an entry for each parameter: W^1 by rows, b^1, W^2 by rows, b^2, and so on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.devices.place import Place
    from fastntk.networks.any_network import AnyNetwork
    from fastntk.networks.network import Network


def directions(network: AnyNetwork, v: npt.ArrayLike, name: str, place: Place) -> tuple[Any, bool]:
    """Return directions in parameter space as rows (k, P), and whether `v` is a single one (P,).

    The caller gives them, as a vector or as the k columns of a matrix (P, k).
    """
    given = place.array(v, name)
    count = network.n_parameters
    if given.ndim not in {1, 2} or len(given) != count:
        raise ValueError(
            f"{name} has shape {given.shape}: expected ({count},) or ({count}, k), one entry for "
            "each parameter"
        )
    single = given.ndim == 1
    columns = given[:, np.newaxis] if single else given
    return place.matrix(columns.T, name, network.dtype, given=given), single


def kernel_weights(network: AnyNetwork) -> npt.NDArray[np.float64]:
    """Return ω (P,), the weight with which each parameter counts in the tangent kernel."""
    parts: list[npt.NDArray[np.float64]] = []
    for layer in network.layers:
        parts += [np.full(array.size, omega) for array, omega in layer.arrays]
    return np.concatenate(parts)


def parameter_vector(network: AnyNetwork) -> npt.NDArray[Any]:
    """Return w (P,), all parameters as they are."""
    return np.concatenate(
        [array.reshape(-1) for layer in network.layers for array, _ in layer.arrays]
    )


def by_layer(network: Network, vector: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Return the parts of a vector (P,) that belong to each layer, its bias included."""
    ends = np.cumsum([layer.n_parameters for layer in network.layers])
    return np.split(vector, ends[:-1])


def moved(network: Network, change: npt.NDArray[Any]) -> Network:
    """Return the network of a single readout with the parameters w + change."""
    layers = []
    for layer, part in zip(network.layers, by_layer(network, change), strict=True):
        of_weights, of_bias = np.split(part, [layer.weights.size])
        bias = None if layer.bias is None else layer.bias + of_bias
        weights = layer.weights + of_weights.reshape(layer.weights.shape)
        layers.append(replace(layer, weights=weights, bias=bias))
    return network.with_layers(layers)
