# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The whole empirical kernel and the depth sweep, over the GEMM rate and beside other ways."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.linalg import blas
from tolerances import assert_close

import fastntk
from benchmarks.peers.by_numpy import ntk_by_hand
from benchmarks.table.workloads import Shape
from benchmarks.yardstick import Yardstick

N, D, M, DEPTH = 4096, 784, 1024, 5
WIDTHS = [D, *[M] * DEPTH, 1]
SHAPE = Shape(N, D, M, DEPTH)
FLOPS = SHAPE.pass_flops + SHAPE.gram_flops

PRECISIONS = pytest.mark.parametrize("dtype", ["float32", "float64"])


def samples(dtype: str) -> npt.NDArray[Any]:
    return np.random.default_rng(0).standard_normal((N, D)).astype(dtype)


def some_entries_of_the_truth(X: npt.NDArray[Any]) -> tuple[list[int], npt.NDArray[Any]]:
    rows = [0, 511, 512, 4095]
    few = X[rows].astype(np.float64)
    F = fastntk.MLP(WIDTHS).gradient_features(few)
    return rows, F @ F.T


@PRECISIONS
@pytest.mark.parametrize("way", ["fastntk", "numpy by hand"])
def test_ntk(benchmark: Any, dtype: str, way: str) -> None:
    benchmark.group = f"ntk, n {N}, d {D}, m {M}, L {DEPTH}, {dtype}"
    net = fastntk.MLP(WIDTHS, dtype=dtype)
    X = samples(dtype)

    def compute() -> npt.NDArray[Any]:
        return net.ntk(X) if way == "fastntk" else ntk_by_hand(X, net.weights)

    K = Yardstick(benchmark, dtype).time(compute, FLOPS)
    rows, truth = some_entries_of_the_truth(X)
    assert_close(K[np.ix_(rows, rows)], truth, dtype)


@PRECISIONS
def test_gram_of_one_layer_by_blas(benchmark: Any, dtype: str) -> None:
    """What BLAS itself makes of a symmetric product: the mark for the tiles."""
    benchmark.group = f"ntk, n {N}, d {D}, m {M}, L {DEPTH}, {dtype}"
    syrk = blas.ssyrk if dtype == "float32" else blas.dsyrk
    H = np.random.default_rng(0).standard_normal((N, M)).astype(dtype)
    K = Yardstick(benchmark, dtype).time(lambda: syrk(1.0, H.T, trans=1), N * N * M)
    assert K[0, 1] == pytest.approx(H[0] @ H[1], rel=1e-3, abs=0)


@pytest.mark.parametrize("way", ["one pass", "separate kernels"])
def test_depth_sweep(benchmark: Any, way: str) -> None:
    n, width, depths = 1797, 512, range(11)
    benchmark.group = f"kernels of depths 0 … 10, n {n}, width {width}, float64"
    X = np.random.default_rng(0).standard_normal((n, 64))
    if way == "one pass":
        kernels = benchmark.pedantic(
            lambda: fastntk.ntk_depths(X, depths, width=width), rounds=5, warmup_rounds=1
        )
    else:
        nets = {depth: fastntk.MLP([64, *[width] * depth, 1]) for depth in depths}
        kernels = benchmark.pedantic(
            lambda: {depth: net.ntk(X) for depth, net in nets.items()}, rounds=5, warmup_rounds=1
        )
    F = fastntk.MLP([64, *[width] * 10, 1]).gradient_features(X[:4])
    assert_close(kernels[10][:4, :4], F @ F.T, "float64")


@PRECISIONS
def test_operator(benchmark: Any, dtype: str) -> None:
    """A product of the kernel with sixteen vectors."""
    benchmark.group = f"kernel-vector products, n {N}, d {D}, m {M}, L {DEPTH}, {dtype}"
    net = fastntk.MLP(WIDTHS, dtype=dtype)
    X = samples(dtype)
    v = np.random.default_rng(1).standard_normal((N, 16)).astype(dtype)
    operator = net.ntk_operator(X)
    result = Yardstick(benchmark, dtype).time(lambda: operator @ v, 16 * SHAPE.product_flops)
    some = [0, 511, 4095]
    assert_close(result[some], net.ntk(X[some], X).astype(np.float64) @ v, dtype)


def test_smallest_angle_of_images(benchmark: Any) -> None:
    """The closest of the 2e8 pairs of 20 000 images, without the kernel, in float64."""
    n, width, depth = 20_000, 512, 3
    benchmark.group = f"closest pair, {n} images, width {width}, L {depth}, float64"
    X = fastntk.datasets.load("fashion-mnist").X[:n]
    net = fastntk.MLP([784, *[width] * depth, 1])
    shape = Shape(n, 784, width, depth)
    flops = shape.pass_flops + shape.gram_flops
    pair = Yardstick(benchmark, "float64", rounds=2).time(lambda: net.smallest_angle(X), flops)
    u, v = net.gradient_features(X[[pair.i, pair.j]])
    cosine = u @ v / np.linalg.norm(u) / np.linalg.norm(v)
    assert pair.angle == pytest.approx(np.arccos(cosine), rel=1e-6, abs=0)
