# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gradient angle against input angle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from matplotlib.figure import Figure

from fastntk._support import arguments
from fastntk.activations import label_of
from fastntk.figures.style import STYLES

if TYPE_CHECKING:
    import numpy.typing as npt

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
    arguments.like(curves, "curves", AngleCurvesLike, "fastntk.AngleCurves")
    count = len(curves.activations)
    figure = Figure(figsize=(3.2 * count + 0.8, 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, count, sharex=True, sharey=True))
    theta = np.degrees(curves.theta)
    for i, (axes, name) in enumerate(zip(panels, curves.activations, strict=True)):
        axes.plot(theta, theta, color="0.5", linestyle="dotted", label="gradient = input")
        for k, depth in enumerate(curves.depths):
            colour, mark = STYLES[k % len(STYLES)]
            label = f"depth {depth}"
            axes.plot(theta, np.degrees(curves.infinite[i, k]), color=colour, label=label)
            if curves.mean is not None and curves.deviation is not None:
                axes.errorbar(
                    theta,
                    np.degrees(curves.mean[i, k]),
                    np.degrees(curves.deviation[i, k]),
                    color=colour,
                    marker=mark,
                    markersize=3,
                    linestyle="none",
                    capsize=2,
                )
        axes.set(title=label_of(name), xlabel="input angle (degrees)")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("gradient angle (degrees)")
    panels[0].legend(frameon=False, fontsize="small")
    if curves.width is not None:
        figure.suptitle(f"lines: infinite width; marks: width {curves.width}", fontsize="medium")
    return figure
