# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Workers of one core each on this machine, and what they have used."""

from __future__ import annotations

import resource
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk
from fastntk.distributed.clusters import OF_WORKERS
from fastntk.distributed.requirements import dask, distributed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from pathlib import Path

INPUTS = 64


def problem(given: argparse.Namespace) -> tuple[fastntk.MLP, Any]:
    """Return the network and the samples that the options ask for."""
    X = np.random.default_rng(0).standard_normal((given.n, INPUTS))
    return fastntk.MLP([INPUTS, *[given.width] * given.depth, 1], dtype="float32"), X


@contextmanager
def workers(count: int, memory: str, folder: Path) -> Iterator[Any]:
    """Yield a client of so many workers of one core, which spill into a folder."""
    options = {
        "n_workers": count,
        "threads_per_worker": 1,
        "memory_limit": memory,
        "local_directory": str(folder),
        "dashboard_address": ":0",
    }
    library = distributed()
    with (
        dask().config.set(OF_WORKERS),
        library.LocalCluster(**options) as cluster,
        library.Client(cluster) as client,
    ):
        # What a worker imports, and the first tiles, are no part of what is measured.
        net = fastntk.MLP([4, 8, 1])
        X = np.random.default_rng(0).standard_normal((64, 4))
        fastntk.distributed.closest_pairs(net, X, 1, chunks=16)
        fastntk.distributed.store(folder / "warm.zarr", net, X, chunks=16)
        yield client


def _used() -> tuple[float, float]:
    """Return the processor seconds and the GB that a worker has had; it runs there."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024 / 1e9


def processor_seconds(client: Any) -> float:
    """Return the processor seconds of all workers."""
    return float(sum(used for used, _ in client.run(_used).values()))


def peaks(client: Any) -> list[float]:
    """Return the most memory that each worker has had, in GB."""
    return [most for _, most in client.run(_used).values()]


class Watch:
    """Seconds, and seconds of the processor of this process, since it was made."""

    def __init__(self) -> None:
        self._wall, self._used = time.perf_counter(), time.process_time()

    @property
    def seconds(self) -> float:
        """By the clock."""
        return time.perf_counter() - self._wall

    @property
    def processor(self) -> float:
        """Of all threads of this process."""
        return time.process_time() - self._used
