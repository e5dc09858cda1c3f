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

A solution with L goes down and up its tiles, each task waiting for the one before, most of the time
for the scheduler. Where many are wanted, the inverse takes the place of L, row by row, with as many
operations as L took,

    W_jj = L_jj⁻¹,   W_ij = −L_ii⁻¹ Σ_{j≤k<i} L_ik W_kj

and a solution is Wᵀ(W v), of tiles that wait for nothing. As L W = I + G with ‖G‖ of the order of
n ε κ(L) (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, §14.2), eigenvalues
of Wᵀ W are those of (L Lᵀ)⁻¹ up to a relative error of 2‖G‖: with κ(L) = √κ, far less than what a
solution with L makes of the smallest eigenvalue.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from fastntk._support.dask_workers import aligned, share_of_threads
from fastntk._support.digests import sha256
from fastntk.eigenvalues.dask_products import tile_products
from fastntk.eigenvalues.dask_tiles import Tiles, computed, delayed, lower_places, persisted
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    from fastntk._support.progress import Monitor
    from fastntk.symmetric.block_lanczos import Vectors

# So many products of two tiles are added in a task.
_AT_ONCE = 2

# After so many solutions, many others are likely to follow.
_SOLUTIONS_BEFORE_INVERSE = 3


class ShiftedTiles:
    """The lower tiles of B = sign · A + shift · I.

    Parameters
    ----------
    lower : Tiles
        Those of A.
    shift : float
    sign : int
    """

    def __init__(self, lower: Tiles, shift: float, sign: int) -> None:
        self.lower = lower
        self.shift = shift
        self.sign = sign

    @property
    def digest(self) -> str:
        """What tells it from others."""
        return sha256(f"{self.lower.tiles[0, 0].key[0]}\0{self.shift!r}\0{self.sign}")[:32]

    def task(self, i: int, j: int) -> tuple[Any, ...]:
        """Return the task that makes a tile."""
        shift = self.shift if i == j else 0.0
        return (_shifted, self.lower.tiles[i, j].key, self.sign, shift)


class DaskFactor:
    """The lower tiles of L, or later of its inverse, which Dask keeps on its workers.

    Parameters
    ----------
    lower : Tiles
    """

    def __init__(self, lower: Tiles) -> None:
        self.lower = lower
        self._solutions = 0

    @property
    def inverted(self) -> bool:
        """Whether the tiles are those of the inverse."""
        return self._solutions > _SOLUTIONS_BEFORE_INVERSE

    @classmethod
    def of(cls, matrix: ShiftedTiles, monitor: Monitor | None = None) -> DaskFactor:
        """Decompose a matrix.

        Raises
        ------
        NotPositiveDefinite
            For no certain row: none before the first tile without a factor is known to be at fault.
        """
        name, given = f"fastntk-factor-{matrix.digest}", matrix.lower
        count = len(given.cuts)
        layer: dict[Any, Any] = {}
        for i, j in lower_places(count):
            left, right = ([(name, row, k) for k in range(j)] for row in (i, j))
            first = (name, "turn", j) if j else None
            last = _chain(layer, (name, "sum", i, j), first, left, right, transposed=True)
            tile = (_difference, matrix.task(i, j), last)
            layer[name, i, j] = given.kept_by(
                (_root, tile) if i == j else (_panel, tile, (name, j, j))
            )
        for j in range(1, count):
            layer[name, "turn", j] = (_nothing, (name, j - 1, j - 1))
        places = list(lower_places(count))
        try:
            tiles = persisted(f"{name}-whole", layer, name, places, given.sources, monitor)
        except LinAlgError:
            raise NotPositiveDefinite(0) from None
        return cls(given.of_same_kind(tiles))

    def solve(self, vectors: Vectors) -> Vectors:
        """Return (L Lᵀ)⁻¹ V."""
        self._solutions += 1
        if not self.inverted:
            return self._substituted(vectors)
        if self._solutions == _SOLUTIONS_BEFORE_INVERSE + 1:
            self._invert()
        return self._multiplied(self._multiplied(vectors, transposed=False), transposed=True)

    def _invert(self) -> None:
        """Put the inverse in the place of L, of which a row is needed for its own alone."""
        tiles = self.lower.tiles
        name = f"fastntk-inverse-{tiles[0, 0].key[0]}"
        for i in range(len(self.lower.cuts)):
            kept = self.lower.kept_by
            layer: dict[Any, Any] = {(name, i, i): kept((_inverted, tiles[i, i].key))}
            for j in range(i):
                left = [tiles[i, k].key for k in range(j, i)]
                right = [tiles[k, j].key for k in range(j, i)]
                last = _chain(layer, (name, "sum", i, j), None, left, right, transposed=False)
                layer[name, i, j] = kept((_turned, tiles[i, i].key, last))
            places = [(i, j) for j in range(i + 1)]
            sources = [tile for (row, _), tile in tiles.items() if row <= i]
            tiles.update(persisted(f"{name}-{i}", layer, name, places, sources))

    def _multiplied(self, vectors: Vectors, *, transposed: bool) -> Vectors:
        """Return L⁻¹ V, or L⁻ᵀ V."""
        parts = np.split(np.ascontiguousarray(vectors), np.cumsum(self.lower.cuts)[:-1])
        given = {
            (i, j): ((parts[i if transposed else j], transposed),)
            for i, j in lower_places(len(parts))
        }
        found = tile_products(self.lower, given)
        results = [np.zeros(part.shape) for part in parts]
        for (i, j), (product,) in found.items():
            results[j if transposed else i] += product
        return np.concatenate(results)

    def _substituted(self, vectors: Vectors) -> Vectors:
        """Return (L Lᵀ)⁻¹ V, down and up the tiles."""
        count = len(self.lower.cuts)
        parts = np.split(np.ascontiguousarray(vectors), np.cumsum(self.lower.cuts)[:-1])
        tokenize = importlib.import_module("dask.base").tokenize
        name = f"fastntk-solve-{tokenize(vectors, self.lower.tiles[0, 0].key)}"
        keys = {place: tile.key for place, tile in self.lower.tiles.items()}
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
        solution = computed(delayed(name, layer, places, self.lower.sources))
        return np.concatenate(solution)

    def distance(self, matrix: ShiftedTiles) -> float:
        """Return ‖L Lᵀ − B‖_F, as it is computed: the sum of n products, then their difference."""
        assert not self.inverted
        name = f"fastntk-distance-{matrix.digest}"
        keys = {place: tile.key for place, tile in self.lower.tiles.items()}
        layer: dict[Any, Any] = {}
        for i, j in lower_places(len(self.lower.cuts)):
            left, right = ([keys[row, k] for k in range(j + 1)] for row in (i, j))
            last = _chain(layer, (name, "sum", i, j), None, left, right, transposed=True)
            layer[name, i, j] = (_square, (_difference, matrix.task(i, j), last))
        places = list(lower_places(len(self.lower.cuts)))
        sources = [*matrix.lower.sources, *self.lower.sources]
        squares = computed(delayed(name, layer, places, sources))
        weighed = [
            square if i == j else 2 * square for (i, j), square in zip(places, squares, strict=True)
        ]
        return math.sqrt(math.fsum(weighed))


