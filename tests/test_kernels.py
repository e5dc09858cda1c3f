# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels by output, by layer and by tile; to arrays and files; layer weights; closest pairs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tolerances import assert_close

import fastntk
from fastntk._support import memory
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels import block_loop, block_sizes, closest_pairs, planning
from fastntk.kernels.request import KernelRequest
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = ["float32", "float64"]


def normal(*shape: int, seed: int = 0) -> npt.NDArray[np.float64]:
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.fixture
def net() -> fastntk.MLP:
    return fastntk.MLP([6, 20, 30, 3], bias_std=0.3, activation="gelu", seed=2)


@given(
    st.lists(st.integers(1, 7), min_size=2, max_size=5),
    st.sampled_from(["relu", "tanh", "identity"]),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from(DTYPES),
    st.integers(1, 20),
)
def test_outputs(widths: list[int], activation: str, bias_std: float, dtype: str, n: int) -> None:
    net = fastntk.MLP(widths, activation=activation, bias_std=bias_std, dtype=dtype)
    X, Z = normal(n, widths[0]).astype(dtype), normal(4, widths[0], seed=1).astype(dtype)
    outputs = widths[-1]
    F, G = net.jacobian(X).astype(float), net.jacobian(Z).astype(float)
    full = np.einsum("icp,jdp->ijcd", F, G)
    assert_close(net.ntk(X, Z, outputs="full"), full, dtype)
    assert_close(net.ntk(X, Z, outputs="diagonal"), np.einsum("ijcc->ijc", full), dtype)
    assert_close(net.ntk(X, Z), np.einsum("ijcc->ij", full), dtype)
    symmetric = net.ntk(X, outputs="full")
    assert symmetric.shape == (n, n, outputs, outputs)
    assert np.array_equal(symmetric, symmetric.transpose(1, 0, 3, 2))
    assert_close(symmetric, np.einsum("icp,jdp->ijcd", F, F), dtype)
    matrix = symmetric.transpose(0, 2, 1, 3).reshape(n * outputs, n * outputs)
    rows = F.reshape(n * outputs, -1)
    assert_close(matrix, rows @ rows.T, dtype)


def test_full_kernel_across_tiles() -> None:
    net = fastntk.MLP([5, 9, 2])
    X = normal(150, 5)
    F = net.jacobian(X)
    K = net.ntk(X, outputs="full")
    assert_close(K, np.einsum("icp,jdp->ijcd", F, F), "float64")
    assert np.array_equal(K, K.transpose(1, 0, 3, 2))


def test_layers_add_up(net: fastntk.MLP) -> None:
    X, Z = normal(70, 6), normal(9, 6, seed=1)
    for pair in ((X,), (X, Z)):
        layers = net.ntk_by_layer(*pair)
        assert len(layers) == 3
        assert_close(layers.sum(axis=0), net.ntk(*pair), "float64")
    sizes = [w.size + b.size for w, b in zip(net.weights, net.biases or (), strict=True)]
    ends = np.cumsum([0, *sizes])
    for output in range(3):
        F = net.gradient_features(X, output)
        by_layer = net.ntk_by_layer(X, outputs=output)
        for layer, (first, last) in enumerate(itertools.pairwise(ends)):
            part = F[:, first:last]
            assert_close(by_layer[layer], part @ part.T, "float64")
            only = np.eye(3)[layer]
            assert_close(net.ntk(X, outputs=output, layer_weights=only), part @ part.T, "float64")


def test_layer_weights_of_weights_and_biases(net: fastntk.MLP) -> None:
    X = normal(12, 6)
    omega = np.array([[0.5, 2.0], [0.0, 1.0], [3.0, 0.25]])
    scale = np.concatenate(
        [
            np.sqrt(o)
            for (ow, ob), w in zip(omega, net.weights, strict=True)
            for o in (np.full(w.size, ow), np.full(len(w), ob))
        ]
    )
    J = net.jacobian(X) * scale
    expected = np.einsum("icp,jcp->ij", J, J)
    assert_close(net.ntk(X, layer_weights=omega), expected, "float64")
    assert_close(net.ntk_operator(X, layer_weights=omega) @ np.eye(12), expected, "float64")


@pytest.mark.parametrize("bias_std", [0.0, 0.7])
def test_standard_parametrization(bias_std: float) -> None:
    arguments: dict[str, Any] = {"bias_std": bias_std, "weight_std": 1.3, "seed": 5}
    ntk = fastntk.MLP([4, 30, 20, 2], **arguments)
    standard = fastntk.MLP([4, 30, 20, 2], parametrization="standard", **arguments)
    X = normal(15, 4)
    assert_close(standard(X), ntk(X), "float64")
    widths = np.array([4, 30, 20])
    bias = 1 / bias_std**2 if bias_std else 1.0
    omega = np.column_stack([widths / 1.3**2, np.full(3, bias)])
    assert_close(standard.ntk(X), ntk.ntk(X, layer_weights=omega), "float64")
    J = standard.jacobian(X)
    assert_close(standard.ntk(X), np.einsum("icp,jcp->ij", J, J), "float64")


