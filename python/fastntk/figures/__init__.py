# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures. They are returned, never shown: notebooks display them, `save` writes them."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fastntk._support.files import replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes

    from fastntk.studies.angle_curves import AngleCurves
    from fastntk.studies.convergence_results import ConvergenceStudy
    from fastntk.studies.linearization import LinearizationStudy
    from fastntk.studies.results import DepthStudy
    from fastntk.training.history import History
    from fastntk.training.learning_rate_search import LearningRateSearch

    _Array = npt.NDArray[np.float64]

# Colours that readers with any colour vision can tell apart (Okabe & Ito), and another mark each.
_STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)
# More entries of a legend than that would hide what is drawn: they go below the axes.
_MOST_INSIDE = 4
# One for each width.
_LINES = ("-", "--", "-.", ":")
_LABELS = {
    "relu": "ReLU",
    "identity": "linear network",
    "relu2": "ReLU²",
    "gelu": "GELU",
}


def plot_depth_study(study: DepthStudy) -> Figure:
    """Return a figure like Figure 3 of arXiv 2305.08813.

    Left the smallest gradient angle, right κ on a logarithmic axis, both against depth; marks are
    means over seeds and error bars standard deviations, pale lines behind them the networks of
    infinite width, and crosses κ of minibatches. Where λ_min is not resolved an open mark shows the
    bound λ_max/noise floor, which κ exceeds. Dotted lines are the limits of infinite depth and
    width: of the angle where there are no biases and no two samples are parallel, of κ where
    moreover all samples have the same norm; both for activations that are piecewise linear with a
    kink, such as ReLU.
    """
    summary = study.summary()
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    panels = angle, kappa = figure.subplots(1, 2)
    colours = dict(zip(summary["activation"].unique(), itertools.cycle(_STYLES), strict=False))
    groups: Any = summary.groupby(["activation", "width"], sort=False)
    for (name, width), rows in groups:
        label = _LABELS.get(name, name)
        colour, mark = colours[name]
        if np.isinf(width):
            _plot_infinite_width(panels, rows, f"{label}, infinite width", colour)
            continue
        if len(study.widths) > 1:
            label = f"{label}, width {width:g}"
        style: dict[str, Any] = {
            "color": colour,
            "marker": mark,
            "markersize": 5,
            "capsize": 2,
            "linewidth": 1.2,
            "linestyle": _LINES[study.widths.index(width) % len(_LINES)],
        }
        angle.errorbar(
            rows["depth"], rows["smallest_angle"], rows["smallest_angle_std"], label=label, **style
        )
        _plot_condition_number(kappa, rows, label, style)
        if study.batch_size is not None:
            _plot_batches(kappa, rows, f"{label}: batches of {study.batch_size}", style)
    _plot_limits(panels, study)
    angle.set(xlabel="depth", ylabel="smallest gradient angle (degrees)", ylim=(0, None))
    kappa.set(xlabel="depth", ylabel="condition number κ", yscale="log")
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        _legend(axes)
    widths = ", ".join(map(str, study.widths))
    figure.suptitle(f"{study.n_samples} samples, width {widths}", fontsize="medium")
    return figure


def _legend(axes: Axes) -> None:
    entries = len(axes.get_legend_handles_labels()[1])
    if entries <= _MOST_INSIDE:
        axes.legend(frameon=False, fontsize="small")
    else:
        axes.legend(
            frameon=False, fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.16)
        )


def _plot_condition_number(
    axes: Axes, rows: pd.DataFrame, label: str, style: dict[str, Any]
) -> None:
    known = rows[rows["resolved"]]
    if len(known):
        mean, bars = _bars(known["condition_number"], known["condition_number_std"])
        axes.errorbar(known["depth"], mean, bars, label=label, **style)
    unknown = rows[~rows["resolved"]]
    if len(unknown):
        axes.plot(
            unknown["depth"],
            unknown["eigenvalue_max"] / unknown["noise_floor"],
            linestyle="none",
            marker=style["marker"],
            markersize=style["markersize"],
            markerfacecolor="none",
            color=style["color"],
            label=f"{label}: λ_min unresolved, κ above",
        )


def _bars(mean: Any, spread: Any) -> tuple[_Array, list[_Array]]:
    """Return means and error bars with a lower end on a logarithmic axis, which 0 would not be."""
    mean, spread = np.asarray(mean, dtype=np.float64), np.asarray(spread, dtype=np.float64)
    return mean, [np.minimum(spread, 0.9 * mean), spread]


def _plot_batches(axes: Axes, rows: pd.DataFrame, label: str, style: dict[str, Any]) -> None:
    """Draw κ of minibatches, with its spread over the batches."""
    known = rows[np.isfinite(rows["batch_condition_number"])]
    if len(known):
        mean, bars = _bars(known["batch_condition_number"], known["batch_spread"])
        crosses = style | {"marker": "x", "linewidth": 0.6}
        axes.errorbar(known["depth"], mean, bars, label=label, **crosses)


