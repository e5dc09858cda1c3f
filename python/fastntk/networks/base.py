# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The bases of networks of finite width and of the classes that add methods, one topic each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastntk._support import arguments

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatDType
    from fastntk.networks.any_network import AnyNetwork
    from fastntk.networks.network import Network


def require_network(net: object) -> None:
    """Raise TypeError if the argument `net` is not a chain of layers of finite width."""
    if not isinstance(net, NetworkBase):
        raise TypeError(f"net={arguments.shown(net)}: expected a fastntk.MLP")


def require_finite_network(net: object) -> None:
    """Raise TypeError if the argument `net` is not a network of finite width."""
    if not isinstance(net, FiniteNetworkBase):
        raise TypeError(
            f"net={arguments.shown(net)}: expected a fastntk.MLP or a fastntk.FiniteNetwork"
        )


class FiniteNetworkBase:
    """A finite network, which holds the layers and says what they are.

    Derived classes add what can be asked of it: kernels, Jacobians. They take the layers from
    `network`; `fastntk.MLP` and `fastntk.FiniteNetwork` unite them.
    """

    def __init__(self, network: AnyNetwork) -> None:
        self._network = network

    @property
    def network(self) -> AnyNetwork:
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


class NetworkBase(FiniteNetworkBase):
    """A finite network that is a chain of layers."""

    _network: Network

    @property
    def network(self) -> Network:
        """The layers and how they are computed, as the functions of fastntk hand them on."""
        return self._network
