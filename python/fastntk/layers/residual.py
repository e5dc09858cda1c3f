# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Blocks with a skip connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.layers.dense import Dense
from fastntk.layers.layer import Layer, store


@dataclass(frozen=True, repr=False)
class Residual(Layer):
    r"""A block with a skip connection: h' = h + α · branch(h), or h' = P h + α · branch(h).

    Parameters
    ----------
    layers : sequence of Layer
        The branch.
    scale : float
        α ≥ 0. Of a branch times 0 too, values have to be finite, and parameters are there, with
        gradients of 0.
    projection : Dense, optional
        P, for branches of another width than that of h: a layer of its own on the skip connection.

    Examples
    --------
    >>> from fastntk.layers import Dense, LayerNorm, ReLU, Residual
    >>> Residual([LayerNorm(), Dense(256), ReLU(), Dense(256)], scale=0.5)
    Residual([LayerNorm(), Dense(256), ReLU(), Dense(256)], scale=0.5)
    """

    layers: Sequence[Layer]
    _: KW_ONLY
    scale: float = 1.0
    projection: Dense | None = None

    def __post_init__(self) -> None:
        """Check all parameters and bring them into one form."""
        store(self, "layers", checked_layers(self.layers))
        largest = arguments.LARGEST_SCALE
        store(self, "scale", arguments.real(self.scale, "scale", minimum=0.0, maximum=largest))
        if self.projection is not None and not isinstance(self.projection, Dense):
            raise TypeError(f"projection={shown(self.projection)}: expected a Dense, or None")


def checked_layers(layers: object) -> tuple[Layer, ...]:
    """Return at least one layer, in order."""
    given = arguments.items(layers, "layers", "layers of fastntk.layers")
    if not given:
        raise ValueError(f"layers={shown(layers)}: expected at least one layer")
    for i, layer in enumerate(given):
        if not isinstance(layer, Layer) or type(layer) is Layer:
            raise TypeError(f"layers[{i}]={shown(layer)}: expected a layer of fastntk.layers")
    return tuple(given)
