# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What samples and networks are known by in a store: the same in every process and on all days.

The values are part of the keys of cells. Whoever changes them makes every store look empty.
"""

from __future__ import annotations

import json
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from fastntk._support.digests import sha256
from fastntk.activations import Activation
from fastntk.activations.identities import activation_identity
from fastntk.layers.layer import Layer

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray
    from fastntk.architectures.network import Network


def array_digest(X: FloatArray) -> str:
    """Return a digest of samples or labels, to the last bit, with their shape and precision."""
    little_endian = X.astype(X.dtype.newbyteorder("<"), copy=False)
    return sha256(f"{X.dtype.name} {X.shape} ", little_endian)


def description_identity(network: Network) -> str:
    """Return a digest of what tells the description of a network from all others."""
    layers = [_layer_identity(layer) for layer in network.layers]
    return sha256(json.dumps([network.inputs, layers]))


def _layer_identity(layer: Layer) -> list[Any]:
    """Return the class of a layer and its parameters by their names, for JSON."""
    parameters: dict[str, Any] = {}
    for each in fields(layer):
        value = getattr(layer, each.name)
        if isinstance(value, Activation):
            value = activation_identity(value)
        elif isinstance(value, Layer):
            value = _layer_identity(value)
        elif isinstance(value, tuple):
            value = [_layer_identity(v) if isinstance(v, Layer) else v for v in value]
        parameters[each.name] = value
    return [type(layer).__name__, parameters]
