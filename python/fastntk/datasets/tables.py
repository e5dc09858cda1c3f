# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples in ``.csv`` files: which line has the names, which columns are no features.

A column is never taken for a feature that is the number of its row, or its label.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk._support.files import regular_file
from fastntk._support.memory import require_memory
from fastntk.datasets.dataset import RawSamples
from fastntk.datasets.labels import LARGEST_INTEGER, as_labels
from fastntk.datasets.optional import library

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt

    from fastntk.datasets.options import ReadOptions

# The names of columns of labels and of indices, and what stands for a missing number.
_LABELS = ("label", "labels", "target", "class")
_INDICES = ("", "index", "id")
# What pandas makes of a column without a name, with its number.
_UNNAMED = "unnamed: "
_MISSING = ("na", "n/a", "null", "none", "<na>", "-")

# So many rows counted from 0 or 1 in a column are no accident, nor are so many columns in a row.
_COUNTED = 5

# Pandas takes up to 16 bytes for each of a file of small numbers.
_BYTES_OF_TEXT = 16


class _Table(NamedTuple):
    """Texts in columns with names, which may be empty."""

    cells: npt.NDArray[Any]
    names: list[str] | None

    def called(self, column: int) -> str:
        return f"column {column + 1}" if self.names is None else f"column {self.names[column]!r}"


def read_file(file: Path, options: ReadOptions) -> RawSamples:
    """Return the features of a table, and its labels."""
    options.require_only(("label", "index"), "a .csv file")
    table = _table(file, options.argument)
    label = _label_column(table, options.label)
    index = _index_column(table, options.index, label)
    if index is not None and index == label:
        raise ValueError(f"index={options.index!r}: is the column of the labels, too")
    left = [k for k in range(table.cells.shape[1]) if k not in {index, label}]
    labels, label_names = (None, ()) if label is None else _labels(table, label)
    return RawSamples(
        name=file.stem,
        values=_numbers(table, left, may_be_labels=label is None),
        labels=labels,
        source=f"the table {file}",
        feature_names=() if table.names is None else tuple(table.names[k] for k in left),
        label_names=label_names,
    )


def _table(file: Path, argument: str) -> _Table:
    pandas = library("pandas", "a .csv file", "fastntk[study]")
    with regular_file(file, argument) as stream:
        size = os.fstat(stream.fileno()).st_size
        require_memory(
            _BYTES_OF_TEXT * size, f"the texts of a table of {size} bytes", "write it as .npy"
        )
        # Texts as they are, and blank lines: a row of missing values is not to be passed over.
        frame = pandas.read_csv(
            stream,
            header=None,
            dtype=str,
            keep_default_na=False,
            skip_blank_lines=False,
            skipinitialspace=True,
        ).fillna("")
    while len(frame) and (frame.iloc[-1] == "").all():
        frame = frame.iloc[:-1]
    if len(frame) == 0:
        raise ValueError("it is empty")
    cells = frame.to_numpy()
    names = _header([cell.strip() for cell in cells[0]], cells[1:])
    return _Table(cells if names is None else cells[1:], names)


def _header(first: list[str], below: npt.NDArray[Any]) -> list[str] | None:
    """Return the names of the columns in the first line, None if it is a sample.

    Raises
    ------
    ValueError
        If it is probably no sample, but has no names either.
    """
    # As NumPy's savetxt writes it.
    first = [first[0].lstrip("# "), *first[1:]]
    if all(map(_is_heading, first)) and any(first):
        return first
    # Pandas numbers columns without a name, beside those that were named.
    numbered = [name for name in first if name.lower() not in (*_LABELS, *_INDICES)]
    if numbered != [str(k) for k in range(len(numbered))] or "" in first[1:]:
        return None
    if numbered != first:
        return first
    decimal = len(first) > 1 and below.size > 0 and not any(map(_is_integer, below.flat))
    if len(first) < _COUNTED and not decimal:
        return None  # a sample may well be that
    raise ValueError(
        "its first line counts the columns, as the header that pandas writes for columns without "
        "names: expected names, or samples only (header=False); a sample of these numbers needs a "
        "line of names above it"
    )


def _is_heading(cell: str) -> bool:
    """Return whether a cell may stand in a line of names: it is empty, or has letters or digits."""
    return _is_name(cell) and (not cell or any(map(str.isalnum, cell)))


def _is_integer(cell: str) -> bool:
    return cell.strip().removeprefix("-").isdecimal()


