# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The pairs of samples whose gradients are at the smallest angles, without their kernel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk._support.angles import angle_from_gap
from fastntk.devices import matrices
from fastntk.infinite.gap_bounds import Bounded, input_error
from fastntk.infinite.gaps import fill_gaps
from fastntk.infinite.general_recursion import both_gaps
from fastntk.infinite.layer_factors import NTK, require_nonzero
from fastntk.infinite.layered_bounds import bounded_gaps
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.tiles import fold_tiles
from fastntk.kernels.angles import AnglePair

# By how much the compiled recursion may be off in the distance of unit vectors, and of how many
# pairs more than are asked for, if this leaves so many as close, the angle is taken again.
_ROUNDING = 2.0**-48
_CANDIDATES = 63

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.progress import Progress
    from fastntk.infinite.several_depths import SeveralDepths
    from fastntk.infinite.tiles import Tile


def closest_gradients(
    network: SeveralDepths, X: ArrayLike, count: int, progress: Progress
) -> list[AnglePair]:
    """Return the pairs at the `count` smallest angles, the first ones of those at the same.

    They come from gaps, tile by tile, of which a few are kept.
    """
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
    closest = _Closest(count if exact else count + _CANDIDATES)

    def work(tile: Tile) -> _Candidates:
        rows, columns = tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start
        gaps = np.full((1, rows, columns), np.inf)  # stays so left of the diagonal
        pairs.propagate(tile, Results.of_gaps(gaps, n, n, gradient=True), (0, 0))
        np.add(gaps, 2.0, out=gaps, where=gaps < 0)  # 1 − cos of obtuse angles
        if tile.diagonal:
            gaps[0][np.tril_indices(rows, 0, columns)] = np.inf
        return closest.among(gaps[0], tile)

    fold_tiles(work, closest.take, pairs.tiles(), progress, "smallest angle")
    found = closest.found
    if exact:
        angles = angle_from_gap(found.gaps)
        return [
            AnglePair(float(angle), int(i), int(j), _inputs_resolved(pairs, int(i), int(j)))
            for angle, i, j in zip(angles, found.i, found.j, strict=True)
        ]
    last = float(found.gaps[min(count, len(found.gaps)) - 1])
    # What rounding may have set apart, in distances of unit vectors.
    limit = max(last, (math.sqrt(last) + slack) ** 2)
    near = [(int(i), int(j)) for gap, i, j in zip(*found, strict=True) if gap <= limit]
    bounded = [(_bounded(pairs, i, j), i, j) for i, j in near]
    bounded.sort(key=lambda each: (float(each[0].gaps.near[0, 0]), *each[1:]))
    return [
        AnglePair(float(best.gaps.angle[0, 0]), i, j, bool(best.resolved[0, 0]))
        for best, i, j in bounded[:count]
    ]


class _Candidates(NamedTuple):
    """Pairs (i, j), and 1 − cos of their gradients, by these and then by i and j."""

    gaps: NDArray[np.float64]
    i: NDArray[np.intp]
    j: NDArray[np.intp]


class _Closest:
    """The closest pairs of all that were looked at."""

    def __init__(self, count: int) -> None:
        self._count = count
        nothing = np.empty(0, np.intp)
        self.found = _Candidates(np.empty(0), nothing, nothing)
        self._limit = float(np.finfo(np.float64).max)

    def among(self, gaps: NDArray[np.float64], tile: Tile) -> _Candidates:
        """Return the closest pairs of a tile, as many as are wanted, of those that may be any.

        While other threads look at other tiles the limit gets smaller, but never below a pair that
        is found in the end: which ones these are it does not change.
        """
        places = np.flatnonzero(gaps <= self._limit)
        values = gaps.ravel()[places]
        if len(places) > self._count:
            kept = values <= np.partition(values, self._count - 1)[self._count - 1]
            places, values = places[kept], values[kept]
        order = np.argsort(values, kind="stable")[: self._count]
        i, j = np.divmod(places[order], gaps.shape[1])
        return _Candidates(values[order], i + tile.rows.start, j + tile.columns.start)

    def take(self, _: Tile, candidates: _Candidates) -> None:
        """Take the pairs of a tile."""
        if len(candidates.gaps) == 0:
            return
        both = zip(self.found, candidates, strict=True)
        gaps, i, j = (np.concatenate(each) for each in both)
        first = np.lexsort((j, i, gaps))[: self._count]
        self.found = _Candidates(gaps[first], i[first], j[first])
        if len(first) == self._count:
            self._limit = float(gaps[first[-1]])


def _bounded(pairs: Pairs, i: int, j: int) -> Bounded:
    """Return the gap of the gradients of a pair, and by how much it may be off."""
    inputs, error = _inputs(pairs, i, j)
    rows, columns = slice(i, i + 1), slice(j, j + 1)
    ((_, gradients),) = bounded_gaps(pairs, rows, columns, inputs, error, tangent=True)
    return gradients


def _inputs_resolved(pairs: Pairs, i: int, j: int) -> bool:
    """Return whether the angle of two samples is known: no step makes its relative error larger."""
    inputs, error = _inputs(pairs, i, j)
    return bool(Bounded(both_gaps(inputs), error).resolved[0, 0])


def _inputs(pairs: Pairs, i: int, j: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the gap of a pair of samples, with a sign, and by how much it may be off."""
    gaps = np.empty((1, 1))
    fill_gaps(pairs.X, pairs.X, slice(i, i + 1), slice(j, j + 1), gaps, same=True)
    return gaps, input_error(gaps, pairs.X.norms.dimension)