def test_init_scale() -> None:
    X = normal(5, 4)
    plain = fastntk.MLP([4, 9, 9, 1])
    double = fastntk.MLP([4, 9, 9, 1], init_scale=2.0)
    assert_close(double(X), 8 * plain(X), "float64")  # ReLU is homogeneous
    each = fastntk.MLP([4, 9, 9, 1], init_scale=[1, 3, 0.5])
    assert_close(each.weights[1], 3 * plain.weights[1], "float64")
    assert_close(each(X), 1.5 * plain(X), "float64")


def test_conjugate_kernel(net: fastntk.MLP) -> None:
    X, Z = normal(10, 6), normal(3, 6, seed=1)
    assert_close(net.conjugate_kernel(X), net.ntk_by_layer(X, outputs=0)[-1], "float64")
    assert_close(net.conjugate_kernel(X, Z), net.ntk_by_layer(X, Z, outputs=1)[-1], "float64")
    flat = fastntk.MLP([6, 1])
    assert_close(flat.conjugate_kernel(X), X @ X.T / 6, "float64")


@pytest.mark.parametrize("tile", [1, 7, 64, 100, 999])
def test_tiles_are_the_matrix(net: fastntk.MLP, tile: int) -> None:
    X, Z = normal(100, 6), normal(33, 6, seed=1)
    K = net.ntk(X)
    seen = np.zeros((100, 100), dtype=int)
    for rows, cols, block in net.ntk_tiles(X, tile=tile):
        seen[rows, cols] += 1
        assert_close(block, K[rows, cols], "float64")
    assert (seen + seen.T >= 1).all()
    assert (np.tril(seen) <= 1).all()
    K = net.ntk(X, Z, outputs=1, dtype="float32")
    out = np.full(K.shape, np.nan)
    for rows, cols, block in net.ntk_tiles(X, Z, tile=tile, outputs=1, dtype="float32"):
        out[rows, cols] = block
    assert_close(out, K, "float32")


@pytest.mark.parametrize("samples", [3, 20, 50])
def test_features_that_do_not_fit_are_computed_again(
    net: fastntk.MLP, monkeypatch: pytest.MonkeyPatch, samples: int
) -> None:
    X, Z = normal(100, 6), normal(33, 6, seed=1)
    expected, K, cross = net.smallest_angle(X, k=20), net.ntk(X), net.ntk(X, Z)
    for module in (block_loop, closest_pairs):
        monkeypatch.setattr(module, "samples_that_fit", lambda r: min(r.samples, samples))
    assert net.smallest_angle(X, k=20) == expected
    for rows, cols, block in net.ntk_tiles(X, tile=40):
        assert_close(block, K[rows, cols], "float64")
    for rows, cols, block in net.ntk_tiles(X, Z, tile=40):
        assert_close(block, cross[rows, cols], "float64")


def test_how_many_features_fit(net: fastntk.MLP, monkeypatch: pytest.MonkeyPatch) -> None:
    placed = PlacedNetwork(net.network, PROCESSOR)
    each = placed.feature_bytes(1, 3, net.dtype)

    def fit(samples: int) -> int:
        X = np.empty((samples, 6))
        return block_sizes.samples_that_fit(
            KernelRequest(placed, X, None, range(3), "none", net.dtype)
        )

    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 100 * each)
    assert fit(80) == 80
    assert fit(81) == 80
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: None)
    assert fit(81) == 81


