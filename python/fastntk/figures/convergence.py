# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training curves of several depths, and rates of convergence beside κ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastntk._support import arguments
from fastntk.figures.panels import Limit, Line, Panel, Sheet, draw, levels
from fastntk.figures.style import PRINT, LabelledActivation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class ConvergenceStudyLike(Protocol):
    """What is drawn of a `fastntk.ConvergenceStudy`."""

    @property
    def n_samples(self) -> int:
        """The number of training samples."""

    @property
    def width(self) -> int:
        """The width of the hidden layers."""

    @property
    def activation(self) -> LabelledActivation:
        """The activation of the hidden layers."""

    @property
    def activation_scale(self) -> float:
        """Its factor c_φ."""

    @property
    def dtype(self) -> str:
        """The precision of the networks."""

    @property
    def batch_size(self) -> int:
        """Samples of a step."""

    @property
    def loss_target(self) -> float:
        """The loss that was to be reached."""

    def summary(self) -> pd.DataFrame:
        """Return a row for each depth: means over seeds, and standard deviations."""

    def curves(self) -> pd.DataFrame:
        """Return a row for each depth, seed and epoch."""


def plot_convergence_study(study: ConvergenceStudyLike) -> Figure:
    """Return a figure: `figure4` on the left; epochs to the target, and rates, against depth.

    Means over seeds with standard deviations. Rates are 1 minus the factor of the square loss at a
    step: predicted from κ, that of the linear model in the window of the fit, and measured, with an
    open mark where the training did not get to the tail for all seeds.
    """
    return draw(convergence_sheet(study), PRINT)


def figure4(study: ConvergenceStudyLike) -> Figure:
    """Return a figure like Figure 4 of arXiv 2305.08813: training loss against epochs.

    A line for each depth, the mean over seeds, in a band of a standard deviation to either side
    where there are few of them.
    """
    _require(study)
    return draw(Sheet(title=_settings_of(study), panels=[_losses(study)]), PRINT)


def convergence_sheet(study: ConvergenceStudyLike) -> Sheet:
    """Return `plot_convergence_study` as data: the panels "loss", "epochs" and "rates"."""
    _require(study)
    summary = study.summary()
    return Sheet(
        title=_settings_of(study),
        panels=[_losses(study), _epochs(study, summary), _rates(summary)],
        columns=3,
    )


def _require(study: ConvergenceStudyLike) -> None:
    arguments.like(study, "study", ConvergenceStudyLike, "a fastntk.ConvergenceStudy")


def _settings_of(study: ConvergenceStudyLike) -> str:
    return (
        f"{study.n_samples} samples, width {study.width}, batches of {study.batch_size},\n"
        f"{study.activation.label}, $c_\\phi$ {study.activation_scale:.4g}, {study.dtype}"
    )


def _losses(study: ConvergenceStudyLike) -> Panel:
    curves = study.curves()
    level = levels(curves["depth"].tolist())
    lines = []
    for depth, rows in curves.groupby("depth"):
        cell = rows.groupby("epoch")["loss"].agg(["mean", "std"])
        lines.append(
            Line(
                x=cell.index.to_numpy(np.float64),
                y=cell["mean"].to_numpy(np.float64),
                spread=cell["std"].fillna(0.0).to_numpy(np.float64),
                label=f"depth {depth}",
                level=level[depth],  # type: ignore[index]
            )
        )
    return Panel(
        x="epoch",
        y="training loss (cross-entropy)",
        lines=lines,
        limits=[Limit(value=study.loss_target, label="target")],
        name="loss",
        x_kind="whole",
        y_kind="log",
    )


def _epochs(study: ConvergenceStudyLike, summary: pd.DataFrame) -> Panel:
    line = Line(
        x=summary["depth"].to_numpy(np.float64),
        y=summary["epochs_to_target"].to_numpy(np.float64),
        spread=summary["epochs_to_target_std"].to_numpy(np.float64),
        label="",
        style="both",
    )
    return Panel(
        x="depth",
        y=f"epochs to a loss of {study.loss_target:g}",
        lines=[line],
        name="epochs",
        x_kind="whole",
        y_from_zero=True,
    )


def _rates(summary: pd.DataFrame) -> Panel:
    depths = summary["depth"].to_numpy(np.float64)
    lines = []
    for hue, (name, label) in enumerate(
        (("predicted", "predicted"), ("linear", "linear model"), ("measured", "measured"))
    ):
        missing = 1 - summary[f"{name}_rate"].to_numpy(np.float64)
        spread = summary[f"{name}_rate_std"].fillna(0.0).to_numpy(np.float64)
        lines.append(Line(x=depths, y=missing, spread=spread, label=label, style="both", hue=hue))
    short = (summary["rates_resolved"] < summary["seeds"]).to_numpy(bool)
    if short.any():
        lines.append(
            Line(
                x=depths[short],
                y=missing[short],
                label="measured, before the tail",
                style="open",
                hue=hue,
            )
        )
    return Panel(
        x="depth",
        y="1 − factor of the square loss a step",
        lines=lines,
        name="rates",
        x_kind="whole",
        y_kind="log",
    )
