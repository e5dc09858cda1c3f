# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The recursion over the layers for any dual activations, array by array.

It does as `recursion` does, with the same names, where an activation is not piecewise linear. Both
gaps of each cosine are carried, 1 − cos and 1 + cos, so that samples that an activation turns from
opposite ones to near-duplicates, or back, keep their digits; those of the activations come from
their duals.

Between the sizes of two samples stand differences, which are followed from layer to layer and are
never formed of rounded numbers: near-duplicates keep theirs. Of the vectors (a, b), and
(√ω^W a, √Θ σ_w c √E[φ'(su)²], √ω^b b), whose lengths are s⁺ and √Θ⁺, the sine of the angle between
those of two samples is the length of their cross product, to which differences are enough, and

    1 − cos = sin²/(1 + cos),      s⁺ − s'⁺ = (a − a') (a + a')/(s⁺ + s'⁺)

and likewise for the gradients. A product of two cosines has the gaps

    1 − c c' = ½[(1 − c)(1 + c') + (1 + c)(1 − c')]
    1 + c c' = ½[(1 − c)(1 − c') + (1 + c)(1 + c')]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.close_gaps import TINY
from fastntk.infinite.duals import Correlation, Gaps
from fastntk.infinite.gaps import UNDERFLOW
from fastntk.infinite.layer_factors import A, B
from fastntk.infinite.pair_layers import (
    Pairs,
    Side,
    activate_rows,
    stack_sizes,
    turned_difference,
    weigh_rows,
    write_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.architecture import Architecture
    from fastntk.infinite.layer_factors import LayerFactors
    from fastntk.infinite.recursion import Position, Target

    Array = NDArray[np.float64]


def propagate(
    gaps: Array,
    network: Architecture,
    sides: tuple[LayerFactors, LayerFactors],
    targets: tuple[Target, Target],
    one: float,
    position: Position,
) -> None:
    """Take a tile of pairs through all layers and write what is asked for at each depth.

    Parameters
    ----------
    gaps : ndarray (rows, columns)
        Gaps of the inputs, with a sign.
    network : Architecture
        The layers.
    sides : tuple of LayerFactors
        The factors of the samples of the rows and of the columns of the tile.
    targets : tuple of Target
        Where the two kernels go, NNGP and NTK, with the scales of the samples of the tile.
    one : float
        See `Target`.
    position : Position
        Where the tile lies.
    """
    tangent = len(targets[1].out) > 0
    pairs = LayerPairs.of_inputs(gaps, sides)
    for layer in range(network.depths[-1] + 1):
        if layer > 0:
            pairs.activate(network, layer, tangent=tangent)
        pairs.weigh(network, layer, tangent=tangent)
        if position.diagonal:  # a truncated series leaves more than rounding there
            for both in (pairs.hidden, pairs.gradients):
                np.fill_diagonal(both.near, 0.0)
                np.fill_diagonal(both.far, 2.0)
        for k in np.flatnonzero(np.equal(network.depths, layer)):
            plain = pairs.hidden[:], pairs.gradients[:]
            write_rows(targets, plain, one, position, int(k))


@dataclass
class LayerPairs:
    """Pairs of samples at a layer.

    Attributes
    ----------
    sides : tuple of LayerFactors
        The factors of the samples of the rows and of the columns.
    hidden : Gaps
        Those of the hidden layer: of the inputs, of φ, or of φ and the bias.
    gradients : Gaps
        Those of the gradients up to here.
    slopes : Gaps
        Those of φ'.
    size_difference, gradient_difference : ndarray
        Differences of s or a, and of √Θ or √Θ σ_w c √E[φ'(su)²].
    """

    sides: tuple[LayerFactors, LayerFactors]
    hidden: Gaps
    gradients: Gaps
    slopes: Gaps
    size_difference: Array
    gradient_difference: Array

    @classmethod
    def of_inputs(cls, gaps: Array, sides: tuple[LayerFactors, LayerFactors]) -> LayerPairs:
        """Return pairs of samples with these gaps, with a sign, before the first layer."""
        none = Gaps(np.zeros_like(gaps), np.full_like(gaps, 2.0))
        difference = np.zeros_like(gaps)
        rows, columns = (side.sizes for side in sides)
        if rows is not None and columns is not None:
            high, low = (rows.norms[k, :, np.newaxis] - columns.norms[k] for k in (0, 1))
            difference = rows.gain * (high + low)
        return cls(sides, both_gaps(gaps), none, none, difference, np.zeros_like(gaps))

    def activate(self, network: Architecture, layer: int, *, tangent: bool) -> None:
        """Take the pairs through the activation before a layer."""
        dual = network.layers.duals[layer - 1]
        x, z = (side.states[layer - 1] for side in self.sides)
        pairs = Correlation(self.hidden, self.size_difference)
        self.hidden, slopes = dual.both_gaps(x, z, pairs, tangent=tangent)
        if slopes is not None:
            self.slopes = slopes
        rows, columns = (side.sizes for side in self.sides)
        if rows is None or columns is None:
            return
        gain = network.layers.gain(layer - 1)
        gradients = rows.gradients[layer - 1], columns.gradients[layer - 1]
        before = self.size_difference, self.gradient_difference
        if dual.keeps_differences:
            activations, turns = dual.differences(x, z, self.size_difference)
            self.size_difference = gain * activations
            self.gradient_difference = gain * turned_difference(before[1], gradients, x, z, turns)
        else:
            after = np.empty_like(before[0]), np.empty_like(before[1])
            own = np.stack([x.activation, x.derivative], axis=1)
            norms = np.stack([z.activation, z.derivative])
            rows_before, columns_before = (
                (each, np.ascontiguousarray(sizes))
                for each, sizes in zip((own, norms), gradients, strict=True)
            )
            activate_rows(before, rows_before, columns_before, gain, after)
            self.size_difference, self.gradient_difference = after

    def weigh(self, network: Architecture, layer: int, *, tangent: bool) -> None:
        """Take the pairs through a layer of weights and biases."""
        if self.sides[0].sizes is None or self.sides[1].sizes is None:
            self._weigh_equal(layer, tangent=tangent)
            return
        rows, columns = _row_side(self.sides[0], layer), _column_side(self.sides[1], layer)
        # Plain tuples: compiled loops are compiled again for those with names.
        before = Pairs(
            self.hidden[:],
            self.gradients[:],
            self.slopes[:],
            self.size_difference,
            self.gradient_difference,
        )
        rate, biased = float(self.sides[0].sizes.rates[layer]), network.layers.bias_std[layer] > 0
        after = before
        if biased:
            after = after._replace(
                hidden=_like(before.hidden), size_difference=np.empty_like(before.size_difference)
            )
        if tangent and layer == 0 and not biased:
            # The gradients are the samples.
            after = after._replace(
                gradients=before.hidden, gradient_difference=rate * before.size_difference
            )
        elif tangent:
            after = after._replace(
                gradients=_like(before.gradients),
                gradient_difference=np.empty_like(before.gradient_difference),
            )
        if biased or layer > 0:
            weigh_rows(before, rows, columns, (rate, biased, True), tangent, after)
        self.hidden, self.gradients = Gaps(*after.hidden), Gaps(*after.gradients)
        self.size_difference = after.size_difference
        self.gradient_difference = after.gradient_difference

    def _weigh_equal(self, layer: int, *, tangent: bool) -> None:
        """Take pairs of samples that share their factors through a layer, without biases."""
        if tangent:
            left, right = self.sides[0].factors[layer], self.sides[1].factors[layer]
            turned = product(self.gradients, self.slopes)
            near, far = (
                left[A] * right[A] * gap + left[B] * right[B] * other
                for gap, other in zip(self.hidden, turned, strict=True)
            )
            self.gradients = Gaps(near, far)


def _column_side(side: LayerFactors, layer: int) -> Side:
    assert side.sizes is not None
    sizes = stack_sizes(side.sizes.hidden[layer], side.sizes.gradients[layer])
    return Side(np.ascontiguousarray(side.factors[layer]), sizes)


def _row_side(side: LayerFactors, layer: int) -> Side:
    factors, sizes = _column_side(side, layer)
    return Side(np.ascontiguousarray(factors.T), np.ascontiguousarray(sizes.T))


def _like(gaps: tuple[Array, Array]) -> tuple[Array, Array]:
    return np.empty_like(gaps[0]), np.empty_like(gaps[1])


def inverse_or_zero(x: Array) -> Array:
    """Return 1/x, and 0 for 0 and for numbers so small that 1/x is none."""
    return np.divide(1.0, x, out=np.zeros_like(x), where=x >= UNDERFLOW)


def product(c: Gaps, other: Gaps) -> Gaps:
    """Return the gaps of a product of cosines."""
    return Gaps(
        (c.near * other.far + c.far * other.near) / 2,
        (c.near * other.near + c.far * other.far) / 2,
    )


def both_gaps(gaps: Array) -> Gaps:
    """Return both gaps of cosines that are given by gaps with a sign, see `gaps`."""
    obtuse = gaps < 0
    far = np.where(obtuse, -gaps, 2 - gaps)
    return Gaps(np.where(obtuse, 2 + gaps, gaps), np.where(far > TINY, far, 0.0))
