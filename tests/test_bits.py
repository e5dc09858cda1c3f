# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Every public computation: the same bits in any thread of Python, and for any number of threads.

Matrices are large enough for a BLAS that is not kept from it to use several threads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from test_refusals import NAMES
from threadpoolctl import threadpool_info, threadpool_limits

import fastntk
from fastntk import datasets, infinite, layers, linearity
from fastntk._support.threads import core_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

QUICK_DUALS = ("relu", "gelu", "sin", "erf")
SLOW_DUALS = ("tanh", "sigmoid", "silu", "elu", "softplus")
SLOWER_DUALS = ("hardswish", "softsign")  # minutes of many samples
SAMPLES = 150  # squared, and times the width of 64, beyond where OpenBLAS begins to share out work


def computations(n: int, duals: tuple[str, ...] = QUICK_DUALS) -> dict[str, Callable[[], Any]]:
    """Return what computes for n samples, by the names of public_calls.CALLS."""
    random = np.random.default_rng(0)
    X, Z = random.standard_normal((n, 20)), random.standard_normal((70, 20))
    y, labels = X[:, 0] * X[:, 1], (X[:, 0] > 0).astype(int)
    net = fastntk.MLP([20, 64, 64, 1], bias_std=0.1)
    two = fastntk.MLP([20, 64, 64, 2], activation="tanh")
    described = [layers.LayerNorm(gain=True), layers.Dense(64), layers.GELU(), layers.Dense(64)]
    description = fastntk.Network(
        [layers.Dense(64), layers.Residual(described, scale=0.5), layers.Dense(2)], inputs=20
    )
    wired, limit = description.sample(), description.infinite()
    blocks: list[dict[str, Any]] = [{}, {"architecture": "postnorm", "infinite": True}]
    K = net.ntk(X)
    packed = fastntk.PackedKernel.from_dense(K)
    v = random.standard_normal((net.n_parameters, 3))
    limit = infinite.Network(depth=2, bias_std=0.1)
    some = slice(0, n, 3)

    def fit() -> list[Any]:
        training = two.linearize().fit(X[some], np.stack([y, -y], axis=1)[some])
        return [
            training.eigenvalues,
            training.loss(time=[1.0, np.inf]),
            training.parameter_change(steps=5, learning_rate=training.best_learning_rate),
        ]

    def of_operator() -> Any:
        return fastntk.conditioning(fastntk.MLP([20, 64, 1]).ntk_operator(X[some]))

    def learning_rates() -> Any:
        return fastntk.find_learning_rate(
            two, X, labels, epochs=1, batch_size=50, grid=[0.1, 1.0], jobs=2
        ).to_frame()

    return {
        "FiniteNetwork.__call__": lambda: [wired(X), wired.astype("float32")(X)],
        "FiniteNetwork.conjugate_kernel": lambda: wired.conjugate_kernel(X, Z),
        "FiniteNetwork.gradient_features": lambda: wired.gradient_features(X[some]),
        "FiniteNetwork.input_jacobian": lambda: wired.input_jacobian(X),
        "FiniteNetwork.jacobian": lambda: wired.jacobian(X[:20]),
        "FiniteNetwork.jvp": lambda: wired.jvp(X, v_of(wired)),
        "FiniteNetwork.vjp": lambda: wired.vjp(X, np.stack([y, -y], axis=1)),
        "infinite.LayeredNetwork.ntk": lambda: limit.ntk(X),
        "Network.ntk_at_blocks": lambda: list(description.ntk_at_blocks(X, [0, 1]).values()),
        "FiniteNetwork.ntk": lambda: [
            wired.ntk(X),
            wired.ntk(X, Z, outputs="full"),
            wired.ntk(X, out="packed"),
        ],
        "FiniteNetwork.ntk_by_layer": lambda: wired.ntk_by_layer(X),
        "FiniteNetwork.ntk_operator": lambda: wired.ntk_operator(X) @ X,
        "FiniteNetwork.ntk_tiles": lambda: [t.kernel for t in wired.ntk_tiles(X, tile=64)],
        "FiniteNetwork.pair_angles": lambda: wired.pair_angles(X, [(0, 1), (5, 70)]),
        "FiniteNetwork.smallest_angle": lambda: wired.smallest_angle(X, k=3),
        "MLP.ntk_errors": lambda: net.ntk_errors(X),
        "MLP.__call__": lambda: [net(X), net.astype("float32")(X)],
        "MLP.conjugate_kernel": lambda: net.conjugate_kernel(X, Z),
        "MLP.gradient_features": lambda: net.gradient_features(X[some]),
        "MLP.input_jacobian": lambda: two.input_jacobian(X),
        "MLP.jacobian": lambda: two.jacobian(X[:20]),
        "MLP.jvp": lambda: net.jvp(X, v),
        "MLP.vjp": lambda: net.vjp(X, y),
        "MLP.ntk": lambda: [
            net.ntk(X),
            net.ntk(X, Z),
            two.ntk(X, outputs="full"),
            net.ntk(X, out="packed"),
        ],
        "MLP.ntk_by_layer": lambda: net.ntk_by_layer(X),
        "MLP.ntk_operator": lambda: [net.ntk_operator(X) @ X, of_operator()],
        "MLP.ntk_tiles": lambda: [tile.kernel for tile in net.ntk_tiles(X, tile=64)],
        "MLP.pair_angles": lambda: net.pair_angles(X, [(0, 1), (5, 70)]),
        "MLP.smallest_angle": lambda: net.smallest_angle(X, k=3),
        "LinearizedMLP.fit": fit,
        "LinearizedTraining.outputs": lambda: (
            net.linearize().fit(X, y).outputs(Z, time=[0.5, np.inf]),
            net.linearize()(X, v[:, 0]),
        ),
        "linearity.LinearizedMLP.__call__": lambda: two.linearize()(X, v_of(two)),
        "angle_bound": lambda: fastntk.angle_bound(K),
        "angle_curves": lambda: fastntk.angle_curves(
            [0.1, 1.0], [1], ["tanh"], width=64, seeds=2
        ).to_frame(),
        "batch_conditioning": lambda: fastntk.batch_conditioning(K, 70).batches,
        "closest_pairs": lambda: fastntk.closest_pairs(K, 3),
        "conditioning": lambda: [
            fastntk.conditioning(matrix, method=method, k=3, eigenvectors=True)
            for matrix in (K, packed, np.ones((n, n)))
            for method in ("dense", "cholesky")
        ],
        "conjugate_gradients": lambda: fastntk.conjugate_gradients(
            net.ntk_operator(X, block_rows=100), y, ridge=0.1
        ),
        "convergence_rate": lambda: fastntk.convergence_rate(net, X, y, steps=5),
        "depth_study": lambda: pd.concat(
            fastntk.depth_study(
                X, depths=[0, 2], width=64, seeds=1, bounds=True, batches=70, progress=False, **own
            ).to_frame()
            for own in blocks
        ),
        "find_learning_rate": learning_rates,
        "gradient_angles": lambda: fastntk.gradient_angles(K),
        "learning_rate_bound": lambda: fastntk.learning_rate_bound(net, X),
        "linearization_error": lambda: fastntk.linearization_error(
            X, y, [64], depth=2, seeds=1, steps=5
        ).to_frame(),
        "monte_carlo_ntk": lambda: fastntk.monte_carlo_ntk(X[some], [64], depth=2, seeds=2),
        "datasets.near_duplicates": lambda: datasets.near_duplicates(
            datasets.Dataset("samples", X), k=3
        ),
        "depth_sweep.ntk_depths": lambda: fastntk.ntk_depths(X, [0, 2], width=64),
        "smallest_angle": lambda: fastntk.smallest_angle(K),
        "spectrum": lambda: [fastntk.spectrum(K), fastntk.spectrum(packed)],
        "train": lambda: [
            fastntk.train(
                two, X, labels, learning_rate=0.1, epochs=2, batch_size=64, probe=X[:20]
            ).net.weights,
            fastntk.train(net, X, y, learning_rate=0.1, loss="mse", epochs=2).net.weights,
            list(
                fastntk.train(
                    wired, X, labels, learning_rate=0.1, batch_size=70, momentum=0.5
                ).net.parameters
            ),
        ],
        "linearity.hessian_norm": lambda: [
            linearity.hessian_norm(each, X[:2]) for each in (net, wired)
        ],
        "linearity.hessian_vector_product": lambda: [
            linearity.hessian_vector_product(each, X, v_of(each)) for each in (two, wired)
        ],
        "linearity.hessian_operator": lambda: linearity.hessian_operator(two, X) @ v_of(two),
        "linearity.loss_hessian": lambda: linearity.loss_hessian(two, X, labels) @ v_of(two),
        "linearity.kernel_change": lambda: linearity.kernel_change(net, X[:50], v_of(net)),
        "linearity.kernel_drift": lambda: linearity.kernel_drift(
            [two, fastntk.MLP([20, 64, 64, 2], activation="tanh", seed=1)], X[:50]
        ),
        "infinite.Network.ntk": lambda: limit.ntk(X),
        "infinite.Network.ntk_operator": lambda: limit.ntk_operator(X) @ X[:, :3],
        "infinite.Network.ntk_tiles": lambda: [tile.kernel for tile in limit.ntk_tiles(X, tile=90)],
        "infinite.Network.conditioning": lambda: limit.conditioning(X),
        "infinite.Network.smallest_angle": lambda: limit.smallest_angle(X),
        "infinite.Network.regression": lambda: limit.regression(X, ridge=0.1).predict(
            Z, y, time=2.0
        ),
        "infinite.Regression.predict": lambda: [
            infinite.Regression(X, depth=2, ridge=ridge).predict(Z, y, covariance=True)
            for ridge in (1e-3, "auto")
        ],
        "infinite.conditioning": lambda: infinite.conditioning(X, [1, 3]),
        "infinite.kernels": lambda: infinite.kernels(X, Z, depth=2),
        "infinite.nngp": lambda: infinite.nngp(X, Z, depth=2, activation="gelu"),
        "infinite.ntk": lambda: [
            infinite.ntk(X, depth=2, activation=activation) for activation in duals
        ],
        "infinite.ntk_operator": lambda: infinite.ntk_operator(X, 2).columns(range(9)),
        "infinite.ntk_tiles": lambda: [
            tile.kernel for tile in infinite.ntk_tiles(X, Z, 2, tile=50)
        ],
        "infinite.predict": lambda: infinite.predict(X, y, Z, depth=2).mean,
        "infinite.smallest_angle": lambda: infinite.smallest_angle(X, depth=2, k=20),
        "PackedKernel.from_dense": lambda: [packed @ X, packed.frobenius_norm()],
    }


