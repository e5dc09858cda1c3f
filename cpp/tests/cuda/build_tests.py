# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
# ruff: noqa: D102 (a module of the tests' scripts)
"""Builds the tests of the CUDA sources without CMake, a unit at a time: for variants of them."""

from __future__ import annotations

import concurrent.futures
import os
import subprocess
from pathlib import Path

CPP = Path(__file__).resolve().parents[2]

SOURCES = (
    "src/host_device.cpp",
    "src/host_float32.cpp",
    "src/host_float64.cpp",
    "src/host_symmetric.cpp",
    "src/cuda/cublas.cu",
    "src/cuda/cuda_device.cu",
    "src/cuda/cuda_float32.cu",
    "src/cuda/cuda_float64.cu",
    "tests/cuda/runtime/cublas.cpp",
    "tests/cuda/runtime/cuda_runtime.cpp",
    "tests/cuda/cuda_device_test.cpp",
    "tests/cuda/cuda_test.cpp",
    "tests/cuda/main.cpp",
)


class Build:
    """The objects of the sources as they are, and what it takes to replace some of them."""

    def __init__(self, folder: Path, flags: list[str]) -> None:
        self.folder = folder
        self.flags = ["-std=c++20", "-O0", "-w", *flags]

    def compile(self, root: Path, unit: str, target: Path) -> None:
        include = [
            f"-I{root / path}" for path in ("include", "tests", "tests/cuda", "tests/cuda/runtime")
        ]
        command = [
            "g++",
            *self.flags,
            *include,
            "-x",
            "c++",
            "-c",
            str(root / unit),
            "-o",
            str(target),
        ]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"{unit} does not compile:\n{done.stderr[:2000]}")

    def object(self, unit: str) -> Path:
        return self.folder / (unit.replace("/", "_") + ".o")

    def compile_all(self, jobs: int) -> None:
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            list(pool.map(lambda unit: self.compile(CPP, unit, self.object(unit)), SOURCES))

    def passes(self, replaced: dict[str, Path], program: Path) -> bool:
        objects = [str(replaced.get(unit, self.object(unit))) for unit in SOURCES]
        subprocess.run(
            ["g++", *self.flags, "-rdynamic", "-pthread", *objects, "-ldl", "-o", str(program)],
            check=True,
        )
        try:
            done = subprocess.run(
                [str(program)],
                check=False,
                capture_output=True,
                timeout=300,
                env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
            )
        except subprocess.TimeoutExpired:
            return False
        return done.returncode == 0
