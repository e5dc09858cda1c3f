# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Limits of networks of which all samples share the factors of sums: which these are, and numbers.

They have a recursion of their own, so that what is known of all others is looked at again here.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import given, settings
from hypothesis import strategies as st
from limit_reference import exact_kernels

import fastntk
from fastntk import infinite
from fastntk.infinite.homogeneous_layers import HomogeneousLayers
from fastntk.infinite.homogeneous_program import is_homogeneous
from fastntk.infinite.layered_compiled import CompiledLayers
from fastntk.infinite.layered_factors import LayeredFactors
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.sample_norms import Samples
from fastntk.layers import Activation, Dense, Erf, LayerNorm, ReLU, Residual, RMSNorm

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.layers import Layer

    Array = npt.NDArray[np.float64]

FEW = Residual([Dense(4), ReLU(), Dense(4)], scale=0.5)


def limit(layers: Any, **given: Any) -> infinite.LayeredNetwork:
    return infinite.LayeredNetwork(layers, inputs=3, bottlenecks="grow", **given)


@st.composite
def homogeneous(draw: st.DrawFn) -> fastntk.Network:
    """Networks without biases and normalizations, or with them after the first normalization."""
    normalized = draw(st.booleans())

    def dense() -> Dense:
        biases = draw(st.sampled_from([0.0, 0.4])) if normalized else 0.0
        rate = draw(st.sampled_from([True, False, 0.5]))
        return Dense(5, weight_std=draw(st.sampled_from([0.5, 1.4])), bias_std=biases, trained=rate)

    def some(depth: int) -> list[Layer]:
        found: list[Layer] = []
        for _ in range(draw(st.integers(1, 3))):
            kind = draw(st.sampled_from(["layer", "linear", "block", "skip", "norm"]))
            if kind == "block" and depth > 0:
                scale = draw(st.sampled_from([0.0, 0.5, 1.0]))
                found.append(Residual([*some(depth - 1), dense()], scale=scale))
            elif kind == "skip":
                found.append(Residual([ReLU(), dense()], scale=0.7, projection=dense()))
            elif kind == "norm" and normalized:
                found.append(RMSNorm(gain=draw(st.booleans()), shift=draw(st.booleans())))
                found.append(dense())
            elif kind == "layer":
                found += [ReLU(), dense()]
            else:
                found.append(dense())
        return found

    head: list[Layer] = [Dense(5)]
    if normalized:
        head.append(LayerNorm())
    return fastntk.Network([*head, dense(), *some(2), Dense(1)], inputs=3)


def gaps_of(network: infinite.LayeredNetwork, X: Array, *, gradient: bool) -> Array:
    """Return 1 − cos, or −(1 + cos) where that is smaller, of all pairs."""
    every = Pairs.of(Samples.of(X), None, network)
    n = len(X)
    out = np.zeros((1, n, n))
    results = Results.of_gaps(out, n, n, gradient=gradient)
    for tile in every.tiles():
        every.propagate(tile, results, (tile.rows.start, tile.columns.start))
    gaps: Array = out[0]
    return gaps


