# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Beyond the paper: κ and smallest angle against depth with skip connections and normalization."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.display import counted
from fastntk.architectures.by_depth import BY_DEPTH, Architecture
from fastntk.figures.panels import Limit, Line, Panel, Sheet
from fastntk.paper.claims import (
    Claim,
    Count,
    Statement,
    above_some,
    count,
    falling,
    from_to,
    steps,
    together,
)
from fastntk.paper.part import Part
from fastntk.paper.samples import part_of, samples
from fastntk.studies.depth import depth_study

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from fastntk.paper.run import Run

ARCHITECTURES = (
    Architecture("plain"),
    Architecture("residual"),
    Architecture("residual", residual_scale=BY_DEPTH),
    Architecture("prenorm"),
    Architecture("postnorm"),
)
LABELS = tuple(architecture.label for architecture in ARCHITECTURES)
_DEPTHS = (1, 3, 10, 30, 100)
_SAMPLES, _SAMPLES_FULL = 300, 1000
WIDTH = 256

# An axis is not stretched to a limit that is more than so many times its largest value.
_NEAR_LIMIT = 2.0

ANGLE_GROWS = Statement(
    "Beyond the paper",
    "At infinite width the smallest angle grows with depth in every architecture.",
    "Steps of depth, of plain, residual (α = 1 and 1/√L), pre-norm and post-norm networks.",
)
KAPPA_FALLS = Statement(
    "Beyond the paper",
    "At infinite width κ falls with depth in every architecture.",
    "Steps of depth, of plain, residual (α = 1 and 1/√L), pre-norm and post-norm networks.",
)
PLAIN_LEADS = Statement(
    "Beyond the paper",
    "At infinite width plain networks have a smaller κ than the other architectures.",
    "Depth by depth against each of the others.",
)
SCALE_KEEPS = Statement(
    "Beyond the paper",
    "At infinite width residual networks with α = 1/√L keep a larger κ than the other "
    "architectures.",
    "Depth by depth from 3 on against each of the others; at depth 1 α is 1.",
)
FINITE_FALLS = Statement(
    "Beyond the paper",
    "κ falls with depth at finite width, too.",
    "Steps of depth, seed by seed; where λ_min is not resolved, κ is above λ_max/noise floor.",
)


def architectures(run: Run, data: str) -> Part:
    """Return angles and κ against depth for all architectures, at finite and infinite width."""
    dataset = run.named(part_of(samples(data), run.sized(_SAMPLES, _SAMPLES_FULL)))
    seeds, width = run.several_seeds(3), run.of_width(WIDTH)
    study = depth_study(
        dataset.X,
        architecture=ARCHITECTURES,
        depths=_DEPTHS,
        width=width,
        seeds=seeds,
        activations=["relu"],
        infinite=True,
        store=run.store,
        data=dataset.name,
        progress=run.progress,
    )
    frame = study.to_frame()
    bound = frame["eigenvalue_max"] / frame["noise_floor"]
    frame["condition_number_least"] = frame["condition_number"].fillna(bound)
    n = len(dataset.X)
    limits = {"smallest_angle": study.limit_angle, "condition_number": study.limit_condition_number}
    return Part(
        name=f"architectures-{dataset.name}",
        title=f"Beyond the paper: skip connections and normalization, {dataset.name}",
        text=(
            "ReLU networks of L blocks (plain: L hidden layers) on all pairs of "
            f"{n} samples: residual with the scales α = 1 and 1/√L, and normalized before each "
            "branch (prenorm) or after each sum (postnorm). Marks are means over seeds with their "
            "standard deviations, dotted lines infinite width. Networks of finite width leave "
            "their limit when depth is no longer small beside width."
        ),
        command="fastntk reproduce --only architectures" + run.options(data),
        tables={"": frame},
        drawings={
            "": Sheet(
                title=f"{dataset.name}: n = {n}, width {width}, {counted(len(seeds), 'seed')}",
                panels=[
                    _panel(frame, "smallest_angle", limits["smallest_angle"]),
                    _panel(frame, "condition_number", limits["condition_number"]),
                ],
            )
        },
        claims=judged(frame, dataset.name),
    )


