# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The theorems that have no figure in the paper, each measured on samples drawn at random."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import infinite
from fastntk.figures.panels import Limit, Line, Panel, Sheet, levels
from fastntk.kernels.angles import angle_bound
from fastntk.paper.claims import Claim, Statement, count, from_to, steps, together
from fastntk.paper.part import Part
from fastntk.paper.run import kept_tables
from fastntk.studies.power_law import fit_power_law
from fastntk.studies.width import monte_carlo_ntk

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fastntk.paper.run import Run

    Array = np.ndarray[tuple[int, int], np.dtype[np.float64]]

# Samples on the sphere: fewer than dimensions, so that the Gram matrix has a λ_min; and more.
_FEW, _MANY = (50, 100), (50, 10)
_DEPTHS = tuple(range(17))
_DEEP = (1, 10, 100, 1000, 10_000, 100_000)
_PAIRS = (0.001, 0.01, 0.1, 0.3)
_WIDTHS = (64, 128, 256, 512, 1024)
_WIDE_DEPTHS = (1, 3, 6)

# Fitted exponents that are so near to 1/2 count as 1/2: the deviation has higher orders of 1/m.
_RATE_ERROR = 0.1
_AT_LIMIT = 0.01
# κ of the linear network and of the Gram matrix are the same up to rounding.
_SAME = 1e-9

LEMMA_31 = Statement(
    "Lemma 3.1",
    "As the width m grows, the kernel of a random network tends to its formula, at rate 1/√m.",
    "Exponent fitted to the root mean square deviation from the formula against m: 1/2 ± 0.1.",
)
THEOREM_23 = Statement(
    "Theorem 2.3",
    "In the linear network of infinite width φ = θ, at every depth.",
    "Difference of all pairs of angles at depths 1 to 16, in degrees: below 1e-9.",
)
COROLLARY_24 = Statement(
    "Corollary 2.4",
    "In the linear network κ is that of the Gram matrix, at every depth.",
    "Relative difference at depths 1 to 16: below 1e-9.",
)
PROPOSITION_41 = Statement(
    "Proposition 4.1",
    "A small angle between two gradients makes λ_min small, and κ at least of order 1/φ².",
    "λ_min of each kernel against the λ_min of its closest pair alone, which it cannot exceed.",
)
THEOREM_42 = Statement(
    "Theorem 4.2",
    "If only the first layer is trained, λ_min rises above that of the Gram matrix, λ_max falls "
    "below it, and κ falls with depth.",
    "Normalized kernels at infinite width: both inequalities at depths 1 to 16, and steps of κ.",
)
THEOREM_43 = Statement(
    "Theorem 4.3",
    "At infinite depth κ does not depend on the data: it tends to 1 + n/3.",
    "The relative distance has to fall at each step from depth 10 to 100 000, and end below 1 %.",
)
THEOREM_F1 = Statement(
    "Theorem F.1",
    "For two close samples κ is below that of their Gram matrix, and falls with depth.",
    "κ = cot²(φ/2) at depths 0 to 16, for angles from 0.001 to 0.3.",
)


def theorems(run: Run) -> Part:
    """All of them on one sheet."""
    width = wide_networks(run, _WIDTHS, run.sized(50, 200))
    linear, first, closest = linear_network(), first_layer(), closest_pairs()
    deep, pairs = infinite_depth(_DEEP), two_samples()
    n = _MANY[0]
    sheet = Sheet(
        title=f"Samples drawn at random on the sphere; κ at infinite width, n = {n}",
        panels=[
            _width_panel(width),
            _first_layer_panel(first),
            Panel(
                title="Theorem 4.3: infinite depth",
                x="depth",
                y="condition number κ",
                lines=[_line(deep, "depth", "condition_number", "ReLU", style="both")],
                direct=True,
                limits=[Limit(value=1 + n / 3, label=f"1 + n/3\n= {1 + n / 3:.2f}")],
                x_kind="log",
                y_kind="log",
            ),
            _pairs_panel(pairs),
        ],
    )
    return Part(
        name="theorems",
        title="Theorems on the condition number, and the limit of infinite width",
        text=(
            f"{_FEW[0]} samples in {_FEW[1]} dimensions where the Gram matrix has to be regular, "
            f"{_MANY[0]} in {_MANY[1]} elsewhere; all of norm 1."
        ),
        command="fastntk reproduce --only theorems" + run.options(),
        tables={
            "width": width,
            "linear": linear,
            "first-layer": first,
            "closest-pairs": closest,
            "infinite-depth": deep,
            "two-samples": pairs,
        },
        drawings={"": sheet},
        claims=(
            judge_rate(width),
            *judge_linear(linear),
            judge_bound(closest, "random, on the sphere"),
            judge_first_layer(first),
            judge_infinite_depth(deep),
            judge_pairs(pairs),
        ),
    )


