# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a kernel in tiles would cost, before it is computed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastntk._support import arguments
from fastntk._support.dask_workers import (
    Workers,
    checked_client,
    current_client,
    workers_with_room,
)
from fastntk._support.display import counted
from fastntk._support.memory import human_bytes
from fastntk._support.worker_memory import KEPT_SHARE

if TYPE_CHECKING:
    from fastntk.distributed.arrays import Tiles
    from fastntk.distributed.tiled_kernels import TiledKernel

# Beside a tile its mirror image, and copies of both as they are written, with their checksums.
_COPIES_OF_A_TILE = 4

# Dask begins to write to disk what it holds when this share of a worker's memory is in use.
_USABLE_SHARE = 0.6

# What Python and its libraries take of a worker's memory, where there is none to ask: 185 MB were
# measured after tiles of finite width, 235 MB with Numba after those of infinite width.
_RESIDENT = 240 * 10**6


@dataclass(frozen=True)
class TilePlan:
    """The cost of a kernel in tiles.

    Attributes
    ----------
    chunks : int
        The rows and columns of a tile.
    tiles : int
        How many are computed.
    disk_bytes : int
        The kernel in a store, both halves.
    moved_bytes : int
        What goes through the network at most: the network and all samples to each worker. Tiles
        are written where they are computed.
    worker_bytes : int
        The memory that a worker needs at most, beside `resident_bytes`: tiles in hand, the
        network, and features that are kept, which give way where there is no room.
    seconds : float
        The time to expect if each worker is as fast as this process, from a rate measured just now:
        that of matrix multiplication or, at infinite width, that of pairs of random samples.
    resident_bytes : int
        What Python and its libraries take of a worker's memory; 0 where this process does the work,
        of which what it can still use counts as its memory.
    """

    chunks: int
    tiles: int
    disk_bytes: int
    moved_bytes: int
    worker_bytes: int
    seconds: float
    resident_bytes: int = 0

    def __str__(self) -> str:
        return (
            f"{counted(self.tiles, 'tile')} of {self.chunks} × {self.chunks}, about "
            f"{self.seconds:.2g} s; on disk {human_bytes(self.disk_bytes)}, moved at most "
            f"{human_bytes(self.moved_bytes)}, at most {human_bytes(self.worker_bytes)} of memory "
            f"on each worker{self._beside}"
        )

    @property
    def _beside(self) -> str:
        python = self.resident_bytes
        return f", beside {human_bytes(python)} of Python and its libraries" if python else ""


def stated_workers(workers: Any, threads: Any, memory: Any) -> Workers:
    """Return the workers that there are, with what a user says of them instead."""
    client = checked_client(current_client())
    found = workers_with_room(client)
    if client is None and memory is not None:
        found = found._replace(resident=_RESIDENT)
    for name, value in (("workers", workers), ("threads", threads), ("memory", memory)):
        if value is not None:
            found = found._replace(**{name: arguments.integer(value, name, minimum=1)})
    return found


def plan_tiles(tiles: Tiles, workers: Workers) -> TilePlan:
    """Return the plan for the tiles of a kernel.

    Raises
    ------
    MemoryError
        If the tiles in hand do not fit into the memory of a worker.
    """
    kernel, rows = tiles.kernel, tiles.chunks
    n, m, d = len(tiles.X), len(tiles.Z), tiles.X.array.shape[1]
    samples = n if tiles.symmetric else n + m

    needed = require_room(kernel, rows, d, workers)
    kept = kernel.feature_bytes(samples)
    if workers.memory is not None:
        kept = min(kept, int(KEPT_SHARE * workers.memory))
    return TilePlan(
        rows,
        sum(1 for _ in tiles.to_compute()),
        n * m * kernel.bytes_of_pair,
        workers.workers * (kernel.network_bytes + 8 * samples * d),
        needed + kept,
        kernel.seconds(n, None if tiles.symmetric else m) / workers.workers,
        workers.resident,
    )


def _room(workers: Workers) -> float:
    """Return the bytes that are for the work on each worker."""
    if workers.memory is None:
        return math.inf
    return max(0.0, _USABLE_SHARE * workers.memory - workers.resident)


def _described_room(workers: Workers) -> str:
    assert workers.memory is not None
    beside = f", beside {human_bytes(workers.resident)} of Python and its libraries,"
    return (
        f"{human_bytes(_room(workers))} of its {human_bytes(workers.memory)} of memory"
        f"{beside if workers.resident else ''} are for them"
    )


def require_memory_of_workers(needed: int, what: str, workers: Workers) -> None:
    """Raise MemoryError if what each worker needs of all samples does not fit into its memory."""
    if needed > _room(workers):
        raise MemoryError(
            f"{what} need {human_bytes(needed)} on each worker, but {_described_room(workers)}: "
            "expected fewer samples, or more memory"
        )


def require_room(kernel: TiledKernel, rows: int, inputs: int, workers: Workers) -> int:
    """Return the bytes that tiles of so many rows, and the network, need on each worker.

    Raises
    ------
    MemoryError
        If they do not fit into its memory; with the rows that do.
    """

    def in_hand(size: int) -> int:
        return 2 * kernel.network_bytes + workers.threads * _bytes_in_hand(kernel, size, inputs)

    needed, room = in_hand(rows), _room(workers)
    if needed > room:
        fitting = rows
        while fitting > 1 and in_hand(fitting) > room:
            fitting //= 2
        smaller = f"chunks of about {fitting}, " if in_hand(fitting) <= room else ""
        raise MemoryError(
            f"chunks={rows}: the network and the tiles in hand need {human_bytes(needed)} on each "
            f"worker of {workers.threads} thread(s), but {_described_room(workers)}: expected "
            f"{smaller}fewer threads, or more memory"
        )
    return needed


def _bytes_in_hand(kernel: TiledKernel, rows: int, inputs: int) -> int:
    """Return the memory of one task: a tile, its samples, and their features."""
    samples = 2 * (8 * rows * inputs + kernel.feature_bytes(rows))
    return _COPIES_OF_A_TILE * rows * rows * kernel.bytes_of_pair + samples
