# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""All parts of the paper, by their names."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING

from fastntk.paper.parts.angle_curves import figure_1, figure_2
from fastntk.paper.parts.architectures import architectures
from fastntk.paper.parts.architectures_trained import architectures_trained
from fastntk.paper.parts.chaos import edge_part
from fastntk.paper.parts.constancy import constancy
from fastntk.paper.parts.depth import figure_3
from fastntk.paper.parts.layer_map import figure_5
from fastntk.paper.parts.samples_of_data import hardest_pairs, sample_size
from fastntk.paper.parts.scales import figure_6
from fastntk.paper.parts.theorems import theorems
from fastntk.paper.parts.training import figure_4, table_1

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk.paper.part import Part
    from fastntk.paper.run import Run

# Those of no data set, and those of one, in the order of the page.
OF_FORMULAS: dict[str, Callable[[Run], Part]] = {
    "figure 1": figure_1,
    "figure 2": figure_2,
    "theorems": theorems,
    "figure 5": figure_5,
    "figure 6": figure_6,
    "edge of chaos": edge_part,
}
OF_DATA: dict[str, Callable[[Run, str], Part]] = {
    "figure 3": figure_3,
    "figure 4": figure_4,
    "table 1": table_1,
    "hardest pairs": hardest_pairs,
    "sample size": sample_size,
    "constancy": constancy,
    "architectures": architectures,
    "architectures trained": architectures_trained,
}

# Those that train networks, and need labels.
TRAINED = ("figure 4", "table 1", "constancy", "architectures trained")

# In the order of the page: the paper's figures, its table, the theorems, and what goes beyond.
NAMES = (
    *(f"figure {k}" for k in range(1, 7)),
    "table 1",
    "theorems",
    "edge of chaos",
    "hardest pairs",
    "sample size",
    "constancy",
    "architectures",
    "architectures trained",
)


def computed(name: str, run: Run, data: str) -> Part:
    """Return a part, with the time that it took."""
    started = time.perf_counter()
    part = OF_FORMULAS[name](run) if name in OF_FORMULAS else OF_DATA[name](run, data)
    return dataclasses.replace(part, seconds=time.perf_counter() - started)
