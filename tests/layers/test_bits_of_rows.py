# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of layers: the bits of a sample do not depend on the samples beside it.

Nor on the number of threads. The parts below have one sample, or a few, and begin anywhere, also
where no panel of samples does; the whole is cut into so many blocks that weights are packed once
for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

import fastntk
from fastntk.layers import Dense, Layer, LayerNorm, ReLU, Residual, RMSNorm

if TYPE_CHECKING:
    from collections.abc import Callable

# Wider than what is multiplied at once, and no multiple of it or of a panel.
BLOCK = Residual([LayerNorm(), Dense(150), ReLU(), Dense(203, bias_std=0.2)], scale=0.5)
CHANGED = Residual([Dense(90), ReLU(), Dense(70)], projection=Dense(70, bias_std=0.1))
WIDE: list[Layer] = [Dense(203, bias_std=0.3), BLOCK, RMSNorm(), CHANGED, ReLU(), Dense(3)]
INPUTS, SAMPLES = 9, 401
PARTS = [slice(0, 1), slice(3, 10), slice(95, 144), slice(400, 401)]
DTYPES = ["float32", "float64"]


def samples(count: int, inputs: int, dtype: Any = np.float64) -> Any:
    return np.random.default_rng(count).standard_normal((count, inputs)).astype(dtype)


def by_rows(net: Any, Z: Any, other: Any) -> dict[str, Callable[[Any], Any]]:
    """Return what is computed of samples, each with the samples along its first axis."""
    return {
        "outputs": net,
        "kernel": lambda X: net.ntk(X, Z),
        "kernel in the other precision": lambda X: net.ntk(X, Z, dtype=other),
        "output by output": lambda X: net.ntk(X, Z, outputs="diagonal"),
        "layer by layer": lambda X: np.moveaxis(net.ntk_by_layer(X, Z), 1, 0),
        "activations": lambda X: net.conjugate_kernel(X, Z),
        "by the inputs": net.input_jacobian,
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_of_parts_are_those_of_the_whole(dtype: str) -> None:
    net = fastntk.Network(WIDE, inputs=INPUTS).sample(seed=1, dtype=dtype)
    X, Z = samples(SAMPLES, INPUTS, dtype), samples(30, INPUTS, dtype)
    other = DTYPES[1 - DTYPES.index(dtype)]
    for what, compute in by_rows(net, Z, other).items():
        whole = compute(X)
        for part in PARTS:
            assert np.array_equal(compute(X[part]), whole[part]), (what, part)
    # The whole kernel, and its parts from both sides.
    K = net.ntk(X)
    for rows in PARTS:
        for columns in PARTS:
            assert np.array_equal(net.ntk(X[rows], X[columns]), K[rows, columns])
    gradients = net.gradient_features(X[:20], output=1)
    for part in (slice(0, 1), slice(5, 12), slice(19, 20)):
        assert np.array_equal(net.gradient_features(X[:20][part], output=1), gradients[part])


@pytest.mark.parametrize("dtype", DTYPES)
def test_tiles_depths_and_angles_are_those_of_the_whole(dtype: str) -> None:
    described = fastntk.Network(WIDE, inputs=INPUTS)
    net = described.sample(seed=1, dtype=dtype)
    X = samples(SAMPLES, INPUTS, dtype)
    K = net.ntk(X)
    for tile in net.ntk_tiles(X, tile=83):
        assert np.array_equal(tile.kernel, K[tile.rows, tile.cols])
    depths = described.ntk_at_blocks(X, [0, 1, 2], seed=1, network_dtype=dtype)
    assert np.array_equal(depths[2], K)
    for part in PARTS:
        few = described.ntk_at_blocks(X[part], [0, 1, 2], seed=1, network_dtype=dtype)
        for count, kernel in few.items():
            assert np.array_equal(kernel, depths[count][part, part])
    best = net.smallest_angle(X)
    assert net.smallest_angle(X[[best.i, best.j]]).angle == best.angle


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_same_bits_for_any_number_of_threads(dtype: str) -> None:
    net = fastntk.Network(WIDE, inputs=INPUTS).sample(seed=1, dtype=dtype)
    X = samples(SAMPLES, INPUTS, dtype)
    found: list[list[Any]] = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            found.append([net(X), net.input_jacobian(X), net.ntk(X), net.ntk_by_layer(X)])
    for more in found[1:]:
        for a, b in zip(found[0], more, strict=True):
            assert np.array_equal(a, b)


@settings(max_examples=25)
@given(
    described=networks(("relu", "erf", "gelu"), limit=False, widths=st.integers(3, 150)),
    part=st.tuples(st.integers(0, 39), st.integers(1, 20)),
    dtype=st.sampled_from(DTYPES),
)
def test_drawn_networks(described: Any, part: tuple[int, int], dtype: str) -> None:
    net = described.sample(seed=3, dtype=dtype)
    X, Z = samples(40, described.inputs, dtype), samples(5, described.inputs, dtype)
    try:
        net.ntk(np.vstack([X, Z]))
    except (ValueError, OverflowError):  # a normalization of what is 0; tiny outputs in float32
        reject()
    rows = slice(part[0], sum(part))
    for what, compute in by_rows(net, Z, "float64").items():
        assert np.array_equal(compute(X[rows]), compute(X)[rows]), what
