# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastntk._support import arguments
from fastntk._support.files import replacing
from fastntk.figures.placing import AxesArray

if TYPE_CHECKING:
    import os


# Dots to an inch, as journals ask for; formats of lines have no need of it.
_DPI = 300


def save(figure: Figure | Axes | AxesArray, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, completely or not at all; the ending of `path` is the format.

    Of axes, as `plot` returns them, the whole figure is written on which they are. A file that is
    there is replaced, as by Matplotlib: figures are drawn again from tables, which are not.
    """
    drawn: Any = figure
    if isinstance(figure, Axes):
        drawn = figure.get_figure(root=True)
    elif isinstance(figure, AxesArray):
        drawn = figure.figure
    if not isinstance(drawn, Figure):
        raise TypeError(
            f"figure={arguments.shown(figure)}: expected a figure or axes of Matplotlib"
        )
    target = arguments.path(path, "path")
    endings = sorted(drawn.canvas.get_supported_filetypes())
    if Path(target).suffix.removeprefix(".").lower() not in endings:
        raise ValueError(f"path={target!r}: expected a file that ends in .{', .'.join(endings)}")
    with replacing(target) as temporary:
        drawn.savefig(temporary, dpi=_DPI)
