# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures as data: sheets of panels of lines, drawn in one style for all.

Whoever makes a sheet says what is on it; how it looks is decided here alone: angle axes with ticks
of 30°, depths in one sequential colour map, limits labelled at their lines, bands behind all lines
and only where there are few of them, legends beside the panels and never on them. In print
two panels with their legend are as wide as the text of a paper of two columns; on a page all is
larger by the same factor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, MultipleLocator, NullFormatter

from fastntk.figures.style import DASHES, GREY, PAGE, STYLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

    from fastntk.figures.style import Sizes

    Array = npt.NDArray[np.float64]

# Bands of more lines than these would lie over each other.
MOST_BANDS = 5

# More marks than these on a line hide it: every k-th is drawn.
_MOST_MARKS = 16

# The part of the colour map that is dark enough on white, from shallow to deep.
_SHALLOW, _DEEP = 0.0, 0.75

# Width and height of a panel, of a legend beside it, and of the title, in inches on a page.
_PANEL = (4.0, 3.1)
_LEGEND = 1.7
_TITLE = 0.5

# So many entries fit beside a panel; more go below all panels, so many rows of them to an inch.
_MOST_BESIDE = 14
_ROWS_TO_AN_INCH = 5.25

_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")

# A logarithmic axis over so few decades has labels between its powers of ten.
_FEW_DECADES = 2.0

