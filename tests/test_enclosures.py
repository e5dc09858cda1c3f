# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Bounds of λ_min, λ_max and κ contain the truth, which rational arithmetic knows."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pytest
from exact import inertia, with_integer_spectrum
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import fastntk
from fastntk import Interval
from fastntk._support.rounding import cholesky_error
from fastntk.eigenvalues.enclosures import cholesky_bound, largest_interval, smallest_lower
from fastntk.eigenvalues.sources import source_of
from fastntk.symmetric.block_lanczos import RitzPairs

Matrix = npt.NDArray[np.float64]

METHODS = st.sampled_from(["dense", "cholesky"])


def test_inertia() -> None:
    assert inertia(np.diag([1.0, 2.0, 2.0, 5.0]), 2.0) == (1, 2, 1)
    assert inertia(np.array([[0.0, 1.0], [1.0, 0.0]]), 0.0) == (1, 0, 1)
    assert inertia(np.zeros((3, 3)), 0.0) == (0, 3, 0)
    K = np.random.default_rng(0).standard_normal((6, 6))
    K = K + K.T
    for shift in np.linspace(-4, 4, 9):
        below = int((np.linalg.eigvalsh(K) < shift).sum())
        assert inertia(K, shift) == (below, 0, 6 - below)


@st.composite
def integer_spectra(draw: st.DrawFn) -> list[int]:
    """Condition numbers from 1 to 1e14, clusters, ties and zeros."""
    n = 2 ** draw(st.integers(0, 5))
    top = 2 ** draw(st.integers(0, 46))
    kind = draw(
        st.sampled_from(
            ["free", "cluster", "ties", "singular", "graded", "outlier", "indefinite by rounding"]
        )
    )
    if kind == "free":
        values = draw(st.lists(st.integers(1, top), min_size=n, max_size=n))
    elif kind == "cluster":
        bottom = draw(st.integers(1, top))
        values = [min(top, bottom + draw(st.integers(0, 3))) for _ in range(n - 1)] + [top]
    elif kind == "ties":
        values = [draw(st.sampled_from([1, top])) for _ in range(n)]
    elif kind == "singular":
        values = [draw(st.sampled_from([0, 1, top])) for _ in range(n)]
    elif kind == "graded":
        values = [max(1, round(top ** (i / max(1, n - 1)))) for i in range(n)]
    elif kind == "outlier":
        values = [1] * (n - 1) + [top]
    else:
        # Below the noise of λ_max: a decomposition in floating-point numbers may well succeed.
        below = draw(st.integers(1, n))
        values = [-1 if i < below else 2**46 for i in range(n - 1)] + [2**46]
    assume(any(values))
    return [int(value) for value in values]


@settings(max_examples=500)
@given(integer_spectra(), METHODS, st.integers(-40, 40))
def test_spectra_of_integers(eigenvalues: list[int], method: str, exponent: int) -> None:
    scale = 2.0**exponent
    K = with_integer_spectrum(eigenvalues) * scale
    result = fastntk.conditioning(K, method=method)
    smallest, largest = min(eigenvalues) * scale, max(eigenvalues) * scale
    assert result.bounds is not None
    assert smallest in result.bounds.eigenvalue_min
    assert largest in result.bounds.eigenvalue_max
    kappa = math.inf
    if smallest > 0:
        kappa = float(Fraction(max(eigenvalues), min(eigenvalues)))
    assert smallest < 0 or kappa in result.bounds.condition_number

    # λ_min is resolved if, and only if, it is above the noise floor.
    if not 0.5 < smallest / result.noise_floor < 2:
        assert result.resolved == (smallest > result.noise_floor)
    if not result.resolved and smallest >= 0:
        assert smallest <= result.noise_floor
        assert result.eigenvalue_max / result.noise_floor <= kappa
        assert result.rank is not None
        assert result.rank < len(K)
    if result.resolved:
        assert result.eigenvalue_min in result.bounds.eigenvalue_min
        assert result.condition_number == pytest.approx(
            kappa, rel=1e-6 + 4 * result.noise_floor / smallest, abs=0
        )


