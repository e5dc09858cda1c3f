# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A worker whose memory is short: it goes on, or is refused work before it begins."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk._support import dask_workers
from fastntk._support.filed_arrays import FiledArray
from fastntk._support.worker_memory import KEPT
from fastntk.eigenvalues import dask_source

if TYPE_CHECKING:
    from collections.abc import Iterator

dask = pytest.importorskip("dask", reason="needs fastntk[distributed]")
da = pytest.importorskip("dask.array", reason="needs fastntk[distributed]")
library = pytest.importorskip("distributed", reason="needs fastntk[distributed]")

from fastntk import distributed  # noqa: E402
from fastntk.distributed.planning import require_room  # noqa: E402
from fastntk.distributed.tiled_kernels import FiniteKernel  # noqa: E402

X = np.random.default_rng(0).standard_normal((90, 6))
NET = fastntk.MLP([6, 20, 1])
K = NET.ntk(X)

# More than a worker may have before it pauses.
_LIMIT, _TOO_MUCH = 400 * 10**6, 350 * 10**6


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One worker, which pauses at 320 MB."""
    folder = str(tmp_path_factory.mktemp("worker"))
    with (
        dask.config.set({"temporary-directory": folder}),
        library.LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit=_LIMIT, dashboard_address=":0"
        ) as cluster,
        library.Client(cluster) as connected,
    ):
        yield connected


def fill(dask_worker: Any) -> None:
    """Keep what no task needs; it runs on the worker."""
    resident = dask_worker.monitor.get_process_memory()
    KEPT.get("all", 1, lambda: np.ones((_TOO_MUCH - resident) // 8))


def until_paused(client: Any) -> None:
    client.run(fill)
    end = time.monotonic() + 60
    while "paused" not in client.run(lambda dask_worker: dask_worker.status.name).values():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_paused_worker_goes_on(client: Any) -> None:
    """Dask has nothing to write to disk: without its features, the worker has memory again."""
    until_paused(client)
    asked = client.compute(distributed.ntk(NET, X, chunks=40))
    assert np.array_equal(asked.result(timeout=60), K)
    client.run(fill)  # now that the worker looks itself
    assert client.submit(os.getpid).result(timeout=60)


def test_tiles_without_room_are_refused(client: Any) -> None:
    with pytest.raises(
        MemoryError, match=r"(?s)tiles of 2000 rows: .* of its 381.* expected tiles of about \d+ "
    ):
        fastntk.conditioning(da.ones((4000, 4000), chunks=2000))


def test_a_plan_knows_what_python_takes(client: Any) -> None:
    """Tiles for which there would be room without Python and its libraries are refused."""
    workers = dask_workers.workers_with_room(client)
    assert workers.memory == _LIMIT
    assert 50 * 10**6 < workers.resident < _TOO_MUCH
    plan = distributed.plan(NET, X, chunks=40)
    assert 50 * 10**6 < plan.resident_bytes < _TOO_MUCH
    kernel = FiniteKernel(NET.network, "trace", None, np.dtype(np.float64))
    # Of tiles, there are four copies in memory.
    rows = math.isqrt(int(0.6 * _LIMIT - workers.resident / 2) // 32)
    require_room(kernel, rows, 6, workers._replace(resident=0))
    with pytest.raises(
        MemoryError, match=r"(?s)of its 381.* beside .* of Python .*: expected chun"
    ):
        require_room(kernel, rows, 6, workers)


def files(folder: str) -> list[Path]:
    return list(Path(folder).rglob("*.array"))


def test_tiles_in_files_have_the_same_bits(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dask_source, "_SMALL", 10)
    (folder,) = client.run(lambda dask_worker: dask_worker.local_directory).values()
    kernel = da.from_array(K, chunks=40)
    kept = fastntk.conditioning(kernel, method="cholesky")
    assert not files(folder)
    monkeypatch.setattr(dask_source, "_KEPT_SHARE", 0.0)
    source = dask_source.source_of_dask(kernel, overwrite=False)
    assert len(files(folder)) == 6
    # What Dask writes to its own disk says where the file is, which stays.
    client.run(lambda dask_worker: [dask_worker.data.evict() for _ in range(6)])
    assert (source.product(np.eye(90)) == K).all()
    del source
    assert fastntk.conditioning(kernel, method="cholesky") == kept
    end = time.monotonic() + 60
    while files(folder):
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_file_goes_with_its_array(tmp_path: Path) -> None:
    with dask.config.set({"temporary-directory": str(tmp_path)}):
        filed = FiledArray(K)
        (file,) = tmp_path.iterdir()
        assert np.array_equal(np.asarray(filed), K)
        assert file.stat().st_size == K.nbytes
        assert dask.sizeof.sizeof(filed) < K.nbytes / 8
        del filed
        assert not file.exists()


def test_a_disk_that_does_not_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        dask.config.set({"temporary-directory": "/nowhere"}),
        pytest.raises(OSError, match="No such file"),
    ):
        FiledArray(K)
