# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Figure 3: smallest gradient angle and condition number against depth, with ReLU and without.

Both ways: all samples at once, and by the protocol of the authors' code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.display import counted
from fastntk.figures.panels import Limit, Line, Panel, Sheet
from fastntk.paper.claims import (
    Claim,
    Count,
    Statement,
    above_some,
    compared,
    count,
    falling,
    from_to,
    steps,
)
from fastntk.paper.part import Part
from fastntk.paper.parts.minibatches import Protocol, minibatch_study
from fastntk.paper.parts.theorems import judge_bound
from fastntk.paper.samples import part_of, raw_pixels, samples
from fastntk.studies.depth import depth_study

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fastntk.paper.run import Run
    from fastntk.studies.depth_results import DepthStudy

# Samples of the kernel that is formed as a whole: each depth needs 8 n² bytes and n³/3 operations.
_AT_ONCE, _AT_ONCE_FULL = 2000, 10_000
_ANGLE_SAMPLES = 5000
_BATCHES = 4

# An axis is not stretched to a limit that is more than so many times its largest value.
_NEAR_LIMIT = 2.0

# The angle of the linear network counts as unchanged within this share of ReLU's gain.
_UNCHANGED = 0.1

_NAMES = (("relu", "ReLU", 0), ("identity", "linear", 1))

ANGLE_GROWS = Statement(
    "Figure 3",
    "With ReLU the smallest angle between gradients grows with depth.",
    "Steps of depth, seed by seed: a mean difference whose 95 % interval leaves out 0.",
)
ANGLE_ABOVE = Statement(
    "Figure 3",
    "With ReLU the smallest angle is larger than that of the linear network.",
    "At each depth from 1, seed by seed: a mean difference whose 95 % interval leaves out 0.",
)
KAPPA_FALLS = Statement(
    "Figure 3",
    "With ReLU the condition number falls with depth.",
    "Steps of depth, seed by seed; where λ_min is not resolved, κ is above λ_max/noise floor.",
)
KAPPA_BELOW = Statement(
    "Figure 3",
    "With ReLU the condition number is below that of the linear network.",
    "At each depth from 1, seed by seed; where λ_min is not resolved, κ is above λ_max/noise "
    "floor.",
)
LINEAR_STAYS = Statement(
    "Figure 3",
    "In the linear network the smallest angle does not change with depth.",
    "At each depth the mean differs from depth 0 by less than a tenth of ReLU's gain there; a "
    "larger difference is open where its 95 % interval has 0 in it.",
)


def figure_3(run: Run, data: str) -> Part:
    """Both protocols on one data set."""
    dataset = run.named(samples(data))
    seeds, width = run.several_seeds(3), run.of_width()
    depths = tuple(run.sized(range(11), range(21)))
    at_once = part_of(dataset, run.sized(_AT_ONCE, _AT_ONCE_FULL))
    study = depth_study(
        at_once.X,
        depths=depths,
        width=width,
        seeds=seeds,
        store=run.store,
        data=dataset.name,
        progress=run.progress,
    )
    whole = study.to_frame()
    bound = whole["eigenvalue_max"] / whole["noise_floor"]
    whole["condition_number_least"] = whole["condition_number"].fillna(bound)
    protocol = Protocol(
        X=dataset.X,
        raw=raw_pixels(data, run.sized(_ANGLE_SAMPLES, None)).X,
        depths=depths,
        seeds=seeds,
        width=width,
        most_batches=run.sized(_BATCHES, None),
    )
    batches = minibatch_study(run, protocol)
    n, m = len(at_once.X), protocol.batch_size
    ranks = whole[whole["activation"] == "identity"]["rank"]
    note = (
        f" The linear network's kernel has rank {ranks.max()} < n = {n}: its κ is infinite at "
        "every depth, and open marks show only what rounding leaves to be said, λ_max over the "
        "noise floor."
        if ranks.max() < n
        else ""
    )
    return Part(
        name=f"figure-3-{dataset.name}",
        title=f"Figure 3: smallest angle and condition number against depth, {dataset.name}",
        text=(
            f"Above: all pairs of {n} samples at once. Below: as in the authors' code, κ is a mean "
            f"over minibatches of {m} ({batches['batches'].max()} of each network), and angles are "
            f"those of {len(protocol.raw)} samples with pixels as they are in the files. Bars are "
            f"standard deviations over seeds.{note}"
        ),
        command="fastntk figure 3" + run.options(data),
        tables={"": whole, "minibatches": batches},
        drawings={
            "": Sheet(
                title=(
                    f"{dataset.name}: n = {len(dataset.X)}, width {width}, "
                    f"{counted(len(seeds), 'seed')}, networks in float32"
                ),
                panels=[
                    _angle_panel(whole, f"all pairs of {n} samples", study),
                    _kappa_panel(whole, f"{n} samples at once", study),
                    _angle_panel(batches, f"raw pixels, {len(protocol.raw)} samples", None),
                    _kappa_panel(batches, f"minibatches of {m}", None),
                ],
            )
        },
        claims=(
            *judged(whole, f"{dataset.name}, {n} at once"),
            judge_bound(whole, f"{dataset.name}, {n} at once"),
            *judged(batches, f"{dataset.name}, authors' protocol"),
        ),
    )


