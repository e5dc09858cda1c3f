# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The pairs of samples whose gradients are at the smallest angles, without their kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk._support.angles import angle_from_gap
from fastntk.devices import matrices
from fastntk.infinite.architecture import Architecture
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
    from collections.abc import Callable, Iterator
    from typing import Self

    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.infinite.several_depths import SeveralDepths
    from fastntk.infinite.tiles import Tile


def closest_gradients(
    network: SeveralDepths, X: ArrayLike, count: int, progress: Progress
) -> list[AnglePair]:
    """Return the pairs at the `count` smallest angles, the first ones of those at the same.

    They come from gaps, tile by tile, of which a few are kept.
    """
    samples = Samples.of(matrices.samples(X, "X"))
    search = GapSearch.of(network, samples, count)
    closest = search.nothing_yet()
    fold_tiles(
        lambda tile: search.candidates(tile, closest),
        closest.take,
        search.pairs.tiles(),
        progress,
        "smallest angle",
    )
    return search.angles(closest.found, lambda places: samples.rows[places])


@dataclass(frozen=True)
class GapSearch:
    """The search for the pairs of samples whose gradients are closest.

    Attributes
    ----------
    pairs : Pairs
        All pairs, with the samples at hand that are looked at.
    count : int
        How many are wanted.
    """

    pairs: Pairs
    count: int

    @classmethod
    def of(cls, network: SeveralDepths, samples: Samples, count: int) -> Self:
        """Return the search among samples, of which only the norms are looked at here.

        Raises
        ------
        ValueError, TypeError
            If there are too few samples, gradients that are 0, or none at all.
        """
        network.require_one_depth()
        if len(samples) < 2:
            shape = len(samples), samples.norms.dimension
            raise ValueError(f"X has shape {shape}: expected at least two samples")
        network.require_inputs(samples.norms.dimension, "X")
        network.require_tangent_kernel()
        pairs = Pairs.of(samples, None, network)
        require_nonzero(pairs.factors.zero[NTK], "X", network)
        return cls(pairs, count)

    @property
    def _exact(self) -> bool:
        """Whether the gaps of the compiled recursion are those of the result.

        Without biases all terms of it are non-negative, and nothing is lost. With them, distances
        of near-duplicates are differences of rounded numbers there.
        """
        piecewise_linear = self.pairs.network.piecewise_linear
        return piecewise_linear and bool(getattr(self.pairs.factors, "shared", False))

    def nothing_yet(self) -> Closest:
        """Return what takes the candidates of tiles."""
        return Closest(self.count if self._exact else self.count + _CANDIDATES)

    def candidates(self, tile: Tile, closest: Closest) -> Candidates:
        """Return the closest pairs of a tile, of those that may be any beside what was found."""
        rows, columns = tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start
        gaps = np.full((1, rows, columns), np.inf)  # stays so left of the diagonal
        n = len(self.pairs.X)
        self.pairs.propagate(tile, Results.of_gaps(gaps, n, n, gradient=True), (0, 0))
        np.add(gaps, 2.0, out=gaps, where=gaps < 0)  # 1 − cos of obtuse angles
        if tile.diagonal:
            gaps[0][np.tril_indices(rows, 0, columns)] = np.inf
        return closest.among(gaps[0], tile)

    def angles(
        self, found: Candidates, samples: Callable[[NDArray[np.intp]], FloatArray]
    ) -> list[AnglePair]:
        """Return the angles of the closest pairs, from the candidates of all tiles.

        Parameters
        ----------
        found : Candidates
        samples : callable
            Returns the samples (k, d) at some places, in rising order.
        """
        if self._exact:
            angles = angle_from_gap(found.gaps)
            return [
                AnglePair(float(angle), i, j, _inputs_resolved(pair, i, j))
                for angle, (pair, i, j) in zip(
                    angles, self._each(found.i, found.j, samples), strict=True
                )
            ]
        last = float(found.gaps[min(self.count, len(found.gaps)) - 1])
        # What rounding may have set apart, in distances of unit vectors.
        slack = _ROUNDING if self.pairs.network.piecewise_linear else 0.0
        limit = max(last, (math.sqrt(last) + slack) ** 2)
        near = found.gaps <= limit
        bounded = [
            (_bounded(pair, i, j), i, j)
            for pair, i, j in self._each(found.i[near], found.j[near], samples)
        ]
        bounded.sort(key=lambda each: (float(each[0].gaps.near[0, 0]), *each[1:]))
        return [
            AnglePair(float(best.gaps.angle[0, 0]), i, j, bool(best.resolved[0, 0]))
            for best, i, j in bounded[: self.count]
        ]

    def _each(
        self,
        i: NDArray[np.intp],
        j: NDArray[np.intp],
        samples: Callable[[NDArray[np.intp]], FloatArray],
    ) -> Iterator[tuple[Pairs, int, int]]:
        """Yield pairs of samples by themselves, with their numbers."""
        places, numbers = np.unique(np.r_[i, j], return_inverse=True)
        rows = samples(places)
        for one, other in numbers.reshape(2, -1).T:
            first, second = int(places[one]), int(places[other])
            X = self.pairs.X.with_rows(rows[one : one + 1], first)
            Z = self.pairs.Z.with_rows(rows[other : other + 1], second)
            yield replace(self.pairs, X=X, Z=Z), first, second


