# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures as data: sheets of panels of lines, drawn in one style for all.

Whoever makes a sheet says what is on it; how it looks is decided here alone: angle axes with ticks
of 30°, depths in one sequential colour map, limits labelled at their lines, bands behind all lines
and only where there are few of them, legends beside the panels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter

from fastntk.figures.style import STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes

    Array = npt.NDArray[np.float64]

# Bands of more lines than these would lie over each other.
MOST_BANDS = 5

# More marks than these on a line hide it: every k-th is drawn.
_MOST_MARKS = 16

# The part of the colour map that is dark enough on white, from shallow to deep.
_SHALLOW, _DEEP = 0.0, 0.75

# Width and height of a panel, and of a legend beside it, in inches.
_PANEL = (4.0, 3.1)
_LEGEND = 1.7

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# A logarithmic axis over so few decades has labels between its powers of ten.
_FEW_DECADES = 2.0

# Labels beside the axes are at least so far apart, in heights of a line of text.
_LINE_HEIGHT = 0.065


@dataclass(frozen=True, kw_only=True, eq=False)
class Line:
    """What is drawn of one series.

    Attributes
    ----------
    x, y : ndarray (points,)
        NaN is left out.
    label : str
        What the legend calls it; lines of several panels that are called the same have one entry.
    spread : ndarray (points,), optional
        To either side of y: a band around a line, bars at marks.
    style : {"line", "marks", "both", "open", "dotted", "thin"}
        "open": marks that stand for a bound, not for a value. "thin": a line behind others.
    level : float, optional
        Where on the sequential colour map, from 0 to 1; see `levels`.
    hue : int
        Otherwise, which of the colours that readers with any colour vision tell apart.
    """

    x: Array
    y: Array
    label: str
    spread: Array | None = None
    style: str = "line"
    level: float | None = None
    hue: int = 0

    @property
    def colour(self) -> Any:
        """The colour, for Matplotlib."""
        if self.level is None:
            return STYLES[self.hue % len(STYLES)][0]
        return colormaps["viridis"](_SHALLOW + (_DEEP - _SHALLOW) * self.level)

    @property
    def mark(self) -> str:
        """The mark: another one for each hue."""
        return STYLES[self.hue % len(STYLES)][1] if self.level is None else "o"


@dataclass(frozen=True, kw_only=True)
class Limit:
    """A value that lines tend to, or lie above or below.

    Attributes
    ----------
    value : float
    label : str
        Stands at the line.
    """

    value: float
    label: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Panel:
    """Axes with lines.

    Attributes
    ----------
    x, y : str
        Labels of the axes, with their units.
    lines : sequence of Line
    limits : sequence of Limit
    title : str
    direct : bool
        Whether lines are labelled at their right ends, rather than in the legend of the sheet.
    x_kind, y_kind : {"linear", "log", "degrees", "whole"}
        "degrees": ticks of 30°. "whole": ticks at whole numbers only.
    y_from_zero : bool
    """

    x: str
    y: str
    lines: Sequence[Line]
    limits: Sequence[Limit] = ()
    title: str = ""
    direct: bool = False
    x_kind: str = "linear"
    y_kind: str = "linear"
    y_from_zero: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """A figure.

    Attributes
    ----------
    title : str
        Names the data, how many samples, the width and the seeds.
    panels : sequence of Panel
    columns : int
        How many panels stand side by side.
    """

    title: str
    panels: Sequence[Panel]
    columns: int = 2


def levels(values: Sequence[float]) -> dict[float, float]:
    """Return where on the sequential colour map each value is: in the order of their ranks."""
    ordered = sorted(set(values))
    return {value: k / max(1, len(ordered) - 1) for k, value in enumerate(ordered)}


def draw(sheet: Sheet) -> Figure:
    """Return the figure of a sheet; its axes are in the order of the panels."""
    columns = min(sheet.columns, len(sheet.panels))
    rows = math.ceil(len(sheet.panels) / columns)
    size = (_PANEL[0] * columns + _LEGEND, _PANEL[1] * rows + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    entries: dict[str, Any] = {}
    for axes, panel in zip(grid, sheet.panels, strict=False):
        _draw_panel(axes, panel)
        if panel.direct:
            continue
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    for axes in grid[len(sheet.panels) :]:
        axes.remove()
    if len(entries) > 1:
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside right center",
            frameon=False,
            fontsize="small",
        )
    figure.suptitle(sheet.title, fontsize="medium")
    # The layout is worked out once, not for each format in which the figure is written.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    bands = sum(line.spread is not None and line.style == "line" for line in panel.lines)
    for line in panel.lines:
        _draw_line(axes, line, with_band=bands <= MOST_BANDS)
    for limit in panel.limits:
        axes.axhline(limit.value, color="0.35", linestyle="dotted", linewidth=1.2, zorder=1.5)
    _set_scale(axes, "x", panel.x_kind)
    _set_scale(axes, "y", panel.y_kind)
    axes.set(xlabel=panel.x, ylabel=panel.y)
    axes.set_title(panel.title, fontsize="medium")
    if panel.y_from_zero:
        axes.set_ylim(0, None)
    axes.grid(alpha=0.3)
    _label_at_lines(axes, panel)


