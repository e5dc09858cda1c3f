# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""λ_min, λ_max and κ against matrices whose spectrum is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastntk
from fastntk.spectrum import rounded_down

SIZES = [2, 30, 256, 257, 400]  # on both sides of where the method changes


def with_spectrum(eigenvalues: npt.ArrayLike, seed: int = 0) -> npt.NDArray[np.float64]:
    values = np.asarray(eigenvalues, dtype=np.float64)
    n = len(values)
    basis, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, n)))
    matrix = (basis * values) @ basis.T
    symmetric: npt.NDArray[np.float64] = (matrix + matrix.T) / 2
    return symmetric


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("log_kappa", [0.0, 0.3, 3.0, 8.0, 10.0])
def test_known_condition_numbers(n: int, log_kappa: float) -> None:
    K = with_spectrum(np.logspace(-log_kappa, 0, n) * 7.0)
    result = fastntk.conditioning(K)
    assert result.resolved
    assert result.rank == result.n == n
    assert result.eigenvalue_max == pytest.approx(7.0, rel=1e-12 * n)
    uncertainty = result.noise_floor / result.eigenvalue_min
    assert result.eigenvalue_min == pytest.approx(7.0 * 10**-log_kappa, rel=1e-9 + uncertainty)
    assert result.condition_number == result.eigenvalue_max / result.eigenvalue_min
    assert result.noise_floor == pytest.approx(n * 2.0**-52 * 7.0, rel=1e-6)


@settings(max_examples=25)
@given(
    st.integers(258, 340),
    st.integers(1, 6),
    st.floats(0.0, 11.0),
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
    assert result.condition_number == pytest.approx(truth, rel=2e-8 + 1e-15 * n * truth)


@pytest.mark.parametrize("n", SIZES)
def test_singular_matrices_are_unresolved(n: int) -> None:
    for rank in {0, 1, n // 2, n - 1}:
        K = with_spectrum([0.0] * (n - rank) + [1.0] * rank)
        result = fastntk.conditioning(K)
        assert not result.resolved
        assert np.isnan(result.eigenvalue_min)
        assert np.isnan(result.condition_number)
        assert result.rank == rank
        assert result.eigenvalue_max == pytest.approx(1.0 if rank else 0.0, rel=1e-9)
        assert "unresolved" in str(result)


@pytest.mark.parametrize("n", SIZES)
def test_what_lies_below_the_noise_floor_is_unresolved(n: int) -> None:
    floor = n * 2.0**-52
    below = fastntk.conditioning(with_spectrum([0.01 * floor] + [1.0] * (n - 1)))
    assert not below.resolved
    assert below.rank == n - 1
    above = fastntk.conditioning(with_spectrum([100 * floor] + [1.0] * (n - 1)))
    assert above.resolved


@pytest.mark.parametrize("n", SIZES)
def test_float32_keeps_its_own_noise_floor(n: int) -> None:
    K = with_spectrum([1e-7] + [1.0] * (n - 1))
    assert fastntk.conditioning(K).resolved
    single = fastntk.conditioning(K.astype(np.float32))
    assert not single.resolved
    assert single.noise_floor == pytest.approx(n * 2.0**-23, rel=1e-5)
    good = fastntk.conditioning(with_spectrum(np.linspace(0.5, 1.0, n)).astype(np.float32))
    assert good.condition_number == pytest.approx(2.0, rel=1e-4)


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
    with pytest.raises(ValueError, match="feature_error=-1: expected a finite number of at least"):
        fastntk.conditioning(np.eye(2), feature_error=-1)


def test_a_kernel_with_the_vector_of_ones_in_its_null_space() -> None:
    n = 300
    centre = np.eye(n) - 1.0 / n
    result = fastntk.conditioning(centre)
    assert result.eigenvalue_max == pytest.approx(1.0, rel=1e-12)
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
        assert fastntk.conditioning(K).condition_number == pytest.approx(1 + n / 3, rel=1e-10)


def test_memory_is_checked_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastntk._memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match=r"factorizing a kernel of 40 × 40 needs 12\.5 KiB"):
        fastntk.conditioning(np.eye(40))
