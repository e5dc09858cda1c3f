# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures in files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from fastntk._support import arguments
from fastntk._support.files import replacing

if TYPE_CHECKING:
    import os


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, completely or not at all; the ending of `path` is the format.

    A file that is there is replaced, as by Matplotlib: figures are drawn again from tables, which
    are not.
    """
    if not isinstance(figure, Figure):
        raise TypeError(f"figure={arguments.shown(figure)}: expected a figure of Matplotlib")
    target = arguments.path(path, "path")
    endings = sorted(figure.canvas.get_supported_filetypes())
    if Path(target).suffix.removeprefix(".").lower() not in endings:
        raise ValueError(f"path={target!r}: expected a file that ends in .{', .'.join(endings)}")
    with replacing(target) as temporary:
        figure.savefig(temporary, dpi=150)