def _panel(frame: pd.DataFrame, column: str, limit: float) -> Panel:
    lines = []
    for hue, label in enumerate(LABELS):
        rows = frame[frame["architecture"] == label]
        infinite = rows[np.isinf(rows["width"])].set_index("depth")[column]
        cells = rows[np.isfinite(rows["width"])].groupby("depth")
        means = cells[column].agg(lambda each: each.mean(skipna=False))
        lines += [
            Line(
                x=means.index.to_numpy(np.float64),
                y=means.to_numpy(np.float64),
                spread=cells[column].std().fillna(0.0).to_numpy(),
                label=label,
                style="both",
                hue=hue,
            ),
            Line(
                x=infinite.index.to_numpy(np.float64),
                y=infinite.to_numpy(np.float64),
                label="infinite width",
                style="dotted",
                hue=hue,
            ),
        ]
        if means.isna().any():
            least = cells["condition_number_least"].mean()[means.isna()]
            lines.append(
                Line(
                    x=least.index.to_numpy(np.float64),
                    y=least.to_numpy(np.float64),
                    label="λ_min unresolved, κ above",
                    style="open",
                    hue=hue,
                )
            )
    angle = column == "smallest_angle"
    near = np.isfinite(limit) and limit < _NEAR_LIMIT * frame[column].max()
    return Panel(
        x="depth L",
        y="smallest gradient angle (degrees)" if angle else "condition number κ",
        lines=lines,
        limits=[Limit(value=limit, label=f"plain, infinite\ndepth: {limit:.4g}")] * bool(near),
        x_kind="log",
        y_kind="degrees" if angle else "log",
        y_from_zero=angle,
    )


def judged(frame: pd.DataFrame, data: str) -> tuple[Claim, ...]:
    """Return the statements with their verdicts.

    Parameters
    ----------
    frame : DataFrame
        A row for each architecture, depth, width and seed, with ``smallest_angle``,
        ``condition_number`` and ``condition_number_least``.
    data : str
        What the samples are called.
    """
    infinite = frame[np.isinf(frame["width"])]
    finite = frame[np.isfinite(frame["width"])]

    def every(judge: Callable[[pd.DataFrame], Count]) -> Count:
        groups = (infinite[infinite["architecture"] == label] for label in LABELS)
        return together(judge(rows) for rows in groups)

    def falls(rows: pd.DataFrame, *, exact: bool) -> Count:
        return falling(rows, "condition_number", "condition_number_least", exact=exact)

    def at_ends(column: str, rows: pd.DataFrame = infinite) -> str:
        return "; ".join(
            f"{label} {from_to(rows[rows['architecture'] == label], column)}" for label in LABELS
        )

    return (
        every(lambda rows: steps(rows, "smallest_angle", rising=True, exact=True)).claim(
            ANGLE_GROWS, f"{at_ends('smallest_angle')} (degrees)", data
        ),
        every(lambda rows: falls(rows, exact=True)).claim(
            KAPPA_FALLS, at_ends("condition_number"), data
        ),
        _judge_order(infinite, LABELS[0], PLAIN_LEADS, data),
        _judge_order(infinite, LABELS[2], SCALE_KEEPS, data),
        *(
            falls(rows, exact=False).claim(
                FINITE_FALLS, f"κ {from_to(rows, 'condition_number')}", f"{data}, {label}"
            )
            for label, rows in finite.groupby("architecture", sort=False)
        ),
    )


def _judge_order(infinite: pd.DataFrame, label: str, statement: Statement, data: str) -> Claim:
    """Compare κ of an architecture with each of the others, depth by depth, as a statement says."""
    known, least = (
        infinite.pivot_table(index="depth", columns="architecture", values=name, dropna=False)
        for name in ("condition_number", "condition_number_least")
    )
    smaller = statement is PLAIN_LEADS
    depths = known.index if smaller else known.index[1:]
    answers = {}
    for depth, other in itertools.product(depths, (each for each in LABELS if each != label)):
        above, below = (other, label) if smaller else (label, other)
        answers[f"{other} at depth {depth}"] = above_some(
            least[above][depth], known[above][depth], known[below][depth], exact=True
        )
    against = [name for name, answer in answers.items() if answer is not None and not answer]
    names = f"against it: {', '.join(against)}" if against else ""
    return count(answers.values(), "comparison").claim(statement, names, data)
