# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Workers of Dask, where it has been imported: who they are, and how many threads a task has.

Nothing here imports Dask: what has clients or runs on workers has imported it.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

from fastntk._support.arguments import shown
from fastntk._support.memory import available_memory
from fastntk._support.threads import one_of_many


class Workers(NamedTuple):
    """Who works: how many, in how many threads each, with how much memory the smallest."""

    workers: int
    threads: int
    memory: int | None


def current_client() -> Any:
    """Return the client of Dask that computations go to, or None if they stay in this process."""
    module = sys.modules.get("distributed")
    if module is None:
        return None
    try:
        return module.default_client()
    except ValueError:
        return None


def checked_client(client: Any) -> Any:
    """Return the argument `client`; raise TypeError if it is neither a client of Dask nor None."""
    module = sys.modules.get("distributed")
    if client is None or (module is not None and isinstance(client, module.Client)):
        return client
    raise TypeError(f"client={shown(client)}: expected a distributed.Client or None")


def workers_of(client: Any) -> Workers:
    """Return the workers of a client; this process for None."""
    if client is None:
        return Workers(1, 1, available_memory())
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [worker["memory_limit"] for worker in workers if worker["memory_limit"]]
    threads = max((worker["nthreads"] for worker in workers), default=1)
    return Workers(max(1, len(workers)), threads, min(limits, default=None))


def this_worker() -> Any:
    """Return the worker of Dask that this thread belongs to, or None."""
    module = sys.modules.get("distributed")
    if module is None:
        return None
    try:
        return module.get_worker()
    except ValueError:
        return None


def result_of(future: Any) -> Any:
    """Return what a task of a cluster returned, or raise what it raised.

    Raises
    ------
    ConnectionError
        If the scheduler was lost, and all tasks with it.
    """
    lost = (CancelledError, sys.modules["distributed"].comm.CommClosedError)
    try:
        return future.result()
    except lost as error:
        raise ConnectionError(
            f"the scheduler of the client was lost, or it cancelled a task ({error}); what was "
            "stored before is safe, and the same call goes on there"
        ) from error


def share_of_threads() -> AbstractContextManager[None]:
    """Return a context in which this thread computes with its share of the processors.

    A worker that runs one task at a time, in a process of its own, has the threads that BLAS would
    take there: one, unless OMP_NUM_THREADS and its kin say otherwise. All others have one for each
    task, so that threads of the worker and of the core do not multiply.
    """
    worker = this_worker()
    if worker is not None:
        alone = worker.state.nthreads == 1 and worker.nanny is not None
    else:
        alone = threading.current_thread() is threading.main_thread()
    return nullcontext() if alone else one_of_many()