def v_of(net: fastntk.MLP | fastntk.FiniteNetwork) -> Any:
    """Return a direction in the space of the parameters."""
    return np.random.default_rng(1).standard_normal(net.n_parameters)


# What computes with no matrix, or with its samples alone.
WITHOUT_MATRICES = {
    "infinite.LayeredNetwork",
    "infinite.LayeredNetwork.at_blocks",
    "Conditioning.widened",
    "ConstancyStudy.slope",
    "ConvergenceResult.epochs_to",
    "ConvergenceStudy.files",
    "FiniteNetwork",
    "FiniteNetwork.astype",
    "FiniteNetwork.ntk_errors",
    "FiniteNetwork.plan",
    "MLP",
    "MLP.astype",
    "MLP.from_torch",
    "MLP.from_weights",
    "MLP.plan",
    "Network",
    "Network.at_blocks",
    "Network.infinite",
    "Network.sample",
    "PackedKernel",
    "PackedKernel.__rmatmul__",
    "PackedKernel.blocks",
    "PackedKernel.empty",
    "PackedKernel.put",
    "PackedKernel.row",
    "PackedKernel.rows",
    "PackedKernel.submatrix",
    "PackedKernel.tile",
    "architectures.Architecture",
    "architectures.Architecture.network",
    "architectures.Architecture.scale_at",
    "cuda.options",
    "datasets.load_file",
    "depth_sweep.independent_seed",
    "infinite.Network",
    "infinite.Network.at_depth",
    "infinite.Network.embedding_angle",
    "infinite.Network.gradient_angle",
    "infinite.NeuralKernel",
    "infinite.NeuralKernel.diag",
    "infinite.Regression",
    "infinite.angle_map",
    "infinite.edge_of_chaos",
    "infinite.embedding_angle",
    "infinite.gradient_angle",
    "infinite.limit_condition_number",
    "infinite.limit_kernel",
    "linearity.LinearizedMLP",
    "studies.rates.fit_tail",
}

