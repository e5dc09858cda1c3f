# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Enclosures, formula by formula: on matrices whose errors are as large as a test wants them.

Rounding errors of real matrices are far below their bounds, so that a bound of half the size would
hold in every test with one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fastntk._support.rounding import UNIT, cholesky_error, gamma
from fastntk.eigenvalues.enclosures import (
    around_largest,
    around_smallest,
    largest_interval,
    largest_lower,
    largest_upper,
    smallest_lower,
    smallest_upper,
)
from fastntk.eigenvalues.ends import Ends, ends_by_cholesky, ends_by_products
from fastntk.eigenvalues.measures import rayleigh_quotient
from fastntk.eigenvalues.noise import Noise
from fastntk.eigenvalues.result import Bounds, Interval
from fastntk.eigenvalues.source import Source, random_vector
from fastntk.eigenvalues.sources import source_of
from fastntk.symmetric.block_lanczos import RitzPairs
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    from fastntk.symmetric.block_lanczos import Vectors


class Shifted:
    """The factor of a diagonal matrix."""

    def __init__(self, diagonal: Vectors) -> None:
        self.diagonal = diagonal

    def solve(self, vectors: Vectors) -> Vectors:
        return vectors / self.diagonal[:, np.newaxis]


class Matrix(Source):
    """A diagonal matrix, its errors, and which decompositions it was asked for."""

    def __init__(self, diagonal: list[float], product_error: float, failures: int = 0) -> None:
        super().__init__(np.array(diagonal), float(np.linalg.norm(diagonal)), 2 * UNIT)
        self.diagonal = np.array(diagonal)
        self.product_error = product_error
        self.failures = failures
        self.asked: list[tuple[int, float]] = []

    def product(self, vectors: Any) -> Any:
        return self.diagonal[:, np.newaxis] * vectors

    def factor(self, shift: float, *, sign: int = 1, progress: Any = False) -> Any:
        assert not progress
        self.asked.append((sign, shift))
        if len(self.asked) <= self.failures:
            raise NotPositiveDefinite(0)
        return Shifted(sign * self.diagonal + shift)

    def decomposition_error(self, shift: float, *, sign: int = 1, factor: Any = None) -> float:
        """Let a test see with which arguments it was called."""
        assert math.isfinite(shift)
        if factor is None:
            return 1e-4
        assert np.array_equal(factor.diagonal, sign * self.diagonal + shift)
        return 3e-4

    def extreme_eigenvalues(self, k: int) -> tuple[Vectors, Vectors]:
        raise NotImplementedError

    def eigenpairs(self) -> tuple[Vectors, Any]:
        raise NotImplementedError

    def rank(self, floor: float) -> int | None:
        raise NotImplementedError


def test_norms_and_errors_of_a_source() -> None:
    source = source_of(np.array([[3.0, 1.0], [1.0, -7.0]]), overwrite=False)
    norm = math.sqrt(9 + 1 + 1 + 49)
    # n² squares and their sum; units tell numbers apart that 1 cannot.
    assert (source.frobenius_norm / norm - 1) / UNIT == pytest.approx(12, abs=3)
    assert source.product_error == 10 * UNIT * source.frobenius_norm
    assert (source.trace, source.largest_diagonal) == (-4.0, 7.0)
    wide = Matrix([1.0] * 100, 0.0)
    assert wide.frobenius_norm == 10 * (1 + 10008 * UNIT)
    for sign in (1, -1):
        expected = cholesky_error(2, sign * -4.0 + 2 * 9.0) + 4 * UNIT * (7 + 9)
        assert source.decomposition_error(9.0, sign=sign) == expected
    assert source.decomposition_error(-9.0) == cholesky_error(2, -22.0) + 4 * UNIT * (7 + 9)


def test_rayleigh_quotients_and_their_errors() -> None:
    source = Matrix([3.0, 1.0, 0.5], product_error=1e-3)
    vectors = np.array([[2.0, 0.0], [1.0, 0.0], [0.0, 4.0]])
    lengths = math.sqrt((36 + 1) / 5), 0.5
    errors = [1e-3 + gamma(3) * (length + q) for length, q in zip(lengths, (2.6, 0.5), strict=True)]
    assert smallest_upper(source, vectors) == pytest.approx(0.5 + errors[1], rel=1e-15, abs=0)
    assert largest_lower(source, vectors) == pytest.approx(2.6 - errors[0], rel=1e-15, abs=0)


