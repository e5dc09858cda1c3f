# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gradient angles against input angles, a line for each depth, as Figures 1, 2 and 6 draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastntk.figures.panels import Line, Panel, levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fastntk.figures.panels import Limit


def angle_panel(frame: pd.DataFrame, title: str, limits: Sequence[Limit] = ()) -> Panel:
    """Return the panel of a table with the columns depth, input_angle and gradient_angle.

    Rows that differ in the seed alone are drawn as their mean and standard deviation.
    """
    grid = np.sort(frame["input_angle"].unique()).astype(np.float64)
    place = levels(frame["depth"].unique().tolist())
    lines = [Line(x=grid, y=grid, label="gradient = input", style="dotted", hue=6)]
    for depth, cell in frame.groupby("depth"):
        groups = cell.groupby("input_angle")["gradient_angle"]
        spread = np.asarray(groups.std().reindex(grid).fillna(0.0), np.float64)
        lines.append(
            Line(
                x=grid,
                y=np.asarray(groups.mean().reindex(grid), np.float64),
                spread=None if int(groups.size().max()) == 1 else spread,
                label=f"depth {depth}",
                level=place[depth],  # type: ignore[index]
            )
        )
    return Panel(
        x="input angle θ (degrees)",
        y="gradient angle φ (degrees)",
        title=title,
        lines=lines,
        limits=limits,
        x_kind="degrees",
        y_kind="degrees",
    )
