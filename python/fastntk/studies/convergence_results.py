# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The results of a study of convergence, as tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.display import counted, spans
from fastntk._support.tables import save_table
from fastntk.activations.activation import activation_label
from fastntk.networks.settings import USUAL
from fastntk.studies.rates import ConvergenceRate
from fastntk.training.learning_rate_search import Candidate, LearningRateSearch
from fastntk.training.result import Result, is_archive, named_data

if TYPE_CHECKING:
    import os

    import numpy.typing as npt
    import pandas as pd

    from fastntk.activations import Activation
    from fastntk.figures.panels import Sheet

    _Array = npt.NDArray[np.float64]


# What may differ when the same is computed again.
_COSTS = ("seconds",)


@dataclass(frozen=True, eq=False)
class ConvergenceResult:
    """One depth and seed.

    Attributes
    ----------
    depth, seed : int
    rate : ConvergenceRate
        Predicted and measured on the square loss.
    learning_rate : float
        The step of the training on cross-entropy, searched for this depth.
    loss, accuracy : ndarray (epochs,)
        Training loss and accuracy, each a mean over the epoch.
    test_loss, test_accuracy : ndarray (epochs,), or None
        Loss and accuracy of the test samples after each epoch.
    status : str
        How the training ended, as in `fastntk.History`.
    seconds : float
        The time that this training took, while others ran beside it.
    """

    depth: int
    seed: int
    rate: ConvergenceRate
    learning_rate: float
    loss: _Array
    accuracy: _Array
    test_loss: _Array | None
    test_accuracy: _Array | None
    status: str
    seconds: float

    def epochs_to(self, target: float) -> float:
        """Return the first epoch whose loss was at most `target`, from 1; NaN if none was."""
        most = arguments.real(target, "target", minimum=-math.inf)
        reached = np.flatnonzero(self.loss <= most)
        return float(reached[0] + 1) if len(reached) else math.nan


_PARTS = (ConvergenceResult, ConvergenceRate, LearningRateSearch, Candidate)


def _sheet(result: ConvergenceStudy) -> Sheet:
    from fastntk.figures.convergence import convergence_sheet

    return convergence_sheet(result)


