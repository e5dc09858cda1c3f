# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/scaling.py: tasks are counted as the core makes them."""

from __future__ import annotations

import doctest
import os

import pytest
from benchmarks import scaling


@pytest.mark.skipif(
    os.environ.get("FASTNTK_INSTRUCTIONS") == "generic", reason="passes in panels are counted"
)
@pytest.mark.parametrize("n", [150, 300, 1000])
def test_the_core_tells_of_as_many_tasks(n: int) -> None:
    for case in scaling.workloads(n):
        scaling.check_tasks(case)


def test_examples() -> None:
    assert doctest.testmod(scaling).attempted > 0
    assert doctest.testmod(scaling).failed == 0
