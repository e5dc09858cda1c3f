# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pairs of pictures, one beside the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

_COLUMNS = 6


def plot_pairs(
    title: str, pictures: Sequence[tuple[np.ndarray, np.ndarray]], captions: Sequence[str]
) -> Figure:
    """Return a figure of pairs of pictures, each (height, width), with a caption above."""
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(2.0 * columns, 1.3 * rows + 0.4), layout="constrained")
    grid = figure.subfigures(rows, columns, squeeze=False).ravel()
    for cell, pair, caption in zip(grid, pictures, captions, strict=False):
        cell.suptitle(caption, fontsize="small")
        for axes, picture in zip(cell.subplots(1, 2), pair, strict=True):
            axes.imshow(picture, cmap="gray_r", interpolation="nearest")
            axes.set_axis_off()
    figure.suptitle(title, fontsize="medium")
    return figure
