# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The programs of described networks, and their numbers beside those of other ways to them."""

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
from fastntk.infinite.gaps import fill_gaps
from fastntk.infinite.homogeneity import is_homogeneous
from fastntk.infinite.layered_compiled import CompiledLayers
from fastntk.infinite.layered_factors import LayeredFactors
from fastntk.infinite.layered_recursion import PairCalculus, plain
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.recursion import Position, Target
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.wiring import follow
from fastntk.layers import Activation, Dense, Erf, LayerNorm, ReLU, Residual, RMSNorm

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.layers import Layer

    Array = npt.NDArray[np.float64]

FEW = Residual([Dense(4), ReLU(), Dense(4)], scale=0.5)
NORMALIZED = Residual([LayerNorm(gain=True), Dense(4, bias_std=0.2), ReLU(), Dense(4)])
BIASED = Residual([Dense(4, bias_std=0.2), ReLU(), Dense(4, bias_std=0.1)])
HALF_BIASED = Residual([Dense(4), ReLU(), Dense(4, bias_std=0.1)])


def limit(layers: Any, **given: Any) -> infinite.LayeredNetwork:
    return infinite.LayeredNetwork(layers, inputs=3, bottlenecks="grow", **given)


@st.composite
def piecewise(draw: st.DrawFn, *, shared: bool) -> fastntk.Network:
    """Networks with biases and normalizations.

    With `shared`, none of these before the first normalization, so that samples share factors.
    """
    normalized = draw(st.booleans())

    def dense() -> Dense:
        biases = draw(st.sampled_from([0.0, 0.4])) if normalized or not shared else 0.0
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
            elif kind == "norm" and (normalized or not shared):
                epsilon = 0.0 if shared else draw(st.sampled_from([0.0, 1e-3]))
                gain, shift = draw(st.booleans()), draw(st.booleans())
                found.append(RMSNorm(epsilon=epsilon, gain=gain, shift=shift))
                found.append(dense())
            elif kind == "layer":
                found += [draw(st.sampled_from([ReLU(), Activation("abs")])), dense()]
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
@given(st.booleans().flatmap(lambda shared: piecewise(shared=shared)), st.integers(0, 10**6))
def test_against_formulas(net: fastntk.Network, seed: int) -> None:
    """All kinds of pairs: of sizes far apart, opposite, parallel, nearly the same."""
    random = np.random.default_rng(seed)
    X = random.standard_normal((6, 3)) * 10.0 ** random.integers(-3, 4, (6, 1))
    X[1] = -3 * X[0]
    X[2] = X[0] * (1 + 2.0**-30)
    X[3] = -X[4] + 2.0**-20 * X[5]
    network = limit(net.layers)
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
                gap = max(gap, mpmath.mpf(0))  # but for the rounding of 60 digits
                # Gaps of inputs have half the digits of their angle, which is known to 1e-16.
                assert abs(other - gap) <= 1e-12 * gap + 1e-15 * mpmath.sqrt(gap) + 1e-31


@settings(max_examples=25)
@given(networks(("relu", "identity")))
def test_factors_that_are_said_to_be_shared_are(net: fastntk.Network) -> None:
    network = infinite.LayeredNetwork(net.layers, inputs=net.inputs, bottlenecks="grow")
    if not is_homogeneous(network.layers, network.inputs):
        return
    X = np.eye(net.inputs)[[0, 0, 0]] * np.array([[1e-3], [1.0], [1e4]])
    for each in LayeredFactors.of(Samples.of(X).norms, network).sums.values():
        np.testing.assert_allclose(each.factors, each.factors[:, :1] + 0 * each.factors, 1e-13)


def test_a_normalization_that_fewer_blocks_would_leave_two_neurons() -> None:
    """Nobody asks for those: widths make no difference at infinite width."""
    X = np.random.default_rng(0).standard_normal((5, 3))

    def kernel(width: int) -> Any:
        block = Residual([Dense(4), ReLU(), Dense(3)], projection=Dense(3))
        layers = [Dense(width), block, block, LayerNorm(), ReLU(), Dense(1)]
        return limit(layers, blocks=(1, 2)).ntk(X)

    assert np.array_equal(kernel(2), kernel(5))


