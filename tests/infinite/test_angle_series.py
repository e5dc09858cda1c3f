# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples of one norm: their series in the angle, against many digits and against all layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dual_expectations
import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from exact_networks import CASES, DIGITS, Case, covariance_of, exact_kernels
from infinite_reference import general_kernels
from mpmath import mpf
from threadpoolctl import threadpool_limits

from fastntk import activations, infinite
from fastntk.activations import Activation
from fastntk.infinite import angle_series
from fastntk.infinite.angle_series import ARGUMENT_ERROR, PairsOfOneNorm, allowed_error, one_norm
from fastntk.infinite.gaps import fill_gaps
from fastntk.infinite.kernel_errors import kernel_error
from fastntk.infinite.kernel_matrices import kernel_diagonal
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.recursion import Target
from fastntk.infinite.sample_norms import Norms, Samples
from fastntk.infinite.tiles import Tile

Array = npt.NDArray[np.float64]


def half(expectation: dual_expectations.Expectation) -> Callable[[mpf, mpf, mpf, mpf], mpf]:
    return lambda s, t, rho, _: expectation(s, t, rho) / 2


def wave(s: mpf, t: mpf, rho: mpf, sine: mpf) -> mpf:
    return mpmath.exp(-(s**2 + t**2 - 2 * s * t * rho) / 2)


EXACT = {name: case for name, case in CASES.items() if case.slope is not None} | {
    "gabor": Case(
        activations.get("gabor"),
        half(dual_expectations.gabor),
        half(dual_expectations.gabor_slope),
    ),
    "rbf": Case(activations.rbf(0.5), wave, wave),
}
# Left to their own recursion.
for linear in ("identity", "relu", "abs", "leaky_relu"):
    del EXACT[linear]

OTHERS = ("elu", "tanh", "sigmoid", "silu", "softplus")
PHIS: list[Activation] = [
    *(case.phi for case in EXACT.values()),
    *map(activations.get, OTHERS),
    activations.erf(0.7, 0.3),
    activations.elu(0.3),
    activations.rectified_monomial(3),
]


def of_norm(norm: float, n: int, seed: int = 0, d: int = 5) -> Array:
    X = np.random.default_rng(seed).standard_normal((n, d))
    return np.asarray(X * (norm / np.linalg.norm(X, axis=1, keepdims=True)))


def all_kinds_of_pairs(norm: float) -> Array:
    """Return samples of which some come twice, are opposite, close or close to opposite."""
    X = of_norm(norm, 6)
    rest = of_norm(norm, 6, 1)
    X[1], X[2] = X[0], -X[0]
    for i, (sign, distance) in enumerate(((1, 1e-3), (-1, 1e-6), (1, 1e-9)), 3):
        near = sign * X[0] + distance * rest[i]
        X[i] = near * (norm / np.linalg.norm(near))
    return np.vstack([X, rest[:1]])


def by_layers(network: infinite.Network, gaps: Array, norm: float, d: int) -> Array:
    """Return the cosines (2, depths, n) of both kernels as the layers make them."""
    one, many = Samples.of(np.full((1, d), 1.0)), Samples.of(np.full((len(gaps), d), 1.0))
    norms = [
        Norms(d, np.full(len(x), norm), x.norms.exponents * 0, x.norms.rests * 0)
        for x in (one, many)
    ]
    pairs = Pairs.of(Samples(one.rows, norms[0]), Samples(many.rows, norms[1]), network)
    depths = len(network.depths)
    out = np.empty((2, depths, 1, len(gaps)))
    ones = np.ones((depths, 1)), np.ones((depths, len(gaps)))
    results = Results.of_kernels(*(Target(part, *ones) for part in out))
    tile = Tile(slice(0, 1), slice(0, len(gaps)), diagonal=False)
    pairs.propagate_gaps(gaps[np.newaxis].copy(), tile, results, (0, 0))
    return out[:, :, 0]


def pairs_of(network: infinite.Network, X: Array, Z: Array | None = None) -> PairsOfOneNorm | None:
    other = None if Z is None else Samples.of(Z)
    return PairsOfOneNorm.of(Samples.of(X), other, network, ("nngp", "ntk"))


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("bias", [0.0, 0.3])
def test_many_digits(name: str, bias: float) -> None:
    case, weight = EXACT[name], 1.1
    X = all_kinds_of_pairs(1.7)
    # Opposite, close to it, close, and any; with the one that comes twice, which has no own angle.
    places = [(0, 1), (0, 2), (0, 3), (0, 4), (0, 5), (0, 6), (2, 6), (4, 5)]
    for depth in (1, 3) if name == "monomial" else (1, 3, 10):
        net = infinite.Network(depth, case.phi, weight, bias, activation_scale=1.0)
        pairs = pairs_of(net, X)
        assert pairs is not None
        assert pairs.complete
        nngp, ntk = net.kernels(X)
        error = kernel_error(net, Samples.of(X).norms)
        for i, j in places:
            with mpmath.workdps(DIGITS):
                both = exact_kernels(case, covariance_of(X[[i, j]]), depth, weight, bias)
                for K, (x, z, exact) in zip((nngp, ntk), both, strict=True):
                    assert abs(K[i, j] - exact) <= error * mpmath.sqrt(x * z), (depth, i, j)
                    assert abs(K[i, i] - x) <= error * x


