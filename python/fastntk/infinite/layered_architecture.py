# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a network of infinite width is made of that is described by its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from fastntk._support import arguments
from fastntk._support.display import items_html, spans
from fastntk.infinite.duals import Dual, PiecewiseLinear, dual_of
from fastntk.infinite.homogeneity import is_homogeneous
from fastntk.infinite.layered_limits import require_gradients, require_limit
from fastntk.infinite.layered_recorder import shared_programs
from fastntk.infinite.several_depths import SeveralDepths
from fastntk.infinite.wiring import Place, follow
from fastntk.layers.blocks import block_places, checked_block, checked_blocks
from fastntk.layers.layer import Layer
from fastntk.layers.residual import checked_layers
from fastntk.layers.steps import Activate, Steps, label, steps_of

if TYPE_CHECKING:
    from fastntk.infinite.layered_program import Program


@dataclass(frozen=True, repr=False)
class LayeredArchitecture(SeveralDepths):
    """A network of infinite width that is described by its layers.

    The parameters are those of `fastntk.infinite.LayeredNetwork`, which adds what can be asked of
    it. Its depth is the number of its blocks.
    """

    layers: Sequence[Layer]
    _: KW_ONLY
    inputs: int
    blocks: int | Sequence[int] | None = None
    bottlenecks: str = "refuse"
    tolerance: float = 1e-10

    depth_name = "blocks"

    def __post_init__(self) -> None:
        """Check all parameters, and that the layers have a limit."""
        self._set("layers", checked_layers(self.layers))
        self._set("inputs", arguments.integer(self.inputs, "inputs", minimum=1))
        self._set("blocks", _one_or_several(self.blocks, self.n_blocks))
        self._set(
            "bottlenecks", arguments.choice(self.bottlenecks, "bottlenecks", ("refuse", "grow"))
        )
        self._set("tolerance", arguments.tolerance(self.tolerance))
        require_limit(self.steps, bottlenecks=self.bottlenecks == "grow")

    def __repr__(self) -> str:
        """Return the call that makes this network, without what is as it is by default."""
        given = [f"[{', '.join(map(repr, self.layers))}]", f"inputs={self.inputs}"]
        for each in fields(self)[2:]:
            value = getattr(self, each.name)
            if value != (self.n_blocks if each.name == "blocks" else each.default):
                given.append(f"{each.name}={value!r}")
        return f"{type(self).__name__}({', '.join(given)})"

    def _repr_html_(self) -> str:
        """Return what notebooks show: each layer, and after how many blocks kernels are asked."""
        title = f"{type(self).__name__}: {self.inputs} inputs"
        if self.depths != (self.n_blocks,):
            title += f", blocks {spans(self.depths)}"
        return items_html(title, "layers", self.layers)

    def __getstate__(self) -> dict[str, Any]:
        """Return the parameters alone: compiled loops lie elsewhere in another process."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def layer_count(self) -> int:
        """How many steps there are."""
        return len(self.steps.steps)

    @property
    def piecewise_linear(self) -> bool:
        """False: no such recursion knows of sums and normalizations."""
        return False

    @property
    def trained(self) -> tuple[bool, ...]:
        """Whether there is a parameter that is trained, at each of the depths."""
        found = follow(self.steps, _Trained(self), True, tangent=True)
        return tuple(gradients is not None for _, gradients in found)

    @property
    def dimension(self) -> int:
        """The dimension of samples."""
        return self.inputs

    @property
    def n_blocks(self) -> int:
        """The number of blocks that there are: the entries of `layers` that are a `Residual`."""
        return len(block_places(self.layers))

    @property
    def depth(self) -> int | tuple[int, ...]:  # type: ignore[override]
        """The number of blocks, or several of them."""
        return self.blocks if isinstance(self.blocks, int) else tuple(self.blocks or ())

    @cached_property
    def steps(self) -> Steps:
        """What the networks of all depths compute, step by step."""
        several = None if self.depths == (self.n_blocks,) else self.depths
        return steps_of(self.layers, self.inputs, several)

    @cached_property
    def duals(self) -> dict[int, Dual]:
        """The duals of activations by the numbers of their steps."""
        made: list[tuple[Any, Dual]] = []  # no dictionary: custom functions need not have a hash
        found = {}
        for number, step in enumerate(self.steps.steps):
            if isinstance(step, Activate):
                phi = step.layer.phi
                dual = next((dual for other, dual in made if other == phi), None)
                if dual is None:
                    dual = dual_of(phi, self.tolerance)
                    made.append((phi, dual))
                found[number] = dual
        return found

    @cached_property
    def shared_programs(self) -> tuple[Program, Program] | None:
        """The programs that all samples share, where there are such, see `layered_recorder`."""
        piecewise = all(isinstance(dual, PiecewiseLinear) for dual in self.duals.values())
        if not (piecewise and is_homogeneous(self.layers, self.inputs)):
            return None
        return shared_programs(self.steps, self.duals, self.inputs)

    def require_tangent_kernel(self) -> None:
        """Raise ValueError if a gradient would have to pass a jump."""
        require_gradients(self.steps)
        for _ in follow(self.steps, _Trained(self), True, tangent=True):
            pass  # activations are looked at on the way

    def at_blocks(self, blocks: int) -> Self:
        """Return the network that has so many of the blocks.

        Parameters
        ----------
        blocks : int
            At most the number of blocks that there are.

        Returns
        -------
        LayeredNetwork
            Whose kernels are those that the network of several depths has at this one.
        """
        return replace(self, blocks=checked_block(blocks, "blocks", self.n_blocks))


class _Trained:
    """The calculus that knows only of gradients whether there are any."""

    def __init__(self, network: LayeredArchitecture) -> None:
        self._network = network

    def combined(self, place: Place, first: Any, second: Any, c: float) -> bool:  # noqa: ARG002
        return True

    def activated(
        self, step: int, hidden: bool, gradients: bool | None
    ) -> tuple[bool, bool | None]:
        dual = self._network.duals[step]
        if gradients and dual.no_derivative is not None:
            raise ValueError(
                f"{label(self._network.steps.steps[step])}: no tangent kernel exists for it, "
                f"because {dual.no_derivative}; expected another activation, the NNGP kernel, or "
                "trained=False in all layers before it"
            )
        return hidden, gradients

    def normalized(
        self,
        step: int,  # noqa: ARG002
        hidden: bool,
        gradients: bool | None,
        epsilon: float,  # noqa: ARG002
    ) -> tuple[bool, bool | None]:
        return hidden, gradients


def _one_or_several(blocks: Any, most: int) -> int | tuple[int, ...]:
    if blocks is None:
        return most
    if not arguments.has_items(blocks):
        return checked_block(blocks, "blocks", most)
    return checked_blocks(blocks, most)
