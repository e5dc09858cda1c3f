# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What networks of one or several depths have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property

from fastntk._support.arguments import shown


class SeveralDepths(ABC):
    """A network of infinite width, at one or several depths.

    Attributes
    ----------
    depth : int or tuple of int
        The depths that were asked for, checked.
    """

    depth: int | Sequence[int] | None

    # What depths are called in the argument that gives them.
    depth_name = "depth"

    @property
    def asked(self) -> tuple[int, ...]:
        """The depths in the order in which they were asked for."""
        return self.depth if isinstance(self.depth, tuple) else (self.depth,)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """The different depths, in ascending order."""
        return tuple(sorted(set(self.asked)))

    def require_one_depth(self) -> int:
        """Return the depth; raise TypeError if several were asked for."""
        if isinstance(self.depth, int):
            return self.depth
        raise TypeError(
            f"{self.depth_name}={shown(list(self.asked))}: expected an integer, because this is "
            f"asked of one network; at_{self.depth_name}(L) returns one of several"
        )

    @property
    @abstractmethod
    def layer_count(self) -> int:
        """How many layers pairs of samples pass, for the shape of tiles."""

    @property
    @abstractmethod
    def piecewise_linear(self) -> bool:
        """Whether all activations are linear on both sides of 0, so that the recursion compiles."""

    @abstractmethod
    def require_tangent_kernel(self) -> None:
        """Raise ValueError if a gradient would have to pass a jump."""

    @property
    def trained(self) -> tuple[bool, ...]:
        """Whether there is a parameter that is trained, at each of the depths."""
        return (True,) * len(self.depths)

    @property
    def dimension(self) -> int | None:
        """The dimension of samples, for networks that say it."""
        return None

    def require_inputs(self, dimension: int, name: str) -> None:
        """Raise ValueError if the network takes samples of another dimension only."""
        if self.dimension not in {None, dimension}:
            raise ValueError(
                f"{name} has {dimension} columns: expected {self.dimension}, the number of inputs "
                "of the network"
            )


def at_depth(network: SeveralDepths, depth: int) -> str:
    """Return how errors say that something is so at one of the depths."""
    if network.depth_name == "depth":
        return f"at depth {depth}"
    return f"after {depth} block{'s' * (depth != 1)}"
