# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A part of the paper, reproduced: its tables, figures and claims, and the files that hold them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from fastntk._support import arguments
from fastntk._support.tables import save_table
from fastntk.figures import save
from fastntk.figures.panels import Sheet, draw

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

    from fastntk.paper.claims import Claim

# What may differ when the same part is computed again.
COSTS = ("seconds", "kernel_seconds", "analysis_seconds", "pass_depths", "memory_bytes")

# The formats in which each figure is written.
FORMATS = ("png", "svg", "pdf")


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """A figure or table of the paper, or what goes beyond it.

    Attributes
    ----------
    name : str
        As files are called: "figure-3-digits".
    title : str
    text : str
        What is shown, and what differs from the paper.
    tables : dict of str to DataFrame
        The numbers with all settings, by the endings of their files' names.
    drawings : dict of str to Sheet or Figure
        In the same way.
    claims : tuple of Claim
    command : str
        Computes this part again.
    seconds : float
        How long it took; what came from a store is not in it.
    """

    name: str
    title: str
    text: str
    command: str
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    drawings: Mapping[str, Sheet | Figure] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    seconds: float = 0.0

    @cached_property
    def figures(self) -> dict[str, Figure]:
        """The figures, drawn, by the names of their files."""
        return {
            self._stem(ending): draw(drawing) if isinstance(drawing, Sheet) else drawing
            for ending, drawing in self.drawings.items()
        }

    def table_files(self, folder: str | os.PathLike[str]) -> dict[Path, pd.DataFrame]:
        """Return the tables by their files in a folder."""
        root = Path(arguments.path(folder, "folder"))
        return {root / f"{self._stem(ending)}.csv": table for ending, table in self.tables.items()}

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> list[Path]:
        """Write tables (CSV) and figures (PNG, SVG, PDF), each completely or not at all.

        Parameters
        ----------
        folder : path-like
            Made where there is none.
        overwrite : bool
            Whether any tables that are there may be lost. Otherwise those are replaced of which all
            rows are in the new one, but for times.

        Returns
        -------
        list of Path
            The files.
        """
        flag = arguments.flag(overwrite, "overwrite")
        files = self.table_files(folder)
        for file, table in files.items():
            save_table(table, str(file), COSTS, overwrite=flag)
        written = list(files)
        for stem, figure in self.figures.items():
            for ending in FORMATS:
                written.append(Path(folder) / f"{stem}.{ending}")
                save(figure, written[-1])
        return written

    def _stem(self, ending: str) -> str:
        return f"{self.name}-{ending}" if ending else self.name
