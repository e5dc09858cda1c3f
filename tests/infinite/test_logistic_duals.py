# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""tanh, sigmoid, softplus and SiLU at all norms and angles, and the mixture they are made of."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import mpmath
import numpy as np
import pytest
from infinite_reference import pairs_at
from logistic_reference import FUNCTIONS, Array, cosine, density, root_mean_square
from mpmath import mpf
from scipy.special import erf, expit, ndtr
from threadpoolctl import threadpool_limits

from fastntk import activations, infinite
from fastntk.activations import Activation
from fastntk.infinite.duals import Correlation, Dual, Gaps, dual_of
from fastntk.infinite.duals.logistic.mixture import Mixture, logistic_mixture

NORMS = (1e-150, 1e-9, 1e-3, 0.3, 1.0, 1.0, 3.0, 10.0, 10.0, 100.0, 1e6, 1e12, 1e150, 1e150)
GAPS = (0.0, 1e-300, 1e-20, 1e-12, 1e-6, 1e-3, 0.3, 1.0, 1.2, 1.7, 2 - 2.0**-20, 2 - 2.0**-40, 2.0)


def check(name: str, deviations: tuple[float, ...], gap: float, tolerance: float) -> None:
    """Compare all pairs of different samples with double integrals."""
    dual = dual_of(activations.get(name), tolerance)
    states = dual.state(np.array(deviations))
    pairs = pairs_at(states, states, gap)
    found = dual.gap(states, states, pairs).near, dual.derivative_gap(states, states, pairs).near
    norms = states.activation, states.derivative
    for (f, power), got, norm in zip(FUNCTIONS[name], found, norms, strict=True):
        for i, s in enumerate(deviations):
            assert norm[i] / s**power == pytest.approx(
                root_mean_square(f, s, power), rel=tolerance, abs=0
            )
            for j, t in enumerate(deviations[:i]):
                right = 1 - cosine(f, power, s, t, gap)
                assert abs(got[i, j] - right) < tolerance, (s, t, gap)
                assert abs(got[j, i] - right) < tolerance, (s, t, gap)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    ("s", "t", "gap"),
    [
        (3.0, 100.0, 0.0),
        (1e150, 1e150, 0.3),
        (1e150, 1e-150, 1.2),
        (30.0, 7.0, 1e-3),
        (1e6, 3e6, 1e-12),
        (6.0, 6.0, 2 - 2.0**-20),
        (0.3, 1e4, 2.0),
        (1.1, 1.2, 1.7),
    ],
)
def test_norms_and_angles(name: str, s: float, t: float, gap: float) -> None:
    check(name, (s, t), gap, 1e-10)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(("tolerance", "gap"), [(1e-3, 1e-9), (1e-7, 0.02), (3e-14, 1.9)])
def test_the_tolerance_is_kept(name: str, tolerance: float, gap: float) -> None:
    check(name, (0.7, 8.0), gap, tolerance)


@pytest.mark.long
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("gap", GAPS)
def test_all_norms_and_angles(name: str, gap: float) -> None:
    check(name, NORMS, gap, 1e-10)


@pytest.mark.long
@pytest.mark.parametrize("name", FUNCTIONS)
def test_random_norms_and_angles(name: str) -> None:
    generator = np.random.default_rng(0)
    for _ in range(200):
        deviations = tuple(10.0 ** generator.uniform(-2, 4, 2))
        gap = 10.0 ** generator.uniform(-9, 0) * generator.uniform(0.5, 1)
        check(name, deviations, float(generator.choice([gap, 2 - gap])), 1e-10)


def by_mpmath(name: str, s: float, t: float, gap: float, *, slope: bool) -> mpf:
    """Return E[f(u) f(v)] by a double integral in many digits."""
    sine = mpmath.sqrt(mpf(gap) * (2 - mpf(gap)))

    def f(x: mpf) -> mpf:
        half = mpmath.tanh(x / 2) / 2
        step, peak = mpf(1) / 2 + half, mpf(1) / 4 - half**2
        if name == "sigmoid":
            return peak if slope else step
        if name == "tanh":
            return 1 - mpmath.tanh(x) ** 2 if slope else mpmath.tanh(x)
        if name == "silu":
            return step + x * peak if slope else x * step
        return step if slope else mpmath.log(1 + mpmath.exp(x))

    def inner(x: mpf) -> mpf:
        if sine == 0:
            return f(t * (1 - mpf(gap)) * x)
        zero = -(1 - mpf(gap)) * x / sine
        edges = [zero + c / (t * sine) for c in (-9, -2, 0, 2, 9)]
        inside = sorted(y for y in [*edges, -3, 3] if -8 < y < 8)
        return mpmath.quad(
            lambda y: f(t * sine * (y - zero)) * mpmath.npdf(y), [-8, *inside, 8], maxdegree=5
        )

    scale = [c / s for c in (0.5, 2, 9)]
    edges = sorted([-8, 8, 0, *scale, *(-c for c in scale)])
    return mpmath.quad(lambda x: f(s * x) * mpmath.npdf(x) * inner(x), edges, maxdegree=5)


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("slope", [False, True])
def test_parallel_samples_in_many_digits(name: str, slope: bool) -> None:
    compare_with_mpmath(name, 2.0, 30.0, 0.0, slope)


