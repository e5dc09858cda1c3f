# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The Cholesky factor of a symmetric matrix in tiles of Dask, of which the lower ones count.

Tile by tile, with sums over the columns before it,

    L_jj L_jjᵀ = B_jj − Σ_{k<j} L_jk L_jkᵀ,   L_ij = (B_ij − Σ_{k<j} L_ik L_jkᵀ) L_jj⁻ᵀ.

A few products are subtracted at a time, one task after the other: a task has few tiles in hand, and
a sum is one tile, whereas the decomposition of dask.array keeps the products of a whole sum, and
zeros above the diagonal. The sums of a column wait for the diagonal of the column before: those of
all columns at once would be as large as the matrix. The order of the sums depends on the tiles
alone.

A solution with L goes down its tiles and up again, each waiting for the one before, most of the
time for the scheduler. So the tiles of a few columns are taken together, and the triangle of L at
the diagonal that they form is replaced by its inverse once solutions are wanted, row by row,

    W_jj = L_jj⁻¹,   W_ij = −L_ii⁻¹ Σ_{j≤k<i} L_ik W_kj,

whose tiles are kept transposed, as the products of a decomposition make them. That takes (m/n)² of
the operations of the decomposition for triangles of m rows. Between triangles, and within them,
there are only products then, of tiles that wait for nothing. A solution with a triangle T by its
inverse W is off by ‖T W − I‖, of the order of m ε κ(T) (N. J. Higham, "Accuracy and Stability of
Numerical Algorithms", 2002, §14.2), with κ(T) ≤ κ(L) = √κ: far less than what a solution with L
makes of the smallest eigenvalue. No bound that is proved depends on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dask_workers import aligned, share_of_threads
from fastntk._support.digests import sha256
from fastntk.eigenvalues.dask_products import TileProducts
from fastntk.eigenvalues.dask_tiles import Tiles, computed, lower_places, persisted
from fastntk.symmetric import tiles as tile_by_tile
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fastntk._support.progress import Monitor
    from fastntk.eigenvalues.dask_products import Multiply
    from fastntk.eigenvalues.dask_tiles import Place
    from fastntk.symmetric.block_lanczos import Vectors

# What stands in keys for what waits for a tile on the diagonal.
_TURN = "turn"

# So many products of two tiles are subtracted in a task.
AT_ONCE = 2

# The tiles of so many columns are solved with together. Each triangle costs a product of tiles on
# the way down and one on the way up, of some milliseconds, and there are some forty solutions; its
# inverse grows with the square of its size.
_TOGETHER = 3


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
        """Return the task that makes a tile, which is nobody else's."""
        shift = self.shift if i == j else 0.0
        return (_shifted, self.lower.tiles[i, j].key, self.sign, shift)


class DaskFactor:
    """The lower tiles of L, which Dask keeps on its workers; some of them later inverted.

    Parameters
    ----------
    lower : Tiles
    """

    def __init__(self, lower: Tiles) -> None:
        self.lower = lower
        self._multiply: TileProducts | None = None

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
            last: Any = matrix.task(i, j)
            after = (name, _TURN, j) if j else None
            for first in range(0, j, AT_ONCE):
                some = slice(first, first + AT_ONCE)
                last = (_downdated, last, left[some], right[some], after)
                if some.stop < j:
                    layer[name, "rest", i, j, first] = last
                    # What another task has made has to stay as it is.
                    last, after = (_copied, (name, "rest", i, j, first)), None
            layer[name, i, j] = given.kept_by(
                (_root, last) if i == j else (_below, last, (name, j, j))
            )
        for j in range(count):
            layer[name, _TURN, j + 1] = (_has_none, (name, j, j))
        places = [*lower_places(count), (_TURN, count)]
        found = persisted(f"{name}-whole", layer, name, places, given.sources, monitor)
        failed = computed([found.pop((_TURN, count))])[0]
        if failed:
            raise NotPositiveDefinite(0)
        return cls(given.of_same_kind(found))

    def solve(self, vectors: Vectors) -> Vectors:
        """Return (L Lᵀ)⁻¹ V."""
        if self._multiply is None:
            self._invert_triangles()
            self._multiply = TileProducts(self.lower)
        return self._multiply.led(_solution, self.lower.cuts, self._triangles(), vectors)

    def _triangles(self) -> list[range]:
        count = len(self.lower.cuts)
        return [range(first, min(first + _TOGETHER, count)) for first in range(0, count, _TOGETHER)]

    def _invert_triangles(self) -> None:
        """Put transposed inverses in their places, row by row: a row is needed for its own alone.

        V_ij = W_ijᵀ = −(Σ_{j≤k<i} V_kj L_ikᵀ) L_ii⁻ᵀ.
        """
        tiles = self.lower.tiles
        name = f"fastntk-inverse-{tiles[0, 0].key[0]}"
        for step in range(_TOGETHER):
            layer: dict[Any, Any] = {}
            places: list[Place] = []
            for triangle in self._triangles():
                if step >= len(triangle):
                    continue
                i = triangle[step]
                for j in triangle[: step + 1]:
                    left = [tiles[k, j].key for k in range(j, i)]
                    right = [tiles[i, k].key for k in range(j, i)]
                    task = (_inverted, tiles[i, i].key, left, right)
                    layer[name, i, j] = self.lower.kept_by(task)
                    places.append((i, j))
            tiles.update(persisted(f"{name}-{step}", layer, name, places, self.lower.sources))


def _solution(
    multiply: Multiply, cuts: Sequence[int], triangles: Sequence[range], vectors: Vectors
) -> Vectors:
    """Return (L Lᵀ)⁻¹ V, from products of tiles and of transposed inverses of triangles."""
    parts = np.split(np.ascontiguousarray(vectors), np.cumsum(cuts)[:-1])

    def products(
        places: Iterable[Place], *, upwards: bool, inverse: bool = False
    ) -> dict[int, Vectors]:
        """Return what tiles make of the parts of the vectors, by the parts that it belongs to."""
        source, target = (0, 1) if upwards else (1, 0)
        given = {place: ((parts[place[source]], upwards != inverse),) for place in places}
        sums: dict[int, Vectors] = {}
        for place, (product,) in multiply(given).items():
            at = place[target]
            sums[at] = sums[at] + product if at in sums else product
        return sums

    def replace(triangle: range, *, upwards: bool) -> None:
        """Put the solution with a triangle in the place of its parts."""
        places = [(i, j) for i in triangle for j in triangle if j <= i]
        for k, solution in products(places, upwards=upwards, inverse=True).items():
            parts[k] = solution

    def subtract(places: Iterable[Place], *, upwards: bool) -> None:
        for k, product in products(places, upwards=upwards).items():
            parts[k] = parts[k] - product

    for columns in triangles:
        replace(columns, upwards=False)
        below = range(columns.stop, len(cuts))
        subtract([(i, j) for i in below for j in columns], upwards=False)
    for rows in reversed(triangles):
        replace(rows, upwards=True)
        subtract([(i, j) for i in rows for j in range(rows.start)], upwards=True)
    return np.concatenate(parts)


# Tasks


def _shifted(tile: Vectors, sign: int, shift: float) -> Vectors:
    result: Vectors = sign * aligned(tile)
    if shift:
        result[np.diag_indices_from(result)] += shift
    return result


def _copied(tile: Vectors | None) -> Vectors | None:
    return None if tile is None else np.array(tile)


def _downdated(
    tile: Vectors | None,
    left: list[Vectors | None],
    right: list[Vectors | None],
    after: bool | None,
) -> Vectors | None:
    """Make tile − Σ L Rᵀ of a tile, of one on the diagonal the lower triangle, and return it.

    None where there is no factor: an exception would be on the screen of each worker.
    """
    # Once each: a tile and a copy of it are no equal tiles.
    given = {id(each): each for each in (*left, *right)}
    if tile is None or after or any(each is None for each in given.values()):
        return None
    tiles = {key: aligned(each) for key, each in given.items()}
    with share_of_threads():
        for one, other in zip(left, right, strict=True):
            tile_by_tile.downdate(tile, tiles[id(one)], tiles[id(other)])
    return tile


def _root(tile: Vectors | None) -> Vectors | None:
    if tile is None:
        return None
    try:
        with share_of_threads():
            tile_by_tile.root(tile)
    except NotPositiveDefinite:
        return None
    return tile


def _below(tile: Vectors | None, triangle: Vectors | None) -> Vectors | None:
    if tile is None or triangle is None:
        return None
    with share_of_threads():
        tile_by_tile.solve_below(tile, aligned(triangle))
    return tile


def _has_none(tile: Vectors | None) -> bool:
    """Return whether a matrix has no factor, when a tile on the diagonal is there."""
    return tile is None


def _inverted(triangle: Vectors, left: list[Vectors], right: list[Vectors]) -> Vectors:
    """Return −Σ A Bᵀ L⁻ᵀ, or L⁻ᵀ where there is nothing to be added."""
    lower, ones = aligned(triangle), [aligned(each) for each in left]
    tile = np.zeros((len(ones[0]), len(lower))) if ones else np.eye(len(lower))
    with share_of_threads():
        for one, other in zip(ones, right, strict=True):
            tile_by_tile.downdate(tile, one, aligned(other))
        tile_by_tile.solve_below(tile, lower)
    return tile