def _label_at_lines(axes: Axes, panel: Panel) -> None:
    """Write what limits, and lines where that is asked for, are called: right of the axes."""
    wanted: list[tuple[float, str, Any]] = [
        (limit.value, limit.label, "0.25") for limit in panel.limits
    ]
    if panel.direct:
        for line in panel.lines:
            known = line.y[np.isfinite(line.y)]
            if len(known):
                wanted.append((float(known[-1]), line.label, line.colour))
    axes.set_ylim(axes.get_ylim())  # as it is now: no later line moves it
    to_axes = axes.transData + axes.transAxes.inverted()
    placed = sorted(
        (float(to_axes.transform((1.0, value))[1]), label, colour)
        for value, label, colour in wanted
    )
    heights = spread_out(
        [height for height, _, _ in placed],
        [_LINE_HEIGHT * (1 + label.count("\n")) for _, label, _ in placed],
    )
    for height, (_, label, colour) in zip(heights, placed, strict=True):
        axes.annotate(
            label,
            (1.0, height),
            xycoords="axes fraction",
            xytext=(4, 0),
            textcoords="offset points",
            verticalalignment="center",
            fontsize="small",
            color=colour,
        )


def spread_out(positions: Sequence[float], sizes: Sequence[float]) -> list[float]:
    """Return ascending positions, moved as little as is needed for labels not to overlap.

    Examples
    --------
    >>> from fastntk.figures.panels import spread_out
    >>> [round(p, 3) for p in spread_out([0.5, 0.5, 0.9], [0.1, 0.1, 0.1])]
    [0.45, 0.55, 0.9]
    """
    # Groups of labels that touch, each about the mean of where its labels want to be.
    groups: list[tuple[list[float], list[float]]] = []
    for position, size in zip(positions, sizes, strict=True):
        groups.append(([position], [size]))
        while len(groups) > 1 and _top(groups[-2]) > _bottom(groups[-1]):
            wanted, heights = groups.pop()
            groups[-1] = (groups[-1][0] + wanted, groups[-1][1] + heights)
    result = []
    for group in groups:
        edge = _bottom(group)
        for size in group[1]:
            result.append(edge + size / 2)
            edge += size
    return result


def _bottom(group: tuple[list[float], list[float]]) -> float:
    wanted, sizes = group
    return sum(wanted) / len(wanted) - sum(sizes) / 2


def _top(group: tuple[list[float], list[float]]) -> float:
    return _bottom(group) + sum(group[1])


def _draw_line(axes: Axes, line: Line, *, with_band: bool) -> None:
    style: dict[str, Any] = {"color": line.colour, "label": line.label, "linewidth": 1.4}
    if line.style == "dotted":
        axes.plot(line.x, line.y, **style | {"linestyle": "dotted", "zorder": 1.6})
        return
    if line.style == "thin":
        axes.plot(line.x, line.y, **style | {"linewidth": 0.8, "alpha": 0.35, "zorder": 1.4})
        return
    marks = {"marker": line.mark, "markersize": 4.5}
    marks["markevery"] = max(1, math.ceil(len(line.x) / _MOST_MARKS))
    if line.style in {"marks", "open"}:
        style |= marks | {"linestyle": "none"}
        if line.style == "open":
            style["markerfacecolor"] = "none"
    elif line.style == "both":
        style |= marks
    axes.plot(line.x, line.y, **style)
    if line.spread is None:
        return
    # A lower end that a logarithmic axis can show.
    below = np.where(line.y > 0, np.minimum(line.spread, 0.9 * line.y), line.spread)
    if line.style == "line" and with_band:
        low, high = line.y - below, line.y + line.spread
        axes.fill_between(line.x, low, high, color=line.colour, alpha=0.15, linewidth=0, zorder=1)
    elif line.style != "line":
        thin = slice(None, None, marks["markevery"])
        axes.errorbar(
            line.x[thin],
            line.y[thin],
            [below[thin], line.spread[thin]],
            color=line.colour,
            linestyle="none",
            capsize=2,
            elinewidth=0.9,
            zorder=1.8,
        )


def number(value: float) -> str:
    """Return a number for an axis: as it is, or as a power of ten.

    Examples
    --------
    >>> from fastntk.figures.panels import number
    >>> number(500.0), number(1e6), number(2e-5)
    ('500', '10⁶', '2·10⁻⁵')
    """
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return f"{value:g}"
    mantissa, exponent = f"{value:.0e}".split("e")
    power = "10" + str(int(exponent)).translate(_RAISED)
    return power if mantissa == "1" else f"{mantissa}·{power}"


def _set_scale(axes: Axes, which: str, kind: str) -> None:
    axis = axes.xaxis if which == "x" else axes.yaxis
    if kind == "log":
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        low, high = axes.get_xlim() if which == "x" else axes.get_ylim()
        if low > 0 and math.log10(high / low) > _FEW_DECADES:
            axis.set_major_locator(LogLocator(numticks=8))
            axis.set_minor_formatter(NullFormatter())
        else:
            axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
            axis.set_minor_formatter(NullFormatter())
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    elif kind == "degrees":
        axis.set_major_locator(MultipleLocator(30))
    elif kind == "whole":
        axis.set_major_locator(MaxNLocator(integer=True))
