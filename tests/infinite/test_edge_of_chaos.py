# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The edge of chaos: against closed forms, 30 digits of mpmath, and the networks themselves."""

from __future__ import annotations

import math
from typing import Any

import mpmath
import numpy as np
import pytest

import fastntk
from fastntk import activations
from fastntk.architectures import Architecture
from fastntk.infinite import edge_of_chaos

NORMALIZED = ("prenorm", "postnorm")


def expectation(function: Any, q: float) -> Any:
    """Return E[g(√q u)²] of a standard normal u."""
    root = mpmath.sqrt(q)
    # Where functions of the size of 1 turn, and where the density does.
    places = [mpmath.mpf(place) / root for place in (1, 4, 20)] + [mpmath.mpf(k) for k in (2, 6)]
    places = sorted(place for place in places if place < 14)
    points = [-14, *(-place for place in reversed(places)), 0, *places, 14]
    return mpmath.quad(lambda u: function(root * u) ** 2 * mpmath.npdf(u), points)


def erf_moments(q: Any) -> tuple[Any, Any]:
    """Return E₁ and E₀ of erf in closed form."""
    value = 2 / mpmath.pi * mpmath.asin(2 * q / (1 + 2 * q))
    return value, 4 / mpmath.pi / mpmath.sqrt(1 + 4 * q)


FUNCTIONS: dict[str, tuple[Any, Any]] = {
    "tanh": (mpmath.tanh, lambda u: mpmath.sech(u) ** 2),
    "gelu": (lambda u: u * mpmath.ncdf(u), lambda u: mpmath.ncdf(u) + u * mpmath.npdf(u)),
    "hardtanh": (lambda u: max(-1, min(1, u)), lambda u: mpmath.mpf(abs(u) < 1)),
}


@pytest.mark.parametrize(
    ("name", "bias_std"), [("tanh", 0.3), ("tanh", 1.0), ("gelu", 1.0), ("hardtanh", 0.3)]
)
@pytest.mark.parametrize("kind", ["plain", "postnorm"])
def test_the_equations_hold(name: str, bias_std: float, kind: str) -> None:
    edge = edge_of_chaos(name, bias_std, architecture=kind, activation_scale=1.0)
    with mpmath.workdps(30):
        value, slope = (expectation(each, edge.variance) for each in FUNCTIONS[name])
        weights = mpmath.mpf(edge.weight_std) ** 2
        if kind == "plain":
            equations = [(weights * value + bias_std**2, edge.variance), (weights * slope, 1)]
        else:
            equations = [
                (weights + bias_std**2, edge.variance),
                (weights**2 * slope, weights * value + bias_std**2),
            ]
        for left, right in equations:
            assert abs(left / right - 1) < 1e-10
    assert edge.bias_std == bias_std


@pytest.mark.parametrize("bias_std", [0.05, 0.3, 1.0])
def test_erf_in_closed_form(bias_std: float) -> None:
    def plain(q: Any) -> Any:
        value, slope = erf_moments(q)
        return value / slope + bias_std**2 - q

    def normalized(weight_std: Any) -> Any:
        weights = weight_std**2
        value, slope = erf_moments(weights + bias_std**2)
        return weights**2 * slope - weights * value - bias_std**2

    with mpmath.workdps(30):
        q = mpmath.findroot(plain, 1.0)
        expected = 1 / mpmath.sqrt(erf_moments(q)[1])
        weight_std = mpmath.findroot(normalized, 1.0)
    edge = edge_of_chaos("erf", bias_std, activation_scale=1.0)
    assert edge.weight_std == pytest.approx(float(expected), rel=1e-12, abs=0)
    assert edge.variance == pytest.approx(float(q), rel=1e-12, abs=0)
    for kind in NORMALIZED:
        found = edge_of_chaos("erf", bias_std, architecture=kind, activation_scale=1.0)
        assert found.weight_std == pytest.approx(float(weight_std), rel=1e-11, abs=0)


def hardtanh_moments(q: Any) -> tuple[Any, Any]:
    """Return E₁ and E₀ of hardtanh in closed form."""
    k = 1 / mpmath.sqrt(q)
    outside = mpmath.erfc(k / mpmath.sqrt(2))
    return q * (1 - outside - 2 * k * mpmath.npdf(k)) + outside, 1 - outside


