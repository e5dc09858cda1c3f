# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks as the parts of fastntk hand them on: with a single readout, and with several."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tolerances import assert_close

import fastntk
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.depth_passes import feature_columns, pass_bytes
from fastntk.kernels.destinations import new_kernels
from fastntk.kernels.request import KernelRequest
from fastntk.networks.network import Network, Readout
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.wired import drawn

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk.layers import Layer

X = np.random.default_rng(0).standard_normal((20, 4))
DEEP, SHALLOW = fastntk.MLP([4, 9, 8, 1], seed=3), fastntk.MLP([4, 9, 1], seed=3)


@pytest.fixture
def two_readouts() -> Network:
    deep = DEEP.network
    readouts = (deep.readouts[0], Readout(1, SHALLOW.network.readouts[0].layer))
    return Network(deep.hidden, readouts, deep.activation, deep.activation_scale)


def kernels(network: Network) -> list[np.ndarray[tuple[int, int], np.dtype[np.float64]]]:
    placed = PlacedNetwork(network, PROCESSOR)
    samples = network.samples(X, "X")
    found: list[np.ndarray[tuple[int, int], np.dtype[np.float64]]] = new_kernels(
        KernelRequest(placed, samples, None, range(1), "none", network.dtype), False
    )
    return found


def test_a_change_of_precision_keeps_all_readouts(two_readouts: Network) -> None:
    single = two_readouts.with_dtype(np.dtype(np.float32))
    assert single.dtype == np.float32
    assert [readout.depth for readout in single.readouts] == [2, 1]
    assert {r.layer.weights.dtype for r in single.readouts} == {np.dtype(np.float32)}
    assert {layer.weights.dtype for layer in single.hidden} == {np.dtype(np.float32)}
    for found, net in zip(kernels(single), (DEEP, SHALLOW), strict=True):
        assert found.dtype == np.float32
        assert_close(found, net.ntk(X), "float32")


def test_what_holds_for_a_single_readout_is_refused_for_several(two_readouts: Network) -> None:
    message = "the network has 2 readouts: expected a single one"
    with pytest.raises(ValueError, match=message):
        two_readouts.with_layers(two_readouts.layers)
    with pytest.raises(ValueError, match=message):
        two_readouts.weighted([1.0, 1.0, 0.0])
    assert two_readouts.weighted(None) is two_readouts


def test_weights_of_layers_multiply() -> None:
    twice = DEEP.network.weighted([1.0, 2.0, 0.0]).weighted([[3.0, 1.0], [1.0, 1.0], [1.0, 1.0]])
    assert [layer.kernel_weights for layer in twice.layers] == [(3.0, 1.0), (2.0, 2.0), (0.0, 0.0)]
    assert_close(kernels(twice)[0], DEEP.ntk(X, layer_weights=[3.0, 2.0, 0.0]), "float64")


def test_a_placed_network_says_what_its_kernels_take(two_readouts: Network) -> None:
    placed = PlacedNetwork(two_readouts, PROCESSOR)
    assert placed.kernel_count(range(1), "none") == 2
    assert placed.kernel_mirror(range(1), "none") == [0, 1]
    # H of both layers, Δ of both for the first readout and of the first layer for the second.
    assert placed.feature_bytes(5, 1, np.dtype(np.float64)) == 5 * 8 * (4 + (9 + 8) * 2 + 9)
    wide = PlacedNetwork(fastntk.MLP([4, 9, 3]).network, PROCESSOR)
    assert wide.kernel_count(range(3), "layers") == 2
    assert wide.kernel_count(range(1, 3), "outputs") == 2
    assert wide.kernel_mirror(range(1, 3), "output_pairs") == [0, 2, 1, 3]
    assert np.array_equal(placed.evaluate(X), DEEP(X))


