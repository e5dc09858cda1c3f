# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a sheet is drawn: on a new figure that notebooks show, or on axes of the user's."""

from __future__ import annotations

import warnings
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastntk._support import arguments
from fastntk.figures.panels import draw_panel, lay_out, legend_entries, size_of
from fastntk.figures.style import PAGE, PRINT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk.figures.panels import Panel, Sheet

# A legend with more entries would hide what is drawn: it goes below the axes.
_MOST_INSIDE = 4


class AxesArray(np.ndarray[tuple[int, ...], np.dtype[Any]]):
    """The axes of several panels, in an array of one dimension.

    What a figure can do is still found here, with a warning: `plot` used to return one.
    """

    @property
    def figure(self) -> Figure:
        """The figure on which the first of them is."""
        first: Axes = self.flat[0]
        found = first.get_figure(root=True)
        assert found is not None
        return found

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or not hasattr(Figure(), name):
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        warnings.warn(
            f"plot() returns axes, not a figure: use plot().figure.{name}",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(self.figure, name)


def place(sheet: Sheet, ax: Axes | Sequence[Axes] | None, panel: str | None) -> Any:
    """Draw a sheet, or one panel of it, and return its axes.

    Parameters
    ----------
    sheet : Sheet
    ax : Axes or sequence of Axes, optional
        One for each panel. By default on a new figure of `matplotlib.pyplot`, which notebooks show
        and `pyplot.show` opens.
    panel : str, optional
        The name of the only panel that is wanted.

    Returns
    -------
    Axes, or AxesArray
        An array where there are several panels. Which it is, only the sheet says: no type does.
    """
    if panel is not None:
        arguments.choice(panel, "panel", [each.name for each in sheet.panels])
        sheet = replace(sheet, panels=[each for each in sheet.panels if each.name == panel])
    if ax is None:
        # Pyplot takes its time to import, and looks for a screen.
        import matplotlib.pyplot as plt

        grid = lay_out(
            plt.figure(figsize=size_of(sheet, PRINT), layout="constrained"), sheet, PRINT
        )
    else:
        grid = _axes(ax, sheet.panels)
        for axes, each in zip(grid, sheet.panels, strict=True):
            draw_panel(axes, each, PAGE)
            _add_legend(axes, each)
    if len(grid) == 1:
        return grid[0]
    result = np.empty(len(grid), dtype=object)
    result[:] = grid
    return result.view(AxesArray)


def _axes(ax: Any, panels: Sequence[Panel]) -> list[Axes]:
    """Return the given axes as a list, one for each panel."""
    names = ", ".join(repr(panel.name) for panel in panels)
    given = _each(ax, len(panels) + 1)
    # Axes that were removed are on no figure.
    if len(given) != len(panels) or not all(
        isinstance(axes, Axes) and axes.get_figure() is not None for axes in given
    ):
        expected = "axes of Matplotlib"
        if len(panels) > 1:
            expected = f"{len(panels)} axes of Matplotlib, or panel=… for one of {names}"
        raise TypeError(f"ax={arguments.shown(ax)}: expected {expected}")
    return given


def _each(ax: Any, most: int) -> list[Any]:
    """Return what is in a sequence of axes, or in rows of them; of either no more than so many."""
    if isinstance(ax, Axes) or not arguments.has_items(ax):
        return [ax]
    found: list[Any] = []
    try:
        for item in islice(ax, most):
            found += islice(item, most) if isinstance(item, (list, tuple, np.ndarray)) else [item]
    except Exception:  # of an iterator of somebody's own, or an array without a dimension
        return [ax]
    return found


def _add_legend(axes: Axes, panel: Panel) -> None:
    entries = {} if panel.direct else legend_entries([axes])
    if not entries:
        return
    inside = len(entries) <= _MOST_INSIDE
    elsewhere: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18), "ncols": 2}
    axes.legend(
        list(entries.values()),
        list(entries),
        frameon=False,
        fontsize=PAGE.small,
        **{} if inside else elsewhere,
    )
