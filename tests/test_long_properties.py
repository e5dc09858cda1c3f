# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: ARG005 (definitions take all parameters, used or not)
"""Thousands of numbers against references that share nothing with the package: `pytest --long`.

Each activation, and each way in which two samples can lie to each other. A case is one number, or
one statement about a matrix, that was looked at and found right.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, TypeAlias

import mpmath
import numpy as np
import numpy.typing as npt
import pytest
from activation_cases import ALL, identify
from exact import inertia, with_integer_spectrum
from infinite_reference import exact_angles, exact_input_angle
from reference import FUNCTIONS, SELU, SELU_ALPHA, ReferenceNetwork
from scipy.special import erf

import fastntk
from fastntk import infinite
from fastntk.activations import Activation

pytestmark = pytest.mark.long

Array: TypeAlias = npt.NDArray[np.float64]
Count: TypeAlias = Callable[..., None]
DIGITS = 20


# φ and φ' once more, in functions that `m` has: of many digits, or of arrays.


class ManyDigits:
    exp, tanh, sin, cos, erf, log1p, sqrt = (
        staticmethod(getattr(mpmath, name))
        for name in ("exp", "tanh", "sin", "cos", "erf", "log1p", "sqrt")
    )
    pi = mpmath.pi

    @staticmethod
    def where(condition: Any, a: Any, b: Any) -> Any:
        return a if condition else b


class Arrays:
    exp, tanh, sin, cos, log1p, where, sqrt, pi = (
        getattr(np, name) for name in ("exp", "tanh", "sin", "cos", "log1p", "where", "sqrt", "pi")
    )
    erf = staticmethod(erf)


def logistic(m: Any, x: Any) -> Any:
    return (1 + m.tanh(x / 2)) / 2


def gate(m: Any, x: Any) -> Any:
    return (1 + m.erf(x / m.sqrt(2 + 0 * x))) / 2


def density(m: Any, x: Any) -> Any:
    return m.exp(-(x**2) / 2) / m.sqrt(2 * m.pi)


def pieces(m: Any, x: Any, negative: float, positive: float) -> Any:
    return m.where(x > 0, positive * x, negative * x)


def he(x: Any, degree: int) -> Any:
    """Hermite's polynomial of the probabilists."""
    before, now = 0 * x, 1 + 0 * x
    for k in range(degree):
        before, now = now, x * now - k * before
    return now


def softplus(m: Any, x: Any, beta: float) -> Any:
    large = m.where(x > 0, x, 0 * x)
    return large + m.log1p(m.exp(-beta * m.where(x > 0, x, -x))) / beta


def negative_part(m: Any, x: Any) -> Any:
    return m.where(x > 0, 0 * x, x)


def cubic(m: Any, x: Any) -> Any:
    return m.sqrt(8 / m.pi) * (x + 0.044715 * x**3)


def clipped(m: Any, x: Any, low: float, high: float) -> Any:
    return m.where(x > low, m.where(x > high, high + 0 * x, x), low + 0 * x)


def inside(m: Any, x: Any, low: float, high: float) -> Any:
    return m.where(x > low, m.where(x > high, 0 * x, 1 + 0 * x), 0 * x)


