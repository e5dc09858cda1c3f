# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The two samples whose gradients are at the smallest angle."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk._support.angles import angle_from_gap
from fastntk.devices import matrices
from fastntk.infinite.gap_bounds import bounded_gaps, input_error
from fastntk.infinite.gaps import fill_gaps
from fastntk.infinite.kernel_matrices import require_nonzero
from fastntk.infinite.layer_factors import NTK
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.tiles import for_each_tile
from fastntk.kernels.angles import AnglePair

# By how much the compiled recursion may be off in the distance of unit vectors, and of how many
# pairs that this leaves as the closest ones the angle is taken again.
_ROUNDING = 2.0**-48
_MOST_OF_A_TILE, _MOST = 16, 64

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from fastntk._support.progress import Progress
    from fastntk.infinite.architecture import Architecture
    from fastntk.infinite.gap_bounds import Bounded
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

    # Without biases all terms of the compiled recursion are non-negative, and nothing is lost. With
    # them, distances of near-duplicates are differences of rounded numbers there.
    exact = network.piecewise_linear and pairs.factors.shared
    slack = _ROUNDING if network.piecewise_linear and not exact else 0.0

    def work(tile: Tile) -> list[_Candidate]:
        rows, columns = tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start
        gaps = np.full((1, rows, columns), np.inf)  # stays so left of the diagonal
        pairs.propagate(tile, Results.of_gaps(gaps, n, n, gradient=True), (0, 0))
        np.add(gaps, 2.0, out=gaps, where=gaps < 0)  # 1 − cos of obtuse angles
        if tile.diagonal:
            gaps[0][np.tril_indices(rows, 0, columns)] = np.inf
        gap = float(gaps.min())
        # What rounding may have set apart, in distances of unit vectors.
        limit = max(gap, (math.sqrt(gap) + slack) ** 2) if gap < math.inf else -1.0
        places = np.argwhere(gaps[0] <= limit)[:_MOST_OF_A_TILE]
        return [
            _Candidate(float(gaps[0, i, j]), tile.rows.start + int(i), tile.columns.start + int(j))
            for i, j in places
        ]

    every = for_each_tile(work, pairs.tiles(), progress, "smallest angle")
    found = sorted(itertools.chain.from_iterable(every))
    if exact:
        gap, i, j = found[0]
        return AnglePair(float(angle_from_gap(np.array(gap))), i, j, resolved=True)
    limit = max(found[0].gap, (math.sqrt(found[0].gap) + slack) ** 2)
    closest = [candidate for candidate in found[:_MOST] if candidate.gap <= limit]
    bounded = [(_bounded(pairs, i, j), i, j) for _, i, j in closest]
    best, i, j = min(bounded, key=lambda each: (float(each[0].gaps.near[0, 0]), *each[1:]))
    return AnglePair(float(best.gaps.angle[0, 0]), i, j, bool(best.resolved[0, 0]))


class _Candidate(NamedTuple):
    gap: float  # 1 − cos of the gradients
    i: int
    j: int


def _bounded(pairs: Pairs, i: int, j: int) -> Bounded:
    """Return the gap of the gradients of a pair, and by how much it may be off."""
    inputs = np.empty((1, 1))
    fill_gaps(pairs.X, pairs.X, slice(i, i + 1), slice(j, j + 1), inputs, same=True)
    sides = pairs.factors.take(slice(i, i + 1)), pairs.factors.take(slice(j, j + 1))
    error = input_error(inputs, pairs.X.norms.dimension)
    ((_, gradients),) = bounded_gaps(pairs.network, sides, inputs, error, tangent=True)
    return gradients
