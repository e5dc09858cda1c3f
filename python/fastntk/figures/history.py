# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""One training: loss and accuracy against epochs."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastntk._support import arguments
from fastntk.figures.panels import Line, Panel, Sheet, draw
from fastntk.figures.style import PRINT

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    from matplotlib.figure import Figure

    _Array = npt.NDArray[Any]

# So many characters of a title fit over one panel.
_TITLE = 76


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
    return draw(history_sheet(history), PRINT)


def history_sheet(history: HistoryLike) -> Sheet:
    """Return the same as data: the panel "loss", and "accuracy" or "weight_change"."""
    arguments.like(history, "history", HistoryLike, "a fastntk.History")
    loss = _panel(
        history,
        ("loss", "loss"),
        {"training": history.loss, "validation": history.validation_loss},
    )
    if history.accuracy is None:
        # Lines in other colours than those of the losses, which stand in the same legend.
        changes = {"‖w − w₀‖₂": history.weight_change, "‖w − w₀‖∞": history.weight_change_max}
        other = _panel(history, ("weight_change", "change of the weights"), changes, first_hue=2)
    else:
        shares = {"training": history.accuracy, "validation": history.validation_accuracy}
        other = _panel(history, ("accuracy", "accuracy"), shares)
    title = textwrap.fill(f"{history.net!r}: {history.status}", _TITLE)
    return Sheet(title=title, panels=[loss, other])


def _panel(
    history: HistoryLike,
    name_and_label: tuple[str, str],
    curves: Mapping[str, _Array | None],
    first_hue: int = 0,
) -> Panel:
    name, label = name_and_label
    known = {key: values for key, values in curves.items() if values is not None}
    # Nothing to show on a logarithmic axis where all has been lost, or nothing was.
    logarithmic = name != "accuracy" and all(np.any(values > 0) for values in known.values())
    epochs = np.arange(1.0, history.epochs + 1)
    return Panel(
        x="epoch",
        y=label,
        lines=[
            Line(x=epochs, y=values, label=key, style="both", hue=hue)
            for hue, (key, values) in enumerate(known.items(), first_hue)
        ],
        name=name,
        x_kind="whole",
        y_kind="log" if logarithmic else "linear",
    )
