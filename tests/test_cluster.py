# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A cluster of two processes: what they compute, what becomes of it when one of them is lost."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk import infinite
from fastntk._support import dask_workers
from fastntk.eigenvalues import dask_products, dask_source
from fastntk.eigenvalues.dask_tiles import Tiles
from fastntk.layers import Dense, LayerNorm, ReLU, Residual
from fastntk.studies import constancy
from fastntk.studies.depth_results import COSTS
from fastntk.studies.runner import on_workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

dask = pytest.importorskip("dask", reason="needs fastntk[distributed]")
dask_arrays = pytest.importorskip("dask.array", reason="needs fastntk[distributed]")
library = pytest.importorskip("distributed", reason="needs fastntk[distributed]")
pytest.importorskip("zarr", reason="needs fastntk[distributed]")

from fastntk import distributed  # noqa: E402
from fastntk.distributed import clusters, operators, tasks  # noqa: E402

X = np.random.default_rng(0).standard_normal((150, 6))
NET = fastntk.MLP([6, 20, 30, 3], bias_std=0.3, activation="gelu", seed=2)
K = NET.ntk(X)
LABELS = (X[:30, 0] > 0).astype(int)


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    """Two workers, from the first test on that asks for them."""
    with (
        dask.config.set({"distributed.admin.log-length": 0}),
        clusters.connected("local:2") as connected,
    ):
        yield connected


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "K.zarr")


def test_arrays(client: Any) -> None:
    assert np.array_equal(distributed.ntk(NET, X, chunks=40).compute(), K)