def on_sphere(shape: tuple[int, int]) -> Array:
    """Return random samples of norm 1, always the same."""
    X = np.random.default_rng(0).standard_normal(shape)
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True))


def wide_networks(run: Run, widths: Sequence[int], networks: int) -> pd.DataFrame:
    """Return how far kernels of random networks are from the limit: a row a depth and width."""
    import pandas as pd

    X = on_sphere((8, 4))

    def compute(name: str, _: object) -> pd.DataFrame:
        depth = pieces[name]["depth"]
        found = monte_carlo_ntk(X, widths, networks, depth=depth)
        size = np.linalg.norm(found.limit)
        bias = np.linalg.norm(found.mean - found.limit, axis=(1, 2)) / size
        return pd.DataFrame(
            {
                "depth": depth,
                "width": widths,
                "networks": networks,
                "deviation": np.sqrt(found.fluctuation**2 + bias**2),
                "fluctuation": found.fluctuation,
                "bias": bias,
                "activation": "relu",
            }
        )

    pieces: dict[str, dict[str, Any]] = {
        f"depth {depth}": {"depth": depth, "widths": list(widths), "networks": networks}
        for depth in _WIDE_DEPTHS
    }
    return kept_tables(run, "random networks", pieces, compute)


def linear_network() -> pd.DataFrame:
    """Return angles and κ of linear networks of infinite width, beside those of the samples."""
    import pandas as pd

    X = on_sphere(_FEW)
    angles = infinite.gradient_angle(np.linspace(0.01, 3.1, 100), _DEPTHS, "identity")
    found = infinite.conditioning(X, _DEPTHS, "identity")
    return pd.DataFrame(
        {
            "depth": _DEPTHS,
            "largest_angle_difference": np.degrees(np.abs(angles - angles[0])).max(axis=1),
            "condition_number": [each.condition_number for each in found],
            "samples": len(X),
        }
    )


def first_layer() -> pd.DataFrame:
    """Return the eigenvalues of normalized kernels of the first layer alone; depth 0: the Gram."""
    import pandas as pd

    X = on_sphere(_FEW)
    rows = []
    for depth in _DEPTHS:
        only_first = [1.0, *[0.0] * depth]
        network = infinite.Network(depth, layer_weights=only_first)
        found = network.conditioning(X, normalize=True)
        rows.append(
            {
                "depth": depth,
                "eigenvalue_min": found.eigenvalue_min,
                "eigenvalue_max": found.eigenvalue_max,
                "condition_number": found.condition_number,
                "seed": 0,
                "samples": len(X),
            }
        )
    return pd.DataFrame(rows)


def closest_pairs() -> pd.DataFrame:
    """Return λ_min of kernels of infinite width, beside that of their closest pair alone."""
    import pandas as pd

    X = on_sphere(_MANY)
    depths = _DEPTHS[1:]
    found = infinite.conditioning(X, depths)
    kernels = infinite.ntk(X, depth=depths)
    return pd.DataFrame(
        {
            "depth": depths,
            "eigenvalue_min": [each.eigenvalue_min for each in found],
            "eigenvalue_min_bound": [angle_bound(kernel) for kernel in kernels],
            "condition_number": [each.condition_number for each in found],
            "samples": len(X),
        }
    )


