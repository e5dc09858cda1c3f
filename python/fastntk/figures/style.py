# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What all figures have in common: colours, marks, patterns and sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

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

# Of what is no series: diagonals, limits, targets.
GREY = "0.35"

# Patterns of lines, from the one without gaps; dotted lines are limits.
DASHES: tuple[Any, ...] = ("-", "--", "-.", (0, (1, 1, 3, 1)), (0, (6, 2)))


@dataclass(frozen=True)
class Sizes:
    """How large everything is, in points.

    Attributes
    ----------
    text, small : float or str
        Of titles and labels of axes; of ticks, legends and labels at lines.
    line, mark : float
        Widths of lines, sizes of marks.
    frame : float or None
        Width of the frame, ticks and grid; None: as the axes have it.
    scale : float
        Of the panels.
    """

    text: float | str
    small: float | str
    line: float
    mark: float
    frame: float | None
    scale: float


# Of figures for a paper of two columns; and on a page, or on axes of the user's.
PRINT = Sizes(text=7.0, small=6.0, line=1.0, mark=3.2, frame=0.6, scale=0.7)
PAGE = Sizes(text="medium", small="small", line=1.4, mark=4.5, frame=None, scale=1.0)


class LabelledActivation(Protocol):
    """What is shown of an activation."""

    @property
    def label(self) -> str:
        """Its name in figures."""
