# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Devices, streams and memory: numbers to look at, nothing behind them."""

from __future__ import annotations

from typing import Any

from cupy.cuda import cublas, memory, runtime
from cupy.cuda.memory import get_allocator, set_allocator
from cupy.cuda.stream import ExternalStream, Stream, get_current_stream

__all__ = [
    "Device",
    "ExternalStream",
    "Stream",
    "cublas",
    "get_allocator",
    "get_cublas_handle",
    "get_current_stream",
    "is_available",
    "memory",
    "runtime",
    "set_allocator",
]


_current = [0]


class Device:
    """`cupy.cuda.Device`: by default the current one, which it is in a `with` statement."""

    def __init__(self, device: int | None = None) -> None:
        self.id = _current[-1] if device is None else int(device)

    @property
    def mem_info(self) -> tuple[int, int]:
        """Bytes that are free on the device, outside of all pools, and all of them."""
        return memory.free_bytes_of_device(), memory.total

    def synchronize(self) -> None:
        """Wait for all work of the device."""

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def __enter__(self) -> Device:
        _current.append(self.id)
        return self

    def __exit__(self, *error: Any) -> None:
        _current.pop()


def is_available() -> bool:
    """Whether there is a GPU; the double plays one."""
    return True


def get_cublas_handle() -> int:
    """The handle that this thread computes with on the current device."""
    return 1
