# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Tables of studies in CSV files, which do not take the place of those of other studies."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from fastntk._support.files import regular_file, replacing, require_own

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import pandas as pd


def save_table(
    frame: pd.DataFrame, path: str, costs: Collection[str] = (), *, overwrite: bool
) -> None:
    """Write a table, completely or not at all.

    A file that is there is replaced if it holds a part of the table, or if it may be anything; see
    `is_part`.
    """
    require_own(
        path,
        own=lambda: is_part(path, frame, costs),
        what="a part of the same table",
        overwrite=overwrite,
    )
    with replacing(path) as temporary:
        frame.to_csv(temporary, index=False)


def texts_in(table: str | Path) -> pd.DataFrame | None:
    """Return the table in a file as it is written there, or None if there is none."""
    import pandas as pd

    try:
        with regular_file(table, "path") as stream:
            return pd.read_csv(stream, dtype=str, keep_default_na=False)
    except (ValueError, OSError):  # no table at all, or no file
        return None


def is_part(table: str | Path, frame: pd.DataFrame, costs: Collection[str]) -> bool:
    """Return whether all rows of a file are in a table, times and other `costs` left out."""
    there = texts_in(table)
    return there is not None and _has(frame, there, costs)


def are_rows_of(there: pd.DataFrame, frame: pd.DataFrame, costs: Collection[str]) -> bool:
    """Return whether all rows of one table are in another one, times and other `costs` left out."""
    return _has(frame, _as_texts(there), costs)


def _has(frame: pd.DataFrame, there: pd.DataFrame, costs: Collection[str]) -> bool:
    columns = [name for name in frame.columns if name not in costs]
    if [name for name in there.columns if name not in costs] != columns:
        return False
    # As they are written: each float has a single shortest text that gives it back.
    new = set(map(tuple, _as_texts(frame[columns]).to_numpy().tolist()))
    return all(row in new for row in map(tuple, there[columns].to_numpy().tolist()))


def _as_texts(frame: pd.DataFrame) -> pd.DataFrame:
    import pandas as pd

    text = frame.to_csv(index=False)
    return pd.read_csv(io.StringIO(text), dtype=str, keep_default_na=False)