# Angles over at least so many degrees have ticks of 30°, others finer ones.
_WIDE_ANGLES = 60.0

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
    style : {"line", "marks", "both", "open", "crosses", "edge", "dotted", "thin"}
        "open": marks that stand for a bound, not for a value. "edge": crosses on the upper edge of
        the axes, wherever that is; y is not looked at. "thin": a line behind others.
    level : float, optional
        Where on the sequential colour map, from 0 to 1; see `levels`.
    hue : int or None
        Otherwise, which of the colours that readers with any colour vision tell apart; None: grey.
    dash : int
        Which of the patterns of a line, 0 for one without gaps.
    """

    x: Array
    y: Array
    label: str
    spread: Array | None = None
    style: str = "line"
    level: float | None = None
    hue: int | None = 0
    dash: int = 0

    @property
    def colour(self) -> Any:
        """The colour, for Matplotlib."""
        if self.level is None:
            return GREY if self.hue is None else STYLES[self.hue % len(STYLES)][0]
        return colormaps["viridis"](_SHALLOW + (_DEEP - _SHALLOW) * self.level)

    @property
    def mark(self) -> str:
        """The mark: another one for each hue."""
        if self.style in {"crosses", "edge"}:
            return "x"
        if self.level is not None or self.hue is None:
            return "o"
        return STYLES[self.hue % len(STYLES)][1]


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
        Horizontal lines, labelled at their right ends.
    verticals : sequence of Limit
        Vertical lines, in the legend; each has another pattern.
    name : str
        By which users ask for this panel alone.
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
    verticals: Sequence[Limit] = ()
    name: str = ""
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


def draw(sheet: Sheet, sizes: Sizes = PAGE) -> Figure:
    """Return the figure of a sheet; its axes are in the order of the panels."""
    figure = Figure(figsize=size_of(sheet, sizes), layout="constrained")
    lay_out(figure, sheet, sizes)
    # The layout is worked out once, not for each format in which the figure is written.
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    return figure


def size_of(sheet: Sheet, sizes: Sizes) -> tuple[float, float]:
    """Return width and height of the figure of a sheet, in inches."""
    columns, rows = _grid(sheet)
    below = _rows_below(sheet)
    width = _PANEL[0] * columns + (0.0 if below else _LEGEND)
    height = _PANEL[1] * rows + _TITLE + below / _ROWS_TO_AN_INCH
    return sizes.scale * width, sizes.scale * height


def lay_out(figure: FigureBase, sheet: Sheet, sizes: Sizes) -> list[Axes]:
    """Draw a sheet on an empty figure of `size_of`; return the axes, in the order of the panels."""
    columns, rows = _grid(sheet)
    every = figure.subplots(rows, columns, squeeze=False).ravel()
    grid = list(every[: len(sheet.panels)])
    for axes, panel in zip(grid, sheet.panels, strict=True):
        draw_panel(axes, panel, sizes)
    for axes in every[len(sheet.panels) :]:
        axes.remove()
    entries = legend_entries(
        axes for axes, panel in zip(grid, sheet.panels, strict=True) if not panel.direct
    )
    if len(entries) > 1:
        below = _rows_below(sheet)
        figure.legend(
            list(entries.values()),
            list(entries),
            loc="outside lower center" if below else "outside right center",
            ncols=_columns_below(sheet) if below else 1,
            frameon=False,
            fontsize=sizes.small,
        )
    figure.suptitle(sheet.title, fontsize=sizes.text)
    return grid


def _grid(sheet: Sheet) -> tuple[int, int]:
    columns = min(sheet.columns, len(sheet.panels))
    return columns, math.ceil(len(sheet.panels) / columns)


def _columns_below(sheet: Sheet) -> int:
    return 2 * _grid(sheet)[0]


def _rows_below(sheet: Sheet) -> int:
    """Return how many rows the legend has below the panels; 0 if it stands beside them."""
    panels = [panel for panel in sheet.panels if not panel.direct]
    labels = {line.label for panel in panels for line in panel.lines if line.label}
    labels |= {vertical.label for panel in panels for vertical in panel.verticals}
    return 0 if len(labels) <= _MOST_BESIDE else math.ceil(len(labels) / _columns_below(sheet))


def legend_entries(grid: Iterable[Axes]) -> dict[str, Line2D]:
    """Return what legends show, by label: grey where lines of several colours have the same one."""
    found: dict[str, list[Any]] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(label, []).append(handle)
    return {
        label: _grey(handles[0]) if len({each.get_color() for each in handles}) > 1 else handles[0]
        for label, handles in found.items()
    }


def _grey(first: Line2D) -> Line2D:
    return Line2D(
        [],
        [],
        color=GREY,
        linestyle=first.get_linestyle(),
        linewidth=first.get_linewidth(),
        marker=first.get_marker(),
        markersize=first.get_markersize(),
        markerfacecolor=GREY if first.get_markerfacecolor() == first.get_color() else "white",
    )


def draw_panel(axes: Axes, panel: Panel, sizes: Sizes) -> None:
    """Draw a panel on axes, but for its legend."""
    bands = sum(line.spread is not None and line.style == "line" for line in panel.lines)
    for line in panel.lines:
        _draw_line(axes, line, sizes, with_band=bands <= MOST_BANDS)
    for limit in panel.limits:
        width = 1.2 * sizes.scale
        axes.axhline(limit.value, color=GREY, linestyle="dotted", linewidth=width, zorder=1.5)
    for limit, dash in zip(panel.verticals, (":", "--", "-."), strict=False):
        axes.axvline(
            limit.value, color=GREY, linestyle=dash, linewidth=sizes.line, label=limit.label
        )
    _set_scale(axes, "x", panel.x_kind)
    _set_scale(axes, "y", panel.y_kind)
    axes.set_xlabel(panel.x, fontsize=sizes.text)
    axes.set_ylabel(panel.y, fontsize=sizes.text)
    if panel.title:  # or else the user's axes keep theirs
        axes.set_title(panel.title, fontsize=sizes.text)
    if panel.y_from_zero:
        axes.set_ylim(0, None)
    axes.grid(alpha=0.3)
    if sizes.frame is not None:
        axes.tick_params(which="both", labelsize=sizes.small, width=sizes.frame)
        axes.tick_params(length=2.5)
        axes.grid(linewidth=sizes.frame)
        for spine in axes.spines.values():
            spine.set_linewidth(sizes.frame)
    _label_at_lines(axes, panel, sizes)


def _label_at_lines(axes: Axes, panel: Panel, sizes: Sizes) -> None:
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
            fontsize=sizes.small,
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


def _draw_line(axes: Axes, line: Line, sizes: Sizes, *, with_band: bool) -> None:
    style: dict[str, Any] = {"color": line.colour, "label": line.label, "linewidth": sizes.line}
    if line.style == "dotted":
        axes.plot(line.x, line.y, **style | {"linestyle": "dotted", "zorder": 1.6})
        return
    if line.style == "thin":
        thin = {"linewidth": 0.8 * sizes.scale, "alpha": 0.35, "zorder": 1.4}
        axes.plot(line.x, line.y, **style | thin)
        return
    style["linestyle"] = DASHES[line.dash % len(DASHES)]
    marks: dict[str, Any] = {"marker": line.mark, "markersize": sizes.mark}
    marks["markevery"] = max(1, math.ceil(len(line.x) / _MOST_MARKS))
    if line.style in {"marks", "open", "crosses", "edge"}:
        style |= marks | {"linestyle": "none"}
        if line.style == "open":
            style["markerfacecolor"] = "white"
    elif line.style == "both":
        style |= marks
    if line.style == "edge":
        # The height in shares of the axes: 1 is the upper edge.
        style |= {"transform": axes.get_xaxis_transform(), "clip_on": False, "markevery": 1}
        axes.plot(line.x, np.ones(len(line.x)), **style)
        return
    axes.plot(line.x, line.y, **style)
    if line.spread is None or len(line.x) == 0:
        return
    # A lower end that a logarithmic axis can show.
    below = np.where(line.y > 0, np.minimum(line.spread, 0.9 * line.y), line.spread)
    if line.style == "line" and with_band:
        low, high = line.y - below, line.y + line.spread
        axes.fill_between(line.x, low, high, color=line.colour, alpha=0.15, linewidth=0, zorder=1)
    elif line.style != "line":
        thinned = slice(None, None, marks["markevery"])
        axes.errorbar(
            line.x[thinned],
            line.y[thinned],
            [below[thinned], line.spread[thinned]],
            color=line.colour,
            linestyle="none",
            capsize=2 * sizes.scale,
            elinewidth=0.9 * sizes.scale,
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
        low, high = axis.get_view_interval()
        wide = abs(high - low) >= _WIDE_ANGLES
        axis.set_major_locator(
            MultipleLocator(30) if wide else MaxNLocator(6, steps=[1, 1.5, 3, 6, 10])
        )
    elif kind == "whole":
        axis.set_major_locator(MaxNLocator(integer=True))
