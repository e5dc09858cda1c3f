# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Closest pairs as a reduction over tiles: the pairs and bits of one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastntk
from fastntk._support.dask_workers import Workers
from fastntk.kernels.closest_pairs import offer_tile
from fastntk.kernels.features import Features
from fastntk.kernels.largest_cosines import LEFT_OUT, LargestCosines

if TYPE_CHECKING:
    from collections.abc import Iterator

da = pytest.importorskip("dask.array", reason="needs fastntk[distributed]")
zarr = pytest.importorskip("zarr", reason="needs fastntk[distributed]")
dask = pytest.importorskip("dask", reason="needs fastntk[distributed]")

from fastntk import distributed  # noqa: E402
from fastntk._support import worker_memory  # noqa: E402
from fastntk._support.worker_memory import KEPT  # noqa: E402
from fastntk.distributed import pairs, tiled_kernels  # noqa: E402

RANDOM = np.random.default_rng(0)
X = RANDOM.standard_normal((150, 6))
NET = fastntk.MLP([6, 20, 30, 3], bias_std=0.3, activation="gelu", seed=2)
RELU = fastntk.MLP([6, 40, 40, 1], dtype="float32", seed=1)
SMALL = fastntk.MLP([6, 20, 1], seed=1)
SMOOTH = fastntk.MLP([6, 1], seed=1, activation="tanh")


@pytest.fixture(autouse=True)
def in_this_thread() -> Iterator[None]:
    KEPT.clear()
    with dask.config.set(scheduler="synchronous"):
        yield


def found_by_core(net: fastntk.MLP, samples: Any, count: int) -> list[tuple[float, int, int]]:
    return features_of(net, samples).closest_pairs(count, False)


def features_of(net: fastntk.MLP, samples: Any) -> Features:
    kernel = tiled_kernels.FiniteKernel(net.network, "trace", None, np.dtype("f8"))
    request = kernel.request(samples)
    return Features(request.network, request.X, request.outputs, request.dtype)


@pytest.mark.parametrize("net", [NET, RELU], ids=["gelu", "relu"])
@pytest.mark.parametrize("chunks", [16, 64, 100, "auto"])
def test_the_pairs_and_bits_of_one_machine(net: fastntk.MLP, chunks: Any) -> None:
    for samples, k in ((X, 1), (X, 20), (X[:40], 10_000)):
        expected = net.smallest_angle(samples, k)
        assert distributed.closest_pairs(net, samples, k, chunks=chunks) == expected


@pytest.mark.parametrize("width", [64, 300])
def test_cosines_have_the_bits_of_the_core(width: int) -> None:
    """Among many pairs of one angle their rounding decides which are looked at again."""
    net = fastntk.MLP([6, width, width, 1], activation="tanh", seed=3)
    samples = np.repeat(X[:30], 10, axis=0)
    samples[250] = 0  # no gradient
    sides = slice(0, 130), slice(130, 300)
    parts = [features_of(net, samples[side]) for side in sides]
    found = LargestCosines(1500)
    for i, j in ((1, 0), (1, 1), (0, 0)):
        offer_tile(found, parts[i], parts[j], sides[i], sides[j])
    wanted = found_by_core(net, samples, 1500)
    assert list(zip(found.cosines, found.i, found.j, strict=True)) == wanted
    assert len({cosine for cosine, _, _ in wanted if cosine > 1 - 1e-12}) > 1
    assert 250 not in {*found.i, *found.j}


@given(
    count=st.integers(1, 30),
    values=st.lists(st.integers(-3, 3), min_size=36, max_size=36),
    order=st.permutations(range(4)),
)
def test_the_largest_cosines_in_any_order(count: int, values: list[int], order: list[int]) -> None:
    """Many are equal."""
    cosines = np.array(values, dtype=float).reshape(6, 6) / 3
    cosines[np.triu_indices(6)] = LEFT_OUT
    cosines[4, 1] = LEFT_OUT
    blocks = [(slice(0, 2), slice(0, 6)), (slice(2, 6), slice(0, 1)), (slice(2, 6), slice(1, 4))]
    blocks.append((slice(2, 6), slice(4, 6)))
    found, other = LargestCosines(count), LargestCosines(count)
    for each in order:
        rows, columns = blocks[each]
        (found if each % 2 else other).offer(cosines[rows, columns], rows, columns)
    found.merge(other)
    every = sorted(
        (-cosines[j, i], i, j) for i in range(6) for j in range(i + 1, 6) if (i, j) != (1, 4)
    )
    assert [*zip(-found.cosines, found.i, found.j, strict=True)] == every[:count]


@pytest.mark.parametrize("blocks", [1, 2, 7, 9])
@pytest.mark.parametrize("side", [1, 2, 8])
def test_every_tile_is_in_one_square(blocks: int, side: int) -> None:
    tiles = [tile for square in pairs._squares(blocks, side) for tile in pairs._tiles(*square)]
    assert sorted(tiles) == [(i, j) for i in range(blocks) for j in range(i + 1)]