def softsign_moments(q: Any) -> tuple[Any, Any]:
    """Return E₁ and E₀ of softsign by quadrature."""
    root = mpmath.sqrt(q)

    def mean(function: Any) -> Any:
        return 2 * mpmath.quad(lambda u: function(root * u) * mpmath.npdf(u), [0, 2, 6, 12, 25])

    return mean(lambda z: (z / (1 + z)) ** 2), mean(lambda z: (1 + z) ** -4)


@pytest.mark.parametrize(
    ("name", "moments", "bias_std", "digits"),
    [
        ("erf", erf_moments, 1e-8, 1e-9),
        ("erf", erf_moments, 1e-12, 1e-7),
        ("hardtanh", hardtanh_moments, 1e-8, 1e-9),
        ("softsign", softsign_moments, 1e-12, 1e-9),
    ],
)
def test_biases_that_are_nearly_none(
    name: str, moments: Any, bias_std: float, digits: float
) -> None:
    """The size is then so small that both sides of the equations agree to all digits of float64."""
    edge = edge_of_chaos(name, bias_std, activation_scale=1.0)
    blocks = edge_of_chaos(name, bias_std, architecture="postnorm", activation_scale=1.0)
    with mpmath.workdps(60):
        biases = mpmath.mpf(bias_std) ** 2

        def plain(factor: Any) -> Any:
            q = factor * mpmath.mpf(edge.variance)
            value, slope = moments(q)
            return biases * slope / (q * slope - value) - 1

        def normalized(factor: Any) -> Any:
            weights = (factor * mpmath.mpf(blocks.weight_std)) ** 2
            q = weights + biases
            value, slope = moments(q)
            return biases * (1 / weights + slope) / (q * slope - value) - 1

        for equation in (plain, normalized):
            assert equation(1 - digits) > 0 > equation(1 + digits)
        weight_std = 1 / mpmath.sqrt(moments(mpmath.mpf(edge.variance))[1])
        assert edge.weight_std == pytest.approx(float(weight_std), rel=1e-14, abs=0)


def test_what_rounding_hides_is_refused() -> None:
    for name, bias_std in (("tanh", 1e-15), ("tanh", 1e-200), ("hardtanh", 1e-16), ("silu", 1e-20)):
        with pytest.raises(ValueError, match=f"^bias_std={bias_std:g}: .* rounding hides how far"):
            edge_of_chaos(name, bias_std)
    with pytest.raises(ValueError, match=r"^bias_std=1e-20: expected a larger σ_b for tanh"):
        edge_of_chaos("tanh", 1e-20, architecture="prenorm")
    for bias_std in (1e-13, 1e-8, 1e-3):  # where it is known that the fixed point does not attract
        with pytest.raises(ValueError, match="expected a σ_b with which SiLU has an edge"):
            edge_of_chaos("silu", bias_std)


def test_known_values() -> None:
    # He's initialization, of any size of samples; and 1/φ'(0) where 0 attracts.
    edge = edge_of_chaos("relu", activation_scale=1.0)
    assert edge.weight_std == pytest.approx(math.sqrt(2), rel=1e-15, abs=0)
    assert math.isnan(edge.variance)
    assert edge_of_chaos("relu").weight_std == pytest.approx(1.0, rel=1e-15, abs=0)
    assert edge_of_chaos("leaky_relu").weight_std == pytest.approx(1.0, rel=1e-15, abs=0)
    slopes = activations.abrelu(-0.5, 2.0)
    expected = math.sqrt(2 / (0.25 + 4.0))
    found = edge_of_chaos(slopes, activation_scale=1.0).weight_std
    assert found == pytest.approx(expected, rel=1e-15, abs=0)
    for name, weight_std in (("tanh", 1.0), ("hardtanh", 1.0), ("erf", math.sqrt(math.pi) / 2)):
        edge = edge_of_chaos(name, activation_scale=1.0)
        assert edge.weight_std == pytest.approx(weight_std, rel=1e-14, abs=0)
        assert edge.variance == 0.0
    # The factor of φ divides σ_w² c².
    scaled = edge_of_chaos("erf", 0.3)
    plain = edge_of_chaos("erf", 0.3, activation_scale=1.0)
    ratio = plain.weight_std / scaled.weight_std
    assert ratio == pytest.approx(activations.get("erf").scale, rel=1e-12, abs=0)


