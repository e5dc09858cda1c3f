# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figures 1 and 2: the angle between gradients against that between samples, at infinite width."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk import infinite
from fastntk.activations import label_of
from fastntk.figures.panels import Limit, Sheet
from fastntk.paper.angle_panel import angle_panel
from fastntk.paper.claims import Statement, count, from_to, steps, together
from fastntk.paper.part import Part
from fastntk.paper.run import kept_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fastntk.paper.claims import Claim
    from fastntk.paper.run import Run

# Input angles of the curves, in degrees; 0 is left out, where the gradients are parallel as well.
_GRID = tuple(range(2, 181, 2))
_DEPTHS = (1, 2, 4, 8, 16, 32)
_DEPTHS_OF_OTHERS = (1, 3, 6)
_OTHERS = ("relu2", "gelu", "tanh")

# Where claims are judged: close samples, and depths that show a limit. ReLU's is approached slowly.
_CLOSE = (0.1, 1.0, 5.0)
_ANGLES = (1.0, 10.0, 60.0, 120.0, 179.0)
_DEEP = (100, 1000, 10_000, 100_000)
_DEEP_OF_OTHERS = (1, 10, 100, 300)
_SMALL = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)

# What may be left of an expansion's remainder.
_NOTHING = 1e-3

# As near to the limit, in degrees, as the deepest network has to come.
_AT_LIMIT = 1.0

_THEOREM_32 = Statement(
    "Theorem 3.2",
    "For close samples cos φ_L = (1 − Lθ/2π) cos θ + o(θ): gradients are further apart.",
    "The remainder divided by θ has to fall at each step of θ from 0.1 to 1e-6, and end below "
    "1e-3.",
)
_COROLLARY_33 = Statement(
    "Corollary 3.3",
    "φ_L > θ for θ = o(1/L): the gradients of close samples are further apart than the samples.",
    "θ = c/L for c from 0.1 to 1e-6 at each depth.",
)
_FIGURE_1 = Statement(
    "Figure 1",
    "The deeper the network, the larger the angle between the gradients of close samples.",
    "Steps from each depth to the next, at input angles of 0.1°, 1° and 5°.",
)
_THEOREM_35 = Statement(
    "Theorem 3.5",
    "At infinite depth all gradients are at the same angle arccos(1/4) = 75.52°.",
    "The distance from it has to fall at each step from depth 100 to 100 000, for input angles "
    "from 1° to 179°, and to end below 1°.",
)
_FIGURE_2 = Statement(
    "Figure 2",
    "ReLU², GELU and tanh separate close samples as well, and more so with depth.",
    "φ_L > θ, and steps from each depth to the next, at input angles of 0.1°, 1° and 5°.",
)
_LIMIT_90 = Statement(
    "Figure 2",
    "For ReLU², GELU and tanh the gradients become orthogonal with depth.",
    "The distance from 90° has to be smaller at depth 300 than at depth 1, and below 1°, for input "
    "angles from 1° to 179°; 90° itself is where it stays.",
)


def angles(
    run: Run, activations: Sequence[str], depths: Sequence[int], theta: Sequence[float]
) -> pd.DataFrame:
    """Return gradient angles at infinite width, in degrees: a row for each input angle."""
    import pandas as pd

    def compute(name: str, _: object) -> pd.DataFrame:
        network = infinite.Network(depths, name)
        found = network.gradient_angle(np.radians(theta), bounds=True)
        index = pd.MultiIndex.from_product([depths, theta], names=["depth", "input_angle"])
        frame = pd.DataFrame(
            {
                "gradient_angle": np.degrees(found.angle).ravel(),
                "resolved": found.resolved.ravel(),
            },
            index=index,
        ).reset_index()
        return frame.assign(
            activation=name, width="infinite", weight_std=1.0, bias_std=0.0, tolerance=1e-10
        )

    pieces = {
        name: {"activation": name, "depths": list(depths), "theta": list(theta)}
        for name in activations
    }
    return kept_tables(run, "angles at infinite width", pieces, compute)


def figure_1(run: Run) -> Part:
    """ReLU networks of several depths."""
    curves = angles(run, ["relu"], _DEPTHS, _GRID)
    small = remainders(_DEPTHS, _SMALL)
    close = angles(run, ["relu"], (0, *_DEPTHS), _CLOSE)
    deep = angles(run, ["relu"], _DEEP, _ANGLES)
    limit = math.degrees(infinite.limit_angle())
    sheet = Sheet(
        title="ReLU, infinite width: formula of Lemma 3.1",
        panels=[angle_panel(curves, "", [Limit(value=limit, label="infinite\ndepth\n75.52°")])],
    )
    return Part(
        name="figure-1",
        title="Figure 1: gradient angle against input angle, ReLU",
        text="Above the dotted diagonal gradients are further apart than samples.",
        command="fastntk figure 1" + run.options(),
        tables={"": curves, "small-angles": small, "close-samples": close, "limit": deep},
        drawings={"": sheet},
        claims=(
            judge_expansion(small),
            judge_corollary(small),
            judge_depth(close, _FIGURE_1),
            judge_limit(deep, _THEOREM_35, limit, every_step=True),
        ),
    )