def _chain(
    layer: dict[Any, Any],
    key: tuple[Any, ...],
    start: Any,
    left: list[Any],
    right: list[Any],
    *,
    transposed: bool,
) -> Any:
    """Add the tasks of a sum to a layer, and return the key of the last one, or `start`.

    The sum is that of the products of the left with the right ones, or with their transposes.
    """
    last = start
    for first in range(0, len(left), _AT_ONCE):
        some = slice(first, first + _AT_ONCE)
        layer[(*key, first)] = (_accumulated, last, left[some], right[some], transposed)
        last = (*key, first)
    return last


# Tasks


def _shifted(tile: Vectors, sign: int, shift: float) -> Vectors:
    result: Vectors = sign * np.asarray(tile)
    if shift:
        result[np.diag_indices_from(result)] += shift
    return result


def _accumulated(
    start: Vectors | None, left: list[Vectors], right: list[Vectors], transposed: bool
) -> Vectors:
    """Return start + Σ L R, or Σ L Rᵀ; for equal tiles NumPy computes half of the latter."""
    # Once each: a tile and a copy of it are no equal tiles.
    tiles = {id(each): aligned(each) for each in (*left, *right)}
    rows = [tiles[id(each)] for each in left]
    others = [tiles[id(each)].T if transposed else tiles[id(each)] for each in right]
    with share_of_threads():
        shape = len(rows[0]), others[0].shape[1]
        result = np.zeros(shape) if start is None else np.array(start)
        for one, other in zip(rows, others, strict=True):
            result += one @ other
    return result


def _difference(tile: Vectors, others: Vectors | None) -> Vectors:
    return tile if others is None else tile - others


def _root(tile: Vectors) -> Vectors:
    with share_of_threads():
        lower = cholesky(aligned(tile), lower=True, check_finite=False)
    if not np.isfinite(lower[-1, -1]):
        raise LinAlgError("not positive definite")
    return np.ascontiguousarray(lower)


def _panel(tile: Vectors, lower: Vectors) -> Vectors:
    with share_of_threads():
        solution = solve_triangular(aligned(lower), aligned(tile).T, lower=True, check_finite=False)
    return np.ascontiguousarray(solution.T)


def _inverted(lower: Vectors) -> Vectors:
    tile = aligned(lower)
    with share_of_threads():
        inverse = solve_triangular(tile, np.eye(len(tile)), lower=True, check_finite=False)
    return np.ascontiguousarray(inverse)


def _turned(lower: Vectors, others: Vectors) -> Vectors:
    """Return −L⁻¹ S."""
    with share_of_threads():
        solution = solve_triangular(aligned(lower), -others, lower=True, check_finite=False)
    return np.ascontiguousarray(solution)


def _times(tile: Vectors, vectors: Vectors, transposed: bool) -> Vectors:
    tile = aligned(tile)
    product: Vectors = (tile.T if transposed else tile) @ aligned(vectors)
    return product


def _solved(lower: Vectors, vectors: Vectors, others: list[Vectors], transposed: bool) -> Vectors:
    rest = np.array(vectors)
    for product in others:
        rest -= product
    solution: Vectors = solve_triangular(
        aligned(lower), rest, lower=True, trans=1 if transposed else 0, check_finite=False
    )
    return solution


def _square(tile: Vectors) -> float:
    return float((tile * tile).sum())


def _nothing(tile: Vectors) -> None:
    """Return None when a tile is there."""
