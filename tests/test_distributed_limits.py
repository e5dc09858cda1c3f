# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Infinite width without the kernel, square by square: operators and closest pairs.

On a cluster: tests/test_cluster.py.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tolerances import assert_close

import fastntk
from fastntk import infinite
from fastntk._support.dask_workers import Workers
from fastntk.infinite.kernel_parts import KernelParts
from fastntk.infinite.tiles import begin_in, reach, tiles
from fastntk.layers import Dense, LayerNorm, ReLU, Residual

if TYPE_CHECKING:
    from collections.abc import Iterator

da = pytest.importorskip("dask.array", reason="needs fastntk[distributed]")
zarr = pytest.importorskip("zarr", reason="needs fastntk[distributed]")
dask = pytest.importorskip("dask", reason="needs fastntk[distributed]")

from fastntk import distributed  # noqa: E402
from fastntk._support.worker_memory import KEPT  # noqa: E402
from fastntk.distributed import arrays, infinite_operators, infinite_pairs  # noqa: E402
from fastntk.distributed.tiled_kernels import InfiniteKernel, joined  # noqa: E402

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((210, 6))
X[3], X[7], X[9] = X[200], 2 * X[100], X[10] + 1e-9
UNIT = X / np.linalg.norm(X, axis=1, keepdims=True)
BLOCK = Residual([LayerNorm(), Dense(24), ReLU(), Dense(24, bias_std=0.2)], scale=0.5)
NETWORKS: dict[str, tuple[Any, Any]] = {
    "relu": (infinite.Network(2, "relu"), X),
    "with biases": (infinite.Network(2, "relu", bias_std=0.3), X),
    "tanh": (infinite.Network(2, "tanh", bias_std=0.1), X[:130]),
    "series": (infinite.Network(1, "gelu"), UNIT),
    "described": (fastntk.Network([Dense(24), BLOCK, ReLU(), Dense(3)], inputs=6).infinite(), X),
}
RELU = NETWORKS["relu"][0]


@pytest.fixture(autouse=True)
def in_this_thread() -> Iterator[None]:
    KEPT.clear()
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.parametrize("name", NETWORKS)
def test_the_closest_pairs_and_bits_of_one_machine(name: str) -> None:
    net, samples = NETWORKS[name]
    expected = net.smallest_angle(samples, 9)
    for chunks in (50, "auto"):
        assert distributed.closest_pairs(net, samples, 9, chunks=chunks) == expected


@pytest.mark.parametrize("name", NETWORKS)
def test_an_operator_is_that_of_one_machine(name: str) -> None:
    """But for the order of sums, of which there is one in a single block."""
    net, samples = NETWORKS[name]
    V = RANDOM.standard_normal((len(samples), 2))
    for options in ({}, {"normalize": True}, {"dtype": "float32"}):
        here = net.ntk_operator(samples, **options)
        spread = distributed.ntk_operator(net, samples, chunks=64, **options)
        assert (spread.shape, spread.dtype) == (here.shape, here.dtype)
        assert_close(spread @ V, here @ V, here.dtype.name)
        assert_close(spread.columns([7, 129, 0, 7]), here.columns([7, 129, 0, 7]), here.dtype.name)
        assert np.array_equal(spread.diagonal(), here.diagonal())
        assert np.array_equal(distributed.ntk_operator(net, samples, **options) @ V, here @ V)


@pytest.mark.parametrize("wanted", [slice(0, 40), slice(64, 100), slice(100, 101)])
@pytest.mark.parametrize("shape", [(12, 32), (40, 200)])
def test_each_tile_begins_in_one_square(wanted: slice, shape: tuple[int, int]) -> None:
    n = 101
    every = list(tiles(n, n, 3, symmetric=True, shape=shape))
    cuts = [slice(0, 40), slice(40, 64), slice(64, 100), slice(100, 101)]
    found = []
    for i, rows in enumerate(cuts):
        some = list(tiles(n, n, 3, symmetric=True, shape=shape, wanted=rows))
        for columns in cuts[i:]:
            square = begin_in(some, rows, columns)
            high, wide = reach(every[0], rows, columns, n)
            for tile in square:
                assert high.start <= tile.rows.start < tile.rows.stop <= high.stop
                assert wide.start <= tile.columns.start < tile.columns.stop <= wide.stop
            found += square
    assert sorted(map(repr, found)) == sorted(map(repr, every))
    assert all(tile in every for tile in begin_in(every, wanted, slice(0, n)))


def test_samples_come_in_blocks_from_dask_and_zarr() -> None:
    stored = zarr.create_array({}, shape=X.shape, chunks=(50, 6), dtype="f8")
    stored[:] = X
    product = distributed.ntk_operator(RELU, X, chunks=100) @ np.ones(210)
    for given in (stored, da.from_array(X, chunks=(30, 2))):
        found = distributed.ntk_operator(RELU, given, chunks=100) @ np.ones(210)
        assert np.array_equal(found, product)
        pairs = distributed.closest_pairs(RELU, given, 9, chunks=100)
        assert pairs == RELU.smallest_angle(X, 9)


