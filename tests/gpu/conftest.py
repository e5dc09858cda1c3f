# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A GPU for the tests in this folder, or the reason why they are skipped."""

from __future__ import annotations

import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

sys.path.append(str(Path(__file__).parent))
import on_host

if TYPE_CHECKING:
    from collections.abc import Iterator

_RUNTIME = on_host.use()


@pytest.fixture(autouse=True)
def runtime() -> Iterator[on_host.Runtime]:
    """What stands in for CUDA; as it was after each test."""
    if _RUNTIME is None:
        pytest.skip(on_host.WHY_SKIPPED)
    yield _RUNTIME
    _RUNTIME.limit_memory(0)
    _RUNTIME.set_gpus(1)
    _RUNTIME.fail(b"", 0, 0)


@pytest.fixture
def xp(cupy: Any, runtime: on_host.Runtime, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The double of CuPy, whose arrays the runtime takes for arrays on the GPU."""
    described = cupy.ndarray.__cuda_array_interface__
    adopted: dict[int, int] = {}

    def interface(self: Any) -> Any:
        memory = self._host
        while isinstance(memory.base, np.ndarray):
            memory = memory.base
        address = int(memory.__array_interface__["data"][0])
        if memory.nbytes and address not in adopted:
            adopted[address] = memory.nbytes
            runtime.adopt(address, memory.nbytes)

            def forget() -> None:
                del adopted[address]
                runtime.disown(address)

            weakref.finalize(memory, forget)
        return described.fget(self)

    monkeypatch.setattr(cupy.ndarray, "__cuda_array_interface__", property(interface))
    return cupy
