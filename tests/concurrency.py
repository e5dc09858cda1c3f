# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Whether other threads of Python run while one of them computes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# What keeps the interpreter lock lets another thread have a turn or two, before and after.
_MANY = 5
# How often work is repeated that others have no turn in, as where a machine has much else to do.
_TRIES = 50


def others_run_during(work: Callable[[], Any]) -> bool:
    """Whether another thread has many turns in one of the times that the work is done."""
    return any(_turns_of_another_thread(work) > _MANY for _ in range(_TRIES))


def _turns_of_another_thread(work: Callable[[], Any]) -> int:
    turns = 0
    stop = threading.Event()

    def count() -> None:
        nonlocal turns
        while not stop.wait(0.001):
            turns += 1

    ticker = threading.Thread(target=count)
    ticker.start()
    try:
        begun = turns
        work()
        return turns - begun
    finally:
        stop.set()
        ticker.join()
