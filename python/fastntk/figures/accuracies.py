# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The table of the paper that stands beside its figures: test accuracy against depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from fastntk._support import arguments

if TYPE_CHECKING:
    import pandas as pd


class SummarizedAccuracies(Protocol):
    """What is tabulated of a `fastntk.ConvergenceStudy`."""

    def summary(self) -> pd.DataFrame:
        """Return a row for each depth, with mean and standard deviation of the test accuracy."""


def table1(study: SummarizedAccuracies) -> pd.DataFrame:
    """Return a table like Table 1 of arXiv 2305.08813: test accuracy against depth.

    Returns
    -------
    DataFrame
        Accuracies after the last epoch in per cent: mean over seeds, standard deviation, and the
        standard error of the mean.
    """
    arguments.like(study, "study", SummarizedAccuracies, "a fastntk.ConvergenceStudy")
    summary = study.summary()
    table = summary[["depth", "seeds", "learning_rate"]].copy()
    table["test_accuracy"] = 100 * summary["test_accuracy"]
    table["standard_deviation"] = 100 * summary["test_accuracy_std"]
    table["standard_error"] = table["standard_deviation"] / np.sqrt(table["seeds"])
    return table
