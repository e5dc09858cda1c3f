# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""All pairs of samples, tile by tile, on as many threads as the library may use.

The threads are Python's: the compiled kernels and the matrix products release the interpreter, and
each thread keeps a tile in its own cache from the first inner product to the last layer. Numba's
own parallel loops would put a barrier after each of these steps, its usual threading layer must
not be entered from two threads at once, and a loop over all pairs could not be interrupted.

The tiles depend on the shape of the result and the number of layers alone, and no tile sees
another: results are the same, bit for bit, for any number of threads.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, TypeVar

from fastntk._support.memory import human_bytes
from fastntk._support.progress import monitored
from fastntk._support.threads import core_threads, map_in_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastntk._support.progress import Progress

T = TypeVar("T")

# Pairs times layers of one tile, some tenths of a second: how long Ctrl-C may have to wait.
_WORK = 2**25

# Rows and columns that are written together: of a square and its mirror image, 256 MiB at most.
_SQUARE = 2**12


@dataclass(frozen=True)
class Tile:
    """Pairs of some rows with some columns; `diagonal` if both begin at the same sample."""

    rows: slice
    columns: slice
    diagonal: bool

    @property
    def beside_diagonal(self) -> slice:
        """The columns of the pairs whose mirror images are no pairs of the tile."""
        return slice(self.rows.stop, self.columns.stop) if self.diagonal else self.columns


def tiles(
    n: int,
    m: int,
    layers: int,
    *,
    symmetric: bool,
    shape: tuple[int, int],
    wanted: slice | None = None,
) -> Iterator[Tile]:
    """Yield tiles that cover all pairs; with `symmetric`, those on and right of the diagonal.

    Those of few layers have the shape that is given, rows and columns. If there are `wanted` rows,
    only the tiles with some of them.
    """
    width = max(1, min(shape[1], _WORK // layers))
    height = max(1, min(shape[0], _WORK // (width * layers)))
    first, stop = (0, n) if wanted is None else (wanted.start // height * height, wanted.stop)
    for row in range(first, stop, height):
        rows = slice(row, min(n, row + height))
        for column in range(row if symmetric else 0, m, width):
            columns = slice(column, min(m, column + width))
            yield Tile(rows, columns, symmetric and column == row)


def begin_in(every: list[Tile], rows: slice, columns: slice) -> list[Tile]:
    """Return the tiles that begin in these rows and columns, as each does in one of all squares."""
    return [
        tile
        for tile in every
        if rows.start <= tile.rows.start < rows.stop
        and columns.start <= tile.columns.start < columns.stop
    ]


def reach(first: Tile, rows: slice, columns: slice, n: int) -> tuple[slice, slice]:
    """Return in which samples of n the tiles end that begin in these rows and columns, at most.

    `first` is the first of all tiles, than which no other is larger.
    """
    height, width = first.rows.stop - 1, first.columns.stop - 1
    return (
        slice(rows.start, min(n, rows.stop + height)),
        slice(columns.start, min(n, columns.stop + width)),
    )


def in_squares(every: list[Tile]) -> list[Tile]:
    """Return tiles in an order in which those that follow one another lie close to each other.

    So do their mirror images: what is written of a kernel in a file at a time are the same few
    pages, which go to the disk once, however little of the kernel fits in memory.
    """
    return sorted(every, key=lambda t: (t.rows.start // _SQUARE, t.columns.start // _SQUARE))


def for_each_tile(
    work: Callable[[Tile], T], every: list[Tile], progress: Progress, description: str
) -> list[T]:
    """Return work(tile) for every tile, in their order."""
    results: list[T] = []
    fold_tiles(work, lambda _, result: results.append(result), every, progress, description)
    return results


def fold_tiles(
    work: Callable[[Tile], T],
    take: Callable[[Tile, T], object],
    every: list[Tile],
    progress: Progress,
    description: str,
) -> None:
    """Call take(tile, work(tile)) for every tile, in their order, one after the other.

    Only `work` is done by several threads: what `take` adds up has the same bits for any number of
    them, and no result is kept.
    """

    def sized(tile: Tile) -> T:
        try:
            return work(tile)
        except MemoryError as error:
            if "allocate" in str(error):  # by NumPy, which says how much
                raise
            raise _too_large(tile) from error

    with (
        core_threads() as threads,
        monitored(progress, description) as report,
        closing(map_in_threads(sized, every, threads, Event())) as found,
    ):
        for done, (tile, result) in enumerate(zip(every, found, strict=True), start=1):
            take(tile, result)
            if report is not None:
                report("tiles", done, len(every))


def _too_large(tile: Tile) -> MemoryError:
    """Return the error for what Numba cannot allocate, without a word of how much."""
    height, width = (part.stop - part.start for part in (tile.rows, tile.columns))
    return MemoryError(
        f"the arrays of {height} × {width} pairs, of {human_bytes(8 * height * width)} each, do "
        "not fit in memory: take fewer samples"
    )
