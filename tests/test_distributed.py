# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels as arrays of Dask: the bits of the plain calls, from samples that lie anywhere."""

from __future__ import annotations

import pickle
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk import infinite
from fastntk._support.dask_workers import share_of_threads
from fastntk._support.threads import core_threads
from fastntk.infinite.kernel_parts import KernelParts
from fastntk.kernels import planning
from fastntk.kernels.features import Features

if TYPE_CHECKING:
    from collections.abc import Iterator

da = pytest.importorskip("dask.array", reason="needs fastntk[distributed]")
zarr = pytest.importorskip("zarr", reason="needs fastntk[distributed]")
dask = pytest.importorskip("dask", reason="needs fastntk[distributed]")

from fastntk import distributed  # noqa: E402
from fastntk._support import worker_memory  # noqa: E402
from fastntk._support.worker_memory import KEPT  # noqa: E402
from fastntk.distributed import arrays, tiled_kernels  # noqa: E402

RANDOM = np.random.default_rng(0)
X, Z = RANDOM.standard_normal((150, 6)), RANDOM.standard_normal((70, 6))
NET = fastntk.MLP([6, 20, 30, 3], bias_std=0.3, activation="gelu", seed=2)
LIMIT = infinite.Network(2, "tanh", bias_std=0.1)


@pytest.fixture(autouse=True)
def in_this_thread() -> Iterator[None]:
    KEPT.clear()
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.parametrize("other", [None, Z], ids=["X", "X and Z"])
@pytest.mark.parametrize("chunks", [64, 37, 1000])
def test_tiles_have_the_bits_of_the_whole(chunks: int, other: Any) -> None:
    wanted: list[dict[str, Any]] = [
        {},
        {"outputs": 1, "dtype": "float32"},
        {"outputs": "diagonal"},
        {"outputs": "full"},
        {"layer_weights": [1, 0, 0.5]},
    ]
    for options in wanted:
        K = distributed.ntk(NET, X, other, chunks=chunks, **options)
        whole = NET.ntk(X, other, **options)
        assert (K.shape, K.dtype) == (whole.shape, whole.dtype)
        assert np.array_equal(K.compute(), whole), options
    layers = distributed.ntk_by_layer(NET, X, other, chunks=chunks)
    assert np.array_equal(layers.compute(), NET.ntk_by_layer(X, other))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bits_of_wide_networks_in_both_precisions(dtype: str) -> None:
    net = fastntk.MLP([50, 260, 300, 1], dtype="float32")
    samples = RANDOM.standard_normal((500, 50))
    for chunks in (100, 256, 333):
        K = distributed.ntk(net, samples, chunks=chunks, dtype=dtype)
        assert np.array_equal(K.compute(), net.ntk(samples, dtype=dtype))


@pytest.mark.parametrize("other", [None, Z], ids=["X", "X and Z"])
@pytest.mark.parametrize("chunks", [64, 37])
def test_infinite_width_has_the_bits_of_the_whole(chunks: int, other: Any) -> None:
    several = infinite.Network([3, 1], "relu")
    for net, normalize in ((LIMIT, False), (several, False), (several, True)):
        K = distributed.ntk(net, X, other, chunks=chunks, normalize=normalize)
        assert np.array_equal(K.compute(), net.ntk(X, other, normalize=normalize))
    single = X.astype(np.float32)
    for dtype in ("float32", "float64"):
        K = distributed.ntk(LIMIT, single, other, chunks=chunks, dtype=dtype)
        assert K.dtype == dtype
        assert np.array_equal(K.compute(), LIMIT.ntk(single, other, dtype=dtype))
    K = distributed.nngp(LIMIT, single, other, chunks=chunks)
    assert K.dtype == (np.float32 if other is None else np.float64)
    assert np.array_equal(K.compute(), LIMIT.nngp(single, other))


def test_infinite_width_beyond_the_width_of_a_tile() -> None:
    """Tiles across the borders of chunks; repeated samples, on the diagonal and off it."""
    net = infinite.Network(1, "gelu", bias_std=0.1)
    samples = RANDOM.standard_normal((1100, 3))
    samples[7] = samples[900]
    K = distributed.ntk(net, samples, chunks=600).compute()
    assert np.array_equal(K, net.ntk(samples))


