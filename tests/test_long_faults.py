# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hundreds of faults: kills, files that may not grow, damage, little memory: `pytest --long`.

After each the result is the right one, or an error says what happened; nothing stored is lost.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest

import fastntk
from fastntk import PackedKernel

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.name != "posix", reason="POSIX signals and limits"),
]

Count: TypeAlias = Callable[..., None]

X = np.random.default_rng(0).standard_normal((30, 5))
LABELS = (X[:, 0] > 0).astype(int)
NET = fastntk.MLP([5, 16, 2], bias_std=0.3, seed=3)

# What is done in a folder, and what it returns, to the bit. "started" is written once the imports
# are over: what is killed earlier has been no fault.
PROLOGUE = """
import hashlib, sys
import numpy as np
import fastntk
folder = sys.argv[1]
X = np.random.default_rng(0).standard_normal((30, 5))
LABELS = (X[:, 0] > 0).astype(int)
NET = fastntk.MLP([5, 16, 2], bias_std=0.3, seed=3)
print("started", flush=True)
"""
PROGRAMS = {
    "depth study": """
study = fastntk.depth_study(X, depths=range(5), width=64, seeds=6, store=folder + "/cells.sqlite",
                            bounds=True, progress=False)
columns = ["depth", "seed", "smallest_angle", "condition_number", "eigenvalue_min", "rank"]
print(study.to_frame()[columns].to_csv())
""",
    "convergence study": """
study = fastntk.convergence_study(X, LABELS, [1, 2], width=16, seeds=3, batch_size=10, epochs=10,
                                  rate_samples=8, rate_steps=200, store=folder + "/cells.sqlite",
                                  progress=False)
print(study.to_frame().drop(columns="seconds").to_csv())
""",
    "constancy study": """
study = fastntk.constancy_study(X[:8], 0.4 + 0.2 * LABELS[:8], [8, 16, 32], seeds=2, epochs=300,
                                hessian_samples=2, store=folder + "/cells.sqlite", progress=False)
print(study.to_frame().drop(columns="seconds").to_csv())
""",
    "training": """
history = fastntk.train(NET, X, LABELS, learning_rate=0.1, epochs=150, batch_size=7, momentum=0.5,
                        probe=X[:4], checkpoint=folder + "/c.npz")
print(history.to_frame().drop(columns="seconds").to_csv(), history.net.digest())
""",
    "kernel report": """
report = fastntk.kernel_report(NET, np.repeat(X, 20, axis=0) + np.arange(600)[:, None] / 1e3,
                               folder, keep_kernel=True, progress=False)
print(report.closest_pair, report.condition_number, report.eigenvalue_min, report.rank)
""",
    "networks": """
for seed in range(150):
    fastntk.MLP([5, 200, 2], seed=seed % 2).save(folder + "/net.npz")
print("done")
""",
    "packed kernels": """
kernels = [fastntk.MLP([5, 16, 2], seed=seed).ntk(X, out="packed") for seed in range(2)]
for seed in range(150):
    kernels[seed % 2].save(folder + "/K.npy", overwrite=True)
print("done")
""",
}


def start(program: str, folder: Path, before: str = "") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", before + PROLOGUE + PROGRAMS[program], str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    return process


def require_whole(program: str, folder: Path) -> None:
    """Raise unless what lies in the folder is one of the states that a program writes."""
    if program == "networks" and (folder / "net.npz").exists():
        net = fastntk.MLP.load(folder / "net.npz")
        assert net.digest() in {fastntk.MLP([5, 200, 2], seed=seed).digest() for seed in range(2)}
    if program == "packed kernels" and (folder / "K.npy").exists():
        found = PackedKernel.load(folder / "K.npy").to_dense()
        nets = [fastntk.MLP([5, 16, 2], seed=seed) for seed in range(2)]
        right = [net.ntk(X, out="packed").to_dense() for net in nets]
        assert any(np.array_equal(found, each) for each in right)


@pytest.mark.parametrize("program", PROGRAMS)
def test_kills(program: str, tmp_path: Path, count_cases: Count) -> None:
    """Killed at random moments and started again, a program comes to the same result."""
    (tmp_path / "whole").mkdir()
    began = time.monotonic()
    with start(program, tmp_path / "whole") as process:
        expected, errors = process.communicate()
    took = time.monotonic() - began
    assert process.returncode == 0, errors
    rng = np.random.default_rng(len(program))
    folder = tmp_path / "killed"
    folder.mkdir()
    for _ in range(6):
        with start(program, folder) as process:
            try:
                process.wait(rng.uniform(0.0, 0.5 * took))
            except subprocess.TimeoutExpired:
                process.kill()
                if process.wait() == 0:  # it had just come to its end
                    continue
                assert process.returncode == -signal.SIGKILL
                count_cases("faults")
        require_whole(program, folder)
    with start(program, folder) as process:
        found, errors = process.communicate()
    assert process.returncode == 0, errors
    assert found == expected


