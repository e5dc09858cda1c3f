# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How results are shown: short texts, and tables in notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

# A notebook shows so many rows of a table.
_MOST_ROWS = 20

# Arrays of up to so many numbers are written out.
_FEW = 6


def spans(values: Iterable[float]) -> str:
    """Return different numbers in short: ranges of whole ones, and otherwise lists.

    Examples
    --------
    >>> from fastntk._support.display import spans
    >>> spans([3, 0, 1, 2, 5]), spans([64, 256]), spans([float("inf")])
    ('0–3, 5', '64, 256', 'inf')
    """
    runs: list[list[float]] = []
    for value in sorted(set(values)):
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    shown = [
        f"{run[0]:g}–{run[-1]:g}" if len(run) > 2 else ", ".join(f"{each:g}" for each in run)
        for run in runs
    ]
    return ", ".join(shown)


def counted(number: int, noun: str) -> str:
    """Return a number with what is counted, in the plural where there is not one."""
    return f"{number} {noun}{'s' * (number != 1)}"


def short_repr(of: object, **parts: Any) -> str:
    """Return a text for `repr`: the class with its parts, of long arrays only shape and precision.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk._support.display import short_repr
    >>> short_repr(3, few=np.array([1.0, 2.5]), many=np.zeros((4, 5)), n=7)
    '<int: few [1, 2.5], many (4, 5) float64, n 7>'
    """
    shown = ", ".join(f"{name} {_short(value)}" for name, value in parts.items())
    return f"<{type(of).__name__}: {shown}>"


def _short(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return f"{value:.6g}" if isinstance(value, float) else str(value)
    if value.ndim == 1 and len(value) <= _FEW:
        return f"[{', '.join(f'{each:.4g}' for each in value)}]"
    return f"{value.shape} {value.dtype}"


def frame_html(
    title: str, frame: pd.DataFrame, settings: Mapping[str, object] | None = None
) -> str:
    """Return what notebooks show of a table: of a long one, its beginning and its end.

    What all of its rows have in common stands before it.
    """
    table = frame.to_html(index=False, border=0, max_rows=_MOST_ROWS, float_format="{:.4g}".format)
    common = ", ".join(f"{name} {_short(value)}" for name, value in (settings or {}).items())
    above = [title, common] if common else [title]
    return "".join(f"<p>{html.escape(line)}</p>" for line in above) + table


def rows_html(title: str, head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return what notebooks show of a few rows."""
    lines = [_row("th", head), *(_row("td", row) for row in rows)]
    return f"<p>{html.escape(title)}</p><table>{''.join(lines)}</table>"


def items_html(title: str, name: str, items: Sequence[object], most: int = 100) -> str:
    """Return what notebooks show of a sequence of that name: its first items, and how many more."""
    rows: list[tuple[object, ...]] = [(f"{name}[{i}]", each) for i, each in enumerate(items[:most])]
    if len(items) > most:
        rows.append(("…", f"{len(items) - most} more"))
    return rows_html(title, ("", name.removesuffix("s")), rows)


def pairs_html(title: str, values: Mapping[str, object]) -> str:
    """Return what notebooks show of values with names."""
    return rows_html(title, ("", "value"), values.items())


def _row(cell: str, values: Iterable[object]) -> str:
    return f"<tr>{''.join(f'<{cell}>{html.escape(str(each))}</{cell}>' for each in values)}</tr>"