@pytest.mark.long
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("slope", [False, True])
def test_double_integrals_in_many_digits(name: str, slope: bool) -> None:
    compare_with_mpmath(name, 4.0, 7.0, 0.05, slope)


def compare_with_mpmath(name: str, s: float, t: float, gap: float, slope: bool) -> None:
    dual = dual_of(activations.get(name))
    states = dual.state(np.array([s, t]))
    pairs = pairs_at(states, states, gap)
    found = (dual.derivative_gap if slope else dual.gap)(states, states, pairs).near[0, 1]
    norms = states.derivative if slope else states.activation
    with mpmath.workdps(20):
        right = by_mpmath(name, s, t, gap, slope=slope) / mpf(float(norms[0] * norms[1]))
        assert abs(found - (1 - right)) < 3e-10
    f, power = FUNCTIONS[name][slope]
    reference = cosine(f, power, s, t, gap)
    sizes = [root_mean_square(f, x, power) * x**power for x in (s, t)]
    assert reference * math.prod(sizes) == pytest.approx(
        float(right * norms[0] * norms[1]), rel=1e-12, abs=0
    )


# What `pairs` makes of the distribution: its odd part, its density, and so on.
def of_mixture(mixture: Mixture, x: Array) -> list[Array]:
    s, p = mixture.deviations[:, np.newaxis], mixture.weights[:, np.newaxis]
    normal = np.exp(-((x / s) ** 2) / 2) / math.sqrt(2 * math.pi)
    below = ndtr(x / s)
    return [
        (p * each).sum(axis=0)
        for each in (
            erf(x / s / math.sqrt(2)),
            below,
            normal / s,
            x * below + s * normal,
            x * below,
            below + x / s * normal,
        )
    ]


def of_logistic(x: Array) -> list[Array]:
    slope = FUNCTIONS["silu"][1][0]
    return [
        np.tanh(x / 2),
        expit(x),
        density(x),
        np.logaddexp(0, x),
        x * expit(x),
        slope(x),
    ]


@pytest.mark.parametrize("error", [1e-3, 1e-6, 1e-8, 1e-10, 1.25e-11, 1e-12, 1e-13, 2e-15])
def test_the_mixture_is_close_at_every_scale(error: float) -> None:
    # Every normal density is a mixture of uniform ones on intervals [−R, R]: if the squares of the
    # differences are small beside those of the functions on each of these, they are for all norms.
    mixture = logistic_mixture(error)
    assert mixture.weights.sum() == pytest.approx(1.0, abs=1e-15)
    points, weights = np.polynomial.legendre.leggauss(16)
    edges = np.concatenate([[0.0], 2.0 ** np.arange(-30, -1), np.arange(1, 200) / 2])
    centers, halves = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    x = (centers[:, np.newaxis] + np.outer(halves, points)).ravel()
    dx = np.outer(halves, weights).ravel()
    sides = [(of_mixture(mixture, z), of_logistic(z)) for z in (x, -x)]
    for k in range(6):
        differences = np.cumsum(dx * sum((found[k] - right[k]) ** 2 for found, right in sides))
        squares = np.cumsum(dx * sum(right[k] ** 2 for _, right in sides))
        assert (np.sqrt(differences / squares) <= error).all(), k


def test_the_mixture_is_no_larger_than_it_has_to_be() -> None:
    sizes = [len(logistic_mixture(10.0**-k).weights) for k in (4, 8, 12)]
    assert sizes[0] <= 12
    assert sizes[1] <= 16
    assert sizes[2] <= 23


