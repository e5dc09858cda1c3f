# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Vectors with an entry for each parameter, in the order of gradients: W^1 by rows, b^1, …."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.devices.place import Place
    from fastntk.networks.any_network import AnyNetwork


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


def by_layer(network: AnyNetwork, vector: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """Return the parts of a vector (P,) that belong to each layer with parameters."""
    ends = np.cumsum([layer.n_parameters for layer in network.layers])
    return np.split(vector, ends[:-1])


def moved(network: AnyNetwork, change: npt.NDArray[Any]) -> AnyNetwork:
    """Return the network of a single readout with the parameters w + change."""
    parts = zip(network.layers, by_layer(network, change), strict=True)
    return network.with_layers([layer.moved(part) for layer, part in parts])
