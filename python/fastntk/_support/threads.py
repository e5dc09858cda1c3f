# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Who may start threads: the core's lanes, or the BLAS, never both at once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import scipy.linalg.cython_blas  # noqa: F401  (the controller below finds only what is loaded)
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def blas_libraries() -> list[dict[str, Any]]:
    """Return what threadpoolctl knows of each BLAS in this process."""
    return list(_controller().info())


def _configured_threads() -> int:
    counts = [int(library["num_threads"]) for library in blas_libraries()]
    return max(1, min(counts)) if counts else os.cpu_count() or 1


class _SingleThreadedBlas:
    """Limits BLAS to one thread while at least one caller is inside; restores it after the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._threads = 1
        self._limit: Any = None

    def enter(self) -> int:
        with self._lock:
            if self._inside == 0:
                self._threads = _configured_threads()
                self._limit = _controller().limit(limits=1)
            self._inside += 1
            return self._threads

    def leave(self) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._limit.restore_original_limits()
                self._limit = None


_single_threaded_blas = _SingleThreadedBlas()


@contextmanager
def core_threads() -> Iterator[int]:
    """Keep BLAS single-threaded and give the core the threads that BLAS would have used.

    So OPENBLAS_NUM_THREADS and its kin, and ``threadpoolctl.threadpool_limits``, also say how many
    threads fastntk uses. Calls may nest and may come from several threads.
    """
    threads = _single_threaded_blas.enter()
    try:
        yield threads
    finally:
        _single_threaded_blas.leave()


def thread_count() -> int:
    """Return the number of threads that a computation started now would use."""
    with core_threads() as threads:
        return threads


def map_in_threads(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    jobs: int,
    stop: threading.Event,
) -> Generator[_Result]:
    """Yield the function of each item, in their order; `jobs` run at a time, each with one thread.

    With a single job it has all threads to itself. The items are independent computations in the
    core, which lets go of the interpreter lock. When one fails, or on Ctrl-C, `stop` is set: the
    others are to look at it.
    """
    if jobs == 1 or len(items) <= 1:
        yield from map(function, items)
        return
    with (
        _controller().limit(limits=1),
        ThreadPoolExecutor(jobs, thread_name_prefix="fastntk") as pool,
    ):
        futures = [pool.submit(function, item) for item in items]
        try:
            for future in futures:
                yield future.result()
        except BaseException:
            stop.set()
            for future in futures:
                future.cancel()
            raise
