# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The one way in which studies look up, compute, store and report their cells."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fastntk.studies.power_law import fit_power_law
from fastntk.studies.runner import Cell, Runner, Task, in_threads
from fastntk.studies.store import StudyStore

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path


def cells(*depths: int) -> list[Cell]:
    return [Cell(f"depth {depth}", {"depth": depth}) for depth in depths]


def squares(asked: list[int]) -> Callable[[Sequence[Cell]], Generator[dict[str, Any]]]:
    """Return a way to compute cells that notes which ones it is asked for."""

    def compute(cells: Sequence[Cell]) -> Generator[dict[str, Any]]:
        for cell in cells:
            asked.append(cell.settings["depth"])
            yield {"square": cell.settings["depth"] ** 2, "pair": (1, 2)}

    return compute


def test_only_what_is_missing_is_computed(tmp_path: Path) -> None:
    asked: list[int] = []
    reports: list[tuple[str, int, int]] = []
    with StudyStore(tmp_path / "s") as store:
        store.add({"depth": 2}, {"square": 4, "pair": (1, 2)})
        runner = Runner(store, 5, lambda *report: reports.append(report))
        found = runner.run(cells(1, 2, 3), squares(asked))
        again = runner.run(cells(3, 4), squares(asked))
    assert [numbers["square"] for numbers in found + again] == [1, 4, 9, 9, 16]
    # What was computed now is what the next run will read.
    assert all(numbers["pair"] == [1, 2] for numbers in found + again)
    assert asked == [1, 3, 4]
    assert runner.stored == 2
    assert reports == [
        ("depth 1", 1, 5),
        ("depth 1", 2, 5),
        ("depth 3", 3, 5),
        ("depth 3", 4, 5),
        ("depth 4", 5, 5),
    ]


def test_without_a_store_everything_is_computed() -> None:
    asked: list[int] = []
    runner = Runner(None, 2)
    assert [numbers["square"] for numbers in runner.run(cells(3, 1), squares(asked))] == [9, 1]
    assert asked == [3, 1]
    assert runner.stored == 0


def test_what_was_finished_before_an_error_is_stored(tmp_path: Path) -> None:
    closed: list[bool] = []

    def failing(cells: Sequence[Cell]) -> Generator[dict[str, Any]]:
        try:
            yield from squares([])(cells)
        finally:
            closed.append(True)

    def stop(name: str, done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with StudyStore(tmp_path / "s") as store:
        with pytest.raises(KeyboardInterrupt):
            Runner(store, 3, stop).run(cells(1, 2, 3), failing)
        assert closed == [True]
        asked: list[int] = []
        Runner(store, 3).run(cells(1, 2, 3), squares(asked))
    assert asked == [3]


def test_a_store_is_tried_before_the_first_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(self: StudyStore) -> None:
        raise PermissionError("cannot be written")

    asked: list[int] = []
    with StudyStore(tmp_path / "s") as store:
        store.add({"depth": 1}, {"square": 1})
        monkeypatch.setattr(StudyStore, "require_writable", refused)
        assert Runner(store, 1).run(cells(1), squares(asked)) == [{"square": 1}]
        with pytest.raises(PermissionError, match="cannot be written"):
            Runner(store, 2).run(cells(1, 2), squares(asked))
    assert asked == []


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_tasks_in_threads_come_in_their_order(jobs: int) -> None:
    def task(number: int) -> Task:
        def compute(_: object) -> dict[str, Any]:
            time.sleep(0.01 * (4 - number))
            return {"number": number}

        return Task(f"task {number}", {"number": number}, compute)

    found = Runner(None, 4).run([task(number) for number in range(4)], in_threads(jobs))
    assert [numbers["number"] for numbers in found] == [0, 1, 2, 3]


def test_an_error_stops_the_tasks_beside_it() -> None:
    started = threading.Event()

    def fails(_: object) -> dict[str, Any]:
        assert started.wait(60)
        raise ValueError("no number")

    def endless(poll: Callable[[str, int, int], None]) -> dict[str, Any]:
        started.set()
        while True:
            poll("step", 0, 1)
            time.sleep(0.001)

    tasks = [Task("fails", {"task": 0}, fails), Task("endless", {"task": 1}, endless)]
    before = threading.active_count()
    with pytest.raises(ValueError, match="no number"):
        Runner(None, 2).run(tasks, in_threads(2))
    assert threading.active_count() == before


def test_power_laws() -> None:
    widths = np.array([10.0, 20.0, 40.0, 80.0])
    exact = fit_power_law(widths, 3 * widths**-0.5)
    assert exact.slope == pytest.approx(-0.5, rel=1e-12, abs=0)
    assert exact.standard_error == pytest.approx(0, abs=1e-6)
    noise = np.array([0.1, -0.2, 0.15, 0.05])
    law = fit_power_law(widths, np.exp(noise) * widths**-0.5)
    (slope, _), covariance = np.polyfit(np.log(widths), noise - 0.5 * np.log(widths), 1, cov=True)
    assert law.slope == pytest.approx(slope, rel=1e-12, abs=0)
    assert law.standard_error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-9, abs=0)
    assert fit_power_law([2, 8], [1, 2]).slope == pytest.approx(0.5, rel=1e-9, abs=0)
    for few in ([4], [4, 4]):
        assert np.isnan(fit_power_law(few, np.ones(len(few)))).all()
