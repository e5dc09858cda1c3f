# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Hessians, kernels and weights of trained networks against their width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastntk._support import arguments
from fastntk._support.display import counted
from fastntk.figures.panels import Line, Panel, Sheet, draw
from fastntk.figures.style import PRINT, LabelledActivation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# The columns of the summary, as the axes call them.
_QUANTITIES = {
    "hessian_norm": "‖H‖ at the start",
    "gradient_norm": "‖∇f‖ at the start",
    "relative_change": "‖K − K₀‖/‖K₀‖ after training",
    "weight_change": "‖w − w₀‖₂ after training",
    "weight_change_max": "‖w − w₀‖ in the maximum norm",
    "linear_error": "distance from the linear model",
}


class ConstancyStudyLike(Protocol):
    """What is drawn of a `fastntk.ConstancyStudy`."""

    @property
    def n_samples(self) -> int:
        """The number of training samples."""

    @property
    def depth(self) -> int:
        """The number of wide hidden layers."""

    @property
    def bottleneck(self) -> int:
        """The width of the narrow layer."""

    @property
    def activation(self) -> LabelledActivation:
        """The activation of the hidden layers."""

    @property
    def loss_target(self) -> float:
        """The loss at which training ended."""

    def summary(self) -> pd.DataFrame:
        """Return a row for each architecture and width: means over seeds, and deviations."""


def plot_constancy(study: ConstancyStudyLike) -> Figure:
    """Return a figure: each quantity against the width, a line for each architecture.

    Means over seeds with standard deviations, on logarithmic axes.
    """
    return draw(constancy_sheet(study), PRINT)


def constancy_sheet(study: ConstancyStudyLike, data: str = "") -> Sheet:
    """Return the same as data, with the name of the samples in its title."""
    arguments.like(study, "study", ConstancyStudyLike, "a fastntk.ConstancyStudy")
    summary = study.summary()
    seeds = counted(int(summary["seeds"].max()), "seed")
    return Sheet(
        title=(
            f"{data}{': ' * bool(data)}n = {study.n_samples}, {study.depth} hidden layers, "
            f"{study.activation.label}, bottleneck {study.bottleneck}, {seeds},\n"
            f"trained to a loss of {study.loss_target:g}"
        ),
        panels=[_panel(summary, name, label) for name, label in _QUANTITIES.items()],
        columns=3,
    )


def _panel(summary: pd.DataFrame, name: str, label: str) -> Panel:
    lines = []
    for hue, (architecture, rows) in enumerate(summary.groupby("architecture", sort=False)):
        known = rows[np.isfinite(rows[name]) & (rows[name] > 0)]
        lines.append(
            Line(
                x=known["width"].to_numpy(np.float64),
                y=known[name].to_numpy(np.float64),
                spread=known[f"{name}_std"].fillna(0.0).to_numpy(np.float64),
                label=str(architecture),
                style="both",
                hue=hue,
            )
        )
    # Axes without a point, as where no network reached the target, have no logarithm of anything.
    kind = "log" if any(len(line.x) for line in lines) else "linear"
    return Panel(x="width m", y=label, lines=lines, name=name, x_kind=kind, y_kind=kind)