@pytest.mark.parametrize("count", [1, 3])
def test_out_to_arrays_and_files(
    net: fastntk.MLP, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    if count > 1:
        monkeypatch.setattr(block_loop, "block_rows", lambda *_: 40)
    X, Z = normal(100, 6), normal(50, 6, seed=1)
    K = net.ntk(X)
    array = np.full((100, 100), np.nan)
    assert net.ntk(X, out=array) is array
    assert_close(array, K, "float64")
    assert np.array_equal(array, array.T)
    mapped = net.ntk(X, out=tmp_path / "kernel.npy", dtype="float32")
    assert isinstance(mapped, np.memmap)
    assert_close(np.load(tmp_path / "kernel.npy"), K, "float32")
    assert [p.name for p in tmp_path.iterdir()] == ["kernel.npy"]
    cross = np.empty((100, 50))
    net.ntk(X, Z, out=cross, outputs=2)
    assert_close(cross, net.ntk(X, Z, outputs=2), "float64")
    steps: list[tuple[str, int, int]] = []
    net.ntk(X, out=array, progress=lambda *step: steps.append(step))
    assert steps[-1][1] == steps[-1][2]
    assert count == 1 or [done for _, done, _ in steps] == list(range(1, len(steps) + 1))


def test_an_interrupted_file_does_not_appear(net: fastntk.MLP, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        net.ntk(normal(20, 6), out=tmp_path / "kernel.npy", progress=interrupt)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((3, 4)), r"out has shape \(3, 4\) and dtype float64: expected .* \(5, 5\)"),
        (np.empty((5, 5), np.float32), "dtype float32: expected a writable array"),
        ("kernel.csv", r"out='kernel.csv': expected a file that ends in .npy, or an array"),
    ],
)
def test_bad_out(net: fastntk.MLP, out: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        net.ntk(normal(5, 6), out=out)
    with pytest.raises(ValueError, match="outputs='full': expected 'trace' or one output with"):
        net.ntk(normal(5, 6), out=out, outputs="full")


def test_rows_go_in_blocks_when_memory_is_short() -> None:
    network = PlacedNetwork(fastntk.MLP([10, 100, 1]).network, PROCESSOR)

    def rows_at_once(samples: int, memory: int | None) -> int:
        X = np.broadcast_to(np.zeros(10), (samples, 10))
        request = KernelRequest(network, X, None, range(1), "none", np.dtype(np.float64))
        return block_sizes.block_rows(request, memory)

    assert rows_at_once(10**6, None) == 10**6
    rows = rows_at_once(10**5, 10**8)
    assert 256 <= rows < 10**4
    assert rows * (2 * 210 * 8 + 8 * rows) <= 5 * 10**7


@pytest.mark.parametrize(
    "weights",
    [[1.0, 2.0], [[1.0]] * 3, [1.0, -1.0, 0.0], [1.0, np.nan, 1.0], "abc", None, [0.0, 0.0, 0.0]],
)
def test_bad_layer_weights(net: fastntk.MLP, weights: Any) -> None:
    if weights is None:
        weights = [[1.0, 2.0, 3.0]] * 3
    with pytest.raises(
        ValueError, match=r"layer_weights=.*: expected 3 numbers, one for each layer"
    ):
        net.ntk(normal(5, 6), layer_weights=weights)


def brute_force(net: fastntk.MLP, X: npt.NDArray[np.float64]) -> list[tuple[float, int, int]]:
    J = net.jacobian(X).reshape(len(X), -1)
    unit = J / np.linalg.norm(J, axis=1, keepdims=True)
    pairs = [
        (
            2 * np.arctan2(np.linalg.norm(unit[i] - unit[j]), np.linalg.norm(unit[i] + unit[j])),
            i,
            j,
        )
        for i in range(len(X))
        for j in range(i + 1, len(X))
    ]
    return sorted(pairs)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("dtype", DTYPES)
def test_closest_pairs(activation: str, outputs: int, dtype: str) -> None:
    net = fastntk.MLP([5, 20, 15, outputs], activation=activation, bias_std=0.2, dtype=dtype)
    X = normal(80, 5).astype(dtype).astype(np.float64)
    expected = brute_force(net.astype("float64"), X)
    found = net.smallest_angle(X, k=7)
    assert [(p.i, p.j) for p in found] == [(i, j) for _, i, j in expected[:7]]
    np.testing.assert_allclose(
        [p.angle for p in found], [a for a, _, _ in expected[:7]], rtol=1e-10
    )
    assert net.smallest_angle(X) == found[0]
    assert len(net.smallest_angle(X[:4], k=99)) == 6


@pytest.mark.parametrize("activation", ["relu", "identity", "tanh", "gelu", "softplus"])
@pytest.mark.parametrize("exponent", [-4, -7, -9, -12])
def test_near_duplicates_keep_their_digits(activation: str, exponent: int) -> None:
    """The angle is proportional to a small distance: the factor must not depend on it."""
    net = fastntk.MLP([4, 40, 40, 1], activation=activation, bias_std=0.1, seed=3)
    X = normal(30, 4)
    X[21] = X[8]
    direction = np.array([1.0, -2.0, 0.5, 3.0])

    def angle(step: float) -> float:
        moved = X.copy()
        moved[21] = X[8] + step * direction
        pair = net.smallest_angle(moved)
        assert (pair.i, pair.j) == (8, 21)
        # What the sample really moved, after rounding.
        exact = np.linalg.norm(moved[21] - X[8]) / np.linalg.norm(direction)
        return pair.angle / float(exact)

    # Central values: for steps ±s the second-order terms cancel.
    small = (angle(2.0**-36) + angle(-(2.0**-36))) / 2
    step = 2.0 ** np.round(exponent * np.log2(10))
    rounding = 1e-16 / 10.0**exponent
    found = (angle(step) + angle(-step)) / 2
    if activation != "relu" or exponent < -4:  # no unit switches between the samples
        assert found == pytest.approx(small, rel=1e-6 + 20 * rounding, abs=0)


def test_equal_and_parallel_samples() -> None:
    net = fastntk.MLP([4, 40, 40, 1])
    X = normal(20, 4)
    X[13] = X[5]
    assert net.smallest_angle(X)[:3] == (0.0, 5, 13)
    X[13] = 2 * X[5]  # without biases ReLU networks have parallel gradients there
    pair = net.smallest_angle(X)
    assert pair.angle < 1e-15
    assert (pair.i, pair.j) == (5, 13)


def test_samples_without_a_gradient_are_left_out() -> None:
    net = fastntk.MLP([4, 40, 1])
    X = normal(10, 4)
    X[3] = 0.0
    expected = net.smallest_angle(np.delete(X, 3, axis=0))
    assert net.smallest_angle(X).angle == pytest.approx(expected.angle, rel=1e-12, abs=0)
    with pytest.raises(ValueError, match="X of 2 samples has fewer than two with a gradient"):
        net.smallest_angle(X[2:4])
    with pytest.raises(ValueError, match="k=0: expected"):
        net.smallest_angle(X, k=0)


def test_pair_angles() -> None:
    net = fastntk.MLP([4, 30, 2], activation="silu")
    X = normal(9, 4)
    expected = {(i, j): a for a, i, j in brute_force(net, X)}
    for angle, i, j, resolved in net.pair_angles(X, list(expected)):
        assert angle == pytest.approx(expected[i, j], rel=1e-12, abs=0)
        assert resolved
    assert net.pair_angles(X, []) == []
    with pytest.raises(
        ValueError, match=r"pairs\[1\]=\(3, 9\): expected two rows of X, from 0 to 8"
    ):
        net.pair_angles(X, [(0, 1), (3, 9)])


def test_closest_pairs_do_not_depend_on_threads() -> None:
    from threadpoolctl import threadpool_limits

    net = fastntk.MLP([3, 30, 1])
    X = normal(700, 3)
    found = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            found.append(net.smallest_angle(X, k=50))
    assert found[0] == found[1] == found[2]


def test_depths_with_weights_of_their_own() -> None:
    from fastntk.kernels.depth_sweep import independent_seed

    X = normal(12, 5)
    kernels = fastntk.ntk_depths(
        X, [0, 2], width=16, activation="tanh", bias_std=0.5, seed=4, shared=False
    )
    assert independent_seed(4, 0) != independent_seed(4, 2)
    for depth, K in kernels.items():
        net = fastntk.MLP(
            [5, *[16] * depth, 1],
            activation="tanh",
            bias_std=0.5,
            seed=independent_seed(4, depth),
        )
        assert_close(K, net.ntk(X), "float64")


def test_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    net = fastntk.MLP([10, 100, 100, 1])
    X = normal(50, 10)
    plan = net.plan(X)
    assert plan.kernel_bytes == 50 * 50 * 8
    assert plan.feature_bytes == 50 * (10 + 4 * 100) * 8
    assert plan.flops == 50 * 2 * (1000 + 2 * 10000) + 50 * 50 * (10 + 400)
    assert plan.seconds > 0
    assert plan.strategy == "in memory"
    cross = net.plan(X, X[:20])
    assert cross.kernel_bytes == 50 * 20 * 8
    assert cross.flops == 70 * 2 * (1000 + 2 * 10000) + 2 * 50 * 20 * (10 + 400)
    for available, strategy in ((170_000, "out to a file"), (1000, "recompute features")):
        monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
        monkeypatch.setattr(memory, "available_memory", lambda available=available: available)
        monkeypatch.setattr(block_sizes, "_SMALLEST_BLOCK", 1)
        assert net.plan(X).strategy == strategy
    assert "GFLOP" in str(plan)


def test_the_cost_of_several_layers_and_outputs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_multiplication_rate", lambda _: 1e9)
    net = fastntk.MLP([3, 5, 7, 4, 2], dtype="float32")
    X = np.zeros((6, 3), dtype=np.float32)
    plan = net.plan(X)
    passes = 2 * (3 * 5 + 5 * 7 + 7 * 4) + 2 * 2 * (5 * 7 + 7 * 4)
    inner = 3 + 5 + 7 + 4 + 2 * (5 + 7 + 4)
    assert plan.flops == 6 * passes + 36 * inner
    assert plan.seconds == plan.flops / 0.85e9
    assert plan.feature_bytes == 6 * inner * 4
    assert str(plan) == (
        "4.28e-06 GFLOP, about 5e-06 s; kernel 144 bytes, features 1.2 KiB; in memory"
    )
    cross = net.plan(X, X[:4])
    assert cross.flops == 10 * passes + 2 * 24 * inner
    assert cross.kernel_bytes == 4 * 24
