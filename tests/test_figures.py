# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures draw what has the attributes that they name, whatever made it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastntk import figures

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Curves:
    theta: Array
    depths: tuple[int, ...]
    activations: tuple[str, ...]
    infinite: Array
    width: int | None = None
    mean: Array | None = None
    deviation: Array | None = None


def test_curves_of_ones_own(tmp_path: Path) -> None:
    theta = np.linspace(0.1, 3.0, 7)
    infinite = np.stack([[theta / 2, theta / 3]])
    figure = figures.plot_angle_curves(Curves(theta, (1, 2), ("relu",), infinite))
    (axes,) = figure.axes
    assert axes.get_title() == "ReLU"
    assert axes.get_legend_handles_labels()[1] == ["gradient = input", "depth 1", "depth 2"]
    np.testing.assert_allclose(np.asarray(axes.lines[1].get_ydata(), float), np.degrees(theta / 2))
    figures.save(figure, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