def correlation(near: Array) -> Correlation:
    return Correlation(Gaps(near, 2 - near), np.full_like(near, np.nan))  # of no use to these duals


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_pair_does_not_depend_on_its_neighbours(name: str) -> None:
    generator = np.random.default_rng(0)
    dual = dual_of(activations.get(name))
    states = dual.state(np.sort(10.0 ** generator.uniform(-1, 2, 150)))
    gaps = generator.uniform(0, 2, (150, 150)) ** 3 / 4
    for method in (dual.gap, dual.derivative_gap):
        whole = method(states, states, correlation(gaps)).near
        for i, j in itertools.product((0, 70, 149), (3, 64, 149)):
            x, z = states.take(slice(i, i + 1)), states.take(slice(j, j + 1))
            alone = method(x, z, correlation(gaps[i : i + 1, j : j + 1])).near
            assert abs(alone[0, 0] - whole[i, j]) < 1e-13


def test_samples_beyond_all_scales_are_refused() -> None:
    for norm, most in ((1e160, r"1e\+153"), (7e152, r"5e\+152")):
        with pytest.raises(OverflowError, match=rf"deviations up to .* at most {most}, from sma"):
            infinite.ntk([[norm]], depth=1, activation="tanh", normalize=True)


@pytest.mark.parametrize("scale", [1.0, 10.0, 1e100])
def test_kernels_of_large_samples_have_no_negative_eigenvalues(scale: float) -> None:
    X = scale * np.random.default_rng(0).standard_normal((20, 3))
    for name in FUNCTIONS:
        K = infinite.ntk(X, depth=3, activation=name, normalize=True)
        assert np.linalg.eigvalsh(K)[0] > 1e-7


@pytest.mark.parametrize("name", FUNCTIONS)
def test_same_bits_for_any_number_of_threads(name: str) -> None:
    # Norms for which some pairs take their series and others closed forms.
    generator = np.random.default_rng(0)
    samples = generator.standard_normal((90, 2)) * 10.0 ** generator.uniform(-1, 2, (90, 1))
    kernels = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads):
            kernels.append(infinite.ntk(samples, depth=[1, 3], activation=name, bias_std=0.1))
    np.testing.assert_array_equal(kernels[1], kernels[0])
    np.testing.assert_array_equal(kernels[2], kernels[0])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_kernel_of_opposite_inputs_of_different_sizes(name: str) -> None:
    # With one input, x = 6 and −3, one random number is enough for both.
    u = np.linspace(-10, 10, 10_001)  # all is analytic and falls off: the sum has no error
    du = 2e-3 * np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi)
    f, slope = (FUNCTIONS[name][k][0] for k in (0, 1))
    moment = du @ f(u) ** 2
    expected = (du @ (f(6 * u) * f(-3 * u)) - 18 * du @ (slope(6 * u) * slope(-3 * u))) / moment
    found = infinite.ntk([[6.0], [-3.0]], depth=1, activation=name)[0, 1]
    assert found == pytest.approx(expected, rel=1e-10, abs=0)


X = np.array([[1.0, 0.2], [0.3, -1.0], [0.5, 0.9]])

ENTRIES: dict[str, Callable[..., object]] = {
    "ntk": lambda **options: infinite.ntk(X, **options),
    "nngp": lambda **options: infinite.nngp(X, **options),
    "kernels": lambda **options: infinite.kernels(X, **options),
    "smallest_angle": lambda **options: infinite.smallest_angle(X, **options),
    "conditioning": lambda **options: infinite.conditioning(X, **options),
    "embedding_angle": lambda **options: infinite.embedding_angle(0.5, **options),
    "gradient_angle": lambda **options: infinite.gradient_angle(0.5, **options),
    "predict": lambda **options: infinite.predict(X, [1.0, 2.0, 3.0], X, **options),
    "Network": lambda **options: infinite.Network(2, **options).ntk(X),
    "Regression": lambda **options: infinite.Regression(X, **options),
    "NeuralKernel": lambda **options: infinite.NeuralKernel(**options)(X),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_the_tolerance_reaches_the_dual_from_everywhere(
    entry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = []

    def recorded(phi: Activation, tolerance: float) -> Dual:
        reached.append(tolerance)
        return dual_of(phi, tolerance)

    monkeypatch.setattr("fastntk.infinite.architecture.dual_of", recorded)
    ENTRIES[entry](activation="tanh", tolerance=3e-5)
    assert set(reached) == {3e-5}
    reached.clear()
    ENTRIES[entry](activation="tanh")
    assert set(reached) == {1e-10}