def _is_name(cell: str) -> bool:
    """Return whether a cell of the first line is the name of a column: no number, and not NaN."""
    return not _is_number(cell) and cell.lower() not in _MISSING


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _column(table: _Table, value: str | int, argument: str) -> int:
    """Return the number of the column that an argument names."""
    count: int = table.cells.shape[1]
    if isinstance(value, str):
        if table.names is None:
            raise ValueError(
                f"{argument}={value!r}: the table has no line of names: expected the number of a "
                f"column, from 0 to {count - 1}"
            )
        if table.names.count(value) != 1:
            raise ValueError(f"{argument}={value!r}: expected one of the columns {table.names}")
        return table.names.index(value)
    if not -count <= value < count:
        raise ValueError(f"{argument}={value}: expected a column from 0 to {count - 1}")
    return value % count


def _index_column(table: _Table, index: str | int | bool | None, label: int | None) -> int | None:
    """Return the column that is no feature, for it counts the rows; refuse what only seems so."""
    if index is False:
        return None
    if index is not None:
        return _column(table, index, "index")
    for k in range(table.cells.shape[1]):
        seems = None if k == label else _seems_index(table, k)
        if seems is not None:
            which = "first column" if k == 0 else f"column {k + 1}"
            raise ValueError(
                f"its {which} {seems}, as the index of a table of pandas: expected columns of "
                f"numbers only; leave it out with index={k}, take it for a feature with "
                "index=False, or let pandas write none, by to_csv(index=False)"
            )
    return None


def _seems_index(table: _Table, column: int) -> str | None:
    """Return what makes a column seem to count the rows, None if nothing does."""
    if table.names is not None:
        name = table.names[column]
        if not name and column == 0:
            return "has no name"
        if name and (name.lower() in _INDICES or name.lower().startswith(_UNNAMED)):
            return f"is named {name!r}"
    return "counts the rows" if _counts(table.cells[:, column]) else None


def _counts(cells: npt.NDArray[Any]) -> bool:
    """Return whether the cells are 0, 1, 2, … or 1, 2, 3, … from top to bottom."""
    if len(cells) < _COUNTED or cells[0].strip() not in {"0", "1"}:
        return False
    first = int(cells[0])
    return all(cell.strip() == str(first + k) for k, cell in enumerate(cells))


def _label_column(table: _Table, label: str | int | bool | None) -> int | None:
    if label is False:
        return None
    if label is not None:
        return _column(table, label, "label")
    found = [k for k, name in enumerate(table.names or ()) if name.lower() in _LABELS]
    if len(found) > 1:
        names = [(table.names or [])[k] for k in found]
        raise ValueError(
            f"it has several columns of labels: {names}: say which one with label={names[0]!r}"
        )
    return found[0] if found else None


def _labels(table: _Table, column: int) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
    """Return labels from 0 and, where they are names, these in the order of the alphabet."""
    cells = [cell.strip() for cell in table.cells[:, column]]
    if cells and all(map(_is_name, cells)) and all(cells):
        names, labels = np.unique(cells, return_inverse=True)
        return labels.astype(np.int64), tuple(names.tolist())
    found = as_labels(_numbers(table, [column])[:, 0], len(cells))
    if found is None:
        raise ValueError(
            f"its {table.called(column)} is taken for labels: expected integers from 0, or names; "
            "if it is a coordinate of the samples, say so with label=False"
        )
    return found, ()


def _numbers(
    table: _Table, columns: list[int], *, may_be_labels: bool = False
) -> npt.NDArray[np.float64]:
    """Return the numbers of some columns; ValueError with the first cell that is none.

    It says how a column of names is taken for labels, if these `may_be_labels`.
    """
    texts = table.cells[:, columns]
    try:
        if any("_" in cell for cell in texts.flat):  # which Python reads as 1000 where it is 1_000
            raise ValueError
        numbers = texts.astype(np.float64)
    except ValueError:
        i, k = next(at for at, cell in np.ndenumerate(texts) if "_" in cell or not _is_number(cell))
        hint = ""
        if may_be_labels and all(cell and _is_name(cell) for cell in map(str.strip, texts[:, k])):
            which = columns[k] if table.names is None else repr(table.names[columns[k]])
            hint = f"; if these are labels, say so with label={which}"
        raise ValueError(
            f"{table.called(columns[k])} has {texts[i, k]!r} in row {i + 1} of the samples: "
            f"expected a number{hint}"
        ) from None
    for i, k in np.argwhere(np.abs(numbers) >= LARGEST_INTEGER):
        text = str(texts[i, k])
        if _is_integer(text) and int(text) != int(numbers[i, k]):
            raise ValueError(
                f"{table.called(columns[k])} has {text!r} in row {i + 1} of the samples: "
                "expected no integer beyond 2⁵³ that float64 has not, for two of them would become "
                "equal; leave the column out with index, or write it with a decimal point"
            )
    return numbers
