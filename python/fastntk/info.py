# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What this installation has: versions, BLAS, threads, instruction set, memory, GPUs, extras."""

from __future__ import annotations

import importlib.util
import os
import platform
from importlib.metadata import version
from typing import Any

import fastntk._core as _core
import fastntk.amx as amx
from fastntk._support.blas_threads import blas_libraries, limits_each_thread
from fastntk._support.memory import available_memory, human_bytes
from fastntk._support.threads import thread_count
from fastntk.devices import driver

__all__ = ["describe"]

# The modules that each extra brings.
_EXTRAS = {
    "study": ("click", "jinja2", "matplotlib", "pandas", "sklearn", "tqdm"),
    "data": ("pooch", "soundfile"),
    "torch": ("torch",),
    "cuda": ("cupy",),
}


def _blas_line(library: dict[str, Any]) -> str:
    architecture = library.get("architecture")
    return (
        f"{library['internal_api']} {library.get('version') or '(unknown version)'}"
        + (f", {architecture} kernels" if architecture else "")
        + f", {library['num_threads']} threads"
        + (
            " by OpenMP, in each thread anew (set OMP_NUM_THREADS=1 for the same bits everywhere)"
            if limits_each_thread(library)
            else ""
        )
        + f": {library['filepath']}"
    )


def _float32_products() -> str:
    reason = amx.why_not()
    return "by AMX units, as accurate as by BLAS" if reason is None else f"by BLAS: {reason}"


def _gpu_lines() -> list[str]:
    lines = [
        f"{device.name}, compute capability {driver.dotted(device.compute_capability)}, "
        f"{human_bytes(device.memory)}, driver for CUDA {driver.dotted(device.driver_version)}"
        for device in driver.devices()
    ]
    reason, built_with = driver.why_not(), driver.runtime_version()
    if reason is not None or built_with is None:
        return [*lines, f"not used: {reason}"]
    return [
        *lines,
        f"ready: built with CUDA {driver.dotted(built_with)}; cuBLAS: {driver.cublas_library()}",
    ]


def describe() -> list[tuple[str, str]]:
    """Return what there is as (what, value) pairs, in the order in which to read them.

    Examples
    --------
    >>> from fastntk.info import describe
    >>> [what for what, _ in describe()][:3]
    ['fastntk', 'Python', 'NumPy']
    """
    memory = available_memory()
    rows = [
        ("fastntk", version("fastntk")),
        ("Python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        ("NumPy", version("numpy")),
        ("SciPy", version("scipy")),
        ("Numba", version("numba")),
        ("instruction set", f"{_core.instruction_set()}, for elementwise loops"),
        ("float32 products", _float32_products()),
        ("processors", str(os.cpu_count())),
        ("threads", f"{thread_count()} (as many as BLAS would use)"),
        ("memory", "unknown" if memory is None else f"{human_bytes(memory)} available"),
    ]
    libraries = blas_libraries()
    rows += [("BLAS", _blas_line(library)) for library in libraries]
    if not libraries:
        rows.append(("BLAS", "SciPy's; its threads cannot be controlled"))
    rows += [("CUDA", line) for line in _gpu_lines()]
    for extra, modules in _EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        rows.append(
            (
                f"extra: {extra}",
                f"{', '.join(missing)} missing; pip install 'fastntk[{extra}]'"
                if missing
                else "present",
            )
        )
    return rows
