# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The blocks of a network, by which its depth is counted: the layers that are a `Residual`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.layers.residual import Residual

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk.layers.layer import Layer


def block_places(layers: Sequence[Layer]) -> list[int]:
    """Return which of the layers are blocks."""
    return [i for i, layer in enumerate(layers) if isinstance(layer, Residual)]


def block_ends(layers: Sequence[Layer], blocks: Sequence[int]) -> list[int]:
    """Return how many of the layers come before the last ones, for each number of blocks.

    The last ones are those after the last block that there is; they follow after any number.
    """
    places = block_places(layers)
    return [places[0] if k == 0 else places[k - 1] + 1 for k in blocks]


def last_layers(layers: Sequence[Layer]) -> slice:
    """Return where the layers after the last block are."""
    return slice(block_places(layers)[-1] + 1, None)


def with_blocks(layers: Sequence[Layer], blocks: int) -> tuple[Layer, ...]:
    """Return the layers with the first of the blocks, and what stands after the last one."""
    (end,) = block_ends(layers, [blocks])
    return (*layers[:end], *layers[last_layers(layers)])


def checked_block(value: Any, name: str, most: int) -> int:
    """Return a number of blocks, of which there are so many."""
    blocks = arguments.integer(value, name, minimum=0)
    if blocks > most:
        raise ValueError(
            f"{name}={shown(value)}: expected at most {most}, the number of entries of layers that "
            "are a Residual"
        )
    return blocks


def checked_blocks(blocks: Any, most: int) -> tuple[int, ...]:
    """Return several numbers of blocks."""
    given = arguments.depths(blocks, "blocks")
    return tuple(checked_block(each, f"blocks[{i}]", most) for i, each in enumerate(given))
