# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far kernels of random networks are from their limit, against width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastntk.figures.panels import Line, Panel, Sheet

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.figures.style import LabelledActivation


class MonteCarloLike(Protocol):
    """What is drawn of a `fastntk.MonteCarlo`."""

    @property
    def widths(self) -> tuple[int, ...]:
        """The widths of the hidden layers."""

    @property
    def fluctuation(self) -> npt.NDArray[np.float64]:
        """Standard deviation of one network's kernel at each width, relative to the limit."""

    @property
    def rate(self) -> float:
        """The exponent r in fluctuation ∝ width^(−r), fitted."""

    @property
    def n_seeds(self) -> int:
        """How many networks there are of each width."""

    @property
    def depth(self) -> int:
        """The number of hidden layers."""

    @property
    def activation(self) -> LabelledActivation:
        """The activation of the hidden layers."""


def monte_carlo_sheet(result: MonteCarloLike) -> Sheet:
    """Return a figure as data: marks at the widths, and the fitted power law through them."""
    widths = np.array(result.widths, dtype=np.float64)
    values = np.asarray(result.fluctuation)
    lines = [Line(x=widths, y=values, label=f"{result.n_seeds} networks each", style="marks")]
    if np.isfinite(result.rate):
        # Through the middle of the points on logarithmic axes.
        ends = np.array([widths.min(), widths.max()])
        centre = np.exp(np.log(values).mean() + result.rate * np.log(widths).mean())
        slope = f"slope {-result.rate:.2f}".replace("-", "−")
        lines.append(Line(x=ends, y=centre * ends**-result.rate, label=slope))
    return Sheet(
        title=f"depth {result.depth}, {result.activation.label}",
        panels=[
            Panel(
                x="width",
                y="fluctuation of the kernel / limit",
                lines=lines,
                name="fluctuation",
                x_kind="log",
                # Without a hidden layer nothing fluctuates, and 0 has no logarithm.
                y_kind="log" if np.any(values > 0) else "linear",
            )
        ],
    )
