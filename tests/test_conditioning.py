# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""λ_min, λ_max and κ against matrices whose spectrum is known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import aslinearoperator

import fastntk
from fastntk import PackedKernel
from fastntk.eigenvalues import ends
from fastntk.eigenvalues.enclosures import around_smallest
from fastntk.eigenvalues.host_sources import Full
from fastntk.eigenvalues.result import rounded_down
from fastntk.eigenvalues.source import End

SIZES = [2, 30, 256, 257, 400]  # on both sides of where the method changes


def with_spectrum(eigenvalues: npt.ArrayLike, seed: int = 0) -> npt.NDArray[np.float64]:
    values = np.asarray(eigenvalues, dtype=np.float64)
    n = len(values)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    matrix = (basis * values) @ basis.T
    symmetric: npt.NDArray[np.float64] = (matrix + matrix.T) / 2
    return symmetric


def noise_floor(n: int, epsilon: float = 2.0**-52) -> float:
    """For λ_max = 1."""
    return max(n, 16) * epsilon


def test_the_condition_number_of_nothing_is_undefined() -> None:
    result = fastntk.conditioning(np.zeros((4, 4)))
    assert np.isnan(result.condition_number)
    assert str(result) == "λ_max = 0, λ_min unresolved (rank 0 of 4), κ undefined"
    assert "undefined" in result._repr_html_()


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("log_kappa", [0.0, 0.3, 3.0, 8.0, 10.0])
def test_known_condition_numbers(n: int, log_kappa: float) -> None:
    K = with_spectrum(np.logspace(-log_kappa, 0, n) * 7.0)
    result = fastntk.conditioning(K)
    assert result.resolved
    assert result.rank == result.n == n
    assert result.eigenvalue_max == pytest.approx(7.0, rel=1e-12 * n, abs=0)
    uncertainty = result.noise_floor / result.eigenvalue_min
    assert result.eigenvalue_min == pytest.approx(
        7.0 * 10**-log_kappa, rel=1e-8 + uncertainty, abs=0
    )
    assert result.condition_number == result.eigenvalue_max / result.eigenvalue_min
    assert result.noise_floor == pytest.approx(noise_floor(n) * 7.0, rel=1e-6, abs=0)


@settings(max_examples=25)
@given(
    st.integers(258, 340),
    st.integers(1, 6),
    st.floats(0.0, 9.0),
    st.sampled_from(["gap", "cluster", "ties"]),
    st.integers(0, 99),
)
def test_spectra_with_awkward_ends(
    n: int, count: int, log_kappa: float, ends: str, seed: int
) -> None:
    middle = np.geomspace(1.0, 2.0, n - 2 * count)
    spread = {"gap": 0.5, "cluster": 1e-7, "ties": 0.0}[ends]
    offsets = 1 + spread * np.arange(count) / count
    K = with_spectrum(np.concatenate([10**-log_kappa * offsets, middle, 3.0 / offsets]), seed)
    result = fastntk.conditioning(K)
    truth = 3.0 * 10**log_kappa
    assert result.resolved
    assert result.condition_number == pytest.approx(truth, rel=1e-6 + 1e-15 * n * truth, abs=0)


