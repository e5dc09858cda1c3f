# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: D102 (a module of the tests' scripts)
"""Builds the tests of the CUDA sources without CMake, a unit at a time: for variants of them."""

from __future__ import annotations

import concurrent.futures
import os
import re
import subprocess
from pathlib import Path

CPP = Path(__file__).resolve().parents[2]

# The device and its lanes, without the algorithms, which take longer to compile.
DEVICE = (
    "src/amx.cpp",
    "src/host_device.cpp",
    "src/cuda/cublas.cu",
    "src/cuda/cuda_device.cu",
    "tests/cuda/runtime/cublas.cpp",
    "tests/cuda/runtime/cuda_runtime.cpp",
    "tests/cuda/lane_test.cpp",
    "tests/cuda/cuda_device_test.cpp",
    "tests/cuda/main.cpp",
)
SOURCES = (
    "src/cuda/cuda_float32.cu",
    "src/cuda/cuda_float64.cu",
    "src/host_float32.cpp",
    "src/host_float64.cpp",
    "src/panel_products.cpp",
    "tests/cuda/cuda_test.cpp",
    *DEVICE,
)


class Build:
    """The objects of the sources as they are, and what it takes to replace some of them."""

    def __init__(self, folder: Path, flags: list[str]) -> None:
        self.folder = folder
        self.flags = ["-std=c++20", "-O0", "-w", *flags]
        self.linked = self.flags

    def compile(self, root: Path, unit: str, target: Path) -> None:
        include = [
            f"-I{root / path}" for path in ("include", "tests", "tests/cuda", "tests/cuda/runtime")
        ]
        source = ["-x", "c++", "-c", str(root / unit), "-o", str(target)]
        if "/runtime/" in unit:  # which takes the time of the tests
            source.append("-O1")
        done = subprocess.run(
            ["g++", *self.flags, *include, *source], check=False, capture_output=True, text=True
        )
        if done.returncode != 0:
            raise RuntimeError(f"{unit} does not compile:\n{done.stderr[:2000]}")

    def object(self, unit: str) -> Path:
        return self.folder / (unit.replace("/", "_") + ".o")

    def compile_all(self, units: tuple[str, ...], jobs: int) -> None:
        missing = [unit for unit in units if not self.object(unit).exists()]
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda unit: self.compile(CPP, unit, self.object(unit)), missing))

    def failure(
        self,
        units: tuple[str, ...],
        program: Path,
        *,
        replaced: dict[str, Path] | None = None,
        arguments: tuple[str, ...] = (),
        timeout: float = 300,
    ) -> str:
        """Return how the tests end when they fail, and "" when they pass."""
        objects = [str((replaced or {}).get(unit, self.object(unit))) for unit in units]
        subprocess.run(
            ["g++", *self.linked, "-rdynamic", "-pthread", *objects, "-ldl", "-o", str(program)],
            check=True,
        )
        try:
            done = subprocess.run(
                [str(program), *arguments],
                check=False,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                # The tests themselves see that nothing is left on the device.
                env={
                    **os.environ,
                    "ASAN_OPTIONS": "detect_leaks=0",
                    # What is counted goes with the program.
                    "GCOV_PREFIX": str(program.parent),
                },
            )
        except subprocess.TimeoutExpired:
            return f"no end after {timeout:.0f} s"
        if done.returncode == 0:
            return ""
        complaint = re.search(
            r"(CUDA on the processor|ERROR|DEEPEST STACK|[0-9]+ objects).*|"
            r"(?<=TEST CASE:  ).*",
            done.stderr + done.stdout,
        )
        return complaint.group(0) if complaint else f"status {done.returncode}"


class Built(Build):
    """Objects that CMake has built with sanitizers, some of which are replaced by others.

    Parameters
    ----------
    folder : Path
        Where `cpp` was built, with FASTNTK_SANITIZE.
    sanitizers : str
        Those it was built with.
    flags : list of str
        What the objects in place of others are compiled with, which need not be sanitized.
    """

    def __init__(self, folder: Path, sanitizers: str, flags: list[str]) -> None:
        super().__init__(folder, flags)
        self.linked = [f"-fsanitize={sanitizers}", "--coverage"]

    def object(self, unit: str) -> Path:
        tests = self.folder / "tests/cuda/CMakeFiles/fastntk_cuda_tests.dir"
        if unit.startswith("tests/cuda/"):
            return tests / f"{unit.removeprefix('tests/cuda/')}.o"
        if unit.startswith("src/cuda/"):
            return tests / f"__/__/{unit}.o"
        return self.folder / f"CMakeFiles/fastntk_core.dir/{unit}.o"
