# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a worker of Dask keeps of its tiles for the next ones, until its memory is short."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from fastntk._support.memory import available_memory, return_free_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

# The share of a worker's memory that features may take. Dask begins to write its own results to
# disk at 0.6 of the memory, of which it knows nothing of these.
KEPT_SHARE = 0.25


def this_worker() -> Any:
    """Return the worker of Dask that this thread belongs to, or None."""
    module = sys.modules.get("distributed")
    if module is None:
        return None
    try:
        return module.get_worker()
    except ValueError:
        return None


def _room() -> float:
    """Return how many bytes may be kept."""
    worker = this_worker()
    limit = None if worker is None else worker.memory_manager.memory_limit
    memory = limit or available_memory()
    return float("inf") if memory is None else KEPT_SHARE * memory


class Kept:
    """What several tiles of a worker share: made once by the first, let go when room is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._making: dict[Hashable, threading.Lock] = {}
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable, size: int, make: Callable[[], Any]) -> Any:
        """Return the value of a key, of so many bytes; another thread may be making it."""
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key][0]
                self._make_room(size)
            value = make()
            with self._lock:
                self._values[key] = value, size
                self._making.pop(key, None)
            return value

    def _make_room(self, size: int) -> None:
        room = _room()
        while self._values and sum(each for _, each in self._values.values()) + size > room:
            self._values.popitem(last=False)

    def clear(self) -> None:
        """Let go of everything."""
        with self._lock:
            self._values.clear()


KEPT = Kept()


def give_back_memory() -> None:
    """Let go of what is kept, and of what was allocated and is free."""
    KEPT.clear()
    return_free_memory()
