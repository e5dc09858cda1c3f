# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What all figures have in common: colours and marks, labels, axes and legends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from matplotlib.ticker import MaxNLocator

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours that readers with any colour vision can tell apart (Okabe & Ito), and another mark each.
STYLES = (
    ("#0072B2", "o"),
    ("#D55E00", "s"),
    ("#009E73", "^"),
    ("#CC79A7", "D"),
    ("#E69F00", "v"),
    ("#56B4E9", "P"),
    ("#000000", "X"),
)

# A legend with more entries would hide what is drawn: it goes below the axes.
_MOST_INSIDE = 4


class LabelledActivation(Protocol):
    """What is shown of an activation."""

    @property
    def label(self) -> str:
        """Its name in figures."""


def whole_numbers(axes: Axes, label: str) -> None:
    """Give axes a grid and an x axis of whole numbers, such as depths or epochs."""
    axes.set_xlabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)


def legend(axes: Axes) -> None:
    """Add a legend, inside the axes if it is small enough."""
    entries = len(axes.get_legend_handles_labels()[1])
    if entries <= _MOST_INSIDE:
        axes.legend(frameon=False, fontsize="small")
    else:
        axes.legend(
            frameon=False, fontsize="x-small", loc="upper center", bbox_to_anchor=(0.5, -0.16)
        )
