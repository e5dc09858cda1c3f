# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How much memory there is, and a clear refusal of what does not fit."""

from __future__ import annotations

import ctypes
import mmap
import os
from functools import cache
from pathlib import Path
from typing import Any

# Nobody asks for so little: it takes longer to read how much there is than to fill that.
ALWAYS_THERE = 2**20

# A system that promises memory freely still refuses, at once, what is more than all that it has.
_NEVER_TOO_MUCH = 2**30

_SYSTEM_FILE = "/proc/meminfo"
_CGROUP_FILES = (  # (limit, usage) of control groups, version 2 and version 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def _read(path: str) -> bytes | None:
    """Return the beginning of one of the system's files, or None if there is no such file.

    Every kernel asks for the memory that there is: this takes a fifth of the time of a text file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.read(descriptor, 4096)
    except OSError:
        return None
    finally:
        os.close(descriptor)


def _read_integer(path: str) -> int | None:
    try:
        return int(_read(path) or b"")
    except ValueError:  # no such file, or the word "max"
        return None


def _system_available() -> int | None:
    _, found, rest = (_read(_SYSTEM_FILE) or b"").partition(b"MemAvailable:")
    if found:
        return int(rest.split()[0]) * 1024
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def available_memory() -> int | None:
    """Return the bytes that this process can still use, or None where that is not known."""
    known = [_system_available()]
    for limit_file, usage_file in _CGROUP_FILES:
        limit, usage = _read_integer(limit_file), _read_integer(usage_file)
        if limit is not None and usage is not None:
            known.append(max(0, limit - usage))
    values = [k for k in known if k is not None]
    return min(values) if values else None


def human_bytes(count: float) -> str:
    """Return a count of bytes as people write it: '2.4 GiB'."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


@cache
def _only_limits() -> Any:
    """Return the module of a process's limits if nothing else can refuse it address space.

    That is so where the system gives out memory that it may not have, and looks when it is used.
    Otherwise None.
    """
    try:
        freely = Path("/proc/sys/vm/overcommit_memory").read_bytes()[:1] in {b"0", b"1"}
    except OSError:  # not Linux
        return None
    if not freely:
        return None
    import resource  # which Windows lacks

    return resource


def has_address_space(size: int) -> bool:
    """Return whether so many bytes, which are not touched, can be had now.

    Every computation asks, and asking the system for pages and giving them back takes longer than
    the kernel of a few samples: that is done only where the answer may be no.
    """
    if size <= _NEVER_TOO_MUCH:
        limits = _only_limits()
        if limits and limits.getrlimit(limits.RLIMIT_AS)[0] == limits.RLIM_INFINITY:
            return True
    try:
        mmap.mmap(-1, size).close()
    except (OSError, ValueError):
        return False
    return True


@cache
def _trim() -> Any:
    """Return the function of the C library that gives back free memory, or None."""
    try:
        return ctypes.CDLL(None).malloc_trim  # glibc's
    except (AttributeError, OSError, TypeError):
        return None


def return_free_memory() -> None:
    """Return to the system what this process has allocated before and needs no more.

    What is freed in the middle of a heap, or in one that belongs to another thread, stays with the
    process otherwise, and whoever looks at the memory of processes cannot tell it from what is in
    use.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


def is_always_there(needed: int) -> bool:
    """Return whether so few bytes are wanted that nobody asks for them."""
    return needed <= ALWAYS_THERE


def require_memory(needed: int, what: str, instead: str) -> None:
    """Raise MemoryError, before any work, if `needed` bytes for `what` are not to be had."""
    if not is_always_there(needed):
        require_of(available_memory(), needed, what, instead)


def require_of(
    available: int | None, needed: int, what: str, instead: str, whose: str = ""
) -> None:
    """Raise MemoryError if more is `needed` than `available` of, for instance, "the GPU's "."""
    if available is not None and needed > available:
        raise MemoryError(
            f"{what} needs {human_bytes(needed)}, but {human_bytes(available)} of {whose}memory "
            f"are available: {instead}"
        )
