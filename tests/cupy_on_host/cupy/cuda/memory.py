# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""`cupy.cuda.memory`: a pool that counts, on a device of `total` bytes."""

from __future__ import annotations

from typing import Any

total = 2**34  # of the device; a test may change it


class OutOfMemoryError(MemoryError):
    """As in CuPy, a MemoryError that tells the amounts."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        text = f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes"
        super().__init__(f"{text}, limit set to: {limit:,} bytes)." if limit else f"{text}).")


class MemoryPool:
    """Keeps what is given back for the next time; here everything is given back to the device."""

    def __init__(self) -> None:
        self._used = 0
        self._limit = 0
        self.peak = 0  # the double's own: the most that was ever used; a test may reset it

    def used_bytes(self) -> int:
        """Bytes of living arrays."""
        return self._used

    def free_bytes(self) -> int:
        """Bytes that the pool holds, but that no array uses."""
        return 0

    def free_all_blocks(self, stream: object = None) -> None:
        """Give what is not used back to the device."""

    def get_limit(self) -> int:
        """The most bytes that the pool takes; 0 if there is no limit."""
        return self._limit

    def set_limit(self, size: int | None = None) -> None:
        """Set the most bytes that the pool takes."""
        self._limit = size or 0

    def malloc(self, size: int) -> None:
        """Take memory; the double's arrays call `take` instead."""
        raise NotImplementedError

    def take(self, nbytes: int) -> None:
        """Count a new array; the double's own."""
        if self._used + nbytes > total:
            raise OutOfMemoryError(nbytes, self._used)
        self._used += nbytes
        self.peak = max(self.peak, self._used)

    def give_back(self, nbytes: int) -> None:
        """Count an array that is gone; the double's own."""
        self._used -= nbytes


default_pool = MemoryPool()


def free_bytes_of_device() -> int:
    """What cudaMemGetInfo says is free; the double's own."""
    return total - default_pool.used_bytes()


_allocators = [default_pool.malloc]


def get_allocator() -> Any:
    """What arrays take memory from, a method of the default pool unless it was set."""
    return _allocators[-1]


def set_allocator(allocator: Any = None) -> None:
    """Take memory from elsewhere; here only said."""
    _allocators[-1] = allocator or default_pool.malloc
