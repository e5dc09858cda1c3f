# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Peak memory, over what the results and the features themselves need, in a process of its own."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from typing import Any

import pytest

_PROGRAM = """
import resource, sys
import numpy as np
import fastntk

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()

n, widths, dtype = {n}, {widths}, {dtype!r}
net = fastntk.MLP(widths, dtype=dtype)
X = np.random.default_rng(0).standard_normal((n, widths[0]), dtype=dtype)
{warm_up}  # libraries and threads
before = resident()
{call}
print(peak() - before)
"""


def peak_growth(
    n: int, widths: list[int], dtype: str, call: str, warm_up: str = "net.ntk(X[:64])"
) -> int:
    """Return by how many bytes the peak of a process is above what it held before the call."""
    program = _PROGRAM.format(n=n, widths=widths, dtype=dtype, call=call, warm_up=warm_up)
    completed = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        # What is freed is given back: otherwise the call would reuse what earlier ones have left.
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
    )
    return int(completed.stdout)


def feature_bytes(n: int, widths: list[int], itemsize: int) -> int:
    return n * (widths[0] + 2 * sum(widths[1:-1])) * itemsize


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernel(benchmark: Any, dtype: str) -> None:
    n, widths = 4096, [784, *[1024] * 5, 1]
    itemsize = 4 if dtype == "float32" else 8
    needed = n * n * itemsize + feature_bytes(n, widths, itemsize)
    grown = benchmark.pedantic(lambda: peak_growth(n, widths, dtype, "K = net.ntk(X)"), rounds=1)
    benchmark.extra_info["peak_over_kernel_and_features"] = round(grown / needed, 3)
    assert grown < 1.3 * needed


def test_smallest_angle(benchmark: Any) -> None:
    n, widths = 20_000, [784, *[512] * 3, 1]
    grown = benchmark.pedantic(
        lambda: peak_growth(n, widths, "float64", "net.smallest_angle(X)"), rounds=1
    )
    benchmark.extra_info["peak_gigabytes"] = round(grown / 1e9, 3)
    # The samples themselves come on top.
    assert grown + n * widths[0] * 8 < 1.5e9


def test_kernel_to_a_file(benchmark: Any, tmp_path: Any) -> None:
    n, widths = 12_000, [20, 64, 1]
    call = f"net.ntk(X, out={str(tmp_path / 'kernel.npy')!r})"
    grown = benchmark.pedantic(lambda: peak_growth(n, widths, "float64", call), rounds=1)
    # Pages of the file count while they are mapped; beside them there is one more block, which is
    # the whole kernel where there is room for that.
    benchmark.extra_info["peak_over_kernel"] = round(grown / (8 * n * n), 3)
    assert (tmp_path / "kernel.npy").stat().st_size == 128 + 8 * n * n


def test_training(benchmark: Any) -> None:
    """A copy of the weights, and one batch of activations."""
    n, batch, widths = 5_000, 500, [784, *[2048] * 5, 10]
    weights = sum(a * b for a, b in itertools.pairwise(widths))
    needed = 4 * (weights + batch * sum(widths))
    call = "fastntk.train({}, X[:{}], np.arange({}) % 10, learning_rate=0.1, batch_size={})"
    # Of a smaller network, with blocks of the same size for the BLAS.
    warm_up = call.format("fastntk.MLP([784, 2048, 10], dtype=dtype)", 500, 500, 250)
    grown = benchmark.pedantic(
        lambda: peak_growth(
            n, widths, "float32", call.format("net", "n", "n", batch), warm_up=warm_up
        ),
        rounds=1,
    )
    benchmark.extra_info["peak_over_weights_and_batch"] = round(grown / needed, 3)
    assert grown < 1.1 * needed
