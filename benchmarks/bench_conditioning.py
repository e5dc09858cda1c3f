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
from benchmarks.yardstick import pause

N = 4000
WAYS = ("conditioning", "with bounds", "packed, overwritten", "dpotrf", "eigvalsh")


@pytest.fixture(scope="module")
def kernel() -> npt.NDArray[np.float64]:
    X = np.random.default_rng(0).standard_normal((N, 20))
    return np.asarray(fastntk.MLP([20, 512, 512, 1]).ntk(X))


@pytest.mark.parametrize("way", WAYS)
def test_conditioning(benchmark: Any, kernel: npt.NDArray[np.float64], way: str) -> None:
    benchmark.group = f"condition number, n {N}, float64"
    # Overwriting needs a kernel of its own in each round.
    packed = [fastntk.PackedKernel.from_dense(kernel) for _ in range(6 if "packed" in way else 0)]

    def compute() -> Any:
        if way == "dpotrf":
            return lapack.dpotrf(kernel.T, lower=1, clean=0)
        if way == "eigvalsh":
            return eigvalsh(kernel)
        if packed:
            return fastntk.conditioning(packed.pop(), bounds=False, overwrite=True)
        return fastntk.conditioning(kernel, bounds=way == "with bounds")

    rounds = 1 if way == "eigvalsh" else 5
    result = benchmark.pedantic(compute, setup=pause, rounds=rounds, warmup_rounds=rounds // 5)
    if way == "eigvalsh":
        ours = fastntk.conditioning(kernel)
        assert ours.resolved
        assert ours.bounds is not None
        assert ours.condition_number == pytest.approx(result[-1] / result[0], rel=1e-6, abs=0)
