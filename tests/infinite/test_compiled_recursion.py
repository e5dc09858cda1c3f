# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The compiled recursion: the bits of the general one, and the functions of its loops."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import mpmath
import numpy as np
import pytest

from fastntk import activations, infinite
from fastntk.activations import Activation
from fastntk.infinite.duals import vectorized
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.recursion import Target
from fastntk.infinite.sample_norms import Samples

PHIS: list[str | Activation | Sequence[str]] = [
    "erf",
    "gelu",
    "sin",
    "cos",
    "gaussian",
    "gabor",
    activations.erf(0.7, 0.3),
    activations.rbf(0.5),
    "relu2",
    "exp_normalized",
    activations.polynomial(0.2, 0.7, -0.3),
    activations.exponential(0.3),
    "tanh",
    "silu",
    ["elu"] * 3,
    activations.elu(0.3),
    activations.custom(np.arctan),
    ["erf", "gelu", "sin"],
    ["tanh", "elu", "relu2"],
]


def samples(n: int) -> Samples:
    """Return samples of which some come twice, are opposite, parallel or close to others."""
    X = np.random.default_rng(n).standard_normal((n, 6))
    X[7], X[20], X[30], X[35] = X[3], -X[4], 1.5 * X[5], X[6] + 1e-9
    return Samples.of(X)


@pytest.mark.parametrize("phi", PHIS, ids=repr)
@pytest.mark.parametrize("bias_std", [0.0, 0.3])
def test_bits_of_the_general_recursion(
    phi: str | Activation | Sequence[str], bias_std: float
) -> None:
    names = [str(each).removeprefix("Activation(") for each in np.atleast_1d(np.array(phi, object))]
    elu = any(name.startswith("elu") for name in names)
    # Those whose series end where the neighbours of a pair let them.
    series = any(name.startswith(("tanh", "silu", "custom")) for name in names)
    depth = 3 if isinstance(phi, list) else [1, 3]
    # Of each layer another one, or an exchange of two would not be noticed.
    rates = [0.5, 2.0, 1.0, 0.25]
    network = infinite.Network(depth, phi, bias_std=bias_std, layer_weights=rates)
    X = samples(40)
    for Z in (None, samples(50)):
        pairs = Pairs.of(X, Z, network)
        assert pairs.compiled is not None
        general = dataclasses.replace(pairs, compiled=None)
        gaps = np.random.default_rng(0).uniform(-1, 1, (len(X), len(pairs.Z)))
        gaps[:, ::7] = 1e-12
        gaps[::9, 1::8] = -1e-12
        if Z is None:
            np.fill_diagonal(gaps, 0.0)
        found = []
        for each in (pairs, general):
            tile = dataclasses.replace(
                pairs.tiles()[0], rows=slice(0, len(X)), columns=slice(0, len(pairs.Z))
            )
            depths = len(network.depths)
            out = np.zeros((2, depths, len(X), len(pairs.Z)))
            ones = np.ones((depths, len(X))), np.ones((depths, len(pairs.Z)))
            results = Results.of_kernels(*(Target(part, *ones) for part in out))
            each.propagate_gaps(gaps.copy(), tile, results, (0, 0))
            found.append(np.triu(out) if Z is None else out)
        if elu:  # whose rows are taken in parts of a tile
            np.testing.assert_allclose(found[0], found[1], rtol=0, atol=2.0**-46)
        elif series and Z is None:  # whose rows begin at the diagonal
            np.testing.assert_allclose(found[0], found[1], rtol=0, atol=2.0**-42)
        else:
            np.testing.assert_array_equal(found[0], found[1])


def test_other_networks_take_the_general_recursion() -> None:
    for phi in ("leaky_relu", ["gelu", "relu"], ["abs", "tanh"]):
        network = infinite.Network(2, phi)
        assert Pairs.of(samples(40), None, network).compiled is None


def test_exponentials() -> None:
    with mpmath.workdps(40):
        for x in (0.0, -1e-300, -1e-9, -0.3, -0.35, -1.0, -17.3, -300.0, -707.0):
            part, scale = vectorized.exp_parts(x)
            assert abs(part + scale - mpmath.exp(x)) <= 4e-16 * mpmath.exp(x)
            less = mpmath.expm1(x)
            assert abs(part + (scale - 1) - less) <= 4e-16 * abs(less)
    assert sum(vectorized.exp_parts(-1e300)) < 1e-307


def test_polynomial_of_exponentials() -> None:
    with mpmath.workdps(60):
        for r in np.linspace(-0.34658, 0.34658, 300):
            x = mpmath.mpf(r)
            powers = (c * x**k for k, c in enumerate(vectorized.EXP_COEFFICIENTS))
            assert abs((x + x**2 * mpmath.fsum(powers)) / mpmath.expm1(x) - 1) < 5e-17


def test_arcs() -> None:
    with mpmath.workdps(40):
        for sine in (0.0, 1e-300, -1e-9, 0.3, -0.8, 0.999999, 1.0):
            cosine = mpmath.sqrt(1 - mpmath.mpf(sine) ** 2)
            exact = mpmath.asin(sine) / mpmath.pi
            found = vectorized.arc_angle(sine, float(cosine))
            assert abs(found - exact) <= 4e-16 * abs(exact)
