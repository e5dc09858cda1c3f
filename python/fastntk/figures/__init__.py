# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures, each of what its argument has, whatever made it: one file says what that is.

The functions here return figures that pyplot does not know of, for programs without a screen and
for threads; `save` writes them. The method `plot` of a result draws the same on axes: on new ones,
which notebooks show, or on those of the user.
"""

from fastntk.figures.accuracies import table1
from fastntk.figures.angle_curves import plot_angle_curves
from fastntk.figures.constancy import plot_constancy
from fastntk.figures.convergence import figure4, plot_convergence_study
from fastntk.figures.depth_study import plot_depth_study
from fastntk.figures.history import plot_history
from fastntk.figures.learning_rates import plot_learning_rates
from fastntk.figures.linearization import plot_linearization
from fastntk.figures.saving import save

__all__ = [
    "figure4",
    "plot_angle_curves",
    "plot_constancy",
    "plot_convergence_study",
    "plot_depth_study",
    "plot_history",
    "plot_learning_rates",
    "plot_linearization",
    "save",
    "table1",
]


def __dir__() -> list[str]:
    """Return the public names, and not those of the files that they come from."""
    return sorted(__all__)
