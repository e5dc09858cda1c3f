# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The extension with the CUDA sources compiled for the processor: a GPU for tests.

    cmake -S . -B BUILD -G Ninja -DCMAKE_BUILD_TYPE=Release -DFASTNTK_CUDA_ON_HOST=ON
    cmake --build BUILD --target _core
    FASTNTK_CUDA_ON_HOST=BUILD python -m pytest tests/gpu

What it can show and what it cannot is in cpp/tests/cuda/runtime/cuda_runtime.h.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

VARIABLE = "FASTNTK_CUDA_ON_HOST"
WHY_SKIPPED = (
    f"{VARIABLE} does not name a build of the extension with -DFASTNTK_CUDA_ON_HOST=ON "
    "(see tests/on_host.py)"
)


class Runtime:
    """What stands in for CUDA, as a library, and its state for tests."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = ctypes.CDLL(str(path))
        size, pointer = ctypes.c_size_t, ctypes.c_void_p
        for name, result, arguments in (
            ("adopt", None, [pointer, size]),
            ("disown", None, [pointer]),
            ("limit_memory", None, [size]),
            ("live_memory", size, []),
            ("kept_memory", size, []),
            ("live_objects", size, []),
            ("set_gpus", None, [ctypes.c_int]),
            ("current_gpu", ctypes.c_int, []),
            ("fail", None, [ctypes.c_char_p, ctypes.c_int, size]),
            ("pending_failure", ctypes.c_int, []),
            ("products", ctypes.c_int, [ctypes.c_int]),
            ("stream", pointer, []),
            ("write_later", None, [pointer, pointer, ctypes.c_double]),
        ):
            function = getattr(self._library, f"on_host_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    adopt: Any  # an address and bytes of the host that pass for the GPU's from now on
    disown: Any
    limit_memory: Any  # to so many bytes; 0: as much as there is
    live_memory: Any
    kept_memory: Any  # what was freed, for what is to come
    live_objects: Any
    set_gpus: Any
    current_gpu: Any
    fail: Any  # a call by its name (bytes), with this status, after so many that work
    pending_failure: Any  # 1 until such a call has failed
    products: Any  # how many were asked for: 0 standard, 1 in tf32, 2 in emulated float64
    stream: Any  # a new one
    write_later: Any  # on a stream: a double at an address, when somebody waits for the stream


def use() -> Runtime | None:
    """Have `fastntk._core` be that extension, if there is one; before fastntk is imported."""
    build = os.environ.get(VARIABLE)
    if not build:
        return None
    core = "fastntk._core"
    (extension,) = Path(build).glob("_core*.so")
    loaded = sys.modules.get(core)
    if loaded is None:
        spec = importlib.util.spec_from_file_location(core, extension)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[core] = module
    elif Path(loaded.__file__ or "") != extension:
        return None  # too late
    (library,) = Path(build).glob("cpp/tests/cuda/runtime/libcuda_on_host.so")
    from fastntk.devices import driver

    driver._DRIVER = str(library)
    driver._cublas_candidates = lambda: [str(library)]
    return Runtime(library)