@pytest.mark.parametrize("n", SIZES)
def test_singular_matrices_are_unresolved(n: int) -> None:
    for rank in {0, 1, n // 2, n - 1}:
        K = with_spectrum([0.0] * (n - rank) + [1.0] * rank)
        result = fastntk.conditioning(K)
        assert not result.resolved
        assert np.isnan(result.eigenvalue_min)
        assert np.isnan(result.condition_number)
        assert result.rank == rank
        assert result.eigenvalue_max == pytest.approx(1.0 if rank else 0.0, rel=1e-9, abs=0)
        assert "unresolved" in str(result)
        # As far as rounding lets it be told from 0: n ε ‖K‖_F, and the noise floor itself.
        assert result.noise_floor <= (1 + np.sqrt(n)) * noise_floor(n) * 4


@pytest.mark.parametrize("n", SIZES)
def test_what_lies_below_the_noise_floor_is_unresolved(n: int) -> None:
    floor = noise_floor(n)
    below = fastntk.conditioning(with_spectrum([0.01 * floor] + [1.0] * (n - 1)))
    assert not below.resolved
    assert below.rank == n - 1
    # Among so many eigenvalues of 1 a decomposition proves what is above n ε tr K, not n ε λ_max.
    above = fastntk.conditioning(with_spectrum([10 * n * floor] + [1.0] * (n - 1)))
    assert above.resolved


@pytest.mark.parametrize("n", SIZES)
def test_float32_keeps_its_own_noise_floor(n: int) -> None:
    K = with_spectrum([1e-7] + [1.0] * (n - 1))
    assert fastntk.conditioning(K).resolved
    single = fastntk.conditioning(K.astype(np.float32))
    assert not single.resolved
    assert single.noise_floor == pytest.approx(noise_floor(n, 2.0**-23), rel=1e-5, abs=0)
    good = fastntk.conditioning(with_spectrum(np.linspace(0.5, 1.0, n)).astype(np.float32))
    assert good.condition_number == pytest.approx(2.0, rel=1e-4, abs=0)


@pytest.mark.parametrize("depth", [1, 4, 12])
def test_rounded_features_do_not_pass_for_a_smallest_eigenvalue(depth: int) -> None:
    # The linear network's kernel has rank 5; the features of a float32 network have full rank.
    X = np.random.default_rng(0).standard_normal((40, 5))
    K = fastntk.ntk_depths(
        X, [depth], width=256, activation="identity", network_dtype="float32", dtype="float64"
    )[depth]
    error = float(np.sqrt(depth + 1) * np.finfo(np.float32).eps)
    result = fastntk.conditioning(K, feature_error=error)
    assert not result.resolved
    assert result.rank == 5


def test_bad_feature_error() -> None:
    for wrong in (-1, np.nan):
        with pytest.raises(
            ValueError, match=f"feature_error={wrong}: expected a number, or inf, of"
        ):
            fastntk.conditioning(np.eye(2), feature_error=wrong)


@pytest.mark.parametrize("errors", [(1e300, 0.0), (np.inf, 0.0), (0.0, 1e300), (0.0, np.inf)])
@pytest.mark.parametrize("method", ["dense", "cholesky", "operator"])
def test_errors_larger_than_the_kernel(errors: tuple[float, float], method: str) -> None:
    of_features, of_kernel = errors
    K = with_spectrum([1.0, 2.0, 4.0])
    result = fastntk.conditioning(
        K,
        method=method,
        feature_error=of_features,
        kernel_error=of_kernel,
        bounds=method != "operator",
    )
    assert not result.resolved
    assert np.isnan(result.eigenvalue_min)
    assert result.noise_floor == result.eigenvalue_max == pytest.approx(4.0, rel=1e-9, abs=0)
    assert str(result).endswith("κ ≥ 1")
    assert result.rank is not None
    assert result.rank < 3
    if result.bounds is not None:
        assert result.bounds.eigenvalue_min.lower <= 0
        assert result.bounds.eigenvalue_min.upper > 1e299
        assert result.bounds.condition_number.lower == 1
        assert result.bounds.condition_number.upper == np.inf


def test_an_error_that_is_not_known_at_all_is_the_only_thing_known_of_nothing() -> None:
    zero = fastntk.conditioning(np.zeros((2, 2)), feature_error=np.inf)
    assert zero.noise_floor == 0
    assert not zero.resolved


def test_widened_bounds_leave_what_is_resolved() -> None:
    K = with_spectrum([1.0, 2.0, 4.0])
    result = fastntk.conditioning(K)
    given = fastntk.conditioning(K, feature_error=1e-3, kernel_error=1e-2)
    widened = result.widened(feature_error=1e-3, kernel_error=1e-2)
    assert widened.bounds is not None
    assert given.bounds is not None
    for found, expected in zip(widened.bounds, given.bounds, strict=True):
        assert found == pytest.approx(expected, rel=1e-12, abs=0)
    # (√λ ± δ √tr K)² ± η
    away = 1e-3 * np.sqrt(7.0)
    assert widened.bounds.eigenvalue_min.lower == pytest.approx(
        (1 - away) ** 2 - 1e-2, rel=1e-9, abs=0
    )
    assert widened.bounds.eigenvalue_max.upper == pytest.approx(
        (2 + away) ** 2 + 1e-2, rel=1e-9, abs=0
    )
    nothing = result.widened(feature_error=np.inf)
    assert nothing.resolved
    assert nothing.condition_number == result.condition_number
    assert nothing.bounds is not None
    assert nothing.bounds.condition_number == (1.0, np.inf)
    with pytest.raises(ValueError, match="bounds=False: expected a result with bounds"):
        fastntk.conditioning(K, bounds=False).widened()


def test_a_kernel_with_the_vector_of_ones_in_its_null_space() -> None:
    n = 300
    centre = np.eye(n) - 1.0 / n
    result = fastntk.conditioning(centre)
    assert result.eigenvalue_max == pytest.approx(1.0, rel=1e-12, abs=0)
    assert not result.resolved
    assert result.rank == n - 1


@pytest.mark.parametrize(
    ("value", "text"), [(1.999e12, "1.9e+12"), (2e12, "2e+12"), (np.inf, "inf"), (57.9, "57")]
)
def test_bounds_are_rounded_down(value: float, text: str) -> None:
    assert rounded_down(value, 2) == text


def test_one_sample() -> None:
    result = fastntk.conditioning([[3.0]])
    assert result.condition_number == 1.0
    assert result.eigenvalue_min == result.eigenvalue_max == 3.0


@pytest.mark.parametrize("n", SIZES)
def test_calls_repeat_to_the_bit_and_leave_the_kernel_alone(n: int) -> None:
    K = with_spectrum(np.linspace(1.0, 2.0, n))
    kept = K.copy()
    assert fastntk.conditioning(K) == fastntk.conditioning(K)
    assert np.array_equal(K, kept)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("negative", [-1e-3, -1.0, -5.0])
def test_indefinite_matrices_are_refused(n: int, negative: float) -> None:
    K = with_spectrum([negative] + [1.0] * (n - 1))
    with pytest.raises(ValueError, match="negative eigenvalue far beyond rounding"):
        fastntk.conditioning(K)


def test_not_symmetric() -> None:
    K = np.eye(300)
    K[7, 9] = 1e-3
    with pytest.raises(ValueError, match=r"K is not symmetric: K\[7, 9\]=.*but K\[9, 7\]"):
        fastntk.conditioning(K)


def test_the_kernel_of_the_paper_limits() -> None:
    # The infinitely deep, infinitely wide ReLU network: (3/4) I + (1/4) 11ᵀ, κ = 1 + n/3.
    for n in (10, 400):
        K = 0.75 * np.eye(n) + 0.25
        assert fastntk.conditioning(K).condition_number == pytest.approx(
            1 + n / 3, rel=1e-10, abs=0
        )


def test_memory_is_checked_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastntk._support.memory.ALWAYS_THERE", 0)
    monkeypatch.setattr("fastntk._support.memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match=r"factorizing a kernel of 70 × 70 needs 19\.4 KiB"):
        fastntk.conditioning(np.eye(70))


@pytest.mark.parametrize("method", ["dense", "cholesky", "operator"])
def test_several_eigenpairs(method: str) -> None:
    values = np.concatenate([[0.1, 0.1, 0.2], np.geomspace(1.0, 2.0, 60), [5.0, 5.0, 7.0]])
    K = with_spectrum(values)
    result = fastntk.conditioning(K, k=3, eigenvectors=True, method=method)
    assert result.method == method
    assert result.smallest == pytest.approx(values[:3], rel=1e-6, abs=0)
    assert result.largest == pytest.approx(values[:-4:-1], rel=1e-6, abs=0)
    for vectors, theirs in (
        (result.smallest_vectors, result.smallest),
        (result.largest_vectors, result.largest),
    ):
        assert vectors is not None
        assert vectors.T @ vectors == pytest.approx(np.eye(3), abs=1e-8)
        assert K @ vectors == pytest.approx(vectors * theirs, abs=1e-4)
    plain = fastntk.conditioning(K, method=method)
    assert plain.smallest_vectors is None
    assert plain.largest_vectors is None


@pytest.mark.parametrize("n", [40, 300])
def test_products_are_enough(n: int) -> None:
    X = np.random.default_rng(0).standard_normal((n, 6))
    net = fastntk.MLP([6, 256, 256, 1], dtype="float64")
    truth = fastntk.conditioning(net.ntk(X))
    result = fastntk.conditioning(net.ntk_operator(X))
    assert result.method == "operator"
    assert result.bounds is None
    assert result.resolved
    assert result.eigenvalue_max == pytest.approx(truth.eigenvalue_max, rel=1e-10, abs=0)
    assert result.eigenvalue_min == pytest.approx(truth.eigenvalue_min, rel=1e-6, abs=0)
    assert np.isnan(result.effective_rank)
    linear = fastntk.conditioning(net.linear().ntk_operator(X))
    assert not linear.resolved
    assert linear.rank is None
    assert "unresolved, κ ≥" in str(linear)


def test_operators_of_float32_keep_their_noise_floor() -> None:
    net = fastntk.MLP([50, 64, 1], dtype="float32")
    result = fastntk.conditioning(net.ntk_operator(np.eye(50, dtype=np.float32)))
    assert result.resolved
    assert result.noise_floor == pytest.approx(
        50 * 2.0**-23 * result.eigenvalue_max, rel=1e-9, abs=0
    )


@pytest.mark.parametrize(
    ("operator", "options", "text"),
    [
        (np.eye(3), {"method": "dense"}, "method='dense': expected 'operator'"),
        (np.ones((3, 2)), {}, r"K has shape \(3, 2\): expected a square operator"),
        (np.eye(3), {"k": 4}, "k=4: expected at most 3"),
        (np.eye(3), {"feature_error": 1e-7}, "feature_error=1e-07: expected 0 for an operator"),
        (np.eye(3) * 1j, {}, "K has dtype complex128"),
        (-np.eye(30), {}, "negative eigenvalue far beyond rounding"),
    ],
)
def test_bad_operators(operator: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fastntk.conditioning(aslinearoperator(operator), **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"k": 0}, "k=0: expected an integer of at least 1"),
        ({"k": 4}, "k=4: expected at most 3"),
        ({"method": "magic"}, "method='magic': expected one of 'auto', 'dense'"),
        ({"kernel_error": np.nan}, "kernel_error=nan: expected a number, or inf, of at least 0"),
    ],
)
def test_bad_options(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        fastntk.conditioning(np.eye(3), **options)


@pytest.mark.parametrize("exponent", [-1000, 1000])
def test_kernels_whose_squares_overflow_are_refused(exponent: int) -> None:
    size = "whose squares add up to more" if exponent > 0 else r"as large as 9\.33e-302: expected"
    with pytest.raises(ValueError, match=f"K has entries {size}"):
        fastntk.conditioning(np.eye(3) * 2.0**exponent)


@pytest.mark.parametrize("lowest", [[1e-9], [0.0, 0.0], [1e-16, 1e-10, 1e-4]])
def test_small_eigenvalues_beside_much_smaller_ones(lowest: list[float]) -> None:
    """Beside the inverse of the smallest one those of the others are next to nothing."""
    values = np.concatenate([lowest, np.linspace(0.5, 1.0, 300 - len(lowest))])
    K = with_spectrum(values)
    result = fastntk.conditioning(K, k=6, eigenvectors=True)
    assert result.method == "cholesky"
    assert result.smallest == pytest.approx(values[:6], rel=1e-6, abs=1e-13)
    assert result.resolved == (lowest[0] == 1e-9)
    vectors = result.smallest_vectors
    assert vectors is not None
    assert vectors.T @ vectors == pytest.approx(np.eye(6), abs=1e-12)
    assert K @ vectors == pytest.approx(vectors * result.smallest, abs=1e-4)


def test_all_eigenvalues_of_a_small_singular_matrix_by_cholesky() -> None:
    result = fastntk.conditioning(np.kron(np.eye(4), np.ones((2, 2))), k=8, method="cholesky")
    assert result.smallest == pytest.approx([0.0] * 4 + [2.0] * 4, abs=1e-12)


def test_the_whole_spectrum() -> None:
    values = np.geomspace(1e-3, 5.0, 70)
    K = with_spectrum(values)
    assert fastntk.spectrum(K) == pytest.approx(values, rel=1e-11, abs=0)
    assert fastntk.spectrum(K.astype(np.float32)).dtype == np.float64
    with pytest.raises(ValueError, match="K is not symmetric"):
        fastntk.spectrum(np.triu(np.ones((4, 4))))


def test_effective_rank() -> None:
    assert fastntk.conditioning(np.eye(12)).effective_rank == pytest.approx(12, rel=1e-9, abs=0)
    assert fastntk.conditioning(np.diag([8.0, 1.0, 1.0])).effective_rank == pytest.approx(
        1.25, rel=1e-9, abs=0
    )
    assert np.isnan(fastntk.conditioning(np.zeros((3, 3))).effective_rank)


@pytest.mark.parametrize("exponent", [-390, -348, 340, 390])
@pytest.mark.parametrize("packed", [False, True])
def test_matrices_of_all_scales_are_reduced_alike(packed: bool, exponent: int) -> None:
    """The reduction takes products of three elements, which leave the range where these do not."""
    K = with_spectrum(np.geomspace(0.1, 1.0, 9))

    def eigenvalues(matrix: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        kernel = PackedKernel.from_dense(matrix) if packed else matrix
        result = fastntk.conditioning(kernel, k=9, bounds=False)
        return np.array([result.smallest, result.largest])

    assert np.array_equal(eigenvalues(np.ldexp(K, exponent)), np.ldexp(eigenvalues(K), exponent))


@pytest.mark.parametrize("scale", [1e-40, 1e40])
def test_a_row_that_nearly_vanishes_in_a_matrix_of_another_scale(scale: float) -> None:
    """Squares of its elements are in range; those times the largest element may not be."""
    K = np.diag([1.0, 2.0, 3.0]) * scale
    K[0, 1] = K[1, 0] = 0.5 * scale
    K[2, :2] = K[:2, 2] = [1e-144, 2e-144]
    result = fastntk.conditioning(K, k=3)
    assert result.resolved
    assert result.smallest / scale == pytest.approx(
        [1.5 - 0.5**0.5, 1.5 + 0.5**0.5, 3.0], rel=1e-9, abs=0
    )


@settings(max_examples=60)
@given(st.integers(1, 60), st.integers(0, 99), st.floats(0.0, 6.0), st.integers(-20, 20))
def test_scaling_and_permutation(n: int, seed: int, log_kappa: float, exponent: int) -> None:
    K = with_spectrum(np.geomspace(10**-log_kappa, 1.0, n), seed)
    result = fastntk.conditioning(K)
    scaled = fastntk.conditioning(K * 2.0**exponent)
    noise = 1e-12 + 4 * result.noise_floor / result.eigenvalue_min
    assert scaled.condition_number == pytest.approx(result.condition_number, rel=noise, abs=0)
    assert scaled.noise_floor == pytest.approx(result.noise_floor * 2.0**exponent, rel=1e-12, abs=0)
    order = np.random.default_rng(seed).permutation(n)
    permuted = fastntk.conditioning(K[np.ix_(order, order)])
    assert permuted.condition_number == pytest.approx(result.condition_number, rel=noise, abs=0)


@settings(max_examples=60)
@given(st.integers(2, 40), st.integers(0, 99))
def test_submatrices_are_better_conditioned(n: int, seed: int) -> None:
    # Cauchy's interlacing theorem.
    K = with_spectrum(np.geomspace(1e-4, 1.0, n), seed)
    whole, part = fastntk.conditioning(K), fastntk.conditioning(K[:-1, :-1])
    assert part.eigenvalue_min >= whole.eigenvalue_min * (1 - 1e-10)
    assert part.eigenvalue_max <= whole.eigenvalue_max * (1 + 1e-12)


def test_a_singular_packed_kernel_is_not_factored_where_it_was() -> None:
    F = np.random.default_rng(0).standard_normal((301, 20))
    packed = PackedKernel.from_dense(F @ F.T)
    assert not fastntk.conditioning(packed, bounds=False).resolved
    with pytest.raises(ValueError, match="the first attempt has overwritten it; give a memory map"):
        fastntk.conditioning(packed, bounds=False, overwrite=True)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 31, 64, 257, 511])