@settings(max_examples=40)
@given(homogeneous(), st.integers(0, 10**6))
def test_against_formulas(net: fastntk.Network, seed: int) -> None:
    """All kinds of pairs: of sizes far apart, opposite, parallel, nearly the same."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((6, 3)) * 10.0 ** random.integers(-3, 4, (6, 1))
    X[1] = -3 * X[0]
    X[2] = X[0] * (1 + 2.0**-30)
    X[3] = -X[4] + 2.0**-20 * X[5]
    network = limit(net.layers)
    assert is_homogeneous(network)
    sigma, theta = exact_kernels(net, X, digits=60)
    with mpmath.workdps(60):
        for name, exact in (("nngp", sigma), ("ntk", theta)):
            kernel = getattr(network, name)(X)
            roots = [mpmath.sqrt(exact[i, i]) for i in range(len(X))]
            gaps = gaps_of(network, X, gradient=name == "ntk")
            for i, j in itertools.combinations(range(len(X)), 2):
                scale = roots[i] * roots[j]
                assert abs(kernel[i, j] - exact[i, j]) <= 1e-13 * scale
                if scale == 0:  # nothing is trained
                    continue
                near, far = 1 - exact[i, j] / scale, 1 + exact[i, j] / scale
                found = gaps[i, j]
                gap, other = (near, found) if found >= 0 else (far, -found)
                # Gaps of inputs have half the digits of their angle, which is known to 1e-16.
                assert abs(other - gap) <= 1e-12 * gap + 1e-15 * mpmath.sqrt(gap) + 1e-31


@settings(max_examples=25)
@given(networks(("relu", "identity")))
def test_factors_that_are_said_to_be_shared_are(net: fastntk.Network) -> None:
    network = infinite.LayeredNetwork(net.layers, inputs=net.inputs, bottlenecks="grow")
    if not is_homogeneous(network):
        return
    X = np.eye(net.inputs)[[0, 0, 0]] * np.array([[1e-3], [1.0], [1e4]])
    for each in LayeredFactors.of(Samples.of(X).norms, network).sums.values():
        np.testing.assert_allclose(each.factors, each.factors[:, :1] + 0 * each.factors, 1e-13)


@pytest.mark.parametrize(
    ("layers", "shared"),
    [
        ([Dense(4), FEW, Dense(1)], True),
        ([Dense(4), Residual([Dense(4), Activation("abs"), Dense(4)]), Dense(1)], True),
        ([Dense(4), LayerNorm(), Dense(4, bias_std=1.0), ReLU(), Dense(4), FEW, Dense(1)], True),
        ([Dense(4, bias_std=0.1), FEW, Dense(1)], False),
        ([Dense(4), Residual([LayerNorm(), Dense(4), ReLU(), Dense(4)]), Dense(1)], False),
        ([Dense(4), LayerNorm(epsilon=1e-3), FEW, Dense(1, bias_std=0.1)], False),
        ([Dense(4), Residual([Dense(4), Erf(), Dense(4)]), Dense(1)], False),
    ],
)
def test_who_shares_factors(layers: list[Layer], shared: bool) -> None:
    network = limit(layers)
    assert is_homogeneous(network) == shared
    X = np.random.default_rng(0).standard_normal((4, 3))
    kind = HomogeneousLayers if shared else CompiledLayers
    assert isinstance(Pairs.of(Samples.of(X), None, network).compiled, kind)


def test_the_same_numbers_as_the_recursion_of_all_networks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where tiles end: more samples than a tile has, and depths in one pass."""
    X = np.random.default_rng(1).standard_normal((700, 3))
    network = limit([Dense(4), FEW, FEW, FEW, Dense(1)], blocks=(1, 3))
    K, single = network.ntk(X), network.at_blocks(3).ntk(X)
    assert (K[1] == single).all()
    np.testing.assert_allclose(network.ntk(X[:30], X), K[:, :30], rtol=0, atol=3e-15 * K.max())
    monkeypatch.setattr(HomogeneousLayers, "of", lambda *_: None)
    other = network.ntk(X)
    assert (other != K).any()
    np.testing.assert_allclose(K, other, rtol=0, atol=3e-15 * other.max())


@pytest.mark.parametrize("sign", [1, -1])
def test_weights_that_samples_of_norm_1_would_not_survive(sign: int) -> None:
    """They would leave the range, or come to 0, so that the way of all networks is taken."""
    power = 10.0 ** (100 * sign)
    large = [Dense(4, weight_std=power)] * 2 + [Residual([Dense(4)]), Dense(4)]
    usual = [Dense(4)] * 2 + [Residual([Dense(4)]), Dense(4)]
    X = np.random.default_rng(2).standard_normal((5, 3))
    network = limit(large)
    assert (
        HomogeneousLayers.of(network, LayeredFactors.of(Samples.of(X / power).norms, network))
        is None
    )
    expected = limit(usual).nngp(X) * power * power
    np.testing.assert_allclose(network.nngp(X / power), expected, rtol=1e-13, atol=0)