def _angle_panel(frame: pd.DataFrame, title: str, study: DepthStudy | None) -> Panel:
    limits = []
    if study is not None and study.limit_angle < _NEAR_LIMIT * frame["smallest_angle"].max():
        label = f"infinite\ndepth\n{study.limit_angle:.2f}°"
        limits.append(Limit(value=study.limit_angle, label=label))
    return Panel(
        title=title,
        x="depth",
        y="smallest gradient angle (degrees)",
        lines=[
            _over_seeds(frame[frame["activation"] == name], "smallest_angle", label, hue)
            for name, label, hue in _NAMES
        ],
        limits=limits,
        x_kind="whole",
        y_from_zero=True,
    )


def _kappa_panel(frame: pd.DataFrame, title: str, study: DepthStudy | None) -> Panel:
    lines = []
    for name, label, hue in _NAMES:
        rows = frame[frame["activation"] == name]
        known = rows.groupby("depth")["condition_number"].agg(lambda each: bool(each.notna().all()))
        resolved = rows[rows["depth"].map(known)]
        hidden = rows[~rows["depth"].map(known)]
        if len(resolved):
            lines.append(_over_seeds(resolved, "condition_number", label, hue))
        if len(hidden):
            above = f"{label}: smallest\neigenvalue unresolved,\nκ is above"
            lines.append(_over_seeds(hidden, "condition_number_least", above, hue, style="open"))
    limits = []
    if study is not None and np.isfinite(study.limit_condition_number):
        value = study.limit_condition_number
        limits.append(Limit(value=value, label=f"1 + n/3\n= {value:.4g}"))
    return Panel(
        title=title,
        x="depth",
        y="condition number κ",
        lines=lines,
        limits=limits,
        x_kind="whole",
        y_kind="log",
    )


def _over_seeds(rows: pd.DataFrame, column: str, label: str, hue: int, style: str = "both") -> Line:
    cells = rows.groupby("depth")[column].agg(["mean", "std"])
    return Line(
        x=cells.index.to_numpy(np.float64),
        y=cells["mean"].to_numpy(),
        spread=None if style == "open" else cells["std"].fillna(0.0).to_numpy(),
        label=label,
        style=style,
        hue=hue,
    )


def judged(frame: pd.DataFrame, data: str) -> tuple[Claim, ...]:
    """Return the statements of the figure, with their verdicts.

    Parameters
    ----------
    frame : DataFrame
        A row for each activation ("relu", "identity"), depth and seed, with ``smallest_angle``,
        ``condition_number`` and ``condition_number_least``.
    data : str
        What the samples are called.
    """
    relu, linear = (frame[frame["activation"] == name] for name in ("relu", "identity"))
    angle, kappa = (from_to(relu, name) for name in ("smallest_angle", "condition_number"))
    pairs = _paired(relu, linear)
    return (
        steps(relu, "smallest_angle", rising=True).claim(ANGLE_GROWS, f"{angle} (degrees)", data),
        count(
            [
                compared(a["smallest_angle"], b["smallest_angle"], among=len(pairs))
                for a, b in pairs
            ],
            "depth",
        ).claim(ANGLE_ABOVE, _ratios(pairs), data),
        falling(relu, "condition_number", "condition_number_least").claim(
            KAPPA_FALLS, f"mean κ {kappa}", data
        ),
        count(
            [
                above_some(
                    b["condition_number_least"],
                    b["condition_number"],
                    a["condition_number"],
                    among=len(pairs),
                )
                for a, b in pairs
            ],
            "depth",
        ).claim(KAPPA_BELOW, _linear_kappa(linear), data),
        _judge_linear(relu, linear).claim(
            LINEAR_STAYS, f"{from_to(linear, 'smallest_angle')} (degrees)", data
        ),
    )


def _paired(first: pd.DataFrame, second: pd.DataFrame) -> list[tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the rows of each depth from 1, in the order of their seeds."""
    depths = sorted(set(first["depth"]) & set(second["depth"]) - {0})
    return [
        (
            first[first["depth"] == depth].set_index("seed").sort_index(),
            second[second["depth"] == depth].set_index("seed").sort_index(),
        )
        for depth in depths
    ]


def _ratios(pairs: Sequence[tuple[pd.DataFrame, pd.DataFrame]]) -> str:
    ratios = [a["smallest_angle"].mean() / b["smallest_angle"].mean() for a, b in pairs]
    return f"{min(ratios):.2f} to {max(ratios):.2f} times as large"


def _linear_kappa(linear: pd.DataFrame) -> str:
    known = linear["condition_number"].notna()
    if not known.any():
        least = linear.loc[linear["depth"] > 0, "condition_number_least"].min()
        return f"that of the linear network is not resolved at any depth: above {least:.2g}"
    return f"linear network: κ {from_to(linear, 'condition_number')}"


def _judge_linear(relu: pd.DataFrame, linear: pd.DataFrame) -> Count:
    start = linear[linear["depth"] == 0].set_index("seed").sort_index()["smallest_angle"]
    answers: list[bool | None] = []
    pairs = _paired(relu, linear)
    for a, b in pairs:
        change = abs((b["smallest_angle"] - start).mean())
        gain = abs((a["smallest_angle"] - start).mean())
        if change < _UNCHANGED * gain:
            answers.append(True)
        else:  # an error that hides whether there is a difference does not say that there is none
            angles = sorted((b["smallest_angle"], start), key=lambda angle: float(angle.mean()))
            answers.append(compared(*angles, among=len(pairs)))
    return count(answers, "depth")
