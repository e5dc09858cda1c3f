# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How many threads the BLAS of this process may use, for all threads of Python together.

The limit holds in all threads where the BLAS has one pool for the process, as the OpenBLAS of SciPy
does, and Intel's MKL but where a thread has set a limit of its own (``MKL_Set_Num_Threads_Local``).
An OpenBLAS that was built for OpenMP asks OpenMP, which keeps a limit for each thread: one that is
set here holds in the thread that set it, and threads that the core or a pool starts have as many as
at the start of the process. There, ``OMP_NUM_THREADS=1`` keeps a BLAS to one thread everywhere; see
`limits_each_thread`.
"""

from __future__ import annotations

import itertools
import os
import threading
from ctypes import c_void_p
from functools import cache
from typing import TYPE_CHECKING, Any

import scipy.linalg.cython_blas  # noqa: F401  (the controller below finds only what is loaded)

from fastntk._support.memory import has_address_space, human_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from threadpoolctl import ThreadpoolController

# How the names of OpenBLAS's functions may be adorned.
_PREFIXES, _SUFFIXES = ("", "scipy_"), ("", "64_", "_64")

# What OpenBLAS takes for each thread that calls it, on most processors.
_BUFFER = 32 * 2**20

# The C library ends the process where a thread finds no memory for variables of its own, and how
# much that takes is not to be known: as much is asked for as the stack of a thread takes.
_SPARE = 8 * 2**20


@cache
def _controller() -> ThreadpoolController:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def blas_libraries() -> list[dict[str, Any]]:
    """Return what threadpoolctl knows of each BLAS in this process."""
    return list(_controller().info())


def limits_each_thread(library: dict[str, Any]) -> bool:
    """Return whether the limit of a BLAS, as threadpoolctl describes it, is one for each thread."""
    return library.get("threading_layer") == "openmp" and library["internal_api"] == "openblas"


@cache
def _counts() -> list[tuple[Callable[[], int], Callable[[int], object]]]:
    """Return what reads and what sets the number of threads of each BLAS.

    Whichever thread of Python calls: threadpoolctl 3.8 and later sets that of an OpenBLAS that has
    one pool for the whole process for the first thread that asked, and silently does nothing in
    all others. So OpenBLAS's own functions are called, which takes less than half of the time.
    """
    return [
        (_function(library, "get_num_threads"), _function(library, "set_num_threads"))
        for library in _controller().lib_controllers
    ]


def _function(library: Any, name: str) -> Any:
    """Return a function of a BLAS by the name that threadpoolctl has for it."""
    if library.internal_api == "openblas" and not limits_each_thread(library.info()):
        for prefix, suffix in itertools.product(_PREFIXES, _SUFFIXES):
            found = getattr(library.dynlib, f"{prefix}openblas_{name}{suffix}", None)
            if found is not None:
                return found
    return getattr(library, name)


class _Buffers:
    """Memory for everybody who calls BLAS at the same time.

    OpenBLAS takes it when a thread first needs it, keeps it for the next one, and ends the process,
    or never returns, where there is none: it is taken here, where an error can be raised.
    """

    def __init__(self) -> None:
        self._callers = 0

    def provide(self, callers: int, threads: int) -> None:
        """Have buffers for so many callers of each OpenBLAS, which has had so many threads.

        Raises
        ------
        MemoryError
        """
        # Those of its own threads are free now, but for that of the first.
        there = max(self._callers, threads - 1)
        if callers <= there:
            return
        for library in _controller().lib_controllers:
            take = getattr(library.dynlib, "blas_memory_alloc", None)
            let_go = getattr(library.dynlib, "blas_memory_free", None)
            if take is None or let_go is None:
                continue
            _require_address_space((callers - there) * _BUFFER, f"BLAS, for {callers} threads,")
            take.restype, let_go.argtypes, let_go.restype = c_void_p, [c_void_p], None
            for buffer in [take(0) for _ in range(callers)]:
                let_go(buffer)
        self._callers = callers


def _require_address_space(size: int, who: str) -> None:
    if not has_address_space(size):
        raise MemoryError(
            f"{who} needs another {human_bytes(size)} of memory, which are not to be had: raise "
            "the limit (ulimit -v), or use fewer threads (OPENBLAS_NUM_THREADS)"
        )


class SingleThreadedBlas:
    """Limits BLAS to one thread while at least one caller is inside; restores it after the last.

    There is to be one of these in the process: two would restore each other's limits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._callers = 0
        # What gives each BLAS back its threads, where it had more than one.
        self._limited: list[tuple[Callable[[int], object], int]] = []
        self._threads = 1
        self._buffers = _Buffers()

    def enter(self, *, shared: bool) -> int:
        """Return how many threads BLAS would have used.

        Parameters
        ----------
        shared : bool
            Whether the caller has its threads from another one, which waits for it.

        Raises
        ------
        MemoryError
            If there is no memory for so many threads that call BLAS.
        """
        with self._lock:
            if self._inside == 0:
                counts = []
                for count_now, set_count in _counts():
                    count = count_now()
                    counts.append(count)
                    if count != 1:
                        self._limited.append((set_count, count))
                        set_count(1)
                self._threads = max(1, min(counts)) if counts else os.cpu_count() or 1
            callers = self._callers + (0 if shared else self._threads)
            try:
                if not shared:
                    _require_address_space(_SPARE, "a thread")
                self._buffers.provide(callers, self._threads)
            except MemoryError:
                self._restore_after_last()
                raise
            self._inside, self._callers = self._inside + 1, callers
            return self._threads

    def leave(self, *, shared: bool) -> None:
        """Give BLAS its threads back, if nobody else is inside."""
        with self._lock:
            self._inside -= 1
            self._callers -= 0 if shared else self._threads
            self._restore_after_last()

    def _restore_after_last(self) -> None:
        if self._inside == 0:
            for set_count, count in self._limited:
                set_count(count)
            self._limited.clear()
