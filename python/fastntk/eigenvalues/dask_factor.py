# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The Cholesky factor of a symmetric matrix in tiles of Dask, of which the lower ones count.

Tile by tile, with sums over the columns before it,

    S_ij = Σ_{k<j} L_ik L_jkᵀ,   L_jj L_jjᵀ = B_jj − S_jj,   L_ij = (B_ij − S_ij) L_jj⁻ᵀ.

A sum is taken a few products at a time, one task after the other: a task has few tiles in hand, and
a sum is one tile, whereas the decomposition of dask.array keeps the products of a whole sum, and
zeros above the diagonal. The sums of a column wait for the diagonal of the column before: those of
all columns at once would be as large as the matrix. The order of the sums depends on the tiles
alone.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from fastntk._support.dask_workers import share_of_threads
from fastntk._support.digests import sha256
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastntk.symmetric.block_lanczos import Vectors

# So many products of two tiles are added in a task.
_AT_ONCE = 2


class ShiftedTiles:
    """The lower tiles of B = sign · A + shift · I.

    Parameters
    ----------
    array : dask.array.Array
        A, in square tiles.
    shift : float
    sign : int
    """

    def __init__(self, array: Any, shift: float, sign: int) -> None:
        self.array = array
        self.shift = shift
        self.sign = sign
        self.cuts: tuple[int, ...] = array.chunks[0]

    @property
    def digest(self) -> str:
        """What tells it from others."""
        return sha256(f"{self.array.name}\0{self.shift!r}\0{self.sign}")[:32]

    def task(self, i: int, j: int) -> tuple[Any, ...]:
        """Return the task that makes a tile."""
        shift = self.shift if i == j else 0.0
        return (_shifted, (self.array.name, i, j), self.sign, shift)


class DaskFactor:
    """The lower tiles of L, which Dask keeps on its workers.

    Parameters
    ----------
    cuts : tuple of int
        The rows of the tiles.
    tiles : dict of (int, int) to Delayed
    """

    def __init__(self, cuts: tuple[int, ...], tiles: dict[tuple[int, int], Any]) -> None:
        self.cuts = cuts
        self.tiles = tiles

    @classmethod
    def of(cls, matrix: ShiftedTiles) -> DaskFactor:
        """Decompose a matrix.

        Raises
        ------
        NotPositiveDefinite
            For no certain row: none before the first tile without a factor is known to be at fault.
        """
        name, count = f"fastntk-factor-{matrix.digest}", len(matrix.cuts)
        layer: dict[Any, Any] = {}
        for i, j in _lower(count):
            left, right = ([(name, row, k) for k in range(j)] for row in (i, j))
            first = (name, "turn", j) if j else None
            last = _chain(layer, (name, "sum", i, j), first, left, right)
            tile = (_difference, matrix.task(i, j), last)
            layer[name, i, j] = (_root, tile) if i == j else (_panel, tile, (name, j, j))
        for j in range(1, count):
            layer[name, "turn", j] = (_nothing, (name, j - 1, j - 1))
        places = list(_lower(count))
        try:
            kept = _persisted(_delayed(name, layer, places, [matrix.array]))
            tiles = dict(zip(places, kept, strict=True))
            end = f"{name}-end"  # the last tile, which all others come before
            (task,) = _delayed(
                end, {(end, 0): (_nothing, tiles[places[-1]].key)}, [(0,)], [tiles[places[-1]]]
            )
            task.compute()
        except LinAlgError:
            raise NotPositiveDefinite(0) from None
        return cls(matrix.cuts, tiles)

    def solve(self, vectors: Vectors) -> Vectors:
        """Return (L Lᵀ)⁻¹ V."""
        count = len(self.cuts)
        parts = np.split(np.ascontiguousarray(vectors), np.cumsum(self.cuts)[:-1])
        tokenize = importlib.import_module("dask.base").tokenize
        name = f"fastntk-solve-{tokenize(vectors, self.tiles[0, 0].key)}"
        keys = {place: tile.key for place, tile in self.tiles.items()}
        layer: dict[Any, Any] = {}
        for i in range(count):
            for k in range(i):
                layer[name, "down", i, k] = (_times, keys[i, k], (name, "half", k), False)
            found = [(name, "down", i, k) for k in range(i)]
            layer[name, "half", i] = (_solved, keys[i, i], parts[i], found, False)
        for i in reversed(range(count)):
            for k in range(i + 1, count):
                layer[name, "up", i, k] = (_times, keys[k, i], (name, k), True)
            found = [(name, "up", i, k) for k in range(i + 1, count)]
            layer[name, i] = (_solved, keys[i, i], (name, "half", i), found, True)
        places = [(i,) for i in range(count)]
        solution = _computed(_delayed(name, layer, places, list(self.tiles.values())))
        return np.concatenate(solution)

    def distance(self, matrix: ShiftedTiles) -> float:
        """Return ‖L Lᵀ − B‖_F, as it is computed: the sum of n products, then their difference."""
        name = f"fastntk-distance-{matrix.digest}"
        keys = {place: tile.key for place, tile in self.tiles.items()}
        layer: dict[Any, Any] = {}
        for i, j in _lower(len(self.cuts)):
            left, right = ([keys[row, k] for k in range(j + 1)] for row in (i, j))
            last = _chain(layer, (name, "sum", i, j), None, left, right)
            layer[name, i, j] = (_square, (_difference, matrix.task(i, j), last))
        places = list(_lower(len(self.cuts)))
        sources = [matrix.array, *self.tiles.values()]
        squares = _computed(_delayed(name, layer, places, sources))
        weighed = [
            square if i == j else 2 * square for (i, j), square in zip(places, squares, strict=True)
        ]
        return math.sqrt(math.fsum(weighed))