Definition: TypeAlias = Callable[..., Any]
DEFINITIONS: dict[str, tuple[Definition, Definition | None]] = {
    "identity": (lambda m, x: x, lambda m, x: 1 + 0 * x),
    "relu": (lambda m, x: pieces(m, x, 0, 1), lambda m, x: m.where(x > 0, 1 + 0 * x, 0 * x)),
    "leaky_relu": (
        lambda m, x, a: pieces(m, x, a, 1),
        lambda m, x, a: m.where(x > 0, 1 + 0 * x, a + 0 * x),
    ),
    "abrelu": (pieces, lambda m, x, a, b: m.where(x > 0, b + 0 * x, a + 0 * x)),
    "abs": (lambda m, x: pieces(m, x, -1, 1), lambda m, x: m.where(x > 0, 1 + 0 * x, 0 * x - 1)),
    "sign": (lambda m, x: m.where(x > 0, 1 + 0 * x, 0 * x - 1), None),
    "rectified_monomial": (
        lambda m, x, k: m.where(x > 0, x**k, 0 * x),
        lambda m, x, k: m.where(x > 0, k * x ** (k - 1), 0 * x),
    ),
    "monomial": (lambda m, x, k: x**k, lambda m, x, k: k * x ** (k - 1)),
    "polynomial": (
        lambda m, x, *c: sum(c[k] * x**k for k in range(len(c))) + 0 * x,
        lambda m, x, *c: sum(k * c[k] * x ** (k - 1) for k in range(1, len(c))) + 0 * x,
    ),
    "hermite": (
        lambda m, x, k: he(x, k) / math.sqrt(math.factorial(k)),
        lambda m, x, k: k * he(x, k - 1) / math.sqrt(math.factorial(k)),
    ),
    "erf": (
        lambda m, x, a, b: m.erf(a * x) + b,
        lambda m, x, a, b: 2 * a * m.exp(-((a * x) ** 2)) / m.sqrt(1 * m.pi),
    ),
    "gelu": (lambda m, x: x * gate(m, x), lambda m, x: gate(m, x) + x * density(m, x)),
    "sin": (lambda m, x, f, p: m.sin(f * x + p), lambda m, x, f, p: f * m.cos(f * x + p)),
    "cos": (lambda m, x, f, p: m.cos(f * x + p), lambda m, x, f, p: -f * m.sin(f * x + p)),
    "exp": (lambda m, x, r: m.exp(r * x), lambda m, x, r: r * m.exp(r * x)),
    "gaussian": (
        lambda m, x, r: m.exp(-r * x**2),
        lambda m, x, r: -2 * r * x * m.exp(-r * x**2),
    ),
    "rbf": (
        lambda m, x, g: m.sin(math.sqrt(2 * g) * x) + m.cos(math.sqrt(2 * g) * x),
        lambda m, x, g: (
            math.sqrt(2 * g) * (m.cos(math.sqrt(2 * g) * x) - m.sin(math.sqrt(2 * g) * x))
        ),
    ),
    "gabor": (
        lambda m, x: m.exp(-(x**2)) * m.sin(x),
        lambda m, x: m.exp(-(x**2)) * (m.cos(x) - 2 * x * m.sin(x)),
    ),
    "tanh": (lambda m, x: m.tanh(x), lambda m, x: 1 - m.tanh(x) ** 2),
    "sigmoid": (logistic, lambda m, x: (1 - m.tanh(x / 2) ** 2) / 4),
    "silu": (
        lambda m, x: x * logistic(m, x),
        lambda m, x: logistic(m, x) + x * (1 - m.tanh(x / 2) ** 2) / 4,
    ),
    "softplus": (softplus, lambda m, x, b: logistic(m, b * x)),
    "elu": (
        lambda m, x, a: m.where(x > 0, x, a * (m.exp(negative_part(m, x)) - 1)),
        lambda m, x, a: m.where(x > 0, 1 + 0 * x, a * m.exp(negative_part(m, x))),
    ),
    "selu": (
        lambda m, x: m.where(x > 0, SELU * x, SELU * SELU_ALPHA * (m.exp(negative_part(m, x)) - 1)),
        lambda m, x: m.where(x > 0, SELU + 0 * x, SELU * SELU_ALPHA * m.exp(negative_part(m, x))),
    ),
    "celu": (
        lambda m, x, a: m.where(x > 0, x, a * (m.exp(negative_part(m, x) / a) - 1)),
        lambda m, x, a: m.where(x > 0, 1 + 0 * x, m.exp(negative_part(m, x) / a)),
    ),
    "mish": (
        lambda m, x: x * m.tanh(softplus(m, x, 1)),
        lambda m, x: (
            m.tanh(softplus(m, x, 1)) + x * logistic(m, x) * (1 - m.tanh(softplus(m, x, 1)) ** 2)
        ),
    ),
    "gelu_tanh": (
        lambda m, x: x * logistic(m, cubic(m, x)),
        lambda m, x: (
            logistic(m, cubic(m, x))
            + x
            * m.sqrt(8 / m.pi)
            * (1 + 3 * 0.044715 * x**2)
            * (1 - m.tanh(cubic(m, x) / 2) ** 2)
            / 4
        ),
    ),
    "softsign": (
        lambda m, x: x / (1 + m.where(x > 0, x, -x)),
        lambda m, x: 1 / (1 + m.where(x > 0, x, -x)) ** 2,
    ),
    "squareplus": (
        lambda m, x, b: (x + m.sqrt(x**2 + b)) / 2,
        lambda m, x, b: (1 + x / m.sqrt(x**2 + b)) / 2,
    ),
    "relu6": (lambda m, x: clipped(m, x, 0, 6), lambda m, x: inside(m, x, 0, 6)),
    "hardtanh": (clipped, inside),
    "hardsigmoid": (
        lambda m, x: (clipped(m, x, -3, 3) + 3) / 6,
        lambda m, x: inside(m, x, -3, 3) / 6,
    ),
    "hardswish": (
        lambda m, x: x * (clipped(m, x, -3, 3) + 3) / 6,
        lambda m, x: (clipped(m, x, -3, 3) + 3 + x * inside(m, x, -3, 3)) / 6,
    ),
}

