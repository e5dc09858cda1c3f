# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figure 5: what one ReLU layer makes of the angle between two samples."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk import infinite
from fastntk.figures.panels import Line, Panel, Sheet, levels
from fastntk.paper.claims import Statement, count
from fastntk.paper.part import Part

if TYPE_CHECKING:
    import pandas as pd

    from fastntk.paper.claims import Claim
    from fastntk.paper.run import Run

_LAYERS = (1, 2, 4, 8, 16, 32)
_DEEP = (100, 1000, 10_000)
_GRID = np.linspace(0.0, 180.0, 181)
_SMALL = np.array([1e-1, 1e-2, 1e-3, 1e-4, 1e-5])

# What may be left of the expansion's remainder.
_NOTHING = 1e-3

_INCREASING = Statement(
    "Figure 5",
    "g is increasing.",
    "Steps of 1° from 0° to 180°.",
)
_BELOW = Statement(
    "Figure 5",
    "0 ≤ g(θ) ≤ θ, and g(θ) = θ at θ = 0 only: embeddings come closer in every layer.",
    "At each degree from 0° to 180°.",
)
_TO_ZERO = Statement(
    "Appendix A.1",
    "g applied again and again tends to 0: embeddings become parallel, while gradients do not.",
    "Each step from 100 to 10 000 layers, for input angles from 1° to 180°.",
)
_EXPANSION = Statement(
    "Appendix E.6",
    "g(θ) = θ − θ²/3π + o(θ²) for small θ.",
    "The remainder divided by θ² has to fall at each step of θ from 0.1 to 1e-5, and end below "
    "1e-3.",
)


def figure_5(run: Run) -> Part:
    """Return the part of the map g of one layer, and of several."""
    curves, deep = embeddings(_LAYERS), embeddings(_DEEP)
    place = levels(_LAYERS)
    lines = [Line(x=_GRID, y=_GRID, label="g(θ) = θ", style="dotted", hue=6)]
    for layers, cell in curves.groupby("layers"):
        x, y = cell["input_angle"].to_numpy(), cell["embedding_angle"].to_numpy()
        label = "1 layer: g" if layers == 1 else f"{layers} layers"
        lines.append(Line(x=x, y=y, label=label, level=place[layers]))  # type: ignore[index]
    panel = Panel(
        x="input angle θ (degrees)",
        y="embedding angle (degrees)",
        lines=lines,
        direct=True,
        x_kind="degrees",
        y_kind="degrees",
    )
    return Part(
        name="figure-5",
        title="Figure 5: the angle of embeddings, layer by layer",
        text="g is the angle of two samples after one ReLU layer of infinite width.",
        command="fastntk figure 5" + run.options(),
        tables={"": curves, "limit": deep},
        drawings={"": Sheet(title="ReLU, infinite width", panels=[panel])},
        claims=(
            judge_increasing(curves),
            judge_below(curves),
            judge_limit(deep),
            judge_expansion(_SMALL, infinite.angle_map(_SMALL)),
        ),
    )


def embeddings(layers: tuple[int, ...]) -> pd.DataFrame:
    """Return the angle after so many layers, for each degree from 0 to 180."""
    import pandas as pd

    found = infinite.embedding_angle(np.radians(_GRID), layers)
    index = pd.MultiIndex.from_product([layers, _GRID], names=["layers", "input_angle"])
    frame = pd.DataFrame({"embedding_angle": np.degrees(found).ravel()}, index=index)
    return frame.reset_index().assign(activation="relu", width="infinite")


def judge_increasing(frame: pd.DataFrame) -> Claim:
    """Judge whether the values of one layer rise with θ."""
    one = frame[frame["layers"] == 1].sort_values("input_angle")["embedding_angle"]
    return count((np.diff(one) > 0).tolist(), "step").claim(
        _INCREASING, f"from {one.iloc[0]:.4g}° to {one.iloc[-1]:.4g}°"
    )


def judge_below(frame: pd.DataFrame) -> Claim:
    """Judge whether values of one layer are between 0 and θ, and below θ but at 0."""
    one = frame[frame["layers"] == 1]
    theta, value = one["input_angle"], one["embedding_angle"]
    inside = (value >= 0) & ((value < theta) | ((theta == 0) & (value == 0)))
    largest = (theta - value).max()
    return count(inside.tolist(), "angle").claim(_BELOW, f"θ − g(θ) is at most {largest:.4g}°")


def judge_limit(frame: pd.DataFrame) -> Claim:
    """Judge whether angles fall with each step of layers, at every input angle."""
    table = frame[frame["input_angle"] > 0].pivot_table(
        index="layers", columns="input_angle", values="embedding_angle"
    )
    falls = np.diff(table.to_numpy(), axis=0) < 0
    most, deepest = table.iloc[-1].max(), table.index[-1]
    return count(falls.ravel().tolist(), "step").claim(
        _TO_ZERO, f"after {deepest} layers at most {most:.3g}°"
    )


def judge_expansion(theta: np.ndarray, value: np.ndarray) -> Claim:
    """Judge whether the remainder over θ² falls with θ."""
    sizes = np.abs(value - theta + theta**2 / (3 * math.pi)) / theta**2
    answers = [*(np.diff(sizes) < 0).tolist(), bool(sizes[-1] < _NOTHING)]
    return count(answers, "condition").claim(
        _EXPANSION, f"{sizes[-1]:.1e} of θ² is left at θ = {theta[-1]:g}"
    )
