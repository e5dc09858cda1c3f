# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figure 6: gradient angles of networks with other scales of initial weights.

Weights s_l times as large in layer l make the gradient of every other layer s_l times as large: up
to a common factor the kernel weighs layer l by ω_l = 1/s_l². For ReLU, which is positively
homogeneous, nothing else changes, so that one scale for all layers leaves every angle as it is.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.display import counted
from fastntk.figures.panels import Sheet
from fastntk.kernels.angles import gradient_angles
from fastntk.mlp import MLP
from fastntk.paper.angle_panel import angle_panel
from fastntk.paper.claims import Statement, compared, count, steps, together
from fastntk.paper.part import Part
from fastntk.paper.run import kept_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fastntk.paper.claims import Claim
    from fastntk.paper.run import Run

_DEPTHS = (1, 3, 6)
_GRID = (2.0, 5.0, 10.0, *np.arange(20.0, 181.0, 10.0).tolist())
_CLOSE = (2.0, 5.0)

# By its name, the scale of the first and of the last layer; the others have 1.
_CASES: dict[str, tuple[float, float]] = {
    "all layers alike": (1.0, 1.0),
    "first layer × 4": (4.0, 1.0),
    "first layer ÷ 4": (0.25, 1.0),
    "last layer × 4": (1.0, 4.0),
}
_COMMON = "all layers × 3"
_STANDARD = "standard parametrization"

_SEPARATION = Statement(
    "Figure 6",
    "With other scales of the initial weights, too, the gradients of close samples are further "
    "apart than the samples.",
    "Mean over seeds whose 95 % interval is above θ, at input angles of 2° and 5°.",
)
_DEEPER = Statement(
    "Figure 6",
    "With other scales, too, deeper networks separate close samples more.",
    "Steps of depth from 1 to 3 to 6, seed by seed, at input angles of 2° and 5°.",
)
_HOMOGENEOUS = Statement(
    "Figure 6",
    "A scale that is common to all layers changes no angle (ReLU is positively homogeneous).",
    "Largest difference from the networks of scale 1, in degrees, seed by seed; rounding of "
    "float64 allows 1e-5.",
)


def figure_6(run: Run) -> Part:
    """Random networks of several depths, for each choice of scales."""
    seeds, width = run.several_seeds(20, 20), run.of_width()
    frame = random_angles(run, seeds, width)
    drawn = [name for name in (*_CASES, _STANDARD) if name in set(frame["scales"])]
    return Part(
        name="figure-6",
        title="Figure 6: gradient angle against input angle at other scales of initial weights",
        text=(
            "Unit pairs at angle θ. Weights of layer l are s_l times as large as in the NTK "
            "parametrization; angles are measured at finite width. Bands and bars are standard "
            "deviations over seeds. The paper does not give its scales as numbers: these are ours."
        ),
        command="fastntk figure 6" + run.options(),
        tables={"": frame},
        drawings={
            "": Sheet(
                title=f"ReLU, width {width}, {counted(len(seeds), 'seed')}",
                panels=[angle_panel(frame[frame["scales"] == name], name) for name in drawn],
                columns=3,
            )
        },
        claims=(
            judge_separation(frame),
            judge_depth(frame),
            judge_common_scale(frame),
        ),
    )


def random_angles(run: Run, seeds: Sequence[int], width: int) -> pd.DataFrame:
    """Return a row for each choice of scales, depth, seed and input angle."""
    pieces: dict[str, dict[str, Any]] = {
        f"depth {depth}, seed {seed}": {
            "depth": depth,
            "seed": seed,
            "width": width,
            "cases": {name: list(scales) for name, scales in _CASES.items()},
            "others": [_COMMON, _STANDARD],
            "angles": list(_GRID),
        }
        for depth in _DEPTHS
        for seed in seeds
    }

    def compute(name: str, _: object) -> pd.DataFrame:
        piece = pieces[name]
        return _of_network(piece["depth"], piece["seed"], piece["width"])

    return kept_tables(run, "scales of initial weights", pieces, compute)


def _of_network(depth: int, seed: int, width: int) -> pd.DataFrame:
    import pandas as pd

    radians = np.radians([0.0, *_GRID])
    circle = np.stack([np.cos(radians), np.sin(radians)], axis=1)
    settings: dict[str, Any] = {"seed": seed, "dtype": "float64"}
    widths = [2, *[width] * depth, 1]
    net = MLP(widths, **settings)
    kernels = {}
    for name, (first, last) in _CASES.items():
        weights = np.ones(depth + 1)
        weights[0], weights[-1] = first**-2, last**-2
        kernels[name] = net.ntk(circle, layer_weights=weights)
    kernels[_COMMON] = MLP(widths, weight_std=3.0, **settings).ntk(circle)
    kernels[_STANDARD] = MLP(widths, parametrization="standard", **settings).ntk(circle)
    return pd.concat(
        [
            pd.DataFrame(
                {
                    "scales": name,
                    "depth": depth,
                    "seed": seed,
                    "width": width,
                    "input_angle": _GRID,
                    "gradient_angle": np.degrees(gradient_angles(kernel)[0, 1:]),
                    "activation": "relu",
                }
            )
            for name, kernel in kernels.items()
        ],
        ignore_index=True,
    )


def judge_separation(frame: pd.DataFrame) -> Claim:
    """Judge whether close samples have a mean angle above the input angle, in all cases."""
    close = frame[frame["input_angle"].isin(_CLOSE)]
    groups = close.groupby(["scales", "depth", "input_angle"])
    answers = [
        compared(cell["gradient_angle"], cell["input_angle"], among=groups.ngroups)
        for _, cell in groups
    ]
    least = (close["gradient_angle"] / close["input_angle"]).min()
    return count(answers).claim(_SEPARATION, f"φ/θ is at least {least:.3g} in any network")


def judge_depth(frame: pd.DataFrame) -> Claim:
    """Judge whether the angle of close samples rises with depth, for all scales."""
    close = frame[frame["input_angle"].isin(_CLOSE)]
    groups = close.groupby(["scales", "input_angle"])
    total = together(
        steps(cell, "gradient_angle", rising=True, groups=groups.ngroups) for _, cell in groups
    )
    at = close[(close["input_angle"] == _CLOSE[-1])]
    means = at.pivot_table(index="scales", columns="depth", values="gradient_angle")
    worst = (means.iloc[:, -1] - means.iloc[:, 0]).idxmin()
    numbers = " → ".join(f"{value:.3g}°" for value in means.loc[str(worst)])
    return total.claim(_DEEPER, f"least for “{worst}”: {numbers} at θ = {_CLOSE[-1]:g}°")


def judge_common_scale(frame: pd.DataFrame) -> Claim:
    """Judge whether the angles at scales 1 and 3 of all layers are the same."""
    keys = ["depth", "seed", "input_angle"]
    one, two = (
        frame[frame["scales"] == name].set_index(keys)["gradient_angle"].sort_index()
        for name in ("all layers alike", _COMMON)
    )
    difference = (one - two).abs()
    most = float(difference.max())
    answers: list[bool | None] = [
        None if math.isnan(value) else value < 1e-5 for value in difference
    ]
    return count(answers, "angle").claim(_HOMOGENEOUS, f"the largest difference is {most:.1e}°")
