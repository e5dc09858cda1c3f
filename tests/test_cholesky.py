# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Cholesky factors and products, of arrays and packed kernels, against NumPy and LAPACK."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interrupts import assert_ctrl_c_stops
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits
from tolerances import assert_close

from fastntk import PackedKernel
from fastntk._support import memory
from fastntk.symmetric.cholesky import Cholesky, NotPositiveDefinite
from fastntk.symmetric.products import symmetric_product

SIZES = [1, 2, 3, 127, 128, 129, 600, 1301]
Matrix = npt.NDArray[np.float64]


def positive_definite(n: int) -> Matrix:
    """Return a symmetric matrix with eigenvalues from 1 to about 5."""
    a = np.random.default_rng(n).standard_normal((n, n))
    result: Matrix = a @ a.T / n + np.eye(n)
    return result


def vectors(n: int, k: int | None = None) -> Matrix:
    return np.random.default_rng(1).standard_normal(n if k is None else (n, k))


def in_both_layouts(K: Matrix) -> list[Any]:
    above = np.triu(np.full_like(K, np.nan), 1)
    return [np.tril(K) + above, PackedKernel.from_dense(K)]


def product(matrix: Any, v: Matrix) -> Matrix:
    """Return the product with a matrix in either layout."""
    stored = matrix.data if isinstance(matrix, PackedKernel) else matrix
    return symmetric_product(stored, matrix.shape[0], v)


@pytest.mark.parametrize("n", SIZES)
def test_factor_is_that_of_lapack(n: int) -> None:
    packed = PackedKernel.from_dense(positive_definite(n))
    expected, info = lapack.dpftrf(n, packed.data, transr="T", uplo="L")
    assert info == 0
    factor = packed.copy()
    Cholesky.of(factor, overwrite=True)
    assert_close(factor.data, expected, "float64")


@pytest.mark.parametrize("n", SIZES)
def test_of_and_solve(n: int) -> None:
    K = positive_definite(n)
    for sign, shift in ((1, 0.0), (1, 0.75), (-1, 40.0)):
        shifted = sign * K + shift * np.eye(n)
        for matrix in in_both_layouts(K):
            before = np.array(matrix.data if isinstance(matrix, PackedKernel) else matrix)
            factor = Cholesky.of(matrix, sign=sign, shift=shift)
            assert factor.n == n
            for v in (vectors(n), vectors(n, 1), vectors(n, 5), vectors(n, 32)):
                assert_close(shifted @ factor.solve(v), v, "float64")
            after = matrix.data if isinstance(matrix, PackedKernel) else matrix
            assert np.array_equal(before, after, equal_nan=True)


@pytest.mark.parametrize("n", [1, 2, 3, 333])
def test_overwriting_leaves_what_is_above_the_diagonal(n: int) -> None:
    K = positive_definite(n)
    full = np.tril(K) + np.triu(np.full_like(K, np.nan), 1)
    Cholesky.of(full, shift=0.5, overwrite=True)
    assert_close(np.tril(full), np.linalg.cholesky(K + 0.5 * np.eye(n)), "float64")
    assert np.isnan(full[np.triu_indices(n, 1)]).all()


def test_float32_kernels_are_factored_in_float64() -> None:
    K = positive_definite(300)
    single = PackedKernel.from_dense(K.astype(np.float32))
    v = vectors(300, 2)
    assert_close(single.to_dense().astype(np.float64) @ Cholesky.of(single).solve(v), v, "float64")
    with pytest.raises(ValueError, match="matrix has dtype float32: expected a writable one in fl"):
        Cholesky.of(single, overwrite=True)


@pytest.mark.parametrize("layout", [0, 1])
def test_results_do_not_depend_on_the_number_of_threads(layout: int) -> None:
    n = 1100
    matrix = in_both_layouts(positive_definite(n))[layout]
    results = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            factor = Cholesky.of(matrix)
            for k in (1, 7):
                v = vectors(n, k)
                results.append((factor.solve(v), product(matrix, v)))
    for k in range(2):
        for others in results[k + 2 :: 2]:
            assert all(np.array_equal(a, b) for a, b in zip(results[k], others, strict=True))


@given(n=st.integers(1, 300), pivot=st.integers(0, 299), bad=st.sampled_from([-1.0, 0.0, np.nan]))
def test_pivot_of_failure(n: int, pivot: int, bad: float) -> None:
    K = np.eye(n)
    K[pivot % n, pivot % n] = bad
    for matrix in (K, PackedKernel.from_dense(K)):
        with pytest.raises(NotPositiveDefinite, match=f"pivot of row {pivot % n} is") as caught:
            Cholesky.of(matrix)
        assert caught.value.pivot == pivot % n
        assert isinstance(caught.value, np.linalg.LinAlgError)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", SIZES)
def test_symmetric_product(n: int, dtype: str) -> None:
    K = positive_definite(n).astype(dtype)
    for matrix in in_both_layouts(K):
        for k in (None, 1, 4, 32):
            v = vectors(n, k).astype(dtype)
            result = product(matrix, v)
            assert result.shape == v.shape
            assert result.dtype == dtype
            assert_close(result, K.astype(np.float64) @ v, dtype)


def test_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    K = np.eye(4)
    for matrix in (np.ones((2, 3)), np.ones(3), np.eye(4, dtype=int), np.eye(4)[:, ::-1]):
        with pytest.raises(ValueError, match=r"matrix has shape .*: expected a square, C-contig"):
            Cholesky.of(matrix)
    with pytest.raises(ValueError, match=r"sign=2: expected 1 or -1"):
        Cholesky.of(K, sign=2)
    with pytest.raises(
        ValueError, match=r"vectors have shape \(3, 2\): expected \(4,\) or \(4, k\)"
    ):
        Cholesky.of(K).solve(np.ones((3, 2)))
    assert Cholesky.of(K).solve(np.ones((4, 0))).shape == (4, 0)
    K.flags.writeable = False
    with pytest.raises(ValueError, match="matrix has dtype float64 and is read-only: expected a w"):
        Cholesky.of(K, overwrite=True)
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 10)
    with pytest.raises(MemoryError, match=r"Cholesky factor of a matrix of 4 × 4 needs 80 bytes"):
        Cholesky.of(K)


def test_progress() -> None:
    seen: list[tuple[str, int, int]] = []
    Cholesky.of(positive_definite(500), progress=lambda *step: seen.append(step))
    assert list(dict.fromkeys(stage for stage, _, _ in seen)) == ["copy", "cholesky"]
    assert seen[-1][1] == seen[-1][2]


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_stops_the_factorization() -> None:
    program = """
        import sys
        import numpy as np
        from fastntk import PackedKernel
        from fastntk.symmetric.cholesky import Cholesky

        n = 10000
        K = PackedKernel.empty(n)
        K.data[:] = 0.0
        K.tile(slice(0, n // 2), slice(0, n // 2))[np.diag_indices(n // 2)] = 1.0
        K.tile(slice(n // 2, n), slice(n // 2, n))[np.diag_indices(n // 2)] = 1.0
        started = []

        def progress(stage, done, total):
            if stage == "cholesky" and not started:
                started.append(True)
                print("started", flush=True)

        try:
            Cholesky.of(K, overwrite=True, progress=progress)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        else:
            sys.exit("the work was done before the signal came")
        print(Cholesky.of(np.eye(2)).solve(np.ones(2)), flush=True)
        """
    assert_ctrl_c_stops(program, then="[1. 1.]")
