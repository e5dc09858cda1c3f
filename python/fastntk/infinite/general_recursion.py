# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The recursion over the layers for any dual activations, array by array.

It does as `recursion` does, with the same names, where an activation is not piecewise linear: gaps
have no sign here, and those of the activations come from their duals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.layer_factors import A, B, C, P, R

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.architecture import Architecture
    from fastntk.infinite.layer_factors import LayerFactors
    from fastntk.infinite.recursion import Position, Target


def propagate(
    gaps: NDArray[np.float64],
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
    rows, columns = sides
    tangent = len(targets[1].out) > 0
    gap = np.where(gaps < 0, 2 + gaps, gaps)
    eta = np.zeros_like(gap)
    gradient_gap = np.zeros_like(gap)
    for layer in range(network.depths[-1] + 1):
        if layer > 0:
            dual = network.layers.duals[layer - 1]
            x, z = rows.states[layer - 1], columns.states[layer - 1]
            if tangent and dual.no_derivative is None:
                eta = dual.derivative_gap(x, z, gap)
            gap = dual.gap(x, z, gap)
        left, right = rows.factors[layer][..., np.newaxis], columns.factors[layer]
        if tangent:
            gradient_gap = (
                left[A] * right[A] * gap
                + left[B] * right[B] * (gradient_gap + eta - gradient_gap * eta)
                + _chord(left[A], right[A])
                + _chord(left[B], right[B])
                + _chord(left[C], right[C])
            )
        gap = left[R] * right[R] * gap + _chord(left[R], right[R]) + _chord(left[P], right[P])
        if position.diagonal:  # a truncated series leaves more than rounding there
            np.fill_diagonal(gap, 0.0)
            np.fill_diagonal(gradient_gap, 0.0)
        for k in np.flatnonzero(np.equal(network.depths, layer)):
            for target, values in zip(targets, (gap, gradient_gap), strict=True):
                if len(target.out):
                    i, j = position.row, position.column
                    view = target.out[k, i : i + gap.shape[0], j : j + gap.shape[1]]
                    view[...] = target.rows[k, :, np.newaxis] * target.columns[k] * (one - values)


def _chord(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((left - right) ** 2 / 2)