@pytest.mark.parametrize(
    ("layers", "shared"),
    [
        ([Dense(4), FEW, Dense(1)], True),
        ([Dense(4), Residual([Dense(4), Activation("abs"), Dense(4)]), Dense(1)], True),
        ([Dense(4), LayerNorm(), Dense(4, bias_std=1.0), ReLU(), Dense(4), FEW, Dense(1)], True),
        ([Dense(4, bias_std=0.1), FEW, Dense(1)], False),
        ([Dense(4), Residual([LayerNorm(), Dense(4), ReLU(), Dense(4)]), Dense(1)], False),
        ([Dense(4), LayerNorm(epsilon=1e-3), FEW, Dense(1, bias_std=0.1)], False),
    ],
)
def test_who_shares_factors(layers: list[Layer], shared: bool) -> None:
    compiled = Pairs.of(Samples.of(np.ones((1, 3))), None, limit(layers)).compiled
    assert isinstance(compiled, CompiledLayers)
    assert all(each.sums.shared == shared for each in compiled.networks)


def test_a_depth_has_the_same_bits_alone_and_among_others() -> None:
    """Also where all samples share the factors of what comes before the first bias."""
    X = np.random.default_rng(0).standard_normal((60, 3))
    biased = Residual([Dense(4, bias_std=0.3), ReLU(), Dense(4)])
    layers = [Dense(4), FEW, FEW, biased, Dense(1)]
    together = limit(layers, blocks=(0, 1, 2, 3)).ntk(X)
    for count, kernel in enumerate(together):
        assert (limit(layers, blocks=count).ntk(X) == kernel).all()
    every = limit([Dense(4), FEW, FEW, Dense(1)], blocks=(0, 2))
    assert is_homogeneous(every.layers, every.inputs)
    assert (every.ntk(X)[0] == limit([Dense(4), FEW, FEW, Dense(1)], blocks=0).ntk(X)).all()


def followed(network: infinite.LayeredNetwork, X: Array, *, gradient: bool) -> tuple[Array, Array]:
    """Return 1 − cos and 1 + cos of all pairs, of which differences of sizes are followed."""
    samples = Samples.of(X)
    factors = LayeredFactors.of(samples.norms, network)
    inputs, every = np.empty((len(X), len(X))), slice(0, len(X))
    fill_gaps(samples, samples, every, every, inputs, same=True)
    calculus = PairCalculus(network, (factors, factors))
    last = list(follow(network.steps, calculus, calculus.inputs(inputs), tangent=True))[-1]
    found = last[gradient]
    assert found is not None
    return plain(found).gaps[:]


@pytest.mark.parametrize("block", [FEW, NORMALIZED])
def test_the_same_numbers_wherever_tiles_end(block: Layer) -> None:
    """More samples than a tile has, and depths in one pass."""
    X = np.random.default_rng(1).standard_normal((1100, 3))
    network = limit([Dense(4), block, block, block, Dense(1)], blocks=(1, 3))
    K, single = network.ntk(X), network.at_blocks(3).ntk(X)
    assert (K[1] == single).all()
    np.testing.assert_allclose(network.ntk(X[:30], X), K[:, :30], rtol=0, atol=3e-15 * K.max())