# Standard deviations that occur: "tiny", "usual", "huge"; what oscillates or grows is asked for
# less, since the integrals of the reference could not follow.
USUAL = (0.2, 2.0)
SCALES: dict[str, tuple[float, float]] = {
    "exp": (1e-6, 2.0),
    "sin": (1e-6, 6.0),
    "cos": (1e-6, 6.0),
    "rbf": (1e-6, 6.0),
    "gabor": (1e-6, 6.0),
    "gaussian": (1e-6, 30.0),
    "mish": (1e-6, 4.0),
    "gelu_tanh": (1e-6, 4.0),
    "squareplus": (1e-6, 2.0),
}
# Those with a Hermite series keep its tolerance, the others 2^-46 of the root mean squares.
SERIES = {"tanh", "sigmoid", "silu", "softplus", "elu", "mish", "gelu_tanh", "squareplus"}
KINDS = ("equal", "parallel", "opposite", "tiny", "huge", "unequal", "any angle")
DRAWS = 2


def pair_of(kind: str, phi: Activation, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return two samples of two entries; the standard deviation is the norm over √2."""
    smallest, largest = SCALES.get(phi.name, (1e-6, 1e3))
    s, t = rng.uniform(*USUAL, 2)
    angle = rng.uniform(0.05, 3.0)
    if kind in {"equal", "parallel", "opposite"}:
        x = math.sqrt(2) * s * np.array([0.6, 0.8])
        # Powers of 2 keep the direction to the bit.
        factor = 1.0 if kind == "equal" else 2.0 ** int(rng.integers(-3, 2))
        return x, -factor * x if kind == "opposite" else factor * x
    if kind == "tiny":
        s, t = smallest * rng.uniform(1, 10, 2)
    if kind == "huge":
        s, t = largest * rng.uniform(0.3, 1, 2)
    if kind == "unequal":
        s = smallest * rng.uniform(1, 10)
    return (
        math.sqrt(2) * s * np.array([1.0, 0.0]),
        math.sqrt(2) * t * np.array([math.cos(angle), math.sin(angle)]),
    )


def along_a_line(
    f: Definition, parameters: tuple[Any, ...], kinks: tuple[float, ...], s: Any, t: Any
) -> Any:
    """Return E[f(s u) f(t u)] of a normal number u in many digits; t may be negative."""

    def integrand(u: Any) -> Any:
        values = f(ManyDigits, s * u, *parameters), f(ManyDigits, t * u, *parameters)
        return values[0] * values[1] * mpmath.exp(-(u**2) / 2)

    # Panels that follow steep functions of large arguments.
    steps = [mpmath.mpf(2) ** k for k in range(-12, 4)]
    edges = {mpmath.mpf(0), *steps, *(-step for step in steps), *map(mpmath.mpf, (-14, 14))}
    edges |= {b / r for b in kinks for r in (s, t) if abs(b) < 14 * abs(r)}
    return mpmath.quad(integrand, sorted(edges), maxdegree=4) / mpmath.sqrt(2 * mpmath.pi)


POINTS, WEIGHTS = np.polynomial.legendre.leggauss(14)


def rule(*centres: float) -> tuple[Array, Array]:
    """Return nodes and weights for a normal number, finer and finer towards some points."""
    steps = 2.0 ** np.arange(-24, 4)
    edges = {-10.0, 10.0, *np.linspace(-10, 10, 17).tolist()}
    for centre in centres:
        if abs(centre) < 10:
            edges |= {centre, *(centre + steps).tolist(), *(centre - steps).tolist()}
    panels = np.array(sorted(edge for edge in edges if abs(edge) <= 10))
    middles, halves = (panels[1:] + panels[:-1]) / 2, (panels[1:] - panels[:-1]) / 2
    nodes = (middles[:, np.newaxis] + np.outer(halves, POINTS)).ravel()
    weights = np.outer(halves, WEIGHTS).ravel() * np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
    return nodes, weights


def in_the_plane(phi: Activation, f: Definition, s: float, t: float, rho: float) -> Any:
    """Return E[f(s u) f(t v)] of normal numbers with a correlation, by panels in float64."""
    parameters, kinks = phi.parameters, phi.breakpoints or (0.0,)
    # The integral over v turns where v is likely to be at a kink.
    outer, weights = rule(0.0, *(b / s for b in kinks), *(b / t / rho for b in kinks if rho))
    rest = math.sqrt((1 - rho) * (1 + rho))
    values = f(Arrays, s * outer, *parameters) * weights
    # Given u, v = ρu + √(1 − ρ²) w passes b/t at w = (b/t − ρu)/√(1 − ρ²): the panels are finest
    # there.
    inner, inner_weights = rule(0.0)
    total = 0.0
    for u, value in zip(outer, values, strict=True):
        passed = [(b / t - rho * u) / rest for b in kinks]
        if any(abs(w) < 10 for w in passed):
            nodes, own = rule(*passed)
        else:
            nodes, own = inner, inner_weights
        total += value * (own @ f(Arrays, t * (rho * u + rest * nodes), *parameters))
    return total


def moments(phi: Activation, x: Array, z: Array, which: int) -> tuple[float, float]:
    """Return E[f(u) f(v)] of φ (0) or φ' (1) for two samples, and √(E[f(u)²] E[f(v)²])."""
    f = DEFINITIONS[phi.name][which]
    assert f is not None
    norms = [mpmath.sqrt(mpmath.fdot(map(mpmath.mpf, v), map(mpmath.mpf, v)) / 2) for v in (x, z)]
    of_phi = phi.parameters, phi.breakpoints
    own = [along_a_line(f, *of_phi, s, s) for s in norms]
    parallel = x[0] * z[1] == x[1] * z[0]
    if parallel:
        sign = 1 if x @ z > 0 else -1
        value = along_a_line(f, *of_phi, norms[0], sign * norms[1])
    else:
        s, t = map(float, norms)
        value = in_the_plane(phi, f, s, t, float(x @ z) / (2 * s * t))
    return float(value), float(mpmath.sqrt(own[0] * own[1]))


@pytest.mark.parametrize("phi", [phi for phi in ALL if phi.name in DEFINITIONS], ids=identify)
def test_infinite_width(phi: Activation, count_cases: Count) -> None:
    """One hidden layer of infinite width: Σ = E[φφ] and Θ = Σ + ⟨x, z⟩/d E[φ'φ']."""
    assert {each.name for each in ALL} - DEFINITIONS.keys() == {"exp_normalized"}  # has no φ
    rng = np.random.default_rng(len(repr(phi)))
    tangent = DEFINITIONS[phi.name][1] is not None
    network = infinite.Network(1, phi, activation_scale=1.0)
    with mpmath.workdps(DIGITS):
        for kind in KINDS:
            for _ in range(DRAWS if kind in KINDS[:3] else 1):
                x, z = pair_of(kind, phi, rng)
                X, Z = x[np.newaxis], z[np.newaxis]
                try:
                    found = float(network.nngp(X, Z)[0, 0])
                    both = float(network.ntk(X, Z)[0, 0]) if tangent else math.nan
                except ValueError as error:
                    if phi.name not in SERIES or "tolerance=" not in str(error):
                        raise
                    continue  # a series that does not get there says so
                value, scale = moments(phi, x, z, 0)
                # The rules of the reference: 1e-11 in the plane.
                relative = 2.0**-44 + (1e-10 if phi.name in SERIES else 0.0)
                relative += 0.0 if kind in KINDS[:3] else 1e-11
                assert abs(found - value) <= relative * scale, (kind, x, z)
                count_cases("properties")
                if tangent:
                    slope, slope_scale = moments(phi, x, z, 1)
                    product = float(x @ z) / 2
                    size = scale + abs(product) * slope_scale
                    assert abs(both - value - product * slope) <= relative * size, (kind, x, z)
                    count_cases("properties")


def rows_of_all_kinds(d: int, rng: np.random.Generator) -> Array:
    """Return a sample, its double, its opposite, a copy; a tiny, a huge and another sample."""
    x, y, z, other = rng.standard_normal((4, d))
    return np.stack([x, 2 * x, -x, x, 1e-3 * y, 50 * z, other])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_finite_width(name: str, dtype: str, count_cases: Count) -> None:
    """All entries of kernels of random networks, against gradients one sample at a time."""
    for seed in range(12):
        rng = np.random.default_rng(seed)
        depth = 1 + seed % 3
        weight_std, bias_std = (1.0, 0.0) if seed % 2 else (float(rng.uniform(0.5, 1.5)), 0.4)
        widths = [3, *rng.integers(2, 9, depth).tolist(), int(rng.integers(1, 3))]
        net = fastntk.MLP(
            widths,
            activation=name,
            seed=seed,
            weight_std=weight_std,
            bias_std=bias_std,
            dtype=dtype,
        )
        X = rows_of_all_kinds(3, rng).astype(dtype)
        reference = ReferenceNetwork.like(net, weight_std, bias_std)
        expected = reference.ntk(X.astype(float), X.astype(float))
        found = net.ntk(X, dtype="float64")
        sizes = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        tolerance = 1e-11 if dtype == "float64" else 2e-3 if name in {"sin", "cos"} else 2e-4
        wrong = abs(found - expected) > tolerance * sizes
        # Of equal and opposite rows kinks may fall on either side in float32: not at 0 exactly.
        assert not wrong.any(), (widths, np.argwhere(wrong))
        count_cases("properties", len(X) * (len(X) + 1) // 2)


def random_matrix(rng: np.random.Generator) -> Array:
    """Return a symmetric matrix of floats: a Gram matrix, with repeated rows or a ridge or both."""
    n = int(rng.integers(2, 7))
    features = rng.standard_normal((n, n + 1)) * 10.0 ** rng.uniform(-3, 3, (n, 1))
    if rng.random() < 0.4:
        features[-1] = features[0] * (1 + rng.choice([0.0, 1e-9, 1e-6]))
    K = features @ features.T
    if rng.random() < 0.5:
        K += np.diag(np.diag(K)) * 10.0 ** rng.uniform(-17, -3)
    result: Array = np.tril(K) + np.tril(K, -1).T
    return result


@pytest.mark.parametrize("method", ["dense", "cholesky", "operator"])
def test_what_is_resolved_is_right(method: str, count_cases: Count) -> None:
    """Bounds enclose, what is resolved has a digit, what is not is below the floor: exactly."""
    rng = np.random.default_rng(7)
    for number in range(350):
        K = random_matrix(rng)
        result = fastntk.conditioning(K, method=method)
        if method == "operator":  # which encloses nothing
            assert result.bounds is None
        else:
            bounds = result.bounds
            assert bounds is not None
            assert inertia(K, bounds.eigenvalue_min.lower).below == 0, number
            assert inertia(K, bounds.eigenvalue_min.upper).above < len(K), number
            assert inertia(K, bounds.eigenvalue_max.lower).below < len(K), number
            assert inertia(K, bounds.eigenvalue_max.upper).above == 0, number
            count_cases("properties", 4)
        if result.resolved:
            assert inertia(K, 0.5 * result.eigenvalue_min).below == 0, number
            assert inertia(K, 2.0 * result.eigenvalue_min).below > 0, number
        else:
            assert inertia(K, 2.0 * result.noise_floor).below > 0, number
        count_cases("properties")


@pytest.mark.parametrize("method", ["dense", "cholesky", "operator"])
def test_spectra_of_integers(method: str, count_cases: Count) -> None:
    rng = np.random.default_rng(8)
    for _ in range(150):
        n = int(2 ** rng.integers(1, 5))
        small = rng.integers(0 if rng.random() < 0.2 else 1, 9, n)
        eigenvalues = [int(v) for v in small]
        eigenvalues[0] = int(10 ** rng.uniform(1, 12))
        K = with_integer_spectrum(eigenvalues)
        result = fastntk.conditioning(K, method=method)
        smallest, largest = min(eigenvalues), max(eigenvalues)
        if result.bounds is not None:
            assert smallest in result.bounds.eigenvalue_min
            assert largest in result.bounds.eigenvalue_max
            count_cases("properties", 2)
        assert result.resolved == (smallest > result.noise_floor) or (
            0.5 < smallest / result.noise_floor < 2
        )
        if result.resolved:
            kappa = float(Fraction(largest, smallest))
            assert abs(result.condition_number / kappa - 1) < 1e-6 + 4 * (
                result.noise_floor / smallest
            )
        count_cases("properties")


def test_angles_of_wide_networks(count_cases: Count) -> None:
    rng = np.random.default_rng(9)
    for _ in range(400):
        theta = float(10.0 ** rng.uniform(-12, math.log10(math.pi)))
        depth = int(rng.integers(0, 7))
        embedding, gradient = exact_angles(theta, depth)
        assert abs(infinite.embedding_angle(theta, depth) / float(embedding) - 1) < 1e-13
        assert abs(infinite.gradient_angle(theta, depth) / float(gradient) - 1) < 1e-13
        count_cases("properties", 2)


def test_angles_of_samples(count_cases: Count) -> None:
    """Without a hidden layer the gradient of a network is the sample."""
    rng = np.random.default_rng(10)
    net = fastntk.MLP([4, 1])
    for _ in range(400):
        x, direction = rng.standard_normal((2, 4))
        x *= 10.0 ** rng.uniform(-3, 3)
        distance = 10.0 ** rng.uniform(-14, 0)
        z = (x + distance * np.linalg.norm(x) * direction) * rng.choice([1.0, 0.25, 8.0])
        X = np.stack([x, z])
        exact = exact_input_angle(X[0], X[1])
        (pair,) = net.pair_angles(X, [(0, 1)])
        # Unit vectors are rounded: an absolute error of some units in the last place.
        assert abs(pair.angle - exact) < 1e-13 * exact + 1e-15, (x, z)
        count_cases("properties")
