# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Smallest gradient angle and condition number against depth."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from matplotlib.figure import Figure

from fastntk._support import arguments
from fastntk.activations import label_of
from fastntk.figures.style import STYLES, legend, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import numpy.typing as npt
    import pandas as pd
    from matplotlib.axes import Axes

    _Array = npt.NDArray[np.float64]

# One for each width.
_LINES = ("-", "--", "-.", ":")


class DepthStudyLike(Protocol):
    """What is drawn of a `fastntk.DepthStudy`."""

    @property
    def n_samples(self) -> int:
        """The number of samples."""

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of the networks, infinite width left out."""

    @property
    def activation_scales(self) -> Mapping[str, float]:
        """The factor c_φ of each activation."""

    @property
    def weight_std(self) -> float:
        """The standard deviation σ_w of the weights."""

    @property
    def bias_std(self) -> float:
        """The standard deviation σ_b of the biases."""

    @property
    def parametrization(self) -> str:
        """How the kernel weighs the layers."""

    @property
    def dtype(self) -> str:
        """The precision of the networks."""

    @property
    def batch_size(self) -> int | None:
        """Samples in a minibatch, if there are any."""

    @property
    def limit_activations(self) -> tuple[str, ...]:
        """The activations for which the limits are known."""

    @property
    def limit_angle(self) -> float:
        """The angle at infinite depth and width, in degrees, or NaN."""

    @property
    def limit_condition_number(self) -> float:
        """κ at infinite depth and width, or NaN."""

    def summary(self) -> pd.DataFrame:
        """Return a row for each activation, width and depth."""


def plot_depth_study(study: DepthStudyLike) -> Figure:
    """Return a figure like Figure 3 of arXiv 2305.08813.

    Left the smallest gradient angle, right κ on a logarithmic axis, both against depth; marks are
    means over seeds and error bars standard deviations, pale lines behind them the networks of
    infinite width, and crosses κ of minibatches. Where λ_min is not resolved an open mark shows the
    bound λ_max/noise floor, which κ exceeds. Dotted lines are the limits of infinite depth and
    width: of the angle where there are no biases and no two samples are parallel, of κ where
    moreover all samples have the same norm; both for activations that are piecewise linear with a
    kink, such as ReLU.
    """
    arguments.like(study, "study", DepthStudyLike, "a fastntk.DepthStudy")
    summary = study.summary()
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    panels = angle, kappa = figure.subplots(1, 2)
    colours = dict(zip(summary["activation"].unique(), itertools.cycle(STYLES), strict=False))
    groups: Any = summary.groupby(["activation", "width"], sort=False)
    for (name, width), rows in groups:
        label = label_of(name)
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
    angle.set(ylabel="smallest gradient angle (degrees)", ylim=(0, None))
    kappa.set(ylabel="condition number κ", yscale="log")
    for axes in panels:
        whole_numbers(axes, "depth")
        legend(axes)
    figure.suptitle(_settings_of(study), fontsize="medium")
    return figure


def _settings_of(study: DepthStudyLike) -> str:
    widths = ", ".join(map(str, study.widths))
    scales = ", ".join(
        f"{label_of(name)}: {scale:.4g}" for name, scale in study.activation_scales.items()
    )
    return (
        f"{study.n_samples} samples, width {widths}, σ_w {study.weight_std:g}, "
        f"σ_b {study.bias_std:g}, parametrization {study.parametrization}, {study.dtype}\n"
        f"c_φ of {scales}"
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


def _plot_limits(panels: Iterable[Axes], study: DepthStudyLike) -> None:
    names = ", ".join(label_of(name) for name in study.limit_activations)
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