@pytest.mark.parametrize("count", [150, 161])
def test_last_tiles_across_the_border_of_chunks(count: int) -> None:
    """They are square, so that NumPy multiplies samples with themselves, and at hand twice."""
    net = infinite.Network(2, "gelu", bias_std=0.1)
    samples = RANDOM.standard_normal((count, 6))
    K = distributed.ntk(net, samples, chunks=count - 20)
    assert np.array_equal(K.compute(), net.ntk(samples))


@pytest.mark.parametrize("first", [0, 1])
def test_other_samples_may_be_equal_to_the_first(first: int) -> None:
    """At infinite width their kernel has other bits: no tile of the one is taken for the other."""
    net = infinite.Network(2, "relu")
    whole = net.ntk(X), net.ntk(X, X.copy())
    assert not np.array_equal(*whole)
    tiled = [distributed.ntk(net, X, other, chunks=40) for other in (None, X.copy())]
    assert tiled[0].name != tiled[1].name
    for which in (first, 1 - first):
        assert np.array_equal(tiled[which].compute(), whole[which])


def test_half_of_the_tiles_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []

    def counted(kernel: Any, place: Any, rows: Any, columns: Any) -> Any:
        computed.append((place.rows.start, place.columns.start))
        return kernel.tile(place, rows, columns)

    monkeypatch.setattr(arrays, "compute_tile", counted)
    distributed.ntk(NET, X, chunks=50).compute()
    assert sorted(computed) == [(a, b) for a in (0, 50, 100) for b in (0, 50, 100) if a <= b]


def test_features_of_a_block_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(Features):
        def __init__(self, network: Any, samples: Any, outputs: Any, dtype: Any) -> None:
            made.append(samples[0, 0])
            super().__init__(network, samples, outputs, dtype)

    monkeypatch.setattr(tiled_kernels, "Features", Counted)
    K = distributed.ntk(NET, X, chunks=30)
    K.compute()
    assert sorted(made) == sorted(X[::30, 0])
    KEPT.clear()
    made.clear()
    monkeypatch.setattr(worker_memory, "_room", lambda: 1.0)  # for a single block at a time
    assert np.array_equal(K.compute(), NET.ntk(X))
    assert len(made) > 5


def test_the_network_is_in_one_task() -> None:
    net = fastntk.MLP([6, 300, 300, 1])
    K = distributed.ntk(net, X, chunks=50)
    layer = K.dask.layers[K.name]
    large = [key for key, task in layer.items() if len(pickle.dumps(task)) > 5000]
    assert len(layer) == 10
    assert len(large) == 1
    assert isinstance(layer[large[0]], tiled_kernels.FiniteKernel)


def test_samples_of_dask_and_zarr_are_read_in_blocks() -> None:
    seen = []

    def part(block: Any) -> Any:
        seen.append(len(block))
        return block

    given = da.from_array(X, chunks=(30, 2)).rechunk((30, -1)).map_blocks(part, dtype=X.dtype)
    seen.clear()  # of Dask's own look at the type
    K = distributed.ntk(NET, given, chunks=60)
    assert np.array_equal(K.compute(), NET.ntk(X))
    assert max(seen) <= 30
    stored = zarr.create_array({}, shape=X.shape, chunks=(50, 6), dtype="f4")
    stored[:] = X
    K = distributed.ntk(NET, stored, da.from_array(Z, chunks=11), chunks=40)
    assert np.array_equal(K.compute(), NET.ntk(X.astype("f4"), Z))
    assert distributed.ntk(LIMIT, stored, chunks=40).dtype == np.float32


def test_a_sample_that_is_not_finite_is_named_before_the_work() -> None:
    bad = X.copy()
    bad[77, 3], bad[149, 0] = np.nan, np.inf
    with pytest.raises(ValueError, match=r"X\[77, 3\]=nan: .*2 are not, in 2 of 4 blocks"):
        distributed.ntk(NET, da.from_array(bad, chunks=50), chunks=40)
    with pytest.raises(ValueError, match=r"Z\[77, 3\]=.*nan"):
        distributed.ntk(LIMIT, X, bad)
    single = fastntk.MLP([6, 20, 1], dtype="float32")
    huge = X.copy()
    huge[101] = 1e300
    with pytest.raises(ValueError, match=r"X\[101, 0\].*finite in float32"):
        distributed.ntk(single, da.from_array(huge, chunks=50), chunks=40)
    huge[101] = 1e30
    with pytest.raises(OverflowError, match=r"^X\[101\].*not finite in float32"):
        distributed.ntk(single, da.from_array(huge, chunks=50), chunks=40)
    zero = Z.copy()
    zero[3] = 0
    with pytest.raises(ValueError, match=r"Z\[3\] has a kernel of 0"):
        distributed.ntk(infinite.Network(1), X, zero, normalize=True)


