# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Prints, after the table of times, how each compares with the GEMM rate of the same run."""

from __future__ import annotations

from typing import Any


def pytest_terminal_summary(terminalreporter: Any, config: Any) -> None:
    session = getattr(config, "_benchmarksession", None)
    every = session.benchmarks if session else []
    rows = [b for b in every if "of_gemm_rate" in b.extra_info]
    if rows:
        terminalreporter.section("useful flops over the GEMM rate (medians of neighbouring rounds)")
    for row in rows:
        info = row.extra_info
        terminalreporter.line(
            f"{row.name:<50} {info['gflops']:8.1f} of {info['gemm_gflops']:8.1f} GFLOP/s"
            f" = {info['of_gemm_rate']:.3f}"
        )
    rows = [b for b in every if "ns_core_a_pair_and_layer" in b.extra_info]
    if rows:
        terminalreporter.section("nanoseconds of all cores together for a pair and layer")
    for row in rows:
        info = row.extra_info
        terminalreporter.line(f"{row.name:<50} {info['ns_core_a_pair_and_layer']:8.1f}")
