# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""PyTorch modules as networks of layers: with normalizations, skip connections, any activations.

The weights and biases of PyTorch's Linear have no factors. So its layer is the `Dense` with
σ_w = √n and σ_b = 1, for which σ_w/√n is 1 to the last bit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk.activations.outputs import Softmax
from fastntk.layers import Activation, Dense, LayerNorm, Rescale, Residual, RMSNorm
from fastntk.layers.normalization import emptiness
from fastntk.networks.torch_parts import (
    Activated,
    Branched,
    Normalized,
    Rescaled,
    tensors_of,
)
from fastntk.networks.torch_tensors import AffineMap, arrays_of, rates_of, shape_of
from fastntk.networks.wired import with_arrays

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk._support.dtypes import FloatArray
    from fastntk.layers import Layer
    from fastntk.networks.torch_parts import Part
    from fastntk.networks.wired import WiredNetwork


def wired_of(parts: Sequence[Part], epsilon: float | None = None) -> WiredNetwork:
    """Return the network of parts.

    Parameters
    ----------
    parts : sequence of Part
    epsilon : float, optional
        That of an RMSNorm that has none. By default that of the precision, as in PyTorch.
    """
    named = tensors_of(parts)
    if not named:
        raise ValueError("module: expected at least one Linear")
    arrays = arrays_of(named)
    last = parts[-1]
    if not isinstance(last, AffineMap):
        raise ValueError(
            f"{last.path} ends the module: expected a Linear at the end; an activation of the "
            "outputs is only known of a fastntk.MLP, and a normalization of none"
        )
    if epsilon is None:
        epsilon = float(np.finfo(next(iter(arrays.values())).dtype).eps)
    inputs = _first_width(parts, arrays)
    assert inputs is not None
    description, _ = _Described(arrays, epsilon).chain(parts, inputs, "module")
    return with_arrays(tuple(description), inputs, [arrays[name] for name, _ in named])


def _first_width(parts: Sequence[Part], arrays: dict[str, FloatArray]) -> int | None:
    """Return the width of what parts take; None where nothing says it."""
    for part in parts:
        if isinstance(part, AffineMap):
            return shape_of(part, arrays)[1]
        if isinstance(part, (Normalized, Rescaled)):
            return part.width
        if isinstance(part, Branched):
            inner = part.parts if part.projection is None else (part.projection,)
            found = _first_width(inner, arrays)
            if found is not None:
                return found
    return None


class _Described:
    """The layers of parts, whose widths are followed."""

    def __init__(self, arrays: dict[str, FloatArray], epsilon: float) -> None:
        self._arrays, self._epsilon = arrays, epsilon

    def chain(self, parts: Sequence[Part], width: int, before: str) -> tuple[list[Layer], int]:
        """Return the layers of parts that take so many neurons of what is called so."""
        layers = []
        for part in parts:
            layer, width = self._layer(part, width, before)
            layers.append(layer)
            before = part.path
        return layers, width

    def _layer(self, part: Part, width: int, before: str) -> tuple[Layer, int]:
        if isinstance(part, AffineMap):
            return self._dense(part, width, before)
        if isinstance(part, Activated):
            if isinstance(part.function, Softmax):
                raise ValueError(
                    f"{part.path} is a Softmax between layers: expected one at the end of an MLP "
                    "alone"
                )
            return Activation(part.function, scale=part.factor), width
        if isinstance(part, Branched):
            return self._residual(part, width, before)
        if part.width != width:
            raise ValueError(
                f"{part.path} is {part.shown}, of {part.width} neurons: expected {width}, as many "
                f"as {before} has"
            )
        trained = rates_of(part.tensors) if part.tensors else True
        for name, _ in part.tensors:
            if self._arrays[name].shape != (width,):
                raise ValueError(
                    f"{name} has shape {self._arrays[name].shape}: expected ({width},), a number "
                    "for each neuron"
                )
        there = {"gain": part.gain is not None, "shift": part.shift is not None}
        if isinstance(part, Rescaled):
            return Rescale(**there, trained=trained), width
        kind = LayerNorm if part.centered else RMSNorm
        epsilon = self._epsilon if part.epsilon is None else part.epsilon
        layer = kind(**there, epsilon=epsilon, trained=trained)
        wrong = emptiness(layer, width)
        if wrong is not None:
            raise ValueError(f"{part.path} is {part.shown}: {wrong}")
        return layer, width

    def _dense(self, affine: AffineMap, width: int, before: str) -> tuple[Dense, int]:
        rows, columns = shape_of(affine, self._arrays)
        if columns != width:
            raise ValueError(
                f"{affine.names[0]} has shape {(rows, columns)}: expected {width} columns, the "
                f"neurons of {before}"
            )
        weight_std, bias_std = math.sqrt(columns), float(affine.bias is not None)
        trained = rates_of(affine.tensors)
        return Dense(rows, weight_std=weight_std, bias_std=bias_std, trained=trained), rows

    def _residual(self, part: Branched, width: int, before: str) -> tuple[Residual, int]:
        projection, skip = None, width
        if part.projection is not None:
            projection, skip = self._dense(part.projection, width, before)
        layers, found = self.chain(part.parts, width, before)
        if found != skip:
            raise ValueError(
                f"{part.parts[-1].path} ends a branch with width {found}, which {part.path} adds "
                f"to what has width {skip}: expected a branch of that width, or a projection to "
                f"{found} neurons"
            )
        return Residual(layers, scale=part.scale, projection=projection), skip