@pytest.mark.parametrize("name", OTHERS)
def test_quadrature(name: str) -> None:
    phi = activations.get(name)
    X = all_kinds_of_pairs(1.7)[[2, 6]]
    exact = general_kernels(X, 3, phi, 1.1, 0.3)
    for tolerance in (1e-4, 1e-7, 1e-10):
        net = infinite.Network(3, phi, 1.1, 0.3, tolerance=tolerance)
        assert pairs_of(net, X) is not None
        for K, right in zip(net.kernels(X), exact, strict=True):
            off = np.abs(K - right).max() / right[0, 0]
            assert off <= max(kernel_error(net, Samples.of(X).norms), 1e-10)
            assert off <= 10 * tolerance


@pytest.mark.parametrize("phi", PHIS, ids=repr)
def test_all_angles(phi: Activation) -> None:
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.uniform(0, np.pi, 200), np.pi * 10.0 ** rng.uniform(-12, 0, 100)])
    Z = 1.5 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    Z /= np.linalg.norm(Z, axis=1, keepdims=True) / 1.5
    Z = np.concatenate([Z, -Z])
    X = np.array([[1.5, 0.0]])
    w = np.sin(angles / 2) - np.cos(angles / 2)
    w = np.concatenate([w, -w])
    order = np.argsort(w)
    order = order[np.append(True, np.diff(w[order]) > 1e-6)]
    # Higher powers leave the range of numbers.
    depths = [0, 1, 3] if phi.name in ("monomial", "rectified_monomial") else [0, 1, 3, 10]
    for bias in (0.0, 0.2):
        net = infinite.Network(depths, phi, 1.0, bias)
        pairs = pairs_of(net, X, Z)
        assert pairs is not None
        gaps = np.empty((1, len(Z)))
        fill_gaps(pairs.X, pairs.Z, slice(0, 1), slice(0, len(Z)), gaps, same=False)
        found = net.kernels(X, Z, normalize=True)
        assert max(np.abs(kernel).max() for kernel in found) <= 1
        right = by_layers(net, gaps[0], 1.5, 2)
        for kind, series in enumerate(pairs.series):
            for k, depth in enumerate(net.depths):
                if series.terms[k, 0] > 0:
                    # The sums of layers without a closed form have jumps, which layers widen.
                    loose = allowed_error(net, depth) > 1e-13
                    off = np.abs(found[kind][k] - right[kind, k]).max()
                    steepest = np.abs(np.diff(right[kind, k, order]) / np.diff(w[order])).max()
                    allowed = allowed_error(net, depth) + ARGUMENT_ERROR * steepest
                    assert off <= (1e-11 if loose else allowed), (kind, depth)
                else:
                    assert depth > 1, (kind, depth)


def test_parts_of_the_samples_have_the_same_bits() -> None:
    # The inner products of these are exact, in every order.
    X = np.random.default_rng(0).choice([-1.0, 1.0], (270, 16))
    X[7], X[200] = X[3], -X[4]
    for phi in ("erf", "elu", "silu", activations.custom(np.arctan)):
        options: dict[str, Any] = {"activation": phi, "bias_std": 0.1}
        depths = [0, 1, 2]
        whole = infinite.kernels(X, depth=depths, **options)
        for kind, K in zip(("nngp", "ntk"), whole, strict=True):
            function = getattr(infinite, kind)
            np.testing.assert_array_equal(K, K.swapaxes(1, 2))
            for k, depth in enumerate(depths):
                np.testing.assert_array_equal(function(X, depth=depth, **options), K[k])
            for rows, columns in ((slice(0, 1), slice(4, 270)), (slice(50, 250), slice(3, 4))):
                part = function(X[rows], X[columns], depth=depths, **options)
                np.testing.assert_array_equal(part, K[:, rows, columns])
            np.testing.assert_array_equal(function(X[::-7], depth=2, **options), K[2, ::-7, ::-7])
            np.testing.assert_array_equal(K[:, 7], K[:, 3])
            with threadpool_limits(1):
                np.testing.assert_array_equal(function(X, depth=depths, **options), K)
            single = function(X.astype(np.float32), depth=depths, **options)
            np.testing.assert_array_equal(single, K.astype(np.float32))
        diagonal = kernel_diagonal(infinite.Network(2, **options), "ntk", X)
        np.testing.assert_array_equal(np.diag(whole.ntk[2]), diagonal)


