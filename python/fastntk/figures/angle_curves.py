# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gradient angle against input angle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastntk._support import arguments
from fastntk.activations import label_of
from fastntk.figures.panels import Line, Panel, Sheet, draw, levels
from fastntk.figures.style import PRINT

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.figure import Figure

    _Array = npt.NDArray[np.float64]


class AngleCurvesLike(Protocol):
    """What is drawn of `fastntk.AngleCurves`; angles are in radians."""

    @property
    def theta(self) -> _Array:
        """Input angles, (angles,)."""

    @property
    def depths(self) -> tuple[int, ...]:
        """Numbers of hidden layers."""

    @property
    def activations(self) -> tuple[str, ...]:
        """Names of activations."""

    @property
    def infinite(self) -> _Array:
        """Gradient angles at infinite width, (activations, depths, angles)."""

    @property
    def width(self) -> int | None:
        """The width of random networks, if there are any."""

    @property
    def mean(self) -> _Array | None:
        """The mean of their gradient angles, (activations, depths, angles)."""

    @property
    def deviation(self) -> _Array | None:
        """The standard deviation of their gradient angles, (activations, depths, angles)."""


def plot_angle_curves(curves: AngleCurvesLike) -> Figure:
    """Return a figure like Figures 1 and 2 of arXiv 2305.08813, a panel for each activation.

    Lines are networks of infinite width, marks the means over random networks and error bars their
    standard deviations. Below the dotted diagonal the gradients are closer than the inputs.
    """
    return draw(angle_curves_sheet(curves), PRINT)


def angle_curves_sheet(curves: AngleCurvesLike) -> Sheet:
    """Return the same as data; panels are called as the activations are."""
    arguments.like(curves, "curves", AngleCurvesLike, "fastntk.AngleCurves")
    title = "" if curves.width is None else f"lines: infinite width; marks: width {curves.width}"
    return Sheet(
        title=title,
        panels=[_panel(curves, i, str(name)) for i, name in enumerate(curves.activations)],
        columns=3,
    )


def _panel(curves: AngleCurvesLike, i: int, name: str) -> Panel:
    theta = np.degrees(curves.theta)
    level = levels(curves.depths)
    lines = [Line(x=theta, y=theta, label="gradient = input", style="dotted", hue=None)]
    for k, depth in enumerate(curves.depths):
        angles = np.degrees(curves.infinite[i, k])
        lines.append(Line(x=theta, y=angles, label=f"depth {depth}", level=level[depth]))
        if curves.mean is not None and curves.deviation is not None:
            lines.append(
                Line(
                    x=theta,
                    y=np.degrees(curves.mean[i, k]),
                    spread=np.degrees(curves.deviation[i, k]),
                    label="",
                    style="marks",
                    level=level[depth],
                )
            )
    return Panel(
        x="input angle (degrees)",
        y="gradient angle (degrees)",
        lines=lines,
        name=name,
        title=label_of(name),
        x_kind="degrees",
        y_kind="degrees",
    )
