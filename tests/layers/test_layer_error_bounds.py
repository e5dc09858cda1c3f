# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Proved errors of networks of layers: no computation is further off, and they are of use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import layer_reference as reference
import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import given, settings
from hypothesis import strategies as st

import fastntk
from fastntk import layers
from fastntk.layers import Dense, LayerNorm, Residual, RMSNorm
from fastntk.networks.wired import with_arrays

if TYPE_CHECKING:
    from fastntk.layers import Layer

# Products of gradients are rounded besides.
GRADIENT = 2


def check(net: fastntk.Network, dtype: str, seed: int, size: float) -> float:
    """Compare the errors of all outputs with their bounds; return the largest of these."""
    finite = net.sample(seed, dtype=dtype)
    X = (size * np.random.default_rng(seed).standard_normal((3, net.inputs))).astype(dtype)
    X[1] = X[0] * (1 + 4 * np.finfo(dtype).eps)
    long = [array.astype(np.longdouble) for array in finite.parameters]
    with np.errstate(all="ignore"):
        exact = reference.jacobian(net, long, X.astype(np.longdouble))
    if not np.isfinite(exact).all():  # no direction, or a sigmoid of a number that is too large
        return np.inf
    exact *= np.sqrt(reference.rates(net))
    largest = 0.0
    for output in range(net.n_outputs):
        error = finite.ntk_errors(X, outputs=output)["feature_error"]
        try:
            computed = finite.gradient_features(X, output=output) * np.sqrt(reference.rates(net))
        except (OverflowError, ValueError):  # no number, or no direction, in its precision
            continue
        if np.isfinite(error):
            off = np.linalg.norm((computed - exact[:, output]).astype(float), axis=1)
            norms = np.linalg.norm(computed.astype(float), axis=1)
            allowed = (error + GRADIENT * np.finfo(dtype).eps) * norms + 1e3 * np.finfo(dtype).tiny
            assert (off <= allowed).all(), (net, off, allowed)
        largest = max(largest, error)
    return largest


@settings(max_examples=40, deadline=None)
@given(
    networks(activations=("relu", "tanh", "silu", "identity"), limit=False),
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 2**20),
    st.sampled_from([1e-6, 0.01, 1.0, 1.0, 100.0]),
)
def test_no_error_is_above_its_bound(
    net: fastntk.Network, dtype: str, seed: int, size: float
) -> None:
    check(net, dtype, seed, size)


@pytest.mark.long
@settings(max_examples=3000, deadline=None)
@given(
    networks(activations=("relu", "tanh", "silu", "identity"), limit=False),
    st.sampled_from(["float32", "float64"]),
    st.integers(0, 2**20),
    st.sampled_from([1e-12, 1e-6, 0.01, 1.0, 1.0, 100.0, 1e8]),
)
def test_no_error_is_above_its_bound_in_thousands_of_networks(
    net: fastntk.Network, dtype: str, seed: int, size: float
) -> None:
    check(net, dtype, seed, size)


def described(kind: str, blocks: int, width: int) -> list[Layer]:
    """Return the layers of a network with skip connections."""
    first: list[Layer] = [LayerNorm()] if kind == "normalized before" else []
    last: list[Layer] = [RMSNorm(gain=True, shift=True)] if kind == "normalized after" else []
    block = [Residual([*first, Dense(width), layers.ReLU(), Dense(width)], scale=0.5), *last]
    return [Dense(width), *block * blocks, Dense(1)]


@pytest.mark.parametrize("kind", ["plain", "normalized before", "normalized after"])
def test_the_bounds_are_of_use(kind: str) -> None:
    """A κ that is resolved as a rule is certain, in an interval with ends that nearly agree."""
    X = np.random.default_rng(0).standard_normal((30, 8))
    for blocks, most in ((1, 1e-11), (3, 1e-8)):
        net = fastntk.Network(described(kind, blocks, 64), inputs=8).sample()
        errors = net.ntk_errors(X)
        assert errors["feature_error"] < most
        result = fastntk.conditioning(net.ntk(X), **errors)
        assert result.resolved
        assert result.bounds is not None
        lower, upper = result.bounds.condition_number
        assert lower <= result.condition_number <= upper < lower * (1 + 1e-3)


def test_a_vector_that_nearly_has_no_direction() -> None:
    """What is left of three numbers when the mean is taken off has errors of their own size."""
    net = fastntk.Network([Dense(3), LayerNorm(), layers.Tanh(), Dense(1)], inputs=1)

    def error(difference: float) -> float:
        first = 1.0 + difference * np.array([[0.0], [1.0], [3.0]])
        weights = [first, np.array([[1.0, 0.5, -1.0]])]
        close = with_arrays(tuple(net.layers), net.inputs, weights)
        found = fastntk.FiniteNetwork.of_network(close).ntk_errors([[1.0]])
        return found["feature_error"]

    assert error(1.0) < 1e-13
    assert 1e-11 < error(1e-4) < 1e-9
    assert error(1e-15) == np.inf


def test_nothing_is_proved_of_activations_of_ones_own() -> None:
    phi = fastntk.activations.custom(lambda z: 2 * z, lambda z: 2 + 0 * z)
    net = fastntk.Network([Dense(4), layers.Activation(phi), Dense(1)], inputs=2).sample()
    found = net.ntk_errors([[1.0, 2.0]])
    assert found == {"feature_error": np.inf, "kernel_error": np.inf}


def test_a_chain_has_the_errors_of_the_network_without_a_description() -> None:
    X = np.random.default_rng(0).standard_normal((5, 3))
    chain = fastntk.Network([Dense(9), layers.Tanh(), Dense(8), layers.Tanh(), Dense(2)], inputs=3)
    plain = fastntk.MLP([3, 9, 8, 2], activation="tanh")
    assert chain.sample().ntk_errors(X) == plain.ntk_errors(X)
