# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What users call: one figure, one table, or all of it with a page."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fastntk._support import arguments
from fastntk._support.files import make_folder, replacing
from fastntk.paper import catalogue
from fastntk.paper.claims import Claim
from fastntk.paper.report.page import page
from fastntk.paper.run import checked_run
from fastntk.paper.samples import has_labels, names_apart, samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fastntk._support.progress import Progress
    from fastntk.paper.part import Part

# What each figure and table is of when no data set is named.
DEFAULT_DATA = "digits"

_FIGURES = 6
_TABLES = 1

# The cells of all parts, beside the page.
STORE = "cells.sqlite"


def figure(
    number: int,
    data: str | None = None,
    *,
    full: bool = False,
    seeds: int | Sequence[int] | None = None,
    width: int | None = None,
    store: str | os.PathLike[str] | None = None,
    device: str | None = None,
    progress: Progress = True,
) -> Part:
    """Compute a figure of the paper, and judge what the paper says of it.

    Parameters
    ----------
    number : int
        From 1 to 6.
    data : str, optional
        For Figures 3 and 4: the name of a data set (by default "digits"), "synthetic" for the
        paper's random samples, or a file of samples. The others are of no data.
    full : bool
        The paper's sizes (width 512, depths 0 to 20, five seeds, all samples), rather than those
        that take minutes on two cores.
    seeds : int or sequence of int, optional
        How many networks of each kind, or their seeds.
    width : int, optional
        Of every hidden layer; by default 512.
    store : path-like, optional
        A file (SQLite) that keeps what is finished: what was stopped goes on from there.
    device : str, optional
        Where networks are trained (Figure 4, Table 1) and the closest of all pairs are searched
        (Figure 3), as in `fastntk.train`: "cuda" for the first GPU. By default the processor.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)``.

    Returns
    -------
    Part
        With `tables` (DataFrames), `figures`, `claims`, and `save(folder)`.

    Examples
    --------
    >>> from fastntk import paper
    >>> part = paper.figure(5)
    >>> [claim.verdict for claim in part.claims]
    ['holds', 'holds', 'holds', 'holds']
    >>> one_layer = part.tables[""].query("layers == 1")
    >>> float(one_layer.embedding_angle.max().round(6))
    90.0
    """
    name = f"figure {arguments.integer(number, 'number', minimum=1, maximum=_FIGURES)}"
    run = checked_run(
        full=full, seeds=seeds, width=width, store=store, device=device, progress=progress
    )
    return catalogue.computed(name, run, _checked_data(name, data))


def table(
    number: int,
    data: str | None = None,
    *,
    full: bool = False,
    seeds: int | Sequence[int] | None = None,
    width: int | None = None,
    store: str | os.PathLike[str] | None = None,
    device: str | None = None,
    progress: Progress = True,
) -> Part:
    """Compute a table of the paper, and judge what the paper says of it.

    Parameters
    ----------
    number : int
        1: test accuracy against depth.
    data, full, seeds, width, store, device, progress
        As for `figure`; the data need labels.

    Returns
    -------
    Part
    """
    name = f"table {arguments.integer(number, 'number', minimum=1, maximum=_TABLES)}"
    run = checked_run(
        full=full, seeds=seeds, width=width, store=store, device=device, progress=progress
    )
    return catalogue.computed(name, run, _checked_data(name, data))


@dataclass(frozen=True, eq=False)
class Reproduction:
    """The result of `reproduce`.

    Attributes
    ----------
    parts : tuple of Part
    report : Path
        The page.
    seconds : float
    peak_memory : int
        The most memory that the process has had, in bytes.
    """

    parts: tuple[Part, ...]
    report: Path
    seconds: float
    peak_memory: int = field(compare=False)

    @property
    def claims(self) -> tuple[Claim, ...]:
        """Those of all parts."""
        return tuple(claim for part in self.parts for claim in part.claims)


