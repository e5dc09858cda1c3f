# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Extreme eigenvalues of a kernel, beside a Cholesky decomposition and all eigenvalues."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy.linalg import eigvalsh, lapack

import fastntk

N = 2000


@pytest.fixture(scope="module")
def kernel() -> npt.NDArray[np.float64]:
    X = np.random.default_rng(0).standard_normal((N, 20))
    return np.asarray(fastntk.MLP([20, 512, 512, 1]).ntk(X))


@pytest.mark.parametrize("way", ["conditioning", "dpotrf", "eigvalsh"])
def test_conditioning(benchmark: Any, kernel: npt.NDArray[np.float64], way: str) -> None:
    benchmark.group = f"condition number, n {N}, float64"
    rounds = {"conditioning": 5, "dpotrf": 5, "eigvalsh": 1}[way]

    def compute() -> Any:
        if way == "conditioning":
            return fastntk.conditioning(kernel)
        if way == "dpotrf":
            return lapack.dpotrf(kernel.T, lower=1, clean=0)
        return eigvalsh(kernel)

    result = benchmark.pedantic(compute, rounds=rounds, warmup_rounds=rounds // 5)
    if way == "eigvalsh":
        ours = fastntk.conditioning(kernel)
        assert ours.resolved
        assert ours.condition_number == pytest.approx(result[-1] / result[0], rel=1e-6)
