# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Beyond the paper: is the kernel constant? What decides it, against the width.

C. Liu, L. Zhu, M. Belkin, "On the linearity of large non-linear models: when and why the tangent
kernel is constant", NeurIPS 2020: constant because the Hessian is small, and not because weights
would not move; not with a non-linear output layer, and not behind a bottleneck.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk.figures.constancy import constancy_sheet
from fastntk.paper.claims import Statement, count
from fastntk.paper.part import Part
from fastntk.paper.samples import part_of, samples
from fastntk.studies.constancy import constancy_study
from fastntk.studies.samples import numbers_of_labels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk.datasets import Dataset
    from fastntk.paper.claims import Claim
    from fastntk.paper.run import Run
    from fastntk.studies.constancy_results import ConstancyStudy
    from fastntk.studies.power_law import BootstrapSlope

_SAMPLES = 32
_WIDEST, _WIDEST_FULL = 1024, 2048
_HALVINGS, _HALVINGS_FULL = 4, 5  # from the widest down to 64
_SEEDS, _SEEDS_FULL = 5, 10
_OTHERS = ("square", "tanh", "bottleneck")
_ARCHITECTURES = ("linear", *_OTHERS)

# ‖H‖ of a wide network is of the order m^{-1/2}, up to logarithms; what falls less than half as
# fast, does not fall for this reason.
_ROOT, _CONSTANT = (-0.65, -0.35), (-0.15, 0.15)
_NOT_FALLING = (-0.25, math.inf)
_FALLING = (-math.inf, 0.0)

_SOURCE = "Liu, Zhu, Belkin 2020"
_INTERVAL = "with its interval of 95 %, by the bootstrap over seeds"
HESSIAN = Statement(
    _SOURCE,
    "With a linear output layer, the Hessian of a wide network falls like m^(−1/2).",
    f"Slope of ‖H‖ against the width m in log–log, {_INTERVAL}: from −0.65 to −0.35.",
)
DRIFT = Statement(
    _SOURCE,
    "With a linear output layer, the wider the network, the less its kernel moves in training.",
    f"Slope of ‖K − K₀‖/‖K₀‖, {_INTERVAL}: below 0.",
)
OTHER_HESSIANS = Statement(
    _SOURCE,
    "With a non-linear output layer, or behind a bottleneck, the Hessian does not become small.",
    f"Slope of ‖H‖ of each of these networks, {_INTERVAL}: above −0.25.",
)
OTHER_DRIFTS = Statement(
    _SOURCE,
    "With a non-linear output layer, or behind a bottleneck, the kernel moves however wide the "
    "network is.",
    f"Slope of ‖K − K₀‖/‖K₀‖ of each of these networks, {_INTERVAL}: above −0.25.",
)
DISTANCE = Statement(
    _SOURCE,
    "The weights of wide networks move, in the Euclidean norm, no less than those of others.",
    f"Slope of ‖w − w₀‖₂ of each network, {_INTERVAL}: within ±0.15.",
)
LARGEST = Statement(
    _SOURCE,
    "In the maximum norm, the weights move the less the wider the network is.",
    f"Slope of the largest |w − w₀| of each network, {_INTERVAL}: below 0.",
)


def constancy(run: Run, data: str) -> Part:
    """Networks with linear and with non-linear outputs, and with a bottleneck."""
    chosen = run.named(part_of(samples(data), _SAMPLES))
    study, name = studied(run, chosen), chosen.name
    return Part(
        name=f"constancy-{name}",
        title=f"Beyond the paper: is the kernel constant? {name}",
        text=(
            f"Networks of {study.depth} hidden layers, {study.activation.label}, with a linear "
            "output, with the square or tanh of it, or with a narrow layer of "
            f"{study.bottleneck} units in the middle, trained on {study.n_samples} samples to a "
            f"square loss of {study.loss_target:g} by gradient descent. Targets are the labels as "
            "numbers; ‖H‖ and ‖∇f‖ are means over samples at the start. The statements are those "
            "of C. Liu, L. Zhu, M. Belkin, NeurIPS 2020."
        ),
        command="fastntk reproduce --only constancy" + run.options(data),
        tables={"": study.to_frame().drop(columns="seconds"), "slopes": study.slopes()},
        drawings={"": constancy_sheet(study, name)},
        claims=judged(study, name),
    )


def studied(run: Run, chosen: Dataset) -> ConstancyStudy:
    """Return the study of these samples."""
    widest = run.of_width(run.sized(_WIDEST, _WIDEST_FULL))
    halvings = run.sized(_HALVINGS, _HALVINGS_FULL)
    return constancy_study(
        chosen.X,
        numbers_of_labels(np.asarray(chosen.y)),
        [max(1, widest >> k) for k in range(halvings + 1)],
        architectures=_ARCHITECTURES,
        seeds=run.several_seeds(_SEEDS, _SEEDS_FULL),
        store=run.store,
        data=chosen.name,
        progress=run.progress,
    )


def judged(study: ConstancyStudy, data: str) -> tuple[Claim, ...]:
    """Judge what Liu, Zhu and Belkin say by the slopes of a study."""
    linear, everything = ("linear",), _ARCHITECTURES
    return tuple(
        _judge(study, data, statement, quantity, architectures, expected)
        for statement, quantity, architectures, expected in (
            (HESSIAN, "hessian_norm", linear, _ROOT),
            (DRIFT, "relative_change", linear, _FALLING),
            (OTHER_HESSIANS, "hessian_norm", _OTHERS, _NOT_FALLING),
            (OTHER_DRIFTS, "relative_change", _OTHERS, _NOT_FALLING),
            (DISTANCE, "weight_change", everything, _CONSTANT),
            (LARGEST, "weight_change_max", everything, _FALLING),
        )
    )


def _judge(
    study: ConstancyStudy,
    data: str,
    statement: Statement,
    quantity: str,
    architectures: Sequence[str],
    expected: tuple[float, float],
) -> Claim:
    slopes = {name: study.slope(name, quantity) for name in architectures}
    answers = [inside(slope, expected) for slope in slopes.values()]
    numbers = "; ".join(
        f"{name}: {slope.slope:.2f} [{slope.lower:.2f}, {slope.upper:.2f}]".replace("-", "−")
        for name, slope in slopes.items()
    )
    return count(answers, "architecture").claim(statement, numbers, data)


def inside(slope: BootstrapSlope, expected: tuple[float, float]) -> bool | None:
    """Return whether the interval of a slope is inside that which is expected, or outside.

    None if it is both in part, or not known.
    """
    lower, upper = expected
    if lower <= slope.lower and slope.upper <= upper:
        return True
    return False if slope.upper < lower or slope.lower > upper else None
