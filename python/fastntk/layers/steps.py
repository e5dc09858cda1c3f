# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a description of layers computes, step by step: the form that all computations share.

A step takes nodes, which are matrices with a row for each sample, to a new node. Node 0 is the
inputs; nodes and steps are numbered in the order of computation, so that each step makes the next
node. A skip connection is a node that two steps take.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from fastntk.layers.activation import Activation
from fastntk.layers.blocks import block_ends, last_layers
from fastntk.layers.dense import Dense
from fastntk.layers.layer import Layer
from fastntk.layers.normalization import Normalization, emptiness
from fastntk.layers.rescale import Rescale
from fastntk.layers.residual import Residual


class _OfOneNode:
    """What steps that take one node have in common."""

    source: int

    @property
    def sources(self) -> tuple[int, ...]:
        """The nodes that the step takes."""
        return (self.source,)


@dataclass(frozen=True)
class Linear(_OfOneNode):
    """z = (σ_w/√n) W h + σ_b b.

    Attributes
    ----------
    source, target : int
        The nodes h and z.
    inputs, outputs : int
        Their widths, n and that of the layer.
    layer : Dense
    path : str
        Where the layer stands: "layers[2].layers[1]".
    """

    source: int
    target: int
    inputs: int
    outputs: int
    layer: Dense
    path: str

    @property
    def n_parameters(self) -> int:
        """The number of weights and biases."""
        return self.outputs * (self.inputs + (self.layer.bias_std > 0))


@dataclass(frozen=True)
class Activate(_OfOneNode):
    """h = c_φ φ(z), of the nodes z (source) and h (target)."""

    source: int
    target: int
    layer: Activation
    path: str


@dataclass(frozen=True)
class Normalize(_OfOneNode):
    """ĥ = (z − z̄)/√(‖z − z̄‖²/n + ε), or without the mean: the nodes z (source), ĥ (target)."""

    source: int
    target: int
    layer: Normalization
    path: str


@dataclass(frozen=True)
class GainShift(_OfOneNode):
    """y = γ ∘ ĥ + β, one of them or both: the nodes ĥ (source) and y (target) of a width."""

    source: int
    target: int
    width: int
    layer: Normalization | Rescale
    path: str

    @property
    def n_parameters(self) -> int:
        """The number of gains and shifts."""
        return self.width * (self.layer.gain + self.layer.shift)


@dataclass(frozen=True)
class Add:
    """h' = h + α u: the nodes h (skip), u (branch) and h' (target)."""

    skip: int
    branch: int
    target: int
    layer: Residual
    path: str

    @property
    def sources(self) -> tuple[int, ...]:
        """The nodes that the step takes."""
        return (self.skip, self.branch)

    @property
    def scale(self) -> float:
        """α."""
        return self.layer.scale


Step: TypeAlias = Linear | Activate | Normalize | GainShift | Add


@dataclass(frozen=True)
class Steps:
    """All steps in order.

    Attributes
    ----------
    steps : tuple of Step
        In order; number k makes the node k + 1.
    widths : tuple of int
        Those of all nodes, the inputs' first.
    outputs : tuple of int
        The nodes that are the outputs: the last one; or one for each depth, ascending.
    """

    steps: tuple[Step, ...]
    widths: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def linear_maps(self) -> tuple[Linear, ...]:
        """The steps that are maps with weights, in order."""
        return tuple(step for step in self.steps if isinstance(step, Linear))

    @property
    def n_parameters(self) -> int:
        """The number of all parameters."""
        return sum(
            step.n_parameters for step in self.steps if isinstance(step, (Linear, GainShift))
        )

    def factor(self, number: int) -> float:
        """Return c_φ of the activation that is the step of this number."""
        step = self.steps[number]
        assert isinstance(step, Activate)
        return step.layer.factor

    def leading_to(self, node: int) -> tuple[Step, ...]:
        """Return the steps on which a node depends, in order."""
        found: list[Step] = []
        wanted = {node}
        for step in reversed(self.steps):
            if step.target in wanted:
                found.append(step)
                wanted.update(step.sources)
        return tuple(reversed(found))

    @property
    def last_uses(self) -> tuple[int, ...]:
        """For each node, the number of the last step that takes it; −1 if none does."""
        found = [-1] * len(self.widths)
        for number, step in enumerate(self.steps):
            for node in step.sources:
                found[node] = number
        return tuple(found)


