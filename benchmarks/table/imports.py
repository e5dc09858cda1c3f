# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What importing takes, in fresh processes that take turns."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.table.results import OURS, Row, Timed

_PROGRAM = """
import time
wall, cpu = time.perf_counter(), time.process_time()
import {module}
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def measure_imports(rounds: int, modules: tuple[str, ...] = (OURS, "scipy.linalg")) -> Row:
    """Return the times of importing modules; the first round warms the files up."""
    timed = [Timed(module) for module in modules]
    for turn in range(rounds + 1):
        for module, times in zip(modules, timed, strict=True):
            done = subprocess.run(
                [sys.executable, "-c", _PROGRAM.format(module=module)],
                capture_output=True,
                text=True,
                check=True,
            )
            if turn > 0:
                wall, cpu = map(float, done.stdout.split())
                times.wall.append(wall)
                times.cpu.append(cpu)
                times.gemm.append(1.0)
    return Row("Small calls", f"`import {modules[0]}`", "", None, None, timed)
