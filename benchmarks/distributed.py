# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A kernel in tiles on one and two workers of one core each, beside the plain call on one core.

``python -m benchmarks.distributed --n 8192`` on a quiet machine: the kernel into a store of zarr,
its condition number from there, and the highest memory of a worker. Without cores of their own
workers wait for each other: the processor seconds of all of them say what the tiles themselves
cost.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

import fastntk
from fastntk import distributed
from fastntk.distributed.clusters import connected


def _used() -> tuple[float, float]:
    """Return the processor seconds and the GiB that a worker has had; it runs there."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=8192)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--chunks", type=int, default=2048)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--conditioning", action="store_true", help="λ_min, λ_max and κ as well")
    given = parser.parse_args()
    X = np.random.default_rng(0).standard_normal((given.n, 64))
    net = fastntk.MLP([64, *[given.width] * given.depth, 1], dtype="float32")
    with threadpool_limits(1, user_api="blas"):
        wall, used = time.perf_counter(), time.process_time()
        net.ntk(X, dtype="float64", out="packed")
        wall, used = time.perf_counter() - wall, time.process_time() - used
    print(f"plain, one core: {wall:.1f} s, {used:.1f} s of processor")
    for workers in given.workers:
        folder = tempfile.mkdtemp(prefix="fastntk-benchmark-")
        with connected(f"local:{workers}") as client:
            # What a worker imports, and the first tiles, are no part of it.
            distributed.store(f"{folder}/warm.zarr", net, X[:64], chunks=16)
            _report(client, given, X, net, Path(folder) / "K.zarr")
        shutil.rmtree(folder)


def _report(client: Any, given: argparse.Namespace, X: Any, net: fastntk.MLP, path: Path) -> None:
    before = sum(used for used, _ in client.run(_used).values())
    wall = time.perf_counter()
    stored = distributed.store(path, net, X, chunks=given.chunks, dtype="float64")
    wall = time.perf_counter() - wall
    found = client.run(_used).values()
    used, memory = sum(each for each, _ in found) - before, max(most for _, most in found)
    print(
        f"{len(found)} workers: {wall:.1f} s, {used:.1f} s of processor, at most {memory:.2f} GiB "
        f"each; planned: {stored.plan}"
    )
    if given.conditioning:
        wall = time.perf_counter()
        print(fastntk.conditioning(stored.array(), bounds=False))
        found = client.run(_used).values()
        print(
            f"its conditioning: {time.perf_counter() - wall:.1f} s, at most {max(found)[1]:.2f} GiB"
        )


if __name__ == "__main__":
    main()
