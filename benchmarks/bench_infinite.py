# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels at infinite width: time a pair and layer, beside neural-tangents where it is."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from tolerances import assert_close

from benchmarks.peers.environment import known_python
from benchmarks.peers.process import PeerProcess
from fastntk import infinite
from fastntk._support.threads import thread_count

N, D, DEPTH = 4096, 64, 10
ROUNDS = 5


@pytest.fixture(scope="module")
def X() -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).standard_normal((N, D))


def pair_layers(n: int, depth: int) -> float:
    return n * (n + 1) / 2 * depth


@pytest.mark.parametrize("depth", [DEPTH, range(1, DEPTH + 1)], ids=["last", "all"])
@pytest.mark.parametrize("kind", ["ntk", "nngp", "ntk with biases"])
def test_relu(benchmark: Any, X: npt.NDArray[np.float64], kind: str, depth: Any) -> None:
    benchmark.group = f"ReLU, {kind}, n {N}, d {D}, {DEPTH} layers, float64"
    function = infinite.nngp if kind == "nngp" else infinite.ntk
    bias_std = 0.1 if kind.endswith("biases") else 0.0
    core_seconds = []

    def timed() -> Any:
        # Seconds of all cores together: what other processes take does not count.
        start = time.process_time()
        result = function(X, depth=depth, bias_std=bias_std)
        core_seconds.append(time.process_time() - start)
        return result

    K = benchmark.pedantic(timed, rounds=ROUNDS, warmup_rounds=1)
    few = [0, 1, N - 1]
    expected = function(X[few], depth=depth, bias_std=bias_std)
    assert_close(K[..., few, :][..., few], expected, "float64")
    benchmark.extra_info["ns_core_a_pair_and_layer"] = (
        min(core_seconds) / pair_layers(N, DEPTH) * 1e9
    )


@pytest.mark.parametrize("activation", ["erf", "gelu", "relu2", "tanh"])
def test_other_activations(benchmark: Any, X: npt.NDArray[np.float64], activation: str) -> None:
    n, depth = 1024, 3
    benchmark.group = f"other activations, n {n}, d {D}, {depth} layers, float64"
    samples = X[:n] / np.linalg.norm(X[:n], axis=1, keepdims=True) * np.sqrt(D)
    K = benchmark.pedantic(
        infinite.ntk, (samples,), {"depth": depth, "activation": activation}, rounds=3
    )
    few = [0, 1, n - 1]
    expected = infinite.ntk(samples[few], depth=depth, activation=activation)
    assert_close(K[np.ix_(few, few)], expected, "float64")


def test_neural_tangents(benchmark: Any, X: npt.NDArray[np.float64]) -> None:
    benchmark.group = f"ReLU, ntk, n {N}, d {D}, {DEPTH} layers, float64"
    python = known_python()
    if python is None:
        pytest.skip("no neural-tangents: name the environment of the peers in FASTNTK_PEERS")
    settings = {"depth": DEPTH, "activation": "relu", "weight_std": 2**0.5, "bias_std": 0.0}
    with PeerProcess(python, "benchmarks.peers.by_neural_tangents", thread_count()) as peer:
        which, K = peer.prepare("infinite", {"X": X}, settings)
        theirs: list[float] = []
        benchmark.pedantic(
            infinite.ntk,
            (X,),
            {"depth": DEPTH},
            setup=lambda: theirs.append(peer.time(which)[0]),
            rounds=ROUNDS,
        )
    # arccos of a rounded cosine leaves neural-tangents half of the digits on the diagonal.
    np.testing.assert_allclose(K[:3, :3], infinite.ntk(X[:3], depth=DEPTH), rtol=1e-7)
    ratios = [b / a for a, b in zip(benchmark.stats.stats.data, theirs, strict=True)]
    benchmark.extra_info["neural_tangents_seconds"] = min(theirs)
    benchmark.extra_info["times_neural_tangents"] = float(np.median(ratios))


FIRST_CALL = """
import time, numpy as np, fastntk
X = np.ones((4, 3)); X[0] = 2, 1, 0
fastntk.infinite
start = time.perf_counter()
fastntk.infinite.ntk(X)
print(time.perf_counter() - start)
"""


def test_first_call(benchmark: Any, tmp_path: Path) -> None:
    benchmark.group = "first call in a process, compiled code in the cache"

    def first_call() -> float:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, "-c", FIRST_CALL],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return float(done.stdout)

    benchmark.extra_info["seconds_compiling"] = first_call()
    benchmark.extra_info["seconds_cached"] = benchmark.pedantic(first_call, rounds=3)
