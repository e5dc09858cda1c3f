# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks that are described by their layers, tile by tile: the bits of the plain calls."""

from __future__ import annotations

import pickle
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk.kernels import planning
from fastntk.layers import Activation, Dense, LayerNorm, ReLU, Residual, RMSNorm
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.wired import WiredNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

da = pytest.importorskip("dask.array", reason="needs fastntk[distributed]")
pytest.importorskip("zarr", reason="needs fastntk[distributed]")
dask = pytest.importorskip("dask", reason="needs fastntk[distributed]")

from fastntk import distributed  # noqa: E402
from fastntk._support.worker_memory import KEPT  # noqa: E402
from fastntk.distributed import normalization, tiled_kernels  # noqa: E402

RANDOM = np.random.default_rng(0)
X, Z = RANDOM.standard_normal((150, 6)), RANDOM.standard_normal((70, 6))
BLOCK = Residual([LayerNorm(), Dense(24), ReLU(), Dense(24, bias_std=0.2)], scale=0.5)
DESCRIBED = fastntk.Network(
    [Dense(24), BLOCK, RMSNorm(gain=False), BLOCK, ReLU(), Dense(3)], inputs=6
)
NET, LIMIT = DESCRIBED.sample(seed=1), DESCRIBED.infinite()
# Which cannot normalize samples whose elements are all equal.
FIRST = fastntk.Network([LayerNorm(), Dense(8), ReLU(), Dense(1)], inputs=6).sample()


BENT = fastntk.activations.polynomial(0.1, 0.7, 1 / 3)


@pytest.fixture(autouse=True)
def in_this_thread() -> Iterator[None]:
    KEPT.clear()
    with dask.config.set(scheduler="synchronous"):
        yield


@pytest.mark.parametrize(
    "net",
    [
        fastntk.MLP([6, 8, 2], activation=BENT),
        fastntk.Network([Dense(8), Activation(BENT), Dense(2)], inputs=6).sample(),
    ],
    ids=["MLP", "FiniteNetwork"],
)
def test_activations_with_parameters_go_to_workers(tmp_path: Path, net: Any) -> None:
    stored = distributed.store(tmp_path / "K.zarr", net, X, chunks=64)
    assert np.array_equal(stored.array().compute(), net.ntk(X))
    assert distributed.store(tmp_path / "K.zarr", net, X, chunks=64).found == stored.computed
    tiles = distributed.ntk(net, X, chunks=64)
    assert np.array_equal(pickle.loads(pickle.dumps(tiles)).compute(), net.ntk(X))


@pytest.mark.parametrize("other", [None, Z], ids=["X", "X and Z"])
@pytest.mark.parametrize("chunks", [64, 37])
def test_tiles_have_the_bits_of_the_whole(chunks: int, other: Any) -> None:
    frozen = [1.0] * (len(NET.network.layers) - 1) + [0.0]
    wanted: list[dict[str, Any]] = [
        {},
        {"outputs": 1, "dtype": "float32"},
        {"outputs": "diagonal"},
        {"outputs": "full"},
        {"layer_weights": frozen},
    ]
    for options in wanted:
        K = distributed.ntk(NET, X, other, chunks=chunks, **options)
        whole = NET.ntk(X, other, **options)
        assert (K.shape, K.dtype) == (whole.shape, whole.dtype)
        assert np.array_equal(K.compute(), whole), options
    layers = distributed.ntk_by_layer(NET, X, other, chunks=chunks)
    assert np.array_equal(layers.compute(), NET.ntk_by_layer(X, other))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_wide_networks_have_the_bits_of_the_whole(dtype: str) -> None:
    """Whose layers are multiplied in parts, in tiles that are no multiples of panels."""
    block = Residual([LayerNorm(), Dense(150), ReLU(), Dense(203, bias_std=0.2)], scale=0.5)
    net = fastntk.Network(
        [Dense(203), block, ReLU(), Dense(90), RMSNorm(), ReLU(), Dense(2)], inputs=6
    ).sample(seed=2, dtype=dtype)
    samples = RANDOM.standard_normal((400, 6)).astype(dtype)
    whole = net.ntk(samples)
    for chunks in (101, 147):
        assert np.array_equal(distributed.ntk(net, samples, chunks=chunks).compute(), whole)
    few = samples[:40]
    assert np.array_equal(distributed.ntk(net, few, chunks=7).compute(), whole[:40, :40])
    single = distributed.ntk(net, few[:3], few, chunks=1).compute()
    assert np.array_equal(single, whole[:3, :40])
    layers = distributed.ntk_by_layer(net, samples, few, chunks=99).compute()
    assert np.array_equal(layers, net.ntk_by_layer(samples, few))
    found = distributed.closest_pairs(net, samples, 9, chunks=83)
    assert found == net.smallest_angle(samples, 9)


@pytest.mark.parametrize("other", [None, Z], ids=["X", "X and Z"])
@pytest.mark.parametrize("blocks", [2, [2, 0]])
def test_infinite_width_has_the_bits_of_the_whole(blocks: Any, other: Any) -> None:
    net = DESCRIBED.infinite(blocks=blocks)
    for normalize in (False, True):
        K = distributed.ntk(net, X, other, chunks=64, normalize=normalize)
        assert np.array_equal(K.compute(), net.ntk(X, other, normalize=normalize))
    K = distributed.nngp(net, X, other, chunks=37)
    assert np.array_equal(K.compute(), net.nngp(X, other))


def test_operators_and_closest_pairs() -> None:
    V = RANDOM.standard_normal((150, 2))
    here = NET.ntk_operator(X, block_rows=37)
    there = distributed.ntk_operator(NET, X, chunks=37)
    assert np.array_equal(there @ V, here @ V)
    assert np.array_equal(there.columns([3, 99]), here.columns([3, 99]))
    for chunks in (16, 100):
        found = distributed.closest_pairs(NET, X, 20, chunks=chunks)
        assert found == NET.smallest_angle(X, 20)


