# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Who may start threads: the core's lanes, this pool, or the BLAS, never two of them at once."""

from __future__ import annotations

import _thread
import atexit
import ctypes
import threading
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import numpy as np

from fastntk._support.blas_threads import SingleThreadedBlas
from fastntk._support.memory import has_address_space

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


_single_threaded_blas = SingleThreadedBlas()


class _Here(threading.local):
    """What a thread of Python knows of itself.

    Attributes
    ----------
    inside : int
        How many calls of `core_threads` it is inside of.
    threads : int
        How many threads of the core they were given.
    works_for_other : bool
        Whether another thread, which is inside, waits for it: it takes no threads of its own.
    pool : Event or None
        What stops the pool that it belongs to. Its share of the processors is then one.
    """

    inside = 0
    threads = 1
    works_for_other = False
    pool: threading.Event | None = None


_here = _Here()

# What threads of `in_own_thread` work on, from before they begin: Ctrl-C may come at any time.
_at_work: WeakSet[Future[Any]] = WeakSet()

# A thread that has not begun after so many seconds never will.
_BEGINNING = 60.0

# What a thread is to find: its stack, and some small arrays. NumPy's loops read at address 0 where
# they find no memory for a buffer of a few KiB, which ends the process.
_STACK, _SMALL_ARRAYS = 8 * 2**20, 6 * 2**20


class core_threads:  # noqa: N801  (it is used as a function that returns a context)
    """Keep BLAS single-threaded and give the core the threads that BLAS would have used.

    So OPENBLAS_NUM_THREADS and its kin, and ``threadpoolctl.threadpool_limits``, also say how many
    threads fastntk uses. Calls may nest and may come from several threads; those that come from a
    thread of `map_in_threads` get one thread. Inner calls only count, as small computations make
    dozens of them: what the first call of a thread took is given back when all have left.

    Raises
    ------
    MemoryError
        If BLAS finds no memory for so many threads.
    """

    __slots__ = ()

    def __enter__(self) -> int:
        if _here.inside == 0:
            threads = _single_threaded_blas.enter(shared=_here.works_for_other)
            try:
                _here.threads = _with_room(threads) if _here.pool is None else 1
            except MemoryError:
                _single_threaded_blas.leave(shared=_here.works_for_other)
                raise
        _here.inside += 1
        return _here.threads

    def __exit__(self, *error: object) -> None:
        _here.inside -= 1
        if _here.inside == 0:
            _single_threaded_blas.leave(shared=_here.works_for_other)


@contextmanager
def one_of_many() -> Iterator[None]:
    """Give what this thread computes one thread: others like it, of somebody's pool, run beside it.

    Threads of `map_in_threads` know by themselves.
    """
    outer = _here.pool
    _here.pool = outer or threading.Event()
    try:
        yield
    finally:
        _here.pool = outer


def thread_count() -> int:
    """Return the number of threads that a computation started now would use."""
    with core_threads() as threads:
        return threads


def in_own_thread(function: Callable[[], _Result]) -> _Result:
    """Return function(), computed by a thread of its own, with one thread of BLAS.

    For what lets go of the interpreter lock, and cannot be stopped: this thread waits in steps, so
    that Ctrl-C raises KeyboardInterrupt at once, also when a thread of `map_in_threads` waits here.
    What was begun then ends in the background, and its result is dropped; BLAS gets its threads
    back when that is done. NumPy warns there of what it warns of here.
    """
    outcome: Future[_Result] = Future()
    warned_of = np.geterr()
    begun, finished = SimpleQueue[None](), SimpleQueue[None]()

    def work() -> None:
        begun.put(None)
        _here.works_for_other = True
        try:
            with core_threads(), np.errstate(**warned_of):
                result = function()
        except BaseException as error:  # also where BLAS finds no memory for this thread
            outcome.set_exception(error)
        else:
            outcome.set_result(result)
        finished.put(None)

    with core_threads():
        # Not `threading.Thread`, which waits without end for a thread that found no memory for its
        # beginning.
        _at_work.add(outcome)
        try:
            _thread.start_new_thread(work, ())
            begun.get(timeout=_BEGINNING)
        except (RuntimeError, Empty) as error:
            _at_work.discard(outcome)
            raise _no_thread() from error
        while True:
            # Without a timeout, some systems do not let Ctrl-C interrupt the waiting.
            with suppress(Empty):
                finished.get(timeout=0.2)
                return outcome.result()
            if _here.pool is not None and _here.pool.is_set():
                raise KeyboardInterrupt


