# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training curves of several depths, and rates of convergence beside κ."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from fastntk._support import arguments
from fastntk.figures.style import STYLES, LabelledActivation, whole_numbers

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


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
    arguments.like(study, "study", ConvergenceStudyLike, "a fastntk.ConvergenceStudy")
    figure = Figure(figsize=(12.5, 3.8), layout="constrained")
    curves, epochs, rates = figure.subplots(1, 3)
    _plot_losses(curves, study)
    summary = study.summary()
    style: dict[str, Any] = {"capsize": 2, "linewidth": 1.2, "markersize": 5}
    epochs.errorbar(
        summary["depth"],
        summary["epochs_to_target"],
        summary["epochs_to_target_std"],
        color=STYLES[0][0],
        marker=STYLES[0][1],
        **style,
    )
    epochs.set(ylabel=f"epochs to a loss of {study.loss_target:g}", ylim=(0, None))
    for (name, label), (colour, mark) in zip(
        (("predicted", "predicted"), ("linear", "linear model"), ("measured", "measured")),
        STYLES,
        strict=False,
    ):
        missing = 1 - summary[f"{name}_rate"]
        spread = summary[f"{name}_rate_std"].fillna(0.0)
        below = np.minimum(spread, 0.9 * missing.abs())
        rates.errorbar(
            summary["depth"],
            missing,
            [below, spread],
            color=colour,
            marker=mark,
            label=label,
            **style,
        )
        if name == "measured":
            open_mark = summary["rates_resolved"] < summary["seeds"]
            rates.plot(
                summary["depth"][open_mark],
                missing[open_mark],
                color=colour,
                marker=mark,
                markersize=style["markersize"],
                markerfacecolor="white",
                linestyle="none",
                zorder=3,
            )
    rates.set(ylabel="1 − factor of the square loss a step", yscale="log")
    rates.legend(frameon=False)
    for axes in (epochs, rates):
        whole_numbers(axes, "depth")
    figure.suptitle(_settings_of(study), fontsize="medium")
    return figure


def figure4(study: ConvergenceStudyLike) -> Figure:
    """Return a figure like Figure 4 of arXiv 2305.08813: training loss against epochs.

    A line for each depth, the mean over seeds, in a band of a standard deviation to either side.
    """
    arguments.like(study, "study", ConvergenceStudyLike, "a fastntk.ConvergenceStudy")
    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    _plot_losses(figure.subplots(), study)
    figure.suptitle(_settings_of(study), fontsize="medium")
    return figure


def _settings_of(study: ConvergenceStudyLike) -> str:
    return (
        f"{study.n_samples} samples, width {study.width}, batches of {study.batch_size},\n"
        f"{study.activation.label}, c_φ {study.activation_scale:.4g}, {study.dtype}"
    )


def _plot_losses(axes: Axes, study: ConvergenceStudyLike) -> None:
    groups = list(study.curves().groupby("depth"))
    # From dark to light, in the order of the depths.
    colours = colormaps["viridis"](np.linspace(0.0, 0.9, len(groups)))
    for (depth, rows), colour in zip(groups, colours, strict=True):
        cell = rows.groupby("epoch")["loss"].agg(["mean", "std"])
        mean, spread = cell["mean"].to_numpy(), cell["std"].fillna(0.0).to_numpy()
        axes.plot(cell.index, mean, color=colour, label=f"depth {depth}")
        low = np.maximum(mean - spread, 0.1 * mean)
        axes.fill_between(cell.index, low, mean + spread, color=colour, alpha=0.2, linewidth=0)
    axes.axhline(study.loss_target, color="0.5", linestyle="dotted")
    axes.set(xlabel="epoch", ylabel="training loss (cross-entropy)", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize="small")