def infinite_depth(depths: Sequence[int]) -> pd.DataFrame:
    """Return κ of normalized kernels of very deep networks, and their distance from 1 + n/3."""
    import pandas as pd

    X = on_sphere(_MANY)
    limit = infinite.limit_condition_number(len(X))
    kappa = [
        found.condition_number for found in infinite.conditioning(X, list(depths), normalize=True)
    ]
    return pd.DataFrame(
        {
            "depth": depths,
            "condition_number": kappa,
            "limit": limit,
            "distance": np.abs(np.array(kappa) / limit - 1),
            "samples": len(X),
        }
    )


def two_samples() -> pd.DataFrame:
    """Return κ of two samples of norm 1 at some angles: a row for each angle and depth."""
    import pandas as pd

    angles = infinite.gradient_angle(_PAIRS, _DEPTHS)
    index = pd.MultiIndex.from_product([_DEPTHS, _PAIRS], names=["depth", "theta"])
    # The eigenvalues of [[1, cos φ], [cos φ, 1]] are 2 cos²(φ/2) and 2 sin²(φ/2).
    frame = pd.DataFrame(
        {"gradient_angle": angles.ravel(), "condition_number": np.tan(angles.ravel() / 2) ** -2},
        index=index,
    )
    return frame.reset_index().assign(seed=0)


def _line(
    frame: pd.DataFrame, x: str, y: str, label: str, *, style: str = "line", hue: int = 0
) -> Line:
    return Line(
        x=frame[x].to_numpy(np.float64),
        y=frame[y].to_numpy(np.float64),
        label=label,
        style=style,
        hue=hue,
    )


def _width_panel(frame: pd.DataFrame) -> Panel:
    place = levels(frame["depth"].tolist())
    lines = []
    for depth, rows in frame.groupby("depth"):
        widths = rows["width"].to_numpy(np.float64)
        lines.append(
            Line(
                x=widths,
                y=rows["deviation"].to_numpy(),
                label=f"depth {depth}",
                level=place[depth],  # type: ignore[index]
                style="both",
            )
        )
    first = frame[frame["depth"] == frame["depth"].min()].sort_values("width")
    widths = first["width"].to_numpy(np.float64)
    half = 0.7 * first["deviation"].iloc[0] * np.sqrt(widths[0] / widths)
    lines.append(Line(x=widths, y=half, label="slope of 1/√m", style="dotted", hue=6))
    networks = int(frame["networks"].iloc[0])
    return Panel(
        title=f"Lemma 3.1: {networks} random networks each",
        x="width m",
        y="relative deviation of the kernel",
        lines=lines,
        direct=True,
        x_kind="log",
        y_kind="log",
    )


def _first_layer_panel(frame: pd.DataFrame) -> Panel:
    gram = frame.loc[frame["depth"] == 0, "condition_number"].iloc[0]
    return Panel(
        title="Theorem 4.2: first layer only",
        x="depth",
        y="condition number κ",
        lines=[_line(frame, "depth", "condition_number", "ReLU", style="both")],
        direct=True,
        limits=[Limit(value=gram, label=f"Gram\nmatrix\n{gram:.3g}")],
        x_kind="whole",
        y_kind="log",
    )


def _pairs_panel(frame: pd.DataFrame) -> Panel:
    lines = [
        _line(rows, "depth", "condition_number", f"θ = {theta:g} rad", style="both", hue=1 + k)
        for k, (theta, rows) in enumerate(frame.groupby("theta"))
    ]
    return Panel(
        title="Theorem F.1: two samples",
        x="depth",
        y="condition number κ",
        lines=lines,
        direct=True,
        x_kind="whole",
        y_kind="log",
    )


def judge_rate(frame: pd.DataFrame) -> Claim:
    """Lemma 3.1: the fitted exponents are 1/2; undecided if their errors are too large to tell."""
    answers: list[bool | None] = []
    numbers = []
    for depth, rows in frame.groupby("depth"):
        slope, error = fit_power_law(rows["width"], rows["deviation"])
        numbers.append(f"{-slope:.3f} ± {error:.3f} at depth {depth}")
        away = abs(-slope - 0.5)
        if math.isnan(error) or away + error <= _RATE_ERROR:
            answers.append(None if math.isnan(error) else True)
        else:
            answers.append(None if away - 2 * error <= _RATE_ERROR else False)
    return count(answers, "depth").claim(
        LEMMA_31, f"exponents {', '.join(numbers)}", "random, on the sphere"
    )


