# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How studies are carried out: cell by cell, each looked up in a store before it is computed.

A study says which cells it has, what decides the numbers of each, and how those that are missing
are computed: in passes that several share, in threads, or one after the other. The runner does the
rest.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from fastntk._support.arguments import integer, shown
from fastntk._support.dask_workers import (
    large_graphs,
    require_wanted,
    result_of,
    share_of_threads,
)
from fastntk._support.threads import map_in_threads, thread_count
from fastntk.studies.store import key_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from fastntk._support.progress import Monitor
    from fastntk.studies.store import StudyStore, Values


@dataclass(frozen=True)
class Cell:
    """A piece of a study that is stored by itself.

    Attributes
    ----------
    name : str
        What a progress bar shows.
    settings : dict
        All that decides the numbers, for JSON: the cell is known by them in a store.
    """

    name: str
    settings: Values


@dataclass(frozen=True)
class Task(Cell):
    """A cell that can be computed without others.

    Attributes
    ----------
    compute : callable
        Returns the numbers. It is given a function to be called as often as a progress bar, which
        raises an error when the study was stopped.
    recipe : tuple
        The method of a settings' object that makes this task, and its arguments: workers make it
        again, as functions that are made at run time, and all that they hold, travel badly.
    """

    compute: Callable[[Monitor], Values]
    recipe: tuple[Any, ...] = ()


AnyCell = TypeVar("AnyCell", bound=Cell)

WayToCompute: TypeAlias = "Callable[[Sequence[Task]], Generator[Values]]"
_Found = TypeVar("_Found")


class Runner:
    """Looks cells up, has those that are missing computed, stores them, and reports progress.

    Parameters
    ----------
    store : StudyStore or None
    total : int
        How many cells the study has in all, for the reports.
    report : callable or None
        Called with (name of a cell, cells that are done, total).

    Attributes
    ----------
    stored : int
        How many cells have come from the store.
    """

    def __init__(self, store: StudyStore | None, total: int, report: Monitor | None = None) -> None:
        self.stored = 0
        self._store = store
        self._total = total
        self._report = report
        self._done = 0
        self._writable = False  # until it has been tried

    def run(
        self,
        cells: Sequence[AnyCell],
        compute: Callable[[Sequence[AnyCell]], Generator[Values]],
    ) -> list[Values]:
        """Return the numbers of each cell, from the store or computed now.

        What is found in the store is reported at once, what is computed cell by cell. On Ctrl-C or
        an error the computation is stopped; the cells before are in the store.

        Parameters
        ----------
        cells : sequence of Cell
            At least one.
        compute : callable
            Takes the cells that are missing, and yields the numbers of each in their order.
        """
        keys = [key_of(cell.settings) for cell in cells]
        # Looked up in each call: another process may be filling the same store.
        found = {} if self._store is None else self._store.find(keys)
        missing = {key: cell for key, cell in zip(keys, cells, strict=True) if key not in found}
        self.stored += len(found)
        self._count(len(found), cells[0].name)
        if missing and self._store is not None and not self._writable:
            # Raises, before the first work is done, what would be raised after it.
            self._store.require_writable()
            self._writable = True
        # Closed at once when something fails here: it then stops what runs in other threads.
        with closing(compute(list(missing.values()))) as computed:
            for (key, cell), numbers in zip(missing.items(), computed, strict=True):
                found[key] = (
                    numbers if self._store is None else self._store.add(cell.settings, numbers)
                )
                self._count(1, cell.name)
        self._count(len(keys) - len(found), cells[-1].name)  # those that are the same as others
        return [found[key] for key in keys]

    def expect(self, cells: int) -> None:
        """Count on so many cells more than were foreseen."""
        self._total += cells

    def _count(self, cells: int, name: str) -> None:
        self._done += cells
        if self._report is not None and cells:
            self._report(name, self._done, self._total)


def jobs_beside(client: Any, jobs: int | None) -> int:
    """Return the checked argument `jobs` of a study: how many cells are computed at a time.

    By default as many as there are threads; one in each task of the workers of a client, and
    ValueError if both are asked for.
    """
    if jobs is None:
        return thread_count() if client is None else 1
    if client is not None:
        raise ValueError(
            f"jobs={shown(jobs)}: expected None with a client, whose workers compute as many at a "
            "time as they have threads"
        )
    return integer(jobs, "jobs", minimum=1)


def in_threads(jobs: int) -> WayToCompute:
    """Return the way to compute tasks of which `jobs` run at a time, each with one thread.

    A single job has all threads to itself.
    """

    def compute(tasks: Sequence[Task]) -> Generator[Values]:
        stop = threading.Event()

        def poll(*_: object) -> None:
            if stop.is_set():
                raise KeyboardInterrupt

        def numbers(task: Task) -> Values:
            return task.compute(poll)

        yield from map_in_threads(numbers, tasks, jobs, stop)

    return compute


def tasks_on_workers(client: Any, settings: object) -> WayToCompute:
    """Return the way to compute tasks, which methods of `settings` make, on workers of Dask."""

    def compute(tasks: Sequence[Task]) -> Generator[Values]:
        yield from on_workers(client, _computed, settings, [task.recipe for task in tasks])

    return compute


def _computed(settings: object, method: str, *arguments: object) -> Iterator[Values]:
    task: Task = getattr(settings, method)(*arguments)
    yield task.compute(require_wanted)


def on_workers(
    client: Any,
    function: Callable[..., Iterator[_Found]],
    shared: object,
    items: Sequence[tuple[Any, ...]],
) -> Generator[_Found]:
    """Yield what function(shared, *item) yields for each item, in their order.

    Each item is a task of the workers of a `distributed.Client`. What is shared travels once to
    each worker, and like the items it can be sent again: those of a worker that was lost are
    computed by another one. When the generator is closed early, what is not finished is cancelled.
    """
    with large_graphs():
        common = client.submit(_given, shared, pure=False)
        futures = [
            client.submit(_all_of, function, common, item, pure=False, priority=-number)
            for number, item in enumerate(items)
        ]
    try:
        while futures:
            yield from result_of(futures[0])
            del futures[0]
    finally:
        client.cancel([common, *futures])


def _given(shared: object) -> object:
    return shared


def _all_of(
    function: Callable[..., Iterator[_Found]], shared: object, item: tuple[Any, ...]
) -> list[_Found]:
    with share_of_threads():
        return list(function(shared, *item))