@pytest.mark.parametrize(
    ("net", "others"),
    [
        (NET, [(DESCRIBED.sample(seed=2), {}), (NET, {"layer_weights": [0.5] * 6})]),
        (LIMIT, [(DESCRIBED.infinite(bottlenecks="grow"), {}), (DESCRIBED.infinite(blocks=1), {})]),
    ],
    ids=["finite", "infinite"],
)
def test_stores_know_their_network(net: Any, others: Any, tmp_path: Path) -> None:
    path = tmp_path / "K.zarr"
    assert distributed.store(path, net, X, chunks=64).computed == 6
    assert distributed.store(path, net, X, chunks=64).found == 6
    assert np.array_equal(distributed.load(path).compute(), net.ntk(X))
    for other, options in others:
        with pytest.raises(ValueError, match=r"another kernel, which differs in: network \("):
            distributed.store(path, other, X, chunks=64, **options)


def test_a_plan_of_a_chain_is_that_of_its_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_multiplication_rate", lambda _: 1e9)
    chain = fastntk.Network([Dense(20), ReLU(), Dense(30), ReLU(), Dense(3)], inputs=6).sample()
    layers = fastntk.MLP([6, 20, 30, 3])
    for other in (None, Z):
        found, expected = (
            distributed.plan(net, X, other, workers=2, memory=2**30, chunks=50)
            for net in (chain, layers)
        )
        assert (found.seconds, found.moved_bytes) == (expected.seconds, expected.moved_bytes)
    # Two blocks more cost what their maps do, and their gains.
    blocks = distributed.plan(NET, X, workers=2, memory=2**30, chunks=50)
    assert blocks.seconds > distributed.plan(chain, X, workers=2, chunks=50).seconds
    several = distributed.plan(DESCRIBED.infinite(blocks=[0, 1, 2]), X, chunks=50)
    assert several.disk_bytes == 3 * 8 * 150**2


def test_samples_that_cannot_be_normalized_are_named_before_the_work(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tiled_kernels.FiniteKernel, "tile", None)
    bad = X.copy()
    bad[101] = 1.0
    for given in (bad, da.from_array(bad, chunks=50)):
        for call in (distributed.ntk, distributed.ntk_by_layer, distributed.ntk_operator):
            with pytest.raises(ValueError, match=r"^X\[101\]: .*all equal and have no direction"):
                call(FIRST, given, chunks=40)
        with pytest.raises(ValueError, match=r"^X\[101\]: .*all equal"):
            distributed.closest_pairs(FIRST, given, 1, chunks=40)
    with pytest.raises(ValueError, match=r"^Z\[101\]: .*all equal"):
        distributed.ntk(FIRST, X, bad, chunks=40)


def test_the_first_of_the_samples_that_cannot_be_normalized_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whichever block a worker looks at first."""
    bad = X.copy()
    bad[[23, 101, 149]] = 1.0
    later = threading.Event()
    evaluate = PlacedNetwork.evaluate

    def in_turn(placed: PlacedNetwork, samples: Any) -> Any:
        if len(samples) == 30:  # the last block
            later.set()
        elif np.array_equal(samples[0], bad[0]):
            later.wait(30)
        return evaluate(placed, samples)

    monkeypatch.setattr(PlacedNetwork, "evaluate", in_turn)
    with dask.config.set(scheduler="threads", num_workers=4):
        for call in (distributed.ntk, distributed.ntk_operator):
            with pytest.raises(ValueError, match=r"^X\[23\]: .*all equal and have no direction"):
                call(FIRST, bad, chunks=40)
            assert later.is_set()
            later.clear()


def test_the_network_is_in_the_precision_of_the_passes_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A copy of the weights for each tile would take longer than small tiles do."""
    made = []
    with_dtype = WiredNetwork.with_dtype

    def counted(self: Any, dtype: Any) -> Any:
        made.append(dtype)
        return with_dtype(self, dtype)

    single = DESCRIBED.sample(seed=1, dtype="float32")
    K = distributed.ntk(single, X, chunks=40, dtype="float64")
    monkeypatch.setattr(WiredNetwork, "with_dtype", counted)
    found = K.compute()
    assert len(made) <= 1
    assert np.array_equal(found, single.ntk(X, dtype="float64"))
    made.clear()
    travelled = pickle.loads(pickle.dumps(next(iter(K.dask.layers[K.name].values()))))
    assert "_precise" not in vars(travelled)


def test_only_networks_that_normalize_look_at_all_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    class Counted(PlacedNetwork):
        def evaluate(self, samples: Any) -> Any:
            seen.append(len(samples))
            return super().evaluate(samples)

    monkeypatch.setattr(normalization, "PlacedNetwork", Counted)
    with_epsilon = fastntk.Network(
        [LayerNorm(epsilon=1e-5), Dense(8), ReLU(), Dense(1)], inputs=6
    ).sample()
    distributed.ntk(with_epsilon, X, chunks=40)
    assert seen == []
    distributed.ntk(NET, X, chunks=40)
    assert sorted(seen) == [30, 40, 40, 40]


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match=r"X has shape \(150, 3\): expected 6 columns"):
        distributed.ntk(LIMIT, X[:, :3])
    with pytest.raises(TypeError, match=r"expected a fastntk\.MLP or a fastntk\.FiniteNetwork"):
        distributed.ntk_by_layer(DESCRIBED, X)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a network of finite or infinite width"):
        distributed.ntk(DESCRIBED, X)  # type: ignore[arg-type]
