# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Vectors with an entry for each parameter: W^1 by rows, b^1, W^2 by rows, b^2, and so on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.devices.place import Place
    from fastntk.networks.network import Network


def directions(network: Network, v: npt.ArrayLike, name: str, place: Place) -> tuple[Any, bool]:
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
    return place.matrix(columns.T, name, network.dtype), single


def kernel_weights(network: Network) -> npt.NDArray[np.float64]:
    """Return ω (P,), the weight with which each parameter counts in the tangent kernel."""
    parts: list[npt.NDArray[np.float64]] = []
    for layer in network.layers:
        of_weights, of_bias = layer.kernel_weights
        parts.append(np.full(layer.weights.size, of_weights))
        if layer.bias is not None:
            parts.append(np.full(layer.bias.size, of_bias))
    return np.concatenate(parts)
