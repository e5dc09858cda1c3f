# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Faults of what the package stands on, as docs/how_to/faults_of_others.md has them.

Where a program no longer shows its fault, the page is out of date. What the package does about
them is tested in `test_memory_limits.py`, `test_threads.py`, `test_files.py` and `test_packed.py`.
"""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info

PROGRAMS = Path(__file__).with_name("faults_of_others")
PAGE = PROGRAMS.parents[1] / "docs" / "how_to" / "faults_of_others.md"

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and /proc of Linux")


def end(name: str, patience: float) -> tuple[int | None, str]:
    """Return how a program ended, None if it did not, and what it wrote."""
    with subprocess.Popen(
        [sys.executable, PROGRAMS / f"{name}.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            written, _ = process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            process.kill()
            written, _ = process.communicate()
            return None, written
        return process.returncode, written


def test_every_program_is_on_the_page() -> None:
    shown = re.findall(r"literalinclude} .*/faults_of_others/(\w+)\.py", PAGE.read_text("utf-8"))
    assert sorted(shown) == sorted(path.stem for path in PROGRAMS.glob("*.py"))


@linux
@pytest.mark.long
def test_openblas_ends_the_process_or_never_returns() -> None:
    if "openblas" not in {library["internal_api"] for library in threadpool_info()}:
        pytest.skip("NumPy has another BLAS")
    status, written = end("openblas_buffers", 60)
    assert status != 0
    assert "Memory allocation still failed" in written
    assert "Traceback" not in written


@linux
@pytest.mark.long
def test_python_waits_for_a_thread_that_could_not_begin() -> None:
    status, written = end("python_threads", 20)
    assert status is None
    assert "MemoryError" in written
    assert "the thread was started" not in written


@linux
@pytest.mark.long
def test_a_mapped_file_that_is_cut_ends_the_process() -> None:
    assert end("mapped_files", 60) == (-signal.SIGBUS, "")


@linux
@pytest.mark.long
def test_numba_keeps_what_it_has_compiled() -> None:
    status, written = end("compiled_functions", 300)
    assert status == 0
    assert 0.1 < float(written.split()[0]) < 1.0