def figure_2(run: Run) -> Part:
    """Other activations."""
    curves = angles(run, _OTHERS, _DEPTHS_OF_OTHERS, _GRID)
    close = angles(run, _OTHERS, (0, *_DEPTHS_OF_OTHERS), _CLOSE)
    deep = angles(run, _OTHERS, _DEEP_OF_OTHERS, _ANGLES)
    right_angle = [Limit(value=90.0, label="infinite\ndepth\n90°")]
    sheet = Sheet(
        title="Infinite width, activations scaled to E[φ²] = 1",
        panels=[
            angle_panel(curves[curves["activation"] == name], label_of(name), right_angle)
            for name in _OTHERS
        ],
        columns=3,
    )
    return Part(
        name="figure-2",
        title="Figure 2: gradient angle against input angle, other activations",
        text="The same curves for activations that the theorems of the paper do not cover.",
        command="fastntk figure 2" + run.options(),
        tables={"": curves, "close-samples": close, "limit": deep},
        drawings={"": sheet},
        claims=(judge_depth(close, _FIGURE_2), judge_limit(deep, _LIMIT_90, 90.0)),
    )


def remainders(depths: Sequence[int], small: Sequence[float]) -> pd.DataFrame:
    """Return how far Theorem 3.2's expansion is from the formula, and Corollary 3.3's angles."""
    import pandas as pd

    rows = []
    for depth in depths:
        at = np.array(small)
        angle = infinite.gradient_angle(at, depth)
        # 1 − cos x = 2 sin²(x/2), which does not cancel.
        exact = 2 * np.sin(angle / 2) ** 2
        expansion = 2 * np.sin(at / 2) ** 2 + depth * at / (2 * math.pi) * np.cos(at)
        scaled = infinite.gradient_angle(at / depth, depth)
        rows.append(
            pd.DataFrame(
                {
                    "depth": depth,
                    "theta": at,
                    "gradient_angle": angle,
                    "remainder_over_theta": np.abs(exact - expansion) / at,
                    "theta_over_depth": at / depth,
                    "gradient_angle_at_theta_over_depth": scaled,
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def judge_expansion(frame: pd.DataFrame) -> Claim:
    """Theorem 3.2: the remainder over θ falls to 0 with θ."""
    answers = []
    for _, cell in frame.groupby("depth"):
        sizes = cell.sort_values("theta", ascending=False)["remainder_over_theta"].to_numpy()
        answers += [*(np.diff(sizes) < 0).tolist(), bool(sizes[-1] < _NOTHING)]
    last = frame.loc[frame["theta"] == frame["theta"].min(), "remainder_over_theta"].max()
    smallest = frame["theta"].min()
    return count(answers, "condition").claim(
        _THEOREM_32, f"at most {last:.1e} of θ is left at θ = {smallest:g}"
    )


def judge_corollary(frame: pd.DataFrame) -> Claim:
    """Corollary 3.3: φ_L > θ at θ = c/L."""
    ratio = frame["gradient_angle_at_theta_over_depth"] / frame["theta_over_depth"]
    return count((ratio > 1).tolist()).claim(_COROLLARY_33, f"φ_L/θ is at least {ratio.min():.4g}")


def judge_depth(frame: pd.DataFrame, statement: Statement) -> Claim:
    """Close samples: the gradient angle rises with each depth, from the input angle at depth 0."""
    total, numbers = [], []
    for (name, theta), cell in frame.groupby(["activation", "input_angle"]):
        known = cell.assign(seed=0, gradient_angle=cell["gradient_angle"].where(cell["resolved"]))
        total.append(steps(known, "gradient_angle", rising=True, exact=True))
        if theta == frame["input_angle"].max():
            numbers.append(f"{label_of(str(name))}: {from_to(known, 'gradient_angle')}")
    return together(total).claim(statement, "; ".join(numbers) + " (degrees)")


def judge_limit(
    frame: pd.DataFrame, statement: Statement, limit: float, *, every_step: bool = False
) -> Claim:
    """Return whether the angles tend to a limit, by the deepest networks."""
    answers: list[bool | None] = []
    last = []
    for _, cell in frame.groupby(["activation", "input_angle"]):
        rows = cell.sort_values("depth")
        gaps = (rows["gradient_angle"].where(rows["resolved"]) - limit).abs().to_numpy()
        last.append(float(gaps[-1]))
        if np.isnan(gaps).any():
            answers.append(None)
            continue
        nearer = (np.diff(gaps) < 0).all() if every_step else gaps[-1] <= gaps[0]
        answers.append(bool(nearer and gaps[-1] < _AT_LIMIT))
    deepest, most = frame["depth"].max(), max(last)
    return count(answers, "input angle").claim(
        statement,
        f"at depth {deepest} at most {most:.2g}° from {limit:.2f}°"
        if math.isfinite(most)
        else f"not resolved for all angles at depth {deepest}",
    )