@pytest.mark.parametrize("angle", [0.0, 0.01, 0.3])
def test_the_largest_eigenvalue_is_in_the_interval_of_the_formula(angle: float) -> None:
    """With no decomposition that succeeds: what a vector at an angle to the first one proves."""
    source = Matrix([3.0, 1.0, 0.5], product_error=1e-3, failures=9)
    c, s = math.cos(angle), math.sin(angle)
    vector = np.array([[c], [s], [0.0]])
    found = largest_interval(source, RitzPairs(np.array([3.0]), vector, np.array([2e-3])))
    top, residual = 3 * c * c + s * s, 2 * c * s
    norm = source.frobenius_norm
    error = 8 * ((gamma(3) + gamma(3)) * norm + 1e-3)
    assert found.lower == pytest.approx(top - error, rel=1e-14, abs=0)
    left = norm**2 - max(0.0, top - error) ** 2 - 2 * max(0.0, residual - error) ** 2
    off, rest = residual + error, math.sqrt(left)
    block = np.array([[top + error, off], [off, rest]])
    assert found.upper == pytest.approx(float(np.linalg.eigvalsh(block)[-1]), rel=1e-13, abs=0)
    # The interval is wide, so that decompositions were tried; each gap is 16 times the one before.
    first = 2e-3 + 2 * cholesky_error(3, 3 * found.lower - 4.5) + 16e-3
    assert [sign for sign, _ in source.asked] == [-1, -1, -1]
    expected = [found.lower + first * growth for growth in (1, 16, 256)]
    assert [shift for _, shift in source.asked] == pytest.approx(expected, rel=1e-14, abs=0)


def test_the_best_of_several_vectors_counts_on_either_side() -> None:
    """The second vector is the first eigenvector; both together leave nothing out."""
    source = Matrix([3.0, 1.0, 0.5], product_error=1e-9)
    vectors = np.eye(3)[:, [1, 0]]
    found = largest_interval(source, RitzPairs(np.array([3.0, 1.0]), vectors, np.zeros(2)))
    error = 8 * math.sqrt(2) * 1e-9
    assert found.lower == pytest.approx(3 - error, abs=1e-12)
    assert found.upper == pytest.approx(3 + error, abs=1e-12)
    assert not source.asked  # narrow enough
    reversed_ = largest_interval(
        source, RitzPairs(np.array([3.0, 1.0]), vectors[:, ::-1], np.zeros(2))
    )
    # Here the first one alone is as good below, with the error of one vector.
    assert reversed_.lower == pytest.approx(3 - 8e-9, abs=1e-12)
    assert reversed_.upper == pytest.approx(3 + 8e-9, abs=1e-12)


def test_a_wide_interval_takes_what_a_decomposition_proves() -> None:
    source = Matrix([3.0, 1.0, 0.5], product_error=1e-3)
    vector = np.array([[math.cos(0.3)], [math.sin(0.3)], [0.0]])
    found = largest_interval(source, RitzPairs(np.array([3.0]), vector, np.array([2e-3])))
    ((sign, shift),) = source.asked
    assert sign == -1
    assert found.upper == shift + 3e-4


def test_upper_bounds_of_the_largest_eigenvalue() -> None:
    source = Matrix([3.0, 1.0, 0.5], product_error=1e-3, failures=2)
    proved = largest_upper(source, 2.9, 1e-2)
    gap = 1e-2 + 2 * cholesky_error(3, 3 * 2.9 - 4.5) + 16e-3
    assert [shift for _, shift in source.asked] == [2.9 + gap, 2.9 + 16 * gap, 2.9 + 256 * gap]
    assert proved == 2.9 + 256 * gap + 3e-4
    hopeless = Matrix([3.0, 1.0, 0.5], product_error=1e-3, failures=3)
    assert largest_upper(hopeless, 2.9, 1e-2) == math.inf
    assert len(hopeless.asked) == 3