def reproduce(
    out: str | os.PathLike[str],
    data: Sequence[str] = (DEFAULT_DATA,),
    *,
    only: Sequence[str] | None = None,
    full: bool = False,
    seeds: int | Sequence[int] | None = None,
    width: int | None = None,
    device: str | None = None,
    progress: Progress = True,
    each: Callable[[Part], None] | None = None,
) -> Reproduction:
    """Compute all figures, tables and claims of the paper, and write a page of them.

    Parameters
    ----------
    out : path-like
        A folder: for ``report.html``, which needs nothing else, for the tables and figures, and for
        ``cells.sqlite``, from which a reproduction that was stopped goes on.
    data : sequence of str
        The data sets of Figures 3 and 4 and of Table 1, each once. Files of the same name are
        called by their folders too: "a-x" and "b-x".
    only : sequence of str, optional
        The parts that are wanted, such as "figure 3"; by default all. ``report.html`` is of these
        alone, also where there is one of more parts, which the same call writes again from what is
        finished.
    full, seeds, width, device, progress
        As for `figure`.
    each : callable, optional
        Called with each part as soon as its files are written.

    Returns
    -------
    Reproduction

    Raises
    ------
    ValueError, TypeError, FileNotFoundError
        Before any work, if there is no such part or data set.
    OSError
        If the folder cannot be written, or the disk is full; what is finished is kept.
    """
    folder = Path(arguments.path(out, "out"))
    arguments.function(each, "each", "a part")
    run = checked_run(
        full=full,
        seeds=seeds,
        width=width,
        store=str(folder / STORE),
        device=device,
        progress=progress,
    )
    wanted = list(_wanted(only, data))
    make_folder(folder, "out")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(f"out={str(folder)!r}: expected a folder that can be written")
    started = time.perf_counter()
    parts = []
    for name, each_data, called in wanted:
        parts.append(catalogue.computed(name, replace(run, name=called), each_data))
        parts[-1].save(folder, overwrite=True)
        if each is not None:
            each(parts[-1])
    seconds, memory = time.perf_counter() - started, peak_memory()
    report = folder / "report.html"
    command = "fastntk reproduce" + run.options(*data)
    with replacing(report, "out") as temporary:
        temporary.write_text(page(parts, command, seconds, memory), encoding="utf-8")
    return Reproduction(tuple(parts), report, seconds, memory)


def peak_memory() -> int:
    """Return the most memory that this process has had, in bytes; 0 where that is not known."""
    try:
        import resource
    except ImportError:  # not on this system
        return 0
    # Counted in bytes by macOS, in kibibytes by others.
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _wanted(
    only: Sequence[str] | None, data: Sequence[str]
) -> Iterator[tuple[str, str, str | None]]:
    """Yield the parts, their data and what these are called, checked.

    Those that train are of data with labels.
    """
    names = catalogue.NAMES
    if only is not None:
        given = arguments.items(only, "only", "names of parts")
        chosen = [arguments.choice(name, "only", catalogue.NAMES) for name in given]
        names = tuple(name for name in catalogue.NAMES if name in chosen)
        if not names:
            raise ValueError(f"only={arguments.shown(only)}: expected at least one part")
    sets = [arguments.text(each, "data") for each in arguments.items(data, "data", "names")]
    if not sets:
        raise ValueError(f"data={arguments.shown(data)}: expected at least one data set")
    called = names_apart(sets)
    for name in names:
        if name in catalogue.OF_FORMULAS:
            yield name, "", None
            continue
        for each in sets:
            if name not in catalogue.TRAINED or has_labels(each):
                yield name, each, called[each]


def _checked_data(name: str, data: str | None) -> str:
    """Return the data set of a part; raises before any work what would be raised later."""
    if name in catalogue.OF_FORMULAS:
        if data is not None:
            shown = arguments.shown(data)
            raise ValueError(f"data={shown}: expected none, {name} is of no data")
        return ""
    given = arguments.text(DEFAULT_DATA if data is None else data, "data")
    if samples(given).y is None and name in catalogue.TRAINED:
        raise ValueError(f"data={given!r}: expected a data set with labels, to train on")
    return given
