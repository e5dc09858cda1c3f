# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Eigenvalues of matrices in the memory of a GPU: those of the host, with bounds that hold.

By a test double of CuPy, which refuses what CuPy refuses and counts copies and memory.
"""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest
from exact import inertia, with_integer_spectrum
from hypothesis import strategies as st
from scipy.linalg import hadamard, lapack
from test_conditioning import with_spectrum
from test_device_arrays import ByDLPack, OnGpu
from test_enclosures import integer_spectra
from threadpoolctl import threadpool_limits

import fastntk
from fastntk.eigenvalues.enclosures import largest_interval, smallest_lower
from fastntk.eigenvalues.sources import source_of
from fastntk.symmetric import gpu_cholesky, gpu_matrix
from fastntk.symmetric.block_lanczos import RitzPairs
from fastntk.symmetric.cholesky import NotPositiveDefinite
from fastntk.symmetric.gpu_cholesky import GpuCholesky, UpperTriangle

if TYPE_CHECKING:
    from collections.abc import Iterator

Matrix = npt.NDArray[np.float64]

SIZES = [1, 2, 30, 257]
BLOCK = 37


@pytest.fixture(autouse=True, scope="module")
def small_blocks(cupy: Any) -> Iterator[None]:
    """Many blocks, strips and panels, as in large matrices."""
    # The double's products are too small for several threads.
    with pytest.MonkeyPatch.context() as patch, threadpool_limits(1, user_api="blas"):
        patch.setattr(gpu_cholesky, "BLOCK", BLOCK)
        patch.setattr(gpu_cholesky, "_PIVOTS", 16)
        patch.setattr(gpu_matrix, "_ELEMENTS", 1000)
        yield


def assert_same(result: fastntk.Conditioning, expected: fastntk.Conditioning) -> None:
    """Assert that a GPU's result is that of the host, but for other rounding."""
    noise = 1e-9
    if expected.resolved:
        noise += 4 * expected.noise_floor / expected.eigenvalue_min
    assert result.resolved == expected.resolved
    assert result.rank == expected.rank
    assert result.method == expected.method
    # Of what is not resolved it is a bound, in which the rounding errors are.
    close = 1e-12 if expected.resolved else 0.5
    assert result.noise_floor == pytest.approx(expected.noise_floor, rel=close, abs=0)
    assert result.eigenvalue_max == pytest.approx(expected.eigenvalue_max, rel=1e-12, abs=0)
    assert result.effective_rank == pytest.approx(
        expected.effective_rank, rel=1e-12, nan_ok=True, abs=0
    )
    assert result.condition_number == pytest.approx(
        expected.condition_number, rel=noise, nan_ok=True, abs=0
    )
    for name in ("eigenvalue_min", "eigenvalue_max", "condition_number", "effective_rank"):
        assert type(getattr(result, name)) is float
    for values in (result.smallest, result.largest):
        assert type(values) is np.ndarray


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("log_kappa", [0.0, 8.0])
@pytest.mark.parametrize("method", ["dense", "cholesky"])
def test_known_condition_numbers(cupy: Any, n: int, log_kappa: float, method: str) -> None:
    K = with_spectrum(np.logspace(-log_kappa, 0, n) * 7.0)
    result = fastntk.conditioning(cupy.asarray(K), method=method)
    assert_same(result, fastntk.conditioning(K, method=method))
    assert result.resolved
    # The bounds are as narrow as on the host: n u tr K below λ_min and n u ‖K‖_F above it.
    assert result.bounds is not None
    smallest, largest = result.bounds.eigenvalue_min, result.bounds.eigenvalue_max
    allowed = 8 * (n + 8) * 2.0**-53 * np.trace(K) + 2e-6 * result.eigenvalue_min
    assert smallest.upper - smallest.lower <= allowed
    assert largest.upper - largest.lower <= 2e-6 * result.eigenvalue_max + allowed


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("method", ["dense", "cholesky"])
def test_singular_matrices_are_unresolved(cupy: Any, n: int, method: str) -> None:
    for rank in {0, 1, n // 2, n - 1} - {n}:
        K = with_spectrum([0.0] * (n - rank) + [1.0] * rank)
        result = fastntk.conditioning(cupy.asarray(K), method=method)
        assert_same(result, fastntk.conditioning(K, method=method))
        assert not result.resolved
        assert result.rank == rank
        assert result.bounds is not None
        # Rounding made the matrix: it may have moved the eigenvalue 0.
        assert result.bounds.eigenvalue_min.lower <= 1e-14 * n


@hypothesis.settings(max_examples=200)
@hypothesis.given(integer_spectra(), st.sampled_from(["dense", "cholesky"]), st.integers(-40, 40))
def test_bounds_contain_spectra_of_integers(
    cupy: Any, eigenvalues: list[int], method: str, exponent: int
) -> None:
    scale = 2.0**exponent
    K = with_integer_spectrum(eigenvalues) * scale
    result = fastntk.conditioning(cupy.asarray(K), method=method)
    assert result.bounds is not None
    assert min(eigenvalues) * scale in result.bounds.eigenvalue_min
    assert max(eigenvalues) * scale in result.bounds.eigenvalue_max


@hypothesis.given(st.integers(1, 6), st.integers(0, 999), st.sampled_from(["dense", "cholesky"]))
def test_bounds_of_matrices_of_floats(cupy: Any, n: int, seed: int, method: str) -> None:
    features = np.random.default_rng(seed).standard_normal((n, n + 1)).astype(np.float32)
    K = features.astype(np.float64) @ features.T.astype(np.float64)
    K = np.tril(K) + np.tril(K, -1).T
    bounds = fastntk.conditioning(cupy.asarray(K), method=method).bounds
    assert bounds is not None
    assert inertia(K, bounds.eigenvalue_min.lower).below == 0
    assert inertia(K, bounds.eigenvalue_min.upper).above < n
    assert inertia(K, bounds.eigenvalue_max.lower).below < n
    assert inertia(K, bounds.eigenvalue_max.upper).above == 0


@hypothesis.settings(max_examples=100)
@hypothesis.given(
    st.integers(1, 100),
    st.integers(0, 99),
    st.floats(-17, 1),
    st.sampled_from([1, -1]),
    st.booleans(),
)
def test_the_error_of_a_factor_is_measured_whatever_made_it(
    cupy: Any, n: int, seed: int, log_mistake: float, sign: int, everywhere: bool
) -> None:
    # A library that solves in another way than by substitution is off by more than the theorem.
    random = np.random.default_rng(seed)
    K = with_spectrum(np.geomspace(1e-3, 1.0, n), seed)
    shift = 0.0 if sign > 0 else 1.5
    source: Any = source_of(cupy.asarray(K), overwrite=bool(seed % 2))
    factor = source.factor(shift, sign=sign)
    mistakes = 10**log_mistake * np.tril(random.standard_normal((n, n)))
    if not everywhere:
        kept = random.integers(n * (n + 1) // 2)
        mistakes[np.tril_indices(n)] *= np.arange(n * (n + 1) // 2) == kept
    wrong = factor._target.get() + mistakes
    factor._target[...] = cupy.asarray(wrong)
    bound = source.decomposition_error(shift, sign=sign, factor=factor)
    exact = np.tril(wrong).astype(np.longdouble)
    difference = exact @ exact.T - (sign * K.astype(np.longdouble) + shift * np.eye(n))
    truth = float(np.linalg.norm(difference.astype(np.float64), 2))
    assert truth <= bound <= 4 * n * truth + 4 * (n + 10) * 2.0**-53 * (np.trace(K) + shift * n)


@hypothesis.settings(max_examples=100)
@hypothesis.given(st.floats(1e-100, 1e100))
def test_what_rounding_hides_from_the_measurement_is_in_the_bound(cupy: Any, entry: float) -> None:
    # The square of the rounded root often rounds to the number itself.
    source: Any = source_of(cupy.asarray([[entry]]), overwrite=False)
    factor = source.factor(0.0)
    root = Fraction(float(factor._target[0, 0]))
    error = source.decomposition_error(0.0, factor=factor)
    assert abs(root * root - Fraction(entry)) <= Fraction(error)


@pytest.fixture
def careless(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make decompositions succeed that should not."""
    accurate = cupy.linalg.cholesky
    monkeypatch.setattr(cupy.linalg, "cholesky", lambda a: accurate(a + 4 * cupy.eye(len(a))))


@pytest.mark.parametrize("smallest", [-1, 1, 3])
def test_bounds_hold_whatever_cusolver_does(cupy: Any, careless: None, smallest: int) -> None:
    K = with_integer_spectrum([smallest] + [2**32] * 63)
    bounds = fastntk.conditioning(cupy.asarray(K), method="cholesky").bounds
    assert bounds is not None
    assert smallest in bounds.eigenvalue_min
    assert bounds.eigenvalue_min.lower > -64 * 8


def test_wrong_estimates_are_not_proved(cupy: Any, careless: None) -> None:
    source: Any = source_of(
        cupy.asarray(with_integer_spectrum([7, -1] + [1] * 61 + [8])), overwrite=False
    )
    assert smallest_lower(source, 0.5, 1e-3, -np.inf) <= -1
    seven = cupy.asarray(hadamard(64)[:, :1] / 8.0)
    assert 8 in largest_interval(source, RitzPairs(np.array([7.0]), seven, np.zeros(1)))


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("n", [1, 36, 37, 38, 120])
def test_factors(cupy: Any, n: int, overwrite: bool) -> None:
    K = with_spectrum(np.linspace(1.0, 5.0, n), n)
    source: Any = source_of(cupy.asarray(K), overwrite=overwrite)
    v = np.random.default_rng(0).standard_normal((n, 3))
    on_gpu = cupy.asarray(v)
    for sign, shift in ((1, 0.0), (1, 0.75), (-1, 40.0), (1, 0.0)):
        shifted = sign * K + shift * np.eye(n)
        factor = source.factor(shift, sign=sign)
        assert factor.solve(on_gpu).get() == pytest.approx(
            np.linalg.solve(shifted, v), rel=1e-10, abs=0
        )
        assert np.array_equal(on_gpu.get(), v)
        assert factor.residual_norm() <= 1e-14 * n * np.linalg.norm(shifted)
        if sign < 0:  # asking for the matrix overwrites a factor that is in its place
            assert source.product(on_gpu).get() == pytest.approx(K @ v, rel=1e-12, abs=0)
    assert source.product_on_host(v) == pytest.approx(K @ v, rel=1e-12, abs=0)
    assert source.eigenpairs()[0] == pytest.approx(np.linspace(1.0, 5.0, n), rel=1e-12, abs=0)
    smallest, largest = source.extreme_eigenvalues(1)
    values = np.linspace(1.0, 5.0, n)
    assert (smallest[0], largest[0]) == pytest.approx((values[0], values[-1]), rel=1e-12, abs=0)


def test_no_factor(cupy: Any) -> None:
    K = np.eye(100)
    K[60, 60] = -1.0
    matrix = cupy.asarray(K)
    with pytest.raises(NotPositiveDefinite) as caught:
        GpuCholesky(UpperTriangle(matrix, matrix.diagonal().copy()), matrix, shift=0.0)
    assert caught.value.pivot == 60 // BLOCK * BLOCK


@pytest.mark.parametrize("seed", range(8))
def test_ranks_are_those_of_lapack(cupy: Any, seed: int) -> None:
    n = 20 * (seed + 1)
    K = with_spectrum(np.concatenate([np.zeros(n // 3), np.geomspace(1e-12, 1.0, n - n // 3)]))
    for floor in (1e-13, 1e-8, 1e-3, 2.0):
        _, _, expected, _ = lapack.dpstrf(K, lower=1, tol=floor)
        # The first step of LAPACK's is taken however small the diagonal is.
        assert gpu_cholesky.rank(cupy.asarray(K), floor) in {expected, 0 if floor > 1 else expected}
    assert gpu_cholesky.rank(cupy.zeros((4, 4)), 0.0) == 0
    # What rounding leaves of a pivot is no pivot.
    for entry in np.random.default_rng(seed).random(20):
        assert gpu_cholesky.rank(cupy.asarray(np.diag([entry, 0.0])), 0.0) == 1


@pytest.mark.parametrize("method", ["dense", "cholesky", "operator"])
def test_several_eigenpairs(cupy: Any, method: str) -> None:
    values = np.concatenate([[0.1, 0.1, 0.2], np.geomspace(1.0, 2.0, 60), [5.0, 5.0, 7.0]])
    K = with_spectrum(values)
    result = fastntk.conditioning(cupy.asarray(K), k=3, eigenvectors=True, method=method)
    assert result.method == method
    assert result.smallest == pytest.approx(values[:3], rel=1e-6, abs=0)
    assert result.largest == pytest.approx(values[:-4:-1], rel=1e-6, abs=0)
    for vectors, theirs in (
        (result.smallest_vectors, result.smallest),
        (result.largest_vectors, result.largest),
    ):
        assert isinstance(vectors, cupy.ndarray)
        host = cupy.asnumpy(vectors)
        assert host.T @ host == pytest.approx(np.eye(3), abs=1e-8)
        assert K @ host == pytest.approx(host * theirs, abs=1e-4)
    assert fastntk.conditioning(cupy.asarray(K), method=method).smallest_vectors is None


def test_nothing(cupy: Any) -> None:
    result = fastntk.conditioning(cupy.zeros((5, 5)), eigenvectors=True)
    assert (result.eigenvalue_max, result.rank, result.resolved) == (0.0, 0, False)
    assert isinstance(result.largest_vectors, cupy.ndarray)


@pytest.mark.parametrize("n", SIZES)
def test_float32_keeps_its_own_noise_floor(cupy: Any, n: int) -> None:
    K = with_spectrum(np.append([1e-7], np.linspace(0.5, 1.0, n - 1))[:n]).astype(np.float32)
    assert_same(fastntk.conditioning(cupy.asarray(K)), fastntk.conditioning(K))


def _with_gaps(cupy: Any, K: Matrix) -> Any:
    large = cupy.zeros((2 * len(K), 3 * len(K)))
    large[::2, ::3] = cupy.asarray(K)
    return large[::2, ::3]


@pytest.mark.parametrize(
    "place",
    [
        lambda cupy, K: cupy.asarray(K).T,
        _with_gaps,
        lambda cupy, K: cupy.asarray((K * 2**20).astype(np.int64)),
        lambda cupy, K: cupy.asarray((K * 100 + 100).astype(np.uint8)),
        lambda cupy, K: cupy.asarray(K + 2.0**-52 * np.tril(np.ones_like(K))),
    ],
    ids=["Fortran", "gaps", "int64", "uint8", "symmetric up to rounding"],
)
@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("method", ["dense", "cholesky"])
def test_other_layouts_and_types(cupy: Any, place: Any, overwrite: bool, method: str) -> None:
    given = place(cupy, with_spectrum(np.linspace(0.5, 1.0, 90)))
    K = given.get()
    result = fastntk.conditioning(given, method=method, overwrite=overwrite)
    assert_same(result, fastntk.conditioning(K, method=method))
    assert overwrite or np.array_equal(given.get(), K)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("method", ["dense", "cholesky"])
def test_the_lower_triangle_counts(cupy: Any, overwrite: bool, method: str) -> None:
    K = with_spectrum(np.linspace(0.5, 1.0, 90))
    skew = K + 2.0**-50 * np.triu(np.random.default_rng(0).random((90, 90)), 1)
    result = fastntk.conditioning(cupy.asarray(skew), method=method, overwrite=overwrite)
    assert result == fastntk.conditioning(cupy.asarray(K), method=method)


@pytest.mark.parametrize("method", ["dense", "cholesky"])
@pytest.mark.parametrize("log_kappa", [2.0, 30.0])
def test_the_matrix_is_overwritten_only_if_it_may_be(
    cupy: Any, method: str, log_kappa: float
) -> None:
    K = with_spectrum(np.logspace(-log_kappa, 0, 150))
    given = cupy.asarray(K)
    kept = fastntk.conditioning(given, method=method)
    assert np.array_equal(given.get(), K)
    assert fastntk.conditioning(given, method=method) == kept
    overwritten = fastntk.conditioning(given, method=method, overwrite=True)
    assert overwritten == kept
    if log_kappa < 10:  # otherwise it was the rank that was found last
        assert np.array_equal(np.triu(given.get(), 1), np.triu(K, 1))
    # The dense method ends with a product, for which the matrix is put back.
    put_back = method == "dense" and log_kappa < 10
    assert np.array_equal(given.get(), K) == put_back


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("log_kappa", [1.0, 30.0])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_memory_and_copies(cupy: Any, overwrite: bool, log_kappa: float, dtype: str) -> None:
    n = 700
    K = cupy.asarray(with_spectrum(np.logspace(-log_kappa, 0, n)).astype(dtype))
    pool = cupy.get_default_memory_pool()
    before = pool.peak = pool.used_bytes()
    cupy.host_copies.clear()
    result = fastntk.conditioning(K, overwrite=overwrite)
    assert result.resolved == (log_kappa < 2)
    # The factor, in the copy if there is one; blocks of columns; a basis of Lanczos vectors, its
    # images, and half of both again.
    columns = n * (not overwrite or dtype == "float32") + 4 * BLOCK + 3 * 160 + 40
    assert pool.peak - before <= 8 * n * columns
    # No n × n numbers go to the host.
    assert max(cupy.host_copies) <= 8 * n * 8
    assert sum(cupy.host_copies) <= 8 * n * n / 2


def test_default_blocks(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_cholesky, "BLOCK", 2048)
    monkeypatch.setattr(gpu_matrix, "_ELEMENTS", 2**26)
    for log_kappa in (3.0, 30.0):
        K = with_spectrum(np.logspace(-log_kappa, 0, 300))
        for overwrite in (False, True):
            result = fastntk.conditioning(cupy.asarray(K), overwrite=overwrite)
            assert_same(result, fastntk.conditioning(K))


def test_dense_spectra_stay_on_the_gpu(cupy: Any) -> None:
    n = 200
    values = np.geomspace(1e-3, 5.0, n)
    K = cupy.asarray(with_spectrum(values))
    cupy.host_copies.clear()
    result = fastntk.spectrum(K)
    assert type(result) is np.ndarray
    assert result == pytest.approx(values, rel=1e-11, abs=0)
    assert fastntk.spectrum(cupy.asarray(K.get().astype(np.float32))).dtype == np.float64
    cupy.host_copies.remove(8 * n * n)  # that of the line above
    fastntk.conditioning(K, method="dense", k=2, eigenvectors=True)
    assert max(cupy.host_copies) <= 8 * n * 2
    # The lower triangle counts, and K stays as it is.
    skew = K.get() + 2.0**-52 * np.triu(np.ones((n, n)))
    given = cupy.asarray(skew)
    fastntk.spectrum(given)
    assert np.array_equal(given.get(), skew)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("wrap", [OnGpu, ByDLPack, lambda K: ByDLPack(K, 13)])
def test_arrays_of_other_libraries_are_not_copied(cupy: Any, wrap: Any, overwrite: bool) -> None:
    K = with_spectrum(np.linspace(1.0, 3.0, 60))
    memory = K.copy()
    expected = fastntk.conditioning(cupy.asarray(K), method="cholesky")
    assert fastntk.conditioning(wrap(memory), method="cholesky", overwrite=overwrite) == expected
    assert np.array_equal(memory, K) is not overwrite
    assert fastntk.spectrum(wrap(K)) == pytest.approx(np.linspace(1.0, 3.0, 60), rel=1e-12, abs=0)


def test_streams_of_other_libraries_are_waited_for(cupy: Any) -> None:
    cupy.cuda.runtime.synchronized.clear()
    fastntk.conditioning(OnGpu(np.eye(3), stream=7))
    assert cupy.cuda.runtime.synchronized == [7]


def test_matrices_on_another_gpu_than_the_current_one(cupy: Any) -> None:
    K = with_spectrum(np.linspace(1.0, 3.0, 60))
    with cupy.cuda.Device(1):
        given = cupy.asarray(K)
    with pytest.raises(ValueError, match="Array device must be same as the current device"):
        given + given
    for method in ("dense", "cholesky", "operator"):
        result = fastntk.conditioning(given, method=method, eigenvectors=True)
        assert result.condition_number == pytest.approx(3.0, rel=1e-5, abs=0)
        assert result.smallest_vectors is not None
        assert result.smallest_vectors.device == given.device == cupy.cuda.Device(1)
    assert fastntk.spectrum(given)[-1] == pytest.approx(3.0, rel=1e-9, abs=0)

    class There(ByDLPack):
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 1

    there: Any = There(K)
    vectors = fastntk.conditioning(there, eigenvectors=True).largest_vectors
    assert vectors is not None
    assert vectors.device == cupy.cuda.Device(1)
    assert cupy.cuda.Device() == cupy.cuda.Device(0)


def test_what_is_read_only_is_not_overwritten(cupy: Any) -> None:
    K = np.eye(3)
    frozen = OnGpu(K, data=(K.__array_interface__["data"][0], True))
    assert fastntk.conditioning(frozen).condition_number == 1.0
    with pytest.raises(TypeError, match="K is read-only: expected an array that can be written"):
        fastntk.conditioning(frozen, overwrite=True)


def _bad(index: tuple[int, int], value: float, n: int = 90) -> Matrix:
    K = np.eye(n)
    K[index] = value
    return K


@pytest.mark.parametrize(
    "K",
    [
        _bad((7, 9), 1e-3),
        _bad((80, 3), -2.0),
        _bad((4, 5), np.nan),
        _bad((88, 5), -np.inf),
        _bad((1, 1), 1e200),
        _bad((0, 1), np.nan).astype(np.float32),
        np.eye(90) * 2.0**-1000,
        np.ones((3, 4)),
        np.ones(3),
        np.ones((0, 0)),
        np.eye(3) * 1j,
        with_spectrum([-1e-3] + [1.0] * 89),
        with_spectrum([-1.0] + [1.0] * 299),
    ],
)
@pytest.mark.parametrize("function", [fastntk.conditioning, fastntk.spectrum])
def test_errors_are_those_of_the_host(cupy: Any, K: Any, function: Any) -> None:
    texts = []
    for given in (K, cupy.asarray(K)):
        try:
            function(given)
        except (ValueError, TypeError) as error:
            texts.append((type(error), str(error)))
    assert texts[:1] == texts[1:]
    assert len(texts) == 2 or function is fastntk.spectrum


def test_other_errors(cupy: Any) -> None:
    K = cupy.asarray(np.eye(3))
    with pytest.raises(ValueError, match="k=4: expected at most 3"):
        fastntk.conditioning(K, k=4)
    for method in ("dense", "cholesky"):
        with pytest.raises(ValueError, match="negative eigenvalue far beyond rounding"):
            fastntk.conditioning(cupy.asarray(-np.eye(300)), method=method)


@pytest.mark.parametrize("variable", ["1", "0", ""])
def test_emulated_arithmetic_proves_nothing(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    K = cupy.asarray(np.eye(3))
    monkeypatch.setenv("CUBLAS_EMULATE_DOUBLE_PRECISION", variable)
    text = "bounds=True: cuBLAS is set to emulate float64"
    if variable == "1":
        with pytest.raises(ValueError, match=text):
            fastntk.conditioning(K)
    assert fastntk.conditioning(K, bounds=variable != "1").condition_number == 1.0
    monkeypatch.delenv("CUBLAS_EMULATE_DOUBLE_PRECISION")
    cublas, handle = cupy.cuda.cublas, cupy.cuda.get_cublas_handle()
    cublas.setMathMode(handle, 8)
    try:
        with pytest.raises(ValueError, match=f"{text} .*math mode 8"):
            fastntk.conditioning(K)
    finally:
        cublas.setMathMode(handle, cublas.CUBLAS_DEFAULT_MATH)


def test_memory_is_checked_before_any_work(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    K = cupy.asarray(np.eye(400))
    used = cupy.get_default_memory_pool().used_bytes()
    monkeypatch.setattr(cupy.cuda.memory, "total", used + 8 * 400 * 400)
    text = r"factorizing a kernel of 400 × 400 needs .*iB, but 1\.2 MiB of the GPU's memory are av"
    with pytest.raises(MemoryError, match=text):
        fastntk.conditioning(K)
    with pytest.raises(MemoryError, match=r"all eigenvalues of a kernel of 400 × 400 needs 2\.4 M"):
        fastntk.spectrum(K)


def test_limits_of_the_pool_and_other_allocators(cupy: Any) -> None:
    K = cupy.asarray(np.eye(400))
    pool = cupy.get_default_memory_pool()
    pool.set_limit(pool.used_bytes() + 2**20)
    try:
        with pytest.raises(MemoryError, match=r"but 1\.0 MiB of the GPU's memory are available"):
            fastntk.conditioning(K)
        cupy.cuda.set_allocator(object())  # whose limits CuPy does not know
        assert fastntk.conditioning(K).condition_number == pytest.approx(1.0, rel=1e-9, abs=0)
    finally:
        cupy.cuda.set_allocator()
        pool.set_limit()


@pytest.mark.parametrize("function", [fastntk.conditioning, fastntk.spectrum])
def test_without_cupy(function: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    text = r"^K is a test_device_arrays\.OnGpu in the memory of a GPU.*pip install .cupy-cuda13x"
    with pytest.raises(ImportError, match=text):
        function(OnGpu(np.eye(3)))


def test_progress_and_interrupts(cupy: Any) -> None:
    K = with_spectrum(np.geomspace(0.1, 1, 300))
    given = cupy.asarray(K)
    seen: list[tuple[str, int, int]] = []
    expected = fastntk.conditioning(
        given, method="cholesky", progress=lambda *state: seen.append(state)
    )
    assert {"λ_max", "λ_min", "cholesky"} <= {stage for stage, _, _ in seen}
    assert all(0 <= done <= total for _, done, total in seen)

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "cholesky":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastntk.conditioning(given, method="cholesky", progress=interrupt)
    assert np.array_equal(given.get(), K)
    assert fastntk.conditioning(given, method="cholesky") == expected