def _plot_infinite_width(
    panels: Iterable[Axes], rows: pd.DataFrame, label: str, colour: str
) -> None:
    """Draw the limit of infinite width behind the marks; of κ, where it is resolved."""
    for axes, column in zip(panels, ("smallest_angle", "condition_number"), strict=True):
        if np.isfinite(rows[column]).any():
            axes.plot(
                rows["depth"],
                rows[column],
                color=colour,
                linewidth=4,
                alpha=0.3,
                zorder=1,
                label=label,
            )


def _plot_limits(panels: Iterable[Axes], study: DepthStudy) -> None:
    names = ", ".join(_LABELS.get(name, name) for name in study.limit_activations)
    limits = (study.limit_angle, study.limit_condition_number)
    for axes, limit in zip(panels, limits, strict=True):
        if np.isfinite(limit):
            axes.axhline(
                limit,
                color="0.4",
                linestyle="dotted",
                linewidth=1.2,
                label=f"{names}: limit of infinite depth",
            )


def plot_angle_curves(curves: AngleCurves) -> Figure:
    """Return a figure like Figures 1 and 2 of arXiv 2305.08813, a panel for each activation.

    Lines are networks of infinite width, marks the means over random networks and error bars their
    standard deviations. Below the dotted diagonal the gradients are closer than the inputs.
    """
    count = len(curves.activations)
    figure = Figure(figsize=(3.2 * count + 0.8, 3.4), layout="constrained")
    panels = np.atleast_1d(figure.subplots(1, count, sharex=True, sharey=True))
    theta = np.degrees(curves.theta)
    for i, (axes, name) in enumerate(zip(panels, curves.activations, strict=True)):
        axes.plot(theta, theta, color="0.5", linestyle="dotted", label="gradient = input")
        for k, depth in enumerate(curves.depths):
            colour, mark = _STYLES[k % len(_STYLES)]
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
        axes.set(title=_LABELS.get(name, name), xlabel="input angle (degrees)")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("gradient angle (degrees)")
    panels[0].legend(frameon=False, fontsize="small")
    if curves.width is not None:
        figure.suptitle(f"lines: infinite width; marks: width {curves.width}", fontsize="medium")
    return figure


def plot_history(history: History) -> Figure:
    """Return a figure of a training: loss and, where there is one, accuracy against epochs.

    Without accuracies the right half shows how far the weights have moved.
    """
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = np.arange(1, history.epochs + 1)
    panels: list[tuple[Axes, str, list[tuple[str, Any]]]] = [
        (
            left,
            "loss",
            [("training", history.loss), ("validation", history.validation_loss)],
        )
    ]
    if history.accuracy is None:
        changes = [("‖w − w₀‖₂", history.weight_change), ("‖w − w₀‖∞", history.weight_change_max)]
        panels.append((right, "change of the weights", changes))
    else:
        shares = [("training", history.accuracy), ("validation", history.validation_accuracy)]
        panels.append((right, "accuracy", shares))
    for axes, label, curves in panels:
        for (name, values), (colour, mark) in zip(curves, _STYLES, strict=False):
            if values is not None:
                axes.plot(epochs, values, color=colour, marker=mark, markersize=3, label=name)
        axes.set(xlabel="epoch", ylabel=label)
        # Nothing to show on a logarithmic axis where all has been lost, or nothing was.
        if label != "accuracy" and all(np.any(v > 0) for _, v in curves if v is not None):
            axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    figure.suptitle(f"{history.net!r}: {history.status}", fontsize="medium")
    return figure


