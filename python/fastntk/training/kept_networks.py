# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks on the way of a training: copies, for whoever compares them afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, cast

import numpy as np

from fastntk.devices.processor import PROCESSOR
from fastntk.training.networks import Net, net_of

if TYPE_CHECKING:
    from fastntk.networks.any_network import AnyNetwork


class KeptNetworks(Generic[Net]):
    """Copies of a network in training, by the number of steps before each.

    Raises MemoryError if those of `n_steps` steps, one after `every` of them, do not fit beside
    each other.
    """

    def __init__(self, network: AnyNetwork, every: int, n_steps: int) -> None:
        self.every = every
        self.by_step: dict[int, Net] = {}
        self._network = network
        count = n_steps // every + 2  # that at the start, and the last one
        bytes_of_one = sum(array.nbytes for array in _arrays(network))
        PROCESSOR.require_memory(
            count * bytes_of_one, f"{count} copies of the weights", "take a larger keep_every"
        )

    def keep(self, step: int) -> None:
        """Keep the network as it is after so many steps, unless its weights are not finite."""
        if step not in self.by_step and all(np.isfinite(a).all() for a in _arrays(self._network)):
            self.by_step[step] = cast("Net", net_of(self._network.copy()))


def _arrays(network: AnyNetwork) -> list[np.ndarray]:
    return [array for layer in network.layers for array, _ in layer.arrays]
