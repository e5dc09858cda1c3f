# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Initial weights: reproducible, standard normal, and shared between depths."""

from __future__ import annotations

import numpy as np
import pytest

import fastntk


def test_streams_are_pinned() -> None:
    # The numbers that every platform must draw; a change of them is a change of every result.
    net = fastntk.MLP([2, 3, 1], bias_std=1.0, seed=7)
    assert net.biases is not None
    np.testing.assert_allclose(net.weights[0][0], PINNED["W1"], rtol=1e-14)
    np.testing.assert_allclose(net.weights[1][0], PINNED["W2"], rtol=1e-14)
    np.testing.assert_allclose(net.biases[0], PINNED["b1"], rtol=1e-14)


def test_layers_depend_on_seed_layer_and_widths_alone() -> None:
    shallow = fastntk.MLP([5, 16, 16, 1], seed=3)
    deep = fastntk.MLP([5, 16, 16, 16, 16, 1], seed=3)
    assert np.array_equal(shallow.weights[0], deep.weights[0])
    assert np.array_equal(shallow.weights[1], deep.weights[1])
    with_bias = fastntk.MLP([5, 16, 16, 1], seed=3, bias_std=1.0)
    assert np.array_equal(shallow.weights[1], with_bias.weights[1])
    # A readout is not a piece of the hidden layer that takes its place in a deeper network.
    assert not np.array_equal(shallow.weights[2][0], deep.weights[2][0])
    assert not np.array_equal(deep.weights[1], deep.weights[2])
    assert not np.array_equal(shallow.weights[0], fastntk.MLP([5, 16, 1], seed=4).weights[0])


def test_float32_weights_are_the_rounded_float64_ones() -> None:
    double = fastntk.MLP([5, 16, 1], seed=3).weights[0]
    single = fastntk.MLP([5, 16, 1], seed=3, dtype="float32").weights[0]
    assert np.array_equal(single, double.astype(np.float32))


def test_weights_are_standard_normal() -> None:
    weights = np.concatenate([w.ravel() for w in fastntk.MLP([300, 300, 300, 300]).weights])
    n = weights.size
    for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
        assert np.mean(weights**power) == pytest.approx(moment, abs=5 * np.sqrt(variance / n))


PINNED = {
    "W1": [1.2203747045939861, -0.09840761312131106],
    "W2": [-1.756455703199855, 1.1321044343705053, -1.1455675949518926],
    "b1": [0.049008191354902024, 0.1509174803501082, 1.5927329191228337],
}
