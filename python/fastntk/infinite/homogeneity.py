# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether all that a sum adds grows with the same power of the norm of a sample, in each sum."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastntk.infinite.wiring import follow
from fastntk.layers.blocks import block_places
from fastntk.layers.steps import steps_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk.infinite.wiring import Place
    from fastntk.layers.layer import Layer
    from fastntk.layers.steps import Steps


def is_homogeneous(layers: Sequence[Layer], inputs: int) -> bool:
    """Return whether the factors of each sum are the same for all samples.

    After any number of blocks: the kernel of a depth has the same bits alone and among others.

    Parameters
    ----------
    layers : sequence of Layer
        Those of a network that has a limit.
    inputs : int
        The number of inputs.
    """
    powers = _Powers()
    for _ in follow(_steps_of_all(layers, inputs), powers, frozenset({1}), tangent=True):
        pass
    return powers.of_one_kind


def _steps_of_all(layers: Sequence[Layer], inputs: int) -> Steps:
    """Return the steps with outputs after any number of blocks.

    A normalization behind the blocks may have too few neurons before it where fewer blocks leave
    the width of an earlier layer: after so many there is no network.
    """
    blocks = len(block_places(layers))
    if blocks == 0:
        return steps_of(layers, inputs)
    counts = range(blocks + 1)
    try:
        return steps_of(layers, inputs, counts)
    except ValueError:
        return steps_of(layers, inputs, [k for k in counts if _exists(layers, inputs, k)])


def _exists(layers: Sequence[Layer], inputs: int, blocks: int) -> bool:
    try:
        return bool(steps_of(layers, inputs, [blocks]))
    except ValueError:
        return False


class _Powers:
    """The calculus of the powers of ‖x‖ with which the parts of a node grow.

    Attributes
    ----------
    of_one_kind : bool
        Whether no sum has had parts of several kinds so far.
    """

    def __init__(self) -> None:
        self.of_one_kind = True

    def combined(
        self,
        place: Place,  # noqa: ARG002
        first: tuple[frozenset[int] | None, float],
        second: tuple[frozenset[int] | None, float],
        c: float,
    ) -> frozenset[int]:
        powers = frozenset({0} if c != 0 else ())
        for part, factor in (first, second):
            if part is not None and factor != 0:
                powers |= part
        self.of_one_kind &= len(powers) <= 1
        return powers

    def activated(
        self,
        step: int,  # noqa: ARG002
        hidden: frozenset[int],
        gradients: frozenset[int] | None,
    ) -> tuple[frozenset[int], frozenset[int] | None]:
        return hidden, gradients

    def normalized(
        self,
        step: int,  # noqa: ARG002
        hidden: frozenset[int],
        gradients: frozenset[int] | None,
        epsilon: float,
    ) -> tuple[frozenset[int], frozenset[int] | None]:
        # ε is added to the square of what grows with ‖x‖.
        self.of_one_kind &= epsilon == 0 or hidden <= {0}
        if gradients is None:
            return frozenset({0}), None
        return frozenset({0}), frozenset(one - other for one in gradients for other in hidden)
