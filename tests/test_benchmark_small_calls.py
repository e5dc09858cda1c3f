# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""benchmarks/small_calls.py: what it takes for the arithmetic of a call is that."""

from __future__ import annotations

import re

import numpy as np
import pytest
from benchmarks import small_calls

import fastntk


def test_drawing_the_weights_is_drawing_those_weights() -> None:
    net = fastntk.MLP(small_calls.WIDTHS)
    drawn = small_calls.drawn_weights()
    for weights, layer in zip(drawn, net.network.layers, strict=True):
        assert np.array_equal(weights, layer.weights)


def test_arithmetic_runs_and_gives_what_the_call_gives() -> None:
    calls = {call.name.split("`")[1].split("(")[0]: call for call in small_calls.small_calls()}
    assert list(calls) == ["MLP", "net", "net.ntk", "conditioning", "train"]
    for call in calls.values():
        call.whole()
    result = calls["conditioning"].whole()
    assert isinstance(result, fastntk.Conditioning)
    found = calls["conditioning"].arithmetic()
    assert isinstance(found, tuple)
    assert found[1:3] == (result.smallest.tolist(), result.largest.tolist())
    assert calls["train"].steps > 1
    step = calls["train"].arithmetic()
    assert isinstance(step, tuple)
    assert step[0] == 0.0  # no gradient was measured


def test_the_tables_have_a_row_for_each_call_and_size(capsys: pytest.CaptureFixture[str]) -> None:
    small_calls.main(["--rounds", "1", "--sizes", "10", "70", "--wall"])
    first, second = capsys.readouterr().out.strip().split("\n\n")
    rows = first.splitlines()[2:]
    assert len(rows) == 6
    for row in rows:
        whole, arithmetic, rest = map(float, re.findall(r"\| (-?[\d.]+)(?= \|)", row)[-3:])
        assert rest == pytest.approx(whole - arithmetic, abs=0.11)
    sizes = [row.split("|")[1:3] for row in second.splitlines()[2:]]
    expected = [[f" {n} ", f" {dtype} "] for dtype in ("float64", "float32") for n in (10, 70)]
    assert sizes == expected


def test_times_are_the_shortest_of_turns_but_the_first() -> None:
    now = iter([0.0, 9.0, 10.0, 10.5, 20.0, 24.0, 30.0, 33.0, 40.0, 42.0, 50.0, 58.0])
    ways = {"a": lambda: None, "b": lambda: None}
    found = small_calls.least_times(ways, rounds=2, repeats=4, clock=lambda: next(now))
    assert found == {"a": 2e6 / 4, "b": 3e6 / 4}