@pytest.mark.parametrize(
    ("samples", "workers", "memory", "side"),
    [
        (100, 1, None, 1),
        (200, 1, None, 2),
        (200, 4, None, 1),
        (200, 1, 2**10, 1),
    ],
)
def test_squares_are_as_large_as_workers_and_memory_allow(
    samples: int, workers: int, memory: int | None, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def squares(blocks: int, side: int) -> Any:
        seen.append((blocks, side))
        return _squares(blocks, side)

    _squares = pairs._squares
    monkeypatch.setattr(pairs, "_squares", squares)
    monkeypatch.setattr(pairs, "require_room", lambda *_: 0)
    monkeypatch.setattr(pairs, "workers_with_room", lambda _: Workers(workers, 1, memory))
    given = np.resize(X, (samples, 6))
    found = distributed.closest_pairs(SMALL, given, 3, chunks=10)
    assert seen == [(samples // 10, side)]
    assert found == SMALL.smallest_angle(given, 3)


def test_samples_of_dask_and_zarr() -> None:
    expected = RELU.smallest_angle(X, 9)
    assert distributed.closest_pairs(RELU, da.from_array(X, chunks=(33, 2)), 9, chunks=40) == (
        expected
    )
    stored = zarr.create_array({}, shape=X.shape, chunks=(50, 6), dtype="f4")
    stored[:] = X
    assert distributed.closest_pairs(RELU, stored, 9, chunks=40) == expected


def test_features_of_a_block_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counted(Features):
        def __init__(self, network: Any, samples: Any, outputs: Any, dtype: Any) -> None:
            made.append(samples[0, 0])
            super().__init__(network, samples, outputs, dtype)

    monkeypatch.setattr(tiled_kernels, "Features", Counted)
    found = distributed.closest_pairs(NET, X, 9, chunks=50)
    assert sorted(made) == sorted(X[::50, 0])
    KEPT.clear()
    made.clear()
    monkeypatch.setattr(worker_memory, "_room", lambda: 1.0)  # for a single block at a time
    assert distributed.closest_pairs(NET, X, 9, chunks=50) == found
    assert len(made) > 4


@pytest.mark.parametrize("scale", [2.0**-700, 1e-200, 1e160])
def test_samples_far_from_one(scale: float) -> None:
    """Where nothing depends on it, samples are scaled on one machine, and so they are here."""
    net = RELU.astype("float64")
    assert distributed.closest_pairs(net, X * scale, 9, chunks=40) == (
        net.smallest_angle(X * scale, 9)
    )


def test_samples_that_cannot_be_scaled_without_loss() -> None:
    net, samples = RELU.astype("float64"), X * 2.0**20
    samples[:, 3] = 1.1e-308  # over 2^20 it would lose digits
    assert distributed.closest_pairs(net, samples, 9, chunks=40) == net.smallest_angle(samples, 9)


def test_samples_without_a_gradient_are_left_out() -> None:
    samples = X.copy()
    samples[[3, 99]] = 0
    assert distributed.closest_pairs(RELU, samples, 9, chunks=40) == RELU.smallest_angle(samples, 9)
    samples[1:] = 0
    with pytest.raises(ValueError, match="X of 150 samples has fewer than two with a gradient"):
        distributed.closest_pairs(RELU, samples, 9, chunks=40)


def test_what_leaves_the_range_is_named_before_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = X.copy()
    samples[101] = 1e160
    monkeypatch.setattr(pairs, "_closest", None)
    with pytest.raises(OverflowError, match=r"^X\[101\] with elements of at most 1e\+160"):
        distributed.closest_pairs(NET, da.from_array(samples, chunks=50), 9, chunks=40)
    samples[101, 2] = np.nan
    with pytest.raises(ValueError, match=r"X\[101, 2\]=.*nan"):
        distributed.closest_pairs(NET, da.from_array(samples, chunks=50), 9, chunks=40)
    little = Workers(1, 1, 2**18)
    monkeypatch.setattr(pairs, "workers_with_room", lambda _: little)
    with pytest.raises(MemoryError, match=r"chunks=100: .*expected chunks of about"):
        distributed.closest_pairs(NET, X, 9, chunks=100)


def test_gradients_that_vanish() -> None:
    """On one machine this is an error, too."""
    with pytest.raises(OverflowError, match="too small"):
        distributed.closest_pairs(SMOOTH, X * 1e-200, 9, chunks=40)


def test_progress_counts_tiles() -> None:
    seen = []
    distributed.closest_pairs(NET, X, 1, chunks=50, progress=lambda *report: seen.append(report))
    assert seen == [("tiles", done, 6) for done in range(1, 7)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k=0: expected an integer of at least 1"),
        ({"net": 3}, "net=3: expected a network of finite or infinite width"),
        ({"chunks": 0}, "chunks=0: expected an integer of at least 1, or 'auto'"),
        ({"X": X[:, :3]}, r"X has shape \(150, 3\): expected 6 columns"),
        ({"client": "tcp://a"}, "client='tcp://a': expected a distributed.Client"),
        ({"progress": 3}, "progress=3: expected True, False or a function"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        distributed.closest_pairs(**{"net": NET, "X": X, "k": 1, **arguments})


def test_samples_of_very_different_sizes() -> None:
    net = fastntk.MLP([6, 40, 40, 1], seed=1)
    sizes = np.array([1.0, 1e-150, 1e-170, 1e150, 2.0**-1000])
    samples = X[:60] * np.tile(sizes, 12)[:, np.newaxis]
    expected = net.smallest_angle(samples, 40)
    assert distributed.closest_pairs(net, samples, 40, chunks=16) == expected
    usual = net.smallest_angle(X[:60], 40)
    assert [(pair.i, pair.j) for pair in expected] == [(pair.i, pair.j) for pair in usual]
