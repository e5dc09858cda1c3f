# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Workers of Dask, where it has been imported: who they are, and how many threads a task has.

Nothing here imports Dask: what has clients or runs on workers has imported it.
"""

from __future__ import annotations

import sys
import threading
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from fastntk._support import memory
from fastntk._support.arguments import shown
from fastntk._support.threads import one_of_many
from fastntk._support.worker_memory import this_worker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastntk._support.dtypes import FloatArray

# What computes numbers, whose last bits other versions may change.
_SAME_VERSIONS = ("fastntk", "numba", "numpy", "scipy")


class Workers(NamedTuple):
    """Who works: how many, in how many threads each, with how much memory the smallest.

    `resident` is what Python and its libraries take of that memory.
    """

    workers: int
    threads: int
    memory: int | None
    resident: int = 0


def current_client() -> Any:
    """Return the client of Dask that computations go to, or None if they stay in this process."""
    module = sys.modules.get("distributed")
    if module is None:
        return None
    try:
        return module.default_client()
    except ValueError:
        return None


def using(client: Any) -> AbstractContextManager[Any]:
    """Return a context in which computations go to this client; for None where they go anyway."""
    return nullcontext() if client is None else cast("Any", checked_client(client).as_current())


def checked_client(client: Any) -> Any:
    """Return the argument `client`, None or one whose workers compute what this process would.

    Raises
    ------
    TypeError
        If it is neither a client of Dask nor None.
    ConnectionError
        If its scheduler does not answer.
    ValueError
        If a worker has other versions, of which the last bits of numbers may depend.
    """
    if client is None:
        return None
    module = sys.modules.get("distributed")
    if module is None or not isinstance(client, module.Client) or client.asynchronous:
        raise TypeError(
            f"client={shown(client)}: expected a distributed.Client that is not asynchronous, or "
            "None"
        )
    try:
        found = client.get_versions(packages=_SAME_VERSIONS)
    except (OSError, RuntimeError, AttributeError) as error:  # the latter two by one that is closed
        raise ConnectionError(
            f"client={shown(client)}: its scheduler does not answer ({error}): expected a client "
            "that is connected"
        ) from error
    here = found["client"]["packages"]
    for address, worker in found["workers"].items():
        there = worker["packages"]
        different = [
            f"{name} {there.get(name) or 'missing'} (here {here[name]})"
            for name in _SAME_VERSIONS
            if there.get(name) != here[name]
        ]
        if different:
            raise ValueError(
                f"client={shown(client)}: the worker {address} has other versions than this "
                f"process, {', '.join(different)}: expected the same ones"
            )
    from fastntk._support.worker_plugin import watch_memory  # imports Dask

    watch_memory(client)
    return client


def workers_of(client: Any) -> Workers:
    """Return the workers of a client; this process for None."""
    if client is None:
        return Workers(1, 1, memory.available_memory())
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    limits = [worker["memory_limit"] for worker in workers if worker["memory_limit"]]
    threads = max((worker["nthreads"] for worker in workers), default=1)
    return Workers(max(1, len(workers)), threads, min(limits, default=None))


def workers_with_room(client: Any) -> Workers:
    """Return the workers of a client, with the memory of the one that has the least room.

    This process for None, whose memory is what it can still use.
    """
    found = workers_of(client)
    if client is None:
        return found
    from fastntk._support.worker_plugin import room_of_workers  # imports Dask

    room = room_of_workers(client)
    return found if room is None else found._replace(memory=room.limit, resident=room.resident)


def require_wanted(*_: object) -> None:
    """Raise CancelledError in a task that nobody waits for any more; a report of progress."""
    worker = this_worker()
    if worker is not None:
        task = worker.state.tasks.get(worker.get_current_task())
        if task is not None and task.state == "cancelled":
            raise CancelledError


def large_graphs() -> AbstractContextManager[None]:
    """Return a context in which Dask does not warn of what is large in its tasks.

    Samples and networks are part of them, and can be sent again: what is scattered is lost with the
    only worker that has it.
    """
    threshold = "distributed.admin.large-graph-warning-threshold"
    context = sys.modules["dask"].config.set({threshold: "1TB"})
    return cast("AbstractContextManager[None]", context)


def result_of(future: Any) -> Any:
    """Return what a task of a cluster returned, or raise what it raised.

    Raises
    ------
    ConnectionError
        If the scheduler was lost, and all tasks with it.
    """
    with naming_a_lost_scheduler():
        return future.result()


def results_of(client: Any, futures: list[Any]) -> list[Any]:
    """Return the same of several tasks, with a question to the scheduler for all of them."""
    with naming_a_lost_scheduler():
        found: list[Any] = client.gather(futures)
    return found


def answers_of_workers(
    client: Any, function: Any, workers: list[str], **arguments: Any
) -> dict[str, Any]:
    """Return what some workers make of the same question, at once and not as a task.

    Of one that is lost it is None.
    """
    with naming_a_lost_scheduler():
        # To one that has gone the scheduler would try to connect for half a minute.
        there = client.nthreads() if workers else {}
        asked = [worker for worker in workers if worker in there]
        answers = (
            client.run(function, workers=asked, on_error="return", **arguments) if asked else {}
        )
    for worker, answer in answers.items():
        if isinstance(answer, OSError):
            answers[worker] = None
        elif isinstance(answer, Exception):
            raise answer
    return {worker: answers.get(worker) for worker in workers}


@contextmanager
def naming_a_lost_scheduler() -> Iterator[None]:
    """Raise ConnectionError for what Dask raises when the scheduler is lost."""
    module = sys.modules.get("distributed")
    if module is None:
        yield
        return
    lost = (CancelledError, module.comm.CommClosedError, module.client.ClosedClientError)
    try:
        yield
    except lost as error:
        raise ConnectionError(
            f"the scheduler of the client was lost, or it cancelled a task ({error}); what was "
            "stored before is safe, and the same call goes on there"
        ) from error


def aligned(values: Any) -> FloatArray:
    """Return an array that begins where its numbers may begin, row by row.

    One that has come from another process need not, and NumPy then multiplies without a BLAS, with
    other last bits.
    """
    return np.require(values, requirements=("C", "A"))


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
