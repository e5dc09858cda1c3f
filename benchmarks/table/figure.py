# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The figure: ratios to the limit and to the best peer, and growth of time and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from benchmarks.table.results import grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.table.results import Curve, Results, Row

_OURS, _PEER = "#0072b2", "#d55e00"
_COLORS = (_OURS, _PEER, "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_AXES = {"n": "samples n", "m": "width m", "L": "hidden layers L"}


def draw(results: Results) -> Figure:
    """Return bars for every workload above, and curves of growth below."""
    limited = [row for row in results.rows if row.flops is not None]
    compared = [row for row in results.rows if row.best_peer() is not None]
    height = 1.5 + 0.22 * max(len(limited), len(compared), 4)
    growth = 6.0 if results.curves else 0.0
    figure = Figure(figsize=(15, height + growth), layout="constrained")
    if growth:
        parts: Any = figure.subfigures(2, 1, height_ratios=(height, growth))
        top, bottom = parts
        _draw_growth(bottom, results.curves)
        left, right = top.subplots(1, 2)
    else:
        left, right = figure.subplots(1, 2)
    _draw_limits(left, limited)
    _draw_peers(right, compared)
    return figure


def _label(row: Row) -> str:
    name = row.name.replace("`", "")
    return f"{name}, {row.dtype}" if row.flops is not None else name


def _draw_limits(axes: Any, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        axes.barh(place, row.of_limit(row.ours), color=_OURS, height=0.7)
        best = row.best_peer()
        if best is not None:
            axes.plot(row.of_limit(best), place, "|", color=_PEER, markersize=11, markeredgewidth=3)
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xlabel("useful operations over the rate of matrix multiplication\n| the best peer")
    _name_bars(axes, rows)


def _draw_peers(axes: Any, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        best = row.best_peer()
        assert best is not None
        ratio = row.times_ours(best)
        axes.barh(place, ratio - 1, left=1, color=_OURS if ratio >= 1 else _PEER, height=0.7)
        axes.annotate(
            f" {best.name}", (max(ratio, 1), place), va="center", fontsize=7, annotation_clip=False
        )
    axes.axvline(1.0, color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("time of the best peer over ours")
    _name_bars(axes, rows)


def _name_bars(axes: Any, rows: Sequence[Row]) -> None:
    axes.set_yticks(range(len(rows)), [_label(row) for row in rows], fontsize=7)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)


def _draw_growth(figure: Any, curves: Sequence[Curve]) -> None:
    panels = grouped(curves, lambda curve: f"{curve.workload}, {curve.axis}")
    colors = dict(zip(grouped(curves, lambda curve: curve.way), _COLORS, strict=False))
    grid = figure.subplots(2, len(panels), squeeze=False)
    for column, found in enumerate(panels.values()):
        for row, (quantity, name, unit) in enumerate(
            (("seconds", "seconds", 1.0), ("bytes", "MiB", 2.0**20))
        ):
            axes = grid[row][column]
            for curve in found:
                if curve.quantity == quantity:
                    axes.loglog(
                        curve.x,
                        [y / unit for y in curve.y],
                        "o-",
                        color=colors[curve.way],
                        markersize=4,
                        label=f"{curve.way}: {curve.axis}^{curve.exponent:.2f}",
                    )
            axes.set_ylabel(name)
            axes.set_xlabel(_AXES[found[0].axis])
            axes.set_xticks(found[0].x, [f"{x:g}" for x in found[0].x])
            axes.minorticks_off()
            axes.legend(fontsize=7)
            axes.spines[["top", "right"]].set_visible(False)
        grid[0][column].set_title(found[0].workload.replace("`", ""), fontsize=9)