def settings_of_a_worker() -> Any:
    names = ("MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "OMP_NUM_THREADS")
    profiled = dask.config.get("distributed.worker.profile.enabled")
    return profiled, [os.environ.get(name) for name in names]


def test_workers_spend_little_beside_their_tasks(client: Any) -> None:
    for found in client.run(settings_of_a_worker).values():
        assert found == (False, [str(2**26), str(2**27), "1"])


def test_an_operator(client: Any) -> None:
    """Rows on two workers: the bits of blocks in this process, all conjugate gradients included."""
    V = np.random.default_rng(1).standard_normal((150, 2))
    for outputs in ("full", 0):
        here = NET.ntk_operator(X, outputs=outputs, block_rows=40)
        there = distributed.ntk_operator(NET, X, client=client, outputs=outputs, chunks=40)
        vectors = np.resize(V, (here.shape[0], 2))
        assert np.array_equal(there @ vectors, here @ vectors)
        assert np.array_equal(there.diagonal(), here.diagonal())
        assert np.array_equal(there.columns([3, 149, 30]), here.columns([3, 149, 30]))
    found, expected = (
        fastntk.conjugate_gradients(K, vectors, ridge=1.0, preconditioner_rank=40, tolerance=1e-3)
        for K in (there, here)
    )
    assert np.array_equal(found.coefficients, expected.coefficients)
    samples = X.copy()
    samples[:4] = 1e154 * np.eye(6)[:4]
    samples[100] = 0.95e154
    with pytest.raises(OverflowError, match="is not finite in float64"):
        distributed.ntk_operator(fastntk.MLP([6, 1]), samples, client=client).diagonal()


def test_what_takes_longer_begins_first(client: Any) -> None:
    work = {("waiting", k): k % 3 for k in range(30)}
    layer = {key: (_waited, amount) for key, amount in work.items()}
    found = [*tasks.results("waiting", layer, work, [])]
    assert sorted(found) == sorted(work.values())
    # In the order of their keys it would be 15 and 15. A busy machine may change some places.
    assert sum(found[:15]) >= 20
    assert client.scheduler_info()["workers"]


def _waited(amount: int) -> int:
    time.sleep(0.02)
    return amount


def test_conditioning_of_tiles(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers of one process, to the last bit, wherever tiles are and tasks end."""
    monkeypatch.setattr(dask_source, "_SMALL", 10)
    samples = np.random.default_rng(5).standard_normal((150, 8))
    kernel = fastntk.MLP([8, 64, 1], seed=1).ntk(samples)

    def found() -> Any:
        array = dask_arrays.from_array(kernel, chunks=40)
        return fastntk.conditioning(array, method="cholesky")

    with dask.config.set(scheduler="synchronous"), monkeypatch.context() as alone:
        alone.setattr(dask_products, "current_client", lambda: None)
        expected = found()
    assert found() == expected
    ask = dask_workers.answers_of_workers

    def half(client: Any, function: Any, workers: list[str], **arguments: Any) -> Any:
        """Answers, of which the last is lost."""
        answers = ask(client, function, workers, **arguments)
        return {**answers, **dict.fromkeys(workers[-1:])}

    monkeypatch.setattr(dask_products, "answers_of_workers", half)
    assert found() == expected
    assert client.scheduler_info()["workers"]


def test_a_block_that_failed_is_made_again(
    client: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(dask_source, "_SMALL", 10)
    square = np.random.default_rng(8).standard_normal((90, 100))
    there = tmp_path / "there"
    blocks = dask_arrays.from_array(square @ square.T, chunks=40).map_blocks(
        _if_there, str(there), meta=np.empty((0, 0))
    )
    with pytest.raises(FileNotFoundError, match="there") as failure:
        fastntk.conditioning(blocks, method="cholesky")
    there.touch()
    assert fastntk.conditioning(blocks, method="cholesky").resolved
    assert failure.traceback  # who keeps the exception keeps no task
    assert client.scheduler_info()["workers"]


def _if_there(block: Any, path: str) -> Any:
    if block.size:
        Path(path).stat()
    return block


def test_products_of_tiles_that_have_moved() -> None:
    """A worker that has gone is asked, and so is one that has never had the tiles."""
    kernel = np.random.default_rng(6).standard_normal((150, 150))
    vectors = np.random.default_rng(7).standard_normal((150, 3))
    places = [(i, j) for i in range(4) for j in range(i + 1)]
    given = {
        (i, j): ((vectors[40 * j : 40 * (j + 1)], False), (vectors[40 * i : 40 * (i + 1)], True))
        for i, j in places
    }
    with (
        library.LocalCluster(n_workers=2, processes=False, dashboard_address=":0") as cluster,
        library.Client(cluster) as other,
    ):
        every = [
            dask.delayed(np.array)(kernel[40 * i : 40 * (i + 1), 40 * j : 40 * (j + 1)])
            for i, j in places
        ]
        tiles = dict(zip(places, dask.persist(*every), strict=True))
        products = dask_products.TileProducts(Tiles(tiles, (40, 40, 40, 30), filed=False))
        first = products(given)
        gone = sorted(other.scheduler_info()["workers"])[0]
        other.retire_workers([gone])
        second = products(given)
        third = products({(3, 1): given[3, 1]})
    for place in places:
        i, j = place
        tile = kernel[40 * i : 40 * (i + 1), 40 * j : 40 * (j + 1)]
        for across, down in (first[place], second[place]):
            np.testing.assert_allclose(across, tile @ given[place][0][0], rtol=0, atol=1e-12)
            np.testing.assert_allclose(down, tile.T @ given[place][1][0], rtol=0, atol=1e-12)
            assert all(map(np.array_equal, (across, down), first[place]))
    assert list(third) == [(3, 1)]
    assert all(map(np.array_equal, third[3, 1], first[3, 1]))


def test_a_worker_leads_while_all_tiles_are_found() -> None:
    kernel = np.random.default_rng(6).standard_normal((80, 80))
    vectors = np.random.default_rng(7).standard_normal((80, 2))
    with (
        library.LocalCluster(n_workers=2, processes=False, dashboard_address=":0") as cluster,
        library.Client(cluster) as other,
    ):
        one, two = sorted(other.scheduler_info()["workers"])
        where = {(0, 0): one, (1, 0): two, (1, 1): two}
        tiles = {
            (i, j): other.persist(
                dask.delayed(np.array)(kernel[40 * i : 40 * (i + 1), 40 * j : 40 * (j + 1)]),
                workers=[worker],
            )
            for (i, j), worker in where.items()
        }
        products = dask_products.TileProducts(Tiles(tiles, (40, 40), filed=False))
        library.wait([library.futures_of(tile) for tile in tiles.values()])
        led = products.led(_twice, vectors)
        fallen_back = []
        # What the one who leads has lost, and what another has.
        for place, wrong in (((1, 0), one), ((0, 0), two), ((0, 0), "tcp://127.0.0.1:9")):
            products._holders = {at: [worker] for at, worker in where.items()} | {place: [wrong]}
            fallen_back.append(products.led(_twice, vectors))
        again = products.led(_twice, vectors)
        other.retire_workers([two])
        fallen_back.append(products.led(_twice, vectors))
    lower = np.kron([[1, 0], [1, 1]], np.ones((40, 40))) * kernel
    np.testing.assert_allclose(led[:-1], lower @ (lower @ vectors), rtol=0, atol=1e-10)
    assert not led[-1].any()
    assert np.array_equal(again, led)
    for found in fallen_back:
        assert found[-1].all()
        assert np.array_equal(found[:-1], led[:-1])


def _twice(multiply: Any, vectors: Any) -> Any:
    """The product with the square of a lower triangle, and whether it came about here."""
    for _ in range(2):
        parts = vectors[:40], vectors[40:]
        found = multiply({(i, j): ((parts[j], False),) for i, j in [(0, 0), (1, 0), (1, 1)]})
        vectors = np.r_[found[0, 0][0], found[1, 0][0] + found[1, 1][0]]
    return np.r_[vectors, np.full((1, 2), isinstance(multiply, dask_products.TileProducts))]


def test_closest_pairs(client: Any) -> None:
    with library.LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
        other = library.Client(cluster, set_as_default=True)
        try:
            seen = []
            found = distributed.closest_pairs(
                NET, X, 9, chunks=40, client=client, progress=lambda *report: seen.append(report)
            )
            assert not other.cluster.scheduler.task_prefixes  # the client that was named did it
        finally:
            other.close()
    assert found == NET.smallest_angle(X, 9)
    assert seen == [("tiles", done, 10) for done in range(1, 11)]


def test_described_networks_and_infinite_width(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two workers: the bits of this process, all conjugate gradients included."""
    block = Residual([LayerNorm(), Dense(24), ReLU(), Dense(24)], scale=0.5)
    described = fastntk.Network([Dense(24), block, ReLU(), Dense(3)], inputs=6)
    net, limit = described.sample(), described.infinite()
    assert np.array_equal(distributed.ntk(net, X, chunks=40).compute(), net.ntk(X))
    assert np.array_equal(distributed.ntk(limit, X, chunks=40).compute(), limit.ntk(X))
    for each in (net, limit):
        found = distributed.closest_pairs(each, X, 9, chunks=40, client=client)
        assert found == each.smallest_angle(X, 9)
    there = distributed.ntk_operator(limit, X, chunks=40, client=client)
    products = there @ X
    columns = there.columns([3, 149, 3])
    solution = fastntk.conjugate_gradients(there, X[:, :2], ridge=1.0, preconditioner_rank=20)
    bad = X.copy()
    bad[101] = 0.0
    with pytest.raises(ValueError, match=r"^X\[101\]: .*have no direction"):
        distributed.ntk(net, bad, chunks=40)
    monkeypatch.setattr(operators, "current_client", lambda: None)
    here = distributed.ntk_operator(limit, X, chunks=40)
    with dask.config.set(scheduler="synchronous"):
        assert np.array_equal(here @ X, products)
        assert np.array_equal(here.columns([3, 149, 3]), columns)
        same = fastntk.conjugate_gradients(here, X[:, :2], ridge=1.0, preconditioner_rank=20)
    assert np.array_equal(same.coefficients, solution.coefficients)


def test_an_error_on_a_worker_is_raised_here(client: Any, path: str) -> None:
    """A sample that overflows though its elements are not the largest ones."""
    samples = X.copy()
    samples[:4] = 1e154 * np.eye(6)[:4]
    samples[100] = 0.95e154
    with pytest.raises(OverflowError, match=r"tile of rows 80 to 119 .*: X\[20\]"):
        distributed.store(path, fastntk.MLP([6, 1]), samples, chunks=40)


def rows_of(study: Any) -> Any:
    """The table of a study without what it cost."""
    return study.to_frame().drop(columns=[*COSTS, "seconds"], errors="ignore")


def moments_of(study: Any) -> Any:
    return np.stack([study.mean, study.standard_error])


STUDIES: dict[str, tuple[Callable[..., Any], dict[str, Any], Callable[[Any], Any]]] = {
    "convergence": (
        fastntk.convergence_study,
        {
            "X": X[:30],
            "y": LABELS,
            "depths": [0, 1],
            "width": 8,
            "seeds": 2,
            "batch_size": 10,
            "epochs": 2,
            "rate_samples": 5,
            "rate_steps": 60,
        },
        rows_of,
    ),
    "constancy": (
        fastntk.constancy_study,
        {
            "X": X[:6],
            "y": 0.4 + 0.1 * LABELS[:6],
            "widths": [4, 8],
            "seeds": 2,
            "architectures": ["linear", "softmax"],
            "epochs": 20,
        },
        rows_of,
    ),
    "random networks": (
        fastntk.monte_carlo_ntk,
        {"X": X[:10], "widths": [4, 8], "seeds": 3, "depth": 1},
        moments_of,
    ),
}


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_on_workers(client: Any, name: str) -> None:
    study, asked, numbers_of = STUDIES[name]
    reports: dict[Any, list[tuple[int, int]]] = {None: [], client: []}

    def numbers(client: Any) -> Any:
        def progress(_: str, done: int, total: int) -> None:
            reports[client].append((done, total))

        return numbers_of(study(**asked, progress=progress, client=client))

    here, there = numbers(None), numbers(client)
    assert here.equals(there) if hasattr(here, "equals") else np.array_equal(here, there)
    assert reports[None] == reports[client]
    assert len(reports[client]) > 3


def test_a_depth_study_is_stored_here(client: Any, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"depths": [0, 1, 3], "width": 16, "seeds": 3, "bounds": True}
    here = fastntk.depth_study(X[:30], progress=False, **asked)
    seen = []

    def progress(stage: str, done: int, total: int) -> None:
        seen.append((done, total))

    store = tmp_path / "cells.sqlite"
    there = fastntk.depth_study(X[:30], client=client, store=store, progress=progress, **asked)
    assert seen == [(done, 18) for done in range(1, 19)]
    assert rows_of(there).equals(rows_of(here))
    again = fastntk.depth_study(X[:30], client=client, store=store, progress=False, **asked)
    assert again.stored == 18
    assert rows_of(again).equals(rows_of(here))


def until_nobody_waits(_: object, endless: bool) -> Iterator[int]:
    while endless:
        dask_workers.require_wanted()
        time.sleep(0.01)
    yield 0


def at_work(dask_worker: Any) -> int:
    """How many tasks a worker has begun and not ended; it runs there."""
    return len(dask_worker.state.executing)


def wait_until_at_work(client: Any, tasks: int) -> None:
    end = time.monotonic() + 60
    while sum(client.run(at_work).values()) != tasks:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_nobody_waits_for_ends_on_the_workers(client: Any) -> None:
    with closing(on_workers(client, until_nobody_waits, None, [(False,), (True,)])) as found:
        assert next(found) == 0
        wait_until_at_work(client, 1)
    wait_until_at_work(client, 0)


def test_what_is_no_client(client: Any) -> None:
    with pytest.raises(TypeError, match="client='tcp://a': expected a distributed"):
        fastntk.depth_study(X[:30], client="tcp://a")

    async def asynchronous() -> None:
        async with library.Client(client.scheduler.address, asynchronous=True) as other:
            with pytest.raises(TypeError, match=r"Client that is not asynchronous"):
                fastntk.depth_study(X[:30], client=other)

    asyncio.run(asynchronous())


def test_jobs_are_those_of_the_workers(client: Any) -> None:
    for study, asked, _ in (STUDIES["convergence"], STUDIES["constancy"]):
        with pytest.raises(ValueError, match="jobs=2: expected None with a client"):
            study(**asked, jobs=2, client=client)


def test_memory_is_that_of_a_worker(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    little = dask_workers.Workers(2, 1, 2**30)
    monkeypatch.setattr(constancy, "workers_of", lambda _: little)
    with pytest.raises(MemoryError, match=r"1\.0 GiB of a worker's memory.*smaller widths$"):
        fastntk.constancy_study(X[:6], LABELS[:6] / 2, [20_000], client=client)


LIMIT = infinite.Network(1)
CALLS: list[Callable[[], Any]] = [
    lambda: distributed.ntk(NET, X),
    lambda: distributed.ntk(LIMIT, X),
    lambda: distributed.nngp(LIMIT, X),
    lambda: distributed.ntk_by_layer(NET, X),
    lambda: distributed.ntk_depths(X, [1], width=4),
    lambda: distributed.ntk_operator(NET, X),
    lambda: distributed.ntk_operator(LIMIT, X),
    lambda: distributed.closest_pairs(NET, X, 1),
    lambda: distributed.closest_pairs(LIMIT, X, 1),
    lambda: distributed.plan(NET, X),
    lambda: distributed.plan_depths(X, [1], width=4),
]


@pytest.mark.parametrize("there", ["0.0.1", None])
def test_workers_of_other_versions_are_named(
    client: Any, there: str | None, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    def changed(**asked: Any) -> Any:
        found = versions(**asked)
        found["workers"][last]["packages"]["numba"] = there
        return found

    versions, last = client.get_versions, list(client.scheduler_info()["workers"])[-1]
    monkeypatch.setattr(client, "get_versions", changed)
    message = rf"worker {last} has other versions.* numba {there or 'missing'} \(here \d"
    with pytest.raises(ValueError, match=message):
        distributed.store(path, NET, X)
    with pytest.raises(ValueError, match=message):
        fastntk.monte_carlo_ntk(X, [4], client=client)
    for call in CALLS:
        with pytest.raises(ValueError, match=message):
            call()


def test_a_scheduler_that_is_gone_is_named(path: str) -> None:
    options = {"n_workers": 1, "processes": False, "dashboard_address": ":0"}
    with library.LocalCluster(**options) as cluster, library.Client(cluster) as lost:
        cluster.close()
        with pytest.raises(ConnectionError, match="its scheduler does not answer"):
            fastntk.monte_carlo_ntk(X, [4], client=lost)
        with lost.as_current():
            for call in CALLS:
                with pytest.raises(ConnectionError, match="its scheduler does not answer"):
                    call()


def test_samples_that_are_sent_ahead(client: Any) -> None:
    """They leave the graph small, of which Dask does not warn."""
    samples = np.random.default_rng(3).standard_normal((150, 400))
    net = fastntk.MLP([400, 4, 1])
    with dask_workers.large_graphs():
        ahead = dask.array.from_array(samples, chunks=(40, -1)).persist()
    with dask.config.set({"distributed.admin.large-graph-warning-threshold": "200kB"}):
        with pytest.warns(UserWarning, match="Sending large graph"):
            distributed.ntk(net, samples, chunks=40).compute()
        kernel = distributed.ntk(net, ahead, chunks=40)
        assert np.array_equal(kernel.compute(), net.ntk(samples))


def test_tiles_outlive_a_worker_that_is_killed(client: Any, path: str) -> None:
    """The last test: the worker that takes its place takes some seconds to begin."""
    pids = list(client.run(os.getpid).values())
    seen = []
    operator = distributed.ntk_operator(NET, X, client=client, chunks=20)
    product = operator @ np.ones(150)

    def kill_one(stage: str, done: int, total: int) -> None:
        seen.append((stage, done, total))
        if done == 2:
            os.kill(pids[0], signal.SIGKILL)

    stored = distributed.store(path, NET, X, chunks=20, progress=kill_one)
    assert seen == [("tiles", done, 36) for done in range(1, 37)]
    assert stored.found + stored.computed == 36
    assert np.array_equal(distributed.load(path).compute(scheduler="synchronous"), K)
    again = distributed.store(path, NET, X, chunks=20)
    assert (again.found, again.computed, again.damaged) == (36, 0, 0)
    # The samples and sums of the lost worker are made again, with the same bits.
    assert np.array_equal(operator @ np.ones(150), product)