@pytest.mark.parametrize("bias_std", [0.0, 0.1])
@pytest.mark.parametrize("phi", ["relu", "erf", "gelu", "exp", "sin", "gabor"])
@pytest.mark.parametrize(
    ("block", "together"), [(FEW, 3), (NORMALIZED, 4), (BIASED, 4), (HALF_BIASED, 2)]
)
def test_rows_with_close_pairs_have_the_bits_of_others(
    block: Residual, together: int, phi: str, bias_std: float
) -> None:
    """A row stops where a closed form leaves pairs close: all of it then takes another way."""
    layers = [Activation(phi) if isinstance(each, Activation) else each for each in block.layers]
    mixed = Residual(layers, scale=0.5)
    network = limit([Dense(4, bias_std=bias_std), mixed, block, mixed, Dense(1)], blocks=(1, 3))
    X = np.random.default_rng(3).standard_normal((70, 3))
    pairs = Pairs.of(Samples.of(X), None, network)
    (tile,) = pairs.tiles()
    assert isinstance(pairs.compiled, CompiledLayers)
    assert pairs.compiled.networks[1].together.max() == together
    for one in (1.0, 0.0):  # kernels, and gaps, which show what differences of sizes make of them
        found = []
        for arrays in (False, True):
            gaps = np.random.default_rng(0).uniform(-1, 1, (len(X), len(X)))
            gaps[::17, 1::8] = 1e-12
            np.fill_diagonal(gaps, 0.0)
            out = np.zeros((2, 2, len(X), len(X)))
            ones = np.ones((2, len(X)))
            targets = Target(out[0], ones, ones), Target(out[1], ones, ones)
            where = targets, one, Position(0, 0, diagonal=True)
            if arrays:
                pairs.compiled.propagate_arrays(gaps, (tile.rows, tile.columns), *where)
            else:
                pairs.propagate_gaps(gaps, tile, Results(*targets, one), (0, 0))
            found.append(np.triu(out))
        np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("bias_std", [0.0, 0.2])
@pytest.mark.parametrize("before", [[], [LayerNorm(gain=True)], [RMSNorm(epsilon=0.1)]])
@pytest.mark.parametrize("phi", [ReLU(), Erf(), Activation("gelu"), Activation("softsign")])
def test_the_same_gaps_as_by_differences_of_sizes(
    phi: Activation, before: list[Layer], bias_std: float, gradient: bool
) -> None:
    """To the digits of small ones: nearly equal samples, near multiples, and opposite ones."""
    X = np.random.default_rng(1).standard_normal((30, 3))
    X[1] = X[0] * (1 + 2.0**-40)
    X[2] = X[0] * (1 + 2.0**-20)
    X[3] = X[0] + 2.0**-30 * X[5]
    X[4] = 1.5 * X[0] + 2.0**-20 * X[7]
    X[5] = -X[0]
    X[6] = X[0]
    block = Residual([*before, Dense(4, bias_std=bias_std), phi, Dense(4)], scale=0.5)
    network = limit([Dense(4), block, block, Dense(1)])
    found = gaps_of(network, X, gradient=gradient)
    near, far = followed(network, X, gradient=gradient)
    gaps, others = np.where(found < 0, 2 + found, found), np.where(found < 0, -found, 2 - found)
    above = np.triu_indices(len(X), 1)
    # Sizes after an activation are rounded: what they move gaps by grows with the angle.
    for one, other in ((gaps, near), (others, far)):
        off = np.abs(one - other) - (1e-12 * other + 1e-15 * np.sqrt(other) + 1e-31)
        assert (off[above] <= 0).all()


def test_opposite_samples_keep_the_digits_of_their_angle() -> None:
    """φ' of |x| has the gap 2 (π − θ)/π, which is lost in 1 − (1 − …)."""
    X = np.array([[1.0, 0.0, 0.0], [-1.0, 2.0**-60, 0.0]])
    network = limit([Dense(4), Activation("abs"), Dense(1, trained=False)])
    expected = 2 * 2.0**-60 / np.pi
    assert gaps_of(network, X, gradient=True)[0, 1] == pytest.approx(expected, rel=1e-14)
    assert followed(network, X, gradient=True)[0][0, 1] == pytest.approx(expected, rel=1e-14)


@pytest.mark.parametrize("sign", [1, -1])
def test_weights_that_leave_the_range(sign: int) -> None:
    """Sizes that all samples share are those of one of norm 1, and have exponents of their own."""
    power = 10.0 ** (100 * sign)
    large = [Dense(4, weight_std=power)] * 2 + [Residual([Dense(4)]), Dense(4)]
    usual = [Dense(4)] * 2 + [Residual([Dense(4)]), Dense(4)]
    X = np.random.default_rng(2).standard_normal((5, 3))
    expected = limit(usual).nngp(X) * power * power
    np.testing.assert_allclose(limit(large).nngp(X / power), expected, rtol=1e-13, atol=0)
