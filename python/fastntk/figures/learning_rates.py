# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A search for a learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastntk._support import arguments
from fastntk.figures.panels import Limit, Line, Panel, Sheet, draw
from fastntk.figures.style import PRINT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class LearningRateSearchLike(Protocol):
    """What is drawn of a `fastntk.LearningRateSearch`."""

    @property
    def loss_target(self) -> float | None:
        """The loss that was to be reached, if there was one."""

    @property
    def bound(self) -> float:
        """The bound from the kernel."""

    @property
    def best(self) -> float:
        """The learning rate that was chosen, or NaN."""

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each learning rate."""


def plot_learning_rates(search: LearningRateSearchLike) -> Figure:
    """Return a figure: the final loss, and the epochs to the target, against the learning rate.

    Open marks are trainings whose loss rose above its start, crosses on the upper edge those that
    diverged; the dotted line is the bound from the kernel, the dashed one the rate that was chosen.
    """
    return draw(learning_rates_sheet(search), PRINT)


def learning_rates_sheet(search: LearningRateSearchLike) -> Sheet:
    """Return the same as data: the panels "final_loss" and, with a target, "epochs_to_target"."""
    arguments.like(search, "search", LearningRateSearchLike, "a fastntk.LearningRateSearch")
    panels = [_panel(search, "final_loss", "final loss", "log")]
    if search.loss_target is not None:
        panels.append(_panel(search, "epochs_to_target", "epochs to the target", "whole"))
    return Sheet(title="", panels=panels)


def _panel(search: LearningRateSearchLike, column: str, label: str, kind: str) -> Panel:
    frame = search.to_frame()
    status, rates = frame["status"], frame["learning_rate"].to_numpy(np.float64)
    values = frame[column].to_numpy(np.float64)
    diverged = (status == "diverged").to_numpy(bool)
    if kind == "log" and not np.any(values[~diverged] > 0):
        kind = "linear"  # nothing has a logarithm where all trainings diverged
    unstable = (status == "unstable").to_numpy(bool)
    lines = [Line(x=rates[~diverged], y=values[~diverged], label="")]
    for chosen, text, style, hue in (
        (~diverged & ~unstable, "stable", "marks", 0),
        (unstable, "loss rose above its start", "open", 0),
        (diverged, "diverged", "edge", 1),
    ):
        if chosen.any():
            lines.append(Line(x=rates[chosen], y=values[chosen], label=text, style=style, hue=hue))
    verticals = [Limit(value=search.bound, label="bound from the kernel")]
    if np.isfinite(search.best):
        verticals.append(Limit(value=search.best, label="chosen"))
    return Panel(
        x="learning rate",
        y=label,
        lines=lines,
        verticals=verticals,
        name=column,
        x_kind="log",
        y_kind=kind,
    )
