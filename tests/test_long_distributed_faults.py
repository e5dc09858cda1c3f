# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Faults at random moments of a store of tiles, of all kinds: `pytest --long`.

After each the same call goes on, and the kernel has the bits that it has without a fault.
"""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

dask = pytest.importorskip("dask", reason="needs fastntk[distributed]")
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
CHUNKS = 25
TILES = 36
TILE_BYTES = 8 * CHUNKS**2

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
from fastntk import distributed
from fastntk.distributed.clusters import connected
from contextlib import nullcontext
X = np.random.default_rng(0).standard_normal((200, 6))
net = fastntk.MLP([6, 64, 64, 1], seed=2)
def report(stage, done, total):
    print("tile", flush=True)
with connected(sys.argv[2]) if sys.argv[2:] else nullcontext():
    distributed.store(sys.argv[1], net, X, chunks=25, progress=report)
"""


class StoppedError(Exception):
    """What ends a client."""


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with clusters.connected("local:2") as connected:
        yield connected


@pytest.fixture
def random(request: pytest.FixtureRequest) -> np.random.Generator:
    return np.random.default_rng(list(request.node.name.encode()))


def store(path: str | Path, progress: Any = False) -> Any:
    return distributed.store(path, NET, X, chunks=CHUNKS, progress=progress)


def finished(path: str | Path, damaged: int = 0) -> int:
    """Finish a store, and return how many tiles were there."""
    stored = store(path)
    assert stored.found + stored.computed == TILES
    assert stored.damaged == damaged
    assert np.array_equal(stored.array().compute(scheduler="synchronous"), K)
    assert not list(Path(path).rglob("*.partial"))
    return int(stored.found)


def at(moment: int, action: Callable[[], Any]) -> Callable[[str, int, int], None]:
    """A report of progress that does something once, when so many tiles are done."""

    def report(stage: str, done: int, total: int) -> None:
        if done == moment:
            action()

    return report


def moment_of(random: np.random.Generator) -> int:
    return int(random.integers(1, TILES))


