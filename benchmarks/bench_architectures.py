# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of layers beside chains: passes, Gram stage, and kernels of infinite width."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from limit_reference import exact_kernels
from tolerances import assert_close

import fastntk
from benchmarks.yardstick import Yardstick
from fastntk import infinite
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.features import Features
from fastntk.layers import Activation, Dense, Erf, LayerNorm, ReLU, Residual
from fastntk.networks.placed import PlacedNetwork

N, D, M = 2048, 784, 1024
INFINITE_N, INFINITE_D, BLOCKS = 2000, 50, 20
ROUNDS = 5

# Layers of hidden neurons, of which a block has two.
DEPTH = 5


def _block(*before: Any, phi: Any = None, bias_std: float = 0.0) -> Residual:
    phi = ReLU() if phi is None else phi
    dense = Dense(M, bias_std=bias_std)
    return Residual([*before, dense, phi, dense], scale=0.5)


FINITE: dict[str, list[Any]] = {
    "chain": [*[Dense(M), ReLU()] * DEPTH, Dense(1)],
    "residual": [Dense(M), _block(), _block(), Dense(1)],
    "prenorm": [Dense(M), _block(LayerNorm()), _block(LayerNorm()), LayerNorm(), Dense(1)],
}


def _network(name: str, dtype: str) -> Any:
    if name == "mlp":
        return fastntk.MLP([D, *[M] * DEPTH, 1], dtype=dtype)
    return fastntk.Network(FINITE[name], inputs=D).sample(dtype=dtype)


def _map_sizes(net: Any) -> list[tuple[int, int]]:
    """Return the neurons that each of the linear maps takes, and those that it makes."""
    layers = [layer for layer in net.network.layers if hasattr(layer, "weights")]
    return [layer.weights.shape[::-1] for layer in layers]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stage", ["passes", "gram"])
@pytest.mark.parametrize("name", ["mlp", *FINITE])
def test_stages(benchmark: Any, name: str, stage: str, dtype: str) -> None:
    benchmark.group = f"{stage} of {DEPTH} hidden layers, n {N}, d {D}, m {M}, {dtype}"
    net = _network(name, dtype)
    X = np.random.default_rng(0).standard_normal((N, D)).astype(dtype)
    placed, precision = PlacedNetwork(net.network, PROCESSOR), np.dtype(dtype)
    features = Features(placed, X, range(1), precision)
    K = np.empty((N, N), precision)
    sizes = _map_sizes(net)

    def passes() -> None:
        Features(placed, X, range(1), precision)

    def gram() -> None:
        features.fill_kernel(features, slice(0, N), slice(0, N), K, None)

    if stage == "passes":
        # Forward through all maps, and back through all but the first.
        flops = 2.0 * N * (2 * sum(a * b for a, b in sizes) - sizes[0][0] * sizes[0][1])
        Yardstick(benchmark, dtype, ROUNDS).time(passes, flops)
        gram()
    else:
        # Products of hidden neurons and of gradients; those of the single output are numbers.
        lengths = sum(a for a, _ in sizes) + sum(b for _, b in sizes[:-1])
        Yardstick(benchmark, dtype, ROUNDS).time(gram, lengths * N * (N + 1.0))
    rows = [0, 511, 512, N - 1]
    F = _network(name, "float64").jacobian(X[rows].astype(np.float64)).reshape(len(rows), -1)
    assert_close(K[np.ix_(rows, rows)], F @ F.T, dtype)


def _limit(name: str, phi: Activation, bias_std: float) -> Any:
    if name == "plain":
        return infinite.Network(BLOCKS, phi.phi, bias_std=bias_std)
    first = Dense(M, bias_std=bias_std)
    before = [LayerNorm()] if name == "prenorm" else []
    blocks = [_block(*before, phi=phi, bias_std=bias_std)] * BLOCKS
    return fastntk.Network([first, *blocks, *before, Dense(1)], inputs=INFINITE_D).infinite()


@pytest.mark.parametrize("bias_std", [0.0, 0.1])
@pytest.mark.parametrize("phi", [ReLU(), Erf()], ids=["relu", "erf"])
@pytest.mark.parametrize("name", ["plain", "residual", "prenorm"])
def test_infinite_width(benchmark: Any, name: str, phi: Activation, bias_std: float) -> None:
    """One activation a block in all of them."""
    benchmark.group = f"infinite width, {phi!r}, bias_std {bias_std}, {BLOCKS} blocks"
    net = _limit(name, phi, bias_std)
    X = np.random.default_rng(0).standard_normal((INFINITE_N, INFINITE_D))
    core_seconds = []

    def timed() -> Any:
        start = time.process_time()
        result = net.ntk(X)
        core_seconds.append(time.process_time() - start)
        return result

    K = benchmark.pedantic(timed, rounds=ROUNDS, warmup_rounds=1)
    few = [0, 1, INFINITE_N - 1]
    layers = [*[Dense(M, bias_std=bias_std), phi] * BLOCKS, Dense(1, bias_std=bias_std)]
    description = layers if name == "plain" else net.layers
    _, exact = exact_kernels(fastntk.Network(description, inputs=INFINITE_D), X[few])
    expected = np.array(exact.tolist(), dtype=np.float64)
    found = K[np.ix_(few, few)]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12 * expected.max())
    pairs = INFINITE_N * (INFINITE_N + 1) / 2
    benchmark.extra_info["ns_core_a_pair_and_layer"] = min(core_seconds) / pairs / BLOCKS * 1e9
