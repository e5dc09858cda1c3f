# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How the parts of the paper are computed: in which size, from which seeds, kept where."""

from __future__ import annotations

import shlex
from contextlib import nullcontext
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from fastntk._support import arguments
from fastntk._support.progress import monitored, require_progress
from fastntk.devices.places import place_of
from fastntk.studies.runner import Runner, Task, in_threads
from fastntk.studies.store import StudyStore

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence

    import pandas as pd

    from fastntk._support.progress import Monitor, Progress
    from fastntk.datasets import Dataset
    from fastntk.paper.samples import Split
    from fastntk.studies.store import Values

    Value = TypeVar("Value")
    Samples = TypeVar("Samples", Dataset, Split)

# The seeds of the authors' code; further ones, where more are asked for, begin at 1000.
AUTHORS_SEEDS = (1, 32, 111, 555, 666)
_FURTHER_SEEDS = 1000

# Part of every key in a store: to be raised with each change of what the parts compute themselves.
_ALGORITHM = 1


@dataclass(frozen=True, kw_only=True)
class Run:
    """The settings that all parts have.

    Attributes
    ----------
    full : bool
        The paper's sizes, rather than those that take minutes on two cores.
    seeds : tuple of int or None
        None: as many as the size has, see `several_seeds`.
    width : int or None
        Of every hidden layer; None: 512.
    store : str or None
        The file in which finished pieces are kept.
    device : str or None
        Where networks are trained and the closest of all pairs are searched; None: the processor.
    name : str or None
        What the data set is called in titles and names of files; None: as it calls itself.
    progress : bool or callable
    """

    full: bool = False
    seeds: tuple[int, ...] | None = None
    width: int | None = None
    store: str | None = None
    device: str | None = None
    name: str | None = None
    progress: Progress = False

    def sized(self, quick: Value, full: Value) -> Value:
        """Return the setting of this size."""
        return full if self.full else quick

    def several_seeds(self, quick: int, full: int = len(AUTHORS_SEEDS)) -> tuple[int, ...]:
        """Return the seeds: those asked for, or as many as this size has."""
        return first_seeds(self.sized(quick, full)) if self.seeds is None else self.seeds

    def of_width(self, default: int = 512) -> int:
        """Return the width: that asked for, or the default."""
        return default if self.width is None else self.width

    def named(self, samples: Samples) -> Samples:
        """Return samples, called as the data set of this run is."""
        return samples if self.name is None else replace(samples, name=self.name)

    def options(self, *data: str) -> str:
        """Return what a command needs for the same data and settings, as a shell takes it."""
        parts = [f" --data {shlex.quote(each)}" for each in data]
        if self.full:
            parts.append(" --full")
        if self.seeds is not None:
            parts.append(f" --seeds {len(self.seeds)}")
        if self.width is not None:
            parts.append(f" --width {self.width}")
        if self.device is not None:
            parts.append(f" --device {self.device}")
        return "".join(parts)


def checked_run(
    *,
    full: bool = False,
    seeds: int | Sequence[int] | None = None,
    width: int | None = None,
    store: str | os.PathLike[str] | None = None,
    device: str | None = None,
    progress: Progress = False,
) -> Run:
    """Return the settings, checked."""
    require_progress(progress)
    place_of(device, {})
    return Run(
        full=arguments.flag(full, "full"),
        seeds=None if seeds is None else _seeds(seeds),
        width=None if width is None else arguments.integer(width, "width", minimum=1),
        store=arguments.optional_path(store, "store"),
        device=device,
        progress=progress,
    )


def _seeds(given: int | Sequence[int]) -> tuple[int, ...]:
    numbers = arguments.seeds(given)
    if arguments.has_items(given):
        return numbers
    return first_seeds(len(numbers))


def first_seeds(count: int) -> tuple[int, ...]:
    """Return so many seeds: the authors', then others."""
    further = range(_FURTHER_SEEDS, _FURTHER_SEEDS + max(0, count - len(AUTHORS_SEEDS)))
    return (*AUTHORS_SEEDS[:count], *further)


def kept_tables(
    run: Run,
    what: str,
    pieces: dict[str, Values],
    compute: Callable[[str, Monitor], pd.DataFrame],
) -> pd.DataFrame:
    """Return the tables of several pieces, one below the other, from the store or computed now.

    Parameters
    ----------
    run : Run
    what : str
        Names the computation in the store and on the progress bar.
    pieces : dict of str to dict
        By name, all that decides the numbers of each.
    compute : callable
        Returns the table of the piece with this name; is given a function to call now and then.
    """
    import pandas as pd

    def task(name: str, settings: Values) -> Task:
        def numbers(monitor: Monitor) -> Values:
            table = compute(name, monitor)
            return {column: table[column].tolist() for column in table.columns}

        identity: dict[str, Any] = {"paper": what, "piece": name, "algorithm": _ALGORITHM}
        return Task(name, settings | identity | {"fastntk": version("fastntk")}, numbers)

    with (
        nullcontext() if run.store is None else StudyStore(run.store) as opened,
        monitored(run.progress, what) as report,
    ):
        runner = Runner(opened, len(pieces), report)
        found = runner.run([task(*item) for item in pieces.items()], in_threads(1))
    return pd.concat([pd.DataFrame(each) for each in found], ignore_index=True)
