# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A symmetric matrix in tiles of Dask, on whatever machines its computations take place.

Products are those of `dask_products`, a factor is that of `dask_factor`: sums in an order that the
tiles decide on, with the same bits for any number of workers.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import numpy as np

from fastntk._support import arguments
from fastntk._support.dask_workers import (
    aligned,
    checked_client,
    current_client,
    workers_of,
)
from fastntk._support.dtypes import epsilon_of
from fastntk._support.memory import human_bytes, require_memory
from fastntk._support.progress import monitored
from fastntk.eigenvalues.dask_factor import AT_ONCE, DaskFactor, ShiftedTiles
from fastntk.eigenvalues.dask_products import TileProducts
from fastntk.eigenvalues.dask_tiles import Tiles, computed, lower_places, persisted
from fastntk.eigenvalues.host_sources import source_of_full
from fastntk.eigenvalues.source import Source
from fastntk.symmetric.matrix import SYMMETRY_ROUNDINGS, SymmetricMatrix

if TYPE_CHECKING:
    from fastntk._support.progress import Progress
    from fastntk.symmetric.block_lanczos import Vectors

# Up to so many rows a matrix is looked at where it is asked for: there it takes a second.
_SMALL = 2048

# The share of the memory that the lower tiles may take, beside those of a factor, to be kept there.
_KEPT_SHARE = 0.3

# So many tiles a task has at most: pairs whose products it subtracts, each perhaps as it has come
# from another worker and in a copy that is aligned; the triangle at the diagonal; the sum so far
# and the next one; and one that is on its way to the next task.
_TILES_IN_HAND = 4 * AT_ONCE + 4


class DaskSource(Source):
    """A matrix in square tiles, which stays as it is.

    Parameters
    ----------
    lower : Tiles
        Its lower ones, which Dask keeps.
    diagonal : ndarray (n,)
    norm, epsilon : float
    """

    # A product of all tiles takes as long for four vectors as for two, and most of it is not
    # arithmetic: so there are a quarter fewer.
    guard_vectors = 3

    def __init__(self, lower: Tiles, diagonal: Vectors, norm: float, epsilon: float) -> None:
        super().__init__(diagonal, norm, epsilon)
        self._lower = lower
        self._multiply = TileProducts(lower)

    def product(self, vectors: Vectors) -> Vectors:
        """Return A V, of the lower tiles and their mirror images."""
        parts = np.split(np.ascontiguousarray(vectors), np.cumsum(self._lower.cuts)[:-1])
        given: dict[tuple[int, int], Any] = {
            (i, j): ((parts[j], False),) if i == j else ((parts[j], False), (parts[i], True))
            for i, j in self._lower.tiles
        }
        images = [np.zeros(part.shape) for part in parts]
        for (i, j), products in self._multiply(given).items():
            for place, product in zip((i, j), products, strict=False):  # one, on the diagonal
                images[place] += product
        return np.concatenate(images)

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> DaskFactor:
        """Return the Cholesky factor of sign · A + shift · I, which Dask keeps on its workers."""
        with monitored(progress, "Cholesky") as monitor:
            return DaskFactor.of(ShiftedTiles(self._lower, shift, sign), monitor)

    def extreme_eigenvalues(self, k: int) -> tuple[Vectors, Vectors]:
        """Return the k smallest eigenvalues, ascending, and the k largest, descending."""
        return self._gathered().extreme_eigenvalues(k)

    def eigenpairs(self) -> tuple[Vectors, Any]:
        """Return all eigenvalues, ascending, and their eigenvectors."""
        return self._gathered().eigenpairs()

    def rank(self, floor: float) -> None:
        """Return None: Dask has no pivoted decomposition."""

    def _gathered(self) -> Source:
        n, cuts = self.n, self._lower.cuts
        require_memory(8 * n**2, f"K of shape {(n, n)}", "method='cholesky'")
        ends = np.cumsum(cuts)
        ranges = [slice(end - rows, end) for end, rows in zip(ends, cuts, strict=True)]
        whole = np.empty((n, n))
        for (i, j), tile in self._lower.tiles.items():
            whole[ranges[i], ranges[j]] = computed([tile])[0]
            whole[ranges[j], ranges[i]] = whole[ranges[i], ranges[j]].T
        return source_of_full(SymmetricMatrix.of(whole, "K"), overwrite=True)


