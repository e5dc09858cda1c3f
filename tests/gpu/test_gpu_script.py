# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/gpu.py, as whoever has a GPU will run it, on some of its cases."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from benchmarks import gpu, roofline

import fastntk

pytestmark = pytest.mark.usefixtures("runtime")

# Networks of different activations and precisions; their sizes are those of CI, not of a GPU.
CASES = [
    dataclasses.replace(case, n=min(case.n, 33), m=min(case.m, 9))
    for case in list(gpu.cases(quick=True))[::9]
    if max(case.widths) <= 64
]


@pytest.fixture
def accelerator(xp: Any) -> gpu.Accelerator:
    found = gpu.find_accelerator()
    assert isinstance(found, gpu.Accelerator)
    assert found.arrays is xp
    return found


@pytest.mark.parametrize("case", CASES, ids=str)
def test_results_agree(case: gpu.Case, accelerator: gpu.Accelerator) -> None:
    assert gpu.check_case(case, accelerator) == []


@pytest.mark.parametrize("description", list(gpu.layered_networks(33))[::11], ids=repr)
def test_networks_of_layers_agree(
    description: fastntk.Network, accelerator: gpu.Accelerator
) -> None:
    assert gpu.check_layers(description, accelerator) == []


def test_timings(accelerator: gpu.Accelerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_SECONDS_A_JOB", 0.0)
    monkeypatch.setattr(gpu, "_LAUNCHES", 10)
    rates = gpu.measured_rates(accelerator, size=64, copied=4096)
    found = list(gpu.timings(accelerator, [(40, 5, 16, 2)]))
    assert len(found) == 7
    assert all(timing.seconds > 0 for timing in found)
    assert all(timing.job in gpu.table(found, rates) for timing in found)
    assert isinstance(rates, roofline.Gpu)