def test_a_block_of_small_samples_is_no_underflow() -> None:
    """What is small beside other blocks is not all of the kernel."""
    net = fastntk.MLP([6, 20, 1])
    samples = X.copy()
    samples[:50] *= 1e-200
    assert np.array_equal(distributed.ntk(net, samples, chunks=50).compute(), net.ntk(samples))
    with pytest.raises(OverflowError, match="too small"):
        distributed.ntk(net, X * 1e-200, chunks=50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"chunks": 0}, "chunks=0: expected an integer of at least 1, or 'auto'"),
        ({"chunks": "all"}, "chunks='all': expected an integer of at least 1, or 'auto'"),
        ({"net": 3}, "net=3: expected a network of finite or infinite width, such as fastntk.MLP"),
        ({"outputs": "sum"}, "outputs='sum': expected 'trace', 'diagonal', 'full' or an output"),
        ({"normalize": True}, "normalize=True: expected False"),
        ({"net": LIMIT, "outputs": 1}, "outputs=1: expected 'trace'"),
        ({"net": LIMIT, "dtype": "int8"}, "dtype='int8': expected"),
        ({"net": LIMIT, "layer_weights": [1, 1, 1]}, r"layer_weights=\[1, 1, 1\]: expected None"),
        ({"Z": X[:, :3]}, r"Z has shape \(150, 3\): expected 6 columns"),
        ({"net": LIMIT, "Z": X[:, :3]}, "expected 6 columns, as many as X has"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        distributed.ntk(**{"net": NET, "X": X, **arguments})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (da.ones((5, 6, 1)), "X has shape .*: expected a matrix, one sample a row"),
        (da.ones((5, 6), dtype=complex), "X has dtype complex128: expected real numbers"),
        (da.ones((5, 6))[da.ones(5) > 0], "expected known numbers of rows"),
        (dask.delayed(1), "X=.*: expected an array"),
    ],
)
def test_bad_samples(given: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        distributed.ntk(NET, given)


def test_nngp_has_no_finite_width() -> None:
    with pytest.raises(TypeError, match=r"expected a fastntk\.infinite\.Network or Layered"):
        distributed.nngp(NET, X)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"expected a fastntk\.MLP"):
        distributed.ntk_by_layer(LIMIT, X)  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["dask", "zarr"])