# These call others of those that are tried, or write their results.
SAME = re.compile(
    r"activations\.|figures\.|layers\.|.*\.(save|load|plot)$|constancy_study|convergence_study|kernel_report"
    r"|infinite\.Network\.(kernel_error|kernels|nngp|predict)|infinite\.NeuralKernel\.__call__"
    r"|PackedKernel\.__matmul__|paper\.|sklearn\.|distributed\."
)


def digest(value: Any) -> str:
    """Return what stands for all bits of a result."""
    if isinstance(value, pd.DataFrame):
        timings = [name for name in value.columns if "seconds" in name]
        value = {name: column.tolist() for name, column in value.drop(columns=timings).items()}
    if isinstance(value, fastntk.PackedKernel):
        value = value.data
    if isinstance(value, fastntk.activations.Activation):
        value = repr(value)
    if dataclasses.is_dataclass(value):
        value = [getattr(value, field.name) for field in dataclasses.fields(value)]
    if isinstance(value, dict):
        value = list(value.items())
    if isinstance(value, (list, tuple)):
        return "(" + ",".join(map(digest, value)) + ")"
    if isinstance(value, (float, np.floating)):
        return float(value).hex()
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]
    if value is None or isinstance(value, (str, int, np.integer)):
        return repr(value)
    raise TypeError(f"{type(value)}: not known here")