def test_no_tile_is_computed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    values = KernelParts.values

    def counted(self: Any, tile: Any) -> Any:
        made.append((tile.rows.start, tile.columns.start))
        return values(self, tile)

    monkeypatch.setattr(KernelParts, "values", counted)
    K = distributed.ntk_operator(infinite.Network(2, "gelu", bias_std=0.1), X, chunks=37)
    K @ np.ones(210)
    assert made
    assert len(made) == len(set(made))


@pytest.mark.parametrize("offset", [0, 4])
def test_samples_are_aligned(offset: int) -> None:
    """Whatever has come from another process: the products of NumPy depend on it."""
    memory = np.zeros(X.nbytes + 8, dtype=np.uint8)
    given = np.frombuffer(memory.data[offset : offset + X.nbytes]).reshape(X.shape)
    given[...] = X
    for found in (joined([given]), joined([given[:100], given[100:]])):
        assert found.flags.aligned
        assert np.array_equal(found, X)


def test_conjugate_gradients_and_predictions() -> None:
    """As `infinite.predict` does, whose kernel is that of one process."""
    net = infinite.Network(2, "gelu", bias_std=0.1)
    samples, targets = X[20:100], RANDOM.standard_normal((80, 2))
    others = RANDOM.standard_normal((15, 6))
    K = distributed.ntk_operator(net, samples, chunks=50)
    found = fastntk.conjugate_gradients(K, targets, ridge=0.1, preconditioner_rank=30)
    cross = distributed.ntk(net, others, samples, chunks=50)
    mean = (cross @ found.coefficients).compute()
    expected = net.predict(samples, targets, others, ridge=0.1).mean
    np.testing.assert_allclose(mean, expected, rtol=0, atol=1e-6)


def test_the_kernel_of_all_tasks_can_travel() -> None:
    tiles = arrays.infinite_tiles(
        NETWORKS["described"][0], "ntk", X, None, chunks=64, normalize=False
    )
    kernel = pickle.loads(pickle.dumps(tiles.kernel))
    assert isinstance(tiles.kernel, InfiniteKernel)
    assert kernel.digest == tiles.kernel.digest
    assert np.array_equal(kernel.parts().scales[1], tiles.kernel.parts().scales[1])


@pytest.mark.parametrize(
    ("count", "rows"), [(100, 1024), (40_000, 1250), (200_000, 4096), (10**6, 7813)]
)
def test_blocks_grow_with_the_samples(count: int, rows: int) -> None:
    assert arrays.spread_rows("auto", da.empty((count, 3))) == rows
    assert arrays.spread_rows(77, X) == 77


def test_what_cannot_succeed_is_said_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(infinite_pairs, "_closest", None)
    monkeypatch.setattr(infinite_operators, "_square", None)
    bad = X.copy()
    bad[177, 2] = np.nan
    for given in (bad, da.from_array(bad, chunks=50)):
        for call in (distributed.ntk_operator, distributed.closest_pairs):
            wanted: dict[str, Any] = {"k": 1} if call is distributed.closest_pairs else {}
            with pytest.raises(ValueError, match=r"X\[177, 2\]=.*nan"):
                call(RELU, given, chunks=40, **wanted)
    bad[177] = 0
    with pytest.raises(ValueError, match=r"X\[177\]"):
        distributed.closest_pairs(RELU, bad, 1, chunks=40)
    monkeypatch.setattr(infinite_pairs, "workers_with_room", lambda _: Workers(2, 1, 2**16))
    with pytest.raises(MemoryError, match=r"the factors of 210 samples need .*fewer samples"):
        distributed.closest_pairs(RELU, X, 1)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"net": infinite.Network([1, 2])}, TypeError, r"depth=\[1, 2\]: expected an integer"),
        ({"outputs": 1}, ValueError, "outputs=1: expected 'trace' for a network of infinite width"),
        ({"layer_weights": [1]}, ValueError, r"layer_weights=\[1\]: expected None"),
        ({"chunks": 0}, ValueError, "chunks=0: expected an integer of at least 1, or 'auto'"),
        ({"net": fastntk.MLP([6, 1]), "normalize": True}, ValueError, "normalize=True: expected F"),
        ({"net": 3}, TypeError, "net=3: expected a network of finite or infinite width"),
    ],
)
def test_bad_arguments(given: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        distributed.ntk_operator(**{"net": RELU, "X": X, **given})
    shared = {name: value for name, value in given.items() if name in {"net", "chunks"}}
    if shared and "normalize" not in given:
        with pytest.raises(error, match=message):
            distributed.closest_pairs(**{"net": RELU, "X": X, "k": 1, **shared})


def test_products_that_leave_the_range() -> None:
    K = distributed.ntk_operator(RELU, X, chunks=64)
    with pytest.raises(OverflowError, match=r"vectors up to 1e\+308 leave the range of float64"):
        K @ np.full(210, 1e308)


def test_products_that_have_no_digits() -> None:
    net = infinite.Network(2, "gelu", bias_std=0.1)
    for K in (net.ntk_operator(X), distributed.ntk_operator(net, X, chunks=100)):
        with pytest.raises(OverflowError, match=r"leave the range of float64: expected larger vec"):
            K @ np.full(len(X), 1e-312)
        assert not (K @ np.zeros(len(X))).any()
