# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The results of a study of constancy, as tables."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.display import counted, spans
from fastntk.activations.activation import activation_label
from fastntk.networks.settings import USUAL
from fastntk.studies.power_law import BootstrapSlope, bootstrap_slope
from fastntk.training.result import Result, named_data

if TYPE_CHECKING:
    import pandas as pd

    from fastntk.activations import Activation
    from fastntk.figures.panels import Sheet

# What is set beside the width: at the start, and after training to the target.
AT_START = ("hessian_norm", "gradient_norm")
AFTER_TRAINING = ("relative_change", "linear_error", "weight_change", "weight_change_max")

REACHED = "target reached"


@dataclass(frozen=True, kw_only=True)
class ConstancyResult:
    """One network.

    Numbers of a training that did not take place, or diverged, are NaN.

    Attributes
    ----------
    architecture : str
    width, seed : int
    status : str
        How the training ended, as in `fastntk.History`; "no gradient" if there was none, because
        the gradient is 0.
    hessian_norm : float
        The mean of ‖∇²f(x)‖ over some samples, at the start.
    hessian_norm_resolved : bool
        Whether all of these norms are.
    gradient_norm : float
        The mean of ‖∇f(x)‖ over the samples, at the start.
    relative_change : float
        ‖K − K_0‖_F/‖K_0‖_F of the kernel after training.
    alignment : float
        ⟨K, K_0⟩/(‖K‖ ‖K_0‖).
    condition_number, condition_number_after : float
        κ of K_0 and of K; NaN where λ_min is not resolved.
    weight_change, weight_change_max : float
        ‖w − w_0‖₂ and ‖w − w_0‖_∞.
    output_change, linear_error : float
        How far the outputs went, and how far they are from those of the linear model at the same
        weights, root mean squares; see `fastntk.linearity.KernelDrift`.
    learning_rate : float
    steps : int
        Steps of gradient descent.
    initial_loss, final_loss : float
        Mean square losses before the first and before the last step.
    seconds : float
        The time that all this took, while others ran beside it.
    """

    architecture: str
    width: int
    seed: int
    status: str
    hessian_norm: float
    hessian_norm_resolved: bool
    gradient_norm: float
    relative_change: float = math.nan
    alignment: float = math.nan
    condition_number: float = math.nan
    condition_number_after: float = math.nan
    weight_change: float = math.nan
    weight_change_max: float = math.nan
    output_change: float = math.nan
    linear_error: float = math.nan
    learning_rate: float = math.nan
    steps: int = 0
    initial_loss: float = math.nan
    final_loss: float = math.nan
    seconds: float = math.nan


def _sheet(result: ConstancyStudy) -> Sheet:
    from fastntk.figures.constancy import constancy_sheet

    return constancy_sheet(result)


