# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The page's section on constant kernels, its statements judged by made-up and real networks."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk.figures.panels import Sheet
from fastntk.paper.parts import constancy
from fastntk.paper.run import checked_run
from fastntk.studies.constancy_results import ConstancyResult, ConstancyStudy
from fastntk.studies.power_law import BootstrapSlope

if TYPE_CHECKING:
    from pathlib import Path

WIDTHS, SEEDS = (64, 256, 1024), range(4)


def study(noise: float = 0.02, **changed: Any) -> ConstancyStudy:
    """Networks whose numbers follow power laws: (of linear outputs, of the others)."""
    laws = {
        "hessian_norm": (-0.5, 0.0),
        "relative_change": (-1.0, 0.0),
        "weight_change": (0.0, 0.0),
        "weight_change_max": (-0.5, -0.5),
    } | changed
    random = np.random.default_rng(0)
    results = []
    for name, m, seed in itertools.product(constancy._ARCHITECTURES, WIDTHS, SEEDS):
        numbers: dict[str, Any] = {
            quantity: m ** law[name != "linear"] * math.exp(noise * random.standard_normal())
            for quantity, law in laws.items()
        }
        results.append(
            ConstancyResult(
                architecture=name,
                width=m,
                seed=seed,
                status="target reached",
                hessian_norm_resolved=True,
                gradient_norm=1.0,
                **numbers,
            )
        )
    tanh = fastntk.activations.get("tanh")
    return ConstancyStudy(tuple(results), 32, 2, 2, 4, 100, 1e-3, tanh, 1.0)


def verdicts(found: ConstancyStudy) -> dict[str, str]:
    names = ("HESSIAN", "DRIFT", "OTHER_HESSIANS", "OTHER_DRIFTS", "DISTANCE", "LARGEST")
    claims = constancy.judged(found, "digits")
    assert [claim.statement for claim in claims] == [getattr(constancy, name) for name in names]
    return {name: claim.verdict for name, claim in zip(names, claims, strict=True)}


def test_statements_hold_for_what_they_say() -> None:
    assert set(verdicts(study()).values()) == {"holds"}


@pytest.mark.parametrize(
    ("quantity", "law", "name"),
    [
        ("hessian_norm", (0.0, 0.0), "HESSIAN"),
        ("hessian_norm", (-0.9, 0.0), "HESSIAN"),
        ("relative_change", (0.3, 0.0), "DRIFT"),
        ("hessian_norm", (-0.5, -0.5), "OTHER_HESSIANS"),
        ("hessian_norm", (-0.5, -0.35), "OTHER_HESSIANS"),
        ("relative_change", (-1.0, -1.0), "OTHER_DRIFTS"),
        ("weight_change", (-0.5, -0.5), "DISTANCE"),
        ("weight_change", (0.0, 0.5), "DISTANCE"),
        ("weight_change_max", (0.2, -0.5), "LARGEST"),
    ],
)
def test_statements_fail_for_others(quantity: str, law: tuple[float, float], name: str) -> None:
    changed: dict[str, Any] = {quantity: law}
    found = verdicts(study(**changed))
    assert found.pop(name) == "fails"
    assert set(found.values()) == {"holds"}


def test_wide_intervals_leave_statements_open() -> None:
    found = verdicts(study(noise=1.0))
    assert found["HESSIAN"] == found["DISTANCE"] == "undecided"
    claim = constancy.judged(study(), "digits")[0]
    slope = study().slope("linear", "hessian_norm")
    assert claim.evidence.startswith("holds in 1 of 1 architecture; linear: −0.")
    assert f"{slope.lower:.2f}, {slope.upper:.2f}]".replace("-", "−") in claim.evidence
    nothing = BootstrapSlope(-0.5, math.nan, math.nan)  # of a single seed
    assert constancy.inside(nothing, (-1, 0)) is None
    assert constancy.inside(BootstrapSlope(0, -0.1, 0.1), (-0.05, 0.2)) is None


def test_the_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constancy, "_SAMPLES", 5)
    monkeypatch.setattr(constancy, "_HALVINGS", 1)
    run = checked_run(seeds=[3, 4], width=16, progress=False, store=tmp_path / "cells.sqlite")
    part = constancy.constancy(run, "digits")
    frame = part.tables[""]
    assert sorted(frame["width"].unique()) == [8, 16]
    assert list(frame["architecture"].unique()) == ["linear", "square", "tanh", "bottleneck"]
    assert len(frame) == 4 * 2 * 2
    assert len(part.claims) == 6
    assert part.command == "fastntk reproduce --only constancy --data digits --seeds 2 --width 16"
    sheet = part.drawings[""]
    assert isinstance(sheet, Sheet)
    assert sheet.title.startswith("digits: n = 5, 2 hidden layers, tanh")
    assert len(sheet.panels) == 6
    again = constancy.constancy(run, "digits")
    assert again.tables[""].equals(frame)
    assert [str(claim) for claim in again.claims] == [str(claim) for claim in part.claims]