@pytest.mark.parametrize("packed", [False, True])
def test_the_reduction_finds_known_eigenvalues(n: int, packed: bool) -> None:
    """Those of min(i, j) + 1 are 1/(4 sin²((2j − 1)π/(4n + 2)))."""
    i = np.arange(n)
    K = np.minimum.outer(i, i) + 1.0
    angles = (2 * np.arange(n, 0, -1) - 1) * math.pi / (4 * n + 2)
    expected = 0.25 / np.sin(angles) ** 2
    k = min(n, 4)
    found = fastntk.conditioning(PackedKernel.from_dense(K) if packed else K, k=k)
    assert found.method == "dense"
    assert found.resolved
    rounding = (n + 8) * 2.0**-53 * expected[-1]
    assert np.abs(found.smallest - expected[:k]).max() <= rounding
    assert np.abs(found.largest - expected[: -k - 1 : -1]).max() <= rounding
    assert found.bounds is not None
    # The formula is rounded, too.
    margin = 1 + 1e-14
    for value, (lower, upper) in zip((expected[0], expected[-1]), found.bounds, strict=True):
        assert lower / margin <= value <= upper * margin


def test_the_reduction_is_exact_for_diagonal_matrices() -> None:
    values = [0.1, 1 / 3, 0.7, 0.7, 3e-5]
    found = fastntk.conditioning(np.diag(values), k=5)
    assert found.smallest.tolist() == sorted(values)
    assert found.largest.tolist() == sorted(values, reverse=True)