def slopes_of(below: float, above: float) -> activations.Activation:
    """Return tanh with other slopes at 0."""

    def of(z: Any) -> Any:
        return np.where(z > 0, above, below)

    return activations.custom(
        lambda z: of(z) * np.tanh(z), lambda z: of(z) / np.cosh(z) ** 2, "two", breakpoints=(0.0,)
    )


@pytest.mark.parametrize(
    ("phi", "slopes"),
    [
        ("selu", (1.7580993408473766, 1.0507009873554805)),
        (activations.elu(2.0), (2.0, 1.0)),
        (activations.elu(0.5), (0.5, 1.0)),
        ("relu6", (0.0, 1.0)),
        (activations.hardtanh(0.0, 1.0), (0.0, 1.0)),
        (activations.hardtanh(-1.0, 0.0), (1.0, 0.0)),
        (slopes_of(1.0, 0.5), (1.0, 0.5)),
        (slopes_of(-0.5, 1.0), (-0.5, 1.0)),
    ],
    ids=str,
)
def test_functions_with_a_kink_at_zero(phi: Any, slopes: tuple[float, float]) -> None:
    """Small samples see both slopes, as those of networks with nearly no biases do."""
    edge = edge_of_chaos(phi, activation_scale=1.0)
    expected = 1 / math.hypot(*slopes) * math.sqrt(2)
    assert edge.weight_std == pytest.approx(expected, rel=1e-14, abs=0)
    assert edge[1:] == (0.0, 0.0)
    close = edge_of_chaos(phi, 1e-8, activation_scale=1.0)
    assert close.weight_std == pytest.approx(expected, rel=1e-3, abs=0)


def test_functions_that_turn_sharply() -> None:
    """Panels are cut until moments are known, or it is said that they are not."""

    def bump(width: float, breakpoints: tuple[float, ...] = ()) -> activations.Activation:
        def value(z: Any) -> Any:
            return np.tanh(z) + 0.2 * np.exp(-(((z - 0.8) / width) ** 2))

        def slope(z: Any) -> Any:
            y = (z - 0.8) / width
            return 1 / np.cosh(z) ** 2 - 0.4 * y / width * np.exp(-(y**2))

        return activations.custom(value, slope, "bump", breakpoints)

    found, right = (
        edge_of_chaos(bump(0.02, points), 0.3, activation_scale=1.0) for points in ((), (0.8,))
    )
    assert found.weight_std == pytest.approx(right.weight_std, rel=1e-9, abs=0)
    with pytest.raises(ValueError, match=r"activation=Activation\(bump\): expected one whose mom"):
        edge_of_chaos(bump(1e-3), 0.3, activation_scale=1.0)


def gaps(kind: str, weight_std: float, bias_std: float, depths: list[int], phi: str) -> Any:
    """Return 1 − C of two close samples after some depths, of the limit itself."""
    pair = np.array([[1.0, 0.0], [math.cos(1e-3), math.sin(1e-3)]]) * math.sqrt(2)
    found = []
    for depth in depths:
        network = Architecture(kind).network(
            depth, 2, width=3, activation=phi, activation_scale=1.0,
            weight_std=weight_std, bias_std=bias_std,
        )  # fmt: skip
        kernel = network.infinite().nngp(pair)
        found.append(1 - kernel[0, 1] / math.sqrt(kernel[0, 0] * kernel[1, 1]))
    return np.array(found)


@pytest.mark.parametrize("kind", ["plain", *NORMALIZED])
def test_close_samples_keep_their_angle_at_the_edge(kind: str) -> None:
    """In the infinite network itself: from block to block, where in chaos they drift apart."""
    edge = edge_of_chaos("erf", 0.3, architecture=kind, activation_scale=1.0)
    depths = [20, 21, 22, 23]

    def growth(weight_std: float) -> Any:
        found = gaps(kind, weight_std, 0.3, depths, "erf")
        return found[1:] / found[:-1] - 1

    assert abs(growth(edge.weight_std)).max() < 1e-4
    # With a growing stream it is a power of the depth, and so small after 20 blocks.
    least = 1e-3 if kind == "prenorm" else 0.05
    assert growth(1.3 * edge.weight_std).min() > least
    assert growth(0.7 * edge.weight_std).max() < -least


