# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How many threads the BLAS of this process may use, for all threads of Python together."""

from __future__ import annotations

import itertools
import os
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

import scipy.linalg.cython_blas  # noqa: F401  (the controller below finds only what is loaded)
from threadpoolctl import ThreadpoolController

if TYPE_CHECKING:
    from collections.abc import Callable

# How the names of OpenBLAS's functions may be adorned.
_PREFIXES, _SUFFIXES = ("", "scipy_"), ("", "64_", "_64")


@cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController().select(user_api="blas")


def blas_libraries() -> list[dict[str, Any]]:
    """Return what threadpoolctl knows of each BLAS in this process."""
    return list(_controller().info())


@cache
def _counts() -> list[tuple[Callable[[], int], Callable[[int], object]]]:
    """Return what reads and what sets the number of threads of each BLAS.

    Whichever thread of Python calls: threadpoolctl 3.8 and later sets that of an OpenBLAS that has
    one pool for the whole process for the first thread that asked, and silently does nothing in
    all others.
    """
    return [
        (library.get_num_threads, _setter(library)) for library in _controller().lib_controllers
    ]


def _setter(library: Any) -> Callable[[int], object]:
    setter: Callable[[int], object] = library.set_num_threads
    if library.internal_api != "openblas" or library.threading_layer == "openmp":
        return setter
    names = (
        f"{prefix}openblas_set_num_threads{suffix}"
        for prefix, suffix in itertools.product(_PREFIXES, _SUFFIXES)
    )
    own = (getattr(library.dynlib, name, None) for name in names)
    return next((found for found in own if found is not None), setter)


class SingleThreadedBlas:
    """Limits BLAS to one thread while at least one caller is inside; restores it after the last.

    There is to be one of these in the process: two would restore each other's limits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before: list[int] = []

    def enter(self) -> int:
        """Return how many threads BLAS would have used."""
        with self._lock:
            if self._inside == 0:
                self._before = [count() for count, _ in _counts()]
                for _, set_count in _counts():
                    set_count(1)
            self._inside += 1
            return max(1, min(self._before, default=os.cpu_count() or 1))

    def leave(self) -> None:
        """Give BLAS its threads back, if nobody else is inside."""
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                for (_, set_count), before in zip(_counts(), self._before, strict=True):
                    set_count(before)
