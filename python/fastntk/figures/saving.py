# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastntk._support.files import replacing

if TYPE_CHECKING:
    import os

    from matplotlib.figure import Figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, completely or not at all; the ending of `path` is the format."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