def test_lower_bounds_of_the_smallest_eigenvalue() -> None:
    source = Matrix([3.0, 1.0, 0.5], product_error=0.0, failures=1)
    proved = smallest_lower(source, 0.5, 1e-2, -1.0)
    gap = 1e-2 + 2e-4  # twice what a decomposition of the matrix itself may be off by
    assert [sign for sign, _ in source.asked] == [1, 1]
    expected = [gap - 0.5, 16 * gap - 0.5]
    assert [shift for _, shift in source.asked] == pytest.approx(expected, rel=1e-14, abs=0)
    assert proved == pytest.approx(0.5 - 16 * gap - 3e-4, rel=1e-14, abs=0)
    # What is known already is not proved again, and a worse bound does not replace it.
    known = Matrix([3.0, 1.0, 0.5], product_error=0.0)
    assert smallest_lower(known, 0.5, 1e-2, 0.495) == 0.495
    assert not known.asked
    assert smallest_lower(known, 0.5, 1e-2, 0.4896) == 0.4896
    assert len(known.asked) == 1
    spoiled = Matrix([3.0, 1.0, 0.5], product_error=0.0, failures=1)
    spoiled.survives_factoring = False
    assert smallest_lower(spoiled, 0.5, 1e-2, -1.0) == -1.0
    assert len(spoiled.asked) == 1


def test_a_decomposition_and_its_vector_enclose_either_end() -> None:
    source = Matrix([3.0, 1.0, 0.5], product_error=1e-3, failures=1)
    gap = 16 * (1e-3 + 2e-4)
    start = random_vector(3)[:, 0]
    for iterations in (1, 3):
        source.asked = []
        around = around_smallest(source, 0.5, iterations)
        assert [sign for sign, _ in source.asked] == [1, 1]
        v = start / (source.diagonal + gap - 0.5) ** iterations
        expected = rayleigh_quotient(v, source.diagonal * v)
        rounding = 1e-3 + gamma(3) * (expected.length + expected.value)
        assert around == pytest.approx(
            (0.5 - gap - 3e-4, expected.value + rounding), rel=1e-14, abs=0
        )
    source.asked = []
    around = around_largest(source, 2.9)
    gap = 16 * (1e-3 + 2 * cholesky_error(3, 3 * 2.9 - 4.5) + 16e-3)
    assert [sign for sign, _ in source.asked] == [-1, -1]
    v = start / (2.9 + gap - source.diagonal) ** 3
    expected = rayleigh_quotient(v, source.diagonal * v)
    rounding = 1e-3 + gamma(3) * (expected.length + expected.value)
    assert around == pytest.approx((expected.value - rounding, 2.9 + gap + 3e-4), rel=1e-14, abs=0)


def test_where_no_decomposition_runs_to_its_end_nothing_is_enclosed() -> None:
    for smallest in (True, False):
        source = Matrix([3.0, 1.0, 0.5], product_error=1e-3, failures=3)
        found = around_smallest(source, 0.5, 1) if smallest else around_largest(source, 2.9)
        assert found is None
        first, second, third = (shift for _, shift in source.asked)
        assert (third - second) / (second - first) == pytest.approx(16, rel=1e-9, abs=0)


def test_the_noise_floor() -> None:
    noise = Noise(n=100, epsilon=1e-7, trace=50.0, feature_error=1e-3, kernel_error=0.5)
    assert noise.floor(4.0) == pytest.approx(100 * 1e-7 * 4.0 + 1e-6 * 50.0 + 0.5, rel=1e-9, abs=0)
    assert noise.floor(0.25) == 0.25
    assert noise.floor(-1.0) == pytest.approx(1e-6 * 50.0 + 0.5, rel=1e-9, abs=0)
    few = Noise(n=3, epsilon=1e-7, trace=math.nan, feature_error=0.0, kernel_error=0.0)
    assert few.floor(2.0) == 16 * 1e-7 * 2.0
    assert few.below_zero(2.0) == 2000.0
    for upper, expected in ((2.0, True), (2.1, False)):
        assert Noise.allows(Interval(1.0, upper)) is expected
    assert not Noise.allows(Interval(0.0, 0.0))


def spread(n: int) -> tuple[np.ndarray[Any, Any], Vectors]:
    """Return a matrix with known, well separated eigenvalues."""
    basis, _ = np.linalg.qr(np.random.default_rng(2).standard_normal((n, n)))
    values = np.sort(1.0 + np.arange(n) ** 1.5)
    K = basis * values @ basis.T
    return (K + K.T) / 2, values


