# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks with some of the blocks of a description, one by one and from one pass."""

from __future__ import annotations

import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import fastntk
from fastntk import infinite, layers
from fastntk.layers import Dense, LayerNorm, ReLU, Residual

X = np.random.default_rng(0).standard_normal((9, 5))
BEFORE = [LayerNorm(gain=True), Dense(12, bias_std=0.1), ReLU(), Dense(8)]
DESCRIPTION = fastntk.Network(
    [
        Dense(8),
        Residual(BEFORE, scale=0.5),
        layers.Tanh(),
        Residual([Dense(6), layers.Tanh(), Dense(8, trained=(1.0, 0.5))]),
        Residual([Dense(6), layers.Tanh(), Dense(7)], projection=Dense(7, trained=False)),
        Residual([Dense(7)], scale=0.0),
        LayerNorm(shift=True),
        Dense(2),
    ],
    inputs=5,
)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_kernels_are_those_of_each_network_alone(dtype: str) -> None:
    samples = X.astype(dtype)
    stages: list[str] = []

    kernels = DESCRIPTION.ntk_at_blocks(
        samples,
        [3, 0, 4],
        seed=5,
        network_dtype=dtype,
        dtype="float64",
        progress=lambda stage, *_: stages.append(stage),
    )
    assert list(kernels) == [3, 0, 4]
    for blocks, kernel in kernels.items():
        alone = DESCRIPTION.at_blocks(blocks).sample(5, dtype=dtype)
        assert kernel.dtype == np.float64
        assert (kernel == alone.ntk(samples, dtype="float64")).all()
    assert stages
    single = DESCRIPTION.ntk_at_blocks(samples, [4], seed=5, network_dtype=dtype)
    assert (single[4] == DESCRIPTION.sample(5, dtype=dtype).ntk(samples)).all()


@settings(max_examples=25, deadline=None)
@given(networks(), st.integers(0, 1000))
def test_any_network(net: fastntk.Network, seed: int) -> None:
    count = sum(isinstance(layer, Residual) for layer in net.layers)
    assume(count > 0)
    samples = X[:4, : net.inputs]
    try:
        kernels = net.ntk_at_blocks(samples, range(count + 1), seed=seed)
    except ValueError:  # of a normalization of what is 0, after some number of blocks
        refused = []
        for blocks in range(count + 1):
            try:
                net.at_blocks(blocks).sample(seed).ntk(samples)
            except ValueError as error:
                refused.append(str(error))
        assert any("have no direction" in message for message in refused)
        return
    for blocks, kernel in kernels.items():
        assert (kernel == net.at_blocks(blocks).sample(seed).ntk(samples)).all()


def test_infinite_width_agrees() -> None:
    block = Residual([LayerNorm(), Dense(512), ReLU(), Dense(512)], scale=0.5)
    net = fastntk.Network([Dense(512), *[block] * 3, Dense(1)], inputs=5)
    limits = net.infinite(blocks=[0, 1, 3]).ntk(X)
    for limit, kernel in zip(limits, net.ntk_at_blocks(X, [0, 1, 3]).values(), strict=True):
        assert np.linalg.norm(kernel - limit) < 0.2 * np.linalg.norm(limit)


def test_layers_that_share_their_weights_share_memory() -> None:
    from fastntk.networks.wired import drawn

    together = drawn(tuple(DESCRIPTION.layers), 5, 0, np.dtype(np.float64), (0, 1, 4))
    alone = [DESCRIPTION.at_blocks(k).n_parameters for k in (0, 1, 4)]
    assert [network.n_parameters for network in together.networks] == alone
    assert together.n_parameters < sum(alone)


def test_bad_input() -> None:
    chain = fastntk.Network([Dense(4), ReLU(), Dense(1)], inputs=5)
    with pytest.raises(ValueError, match="blocks=1: the network has no blocks"):
        chain.at_blocks(1)
    with pytest.raises(ValueError, match=r"blocks=\[1\]: the network has no blocks"):
        chain.ntk_at_blocks(X, [1])
    with pytest.raises(ValueError, match=r"blocks\[1\]=5: expected at most 4"):
        DESCRIPTION.ntk_at_blocks(X, [0, 5])
    with pytest.raises(ValueError, match="blocks=-1"):
        DESCRIPTION.at_blocks(-1)
    with pytest.raises(ValueError, match=r"X.*\(9, 4\)"):
        DESCRIPTION.ntk_at_blocks(X[:, :4], [0])
    with pytest.raises(TypeError, match="seed"):
        DESCRIPTION.ntk_at_blocks(X, [0], seed=1.5)  # type: ignore[arg-type]


def test_kernels_that_vanish_are_told_apart() -> None:
    # The first layers make so little of the samples that float32 has nothing left of products.
    tiny = Dense(4, weight_std=1e-30)
    net = fastntk.Network([tiny, Residual([Dense(4), ReLU(), Dense(4)]), Dense(1)], inputs=5)
    with pytest.raises(OverflowError, match="too small for float32"):
        net.ntk_at_blocks(X.astype(np.float32), [0, 1], network_dtype="float32")


@pytest.mark.parametrize("activation", ["relu", "tanh", "gelu"])
def test_limits_without_blocks(activation: str) -> None:
    """The same bits alone and among others; as a chain by itself, the same to rounding."""
    phi = layers.Activation(activation)
    block = Residual([Dense(7, bias_std=0.3), phi, Dense(7)])
    first = Dense(7, bias_std=0.3)
    net = fastntk.Network([first, phi, Dense(7), *[block] * 2, phi, Dense(1)], inputs=5)
    several = net.infinite(blocks=[0, 1, 2]).ntk(X)
    for blocks in (0, 1, 2):
        np.testing.assert_array_equal(net.infinite(blocks=blocks).ntk(X), several[blocks])
    chain = net.at_blocks(0).infinite()
    assert isinstance(chain, infinite.Network)
    np.testing.assert_allclose(chain.ntk(X), several[0], rtol=1e-12)
