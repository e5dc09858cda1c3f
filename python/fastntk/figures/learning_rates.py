# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A search for a learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from fastntk._support import arguments
from fastntk.figures.style import STYLES

if TYPE_CHECKING:
    import pandas as pd


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
    arguments.like(search, "search", LearningRateSearchLike, "a fastntk.LearningRateSearch")
    frame = search.to_frame()
    with_target = search.loss_target is not None
    figure = Figure(figsize=(9.0 if with_target else 4.6, 3.4), layout="constrained")
    panels = figure.subplots(1, 2 if with_target else 1, squeeze=False)[0]
    finite = frame[frame["status"] != "diverged"]
    unstable = finite["status"] == "unstable"
    colour, mark = STYLES[0]
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
                color=STYLES[1][0],
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