@dataclass(frozen=True, eq=False)
class ConvergenceStudy(Result, kind="convergence study", sheet=_sheet, parts=_PARTS, costs=_COSTS):
    """The result of `convergence_study`.

    Attributes
    ----------
    results : tuple of ConvergenceResult
        Ordered by depth, then by seed.
    searches : dict of int to LearningRateSearch
        The search for the learning rate of each depth.
    n_samples, width, batch_size : int
    loss_target : float
    activation : Activation
    activation_scale : float
        c_φ.
    dtype : str
        The precision of the networks that were trained on cross-entropy.
    search_epochs, rate_steps : int
        The most epochs of the search for a learning rate, and steps on the square loss.
    seconds : float
        The time that the study took; what came from a store is not in it.
    data : str or None
        What the samples are called, if that was said.

    Notes
    -----
    `plot` draws loss against epochs; epochs to the target and rates against depth. Its panels are
    "loss", "epochs" and "rates".
    """

    results: tuple[ConvergenceResult, ...]
    searches: dict[int, LearningRateSearch]
    n_samples: int
    width: int
    batch_size: int
    loss_target: float
    activation: Activation
    activation_scale: float
    dtype: str
    search_epochs: int
    rate_steps: int
    seconds: float
    data: str | None = None

    def __repr__(self) -> str:
        trainings = counted(len(self.results), "training")
        return (
            f"<ConvergenceStudy: {trainings}, {self.activation.name}; depths "
            f"{spans(result.depth for result in self.results)}; width {self.width}; "
            f"{self.n_samples} samples>"
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of all networks and their trainings, by the last columns of the tables.

        They are of the training on cross-entropy. That on the square loss has all samples in one
        batch, and networks in float64.
        """
        return {
            "width": self.width,
            "batch_size": self.batch_size,
            "loss_target": self.loss_target,
            "activation": activation_label(self.activation),
            "activation_scale": self.activation_scale,
            "dtype": self.dtype,
            "samples": self.n_samples,
            "search_epochs": self.search_epochs,
            "rate_steps": self.rate_steps,
            **USUAL,
            "loss_function": "cross_entropy",
            "momentum": 0.0,
        } | named_data(self.data)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a row for each depth and seed.

        Returns
        -------
        DataFrame
            ``rate_samples``: how many samples κ and the rates are of. ``condition_number``,
            ``eigenvalue_min`` and ``eigenvalue_max`` of their kernel; ``worst_case_rate``,
            ``predicted_rate``, ``linear_rate`` and ``measured_rate``: factors of the loss a step,
            see `ConvergenceRate`; ``tail_…``: the window of the fit and its quality;
            ``rate_resolved``: whether it is the tail. ``learning_rate`` to ``seconds``: training
            on cross-entropy; accuracies are those after the last epoch. The last columns are the
            `settings`.
        """
        import pandas as pd

        frame = pd.DataFrame([self._row(result) for result in self.results])
        return frame.assign(**self.settings)

    def _row(self, result: ConvergenceResult) -> dict[str, Any]:
        rate = result.rate
        return {
            "depth": result.depth,
            "seed": result.seed,
            "rate_samples": rate.n,
            "condition_number": rate.condition_number,
            "eigenvalue_min": rate.eigenvalue_min,
            "eigenvalue_max": rate.eigenvalue_max,
            "rate_step": rate.learning_rate,
            "worst_case_rate": rate.worst_case,
            "predicted_rate": rate.predicted,
            "linear_rate": rate.linear,
            "measured_rate": rate.measured,
            "tail_first": rate.first,
            "tail_last": rate.last,
            "tail_r_squared": rate.r_squared,
            "tail_drift": rate.drift,
            "rate_resolved": rate.resolved,
            "learning_rate": result.learning_rate,
            "epochs": len(result.loss),
            "epochs_to_target": result.epochs_to(self.loss_target),
            "final_loss": float(result.loss[-1]),
            "train_accuracy": float(result.accuracy[-1]),
            "test_accuracy": _last(result.test_accuracy),
            "status": result.status,
            "seconds": result.seconds,
        }

    def curves(self) -> pd.DataFrame:
        """Return a table with a row for each depth, seed and epoch: loss and accuracy."""
        import pandas as pd

        parts = []
        for result in self.results:
            columns: dict[str, Any] = {
                "depth": result.depth,
                "seed": result.seed,
                "epoch": np.arange(1, len(result.loss) + 1),
                "loss": result.loss,
                "accuracy": result.accuracy,
            }
            if result.test_loss is not None:
                columns |= {"test_loss": result.test_loss, "test_accuracy": result.test_accuracy}
            columns["learning_rate"] = result.learning_rate
            parts.append(pd.DataFrame(columns))
        return pd.concat(parts, ignore_index=True).assign(**self.settings)

    def learning_rates(self) -> pd.DataFrame:
        """Return a table with a row for each depth and learning rate that was tried."""
        import pandas as pd

        parts = []
        for depth, search in self.searches.items():
            frame = search.to_frame().assign(depth=depth)
            frame.insert(0, "depth", frame.pop("depth"))
            parts.append(frame)
        return pd.concat(parts, ignore_index=True)

    def summary(self) -> pd.DataFrame:
        """Return a table with a row for each depth: means over seeds, and standard deviations.

        Returns
        -------
        DataFrame
            ``decay_ratio`` is ln(measured)/ln(predicted) of the rates that are resolved, and
            ``rates_resolved`` how many are. ``epochs_to_target`` is the mean of those seeds that
            reached it, ``reached`` how many did. The standard deviation of a single number is NaN.
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        for depth, cell in self.to_frame().groupby("depth"):
            known = cell[cell["rate_resolved"]]
            ratio = np.log(known["measured_rate"]) / np.log(known["predicted_rate"])
            row: dict[str, Any] = {"depth": depth, "seeds": len(cell)}
            for name, values in (
                ("condition_number", cell["condition_number"]),
                ("worst_case_rate", cell["worst_case_rate"]),
                ("predicted_rate", cell["predicted_rate"]),
                ("linear_rate", cell["linear_rate"]),
                ("measured_rate", cell["measured_rate"]),
                ("decay_ratio", ratio),
                ("epochs_to_target", cell["epochs_to_target"]),
                ("final_loss", cell["final_loss"]),
                ("train_accuracy", cell["train_accuracy"]),
                ("test_accuracy", cell["test_accuracy"]),
            ):
                row[name], row[f"{name}_std"] = values.mean(), values.std()
            row["rates_resolved"] = len(known)
            row["reached"] = int(cell["epochs_to_target"].notna().sum())
            row["learning_rate"] = cell["learning_rate"].iloc[0]
            rows.append(row)
        return pd.DataFrame(rows)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> tuple[Path, ...]:
        """Write everything to an ``.npz`` file, or the tables to CSV files.

        A name that ends in ``.npz`` is for `load`. Otherwise the table of `to_frame` goes to
        `path`, those of `curves` and `learning_rates` to files beside it, with "-curves" and
        "-learning-rates" after the name. Each is written completely or not at all.

        Parameters
        ----------
        path : path-like
        overwrite : bool
            Whether any files that are there may be lost. Otherwise those are replaced of which all
            rows are in the new table, but for times.

        Returns
        -------
        tuple of Path
            The files.

        Raises
        ------
        FileExistsError
            If something else is there; the files before it are written.
        """
        if is_archive(arguments.path(path, "path")):
            super().save(path, overwrite=overwrite)
            return (Path(path),)
        files = self.files(path)
        flag = arguments.flag(overwrite, "overwrite")
        tables = (self.to_frame, self.curves, self.learning_rates)
        for file, table in zip(files, tables, strict=True):
            save_table(table(), str(file), _COSTS, overwrite=flag)
        return files

    def files(self, path: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Return the three files that `save` writes."""
        target = Path(arguments.path(path, "path"))
        return tuple(
            target.with_name(f"{target.stem}{ending}{target.suffix}")
            for ending in ("", "-curves", "-learning-rates")
        )


def _last(values: _Array | None) -> float:
    return math.nan if values is None else float(values[-1])