def judge_linear(frame: pd.DataFrame) -> tuple[Claim, Claim]:
    """Theorem 2.3 and Corollary 2.4: nothing changes with depth."""
    beyond = frame[frame["depth"] > 0]
    gram = frame.loc[frame["depth"] == 0, "condition_number"].iloc[0]
    angle = beyond["largest_angle_difference"]
    kappa = (beyond["condition_number"] / gram - 1).abs()
    return (
        count((angle < _SAME).tolist(), "depth").claim(
            THEOREM_23, f"the largest difference is {angle.max():.1e}°"
        ),
        count([None if math.isnan(k) else k < _SAME for k in kappa], "depth").claim(
            COROLLARY_24,
            f"κ = {gram:.6g}, relative differences of at most {kappa.max():.1e}",
            "random, on the sphere",
        ),
    )


def judge_bound(frame: pd.DataFrame, data: str) -> Claim:
    """Proposition 4.1: no λ_min is above that of the closest pair.

    A λ_min that is not resolved is below the noise floor, which decides where that is low enough.
    """
    most = frame["eigenvalue_min"]
    hidden = most.isna()
    if "noise_floor" in frame:
        most = most.fillna(frame["noise_floor"])
    answers: list[bool | None] = [
        True if low <= bound else None if unknown else False
        for low, bound, unknown in zip(most, frame["eigenvalue_min_bound"], hidden, strict=True)
    ]
    share = (frame["eigenvalue_min"] / frame["eigenvalue_min_bound"])[~hidden]
    numbers = (
        f"where λ_min is resolved ({len(share)}) it is {share.min():.2g} to {share.max():.2g} of "
        "that of the closest pair"
        if len(share)
        else "λ_min is not resolved"
    )
    return count(answers, "kernel").claim(PROPOSITION_41, numbers, data)


def judge_first_layer(frame: pd.DataFrame) -> Claim:
    """Theorem 4.2: both inequalities, and the steps of κ."""
    gram = frame[frame["depth"] == 0].iloc[0]
    beyond = frame[frame["depth"] > 0]
    inequalities = count(
        [
            bool(low > gram["eigenvalue_min"] and high < gram["eigenvalue_max"])
            if math.isfinite(low)
            else None
            for low, high in zip(beyond["eigenvalue_min"], beyond["eigenvalue_max"], strict=True)
        ]
    )
    falls = steps(frame, "condition_number", rising=False, exact=True)
    return together([inequalities, falls], "comparison").claim(
        THEOREM_42, f"κ {from_to(frame, 'condition_number')}", "random, on the sphere"
    )


def judge_infinite_depth(frame: pd.DataFrame) -> Claim:
    """Theorem 4.3: the distance from 1 + n/3 falls, and is small at the end."""
    rows = frame.sort_values("depth")
    # The first of these depths is far from any limit.
    gaps = rows["distance"].to_numpy()[1:]
    answers = [
        None if math.isnan(change) else bool(change < 0) for change in np.diff(gaps).tolist()
    ]
    answers.append(None if math.isnan(gaps[-1]) else bool(gaps[-1] < _AT_LIMIT))
    last = rows.iloc[-1]
    return count(answers, "condition").claim(
        THEOREM_43,
        f"κ = {last['condition_number']:.4f} at depth {last['depth']:g}, the limit "
        f"{last['limit']:.4f} (n = {last['samples']:g})",
        "random, on the sphere",
    )


def judge_pairs(frame: pd.DataFrame) -> Claim:
    """Theorem F.1: κ falls from that of the Gram matrix at each step of depth."""
    cells = list(frame.groupby("theta"))
    total = together(steps(rows, "condition_number", rising=False, exact=True) for _, rows in cells)
    theta, rows = cells[0]
    return total.claim(THEOREM_F1, f"κ {from_to(rows, 'condition_number')} at θ = {theta:g}")
