# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kills of workers, of the scheduler and of the client of a store of tiles: `pytest --long`.

After each the same call goes on, and the kernel has the bits that it has without a fault.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

library = pytest.importorskip("distributed", reason="needs fastntk[distributed]")
pytest.importorskip("zarr", reason="needs fastntk[distributed]")

from fastntk import distributed  # noqa: E402
from fastntk.distributed import clusters  # noqa: E402

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.name != "posix", reason="POSIX signals"),
]

X = np.random.default_rng(0).standard_normal((200, 6))
NET = fastntk.MLP([6, 64, 64, 1], seed=2)
K = NET.ntk(X)
TILES = 210  # of 10 rows

CLUSTER = """
from distributed import LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        print(cluster.scheduler_address, flush=True)
        input()
"""

CLIENT = """
import sys
import numpy as np
import fastntk
X = np.random.default_rng(0).standard_normal((200, 6))
net = fastntk.MLP([6, 64, 64, 1], seed=2)
def report(stage, done, total):
    print("tile", flush=True)
fastntk.distributed.store(sys.argv[1], net, X, chunks=10, progress=report)
"""


def finished(path: str) -> int:
    """Finish a store in this process, and return how many tiles were there."""
    stored = distributed.store(path, NET, X, chunks=10)
    assert stored.found + stored.computed == TILES
    assert stored.damaged == 0
    assert np.array_equal(stored.array().compute(scheduler="synchronous"), K)
    return stored.found


def test_workers_killed_at_random_moments(tmp_path: Path, count_cases: Callable[..., None]) -> None:
    random = np.random.default_rng(1)
    with clusters.connected("local:2") as client:
        for case in range(10):
            path, moment = str(tmp_path / f"{case}.zarr"), int(random.integers(1, TILES))

            def kill_one(stage: str, done: int, total: int, moment: int = moment) -> None:
                if done == moment:
                    pids = sorted(client.run(os.getpid).values())
                    os.kill(pids[int(random.integers(len(pids)))], signal.SIGKILL)

            distributed.store(path, NET, X, chunks=10, progress=kill_one)
            client.wait_for_workers(2, timeout=60)
            assert finished(path) == TILES
            count_cases("faults")


@pytest.mark.parametrize("moment", [1, 50, 150])
def test_the_scheduler_is_killed(
    moment: int, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    path = str(tmp_path / "K.zarr")
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as cluster:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()

        def kill(stage: str, done: int, total: int) -> None:
            if done == moment:
                cluster.kill()

        with clusters.connected(address), pytest.raises(ConnectionError, match="goes on"):
            distributed.store(path, NET, X, chunks=10, progress=kill)
    assert finished(path) >= moment
    count_cases("faults")


def test_the_client_is_killed_at_random_moments(
    tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    random = np.random.default_rng(2)
    for case in range(10):
        path, wanted = str(tmp_path / f"{case}.zarr"), int(random.integers(0, TILES))
        command: list[Any] = [sys.executable, "-c", CLIENT, path]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            assert client.stdout is not None
            for _ in range(wanted):
                client.stdout.readline()
            time.sleep(float(random.uniform(0, 0.01)))
            client.kill()
        assert finished(path) >= wanted
        count_cases("faults")