@atexit.register
def _leave_without_destructors() -> None:
    """Let the process end while a thread that nobody waits for is still in LAPACK.

    A library of BLAS that is taken down lets go of the buffers that such a thread works with, which
    would end the process by a segmentation fault. Python has ended by then, and what is left to do
    is to give memory back. So the process leaves, with its status, before libraries are taken down;
    where that cannot be arranged, it waits.
    """
    working = [outcome for outcome in _at_work if not outcome.done()]
    if not working:
        return
    try:
        libc = ctypes.CDLL(None)
        leave, register = libc["_exit"], libc["on_exit"]
    except (AttributeError, OSError, TypeError):  # no glibc
        wait(working)
        return
    register(leave, None)  # which is called with the status


def _with_room(jobs: int) -> int:
    """Return for how many threads, of so many, there is memory.

    MemoryError if there is none for the small arrays of this one.
    """
    while jobs > 1 and not has_address_space(jobs * (_STACK + _SMALL_ARRAYS)):
        jobs -= 1
    if jobs <= 1 and not has_address_space(_SMALL_ARRAYS):
        raise MemoryError(
            "6 MiB of memory for small arrays are not to be had: take fewer samples, or raise the "
            "limit of memory (ulimit -v)"
        )
    return jobs


def _no_thread() -> MemoryError:
    return MemoryError(
        "a thread, which needs 8 MiB of memory as a rule, cannot be started: raise the limits of "
        "memory and of threads (ulimit -v, ulimit -u)"
    )


def map_in_threads(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    jobs: int,
    stop: threading.Event,
) -> Generator[_Result]:
    """Yield the function of each item, in their order; `jobs` run at a time, each with one thread.

    With a single job it has all threads to itself. The items are independent computations that let
    go of the interpreter lock. When one fails, no other is begun, and its exception is raised when
    its turn comes. `stop` is then set, as it is on Ctrl-C and when the generator is closed early:
    computations that take more than some tenths of a second are to look at it.
    """
    jobs = min(jobs, len(items))
    with core_threads() as threads:  # for which there is room
        if jobs > threads:
            jobs = _with_room(jobs)
        if jobs > 1:
            yield from _map_in_pool(function, items, jobs, stop)
            return
    yield from map(function, items)


def _map_in_pool(
    function: Callable[[_Item], _Result],
    items: Sequence[_Item],
    jobs: int,
    stop: threading.Event,
) -> Generator[_Result]:
    # Each thread takes up one item after the other. To hand all of them to the pool would take a
    # while, and an interrupt that comes when Python holds one of its locks may leave it locked.
    # The queue is safe from that: it is one object in C, not a lock and a list in Python.
    left = deque(range(len(items)))
    finished: SimpleQueue[int] = SimpleQueue()
    results: dict[int, _Result] = {}
    errors: dict[int, BaseException] = {}

    def take_up() -> None:
        _here.pool, _here.works_for_other = stop, True
        while left:
            try:
                index = left.popleft()
            except IndexError:  # another thread has taken the last one
                return
            try:
                results[index] = function(items[index])
            except BaseException as error:
                left.clear()
                errors[index] = error
            finished.put(index)

    with ThreadPoolExecutor(jobs, thread_name_prefix="fastntk") as pool:
        try:
            for started in range(jobs):
                try:
                    pool.submit(take_up)
                except RuntimeError as error:
                    if started == 0:
                        raise _no_thread() from error
                    break  # fewer do
            for turn in range(len(items)):
                while turn not in results and turn not in errors:
                    # Without a timeout, some systems do not let Ctrl-C interrupt the waiting.
                    with suppress(Empty):
                        finished.get(timeout=0.2)
                if turn in errors:
                    raise errors.pop(turn)
                yield results.pop(turn)
        except BaseException:
            stop.set()
            left.clear()
            raise
