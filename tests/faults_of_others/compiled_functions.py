# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Numba keeps what it has compiled, when nobody can call it any more."""

import gc
from pathlib import Path

import numba


def held() -> float:
    """Return the memory of this process, in MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


def compile_some() -> None:
    for _ in range(30):
        numba.cfunc("float64(float64)")(lambda x: x * x * x)
    gc.collect()


compile_some()
before = held()
compile_some()
print(f"{(held() - before) / 30:.2f} MiB for each function that is gone")
