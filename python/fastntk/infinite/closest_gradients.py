# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The two samples whose gradients are at the smallest angle."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.angles import angle_from_gap
from fastntk.devices import matrices
from fastntk.infinite.gap_bounds import gradient_gap_bounds
from fastntk.infinite.gaps import fill_gaps
from fastntk.infinite.kernel_matrices import require_nonzero
from fastntk.infinite.layer_factors import NTK
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.tiles import for_each_tile
from fastntk.kernels.angles import AnglePair

# Up to this relative error an angle is called resolved.
_RELATIVE_ERROR = 1e-3

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastntk._support.progress import Progress
    from fastntk.infinite.architecture import Architecture
    from fastntk.infinite.tiles import Tile


def closest_gradients(network: Architecture, X: ArrayLike, progress: Progress) -> AnglePair:
    """Return the first pair of those at the smallest angle, from gaps, tile by tile."""
    network.require_one_depth()
    samples = Samples.of(matrices.samples(X, "X"))
    n = len(samples)
    if n < 2:
        raise ValueError(f"X has shape {samples.rows.shape}: expected at least two samples")
    network.require_tangent_kernel()
    pairs = Pairs.of(samples, None, network)
    require_nonzero(pairs.factors.zero[NTK], "X", network.depths)

    def work(tile: Tile) -> tuple[float, int, int]:
        rows, columns = tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start
        gaps = np.full((1, rows, columns), np.inf)  # stays so left of the diagonal
        pairs.propagate(tile, Results.of_gaps(gaps, n, n, gradient=True), (0, 0))
        np.add(gaps, 2.0, out=gaps, where=gaps < 0)  # 1 − cos of obtuse angles
        if tile.diagonal:
            gaps[0][np.tril_indices(rows, 0, columns)] = np.inf
        i, j = np.unravel_index(int(gaps.argmin()), (rows, columns))
        return float(gaps[0, i, j]), tile.rows.start + int(i), tile.columns.start + int(j)

    gap, i, j = min(for_each_tile(work, pairs.tiles(), progress, "smallest angle"))
    angle = float(angle_from_gap(np.array(gap)))
    return AnglePair(angle, i, j, _resolved(pairs, i, j, angle))


def _resolved(pairs: Pairs, i: int, j: int, angle: float) -> bool:
    """Return whether the angle of a pair is certain to have three digits."""
    if pairs.network.piecewise_linear and angle == 0:
        x, z = pairs.X.rows[[i, j]]
        if np.array_equal(x, z):  # all roundings are the same
            return True
    inputs = np.empty((1, 1))
    fill_gaps(pairs.X, pairs.X, slice(i, i + 1), slice(j, j + 1), inputs, same=True)
    bounds = gradient_gap_bounds(pairs, i, j, float(inputs[0, 0]))
    low, high = angle_from_gap(np.array(bounds))
    return bool(high - low <= _RELATIVE_ERROR * angle)
