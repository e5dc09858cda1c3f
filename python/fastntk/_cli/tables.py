# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Tables on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with columns as wide as they need to be."""
    sizes = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        click.echo(
            "  ".join(cell.rjust(size) for cell, size in zip(row, sizes, strict=True)).rstrip()
        )


def mean_and_deviation(
    row: pd.Series[Any], name: str, form: str, std_name: str | None = None
) -> str:
    """Return a mean and its standard deviation, by default that of the column ``NAME_std``."""
    std = row[f"{name}_std" if std_name is None else std_name]
    mean = format(row[name], form)
    return mean if np.isnan(std) else f"{mean} ± {std:{'.2g' if 'g' in form else form}}"
