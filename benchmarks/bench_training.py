# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""An epoch of stochastic gradient descent, over the GEMM rate and beside the loop in PyTorch."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fastntk
from benchmarks.peers.environment import known_python
from benchmarks.peers.process import PeerProcess
from benchmarks.table.workloads import order_of_samples, training_flops
from benchmarks.yardstick import Yardstick
from fastntk._support.threads import thread_count

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
        history = Yardstick(benchmark, "float32").time(compute, training_flops(N, net.widths))
    tiny = fastntk.train(net, X, y, learning_rate=1e-9, batch_size=BATCH)
    assert tiny.loss[0] == pytest.approx(loss_of_the_first_batches(net, X, y), rel=1e-4, abs=0)
    assert history.net.n_parameters == net.n_parameters
    assert history.weight_change[0] > 0


@SHAPES
def test_epoch_by_torch(benchmark: Any, width: int, depth: int) -> None:
    python = known_python()
    if python is None:
        pytest.skip("no PyTorch: name the environment of the peers in FASTNTK_PEERS")
    benchmark.group = f"epoch of {N} samples, 784-{width}x{depth}-10, batch {BATCH}, float32"
    net, X, y = problem(width, depth)
    arrays = {f"W{i}": weights for i, weights in enumerate(net.weights)}
    arrays |= {"X": X, "y": y, "order": order_of_samples(N)}
    training = {"learning_rate": RATE, "batch_size": BATCH}
    with PeerProcess(python, "benchmarks.peers.by_torch", thread_count()) as peer:
        which, loss = peer.prepare("epoch", arrays, {"training": training})
        Yardstick(benchmark, "float32").time(
            lambda: peer.time(which), training_flops(N, net.widths)
        )
    history = fastntk.train(net, X, y, learning_rate=RATE, batch_size=BATCH)
    assert loss == pytest.approx(history.loss[0], rel=1e-3, abs=0)
