# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The record of a training: what was measured after each epoch, and how it ended."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Generic

import numpy as np

from fastntk._support.display import counted
from fastntk.networks.settings import network_settings
from fastntk.training.networks import Net
from fastntk.training.probe import ProbeResult
from fastntk.training.result import Result

if TYPE_CHECKING:
    import numpy.typing as npt
    import pandas as pd

    from fastntk.figures.panels import Sheet

    _Values = npt.NDArray[Any]  # float64


# The arrays of a history, in the order of its table. They are measured where they can be: there is
# no accuracy for a single output, and nothing of validation without other samples.
COLUMNS = (
    "loss",
    "accuracy",
    "validation_loss",
    "validation_accuracy",
    "seconds",
    "weight_change",
    "weight_change_max",
    "gradient_norm",
)


def _sheet(result: History[Any]) -> Sheet:
    from fastntk.figures.history import history_sheet

    return history_sheet(result)


@dataclass(frozen=True, eq=False)
class History(
    Result,
    Generic[Net],
    kind="training history",
    sheet=_sheet,
    parts=(ProbeResult,),
    costs=("seconds",),
):
    """How training went; the result of `train`.

    Arrays have one entry for each epoch.

    Attributes
    ----------
    loss : ndarray (epochs,)
        The mean over the batches of the epoch, weighted by their sizes; the loss of each batch is
        that before its own step.
    accuracy : ndarray (epochs,) or None
        Share of the samples whose largest output is that of the largest target, measured with
        `loss`; None for a single output.
    validation_loss, validation_accuracy : ndarray (epochs,) or None
        The same for the validation samples, with the weights after the epoch.
    seconds : ndarray (epochs,)
        Time of the steps themselves.
    weight_change, weight_change_max : ndarray (epochs,)
        ‖w − w₀‖₂ and ‖w − w₀‖_∞ of the raw parameters after the epoch.
    gradient_norm : ndarray (epochs,)
        ‖∂loss/∂w‖₂ of the last batch of the epoch before its step, over all that is trained; NaN
        for an epoch that was not completed. It is the root of a sum of squares in float64: infinite
        above 1e154, and below 1e-146 with fewer digits than other numbers, or 0.
    probe : tuple of ProbeResult
        The kernel on the probe samples: at the start, then after every so many steps.
    net : MLP or FiniteNetwork
        The trained network.
    status : {"completed", "target reached", "diverged"}
        Why the training ended.
    networks : dict of int to MLP or FiniteNetwork
        Copies of the network, by the number of steps before each; empty without `keep_every`.
    options : dict
        What the network was trained with, by the columns of tables; see `settings`.

    Notes
    -----
    `plot` draws loss, and accuracy or else change of the weights, against epochs. Its panels are
    "loss" and "accuracy", or "weight_change".
    """

    loss: _Values
    accuracy: _Values | None
    validation_loss: _Values | None
    validation_accuracy: _Values | None
    seconds: _Values
    weight_change: _Values
    weight_change_max: _Values
    gradient_norm: _Values
    probe: tuple[ProbeResult, ...]
    net: Net
    status: str
    networks: dict[int, Net] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def epochs(self) -> int:
        """How many epochs there were, the last of which may not have been completed."""
        return len(self.loss)

    def __repr__(self) -> str:
        return (
            f"<History: {counted(self.epochs, 'epoch')}, {self.status}; loss "
            f"{self.loss[-1]:.4g}; {self.net!r}>"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of the network and of its training, by the last columns of the tables.

        ``seed`` is that of the order of the samples. ``init_seed`` and ``init_scale`` are those
        that the weights were drawn with before all training, and left out where they came from
        elsewhere. ``width`` is a text where hidden layers differ; σ_w and σ_b are NaN in the
        standard parametrization, where the weights carry them. In the place of these, a
        `FiniteNetwork` has ``layers``, a text, and ``inputs``.
        """
        return network_settings(self.net.network) | self.options

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each epoch, numbered from 1, and the `settings`."""
        import pandas as pd

        columns = {name: getattr(self, name) for name in COLUMNS}
        frame = pd.DataFrame(
            {
                "epoch": np.arange(1, self.epochs + 1),
                **{name: values for name, values in columns.items() if values is not None},
            }
        )
        return frame.assign(**self.settings)

    def probe_frame(self) -> pd.DataFrame:
        """Return a table with a row for each measurement of the kernel, and the `settings`."""
        import pandas as pd

        frame = pd.DataFrame([asdict(result) for result in self.probe])
        if self.probe:
            frame.insert(0, "step", frame.pop("step"))
        return frame.assign(**self.settings)
