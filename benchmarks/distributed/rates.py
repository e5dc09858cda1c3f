# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The rates of this machine: tasks, disk, memory, pairs and features."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.distributed.cluster import INPUTS, Watch, problem, workers
from benchmarks.distributed.estimates import CHUNK, Rates
from fastntk.distributed.tasks import results
from fastntk.kernels.features import Features
from fastntk.kernels.request import KernelRequest

if TYPE_CHECKING:
    import argparse

    from benchmarks.distributed.runs import Run

_COPIED = 2**28


def measured(given: argparse.Namespace, plain: dict[str, Run]) -> Rates:
    """Return the rates, those of pairs from the plain calls on one core."""
    pairs = given.n**2 / 2
    with tempfile.TemporaryDirectory(prefix="fastntk-benchmark-", dir=given.folder) as folder:
        return Rates(
            kernel_pair=plain["kernel"].seconds / pairs,
            closest_pair=plain["pairs"].seconds / pairs,
            features=_features(given),
            task=_task(given, Path(folder)),
            disk=_disk(given.disk_bytes, Path(folder)),
            memory=_memory(),
            cores=len(os.sched_getaffinity(0)),
            inputs=INPUTS,
        )


def _features(given: argparse.Namespace) -> float:
    net, X = problem(given)
    some = X[:CHUNK]
    with threadpool_limits(1, user_api="blas"):
        spent = []
        for _ in range(3):
            watch = Watch()
            request = KernelRequest.checked(net.network, some, None, dtype=np.float64)
            Features(request.network, request.X, request.outputs, request.dtype)
            spent.append(watch.seconds)
    return min(spent) / len(some)


def _task(given: argparse.Namespace, folder: Path) -> float:
    """Return the time of a task that does nothing, many of them on one worker."""
    layer = {("nothing", k): (int, k) for k in range(given.tasks)}
    with workers(1, given.memory, folder):
        watch = Watch()
        done = sum(1 for _ in results("nothing", layer, dict.fromkeys(layer, 1), []))
        return watch.seconds / done


def _disk(size: int, folder: Path) -> float:
    block = np.random.default_rng(0).bytes(2**24)
    watch = Watch()
    with (folder / "written").open("wb") as file:
        for _ in range(max(1, size // len(block))):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())
        return file.tell() / watch.seconds


def _memory() -> float:
    """Return the rate of a copy, which reads and writes."""
    there, here = np.ones(_COPIED // 8), np.empty(_COPIED // 8)
    spent = []
    for _ in range(4):
        watch = Watch()
        np.copyto(here, there)
        spent.append(watch.seconds)
    return 2 * _COPIED / min(spent)
