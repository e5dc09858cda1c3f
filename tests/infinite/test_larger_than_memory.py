# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels at infinite width in files, packed, in tiles and as operators: the bits of the whole."""

from __future__ import annotations

import copy
import pickle
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from activation_cases import CUBE
from scipy.sparse.linalg import cg
from threadpoolctl import threadpool_limits

import fastntk
from fastntk import activations, infinite
from fastntk._support import memory
from fastntk.infinite import angle_series, pairs
from fastntk.infinite.kernel_parts import KernelParts
from fastntk.infinite.request import KernelRequest

if TYPE_CHECKING:
    from pathlib import Path

RANDOM = np.random.default_rng(0)
X, Z = RANDOM.standard_normal((90, 5)), RANDOM.standard_normal((37, 5))
X[71] = X[13]  # equal samples off the diagonal
RELU = infinite.Network(3)
BIASED = infinite.Network(2, "gelu", bias_std=0.3)


@pytest.fixture
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles of the library's own of which few samples need many, in all three recursions."""
    monkeypatch.setattr(pairs, "_COSINES", (16, 40))
    monkeypatch.setattr(pairs, "_COMPILED", (10, 32))
    monkeypatch.setattr(pairs, "_GENERAL", (6, 24))
    monkeypatch.setattr(angle_series, "_SHAPE", (16, 40))


def assembled(tiles: Any, shape: tuple[int, int], *, symmetric: bool) -> Any:
    """Put blocks together, and their mirror images; every element must come once."""
    found, times = np.full(shape, np.nan), np.zeros(shape, int)
    for rows, cols, kernel in tiles:
        assert kernel.flags.c_contiguous
        found[rows, cols] = kernel
        times[rows, cols] += 1
        if symmetric and rows != cols:
            assert cols.start < rows.start
            found[cols, rows] = kernel.T
            times[cols, rows] += 1
    assert (times == 1).all()
    return found


def networks(name: str) -> list[infinite.Network]:
    """Return networks with and without a bias; of samples of one norm both are series."""
    return [infinite.Network(2, name), infinite.Network(2, name, bias_std=0.4)]


# These have the loop of another one that is here.
ALIKE = ("selu", "celu", "relu6", "hardtanh", "hardsigmoid", "gelu_tanh", "squareplus")
WITH_TANGENT_KERNEL = [
    pytest.param(name, marks=pytest.mark.long) if name in ALIKE else name
    for name in activations.names()
    if name != "sign"
]


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("name", [*WITH_TANGENT_KERNEL, "custom"])
def test_tiles_have_the_bits_of_the_whole_for_every_activation(name: str) -> None:
    one_norm = X / np.linalg.norm(X, axis=1, keepdims=True)
    for net in networks(CUBE if name == "custom" else name):  # type: ignore[arg-type]
        for samples, other in ((X, None), (X, Z), (one_norm, None)):
            whole = net.ntk(samples, other)
            found = assembled(
                net.ntk_tiles(samples, other, tile=35), whole.shape, symmetric=other is None
            )
            assert np.array_equal(found, whole)


def test_sign_has_a_tiled_kernel_of_outputs_alone(tmp_path: Path) -> None:
    net = infinite.Network(2, "sign")
    assert np.array_equal(net.nngp(X, out=tmp_path / "k.npy"), net.nngp(X))
    for call in (net.ntk_tiles, net.ntk_operator):
        with pytest.raises(ValueError, match="sign"):
            call(X)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("tile", [1, 16, 90, 1000])
def test_tiles_of_any_size(tile: int) -> None:
    every: list[dict[str, Any]] = [{}, {"normalize": True}, {"dtype": "float32"}]
    for options in every:
        whole = BIASED.ntk(X[:30], **options)
        given = list(BIASED.ntk_tiles(X[:30], tile=tile, **options))
        assert {t.kernel.dtype for t in given} == {whole.dtype}
        assert max(max(t.kernel.shape) for t in given) == min(tile, 30)
        assert np.array_equal(assembled(given, (30, 30), symmetric=True), whole)


@pytest.mark.usefixtures("small_tiles")
def test_no_tile_is_computed_twice_in_a_column_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    values = KernelParts.values

    def counted(self: KernelParts, tile: Any) -> Any:
        computed.append((tile.rows.start, tile.columns.start))
        return values(self, tile)

    monkeypatch.setattr(KernelParts, "values", counted)
    parts = KernelRequest.checked(RELU, ("ntk",), X).parts
    list(RELU.ntk_tiles(X, tile=32))  # a multiple of the 16 rows of a tile
    assert sorted(computed) == sorted((t.rows.start, t.columns.start) for t in parts.tiles())


