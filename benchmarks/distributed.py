# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A kernel in tiles on one and two workers of one core each, beside the plain call on one core.

``python -m benchmarks.distributed`` on a quiet machine: a kernel (n 8192, width 512, depth 3) into
a store of zarr, its condition number from there, and the highest memory of a worker. ``--n 30000``
with a disk of 8 GB shows what a store costs beside the arithmetic. Without cores of their own
workers wait for each other: the processor seconds of all of them say what the tiles themselves
cost.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

import fastntk
from fastntk import distributed
from fastntk.distributed.clusters import connected


def _used() -> tuple[float, float]:
    """Return the processor seconds and the GiB that a worker has had; it runs there."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


class Run(NamedTuple):
    """What a number of workers took: seconds, seconds of processor, GiB of the largest one."""

    kernel: float
    processor: float
    conditioning: float
    memory: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=8192)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=2048)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--no-conditioning", action="store_true", help="the kernel only")
    given = parser.parse_args()
    X = np.random.default_rng(0).standard_normal((given.n, 64))
    net = fastntk.MLP([64, *[given.width] * given.depth, 1], dtype="float32")
    with threadpool_limits(1, user_api="blas"):
        net.ntk(X[:64], dtype="float64")  # what the first call takes is no part of it
        wall, used = time.perf_counter(), time.process_time()
        K = net.ntk(X, dtype="float64", out="packed")
        plain, processor = time.perf_counter() - wall, time.process_time() - used
        wall = time.perf_counter()
        if not given.no_conditioning:
            fastntk.conditioning(K, bounds=False)
        of_plain = time.perf_counter() - wall
    del K
    print(f"plain call, one core: kernel {plain:.1f} s ({processor:.1f} s of processor)", end="")
    print("" if given.no_conditioning else f", κ {of_plain:.1f} s")
    first: Run | None = None
    for workers in given.workers:
        with tempfile.TemporaryDirectory(prefix="fastntk-benchmark-") as folder:
            run = _measured(given, X, net, Path(folder), workers)
        first = first or run
        print(
            f"{workers} worker(s): kernel to zarr {run.kernel:.1f} s ({run.processor:.1f} s of "
            f"processor), {run.kernel / plain:.2f} × the plain call, "
            f"{first.kernel / run.kernel:.2f} × as fast as with {given.workers[0]}; at most "
            f"{run.memory:.2f} GiB each",
            end="",
        )
        if given.no_conditioning:
            print()
        else:
            print(
                f"; κ {run.conditioning:.1f} s, {run.conditioning / of_plain:.2f} × the plain call,"
                f" {first.conditioning / run.conditioning:.2f} × as fast as with {given.workers[0]}"
            )


def _measured(
    given: argparse.Namespace, X: Any, net: fastntk.MLP, folder: Path, workers: int
) -> Run:
    with connected(f"local:{workers}") as client:
        # What a worker imports, and the first tiles, are no part of it.
        distributed.store(folder / "warm.zarr", net, X[:64], chunks=16)
        before = sum(used for used, _ in client.run(_used).values())
        wall = time.perf_counter()
        stored = distributed.store(folder / "K.zarr", net, X, chunks=given.chunks, dtype="float64")
        kernel = time.perf_counter() - wall
        print(f"planned: {stored.plan}")
        processor = sum(used for used, _ in client.run(_used).values()) - before
        wall = time.perf_counter()
        if not given.no_conditioning:
            fastntk.conditioning(stored.array(), bounds=False)
        conditioning = time.perf_counter() - wall
        memory = max(most for _, most in client.run(_used).values())
    return Run(kernel, processor, conditioning, memory)


if __name__ == "__main__":
    main()