@pytest.mark.parametrize("depths", [(0,), (2,), (0, 1, 3), (3, 1)])
def test_the_memory_of_a_pass_is_known_before_there_are_networks(depths: tuple[int, ...]) -> None:
    deepest = fastntk.MLP([4, *[9] * max(depths), 1]).network
    readouts = tuple(
        Readout(depth, fastntk.MLP([9 if depth else 4, 1]).network.readouts[0].layer)
        for depth in depths
    )
    network = Network(deepest.hidden, readouts, deepest.activation, deepest.activation_scale)
    features = PlacedNetwork(network, PROCESSOR).feature_bytes(20, 1, np.dtype(np.float64))
    needed = features + len(depths) * 20 * 20 * 8
    assert pass_bytes(depths, samples=20, input_width=4, width=9) == needed


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("blocks", [None, (2,), (1, 3), (0, 1, 2, 3)])
def test_so_is_that_of_described_networks(blocks: tuple[int, ...] | None, outputs: int) -> None:
    layers: list[Layer] = [fastntk.layers.RMSNorm(gain=True), fastntk.layers.Dense(9)]
    for width in (8, 7, 9):
        dense = fastntk.layers.Dense(width, bias_std=0.5)
        norm = fastntk.layers.LayerNorm(gain=True, shift=True)
        layers += [fastntk.layers.Residual([norm, fastntk.layers.ReLU(), dense], projection=dense)]
    layers += [fastntk.layers.Rescale(shift=True), fastntk.layers.Dense(outputs)]
    network = drawn(tuple(layers), 4, 0, np.dtype(np.float32), blocks)
    features = PlacedNetwork(network, PROCESSOR).feature_bytes(20, outputs, np.dtype(np.float64))
    assert features == 20 * 8 * feature_columns(network.steps)


def test_kernel_weights_of_a_network_by_itself(tmp_path: Path) -> None:
    """They are kept in files, multiply those of a call, and are rates of training."""
    plain = fastntk.MLP([4, 8, 6, 2], bias_std=0.5, activation="tanh", seed=2)
    omega = [(0.0, 1.0), (1.0, 1.0), (1.0, 0.0)]
    net = fastntk.MLP.of_network(plain.network.with_kernel_weights(omega))
    assert plain.network.kernel_weights is None
    assert np.array_equal(net.ntk(X), plain.ntk(X, layer_weights=omega))
    assert np.array_equal(
        net.ntk(X, layer_weights=[2.0, 1.0, 0.0]),
        plain.ntk(X, layer_weights=[(0.0, 2.0), (1.0, 1.0), (0.0, 0.0)]),
    )
    assert np.array_equal(net.conjugate_kernel(X), plain.conjugate_kernel(X))
    for other in (net.astype("float32"), net.linear()):
        assert other.network.kernel_weights == omega

    net.save(tmp_path / "net.npz")
    plain.save(tmp_path / "plain.npz")
    again = fastntk.MLP.load(tmp_path / "net.npz")
    assert again.network.kernel_weights == omega
    assert again.digest() == net.digest() != plain.digest()
    assert fastntk.MLP.load(tmp_path / "plain.npz").network.kernel_weights is None
    versions = [
        json.loads(str(np.load(tmp_path / name)["header"]))["version"]
        for name in ("plain.npz", "net.npz")
    ]
    assert versions == [1, 2]  # what knows version 1 only does not overlook the weights

    y = np.arange(20) % 2
    history = fastntk.train(net, X, y, learning_rate=0.1, epochs=3)
    wanted = fastntk.train(plain, X, y, learning_rate=0.1, epochs=3, layer_rates=omega)
    assert np.array_equal(history.loss, wanted.loss)
    assert history.net.network.kernel_weights == omega
    frozen = fastntk.MLP.of_network(plain.network.with_kernel_weights([(0, 0), (0, 0), (1, 1)]))
    with pytest.raises(ValueError, match=r"layer_weights=\[1, 1, 0\]: expected one above 0 for a"):
        frozen.ntk(X, layer_weights=[1, 1, 0])
    with pytest.raises(ValueError, match="trained and that is not frozen in the network"):
        fastntk.train(frozen, X, y, learning_rate=0.1, epochs=3, trainable=[True, True, False])


def test_a_checkpoint_knows_what_is_frozen(tmp_path: Path) -> None:
    plain = fastntk.MLP([4, 8, 2], seed=2)
    frozen = fastntk.MLP.of_network(plain.network.with_kernel_weights([(0.0, 0.0), (1.0, 1.0)]))
    call: dict[str, Any] = {"y": np.arange(20) % 2, "learning_rate": 0.1, "probe": X[:3]}
    path = tmp_path / "checkpoint.npz"
    fastntk.train(frozen, X, epochs=2, checkpoint=path, **call)
    fastntk.train(frozen, X, epochs=3, checkpoint=path, **call)
    # The same training, but with another kernel to look at.
    with pytest.raises(ValueError, match="expected one of the same call, but scales differ"):
        fastntk.train(plain, X, epochs=3, checkpoint=path, trainable=[False, True], **call)