def _lower(count: int) -> Iterator[tuple[int, int]]:
    for j in range(count):
        for i in range(j, count):
            yield i, j


def _chain(
    layer: dict[Any, Any],
    key: tuple[Any, ...],
    start: Any,
    left: list[Any],
    right: list[Any],
) -> Any:
    """Add the tasks of a sum to a layer, and return the key of the last one, or `start`."""
    last = start
    for first in range(0, len(left), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        layer[(*key, first)] = (_accumulated, last, left[some], right[some])
        last = (*key, first)
    return last


def _delayed(
    name: str, layer: dict[Any, Any], places: list[tuple[Any, ...]], sources: list[Any]
) -> list[Any]:
    """Return tasks of a layer, by what follows its name in their keys."""
    graphs = importlib.import_module("dask.highlevelgraph").HighLevelGraph
    graph = graphs.from_collections(name, layer, dependencies=sources)
    one = importlib.import_module("dask.delayed").Delayed
    return [one((name, *place), graph, layer=name) for place in places]


def _persisted(tasks: list[Any]) -> list[Any]:
    return list(importlib.import_module("dask").persist(*tasks))


def _computed(tasks: list[Any]) -> list[Any]:
    return list(importlib.import_module("dask").compute(*tasks))


# Tasks


def _shifted(tile: Vectors, sign: int, shift: float) -> Vectors:
    result = sign * tile
    if shift:
        result[np.diag_indices_from(result)] += shift
    return result


def _accumulated(start: Vectors | None, left: list[Vectors], right: list[Vectors]) -> Vectors:
    """Return start + Σ L Rᵀ; for equal tiles NumPy computes half of a product."""
    with share_of_threads():
        result = np.zeros((len(left[0]), len(right[0]))) if start is None else np.array(start)
        for one, other in zip(left, right, strict=True):
            result += one @ other.T
    return result


def _difference(tile: Vectors, others: Vectors | None) -> Vectors:
    return tile if others is None else tile - others


def _root(tile: Vectors) -> Vectors:
    with share_of_threads():
        lower: Vectors = cholesky(tile, lower=True, check_finite=False)
    if not np.isfinite(lower[-1, -1]):
        raise LinAlgError("not positive definite")
    return lower


def _panel(tile: Vectors, lower: Vectors) -> Vectors:
    with share_of_threads():
        solution = solve_triangular(lower, tile.T, lower=True, check_finite=False)
    return np.ascontiguousarray(solution.T)


def _times(tile: Vectors, vectors: Vectors, transposed: bool) -> Vectors:
    product: Vectors = (tile.T if transposed else tile) @ vectors
    return product


def _solved(lower: Vectors, vectors: Vectors, others: list[Vectors], transposed: bool) -> Vectors:
    rest = np.array(vectors)
    for product in others:
        rest -= product
    solution: Vectors = solve_triangular(
        lower, rest, lower=True, trans=1 if transposed else 0, check_finite=False
    )
    return solution


def _square(tile: Vectors) -> float:
    return float((tile * tile).sum())


def _nothing(tile: Vectors) -> None:
    """Return None when a tile is there."""