@pytest.mark.parametrize("program", PROGRAMS)
def test_files_that_may_not_grow(program: str, tmp_path: Path, count_cases: Count) -> None:
    """As on a full disk, writing fails somewhere: an error says so, and the rest is done later."""
    with start(program, tmp_path) as process:
        expected, _ = process.communicate()
    for number, size in enumerate((0, 1000, 5000, 20_000, 50_000)):
        folder = tmp_path / str(number)
        folder.mkdir()
        limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
        with start(program, folder, limit) as process:
            found, errors = process.communicate()
        if process.returncode == 0:
            assert found == expected
        else:
            assert process.returncode == 1, errors
            assert errors.splitlines()[-1].startswith(("OSError", "PermissionError")), errors
        require_whole(program, folder)
        count_cases("faults")
    with start(program, folder) as process:
        found, errors = process.communicate()
    assert process.returncode == 0, errors
    assert found == expected


@pytest.mark.parametrize("program", ["depth study", "training", "kernel report"])
def test_little_memory(program: str, tmp_path: Path, count_cases: Count) -> None:
    """What is left for the program is little: it is done, or MemoryError says how much is wanted.

    OpenBLAS has its buffers already: without these it ends the process by itself. With next to
    nothing left Python waits for ever for a thread that could not begin (CPython's own fault).
    """
    with start(program, tmp_path) as process:
        expected, _ = process.communicate()
    for number, left in enumerate((8, 16, 32, 64, 128)):
        folder = tmp_path / str(number)
        folder.mkdir()
        limited = f"""
import resource
NET.ntk(X)
fastntk.conditioning(NET.ntk(X))
(pages, *_) = map(int, open("/proc/self/statm").read().split())
size = pages * resource.getpagesize() + {left} * 2**20
resource.setrlimit(resource.RLIMIT_AS, (size, size))
"""
        command = [sys.executable, "-c", PROLOGUE + limited + PROGRAMS[program], str(folder)]
        completed = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=300
        )
        if completed.returncode == 0:
            assert completed.stdout == "started\n" + expected
        else:
            assert completed.returncode == 1, completed.stderr
            last = completed.stderr.strip().splitlines()[-1]
            assert "Error" in last, completed.stderr
        count_cases("faults")


def written(folder: Path) -> dict[str, tuple[Path, Callable[[Path], Any]]]:
    """Write a file of each kind; return how it is read, as something that can be compared."""
    NET.save(folder / "net.npz")
    K = NET.ntk(X[:12], out="packed")
    K.save(folder / "K.npy")
    fastntk.train(NET, X, LABELS, learning_rate=0.1, epochs=2, checkpoint=folder / "c.npz")
    fastntk.depth_study(
        X, depths=[1], width=4, seeds=1, store=folder / "cells.sqlite", progress=False
    )

    def trained(path: Path) -> Any:
        history = fastntk.train(NET, X, LABELS, learning_rate=0.1, epochs=3, checkpoint=path)
        return history.net.digest(), history.loss.tolist()

    def studied(path: Path) -> Any:
        study = fastntk.depth_study(X, depths=[1], width=4, seeds=1, store=path, progress=False)
        return study.to_frame()[["smallest_angle", "condition_number", "rank"]].to_csv()

    return {
        "network": (folder / "net.npz", lambda path: fastntk.MLP.load(path).digest()),
        "packed": (folder / "K.npy", lambda path: PackedKernel.load(path).to_dense().tolist()),
        "checkpoint": (folder / "c.npz", trained),
        "store": (folder / "cells.sqlite", studied),
    }


@pytest.mark.parametrize("kind", ["network", "packed", "checkpoint", "store"])
def test_damage(kind: str, tmp_path: Path, count_cases: Count) -> None:
    """Flipped bits and missing ends: the same result, or a ValueError that names the file."""
    path, read = written(tmp_path)[kind]
    whole = path.read_bytes()
    expected = read(path)
    rng = np.random.default_rng(len(kind))
    damaged = tmp_path / f"damaged{path.suffix}"
    for number in range(60):
        content = bytearray(whole)
        if number % 6 == 5:
            del content[int(rng.integers(len(content))) :]
        else:
            content[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
        damaged.write_bytes(content)
        try:
            found = read(damaged)
        except ValueError as error:
            if "damaged" not in str(error):
                raise
        else:
            assert found == expected, number
        count_cases("faults")
        for rest in tmp_path.glob("damaged*"):
            rest.unlink()


def test_many_threads_and_one_file(tmp_path: Path, count_cases: Count) -> None:
    """Threads that write the same file at the same time leave one of what they wrote."""
    from concurrent.futures import ThreadPoolExecutor

    nets = [fastntk.MLP([5, 100, 2], seed=seed) for seed in range(4)]
    digests = {net.digest() for net in nets}
    kernels = [net.ntk(X) for net in nets]
    for _ in range(12):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda net: net.save(tmp_path / "net.npz"), nets))
            list(pool.map(lambda net: net.ntk(X, out=tmp_path / "K.npy", overwrite=True), nets))
        assert fastntk.MLP.load(tmp_path / "net.npz").digest() in digests
        found = np.load(tmp_path / "K.npy")
        assert any(np.array_equal(found, kernel) for kernel in kernels)
        count_cases("faults", 2)