def test_what_is_not_installed_is_named(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'fastntk\[distributed\]'"):
        distributed.store("K.zarr", NET, X)


def test_threads_do_not_multiply() -> None:
    """Tasks of a pool of threads have one each; a task by itself has those of BLAS."""
    found = []

    def look() -> None:
        with share_of_threads(), core_threads() as threads:
            found.append(threads)

    look()
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    with core_threads() as threads:
        assert found == [threads, 1]


# Where Python has what it takes, a MiB is left.
LITTLE = int(240e6 / 0.6) + 2**20


def test_plan_states_what_it_takes() -> None:
    plan = distributed.plan(NET, X, workers=3, memory=2**30, chunks=50)
    assert plan.tiles == 6
    assert plan.disk_bytes == NET.ntk(X).nbytes
    assert plan.moved_bytes == 3 * (8 * NET.n_parameters + X.nbytes)
    assert plan.worker_bytes > 50 * 50 * 8
    assert "6 tiles of 50 × 50, about" in str(plan)
    assert distributed.plan(NET, X, Z, chunks=50).tiles == 6
    assert plan.resident_bytes == 240 * 10**6
    assert str(plan).endswith("on each worker, beside 228.9 MiB of Python and its libraries")
    assert "beside" not in str(distributed.plan(NET, X, workers=3, chunks=50))
    with pytest.raises(MemoryError, match=r"chunks=100: .*expected chunks of about 50, fewer"):
        distributed.plan(NET, X, memory=LITTLE, chunks=100)
    with pytest.raises(MemoryError, match=r"beside 228.9 MiB of Python .*: expected fewer threads"):
        distributed.plan(NET, X, memory=2**20, chunks=100)
    with pytest.raises(ValueError, match="workers=0: expected an integer of at least 1"):
        distributed.plan(NET, X, workers=0)


def test_plan_states_the_time_at_infinite_width(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock on which each piece that is measured takes a second."""
    measured = []
    part = KernelParts.part

    def counted(self: Any, rows: slice, columns: slice, given: Any, others: Any) -> Any:
        measured.append((given, others, part(self, rows, columns, given, others)))
        return measured[-1][-1]

    monkeypatch.setattr(KernelParts, "part", counted)
    monkeypatch.setattr(time, "perf_counter", iter(range(99)).__next__)
    monkeypatch.setattr(tiled_kernels, "_CALIBRATION_ROWS", 100)
    plan = distributed.plan(LIMIT, X, workers=3, chunks=50)
    assert plan.seconds == 150 * 151 / 2 / 100**2 / 3
    assert "6 tiles of 50 × 50, about 0.38 s" in str(plan)
    several = infinite.Network([3, 1], "relu")
    assert distributed.plan(several, X[:40], Z, chunks=50).seconds == 40 * 70 / 40**2
    # What is measured is the kernel of samples of that size.
    given, others, kernel = measured[0]
    assert np.allclose(np.linalg.norm(given, axis=1), np.linalg.norm(X[:100], axis=1))
    assert np.allclose(kernel, LIMIT.ntk(given, others), rtol=1e-12, atol=0)


@pytest.mark.parametrize("chunks", [64, "auto"])
def test_a_sweep_has_the_bits_of_one_machine(chunks: Any) -> None:
    options: dict[str, Any] = {"width": 20, "activation": "tanh", "bias_std": 0.2, "seed": 3}
    precise: list[dict[str, Any]] = [{}, {"network_dtype": "float32", "dtype": "float64"}]
    for dtypes in precise:
        K = distributed.ntk_depths(X, [3, 0, 1], chunks=chunks, **dtypes, **options)
        whole = fastntk.ntk_depths(X, [3, 0, 1], **dtypes, **options)
        assert np.array_equal(K.compute(), np.stack(list(whole.values())))
    single = distributed.ntk_depths(X, [2], chunks=chunks, **options)
    assert single.shape == (1, 150, 150)
    assert np.array_equal(single[0].compute(), fastntk.ntk_depths(X, [2], **options)[2])
    others = distributed.ntk_depths(X, [2], chunks=chunks, **{**options, "seed": 4})
    assert not np.array_equal(others[0].compute(), single[0].compute())


def test_a_plan_of_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_multiplication_rate", lambda _: 1e9)
    here: dict[str, Any] = {"workers": 2, "memory": 2**30, "chunks": 50}
    plan = distributed.plan_depths(X, [1, 2], width=64, **here)
    alone = [distributed.plan(fastntk.MLP([6, *[64] * depth, 1]), X, **here) for depth in (1, 2)]
    assert plan.tiles == 6
    assert plan.disk_bytes == sum(each.disk_bytes for each in alone)
    # What both depths share is done once.
    assert alone[1].seconds < plan.seconds < sum(each.seconds for each in alone)
    assert alone[1].worker_bytes < plan.worker_bytes
    single = distributed.plan_depths(X, [2], width=64, **here)
    assert single.seconds == alone[1].seconds
    with pytest.raises(MemoryError, match=r"chunks=100: .*expected chunks of about"):
        distributed.plan_depths(X, [1, 2], width=8, memory=LITTLE, chunks=100)
    with pytest.raises(ValueError, match="width=0: expected an integer of at least 1"):
        distributed.plan_depths(X, [1], width=0)


@pytest.mark.parametrize(
    ("given", "rows"),
    [
        (np.empty((100, 3)), 512),
        (np.empty((8192, 3)), 1024),
        (np.empty((8193, 3)), 1025),
        (da.empty((40_000, 3)), 2048),
        ([[0.0]] * 5000, 625),
        (None, 512),
    ],
)
def test_small_kernels_have_small_tiles(given: Any, rows: int) -> None:
    assert arrays.finite_rows("auto", 8, given) == rows
    assert arrays.finite_rows("auto", 8, np.empty((3, 3)), given) == rows
    assert arrays.finite_rows(77, 8, given) == 77
    assert arrays.finite_rows("auto", 2**16, given) <= 64  # 256 MiB at most


@pytest.mark.parametrize("axes", [[0, 1], [1, 0], [0, 2, 1], [1, 0, 3, 2], [1, 0, 2]])
def test_tiles_are_transposed_block_by_block(axes: list[int]) -> None:
    tile = RANDOM.standard_normal([70, 65, 33, 3][: len(axes)])
    found = arrays.transposed(tile, axes)
    assert found.flags.c_contiguous
    assert found.flags.owndata
    np.testing.assert_array_equal(found, np.transpose(tile, axes))