@pytest.mark.parametrize("phi", ["sin", "erf"])
def test_opposite_samples_of_odd_networks(phi: str) -> None:
    X = np.random.default_rng(0).choice([-1.0, 1.0], (40, 16))
    for kernel in infinite.kernels(X, np.vstack([X, -X]), depth=[1, 4], activation=phi):
        np.testing.assert_array_equal(kernel[..., :40], -kernel[..., 40:])


def test_depths_without_series_take_all_layers() -> None:
    X = all_kinds_of_pairs(3.0)
    net = infinite.Network([1, 3, 20], "gabor", weight_std=3.0)
    pairs = pairs_of(net, X)
    assert pairs is not None
    assert not pairs.complete
    assert pairs.series[1].terms[2, 0] == 0
    assert pairs.series[1].terms[0, 0] > 0
    K = net.ntk(X)
    for k, depth in enumerate(net.depths):
        np.testing.assert_array_equal(net.at_depth(depth).ntk(X), K[k])
    Z = np.vstack([X, 2 * X[:1]])  # which has another norm
    assert pairs_of(net, Z) is None
    np.testing.assert_array_equal(net.ntk(Z)[2, :-1, :-1], K[2])
    np.testing.assert_allclose(net.ntk(Z)[0, :-1, :-1], K[0], rtol=0, atol=1e-14 * K[0, 0, 0])


def test_kernels_of_zero() -> None:
    X = of_norm(1.0, 6)
    nngp, ntk = infinite.kernels(X, depth=[0, 1, 2], activation="erf", layer_weights=(0, 0, 1))
    assert (ntk[:2] == 0).all()
    np.testing.assert_allclose(ntk[2], nngp[2], rtol=0, atol=1e-14)
    with pytest.raises(ValueError, match="a kernel of 0 at depth 1"):
        infinite.ntk(X, depth=[1, 2], activation="erf", layer_weights=(0, 0, 1), normalize=True)


def test_norms_that_count_as_one() -> None:
    for norm in (1.0, 2.0**-30, 1e-300, 8.0, 3e200):
        for d in (2, 60, 900):
            found = one_norm(Samples.of(of_norm(norm, 200, d=d)).norms)
            assert found is not None
            size = mpmath.ldexp(mpf(found[0]), found[1])
            assert abs(size / mpf(norm) - 1) <= angle_series.NORM_ERROR
    X = of_norm(1.0, 10)
    for factor in (1 + 1e-13, 2.0, 0.0):
        other = X.copy()
        other[3] *= factor
        assert one_norm(Samples.of(other).norms) is None
    assert one_norm(Samples.of(0 * X).norms) is None
    # Norms on both sides of a power of two
    other = np.array([[1.0, 0.0], [1 - 2.0**-53, 0.0], [1 + 2.0**-52, 0.0]])
    assert one_norm(Samples.of(other).norms) == (0.5, 1)
    # A single sample has no pairs.
    assert pairs_of(infinite.Network(2, "erf"), X[:1]) is None
    assert pairs_of(infinite.Network(2, "relu"), X) is None


class Unhashable:
    """A function without a hash."""

    __hash__ = None  # type: ignore[assignment]

    def __call__(self, x: Array) -> Array:
        return np.arctan(x)


def test_functions_without_a_hash() -> None:
    X = of_norm(1.0, 5)
    K = infinite.ntk(X, depth=2, activation=activations.custom(np.arctan, name="a"))
    found = infinite.ntk(X, depth=2, activation=activations.custom(Unhashable(), name="a"))
    np.testing.assert_array_equal(found, K)


def test_a_series_is_only_taken_where_it_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    net = infinite.Network(3, "erf")
    given = net, 5, (0.5, 2), (True, True)
    found = angle_series._found(*given)
    assert all((each.terms > 0).all() for each in found)
    # With few points it would be wrong, and with coefficients that are cut off as well.
    monkeypatch.setattr(angle_series, "_FEWEST", 8)
    monkeypatch.setattr(angle_series, "_MOST", 8)
    assert not any(each.terms.any() for each in angle_series._found(*given))
    monkeypatch.undo()
    monkeypatch.setattr(angle_series, "_TRIMMED", 100.0)
    assert not any(each.terms.any() for each in angle_series._found(*given))
