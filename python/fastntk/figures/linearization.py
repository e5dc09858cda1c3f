# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The distance of networks from their linear models, against width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastntk._support import arguments
from fastntk.figures.panels import Line, Panel, Sheet, draw
from fastntk.figures.style import PRINT, LabelledActivation

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class PowerLawLike(Protocol):
    """A fitted power law."""

    @property
    def slope(self) -> float:
        """The exponent."""

    @property
    def standard_error(self) -> float:
        """The standard error of the exponent."""


class LinearizationStudyLike(Protocol):
    """What is drawn of a `fastntk.LinearizationStudy`."""

    @property
    def depth(self) -> int:
        """The number of hidden layers."""

    @property
    def activation(self) -> LabelledActivation:
        """The activation of the hidden layers."""

    @property
    def activation_scale(self) -> float:
        """Its factor c_φ."""

    @property
    def bias_std(self) -> float:
        """The standard deviation σ_b of the biases."""

    @property
    def learning_rate(self) -> float:
        """That of all networks."""

    @property
    def steps(self) -> tuple[int, ...]:
        """The step counts at which the trajectories were compared."""

    @property
    def fit(self) -> PowerLawLike:
        """The power law of the errors at the training samples."""

    @property
    def test_fit(self) -> PowerLawLike:
        """The power law of the errors at the other samples."""

    def to_frame(self) -> pd.DataFrame:
        """Return a row for each network."""


def plot_linearization(study: LinearizationStudyLike) -> Figure:
    """Return a figure: the distance of networks from their linear models against width.

    Marks are networks, lines the fitted power laws.
    """
    return draw(linearization_sheet(study), PRINT)


def linearization_sheet(study: LinearizationStudyLike) -> Sheet:
    """Return the same as data, a sheet of one panel."""
    arguments.like(study, "study", LinearizationStudyLike, "a fastntk.LinearizationStudy")
    frame = study.to_frame()
    lines = []
    for hue, (column, fit, label) in enumerate(
        (
            ("error", study.fit, "training samples"),
            ("test_error", study.test_fit, "other samples"),
        )
    ):
        rows = frame[np.isfinite(frame[column]) & (frame[column] > 0)]
        if not len(rows):
            continue
        widths, errors = rows["width"].to_numpy(np.float64), rows[column].to_numpy(np.float64)
        lines.append(Line(x=widths, y=errors, label=label, style="marks", hue=hue))
        # Through the middle of the points on logarithmic axes.
        centre = np.exp(np.log(errors).mean() - fit.slope * np.log(widths).mean())
        ends = np.array([widths.min(), widths.max()])
        slope = f"slope {fit.slope:.2f} ± {fit.standard_error:.2f}".replace("-", "−")
        lines.append(Line(x=ends, y=centre * ends**fit.slope, label=slope, hue=hue))
    return Sheet(
        title=(
            f"depth {study.depth}, {study.activation.label}, $c_\\phi$ "
            f"{study.activation_scale:.4g}, $\\sigma_b$ {study.bias_std:g},\n"
            f"{study.steps[-1]} steps of learning rate {study.learning_rate:.4g}"
        ),
        panels=[
            Panel(
                x="width",
                y="distance from the linear model",
                lines=lines,
                name="error",
                x_kind="log",
                y_kind="log",
            )
        ],
    )
