# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernel, store, condition number and closest pairs: plain calls, and one and two workers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from threadpoolctl import threadpool_limits

import fastntk
from benchmarks.distributed.cluster import Watch, peaks, problem, processor_seconds, workers
from benchmarks.distributed.whole import compute_tiles

if TYPE_CHECKING:
    import argparse

NAMES = ("kernel", "store", "conditioning", "pairs")
_CLOSEST = 10


class Run(NamedTuple):
    """What a call took: seconds, and seconds of the processor where the work is done."""

    seconds: float
    processor: float


def plain_runs(given: argparse.Namespace) -> dict[str, Run]:
    """Return what the plain calls take on one core."""
    net, X = problem(given)
    runs = {}
    with threadpool_limits(1, user_api="blas"):
        net.ntk(X[:64], dtype="float64")  # what the first call takes is no part of it
        watch = Watch()
        K = net.ntk(X, dtype="float64", out="packed")
        runs["kernel"] = runs["store"] = Run(watch.seconds, watch.processor)
        if "conditioning" in given.only:
            watch = Watch()
            fastntk.conditioning(K, bounds=False)
            runs["conditioning"] = Run(watch.seconds, watch.processor)
        del K
        if "pairs" in given.only:
            watch = Watch()
            net.smallest_angle(X, _CLOSEST)
            runs["pairs"] = Run(watch.seconds, watch.processor)
    return runs


def runs_on_workers(given: argparse.Namespace, count: int) -> tuple[dict[str, Run], float]:
    """Return what it takes on so many workers, and the peak of the largest one in GB."""
    net, X = problem(given)
    runs = {}
    with (
        tempfile.TemporaryDirectory(prefix="fastntk-benchmark-", dir=given.folder) as folder,
        workers(count, given.memory, Path(folder)) as client,
    ):

        def measured(name: str, call: Any) -> Any:
            before, watch = processor_seconds(client), Watch()
            result = call()
            seconds = watch.seconds
            runs[name] = Run(seconds, processor_seconds(client) - before)
            return result

        measured("kernel", lambda: compute_tiles(net, X, given.chunks))
        stored = measured(
            "store",
            lambda: fastntk.distributed.store(
                Path(folder) / "K.zarr", net, X, chunks=given.chunks, dtype="float64"
            ),
        )
        if "conditioning" in given.only:
            measured("conditioning", lambda: fastntk.conditioning(stored.array(), bounds=False))
        if "pairs" in given.only:
            measured(
                "pairs",
                lambda: fastntk.distributed.closest_pairs(net, X, _CLOSEST, chunks=given.chunks),
            )
        return runs, max(peaks(client))


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
