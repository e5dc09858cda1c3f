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

from fastntk.infinite.duals import Correlation, Gaps
from fastntk.infinite.gaps import TINY
from fastntk.infinite.layer_factors import A, B, C, P, R

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
            for target, both in zip(targets, (pairs.hidden, pairs.gradients), strict=True):
                if len(target.out):
                    i, j = position.row, position.column
                    view = target.out[k, i : i + gaps.shape[0], j : j + gaps.shape[1]]
                    if one == 0:
                        view[...] = signed(both)
                    else:
                        view[...] = target.rows[k, :, np.newaxis] * target.columns[k] * both.cosine


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
        self.hidden = dual.gap(x, z, pairs)
        if tangent and dual.no_derivative is None:
            self.slopes = dual.derivative_gap(x, z, pairs)
        columns = self.sides[1].sizes
        if columns is not None:
            gain = network.layers.gain(layer - 1)
            activations, slopes = dual.differences(x, z, self.size_difference)
            self.size_difference = gain * activations
            self.gradient_difference = gain * (
                self.gradient_difference * x.derivative[:, np.newaxis]
                + columns.gradients[layer - 1] * slopes
            )

    def weigh(self, network: Architecture, layer: int, *, tangent: bool) -> None:
        """Take the pairs through a layer of weights and biases."""
        left, right = self.sides[0].factors[layer][..., np.newaxis], self.sides[1].factors[layer]
        before = self.hidden
        chord, gradient_chord = self._take_differences(network, layer, tangent=tangent)
        if network.layers.bias_std[layer] > 0:
            near, far = (left[R] * right[R] * gap + chord for gap in before)
            self.hidden = Gaps(near, far + 2 * left[P] * right[P])
        if tangent:
            turned = product(self.gradients, self.slopes)
            near, far = (
                left[A] * right[A] * gap + left[B] * right[B] * other + gradient_chord
                for gap, other in zip(before, turned, strict=True)
            )
            self.gradients = Gaps(near, far + 2 * left[C] * right[C])

    def _take_differences(
        self, network: Architecture, layer: int, *, tangent: bool
    ) -> tuple[Array | float, Array | float]:
        """Take differences through a layer; return 1 − cos of both pairs of vectors."""
        rows, columns = (side.sizes for side in self.sides)
        if rows is None or columns is None:
            return 0.0, 0.0
        left, right = self.sides[0].factors[layer][..., np.newaxis], self.sides[1].factors[layer]
        chord: Array | float = 0.0
        gradient_chord: Array | float = 0.0
        difference = self.size_difference
        if network.layers.bias_std[layer] > 0:
            s, t = rows.hidden[layer, :, np.newaxis], columns.hidden[layer]
            chord = _chord((left[P] * difference / t,), left[R] * right[R] + left[P] * right[P])
            self.size_difference = difference * ((left[R] * s + right[R] * t) / (s + t))
        if tangent:
            s, t = rows.gradients[layer, :, np.newaxis], columns.gradients[layer]
            weights, turns = rows.rates[layer] * difference, self.gradient_difference
            inverse = inverse_or_zero(np.maximum(s, t))
            cosine = left[A] * right[A] + left[B] * right[B] + left[C] * right[C]
            u, v = weights * inverse, turns * inverse
            # The cross product of the difference with either vector is the same; nothing of the
            # difference cancels in that with the smaller one.
            a, b, c = (np.where(s <= t, left[each], right[each]) for each in (A, B, C))
            gradient_chord = _chord((c * u, c * v, a * v - b * u), cosine)
            self.gradient_difference = (
                weights * (left[A] * s + right[A] * t) + turns * (left[B] * s + right[B] * t)
            ) * inverse_or_zero(s + t)
        return chord, gradient_chord


def inverse_or_zero(x: Array) -> Array:
    """Return 1/x, and 0 for 0."""
    return np.divide(1.0, x, out=np.zeros_like(x), where=x > 0)


def _chord(cross: tuple[Array, ...], cosine: Array) -> Array:
    """Return 1 − cos of unit vectors with non-negative entries, from their cross product."""
    squares = cross[0] ** 2
    for entry in cross[1:]:
        squares = squares + entry**2
    return np.asarray(squares / (1 + cosine))


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


def signed(gaps: Gaps) -> Array:
    """Return gaps with a sign."""
    return np.where(gaps.near <= 1, gaps.near, -np.maximum(gaps.far, TINY))
