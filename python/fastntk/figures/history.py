# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""One training: loss and accuracy against epochs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from matplotlib.figure import Figure

from fastntk._support import arguments
from fastntk.figures.style import STYLES, whole_numbers

if TYPE_CHECKING:
    import numpy.typing as npt
    from matplotlib.axes import Axes

    _Array = npt.NDArray[Any]


class HistoryLike(Protocol):
    """What is drawn of a `fastntk.History`; arrays have one entry for each epoch."""

    @property
    def epochs(self) -> int:
        """The number of epochs."""

    @property
    def loss(self) -> _Array:
        """The training loss."""

    @property
    def accuracy(self) -> _Array | None:
        """The training accuracy, if there is one."""

    @property
    def validation_loss(self) -> _Array | None:
        """The loss of the validation samples, if there are any."""

    @property
    def validation_accuracy(self) -> _Array | None:
        """The accuracy of the validation samples, if there is one."""

    @property
    def weight_change(self) -> _Array:
        """How far the weights have moved, in the Euclidean norm."""

    @property
    def weight_change_max(self) -> _Array:
        """How far the weights have moved, in the maximum norm."""

    @property
    def net(self) -> object:
        """The trained network, for the title."""

    @property
    def status(self) -> str:
        """How the training ended."""


def plot_history(history: HistoryLike) -> Figure:
    """Return a figure of a training: loss and, where there is one, accuracy against epochs.

    Without accuracies the right half shows how far the weights have moved.
    """
    arguments.like(history, "history", HistoryLike, "a fastntk.History")
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
        for (name, values), (colour, mark) in zip(curves, STYLES, strict=False):
            if values is not None:
                axes.plot(epochs, values, color=colour, marker=mark, markersize=3, label=name)
        axes.set_ylabel(label)
        # Nothing to show on a logarithmic axis where all has been lost, or nothing was.
        if label != "accuracy" and all(np.any(v > 0) for _, v in curves if v is not None):
            axes.set_yscale("log")
        whole_numbers(axes, "epoch")
        axes.legend(frameon=False)
    figure.suptitle(f"{history.net!r}: {history.status}", fontsize="medium")
    return figure
