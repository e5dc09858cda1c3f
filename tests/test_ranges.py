# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels and outputs beyond the range of their numbers: an error, and never where they are right.

The networks are exact powers of two apart: what is right is known from samples of size 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastntk

X = np.random.default_rng(0).standard_normal((12, 5))
NET = fastntk.MLP([5, 64, 64, 2], dtype="float32")
EXACT = NET.astype("float64")

# All that hands out kernels, and needs no more than samples.
KERNELS: dict[str, Any] = {
    "ntk": lambda net, X: net.ntk(X),
    "diagonal": lambda net, X: net.ntk(X, outputs="diagonal"),
    "full": lambda net, X: net.ntk(X, outputs="full"),
    "one output": lambda net, X: net.ntk(X, outputs=1),
    "by layer": lambda net, X: net.ntk_by_layer(X),
    "packed": lambda net, X: net.ntk(X, out="packed"),
    "array": lambda net, X: net.ntk(X, out=np.empty((len(X), len(X)), net.dtype)),
    "tiles": lambda net, X: [tile.kernel for tile in net.ntk_tiles(X, tile=5)],
    "angle": lambda net, X: net.smallest_angle(X),
}
LARGE = r"X\[0\] with elements of at most .* \(of all samples .*\): its kernel is not finite in fl"


@pytest.mark.parametrize("name", KERNELS)
def test_samples_whose_kernel_overflows(name: str) -> None:
    size = "e.20" if name != "angle" else "e.160"  # angles are found in float64
    net = NET if name != "angle" else EXACT
    factor = 1e20 if name != "angle" else 1e160
    with pytest.raises(OverflowError, match=r"X\[\d+\] with elements of at most .*" + size):
        KERNELS[name](net, (factor * X).astype(net.dtype))
    KERNELS[name](net, X)


@pytest.mark.parametrize("name", [name for name in KERNELS if name != "tiles"])
def test_samples_whose_kernel_vanishes(name: str) -> None:
    factor = 1e-25 if name != "angle" else 1e-160
    net = NET if name != "angle" else EXACT
    with pytest.raises(OverflowError, match=r"X with elements of at most .*: the largest elem"):
        KERNELS[name](net, factor * X)


@pytest.mark.parametrize("factor", [2.0**500, 2.0**-500, 2.0**-400])
def test_kernels_within_the_range_are_the_same_but_for_the_factor(factor: float) -> None:
    np.testing.assert_array_equal(EXACT.ntk(factor * X) / factor**2, EXACT.ntk(X))
    np.testing.assert_array_equal(EXACT(factor * X) / factor, EXACT(X))
    assert EXACT.smallest_angle(factor * X) == EXACT.smallest_angle(X)


def test_one_sample_that_overflows_is_named_even_among_others() -> None:
    large = X.copy()
    large[7] *= 1e170
    message = LARGE.replace("0", "7", 1)
    for call in (EXACT.ntk, EXACT.smallest_angle, lambda X: EXACT.ntk(X, out="packed")):
        with pytest.raises(OverflowError, match=message):
            call(large)
    with pytest.raises(OverflowError, match=message):
        EXACT.ntk(large, 1e170 * X[:3])
    # With a small sample the product is within the range again, and right.
    right = EXACT.ntk(X[7:8], X[:3])
    np.testing.assert_allclose(EXACT.ntk(large[7:8], 1e-170 * X[:3]), right, rtol=1e-12)


def test_a_sum_that_overflows_is_no_element_that_does() -> None:
    linear = fastntk.MLP([1, 1])
    side = np.full((100, 1), 1e154)
    K = linear.ntk(side, side.copy())
    assert np.isfinite(K).all()
    with np.errstate(over="ignore"):
        assert np.isinf(K.sum())


def test_float32_networks_name_float64_as_the_way_out() -> None:
    deep = fastntk.MLP([5, *[64] * 40, 1], weight_std=10.0, dtype="float32")
    advice = r"expected samples, weight_std, .* network of float64 \(net\.astype\('float64'\)\)"
    calls: list[Any] = [deep, deep.smallest_angle, lambda X: deep.ntk(X, dtype="float64")]
    for call in calls:
        with pytest.raises(OverflowError, match=advice):
            call(X)
    assert np.isfinite(deep.astype("float64").ntk(X)).all()


def test_weights_that_are_not_finite_are_blamed() -> None:
    net = fastntk.MLP([5, 8, 1])
    net.weights[0][:] = np.nan
    with pytest.raises(OverflowError, match="the weights of the network are not finite"):
        net.ntk(X)
    with pytest.raises(OverflowError, match="the weights of the network are not finite"):
        net(X)


def test_kernels_that_are_zero_for_good_reasons() -> None:
    # No unit of the hidden layer is active.
    dead = fastntk.MLP.from_weights([-np.ones((4, 5)), np.ones((1, 4))])
    assert not dead.ntk(np.abs(X)).any()
    assert not dead.ntk(np.abs(X), out="packed").data.any()
    # Samples that are 0.
    assert not EXACT.ntk(np.zeros((3, 5))).any()
    assert not EXACT.ntk(np.zeros((3, 5)), X).any()
    with pytest.raises(ValueError, match="fewer than two with a gradient that is not zero"):
        EXACT.smallest_angle(np.zeros((3, 5)))
    # One layer of several that does not depend on its input, and a kernel of depth 0.
    assert set(fastntk.ntk_depths(X, [0, 3], width=16)) == {0, 3}
