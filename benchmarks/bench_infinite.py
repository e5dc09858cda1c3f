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
from infinite_reference import general_kernels
from tolerances import assert_close

from benchmarks.peers.environment import known_python
from benchmarks.peers.process import PeerProcess
from fastntk import activations, infinite
from fastntk._support.threads import thread_count
from fastntk.infinite import angle_series

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


ACTIVATIONS: dict[str, activations.Activation] = {
    "relu": activations.get("relu"),
    "leaky_relu": activations.leaky_relu(0.3),
    "sign": activations.get("sign"),
    "relu2": activations.rectified_monomial(2),
    "relu3": activations.rectified_monomial(3),
    "monomial2": activations.monomial(2),
    "hermite3": activations.hermite(3),
    "exp": activations.exponential(0.3),
    "exp_normalized": activations.get("exp_normalized"),
    "erf": activations.get("erf"),
    "gelu": activations.get("gelu"),
    "sin": activations.get("sin"),
    "rbf": activations.get("rbf"),
    "gaussian": activations.get("gaussian"),
    "gabor": activations.get("gabor"),
    "elu": activations.get("elu"),
    "tanh": activations.get("tanh"),
    "sigmoid": activations.get("sigmoid"),
    "silu": activations.get("silu"),
    "softplus": activations.get("softplus"),
    "custom": activations.custom(np.arctan, lambda x: 1 / (1 + x**2)),
}

# Those whose expectations `infinite_reference` does not find: the derivative of a jump, and a
# kernel that no function has.
UNEXPLAINED = ("sign", "exp_normalized")

SMALL_N, SMALL_DEPTH = 1024, 5


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations(benchmark: Any, X: npt.NDArray[np.float64], name: str) -> None:
    phi = ACTIVATIONS[name]
    # An activation without a derivative has the other kernel only.
    kernel = infinite.nngp if name == "sign" else infinite.ntk
    benchmark.group = f"all activations, n {SMALL_N}, d {D}, {SMALL_DEPTH} layers, float64"
    samples = X[:SMALL_N]
    core_seconds = []

    def timed() -> Any:
        start = time.process_time()
        result = kernel(samples, depth=SMALL_DEPTH, activation=phi)
        core_seconds.append(time.process_time() - start)
        return result

    K = benchmark.pedantic(timed, rounds=ROUNDS, warmup_rounds=1)
    if name not in UNEXPLAINED:
        few = [0, 1, SMALL_N - 1]
        exact = general_kernels(samples[few], SMALL_DEPTH, phi, 1.0, 0.0)[1]
        np.testing.assert_allclose(K[np.ix_(few, few)], exact, rtol=1e-9, atol=1e-9 * exact.max())
    benchmark.extra_info["ns_core_a_pair_and_layer"] = (
        min(core_seconds) / pair_layers(SMALL_N, SMALL_DEPTH) * 1e9
    )


@pytest.mark.parametrize(
    "name", [name for name in ACTIVATIONS if name not in (*UNEXPLAINED, "relu", "leaky_relu")]
)
def test_samples_of_one_norm(benchmark: Any, X: npt.NDArray[np.float64], name: str) -> None:
    phi = ACTIVATIONS[name]
    benchmark.group = f"one norm, n {SMALL_N}, d {D}, {SMALL_DEPTH} layers, float64"
    samples = X[:SMALL_N] * (np.sqrt(D) / np.linalg.norm(X[:SMALL_N], axis=1, keepdims=True))
    core_seconds = []

    def timed() -> Any:
        start = time.process_time()
        result = infinite.ntk(samples, depth=SMALL_DEPTH, activation=phi)
        core_seconds.append(time.process_time() - start)
        return result

    K = benchmark.pedantic(timed, rounds=ROUNDS, warmup_rounds=1)
    # A sample of another norm: all pairs go through the layers.
    others = np.vstack([samples, 2 * samples[:1]])
    by_layers = infinite.ntk(others, depth=SMALL_DEPTH, activation=phi)[:-1, :-1]
    np.testing.assert_allclose(K, by_layers, rtol=0, atol=1e-10 * K[0, 0])
    scale = 1e9 / pair_layers(SMALL_N, SMALL_DEPTH)
    benchmark.extra_info["ns_core_a_pair_and_layer"] = min(core_seconds) * scale
    # The first call finds the series, which is kept for the next ones.
    angle_series.forget()
    timed()
    benchmark.extra_info["first_call"] = core_seconds[-1] * scale


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
    expected = infinite.ntk(X[:3], depth=DEPTH, weight_std=2**0.5, activation_scale=1.0)
    np.testing.assert_allclose(K[:3, :3], expected, rtol=1e-7)
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
