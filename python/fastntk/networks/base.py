# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The base of `fastntk.MLP` and of the classes that add methods to it, one topic each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastntk._support import arguments

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatDType
    from fastntk.networks.network import Network


def require_network(net: object) -> None:
    """Raise TypeError if the argument `net` is not a network of finite width."""
    if not isinstance(net, NetworkBase):
        raise TypeError(f"net={arguments.shown(net)}: expected a fastntk.MLP")


class NetworkBase:
    """A finite network, which holds the layers and says what they are.

    Derived classes add what can be asked of it: kernels, Jacobians. They take the layers from
    `network`, and `fastntk.MLP` unites them.
    """

    def __init__(self, network: Network) -> None:
        self._network = network

    @property
    def network(self) -> Network:
        """The layers and how they are computed, as the functions of fastntk hand them on."""
        return self._network

    @property
    def dtype(self) -> FloatDType:
        """The precision of the weights and of the passes through the network."""
        return self._network.dtype

    @property
    def n_outputs(self) -> int:
        """C, the number of outputs."""
        return self._network.n_outputs

    @property
    def n_parameters(self) -> int:
        """P, the number of weights and biases."""
        return self._network.n_parameters