def label(step: Step) -> str:
    """Return how errors name the layer of a step."""
    return f"{step.path}={step.layer!r}"


def steps_of(layers: Sequence[Layer], inputs: int, blocks: Sequence[int] | None = None) -> Steps:
    """Return the steps of layers, whose widths have to match.

    Parameters
    ----------
    layers : sequence of Layer
        In order; the last one is a `Dense`, the layer of the outputs.
    inputs : int
        The number of inputs d.
    blocks : sequence of int, optional
        For networks of several depths, ascending, which share their first layers: after how many of
        the blocks, the entries of `layers` that are a `Residual`, comes what stands after the last
        of them.

    Raises
    ------
    ValueError
        If widths do not match, with the layer and the reason.
    """
    if not isinstance(layers[-1], Dense):
        raise ValueError(
            f"layers[{len(layers) - 1}]={layers[-1]!r}: expected a Dense, the layer of the "
            "outputs, as the last one"
        )
    lowering = _Lowering(inputs)
    numbered = [(f"layers[{i}]", layer) for i, layer in enumerate(layers)]
    if blocks is None:
        return lowering.finished([lowering.chain(numbered, 0)])
    head = numbered[last_layers(layers)]
    node, done, outputs = 0, 0, []
    for end in block_ends(layers, blocks):
        node, done = lowering.chain(numbered[done:end], node), end
        outputs.append(lowering.chain(head, node))
    return lowering.finished(outputs)


@dataclass
class _Lowering:
    """Steps that are being put together."""

    inputs: int
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.widths = [self.inputs]

    def finished(self, outputs: list[int]) -> Steps:
        return Steps(tuple(self.steps), tuple(self.widths), tuple(outputs))

    def chain(self, layers: Sequence[tuple[str, Layer]], node: int) -> int:
        """Append the steps of layers, with their paths, from a node on; return the last node."""
        for path, layer in layers:
            node = self._layer(path, layer, node)
        return node

    def _layer(self, path: str, layer: Layer, node: int) -> int:
        width = self.widths[node]
        if isinstance(layer, Dense):
            return self._append(
                Linear(node, self._next, width, layer.width, layer, path), layer.width
            )
        if isinstance(layer, Activation):
            return self._append(Activate(node, self._next, layer, path), width)
        if isinstance(layer, Residual):
            return self._residual(path, layer, node)
        if isinstance(layer, Rescale):
            return self._append(GainShift(node, self._next, width, layer, path), width)
        assert isinstance(layer, Normalization)
        wrong = emptiness(layer, width)
        if wrong is not None:
            raise ValueError(f"{path}={layer!r}: {wrong}")
        node = self._append(Normalize(node, self._next, layer, path), width)
        if layer.gain or layer.shift:
            node = self._append(GainShift(node, self._next, width, layer, path), width)
        return node

    def _residual(self, path: str, block: Residual, node: int) -> int:
        numbered = [(f"{path}.layers[{i}]", layer) for i, layer in enumerate(block.layers)]
        skip = node
        if block.projection is not None:
            skip = self._layer(f"{path}.projection", block.projection, node)
        branch = self.chain(numbered, node)
        widths = self.widths[skip], self.widths[branch]
        if widths[0] != widths[1]:
            last = len(block.layers) - 1
            ways = f"a branch of width {widths[0]}"
            ways += f", or projection=Dense({widths[1]})" if block.projection is None else ""
            raise ValueError(
                f"{path}.layers[{last}]={block.layers[last]!r}: the branch ends with width "
                f"{widths[1]} and is added to what has width {widths[0]}; expected {ways}"
            )
        return self._append(Add(skip, branch, self._next, block, path), widths[0])

    @property
    def _next(self) -> int:
        """The node that the next step makes."""
        return len(self.widths)

    def _append(self, step: Step, width: int) -> int:
        self.steps.append(step)
        self.widths.append(width)
        return step.target