class _Measures(NamedTuple):
    """What is known of a tile and of its mirror image.

    Attributes
    ----------
    difference, largest : float
        How far the one is from the other, and the largest element of both.
    squares : float
        The sum of the squares of the tile.
    bad : int
        How many elements of both are not finite.
    first_bad : tuple of int, int and str, or None
        The row and column of the first of them in K, and what it is.
    diagonal : ndarray
        Of the tile.
    """

    difference: float
    largest: float
    squares: float
    bad: int
    first_bad: tuple[int, int, str] | None
    diagonal: Vectors


def source_of_dask(K: Any, *, overwrite: bool) -> Source:
    """Return a matrix in tiles, checked; a small one as if it were in memory.

    Raises
    ------
    ValueError, TypeError
        What `fastntk.conditioning` says.
    """
    if len(K.shape) != 2 or K.shape[0] != K.shape[1] or K.shape[0] == 0:
        raise ValueError(f"K has shape {K.shape}: expected a square matrix")
    if any(isinstance(length, float) for length in K.shape):
        raise ValueError(f"K has shape {K.shape}: expected known numbers of rows and columns")
    if K.dtype.kind not in "fiub":
        raise TypeError(f"K has dtype {K.dtype}: expected real numbers")
    if overwrite:
        raise ValueError("overwrite=True: expected False for an array of Dask")
    if isinstance(getattr(K, "_meta", None), np.ma.MaskedArray):
        raise ValueError("K is masked: expected an array without a mask, see dask.array.ma.filled")
    checked_client(current_client())
    n, epsilon = int(K.shape[0]), epsilon_of(K.dtype)
    if n <= _SMALL:
        return source_of_full(SymmetricMatrix.of(np.asarray(K), "K"), overwrite=False)
    size = min(n, max(K.chunksize))
    array = K.rechunk((size, size)).astype(np.float64)
    lower, measures = _read(array, filed=not _is_kept(n, size))
    if bad := sum(each.bad for each in measures):
        i, j, value = min(each.first_bad for each in measures if each.first_bad is not None)
        raise ValueError(
            f"K of shape {K.shape}: {bad} elements are not finite, first K[{i}, {j}]={value}: "
            "expected none"
        )
    largest = max(each.largest for each in measures)
    difference = max(each.difference for each in measures)
    if difference > SYMMETRY_ROUNDINGS * epsilon * largest:
        raise ValueError(
            f"K of shape {K.shape} is not symmetric: elements differ from their mirror images by "
            f"up to {arguments.shown(float(difference))}"
        )
    # From here on it is what lies on and below the diagonal.
    squares = [
        each.squares if i == j else 2 * each.squares
        for (i, j), each in zip(lower.tiles, measures, strict=True)
    ]
    norm = math.sqrt(math.fsum(squares)) if max(squares) < math.inf else math.inf
    diagonal = [each.diagonal for (i, j), each in zip(lower.tiles, measures, strict=True) if i == j]
    return DaskSource(lower, np.concatenate(diagonal), norm, epsilon)


def _read(array: Any, *, filed: bool) -> tuple[Tiles, list[_Measures]]:
    """Return the lower tiles of an array, which Dask keeps, in the order of their columns."""
    # A name of its own, as Dask would meet what another call has met with the same array.
    name, cuts = f"fastntk-lower-{uuid4().hex}", array.chunks[0]
    starts = [sum(cuts[:k]) for k in range(len(cuts))]
    places = list(lower_places(len(cuts)))
    lower = Tiles({}, cuts, filed)
    layer: dict[Any, Any] = {}
    for i, j in places:
        one, other = (
            _Block((starts[k], starts[m]), (cuts[k], cuts[m])) for k, m in ((i, j), (j, i))
        )
        task = (_lower_tile, (array.name, i, j), one)
        layer[name, i, j] = lower.kept_by(task)
        layer[name, "measures", i, j] = (_measured, (name, i, j), one, (array.name, j, i), other)
    wanted = [*places, *(("measures", *place) for place in places)]
    # All at once: an array of tasks has to make its tiles once only.
    kept = persisted(f"{name}-whole", layer, name, wanted, [array])
    measures = computed([kept["measures", *place] for place in places])
    return lower.of_same_kind({place: kept[place] for place in places}), measures


