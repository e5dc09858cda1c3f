# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of either kind, as users have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastntk.architectures.finite import FiniteNetwork
from fastntk.mlp import MLP
from fastntk.networks.network import Network
from fastntk.networks.wired import WiredNetwork

# What is trained is of the kind that it was. A `History` of which nothing else is said is that of
# an MLP, which type checkers are told by a default, as Python has them from version 3.13 on.
if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from fastntk.networks.any_network import AnyNetwork

    Net = TypeVar("Net", bound=MLP | FiniteNetwork, default=MLP)
else:
    from typing import TypeVar

    Net = TypeVar("Net", bound=MLP | FiniteNetwork)


def net_of(network: AnyNetwork) -> MLP | FiniteNetwork:
    """Return the net of some layers, whose arrays are not copied."""
    if isinstance(network, WiredNetwork):
        return FiniteNetwork.of_network(network)
    assert isinstance(network, Network)
    return MLP.of_network(network)