class Candidates(NamedTuple):
    """Pairs (i, j), and 1 − cos of their gradients, by these and then by i and j."""

    gaps: NDArray[np.float64]
    i: NDArray[np.intp]
    j: NDArray[np.intp]


class Closest:
    """The closest pairs of all that were looked at."""

    def __init__(self, count: int) -> None:
        self._count = count
        nothing = np.empty(0, np.intp)
        self.found = Candidates(np.empty(0), nothing, nothing)
        self._limit = float(np.finfo(np.float64).max)

    def among(self, gaps: NDArray[np.float64], tile: Tile) -> Candidates:
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
        return Candidates(values[order], i + tile.rows.start, j + tile.columns.start)

    def take(self, _: Tile | None, candidates: Candidates) -> None:
        """Take the pairs of a tile, or of several."""
        if len(candidates.gaps) == 0:
            return
        both = zip(self.found, candidates, strict=True)
        gaps, i, j = (np.concatenate(each) for each in both)
        first = np.lexsort((j, i, gaps))[: self._count]
        self.found = Candidates(gaps[first], i[first], j[first])
        if len(first) == self._count:
            self._limit = float(gaps[first[-1]])


def _bounded(pairs: Pairs, i: int, j: int) -> Bounded:
    """Return the gap of the gradients of a pair, and by how much it may be off."""
    inputs, error = _inputs(pairs, i, j)
    rows, columns = slice(i, i + 1), slice(j, j + 1)
    ((_, gradients),) = bounded_gaps(pairs, rows, columns, inputs, error, tangent=True)
    return gradients


def _inputs_resolved(pairs: Pairs, i: int, j: int) -> bool:
    """Return whether the angle of two samples is known: no step makes its relative error larger.

    Activations with slopes of both signs, as the absolute value, bring opposite samples together:
    what is known of the angle to the opposite one then counts as well.
    """
    inputs, error = _inputs(pairs, i, j)
    gaps = both_gaps(inputs)
    assert isinstance(pairs.network, Architecture)
    sides = [gaps, gaps.swapped] if (pairs.network.kinks > 1).any() else [gaps]
    return all(bool(Bounded(side, error).resolved[0, 0]) for side in sides)


def _inputs(pairs: Pairs, i: int, j: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the gap of a pair of samples, with a sign, and by how much it may be off."""
    gaps = np.empty((1, 1))
    fill_gaps(pairs.X, pairs.Z, slice(i, i + 1), slice(j, j + 1), gaps, same=True)
    return gaps, input_error(gaps, pairs.X.norms.dimension)
