# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Tables and figures of other studies, which are not to be lost when a command writes its own."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastntk._support.tables import is_part, texts_in

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    import pandas as pd


def table_in(out: Path, name: str, data: str) -> Path:
    """Return the file of the table of a study.

    Raises
    ------
    ValueError
        If the samples are read from it: they would make room for the table as another study does,
        and the same command would then read its own table.
    """
    table = out / f"{name}.csv"
    if table.exists() and Path(data).exists() and table.samefile(data):
        raise ValueError(
            f"out={str(out)!r}: the table {str(table)!r} would take the place of the samples: "
            "expected another directory"
        )
    return table


def keep_others(
    table: Path, frame: pd.DataFrame, others: Sequence[Path], costs: Collection[str]
) -> None:
    """Rename the files of another study that lie where those of this one are to be written.

    A table is of the same study if all of its rows are in the new one, which may have more: times
    and other `costs` left out. Its own name and that of the `others` are then free. Files that were
    kept before make room for those that are now if their table has no row that is not in one of
    these: two studies by turns do not leave more and more of them.

    Parameters
    ----------
    table : Path
        The table that is to be written.
    frame : DataFrame
        What will be in it.
    others : sequence of Path
        The files that belong to it.
    costs : collection of str
        Columns that may differ.
    """
    if not table.exists() or is_part(table, frame, costs):
        return
    every = (table, *others)
    files = [path for path in every if path.exists()]
    known = [each for each in (frame, texts_in(table)) if each is not None]

    def dispensable(number: int) -> bool:
        return any(is_part(_numbered(table, number), each, costs) for each in known)

    number = next(
        k
        for k in itertools.count(1)
        if dispensable(k) or not any(_numbered(path, k).exists() for path in every)
    )
    try:
        for path in every:
            _numbered(path, number).unlink(missing_ok=True)
        for path in files:
            path.rename(_numbered(path, number))
    except OSError as error:
        error.strerror = f"out: {error.strerror}"
        raise
    kept = ", ".join(str(_numbered(path, number)) for path in files)
    click.echo(f"Another study had written to the same files; they are kept as {kept}", err=True)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{path.suffix}")
