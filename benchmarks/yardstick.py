# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The unit of every timing: the rate of matrix multiplication, measured in the same run."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import blas

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

_SIZE = 2048


def gemm_rate(dtype: npt.DTypeLike, size: int = _SIZE) -> float:
    """Return the operations a second of one matrix multiplication, by SciPy's BLAS."""
    gemm = blas.sgemm if np.dtype(dtype) == np.float32 else blas.dgemm
    a = _operand(np.dtype(dtype).name, size)
    started = time.perf_counter()
    gemm(1.0, a, a)
    return 2 * size**3 / (time.perf_counter() - started)


@cache
def _operand(dtype: str, size: int) -> npt.NDArray[Any]:
    a = np.random.default_rng(0).standard_normal((size, size))
    return np.asfortranarray(a, dtype=dtype)


def pause() -> None:
    """Wait until the threads of a BLAS, which look out for more work for a while, sleep."""
    time.sleep(0.1)


@dataclass
class Yardstick:
    """Times a function with pytest-benchmark, a matrix multiplication before each round.

    On a machine that is shared, and whose clock varies, the ratio of neighbours is what holds.
    """

    benchmark: Any
    dtype: npt.DTypeLike
    rounds: int = 5
    _gemm: list[float] = field(default_factory=list)

    def time(self, function: Callable[[], Any], flops: float) -> Any:
        """Run `function`, record useful flops over the GEMM rate, and return its result."""

        def measure_gemm() -> None:
            self._gemm.append(max(gemm_rate(self.dtype) for _ in range(3)))
            pause()

        measure_gemm()  # the first touches memory and wakes threads
        self._gemm.clear()
        result = self.benchmark.pedantic(
            function, setup=measure_gemm, rounds=self.rounds, warmup_rounds=1
        )
        # The warm-up has a measurement of its own, which belongs to no round.
        gemm_rates = [rate / 1e9 for rate in self._gemm[-self.rounds :]]
        seconds: Sequence[float] = self.benchmark.stats.stats.data
        rate = [flops / s / 1e9 for s in seconds]
        self.benchmark.extra_info.update(
            gflops=round(statistics.median(rate), 1),
            gemm_gflops=round(statistics.median(gemm_rates), 1),
            of_gemm_rate=round(
                statistics.median(r / g for r, g in zip(rate, gemm_rates, strict=True)), 3
            ),
        )
        return result
