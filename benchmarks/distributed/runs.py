# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernel, store, condition number and closest pairs: plain calls, and one and two workers."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from threadpoolctl import threadpool_limits

import fastntk
from benchmarks.distributed.cluster import Watch, peaks, problem, processor_seconds, workers
from benchmarks.distributed.whole import compute_tiles
from fastntk._support.worker_memory import KEPT

if TYPE_CHECKING:
    import argparse

NAMES = ("kernel", "store", "conditioning", "pairs")
_CLOSEST = 10


class Run(NamedTuple):
    """What a call took: seconds, and seconds of the processor where the work is done."""

    seconds: float
    processor: float


def plain_runs(given: argparse.Namespace) -> dict[str, Run]:
    """Return what the plain calls take on one core, at best."""
    net, X = problem(given)
    best = _Best()
    with threadpool_limits(1, user_api="blas"):
        net.ntk(X[:64], dtype="float64")  # what the first call takes is no part of it
        for _ in range(given.rounds):
            watch = Watch()
            K = net.ntk(X, dtype="float64", out="packed")
            best.offer("kernel", Run(watch.seconds, watch.processor))
            if "conditioning" in given.only:
                watch = Watch()
                fastntk.conditioning(K, bounds=False)
                best.offer("conditioning", Run(watch.seconds, watch.processor))
            del K
            if "pairs" in given.only:
                watch = Watch()
                net.smallest_angle(X, _CLOSEST)
                best.offer("pairs", Run(watch.seconds, watch.processor))
    return {"kernel": best.runs["kernel"], "store": best.runs["kernel"], **best.runs}


def runs_on_workers(given: argparse.Namespace, count: int) -> tuple[dict[str, Run], float]:
    """Return what it takes on so many workers, at best, and the peak of the largest one in GB."""
    net, X = problem(given)
    best = _Best()
    with (
        tempfile.TemporaryDirectory(prefix="fastntk-benchmark-", dir=given.folder) as folder,
        workers(count, given.memory, Path(folder)) as client,
    ):

        def measured(name: str, call: Any) -> Any:
            client.run(_forget)
            before, watch = processor_seconds(client), Watch()
            result = call()
            seconds = watch.seconds
            best.offer(name, Run(seconds, processor_seconds(client) - before))
            return result

        for number in range(given.rounds):
            path = Path(folder) / f"{number}.zarr"
            options = {"chunks": given.chunks, "dtype": "float64"}
            measured("kernel", lambda: compute_tiles(net, X, given.chunks))
            stored = measured(
                "store",
                lambda path=path, options=options: fastntk.distributed.store(
                    path, net, X, **options
                ),
            )
            if "conditioning" in given.only:
                measured(
                    "conditioning",
                    lambda stored=stored: fastntk.conditioning(stored.array(), bounds=False),
                )
            shutil.rmtree(path)
            if "pairs" in given.only:
                measured(
                    "pairs",
                    lambda: fastntk.distributed.closest_pairs(
                        net, X, _CLOSEST, chunks=given.chunks
                    ),
                )
        return best.runs, max(peaks(client))


def _forget() -> None:
    """Let go of what the tiles of an earlier run have left; it runs on a worker."""
    KEPT.clear()


class _Best:
    """The fastest run of each call."""

    def __init__(self) -> None:
        self.runs: dict[str, Run] = {}

    def offer(self, name: str, run: Run) -> None:
        self.runs[name] = min(self.runs.get(name, run), run)


def table(given: argparse.Namespace, plain: dict[str, Run]) -> list[str]:
    """Return the lines of a table in Markdown, one for each call and number of workers."""
    lines = [
        "| | workers | seconds | of the processor | × plain | as fast as the first | peak |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | plain | {run.seconds:.2f} | {run.processor:.2f} | 1.00 | | |"
        for name, run in plain.items()
    ]
    first: dict[str, Run] = {}
    for count in given.workers:
        runs, peak = runs_on_workers(given, count)
        first = first or runs
        lines += [
            f"| {name} | {count} | {run.seconds:.2f} | {run.processor:.2f} | "
            f"{run.seconds / plain[name].seconds:.2f} | {first[name].seconds / run.seconds:.2f} | "
            f"{peak:.2f} GB |"
            for name, run in runs.items()
        ]
    return lines
