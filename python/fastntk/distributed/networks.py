# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Which networks there are tiles of, and what is known of them in stores and on workers."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, cast

from fastntk._support.arguments import shown
from fastntk._support.digests import sha256
from fastntk.activations import Activation
from fastntk.activations.identities import activation_identity
from fastntk.infinite.methods import LimitMethods
from fastntk.layers.layer import Layer
from fastntk.networks.base import FiniteNetworkBase
from fastntk.networks.files import network_digest
from fastntk.networks.network import Network
from fastntk.networks.wired import WiredNetwork
from fastntk.networks.wired_files import wired_digest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from fastntk.infinite.several_depths import SeveralDepths
    from fastntk.networks.any_network import AnyNetwork


def require_some_network(net: object) -> None:
    """Raise TypeError if the argument `net` is no network of finite or infinite width."""
    if not isinstance(net, (FiniteNetworkBase, LimitMethods)):
        raise TypeError(
            f"net={shown(net)}: expected a network of finite or infinite width, such as "
            "fastntk.MLP, fastntk.FiniteNetwork or fastntk.infinite.Network"
        )


def finite_identity(network: AnyNetwork) -> str:
    """Return a digest of parameters and layers to the last bit, and of the ω of these.

    Raises
    ------
    ValueError
        For activations that are functions of the user's.
    """
    if isinstance(network, WiredNetwork):
        # The description has the ω of what is trained, and not those of `layer_weights`.
        return sha256(f"{wired_digest(network)} {network.kernel_weights}")
    assert isinstance(network, Network)
    each = [network_digest(replace(network, readouts=(one,))) for one in network.readouts]
    return each[0] if len(each) == 1 else sha256(" ".join(each))


def infinite_identity(network: SeveralDepths) -> str:
    """Return a digest of all parameters of a network of infinite width, to the last bit."""
    return sha256(json.dumps(_parameters(network), sort_keys=True))


def _parameters(described: object) -> dict[str, Any]:
    given = fields(cast("DataclassInstance", described))
    return {each.name: _plain(getattr(described, each.name)) for each in given}


def _plain(value: Any) -> Any:
    """Return a parameter for JSON."""
    if isinstance(value, Activation):
        return activation_identity(value)
    if isinstance(value, Layer):
        return [type(value).__name__, _parameters(value)]
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