def test_real_tiles_across_the_borders_of_blocks() -> None:
    samples = RANDOM.standard_normal((1300, 3))
    for net in (infinite.Network(1), infinite.Network(1, "erf", bias_std=0.1)):
        found = assembled(net.ntk_tiles(samples, tile=500), (1300, 1300), symmetric=True)
        assert np.array_equal(found, net.ntk(samples))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("other", [None, Z], ids=["X", "X and Z"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_files_and_arrays(kind: str, dtype: str, other: Any, tmp_path: Path) -> None:
    for name, net in (("relu", RELU), ("gelu", BIASED)):
        call = getattr(net, kind)
        whole = call(X, other, dtype=dtype)
        assert whole.dtype == dtype
        path = tmp_path / f"{name}.npy"
        steps: list[tuple[str, int, int]] = []
        mapped = call(
            X, other, dtype=dtype, out=path, progress=lambda *step, steps=steps: steps.append(step)
        )
        assert isinstance(mapped, np.memmap)
        assert mapped.filename == str(path)
        assert np.array_equal(np.load(path), whole)
        assert steps[-1][1] == steps[-1][2] == len(steps) > 5
        given = np.full(whole.shape, np.nan, dtype)
        assert call(X, other, out=given, dtype=dtype) is given
        assert np.array_equal(given, whole)
        every_other = np.full((2 * len(whole), 3 * whole.shape[1]), np.nan, dtype)[::2, ::3]
        call(X, other, out=every_other, dtype=dtype)
        assert np.array_equal(every_other, whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gelu.npy", "relu.npy"]


def test_precisions() -> None:
    """In float64 it is the kernel of the samples in float64; in float32 rounded once."""
    single = X.astype(np.float32)
    assert np.array_equal(RELU.ntk(single, dtype="float64"), RELU.ntk(single.astype(np.float64)))
    assert np.array_equal(RELU.ntk(X, dtype="float32"), RELU.ntk(X).astype(np.float32))
    assert RELU.ntk(single).dtype == np.float32
    assert RELU.ntk(single, Z).dtype == np.float64


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("n", [1, 2, 3, 16, 17, 90, 89])
def test_packed(n: int) -> None:
    for net in (RELU, BIASED):
        packed = net.ntk(X[:n], out="packed")
        assert isinstance(packed, fastntk.PackedKernel)
        assert np.array_equal(packed.to_dense(), net.ntk(X[:n]))
    assert net.nngp(X[:n], out="packed", dtype="float32").dtype == np.float32


def test_a_file_that_is_there_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "k.npy"
    written = np.array(RELU.ntk(X, out=path))
    with monkeypatch.context() as patch:
        patch.setattr(KernelRequest, "parts", None)  # no work before that
        with pytest.raises(FileExistsError, match=r"out: a file is there: expected a name that is"):
            BIASED.ntk(X, out=path)
    assert np.array_equal(np.load(path), written)
    assert np.array_equal(BIASED.ntk(X, out=path, overwrite=True), BIASED.ntk(X))
    assert np.array_equal(np.load(path), BIASED.ntk(X))


@pytest.mark.usefixtures("small_tiles")
def test_an_interrupted_file_does_not_appear(tmp_path: Path) -> None:
    def interrupt(_: str, done: int, total: int) -> None:
        if done == total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        RELU.ntk(X, out=tmp_path / "kernel.npy", progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OverflowError, match="too large for float32"):
        RELU.ntk(X * 1e30, out=tmp_path / "kernel.npy", dtype="float32")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RELU.ntk(X, out=np.empty((3, 4))), ValueError, r"out has shape \(3, 4\) and dty"),
        (
            lambda: RELU.ntk(X, out=np.broadcast_to(0.0, (90, 90))),
            ValueError,
            "and is read-only: expected a writable array",
        ),
        (lambda: RELU.ntk(X, out="kernel.csv"), ValueError, "out='kernel.csv': expected a file th"),
        (lambda: RELU.ntk(X, Z, out="packed"), ValueError, r"Z of shape \(37, 5\): expected None"),
        (lambda: RELU.ntk(X, overwrite=1), TypeError, "overwrite=1: expected True or False"),  # type: ignore[call-overload]
        (lambda: RELU.ntk(X, dtype="float16"), ValueError, "dtype='float16': expected 'float32'"),
        (lambda: RELU.ntk_tiles(X, tile=0), ValueError, "tile=0: expected an integer of at least"),
        (lambda: RELU.ntk_tiles(X, Z[:, :2]), ValueError, r"Z has shape \(37, 2\): expected 5 co"),
        (lambda: RELU.ntk_tiles(X, normalize=2), TypeError, "normalize=2: expected True or False"),  # type: ignore[arg-type]
        (
            lambda: RELU.ntk_tiles(0 * X, normalize=True),
            ValueError,
            r"X\[0\] has a kernel of 0 at depth 3",
        ),
        (lambda: RELU.ntk_operator(X * 1e200), OverflowError, "kernel is too large for float64"),
        (lambda: RELU.ntk_operator(X).columns([90]), ValueError, r"indices\[0\]=90: expected an i"),
        (lambda: RELU.ntk_operator(X).columns([]), ValueError, r"indices=\[\]: expected at least"),
        (lambda: RELU.ntk_operator(X) @ np.ones(3), ValueError, "dimension mismatch"),
        (
            lambda: RELU.ntk_operator(X) @ np.full(90, 1e308),
            OverflowError,
            r"products with vectors up to 1e\+308 leave the range of float64: expected smaller",
        ),
        (lambda: RELU.smallest_angle(X, k=0), ValueError, "k=0: expected an integer of at least 1"),
        (lambda: RELU.smallest_angle(X, k=1.5), TypeError, "k=1.5: expected an integer"),  # type: ignore[call-overload]
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_of_one_depth() -> None:
    several = infinite.Network([1, 2])
    calls: list[Any] = [
        lambda: several.ntk(X, out="packed"),
        lambda: several.ntk(X, out=np.empty((2, 90, 90))),
        lambda: several.ntk_tiles(X),
        lambda: several.ntk_operator(X),
    ]
    for call in calls:
        with pytest.raises(TypeError, match=r"depth=\[1, 2\]: expected an integer, .* at_depth"):
            call()


# Operators.


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("net", [RELU, BIASED, infinite.Network(1, "tanh")], ids=str)
def test_products(net: infinite.Network) -> None:
    every: list[dict[str, Any]] = [{}, {"normalize": True}]
    for options in every:
        K, operator = net.ntk(X, **options), net.ntk_operator(X, **options)
        assert (operator.shape, operator.dtype) == ((90, 90), np.dtype(np.float64))
        V = RANDOM.standard_normal((90, 4))
        found = operator @ V
        size = np.abs(K) @ np.abs(V)
        assert (np.abs(found - K @ V) <= 1e-14 * size).all()
        assert (np.abs(operator @ V[:, 0] - K @ V[:, 0]) <= 1e-14 * size[:, 0]).all()
        assert (np.abs(operator.rmatvec(V[:, 1]) - K @ V[:, 1]) <= 1e-14 * size[:, 1]).all()
        # Each element once, with its bits: of products with unit vectors.
        assert np.array_equal(operator @ np.eye(90), K)
        assert np.array_equal(operator.diagonal(), K.diagonal())


@pytest.mark.usefixtures("small_tiles")
def test_products_in_float32() -> None:
    K, operator = BIASED.ntk(X, dtype="float32"), BIASED.ntk_operator(X, dtype="float32")
    found = operator @ np.eye(90)
    assert found.dtype == operator.dtype == np.float32
    assert np.array_equal(found, K)
    assert np.array_equal(operator.diagonal(), K.diagonal())
    assert operator.columns([3]).dtype == np.float32
    single = BIASED.ntk_operator(X.astype(np.float32))
    assert single.dtype == np.float32
    with pytest.raises(OverflowError, match=r"up to 1e\+39 leave the range of float32"):
        operator @ np.full(90, 1e39)


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("name", ["relu", "gelu", "tanh", "polynomial"])
def test_columns(name: str) -> None:
    phi: Any = activations.polynomial(0.2, 0.7, -0.3) if name == "polynomial" else name
    one_norm = X / np.linalg.norm(X, axis=1, keepdims=True)
    for net in networks(phi):
        for samples in (X, one_norm):
            K, operator = net.ntk(samples), net.ntk_operator(samples)
            indices = [13, 71, 0, 89, 13]
            assert operator.columns(np.array(indices)) == pytest.approx(K[:, indices], rel=1e-13)
    huge = BIASED.ntk_operator(X * 1e100)  # samples that are scaled by powers of two
    assert huge.columns([5]) == pytest.approx(BIASED.ntk(X * 1e100)[:, [5]], rel=1e-13)


def test_columns_of_more_than_a_tile() -> None:
    samples = RANDOM.standard_normal((2100, 3))
    chosen = list(range(0, 2100, 60))
    operator = infinite.Network(1).ntk_operator(samples)
    cross = infinite.Network(1).ntk(samples, samples[chosen])
    assert operator.columns(chosen) == pytest.approx(cross, rel=1e-13)


def test_the_same_bits_for_any_number_of_threads() -> None:
    samples = RANDOM.standard_normal((1500, 4))
    V = RANDOM.standard_normal((1500, 3))
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            operator = infinite.Network(1, "erf").ntk_operator(samples)
            tiles = infinite.Network(1, "erf").ntk_tiles(samples, tile=900)
            found.append((operator @ V, operator.columns([7]), *(t.kernel for t in tiles)))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_operators_keep_their_samples() -> None:
    mine = X.copy()
    operator = RELU.ntk_operator(mine)
    before = operator @ np.ones(90)
    mine[:] = 0
    assert np.array_equal(operator @ np.ones(90), before)
    for other in (copy.deepcopy(operator), pickle.loads(pickle.dumps(operator))):
        assert np.array_equal(other @ np.ones(90), before)
        assert np.array_equal(other.columns([4]), operator.columns([4]))
    assert len(pickle.dumps(BIASED.ntk_operator(X))) < 2 * X.nbytes


def test_solvers_of_scipy_take_it() -> None:
    operator = BIASED.ntk_operator(X[:60])
    solution, code = cg(operator, X[:60, 0], rtol=1e-8, maxiter=500)
    assert code == 0
    assert BIASED.ntk(X[:60]) @ solution == pytest.approx(X[:60, 0], abs=1e-6)
    result = fastntk.conditioning(operator)
    exact = BIASED.conditioning(X[:60])
    assert result.eigenvalue_max == pytest.approx(exact.eigenvalue_max, rel=1e-8)


# Memory.


def peak_of(call: Any) -> int:
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_bounded(tmp_path: Path) -> None:
    """The kernel has 32 MiB; beside it there are tiles of 1 MiB, some for each thread."""
    samples = RANDOM.standard_normal((2048, 3))
    net = infinite.Network(1)
    whole = samples.shape[0] ** 2 * 8
    path = tmp_path / "k.npy"
    operator = net.ntk_operator(samples)
    calls: dict[str, tuple[Any, float]] = {
        "file": (lambda: net.ntk(samples, out=path, overwrite=True), 0.25),
        "packed": (lambda: net.ntk(samples, out="packed"), 0.75),
        "tiles": (lambda: [t.kernel[0, 0] for t in net.ntk_tiles(samples, tile=256)], 0.3),
        "product": (lambda: operator @ np.ones(2048), 0.25),
        "columns": (lambda: operator.columns([1, 2]), 0.25),
        "closest": (lambda: net.smallest_angle(samples, k=50), 0.3),
    }
    with threadpool_limits(2, user_api="blas"):
        for name, (call, share) in calls.items():
            assert peak_of(call) < share * whole, name


def test_what_does_not_fit_says_what_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    K, operator = RELU.ntk(X), RELU.ntk_operator(X)
    monkeypatch.setattr(memory, "available_memory", lambda: K.nbytes - 1)
    with pytest.raises(MemoryError, match=r"kernel\(s\) of 90 × 90 .* write one kernel to a file"):
        RELU.ntk(X)
    assert np.array_equal(RELU.ntk(X, out=tmp_path / "k.npy"), K)
    assert np.array_equal(RELU.ntk(X, out="packed").row(3), K[3])
    assert np.array_equal(operator @ np.eye(90)[:, :1], K[:, :1])
    calls: list[tuple[Any, str]] = [
        (lambda: next(RELU.ntk_tiles(X, tile=90)), r"a tile of 90 × 90 .*: take a smaller tile"),
        (lambda: operator.columns(range(90)), r"indices: 90 × 90 elements .*: take fewer columns"),
        (lambda: operator @ np.eye(90), r"products with 90 vectors of 90 .*: take fewer vectors"),
    ]
    for call, message in calls:
        with pytest.raises(MemoryError, match=message):
            call()
    monkeypatch.setattr(memory, "available_memory", lambda: X.nbytes - 1)
    with pytest.raises(MemoryError, match=r"a copy of X of \(90, 5\) needs .*: take fewer samples"):
        RELU.ntk_operator(X)


# Condition numbers.


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_conditioning_of_what_comes_out(dtype: str, tmp_path: Path) -> None:
    samples = X[:60]
    truth = BIASED.conditioning(samples)
    K = BIASED.ntk(samples, dtype=dtype)
    mapped = BIASED.ntk(samples, dtype=dtype, out=tmp_path / "k.npy")
    packed = BIASED.ntk(samples, dtype=dtype, out="packed")
    errors = [BIASED.kernel_error(samples, kernel) for kernel in (K, mapped, packed)]
    assert errors[1:] == pytest.approx(errors[:1] * 2, rel=1e-14)
    exact = BIASED.ntk(samples)
    off = float(np.linalg.norm(K.astype(np.float64) - exact, 2))
    assert off <= errors[0] < 1e-6 * truth.eigenvalue_max
    for kernel in (mapped, packed):
        found = fastntk.conditioning(kernel, kernel_error=errors[0])
        assert found.bounds is not None
        assert truth.condition_number in found.bounds.condition_number
        assert found.eigenvalue_min == pytest.approx(truth.eigenvalue_min, rel=1e-3)
    if dtype == "float64":
        assert fastntk.conditioning(mapped, kernel_error=errors[0]) == truth
    with pytest.raises(ValueError, match=r"kernel has shape \(60, 60\): expected that of X with"):
        BIASED.kernel_error(X, packed)


# Closest pairs.


def angles_of(net: infinite.Network, samples: Any) -> list[tuple[float, int, int]]:
    """Return all pairs by the angles of the whole kernel."""
    cosines = np.clip(net.ntk(samples, normalize=True), -1, 1)
    i, j = np.triu_indices(len(samples), 1)
    return sorted(zip(np.arccos(cosines[i, j]).tolist(), i.tolist(), j.tolist(), strict=True))


@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("net", [RELU, infinite.Network(2, bias_std=0.5), BIASED], ids=str)
def test_the_closest_pairs(net: infinite.Network) -> None:
    samples = X.copy()
    samples[71] = 1.1 * samples[13] + 0.1
    expected = angles_of(net, samples)
    for k in (1, 7, 60 if net != RELU else 4005):
        found = net.smallest_angle(samples, k)
        assert [(pair.i, pair.j) for pair in found] == [pair[1:] for pair in expected[:k]]
        for pair, (angle, _, _) in zip(found, expected, strict=False):
            assert pair.angle == pytest.approx(angle, rel=1e-7)
            assert pair.resolved
    assert net.smallest_angle(samples) == net.smallest_angle(samples, k=1)[0]
    few = samples[10:15]
    assert len(net.smallest_angle(few, k=10**6)) == 10  # there are no more
    with threadpool_limits(1, user_api="blas"):
        assert net.smallest_angle(samples, k=7) == found[:7]


def test_the_first_of_equal_pairs() -> None:
    samples = np.tile(RANDOM.standard_normal((2, 3)), (200, 1))
    for net in (RELU, infinite.Network(2, bias_std=0.5)):
        found = net.smallest_angle(samples, k=5)
        assert [(pair.angle, pair.i, pair.j) for pair in found] == [
            (0.0, 0, j) for j in (2, 4, 6, 8, 10)
        ]
    assert infinite.smallest_angle(samples, 3, k=5) == RELU.smallest_angle(samples, k=5)


def test_functions_ask_networks(tmp_path: Path) -> None:
    options: dict[str, Any] = {"depth": 2, "activation": "gelu", "bias_std": 0.3}
    K = BIASED.ntk(X)
    tiles = infinite.ntk_tiles(X, tile=40, **options)
    assert np.array_equal(assembled(tiles, (90, 90), symmetric=True), K)
    assert np.array_equal(infinite.ntk_operator(X, **options) @ np.eye(90), K)
    assert np.array_equal(infinite.ntk(X, out="packed", **options).to_dense(), K)
    path = tmp_path / "k.npy"
    assert np.array_equal(
        infinite.nngp(X, out=path, dtype="float32", **options), BIASED.nngp(X, dtype="float32")
    )
    with pytest.raises(FileExistsError):
        infinite.nngp(X, out=path, **options)