@settings(max_examples=600)
@given(
    st.integers(1, 6).flatmap(
        lambda n: arrays(
            np.float64,
            (n, n + 1),
            elements=st.floats(-1, 1, allow_subnormal=False, width=32),
        )
    ),
    METHODS,
    st.floats(0, 1e-3),
)
def test_matrices_of_floats(features: Matrix, method: str, ridge: float) -> None:
    K = features @ features.T
    K = np.tril(K) + np.tril(K, -1).T
    K += ridge * np.eye(len(K))
    assume(np.linalg.norm(K) > 1e-100)
    bounds = fastntk.conditioning(K, method=method).bounds
    assert bounds is not None
    # No eigenvalue below the lower end for λ_min, at least one not above its upper end.
    assert inertia(K, bounds.eigenvalue_min.lower).below == 0
    assert inertia(K, bounds.eigenvalue_min.upper).above < len(K)
    assert inertia(K, bounds.eigenvalue_max.lower).below < len(K)
    assert inertia(K, bounds.eigenvalue_max.upper).above == 0


@settings(max_examples=300)
@given(
    st.integers(2, 12),
    st.floats(-16.5, -12.0),
    st.floats(0.1, 0.9),
    st.sampled_from(["dense", "cholesky", "operator"]),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_what_is_resolved_has_a_digit_and_what_is_not_is_below_the_floor(
    n: int, exponent: float, part: float, method: str, bounds: bool, seed: int
) -> None:
    """Clusters at both ends, in which LAPACK's error is many times n ε λ_max."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.standard_normal((n, n)))
    few = max(1, round(part * n))
    values = np.where(np.arange(n) < few, 10.0**exponent, 1.0) * rng.uniform(0.5, 1.0, n)
    K = (basis * values) @ basis.T
    K = np.tril(K) + np.tril(K, -1).T
    result = fastntk.conditioning(K, method=method, bounds=bounds)
    if result.resolved:
        assert inertia(K, result.eigenvalue_min / 2).below == 0
        assert inertia(K, result.eigenvalue_min * 2).above < n
        return
    # κ ≥ λ_max/noise_floor: one eigenvalue is at most the floor, one at least what is printed.
    assert inertia(K, result.noise_floor).above < n
    assert result.rank is not None
    assert result.rank < n
    if inertia(K, 0.0).below == 0:
        ratio = result.eigenvalue_max / result.noise_floor
        top = np.linalg.eigvalsh(K)[-1] * (1 - 2e-15 * n)
        low = Fraction(float(top)) / Fraction(ratio)
        assert inertia(K, float(low) * (1 + 1e-15)).above < n


@pytest.mark.parametrize("method", ["dense", "cholesky"])
def test_bounds_or_not_the_same_is_resolved(method: str) -> None:
    for exponent in range(-16, -8):
        K = with_integer_spectrum([1] * 4 + [2**40] * 12) * 2.0**exponent
        K += np.eye(16) * 2.0 ** (exponent + 40) * 10.0**exponent
        with_bounds = fastntk.conditioning(K, method=method)
        without = fastntk.conditioning(K, method=method, bounds=False)
        assert with_bounds.resolved == without.resolved


@pytest.mark.parametrize("method", ["dense", "cholesky"])
@pytest.mark.parametrize("log_kappa", [0.0, 2.0, 5.0, 8.0])
def test_bounds_are_tight(method: str, log_kappa: float) -> None:
    n = 300
    X = np.random.default_rng(0).standard_normal((n, n))
    basis, _ = np.linalg.qr(X)
    K = (basis * np.geomspace(10**-log_kappa, 1.0, n)) @ basis.T
    result = fastntk.conditioning((K + K.T) / 2, method=method)
    bounds = result.bounds
    assert bounds is not None
    # What rounding allows: n u tr K below λ_min and n u ‖K‖_F above it.
    smallest = bounds.eigenvalue_min
    allowed = 8 * n * 2.0**-53 * np.trace(K) + 2e-6 * result.eigenvalue_min
    assert smallest.upper - smallest.lower <= allowed
    largest = bounds.eigenvalue_max
    assert largest.upper - largest.lower <= 2e-6 * result.eigenvalue_max


def test_feature_error_widens_the_bounds() -> None:
    rng = np.random.default_rng(0)
    delta = 1e-4
    for seed in range(20):
        F = rng.standard_normal((30, 40))
        bounds = fastntk.conditioning(F @ F.T, feature_error=delta).bounds
        assert bounds is not None
        noise = np.random.default_rng(seed).standard_normal(F.shape)
        # The worst direction takes from the smallest singular value all that it may.
        u, s, vt = np.linalg.svd(F, full_matrices=False)
        worst = -np.outer(u[:, -1], vt[-1])
        for error in (noise / np.linalg.norm(noise), worst, -worst, np.outer(u[:, 0], vt[0])):
            G = F + delta * np.linalg.norm(F) * (1 - 1e-9) * error
            values = np.linalg.eigvalsh(G @ G.T)
            assert values[0] in bounds.eigenvalue_min
            assert values[-1] in bounds.eigenvalue_max
            assert values[-1] / values[0] in bounds.condition_number
        assert bounds.eigenvalue_min.lower == pytest.approx(
            (s[-1] - delta * np.linalg.norm(F)) ** 2, rel=1e-9, abs=0
        )


def test_kernel_error_widens_the_bounds_and_counts_as_noise() -> None:
    K = np.diag([1.0, 2.0, 8.0])
    result = fastntk.conditioning(K, kernel_error=0.25)
    assert result.bounds is not None
    assert result.bounds.eigenvalue_min == pytest.approx((0.75, 1.25), rel=1e-12, abs=0)
    assert result.bounds.eigenvalue_max == pytest.approx((7.75, 8.25), rel=1e-12, abs=0)
    assert result.bounds.condition_number == pytest.approx(
        (7.75 / 1.25, 8.25 / 0.75), rel=1e-12, abs=0
    )
    assert not fastntk.conditioning(K, kernel_error=1.5).resolved


def test_a_kernel_that_may_be_singular_has_no_largest_condition_number() -> None:
    bounds = fastntk.conditioning(np.ones((4, 4))).bounds
    assert bounds is not None
    assert bounds.eigenvalue_min.lower <= 0 <= bounds.eigenvalue_min.upper
    assert bounds.condition_number.upper == math.inf
    assert bounds.condition_number.lower > 1e13


def test_intervals() -> None:
    interval = Interval(1.0, 2.0)
    assert 1.0 in interval
    assert 2.5 not in interval
    assert (interval.clip(0.0), interval.clip(1.5), interval.clip(9.0)) == (1.0, 1.5, 2.0)
    assert str(interval) == "[1, 2]"


def test_a_decomposition_that_fails_proves_nothing() -> None:
    # The estimate is too high: the shift has to come down before the decomposition succeeds.
    source = source_of(np.diag([1.0, 2.0, 3.0]), overwrite=False)
    lower = smallest_lower(source, 1.5, 0.1, -np.inf)
    assert lower == pytest.approx(1.5 - 16 * 0.1, rel=1e-9, abs=0)
    # Never within reach: what was known.
    assert smallest_lower(source, 1.5, 1e-12, -1.0) == -1.0


def test_pairs_that_are_not_the_largest_give_bounds_all_the_same() -> None:
    source = source_of(np.diag([1.0, 2.0, 3.0]), overwrite=False)
    for k, vector in enumerate(np.eye(3)):
        pairs = RitzPairs(np.array([k + 1.0]), vector[:, np.newaxis], np.zeros(1))
        assert 3.0 in largest_interval(source, pairs)


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_the_error_of_a_decomposition_is_that_of_the_theorem(n: int) -> None:
    # Rump 2006, Theorem 2.3, exactly: γ_{n+1}/(1 − γ_{n+1}) · tr, with some more roundings.
    unit = Fraction(1, 2**53)
    gamma = (n + 1) * unit / (1 - (n + 1) * unit)
    least = gamma / (1 - gamma) * 7
    assert least <= Fraction(cholesky_error(n, 7.0)) <= 10 * least
    source = source_of(np.eye(n), overwrite=False)
    assert Fraction(cholesky_bound(source, 0.0)) <= -gamma / (1 - gamma) * n
