# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""An epoch of stochastic gradient descent, over the GEMM rate and beside the loop in PyTorch."""

from __future__ import annotations

import itertools
from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fastntk
from benchmarks.yardstick import Yardstick

N, BATCH, RATE = 10_000, 500, 0.1
SHAPES = pytest.mark.parametrize(("width", "depth"), [(512, 3), (2048, 5)])


def problem(width: int, depth: int) -> tuple[fastntk.MLP, npt.NDArray[Any], npt.NDArray[Any]]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 784)).astype(np.float32)
    y = rng.integers(0, 10, N)
    net = fastntk.MLP(
        [784, *[width] * depth, 10], parametrization="standard", activation_scale=1, dtype="float32"
    )
    return net, X, y


def flops(net: fastntk.MLP) -> float:
    """Forward, gradients of the weights, and deltas of all layers but the inputs."""
    sizes = [a * b for a, b in itertools.pairwise(net.widths)]
    return 2.0 * N * (3 * sum(sizes) - sizes[0])


def loss_of_the_first_batches(net: fastntk.MLP, X: npt.NDArray[Any], y: npt.NDArray[Any]) -> float:
    """Return the loss of an epoch whose steps are too small to matter, in float64."""
    f = net.astype("float64")(X)
    log_sum = np.log(np.exp(f).sum(axis=1))
    return float((log_sum - f[np.arange(N), y]).mean())


@SHAPES
@pytest.mark.parametrize("products", ["AMX, if there is one", "BLAS"])
def test_epoch(benchmark: Any, width: int, depth: int, products: str) -> None:
    benchmark.group = f"epoch of {N} samples, 784-{width}x{depth}-10, batch {BATCH}, float32"
    net, X, y = problem(width, depth)

    def compute() -> fastntk.History:
        return fastntk.train(net, X, y, learning_rate=RATE, batch_size=BATCH)

    with fastntk.amx.disabled() if products == "BLAS" else nullcontext():
        history = Yardstick(benchmark, "float32").time(compute, flops(net))
    tiny = fastntk.train(net, X, y, learning_rate=1e-9, batch_size=BATCH)
    assert tiny.loss[0] == pytest.approx(loss_of_the_first_batches(net, X, y), rel=1e-4)
    assert history.net.n_parameters == net.n_parameters
    assert history.weight_change[0] > 0


@SHAPES
def test_epoch_by_torch(benchmark: Any, width: int, depth: int) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    benchmark.group = f"epoch of {N} samples, 784-{width}x{depth}-10, batch {BATCH}, float32"
    net, X, y = problem(width, depth)

    def compute() -> float:
        torch.set_num_threads(2)
        layers: list[Any] = []
        for weights in net.weights:
            linear = torch.nn.Linear(weights.shape[1], len(weights), bias=False)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weights))
            layers += [linear, torch.nn.ReLU()]
        module = torch.nn.Sequential(*layers[:-1])
        optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
        samples, labels = torch.from_numpy(X), torch.from_numpy(y)
        stream = np.random.Philox(np.random.SeedSequence(0, spawn_key=(0,)))
        order = torch.from_numpy(np.random.Generator(stream).permutation(N))
        total = 0.0
        for rows in order.split(BATCH):
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(module(samples[rows]), labels[rows])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(rows) / N
        return total

    total = Yardstick(benchmark, "float32").time(compute, flops(net))
    history = fastntk.train(net, X, y, learning_rate=RATE, batch_size=BATCH)
    assert total == pytest.approx(history.loss[0], rel=1e-3)