class _Block(NamedTuple):
    """Where a block of K lies, and its shape."""

    first: tuple[int, int]
    shape: tuple[int, int]

    @property
    def on_diagonal(self) -> bool:
        return self.first[0] == self.first[1]

    def checked(self, block: Any) -> Vectors:
        """Return the numbers of a block, which need not be what the array says of it.

        Raises
        ------
        ValueError, TypeError
        """
        array = np.asarray(block)
        what = f"the block of K that begins with K[{self.first[0]}, {self.first[1]}]"
        if isinstance(block, np.ma.MaskedArray):
            raise ValueError(f"{what} is masked: expected an array without a mask")
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{what} has dtype {array.dtype}: expected real numbers")
        if array.shape != self.shape:
            raise ValueError(f"{what} has shape {array.shape}: expected {self.shape}")
        return aligned(array.astype(np.float64, copy=False))


def _lower_tile(tile: Any, place: _Block) -> Vectors:
    """Return a tile, which on the diagonal is made symmetric by what lies below that."""
    array = place.checked(tile)
    if not place.on_diagonal or np.array_equal(array, array.T):
        return array
    lower: Vectors = np.tril(array)
    return lower + np.tril(array, -1).T


def _measured(tile: Any, place: _Block, image: Any, place_of_image: _Block) -> _Measures:
    """Return what is known of a tile, and of that which should be its mirror image."""
    array, other = aligned(tile), place_of_image.checked(image)
    mirror = other.T
    with np.errstate(over="ignore", invalid="ignore"):  # reported as a matter of scale
        apart = array - mirror
        difference = float(np.abs(apart, out=apart).max())
        looked_at = (array,) if difference == 0 else (array, mirror)
        largest = max(abs(float(each)) for one in looked_at for each in (one.min(), one.max()))
        squares = float(np.multiply(array, array, out=apart).sum())
    bad: list[tuple[int, int, str]] = []
    count = 0
    if not math.isfinite(difference + largest):
        given = {place_of_image: other} | ({} if place.on_diagonal else {place: array})
        for (row, column), elements in ((at.first, each) for at, each in given.items()):
            found = np.argwhere(~np.isfinite(elements))
            count += len(found)
            for i, j in found[:1].tolist():
                bad.append((row + i, column + j, repr(float(elements[i, j]))))
    return _Measures(
        difference, largest, squares, count, min(bad, default=None), array.diagonal().copy()
    )


def _is_kept(n: int, rows: int) -> bool:
    """Return whether workers have memory for the lower tiles of a matrix and for those of a factor.

    Raises
    ------
    MemoryError
        If they have not even as much as tasks with tiles of so many rows need.
    """
    size = 4 * n * (n + rows)
    client = current_client()
    workers = workers_of(client)

    def in_hand(rows: int) -> int:
        return workers.threads * _TILES_IN_HAND * 8 * rows * rows

    if client is None:
        require_memory(in_hand(rows), f"K in tiles of {rows} rows", "give it in smaller tiles")
        return workers.memory is None or size <= _KEPT_SHARE * workers.memory
    from fastntk._support.worker_plugin import room_of_workers, watch_memory  # imports Dask

    watch_memory(client)
    room = room_of_workers(client)
    if room is None:
        return True
    if in_hand(rows) > room.free:
        fitting = rows
        while fitting > 1 and in_hand(fitting) > room.free:
            fitting //= 2
        raise MemoryError(
            f"K in tiles of {rows} rows: those in hand need {human_bytes(in_hand(rows))} on each "
            f"worker of {workers.threads} thread(s); of its {human_bytes(room.limit)} of memory it "
            f"has {human_bytes(room.usable)} before Dask pauses it, and needs "
            f"{human_bytes(room.resident)} for Python and its libraries: expected tiles of about "
            f"{fitting} rows (K.rechunk({fitting})), fewer threads, or more memory"
        )
    share = size / workers.workers
    with_factor = 2 * share + in_hand(rows)
    return share <= _KEPT_SHARE * room.limit and with_factor <= room.free