def test_progress_is_told_of_every_pass() -> None:
    seen: list[tuple[str, int, int]] = []
    fastntk.conditioning(
        with_spectrum(np.geomspace(0.1, 1, 300)),
        method="cholesky",
        progress=lambda *state: seen.append(state),
    )
    stages = {stage for stage, _, _ in seen}
    assert {"λ_max", "λ_min"} <= stages
    assert all(0 <= done <= total for _, done, total in seen)


def test_an_interrupt_leaves_everything_usable() -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "λ_min":
            raise KeyboardInterrupt

    K = with_spectrum(np.geomspace(0.1, 1, 300))
    kept = K.copy()
    with pytest.raises(KeyboardInterrupt):
        fastntk.conditioning(K, method="cholesky", progress=interrupt)
    assert np.array_equal(K, kept)
    assert fastntk.conditioning(K).resolved


def test_without_bounds_one_solution_is_enough_as_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is not, there are as many as with bounds: results are those of all iterations."""
    solutions: list[int] = []
    end = Full.end

    def counted(self: Full, shift: float, *, sign: int = 1, iterations: int) -> End | None:
        solutions[-1] += iterations
        return end(self, shift, sign=sign, iterations=iterations)

    monkeypatch.setattr(Full, "end", counted)
    found = []
    kernels = [
        with_spectrum(np.logspace(-log_kappa, 0, n))
        for log_kappa in (0, 3, 9, 12, 14, 14.5, 15, 17)
        for n in (66, 80)  # more rows than the short way takes
    ]
    kernels += [np.diag([1.0, 1.0 + 1e-15] + [3.0] * 64), np.ones((66, 66))]
    kernels += [np.diag([1e-15] + [1.0] * 66), np.diag([4e-14] + [1.0] * 66)]
    for K in kernels:
        solutions.append(0)
        found.append(fastntk.conditioning(K, bounds=False))
    assert solutions[1] == solutions[3] == solutions[5] == 1
    assert {1, 4, 6} <= set(solutions)  # 6 where nothing is resolved: λ_max is confirmed, too
    monkeypatch.setattr(
        ends, "around_smallest", lambda source, estimate, _: around_smallest(source, estimate, 3)
    )
    for K, result in zip(kernels, found, strict=True):
        assert repr(fastntk.conditioning(K, bounds=False)) == repr(result)