@pytest.mark.parametrize("weight_std", [0.7, 2.0])
def test_residual_networks_are_at_the_edge_with_every_weight_std(weight_std: float) -> None:
    """The slope of a block is that of the formula, and tends to 1 as the stream grows."""
    weights, biases = weight_std**2, 0.3**2
    sizes = [weights + biases]  # of the stream, for samples whose squares have the mean 1
    slopes = []
    for _ in range(10_000):
        size = sizes[-1]
        q = weights * size + biases
        value = 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
        slope = 4 / math.pi / math.sqrt(1 + 4 * q)
        sizes.append(size + weights * value + biases)
        slopes.append((size + weights**2 * slope * size) / sizes[-1])
    # The biases of the outputs bring all correlations closer to 1, the less the larger the stream.
    of_outputs = [weights * size / (weights * size + biases) for size in sizes]
    found = gaps("residual", weight_std, 0.3, [3, 4], "erf")
    expected = slopes[3] * of_outputs[4] / of_outputs[3]
    assert found[1] / found[0] == pytest.approx(expected, rel=1e-4, abs=0)
    assert abs(slopes[9_999] - 1) < 0.03
    assert abs(slopes[9_999] - 1) < 0.2 * abs(slopes[99] - 1)


def test_large_biases_have_large_sizes() -> None:
    edge = edge_of_chaos("erf", 100.0, activation_scale=1.0)
    value, slope = erf_moments(edge.variance)
    assert edge.weight_std**2 * slope == pytest.approx(1, rel=1e-10)
    assert edge.weight_std**2 * value + 1e4 == pytest.approx(edge.variance, rel=1e-10)


def test_where_there_is_no_edge() -> None:
    for bias_std in (0.0, 0.3):
        with pytest.raises(ValueError, match="activation='sign': expected one that has a slope"):
            edge_of_chaos("sign", bias_std)
    with pytest.raises(ValueError, match=r"bias_std=0\.3: expected 0 for ReLU, with which close"):
        edge_of_chaos("relu", 0.3)
    with pytest.raises(ValueError, match="'postnorm': expected 'plain' for ReLU without biases"):
        edge_of_chaos("relu", architecture="postnorm")
    with pytest.raises(ValueError, match="architecture='residual': expected another one"):
        edge_of_chaos("tanh", 0.3, architecture="residual")
    with pytest.raises(ValueError, match="bias_std=0: expected a σ_b with which GELU has an edge"):
        edge_of_chaos("gelu")
    for name, way in (("tanh", "apart"), ("gelu", "apart")):
        with pytest.raises(ValueError, match=f"bias_std=0 with .*; close samples drift {way} for"):
            edge_of_chaos(name, architecture="prenorm")
    with pytest.raises(ValueError, match=r"bias_std=3 with .*; close samples drift together for"):
        edge_of_chaos(activations.softplus(), 3.0, architecture="prenorm")
    with pytest.raises(ValueError, match="'exp_normalized': expected one that has a slope"):
        edge_of_chaos("exp_normalized")


def test_roots_that_are_rounding_are_none() -> None:
    """Hardtanh is linear near 0, GELU far from it: there both sides are equal but for rounding."""
    for name in ("hardtanh", "gelu"):
        with pytest.raises(ValueError, match="with architecture='postnorm': expected a σ_b"):
            edge_of_chaos(name, architecture="postnorm", activation_scale=1.0)
    assert isinstance(edge_of_chaos("tanh", 0.3), fastntk.infinite.Edge)


def test_where_sizes_do_not_stay_the_error_says_so() -> None:
    for activation, bias_std, weight_std in (("gelu", 0.3, 1.45), ("exp", 0.1, 0.3642)):
        words = rf"with σ_w = {weight_std} samples of the size q = .* keep it, but those near it"
        with pytest.raises(ValueError, match=rf"^bias_std={bias_std}: expected a σ_b .*; {words}"):
            edge_of_chaos(activation, bias_std, activation_scale=1.0)
