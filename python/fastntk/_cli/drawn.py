# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures of commands, in files beside their tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastntk._cli.options import FORMATS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure


def beside(table: Path, endings: Sequence[str] = FORMATS) -> list[Path]:
    """Return the files of a table's figure, one for each format: all that it may have."""
    return [table.with_suffix(f".{ending}") for ending in endings]


def draw(figure: Figure, files: Sequence[Path]) -> str:
    """Write a figure to files, and return the line that says so."""
    from fastntk.figures import save

    for file in files:
        save(figure, file)
    return f"Figure{'s' * (len(files) != 1)}: {', '.join(map(str, files))}"