@dataclass(frozen=True, eq=False)
class ConstancyStudy(
    Result, kind="constancy study", sheet=_sheet, parts=(ConstancyResult,), costs=("seconds",)
):
    """The result of `constancy_study`.

    Attributes
    ----------
    results : tuple of ConstancyResult
        Ordered by architecture, then by width, then by seed.
    n_samples, depth, bottleneck, hessian_samples, epochs : int
    loss_target : float
    activation : Activation
    seconds : float
        The time that the study took; what came from a store is not in it.
    data : str or None
        What the samples are called, if that was said.

    Notes
    -----
    `plot` draws each quantity against the width, a line for each architecture. Its panels are
    "hessian_norm", "gradient_norm", "relative_change", "weight_change", "weight_change_max" and
    "linear_error".
    """

    results: tuple[ConstancyResult, ...]
    n_samples: int
    depth: int
    bottleneck: int
    hessian_samples: int
    epochs: int
    loss_target: float
    activation: Activation
    seconds: float
    data: str | None = None

    def __repr__(self) -> str:
        architectures = ", ".join(dict.fromkeys(result.architecture for result in self.results))
        return (
            f"<ConstancyStudy: {counted(len(self.results), 'network')}, {architectures}; widths "
            f"{spans(result.width for result in self.results)}; {self.n_samples} samples>"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of all networks and their trainings, by the last columns of the table."""
        return {
            "samples": self.n_samples,
            "depth": self.depth,
            "bottleneck": self.bottleneck,
            "hessian_samples": self.hessian_samples,
            "epochs": self.epochs,
            "loss_target": self.loss_target,
            "activation": activation_label(self.activation),
            "activation_scale": self.activation.scale,
            **USUAL,
            "dtype": "float64",
            "loss_function": "mse",
            "batch_size": self.n_samples,
            "momentum": 0.0,
        } | named_data(self.data)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each network; the last columns are settings."""
        import pandas as pd

        frame = pd.DataFrame([asdict(result) for result in self.results])
        return frame.assign(**self.settings)

    def slope(self, architecture: str, quantity: str) -> BootstrapSlope:
        """Return the slope of a quantity against the width, in log–log, with an interval of 95 %.

        Parameters
        ----------
        architecture : str
            One of the study.
        quantity : {"hessian_norm", "gradient_norm", "relative_change", "linear_error", \
"weight_change", "weight_change_max"}
            The last four are taken of the networks that reached the target of the loss: at another
            loss they would be others.

        Returns
        -------
        BootstrapSlope
            The fit is through all networks. The interval is by the bootstrap over seeds at each
            width; NaN where no width has two networks.
        """
        known = tuple(dict.fromkeys(result.architecture for result in self.results))
        arguments.choice(architecture, "architecture", known)
        arguments.choice(quantity, "quantity", AT_START + AFTER_TRAINING)
        rows = self._usable(architecture, quantity)
        return bootstrap_slope(*rows.T) if len(rows) else BootstrapSlope(*[math.nan] * 3)

    def _usable(self, architecture: str, quantity: str) -> np.ndarray:
        """Return (width, value) of the networks that a slope is of."""
        values = [
            (result.width, getattr(result, quantity))
            for result in self.results
            if result.architecture == architecture
            and (quantity in AT_START or result.status == REACHED)
        ]
        return np.array([pair for pair in values if 0 < pair[1] < math.inf]).reshape(-1, 2)

    def slopes(self) -> pd.DataFrame:
        """Return a table with a row for each architecture and quantity.

        Returns
        -------
        DataFrame
            ``slope`` with its interval from ``lower`` to ``upper``, as of `slope`, and of how many
            ``networks`` it is.
        """
        import pandas as pd

        architectures = dict.fromkeys(result.architecture for result in self.results)
        return pd.DataFrame(
            [
                {
                    "architecture": architecture,
                    "quantity": quantity,
                    **self.slope(architecture, quantity)._asdict(),
                    "networks": len(self._usable(architecture, quantity)),
                }
                for architecture in architectures
                for quantity in AT_START + AFTER_TRAINING
            ]
        )

    def summary(self) -> pd.DataFrame:
        """Return a table with a row for each architecture and width.

        Returns
        -------
        DataFrame
            Means over seeds, and standard deviations, of what `slope` takes, of the same networks:
            how many there are is in ``reached`` for what is measured after training. ``diverged``
            counts those that did.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for (architecture, width), cell in self.to_frame().groupby(
            ["architecture", "width"], sort=False
        ):
            reached = cell[cell["status"] == REACHED]
            row: dict[str, Any] = {
                "architecture": architecture,
                "width": width,
                "seeds": len(cell),
                "reached": len(reached),
                "diverged": int((cell["status"] == "diverged").sum()),
            }
            for name in AT_START + AFTER_TRAINING:
                values = (cell if name in AT_START else reached)[name]
                row[name], row[f"{name}_std"] = values.mean(), values.std()
            row["steps"] = reached["steps"].mean()
            rows.append(row)
        return pd.DataFrame(rows)