@pytest.mark.parametrize("k", [1, 2])
def test_shifts_that_both_ends_are_found_and_proved_with(k: int) -> None:
    K, values = spread(40)
    source: Any = source_of(K, overwrite=False)
    noise = Noise(40, source.epsilon, source.trace, 0.0, 0.0)
    asked: list[float] = []
    factor = source.factor

    def watched(shift: float, *, sign: int = 1, progress: Any = False) -> Any:
        if sign > 0:
            asked.append(shift)
        return factor(shift, sign=sign, progress=progress)

    source.factor = watched
    ends = ends_by_cholesky(source, k, noise, None, bounds=True)
    assert ends.smallest.values == pytest.approx(values[:k], rel=1e-9, abs=0)
    assert ends.largest.values == pytest.approx(values[::-1][:k], rel=1e-9, abs=0)
    assert ends.bounds is not None
    assert ends.around_smallest == ends.bounds.eigenvalue_min
    assert ends.below_largest == ends.bounds.eigenvalue_max.lower
    least = 1e-6 * noise.floor(float(ends.largest.values[0]))
    assert asked[0] == least
    # The matrix is inverted: its residuals are those of the inverse, by the square of its value.
    inverse = 1 / (ends.smallest.values + least)
    residual = float(ends.smallest.residuals[0] * inverse[0] ** 2)
    uncertainty = residual
    if k == 2 and inverse[0] - inverse[1] > 100 * residual:
        uncertainty = 100 * residual**2 / float(inverse[0] - inverse[1])
    gap = uncertainty / float(inverse[0]) ** 2 + 2 * source.decomposition_error(0.0)
    estimate = min(float(ends.smallest.values[0]), ends.bounds.eigenvalue_min.upper)
    if k == 2:
        assert asked[1] == pytest.approx(gap - estimate, abs=1e-2 * gap)
    # A residual that is small against the distance to the next value counts by its square.
    assert gap - estimate >= asked[1]
    lower, upper = ends.bounds.eigenvalue_min
    assert upper - lower < 1e-9


def test_ends_without_bounds_know_what_a_solution_may_be_off_by() -> None:
    K, values = spread(40)
    source: Any = source_of(K, overwrite=False)
    noise = Noise(40, source.epsilon, source.trace, 0.0, 0.0)
    ends = ends_by_cholesky(source, 1, noise, None, bounds=False)
    assert ends.bounds is None
    least = 1e-6 * noise.floor(float(ends.largest.values[0]))
    value, residual = float(ends.smallest.values[0]), float(ends.smallest.residuals[0])
    error = 3 * source.decomposition_error(least)
    assert ends.around_smallest.lower == pytest.approx(value - residual - error, abs=1e-3 * error)
    assert ends.around_smallest.upper == smallest_upper(source, ends.smallest.vectors)
    assert ends.below_largest == largest_lower(source, ends.largest.vectors)
    # Where the factor took the place of the matrix, no quotient can be formed any more.
    source = source_of(K.copy(), overwrite=False)
    source.survives_factoring = False
    ends = ends_by_cholesky(source, 1, noise, None, bounds=False)
    assert ends.around_smallest.upper == pytest.approx(value + error, abs=1e-3 * error)
    assert 0 < values[0] - ends.around_smallest.lower < 1e-4


def test_ends_by_products_take_the_error_of_products() -> None:
    K, _ = spread(30)
    noise = Noise(30, 2 * UNIT, math.nan, 0.0, 0.0)
    ends = ends_by_products(lambda V: K @ V, 1, noise, None, product_error=1e-3)
    value, residual = float(ends.smallest.values[0]), float(ends.smallest.residuals[0])
    assert ends.around_smallest == pytest.approx(
        (value - residual - 1e-3, value + 1e-3), rel=1e-14, abs=0
    )
    assert ends.below_largest == float(ends.largest.values[0]) - 1e-3
    exact = ends_by_products(lambda V: K @ V, 1, noise, None)
    assert exact.below_largest == float(exact.largest.values[0])


def test_proved_ends_are_between_their_bounds() -> None:
    pairs = RitzPairs(np.ones(1), np.ones((1, 1)), np.zeros(1))
    bounds = Bounds(Interval(1.0, 2.0), Interval(3.0, 4.0))
    ends = Ends.proved(pairs, pairs, bounds)
    assert ends.around_smallest == (1.0, 2.0)
    assert ends.below_largest == 3.0
