# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Cholesky factors beside those of LAPACK, and the memory of packed kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.linalg import lapack

from benchmarks.bench_memory import peak_growth
from fastntk import PackedKernel
from fastntk.symmetric.cholesky import Cholesky

N = 4000


@pytest.fixture(scope="module")
def kernel() -> npt.NDArray[np.float64]:
    a = np.random.default_rng(0).standard_normal((N, N))
    result: npt.NDArray[np.float64] = a @ a.T / N + np.eye(N)
    return result


@pytest.mark.parametrize("way", ["full", "packed", "dpotrf", "dpftrf"])
def test_cholesky(benchmark: Any, kernel: npt.NDArray[np.float64], way: str) -> None:
    benchmark.group = f"Cholesky decomposition in place, n {N}, float64"
    packed = PackedKernel.from_dense(kernel)

    def fresh() -> tuple[tuple[Any], dict[str, Any]]:
        return (packed.copy() if way in {"packed", "dpftrf"} else kernel.copy(),), {}

    def factor(matrix: Any) -> None:
        if way == "dpotrf":
            _, info = lapack.dpotrf(matrix.T, lower=0, clean=0, overwrite_a=1)
            assert info == 0
        elif way == "dpftrf":
            _, info = lapack.dpftrf(N, matrix.data, transr="T", uplo="L", overwrite_a=1)
            assert info == 0
        else:
            Cholesky.of(matrix, overwrite=True)

    benchmark.pedantic(factor, setup=fresh, rounds=7, warmup_rounds=1)


@pytest.mark.parametrize("k", [1, 8, 32])
@pytest.mark.parametrize("way", ["product", "solve"])
def test_products(benchmark: Any, kernel: npt.NDArray[np.float64], way: str, k: int) -> None:
    benchmark.group = f"packed, n {N}, {k} vectors, float64"
    packed = PackedKernel.from_dense(kernel)
    factor = Cholesky.of(packed)
    vectors = np.ones((N, k))
    calls = {
        "product": lambda: packed @ vectors,
        "solve": lambda: factor.solve(vectors),
    }
    benchmark.pedantic(calls[way], rounds=7, warmup_rounds=1)
    # A solution goes through the factor twice.
    passes = 1 if way == "product" else 2
    benchmark.extra_info["gigabytes_per_second"] = round(
        passes * packed.nbytes / benchmark.stats.stats.median / 1e9, 1
    )


def test_memory(benchmark: Any) -> None:
    n, widths = 20_000, [20, 64, 1]
    call = """
from fastntk.symmetric.cholesky import Cholesky
factor = Cholesky.of(net.ntk(X, out="packed"), shift=1.0, overwrite=True)
"""
    grown = benchmark.pedantic(lambda: peak_growth(n, widths, "float64", call), rounds=1)
    benchmark.extra_info["peak_over_square"] = round(grown / (8 * n * n), 3)
    assert grown <= 0.55 * 8 * n * n