def plot_convergence_study(study: ConvergenceStudy) -> Figure:
    """Return a figure: `figure4` on the left; epochs to the target, and rates, against depth.

    Means over seeds with standard deviations. Rates are 1 minus the factor of the square loss at a
    step: predicted from κ, that of the linear model in the window of the fit, and measured, with an
    open mark where the training did not get to the tail for all seeds.
    """
    figure = Figure(figsize=(12.5, 3.8), layout="constrained")
    curves, epochs, rates = figure.subplots(1, 3)
    _plot_losses(curves, study)
    summary = study.summary()
    style: dict[str, Any] = {"capsize": 2, "linewidth": 1.2, "markersize": 5}
    epochs.errorbar(
        summary["depth"],
        summary["epochs_to_target"],
        summary["epochs_to_target_std"],
        color=_STYLES[0][0],
        marker=_STYLES[0][1],
        **style,
    )
    epochs.set(ylabel=f"epochs to a loss of {study.loss_target:g}", ylim=(0, None))
    for (name, label), (colour, mark) in zip(
        (("predicted", "predicted"), ("linear", "linear model"), ("measured", "measured")),
        _STYLES,
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
        axes.set_xlabel("depth")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    figure.suptitle(_settings_of(study), fontsize="medium")
    return figure


def figure4(study: ConvergenceStudy) -> Figure:
    """Return a figure like Figure 4 of arXiv 2305.08813: training loss against epochs.

    A line for each depth, the mean over seeds, in a band of a standard deviation to either side.
    """
    figure = Figure(figsize=(5.6, 4.0), layout="constrained")
    _plot_losses(figure.subplots(), study)
    figure.suptitle(_settings_of(study), fontsize="medium")
    return figure


def table1(study: ConvergenceStudy) -> pd.DataFrame:
    """Return a table like Table 1 of arXiv 2305.08813: test accuracy against depth.

    Returns
    -------
    DataFrame
        Accuracies after the last epoch in per cent: mean over seeds, standard deviation, and the
        standard error of the mean.
    """
    summary = study.summary()
    table = summary[["depth", "seeds", "learning_rate"]].copy()
    table["test_accuracy"] = 100 * summary["test_accuracy"]
    table["standard_deviation"] = 100 * summary["test_accuracy_std"]
    table["standard_error"] = table["standard_deviation"] / np.sqrt(table["seeds"])
    return table


def _settings_of(study: ConvergenceStudy) -> str:
    return f"{study.n_samples} samples, width {study.width}, batches of {study.batch_size}"


def _plot_losses(axes: Axes, study: ConvergenceStudy) -> None:
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


def plot_learning_rates(search: LearningRateSearch) -> Figure:
    """Return a figure: the final loss, and the epochs to the target, against the learning rate.

    Open marks are trainings whose loss rose above its start, crosses on the upper edge those that
    diverged; the dotted line is the bound from the kernel, the dashed one the rate that was chosen.
    """
    frame = search.to_frame()
    with_target = search.loss_target is not None
    figure = Figure(figsize=(9.0 if with_target else 4.6, 3.4), layout="constrained")
    panels = figure.subplots(1, 2 if with_target else 1, squeeze=False)[0]
    finite = frame[frame["status"] != "diverged"]
    unstable = finite["status"] == "unstable"
    colour, mark = _STYLES[0]
    for axes, column, label in zip(
        panels,
        ("final_loss", "epochs_to_target"),
        ("final loss", "epochs to the target"),
        strict=False,
    ):
        axes.plot(finite["learning_rate"], finite[column], color=colour, linewidth=1.2)
        for rows, fill in ((finite[~unstable], colour), (finite[unstable], "none")):
            axes.plot(
                rows["learning_rate"],
                rows[column],
                color=colour,
                marker=mark,
                markerfacecolor=fill,
                linestyle="none",
            )
        diverged = frame.loc[frame["status"] == "diverged", "learning_rate"]
        if len(diverged):
            # The height in shares of the axes: 1 is the upper edge.
            axes.plot(
                diverged,
                np.ones(len(diverged)),
                color=_STYLES[1][0],
                marker="x",
                linestyle="none",
                transform=axes.get_xaxis_transform(),
                clip_on=False,
            )
        axes.axvline(search.bound, color="0.5", linestyle="dotted")
        if np.isfinite(search.best):
            axes.axvline(search.best, color="0.5", linestyle="dashed")
        axes.set(xlabel="learning rate", ylabel=label, xscale="log")
        rates = frame["learning_rate"].to_numpy()
        axes.set_xticks(rates, [f"{rate:.3g}" for rate in rates], rotation=45)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
    panels[0].set_yscale("log")
    if with_target:
        panels[1].yaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def plot_linearization(study: LinearizationStudy) -> Figure:
    """Return a figure: the distance of networks from their linear models against width.

    Marks are networks, lines the fitted power laws.
    """
    frame = study.to_frame()
    figure = Figure(figsize=(5.2, 3.6), layout="constrained")
    axes = figure.subplots()
    kinds = (
        ("error", study.fit, "training samples"),
        ("test_error", study.test_fit, "other samples"),
    )
    for (column, fit, label), (colour, mark) in zip(kinds, _STYLES, strict=False):
        rows = frame[np.isfinite(frame[column]) & (frame[column] > 0)]
        if not len(rows):
            continue
        widths, errors = rows["width"].to_numpy(float), rows[column].to_numpy(float)
        axes.plot(widths, errors, color=colour, marker=mark, linestyle="none", markersize=4)
        # Through the middle of the points on logarithmic axes.
        centre = np.exp(np.log(errors).mean() - fit.slope * np.log(widths).mean())
        ends = np.array([widths.min(), widths.max()])
        slope = f"slope {fit.slope:.2f} ± {fit.standard_error:.2f}".replace("-", "−")
        axes.plot(ends, centre * ends**fit.slope, color=colour, label=f"{label}: {slope}")
    axes.set(xlabel="width", ylabel="distance from the linear model", xscale="log", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower left")
    figure.suptitle(f"depth {study.depth}, {study.steps[-1]} steps", fontsize="medium")
    return figure


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, completely or not at all; the ending of `path` is the format."""
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=150)
