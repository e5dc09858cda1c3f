# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What matters for speed on this machine, and what to bear in mind when reading the numbers."""

from __future__ import annotations

import os
import platform
import statistics
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

import fastntk._core as _core
from benchmarks.yardstick import gemm_rate, pause
from fastntk import info

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.peers.process import Peer

# A second core that brings less than this much is a core in name only.
_SCALES = 0.85
# The rate may vary by so much within a run before ratios of distant measurements mean little.
_STEADY = 1.25
# So many cores busy with other work are noticed.
_IDLE = 0.1


def keep_to_processors(threads: int) -> None:
    """Let this process, and those that it starts, run on so many processors where that is known."""
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, allowed[:threads])


def processors() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gemm_by_threads(
    threads: int, dtype: str, gemm: Callable[[str], float] = gemm_rate
) -> tuple[float, float]:
    """Return the rates of matrix multiplication with one thread and with all, taken in turn."""
    rates: dict[int, list[float]] = {1: [], threads: []}
    for _ in range(3):
        for count, found in rates.items():
            with threadpool_limits(count, user_api="blas"):
                found.append(gemm(dtype))
            pause()
    return statistics.median(rates[1]), statistics.median(rates[threads])


def gemm_of(peer: Peer, dtype: str, size: int = 2048) -> float:
    """Return the rate of matrix multiplication that a peer has, by whatever library."""
    a = np.random.default_rng(0).standard_normal((size, size)).astype(dtype)
    peer.forget()
    which, _ = peer.prepare("gemm", {"A": a}, {})
    return 2 * size**3 / statistics.median(peer.time(which)[0] for _ in range(3))


def facts(
    threads: int,
    versions: Mapping[str, Mapping[str, str]],
    scaling: Mapping[str, tuple[float, float]],
) -> dict[str, str]:
    """Return what matters for speed, in words."""
    there = dict(info.describe())
    found = {
        "processor": _processor_name(),
        "threads": f"{threads} of {os.cpu_count()} processors",
        "instructions": f"{_core.panel_instructions()} for Gram matrices; "
        f"{there['instruction set']}; float32 products {there['float32 products']}",
        "memory": there["memory"],
        "BLAS": there["BLAS"].split(":")[0],
        "fastntk": f"{there['fastntk']}, Python {there['Python']}, NumPy {there['NumPy']}, "
        f"SciPy {there['SciPy']}, Numba {there['Numba']}",
    }
    for name, of_peer in versions.items():
        found[name] = ", ".join(f"{what} {version}" for what, version in of_peer.items())
    for dtype, (one, all_threads) in scaling.items():
        found[f"GEMM, {dtype}"] = f"{one / 1e9:.0f} GFLOP/s with 1 thread, " + (
            f"{all_threads / 1e9:.0f} with {threads} ({all_threads / one:.2f} ×)"
            if threads > 1
            else "of which there is one"
        )
    return found


def varied(rates: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """Return how the rate of matrix multiplication went during the run."""
    return {
        f"GEMM during the run, {dtype}": f"median {statistics.median(found) / 1e9:.0f} GFLOP/s, "
        f"a tenth below {_quantile(found, 0.1) / 1e9:.0f}, "
        f"a tenth above {_quantile(found, 0.9) / 1e9:.0f}"
        for dtype, found in rates.items()
    }


def warnings(
    threads: int,
    scaling: Mapping[str, tuple[float, float]],
    rates: Mapping[str, Sequence[float]],
    others: float | None,
) -> list[str]:
    """Return what makes numbers mean less, if anything does.

    Parameters
    ----------
    threads : int
    scaling : mapping of str to (float, float)
        Rates of matrix multiplication with one thread and with all.
    rates : mapping of str to sequence of float
        All that were measured in the run.
    others : float, optional
        How many processors were busy with the work of others on average.
    """
    found = []
    for dtype, (one, all_threads) in scaling.items():
        if threads > 1 and all_threads < _SCALES * threads * one:
            found.append(
                f"Matrix multiplication in {dtype} is {all_threads / one:.2f} times as fast with "
                f"{threads} threads as with one: the processors share what they compute with, or "
                "others use them. Nothing here says how fastntk scales."
            )
    for dtype, measured in rates.items():
        low, high = _quantile(measured, 0.1), _quantile(measured, 0.9)
        if high > _STEADY * low:
            found.append(
                f"The rate of matrix multiplication in {dtype} varied by a factor of "
                f"{high / low:.2f} during the run; only ratios of neighbours are to be trusted."
            )
    if others is not None and others > _IDLE:
        found.append(
            f"Other work kept {others:.1f} processors busy on average: times are too long."
        )
    return found


class OtherWork:
    """How many processors others keep busy, from what Linux counts; elsewhere nothing is known."""

    def __init__(self) -> None:
        self._before = _busy_and_elapsed()
        self._own = _own_seconds()

    def processors(self) -> float | None:
        """Return how many since this object was made, when all child processes have ended."""
        after = _busy_and_elapsed()
        if self._before is None or after is None:
            return None
        busy, elapsed = (b - a for a, b in zip(self._before, after, strict=True))
        return max(0.0, busy - (_own_seconds() - self._own)) / max(elapsed, 1e-3)


def _busy_and_elapsed() -> tuple[float, float] | None:
    path = Path("/proc/stat")
    if not path.exists():
        return None
    ticks = [int(word) for word in path.read_text().splitlines()[0].split()[1:9]]
    second = float(os.sysconf("SC_CLK_TCK"))
    idle = ticks[3] + ticks[4]
    return (sum(ticks) - idle) / second, sum(ticks) / second / (os.cpu_count() or 1)


def _own_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _processor_name() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    values = dict(line.split(":", 1) for line in lines if ":" in line)
    by_key = {key.strip(): value.strip() for key, value in values.items()}
    name = by_key.get("model name", platform.processor() or platform.machine())
    if "cpu family" in by_key:
        name += f" (family {by_key['cpu family']}, model {by_key.get('model', '?')})"
    return name


def _quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[round(share * (len(ordered) - 1))]