@pytest.mark.parametrize("case", range(20))
def test_a_worker_is_killed(
    client: Any, case: int, random: Any, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    client.wait_for_workers(1, timeout=60)

    def kill_one() -> None:
        pids = sorted(client.run(os.getpid, on_error="ignore").values())
        os.kill(pids[int(random.integers(len(pids)))], signal.SIGKILL)

    path = tmp_path / "K.zarr"
    store(path, at(moment_of(random), kill_one))
    assert finished(path) == TILES
    count_cases("faults")


@pytest.mark.parametrize("case", range(6))
def test_a_worker_is_killed_while_pairs_are_looked_for(
    client: Any, case: int, random: Any, count_cases: Callable[..., None]
) -> None:
    client.wait_for_workers(1, timeout=60)

    def kill_one() -> None:
        pids = sorted(client.run(os.getpid, on_error="ignore").values())
        os.kill(pids[int(random.integers(len(pids)))], signal.SIGKILL)

    found = distributed.closest_pairs(
        NET, X, 9, chunks=CHUNKS, client=client, progress=at(moment_of(random), kill_one)
    )
    assert found == NET.smallest_angle(X, 9)
    count_cases("faults")


@contextmanager
def cluster_of_its_own() -> Iterator[tuple[Any, str]]:
    command = [sys.executable, "-c", CLUSTER]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()


@pytest.mark.parametrize("case", range(6))
def test_the_scheduler_is_killed(
    case: int, random: Any, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    path, moment = tmp_path / "K.zarr", moment_of(random)
    with (
        cluster_of_its_own() as (process, address),
        clusters.connected(address),
        pytest.raises(ConnectionError, match="goes on"),
    ):
        store(path, at(moment, process.kill))
    assert finished(path) >= moment
    count_cases("faults")


def killed_client(random: Any, path: Path, *cluster: str) -> int:
    """Start a client, kill it at a random moment, and return how many tiles it had reported."""
    wanted = int(random.integers(0, TILES))
    command = [sys.executable, "-c", CLIENT, str(path), *cluster]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(wanted):
            process.stdout.readline()
        time.sleep(float(random.uniform(0, 0.01)))
        process.kill()
    return wanted


@pytest.mark.parametrize("case", range(12))
def test_the_client_is_killed(
    case: int, random: Any, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    path = tmp_path / "K.zarr"
    assert killed_client(random, path) <= finished(path)
    count_cases("faults")


@pytest.mark.parametrize("case", range(8))
def test_the_client_of_a_cluster_is_killed_and_comes_back(
    client: Any, case: int, random: Any, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    """Its tasks may still be at work when the next one begins."""
    path = tmp_path / "K.zarr"
    client.wait_for_workers(1, timeout=60)
    wanted = killed_client(random, path, client.scheduler.address)
    assert store(path).found >= wanted
    assert finished(path) == TILES
    count_cases("faults")


@pytest.mark.parametrize("case", range(20))
def test_a_client_goes_away_and_comes_back(
    client: Any, case: int, random: Any, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    path, moment = tmp_path / "K.zarr", moment_of(random)

    def stop() -> None:
        raise StoppedError

    client.wait_for_workers(1, timeout=60)
    with clusters.connected(client.scheduler.address), pytest.raises(StoppedError):
        store(path, at(moment, stop))
    with clusters.connected(client.scheduler.address):
        assert store(path).found >= moment
    assert finished(path) == TILES
    count_cases("faults")


def damage(file: Path, random: Any) -> None:
    data = bytearray(file.read_bytes())
    if random.integers(2):
        data[int(random.integers(len(data)))] ^= 1 << int(random.integers(8))
    else:
        del data[int(random.integers(len(data))) :]
    file.write_bytes(data)


@pytest.mark.parametrize("case", range(30))
def test_a_tile_is_damaged(
    case: int, random: Any, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    path = tmp_path / "K.zarr"
    store(path)
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name.isdecimal())
    damage(files[int(random.integers(len(files)))], random)
    assert finished(path, damaged=1) == TILES - 1
    count_cases("faults")


def limit_files(size: int) -> None:
    """Let no file of this process grow beyond a size; it runs on a worker."""
    import resource

    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    resource.setrlimit(resource.RLIMIT_FSIZE, (size if size else hard, hard))


@pytest.mark.parametrize("case", range(12))
def test_the_disk_of_one_worker_is_full(
    client: Any, case: int, random: Any, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    path = tmp_path / "K.zarr"
    client.wait_for_workers(1, timeout=60)
    seen = 0

    def count(stage: str, done: int, total: int) -> None:
        nonlocal seen
        seen = done

    one = next(iter(client.scheduler_info()["workers"]))
    client.run(limit_files, int(random.integers(1, TILE_BYTES)), workers=[one])
    with pytest.raises(OSError, match="File too large"):
        store(path, count)
    client.run(limit_files, 0, workers=[one])
    assert TILES > store(path).found >= seen
    assert finished(path) == TILES
    count_cases("faults")


@pytest.mark.parametrize("case", range(6))
def test_the_disk_is_full(
    case: int, random: Any, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    """On a file system that is too small, and then large enough."""
    folder = tmp_path / "small"
    folder.mkdir()
    size = int(random.integers(5, 60)) * TILE_BYTES
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no right to mount a file system")
    try:
        path = folder / "K.zarr"
        with pytest.raises(OSError, match="No space left") as caught:
            finished(path)
        assert caught.value.errno == errno.ENOSPC
        larger = ["mount", "-o", "remount,size=4m", str(folder)]
        subprocess.run(larger, check=True, capture_output=True)
        finished(path)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
    count_cases("faults")


@pytest.mark.parametrize("case", range(2))
def test_more_than_the_memory_of_the_workers(
    case: int, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    """A kernel of 512 MB that workers hold, which have 180 MB each before they write to disk."""
    samples = np.random.default_rng(case).standard_normal((8000, 6))
    net = fastntk.MLP([6, 16, 1], seed=case)
    options = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": 600 * 10**6}
    with (
        dask.config.set({"temporary-directory": str(tmp_path)}),
        library.LocalCluster(dashboard_address=":0", **options) as cluster,
        library.Client(cluster) as client,
    ):
        pids = sorted(client.run(os.getpid).values())
        whole = distributed.ntk(net, samples, chunks=800).persist()
        library.wait(whole)
        for k in range(0, 8000, 800):
            part = slice(k, k + 800)
            assert np.array_equal(whole[part].compute(), net.ntk(samples[part], samples))
        assert sorted(client.run(os.getpid).values()) == pids
    count_cases("faults")


@pytest.mark.parametrize("case", range(6))
def test_a_cluster_that_grows_and_shrinks(
    case: int, random: Any, tmp_path: Path, count_cases: Callable[..., None]
) -> None:
    path = tmp_path / "K.zarr"
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with library.LocalCluster(**options) as cluster, library.Client(cluster) as client:
        client.wait_for_workers(2, timeout=60)
        store(path, at(moment_of(random), lambda: cluster.scale(1)))
        shutil.rmtree(path)
        store(path, at(moment_of(random), lambda: cluster.scale(3)))
    assert finished(path) == TILES
    count_cases("faults", 2)


NUMBERS = itertools.count()


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def wait_until_open(host: str, port: int) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.1)
        else:
            return


@pytest.fixture
def two_hosts(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the address of a scheduler, and the names of the links to its two workers.

    Each worker is in a network namespace of its own, all on one bridge.
    """
    if not shutil.which("ip") or os.geteuid():
        pytest.skip("no right to make network namespaces")
    # A namespace that is deleted is gone only when its last process is: each has a name of its own.
    name = f"ntk{os.getpid() % 10**5}{next(NUMBERS)}"
    bridge, net = f"{name}b", f"10.{os.getpid() % 200 + 20}.7"
    environment = {
        **os.environ,
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "2s",
        "DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "12s",
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s",
    }
    with ExitStack() as stack:
        ip("link", "add", bridge, "type", "bridge")
        stack.callback(ip, "link", "delete", bridge)
        ip("address", "add", f"{net}.1/24", "dev", bridge)
        ip("link", "set", bridge, "up")
        links: list[str] = []

        def started(*command: str) -> None:
            log = stack.enter_context((tmp_path / f"{len(links)}.log").open("w"))
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            stack.callback(process.wait)
            stack.callback(process.kill)

        module = [sys.executable, "-m"]
        address = f"tcp://{net}.1:8786"
        started(*module, "distributed.cli.dask_scheduler", "--host", f"{net}.1", "--no-dashboard")
        wait_until_open(f"{net}.1", 8786)
        for k in range(2):
            space, link = f"{name}s{k}", f"{name}v{k}"
            ip("netns", "add", space)
            stack.callback(ip, "netns", "delete", space)
            ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
            ip("link", "set", link, "master", bridge, "up")
            ip("-n", space, "address", "add", f"{net}.{10 + k}/24", "dev", "eth0")
            ip("-n", space, "link", "set", "eth0", "up")
            ip("-n", space, "link", "set", "lo", "up")
            links.append(link)
            worker = [*module, "distributed.cli.dask_worker", address, "--nthreads", "1"]
            worker += ["--no-dashboard", "--local-directory", str(tmp_path)]
            started("ip", "netns", "exec", space, *worker)
        yield address, links


def cut_between_workers(links: list[str], state: str) -> None:
    for link in links:
        subprocess.run(["bridge", "link", "set", "dev", link, "isolated", state], check=True)


def cut_one_off(links: list[str], state: str) -> None:
    ip("link", "set", links[1], "down" if state == "on" else "up")


@pytest.mark.parametrize("case", range(2))
@pytest.mark.parametrize("cut", [cut_between_workers, cut_one_off])
def test_the_network_is_cut(
    two_hosts: Any,
    cut: Any,
    case: int,
    random: Any,
    tmp_path: Path,
    count_cases: Callable[..., None],
) -> None:
    address, links = two_hosts
    path = tmp_path / "K.zarr"
    # Two workers that reach the scheduler and not each other wait for what the other has, until the
    # network is mended: long after the time in which Dask takes a connection for lost.
    mended = threading.Timer(20.0, cut, (links, "off"))

    def begin() -> None:
        cut(links, "on")
        mended.start()

    with clusters.connected(address) as client:
        client.wait_for_workers(2, timeout=60)
        store(path, at(moment_of(random), begin))
        mended.join()
        assert store(path).found == TILES
    assert finished(path) == TILES
    count_cases("faults")
