# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Small angles between the gradients of networks of layers."""

from __future__ import annotations

from typing import Any

import layer_reference as reference
import numpy as np
import pytest
from test_finite_network import DESCRIPTION, X, with_parameters

import fastntk
from fastntk import layers
from fastntk.layers import Dense, LayerNorm, Residual, RMSNorm

NORMALIZED = fastntk.Network(
    [
        LayerNorm(gain=True, shift=True, trained=(0.5, 2.0)),
        Dense(7, bias_std=0.3),
        RMSNorm(shift=True, epsilon=0.1),
        Residual([layers.Tanh(), Dense(7, trained=0.25), RMSNorm(gain=True)], scale=0.5),
        Dense(2, bias_std=0.1),
    ],
    inputs=5,
)


def exact_angle(description: fastntk.Network, parameters: Any, x: Any, z: Any) -> float:
    """The angle in numbers of 64 bits, or more, of gradients by complex steps."""
    both = np.stack([x, z]).astype(np.longdouble)
    arrays = [array.astype(np.longdouble) for array in parameters]
    J = reference.jacobian(description, arrays, both)
    first, second = (J * np.sqrt(reference.rates(description))).reshape(2, -1)
    first, second = (g / np.sqrt((g**2).sum()) for g in (first, second))
    apart, together = (np.sqrt((g**2).sum()) for g in (first - second, first + second))
    return float(2 * np.arctan2(apart, together))


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="no longer numbers here")
@pytest.mark.parametrize("description", [DESCRIPTION, NORMALIZED])
def test_angles_have_their_digits(description: fastntk.Network) -> None:
    net, parameters = with_parameters(description, 5)
    for distance in (1.0, 1e-2, 1e-4, 1e-6):
        z = X[0] + distance * X[1]
        (found,) = net.pair_angles(np.stack([X[0], z]), [(0, 1)])
        expected = exact_angle(description, parameters, X[0], z)
        assert found.resolved
        # The reference has three digits more than float64, of numbers of size 1.
        rel = 1e-11 + 1e-18 / expected
        assert found.angle == pytest.approx(expected, rel=rel), distance


def test_angles_of_very_close_samples_grow_with_their_distance() -> None:
    net, _ = with_parameters(NORMALIZED, 6)
    step = np.ldexp(1.0, -44) * np.round(8 * X[1])  # so that what is added is exact
    x = np.round(1024 * X[0]) / 1024
    rows = np.stack([x, x + step, x + 2 * step, x])
    once, twice, never = net.pair_angles(rows, [(0, 1), (0, 2), (0, 3)])
    assert once.angle == pytest.approx(twice.angle / 2, rel=1e-9)
    assert 0 < once.angle < 1e-11
    assert once.resolved
    assert (never.angle, never.resolved) == (0.0, False)
    single = net.astype("float32").pair_angles(rows.astype(np.float32), [(0, 3)])
    assert single[0].angle == 0.0


def test_what_a_normalization_does_not_see_is_not_resolved() -> None:
    net, _ = with_parameters(NORMALIZED, 7)
    x = np.round(1024 * X[0]) / 1024
    for mean in (0.0, 4096.0):
        rows = np.stack([x + mean, x + mean + 64.0])  # exact: the same but for the mean
        (found,) = net.pair_angles(rows, [(0, 1)])
        assert not found.resolved
        assert found.angle < 1e-10


def test_angles_at_any_size_of_what_is_normalized() -> None:
    described = [Dense(6), LayerNorm(gain=True), layers.Tanh(), Dense(2)]
    net, _ = with_parameters(fastntk.Network(described, inputs=5), 8)
    rows = np.stack([X[0], X[0] + 1e-5 * X[1]])
    (expected,) = net.pair_angles(rows, [(0, 1)])
    for exponent in (-600, 600):
        (found,) = net.pair_angles(np.ldexp(rows, exponent), [(0, 1)])
        assert found.angle == pytest.approx(expected.angle, rel=1e-9)
        assert found.resolved


def test_a_chain_of_layers_has_the_angles_of_the_mlp() -> None:
    described = [Dense(9, bias_std=0.2), layers.GELU(), Dense(8, bias_std=0.2), layers.GELU()]
    net = fastntk.Network([*described, Dense(3, bias_std=0.2)], inputs=5).sample(seed=2)
    mlp = fastntk.MLP([5, 9, 8, 3], activation="gelu", bias_std=0.2, seed=2)
    rows = np.vstack([X[:6], X[0] + 1e-7 * X[7]])
    pairs = [(0, 1), (2, 5), (0, 6)]
    for mine, other in zip(net.pair_angles(rows, pairs), mlp.pair_angles(rows, pairs), strict=True):
        assert mine.angle == pytest.approx(other.angle, rel=1e-11)
    custom = layers.Activation(fastntk.activations.custom(lambda z: z**3, lambda z: 3 * z**2))
    own = fastntk.Network([Dense(9), custom, Dense(2)], inputs=5).sample()
    (found,) = own.pair_angles(np.stack([X[0], X[0] + 1e-15 * X[1]]), [(0, 1)])
    assert not found.resolved
