# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Smallest gradient angle and condition number against depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastntk._support import arguments
from fastntk.activations import label_of
from fastntk.figures.panels import Limit, Line, Panel, Sheet, draw
from fastntk.figures.style import PRINT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.figure import Figure

# The columns that the panels show, and where minibatches have their spread.
_ANGLE, _KAPPA, _BATCHES = "smallest_angle", "condition_number", "batch_condition_number"
_SPREAD = {_ANGLE: "smallest_angle_std", _KAPPA: "condition_number_std", _BATCHES: "batch_spread"}


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
        """Return a row for each architecture, if there are several, activation, width and depth."""


def plot_depth_study(study: DepthStudyLike) -> Figure:
    """Return a figure like Figure 3 of arXiv 2305.08813.

    Left the smallest gradient angle, right κ on a logarithmic axis, against depth or, where there
    is one depth and several widths, against width. Marks are means over seeds and error bars
    standard deviations, dotted lines the networks of infinite width, and crosses κ of minibatches.
    Where λ_min is not resolved an open mark shows the bound λ_max/noise floor, which κ exceeds.
    Labelled grey lines are the limits of infinite depth and width: of the angle where there are no
    biases and no two samples are parallel, of κ where moreover all samples have the same norm; both
    for activations that are piecewise linear with a kink, such as ReLU.
    """
    return draw(depth_study_sheet(study), PRINT)


def depth_study_sheet(study: DepthStudyLike) -> Sheet:
    """Return the same as data: the panels "smallest_angle" and "condition_number"."""
    arguments.like(study, "study", DepthStudyLike, "a fastntk.DepthStudy")
    summary = _named(study.summary())
    across = len(summary["depth"].unique()) == 1 and len(study.widths) > 1
    draw_panel = _against_width if across else _against_depth
    return Sheet(
        title=_settings_of(study),
        panels=[
            draw_panel(study, summary, _ANGLE, {"y": "smallest gradient angle (degrees)"}),
            draw_panel(study, summary, _KAPPA, {"y": "condition number κ", "y_kind": "log"}),
        ],
    )


def _named(summary: pd.DataFrame) -> pd.DataFrame:
    """Return the summary with what each line is called, ``name``: as short as tells them apart."""
    if "architecture" not in summary:
        return summary.assign(name=[label_of(each) for each in summary["activation"]])
    pairs = summary[["architecture", "activation"]].drop_duplicates()
    one = len(pairs) == len(pairs["architecture"].unique())
    names = [
        architecture if one else f"{architecture}, {label_of(activation)}"
        for architecture, activation in zip(
            summary["architecture"], summary["activation"], strict=True
        )
    ]
    return summary.assign(name=names)


def _settings_of(study: DepthStudyLike) -> str:
    widths = ", ".join(map(str, study.widths))
    scales = ", ".join(
        f"{label_of(name)}: {scale:.4g}" for name, scale in study.activation_scales.items()
    )
    return (
        f"{study.n_samples} samples, width {widths}, $\\sigma_w$ {study.weight_std:g}, "
        f"$\\sigma_b$ {study.bias_std:g}, parametrization {study.parametrization}, {study.dtype}\n"
        f"$c_\\phi$ of {scales}"
    )


def _against_depth(
    study: DepthStudyLike, summary: pd.DataFrame, column: str, axis: dict[str, Any]
) -> Panel:
    """Return a panel with a line for each architecture, activation and width."""
    hues = {name: hue for hue, name in enumerate(summary["name"].unique())}
    lines: list[Line] = []
    groups: Any = summary.groupby(["name", "width"], sort=False)
    for (name, width), rows in groups:
        if np.isinf(width):
            if np.isfinite(rows[column]).any():
                lines.append(
                    Line(
                        x=rows["depth"].to_numpy(np.float64),
                        y=rows[column].to_numpy(np.float64),
                        label="infinite width",
                        style="dotted",
                        hue=hues[name],
                    )
                )
            continue
        label = f"{name}, width {width:g}" if len(study.widths) > 1 else name
        look = {"hue": hues[name], "dash": study.widths.index(width)}
        lines += _networks(study, rows, column, ("depth", label), look)
    limit = study.limit_angle if column == _ANGLE else study.limit_condition_number
    names = ", ".join(label_of(name) for name in study.limit_activations)
    if "architecture" in summary:
        names = f"plain, {names}"
    limits = [Limit(value=limit, label=f"{names}:\ninfinite depth")] if np.isfinite(limit) else []
    return _panel("depth", "whole", column, axis, lines, limits)


def _against_width(
    study: DepthStudyLike, summary: pd.DataFrame, column: str, axis: dict[str, Any]
) -> Panel:
    """Return a panel with a line for each network, and its value at infinite width."""
    lines: list[Line] = []
    limits: list[Limit] = []
    for hue, (name, cell) in enumerate(summary.groupby("name", sort=False)):
        finite = np.isfinite(cell["width"])
        label = str(name)
        lines += _networks(study, cell[finite], column, ("width", label), {"hue": hue})
        limits += [
            Limit(value=value, label=f"{label}:\ninfinite width")
            for value in cell.loc[~finite, column]
            if np.isfinite(value)
        ]
    return _panel("width", "log", column, axis, lines, limits)


def _panel(
    x: str,
    x_kind: str,
    column: str,
    axis: dict[str, Any],
    lines: list[Line],
    limits: list[Limit],
) -> Panel:
    kind: dict[str, Any] = {"y_kind": "degrees", "y_from_zero": True} if column == _ANGLE else {}
    return Panel(x=x, lines=lines, limits=limits, name=column, x_kind=x_kind, **axis | kind)


def _networks(
    study: DepthStudyLike,
    rows: pd.DataFrame,
    column: str,
    x_and_label: tuple[str, str],
    look: dict[str, int],
) -> list[Line]:
    """Return the lines of networks of finite width: values, bounds of κ, κ of minibatches."""
    x, label = x_and_label
    if column == _ANGLE:
        return [_line(rows, x, column, label=label, style="both", **look)]
    # Also where nothing is resolved: the legend says whose colour it is.
    result = [_line(rows[rows["resolved"]], x, column, label=label, style="both", **look)]
    unknown = rows[~rows["resolved"]]
    if len(unknown):
        result.append(
            Line(
                x=unknown[x].to_numpy(np.float64),
                y=(unknown["eigenvalue_max"] / unknown["noise_floor"]).to_numpy(np.float64),
                label="$\\lambda_\\mathrm{min}$ unresolved, κ above",
                style="open",
                hue=look["hue"],
            )
        )
    if study.batch_size is not None:
        of_batches = rows[np.isfinite(rows[_BATCHES])]
        if len(of_batches):
            text = f"κ of batches of {study.batch_size}"
            result.append(_line(of_batches, x, _BATCHES, label=text, style="crosses", **look))
    return result


def _line(rows: pd.DataFrame, x: str, column: str, **look: Any) -> Line:
    return Line(
        x=rows[x].to_numpy(np.float64),
        y=rows[column].to_numpy(np.float64),
        spread=rows[_SPREAD[column]].to_numpy(np.float64),
        **look,
    )