def digests(calls: dict[str, Callable[[], Any]]) -> dict[str, str]:
    """Return the digest of every result."""
    return {name: digest(call()) for name, call in calls.items()}


def in_threads(count: int, calls: dict[str, Callable[[], Any]]) -> list[dict[str, str]]:
    """Return the digests of so many threads of Python that compute at the same time."""
    found: list[dict[str, str]] = []
    workers = [threading.Thread(target=lambda: found.append(digests(calls))) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == count
    return found


def differing(results: list[dict[str, str]]) -> set[str]:
    return {name for name in results[0] if len({result[name] for result in results}) > 1}


def blas_threads() -> set[int]:
    return {info["num_threads"] for info in threadpool_info() if info["user_api"] == "blas"}


def test_blas_has_one_thread_whichever_thread_of_python_asks() -> None:
    """Also while another one, the main thread, holds a limit of threadpoolctl."""
    with threadpool_limits(2, user_api="blas"):
        seen: list[Any] = []

        def work() -> None:
            seen.append(blas_threads())
            with core_threads() as threads:
                seen.append((threads, blas_threads()))
            seen.append(blas_threads())

        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
        assert seen == [{2}, (2, {1}), {2}]
        work()
        assert seen[3:] == seen[:3]


def test_who_computed_first_does_not_keep_others_from_setting_the_threads_of_blas() -> None:
    ready, done = threading.Event(), threading.Event()

    def work() -> None:
        with core_threads():
            pass
        ready.set()
        done.wait(60)

    worker = threading.Thread(target=work)
    worker.start()
    ready.wait(60)
    try:
        for count in (2, 1):
            with threadpool_limits(count, user_api="blas"):
                assert blas_threads() == {count}
    finally:
        done.set()
        worker.join()


def test_same_bits_in_any_thread_and_for_any_number_of_threads() -> None:
    calls = computations(SAMPLES)
    with threadpool_limits(2, user_api="blas"):
        results = [digests(calls), *in_threads(2, calls)]
    for threads in (1, 3):
        with threadpool_limits(threads, user_api="blas"):
            results.append(digests(calls))
    assert differing(results) == set()


def test_same_bits_of_samples_that_are_not_aligned() -> None:
    """As those are that came from another process, or from the middle of a file."""
    X = np.random.default_rng(0).standard_normal((61, 6))
    moved = np.ndarray(X.shape, X.dtype, buffer=bytearray(X.nbytes + 64), offset=4)
    moved[:] = X
    assert not moved.flags.aligned
    block = layers.Residual([layers.LayerNorm(), layers.Dense(8), layers.ReLU(), layers.Dense(8)])
    described = fastntk.Network([layers.Dense(8), block, layers.Dense(1)], inputs=6)
    for net in (
        infinite.Network(1),
        infinite.Network(2, "gelu", bias_std=0.1),
        described.infinite(),
        described.sample(),
        fastntk.MLP([6, 8, 1]),
    ):
        K = net.ntk(X)
        assert np.array_equal(net.ntk(moved), K)
        kernel = np.ndarray(K.shape, K.dtype, buffer=bytearray(K.nbytes + 64), offset=4)
        kernel[:] = K
        assert digest(fastntk.conditioning(kernel)) == digest(fastntk.conditioning(K))


@pytest.mark.parametrize(
    "activation",
    [*SLOW_DUALS, *(pytest.param(each, marks=pytest.mark.long) for each in SLOWER_DUALS)],
)
def test_same_bits_of_quadratures_for_many_samples(activation: str) -> None:
    """Many samples have products of matrices in their expectations, which BLAS may share out."""
    X = np.random.default_rng(0).standard_normal((701, 20))
    network = infinite.Network(2, activation)
    results = []
    for threads in (2, 1):
        with threadpool_limits(threads, user_api="blas"):
            results.append(
                digests(
                    {
                        "ntk": lambda: network.ntk(X, X[:1]),
                        # Of all pairs, and products with each of them that BLAS shares out as well.
                        "kernel_error": lambda: network.kernel_error(X[:301], np.eye(301)),
                    }
                )
            )
    assert differing(results) == set()


@pytest.mark.long
def test_same_bits_of_larger_matrices() -> None:
    calls = computations(701, QUICK_DUALS + SLOW_DUALS + SLOWER_DUALS)
    with threadpool_limits(2, user_api="blas"):
        results = [digests(calls), *in_threads(1, calls), *in_threads(3, calls)]
    for threads in (1, 3):
        with threadpool_limits(threads, user_api="blas"):
            results.append(digests(calls))
    assert differing(results) == set()


def test_everything_public_is_here() -> None:
    public = {name for name in NAMES if not SAME.match(name)}
    assert set(computations(6)) == public - WITHOUT_MATRICES
    assert public >= WITHOUT_MATRICES


_INFINITE_KERNELS = """
import hashlib, sys
import numpy as np
from fastntk import infinite
X = np.random.default_rng(0).standard_normal((301, 9))
X[7] = 1.0000001 * X[3]
kernels = []
for activation in sys.argv[1:]:
    for bias_std in (0.0, 0.3):
        net = infinite.Network(3, activation, bias_std=bias_std)
        K, angle = net.ntk(X), net.smallest_angle(X)
        kernels.append(hashlib.sha256(K.tobytes()).hexdigest()[:10] + repr(angle.angle))
print(*kernels)
"""


@pytest.mark.long
@pytest.mark.parametrize(
    "activations",
    [
        ["relu", "abs", "identity", "leaky_relu"],
        ["gelu", "erf", "sin", "gaussian", "gabor"],
        ["tanh", "sigmoid", "silu", "softplus"],
        ["relu2", "elu"],
    ],
)
def test_what_has_just_been_compiled_gives_the_bits_of_what_was_before(
    activations: list[str], tmp_path: Path
) -> None:
    found = [
        subprocess.run(
            [sys.executable, "-c", _INFINITE_KERNELS, *activations],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert found[0] == found[1]
