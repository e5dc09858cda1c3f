# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/distributed: what large runs take on paper, by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("distributed", reason="needs fastntk[distributed]")

from benchmarks.distributed import __main__ as command
from benchmarks.distributed.estimates import (
    Rates,
    kernel_estimate,
    pairs_estimate,
    shown,
)

RATES = Rates(
    kernel_pair=1e-7,
    closest_pair=2e-7,
    features=5e-5,
    task=1e-3,
    disk=5e8,
    memory=1e10,
    cores=2,
    inputs=64,
)


def test_a_kernel_on_paper() -> None:
    own = kernel_estimate(RATES, 2048 * 500, 64, shared_disk=False)
    n = 2048 * 500
    assert own.seconds == pytest.approx(
        {
            "arithmetic": (n**2 / 2 * 1e-7 + 500**2 / 2 * 2048 * 5e-5) / 128,
            "disk": 8 * n**2 / 5e8 / 64,
            "memory": 6 * 8 * n**2 / 1e10 / 64,
            "tasks": 125.0,
        }
    )
    assert own.bound == "arithmetic"
    shared = kernel_estimate(RATES, 2048 * 500, 64, shared_disk=True)
    assert shared.seconds["disk"] == pytest.approx(64 * own.seconds["disk"])
    assert shared.bound == "disk"
    assert "64 machines of 2 cores, one disk of all: about 4.7 h, bound by disk (" in str(shared)


def test_closest_pairs_on_paper() -> None:
    n = 2048 * 8 * 100
    found = pairs_estimate(RATES, n, 64)
    samples = 100**2 / 2 * 16 * 2048
    assert found.seconds == pytest.approx(
        {
            "arithmetic": (n**2 / 2 * 2e-7 + samples * 5e-5) / 128,
            "network": samples * 8 * 64 / 1.25e9 / 64,
            "tasks": 5.0,
        }
    )
    assert found.bound == "arithmetic"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.25, "0.2 s"), (119, "119.0 s"), (120, "2.0 min"), (7200, "2.0 h"), (400_000, "4.6 d")],
)
def test_times_as_people_say_them(seconds: float, text: str) -> None:
    assert shown(seconds) == text


def test_the_block_of_the_page_is_there_once() -> None:
    text = command.DOCS.read_text(encoding="utf-8")
    assert text.count(command.BEGIN) == text.count(command.END) == 1
    assert text.index(command.BEGIN) < text.index(command.END)
