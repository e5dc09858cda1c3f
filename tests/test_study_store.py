# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Studies that are killed and go on; stores that are full, locked, damaged or something else."""

from __future__ import annotations

import errno
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastntk
from fastntk.studies import depth_families
from fastntk.studies import store as store_module
from fastntk.studies.depth_results import COSTS
from fastntk.studies.store import StudyStore, key_of

SETTINGS: dict[str, Any] = {"depths": [0, 1, 3], "width": [8, 16], "seeds": 2, "batches": 10}
CELLS = 3 * 2 * 2 * 2  # depths, widths, seeds, activations

# Runs the study with the store argv[1], writes each cell that it computes into the file argv[2],
# and kills itself once argv[3] cells are reported.
CHILD = f"""
import os, signal, sys
import numpy as np
import fastntk
from fastntk.studies.depth_cells import Measurement

store, log, deadly = sys.argv[1], sys.argv[2], int(sys.argv[3])
plain = Measurement.numbers

def logged(self, family, depths):
    for depth, numbers in zip(depths, plain(self, family, depths), strict=True):
        with open(log, "a") as file:
            print(family.label, family.width, depth, family.seed, file=file)
        yield numbers

def die(stage, done, total):
    if done >= deadly:
        os.kill(os.getpid(), signal.SIGKILL)

Measurement.numbers = logged
X = np.random.default_rng(0).standard_normal((30, 6))
fastntk.depth_study(X, store=store, progress=die, **{SETTINGS!r})
"""


@pytest.fixture
def X() -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).standard_normal((30, 6))


def study(X: npt.NDArray[np.float64], store: Path | None, **others: Any) -> fastntk.DepthStudy:
    return fastntk.depth_study(X, store=store, progress=False, **SETTINGS | others)


def numbers(result: fastntk.DepthStudy) -> pd.DataFrame:
    return result.to_frame().drop(columns=list(COSTS))


def assert_same(actual: fastntk.DepthStudy, expected: fastntk.DepthStudy) -> None:
    pd.testing.assert_frame_equal(numbers(actual), numbers(expected), check_exact=True)


def child(store: Path, log: Path, deadly: int, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CHILD, str(store), str(log), str(deadly)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def rows_in(store: Path) -> int:
    connection = sqlite3.connect(store)
    try:
        return int(connection.execute("SELECT count(*) FROM cell").fetchone()[0])
    finally:
        connection.close()


def test_a_killed_study_goes_on_and_computes_nothing_twice(
    X: npt.NDArray[np.float64], tmp_path: Path
) -> None:
    store, log = tmp_path / "cells.sqlite", tmp_path / "log"
    for deadly in (4, 11, 17):  # within a pass, and within a family
        killed = child(store, log, deadly)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert rows_in(store) == deadly
    finished = child(store, log, CELLS + 1)
    assert finished.returncode == 0, finished.stderr
    computed = log.read_text().splitlines()
    assert len(computed) == len(set(computed)) == CELLS
    resumed = study(X, store)
    assert resumed.stored == CELLS
    assert_same(resumed, study(X, None))


def test_killed_in_the_middle_of_a_transaction(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    store = tmp_path / "cells.sqlite"
    program = CHILD.replace(
        "Measurement.numbers = logged",
        """
from fastntk.studies.store import StudyStore
commits = []
def watch(statement):
    commits.append(statement)
    if commits.count("COMMIT") == deadly:
        os.kill(os.getpid(), signal.SIGKILL)
opening = StudyStore.__init__
def watched(self, path):
    opening(self, path)
    self._connection.execute("PRAGMA cache_size = 1")  # pages go to the file before the commit
    self._connection.set_trace_callback(watch)
StudyStore.__init__ = watched
""",
    )
    # The first commit is the trial of whether the store can be written.
    killed = subprocess.run(
        [sys.executable, "-c", program, str(store), str(tmp_path / "log"), "8"], check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert store.with_name("cells.sqlite-journal").exists()
    resumed = study(X, store)
    assert resumed.stored == 6
    assert_same(resumed, study(X, None))


def test_killed_at_any_time(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    store, log = tmp_path / "cells.sqlite", tmp_path / "log"
    command = [sys.executable, "-c", CHILD, str(store), str(log), str(CELLS + 1)]
    delays = np.random.default_rng(1).uniform(0.0, 0.15, size=4)
    for delay in delays:
        with subprocess.Popen(command) as process:
            before = log.read_text() if log.exists() else ""
            deadline = time.monotonic() + 60
            while process.poll() is None and (log.read_text() if log.exists() else "") == before:
                assert time.monotonic() < deadline
                time.sleep(0.002)
            time.sleep(delay)
            process.kill()
    kept = rows_in(store)
    # Each run loses at most the one cell in hand.
    assert len(log.read_text().splitlines()) - kept <= len(delays)
    resumed = study(X, store)
    assert resumed.stored == kept
    assert_same(resumed, study(X, None))


def test_two_processes_fill_one_store(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    store, log = tmp_path / "cells.sqlite", tmp_path / "log"
    command = [sys.executable, "-c", CHILD, str(store), str(log), str(CELLS + 1)]
    with subprocess.Popen(command) as one, subprocess.Popen(command) as other:
        assert (one.wait(), other.wait()) == (0, 0)
    assert rows_in(store) == CELLS
    assert set(log.read_text().splitlines()) == {
        f"{r.activation} {r.width} {r.depth} {r.seed}" for r in study(X, None).results
    }
    assert_same(study(X, store), study(X, None))


def test_two_that_find_no_store_both_have_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Had both a lock for reading, each would wait for the other before it could write."""
    both = threading.Barrier(2)
    is_empty = StudyStore._is_empty

    def until_the_other_has_read(store: StudyStore) -> bool:
        found = is_empty(store)
        with suppress(threading.BrokenBarrierError):
            both.wait(0.5)  # in a transaction one of them is alone
        return found

    monkeypatch.setattr(StudyStore, "_is_empty", until_the_other_has_read)
    monkeypatch.setattr(store_module, "_LOCK_SECONDS", 10.0)

    def write(depth: int) -> None:
        with StudyStore(tmp_path / "s") as store:
            store.add({"depth": depth}, {"angle": 0.1})

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    assert rows_in(tmp_path / "s") == 2


def test_everything_stored_means_no_work(
    X: npt.NDArray[np.float64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = study(X, tmp_path / "new" / "cells.sqlite", infinite=True)
    assert first.stored == 0
    monkeypatch.setattr(depth_families.FiniteFamily, "kernels", None)
    monkeypatch.setattr(depth_families.InfiniteFamily, "kernels", None)
    again = study(X, tmp_path / "new" / "cells.sqlite", infinite=True)
    assert again.stored == len(again.results)
    pd.testing.assert_frame_equal(again.to_frame(), first.to_frame(), check_exact=True)


def test_progress_counts_what_is_stored(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    study(X, tmp_path / "s", depths=[0, 3])
    steps: list[tuple[int, int]] = []
    fastntk.depth_study(
        X, store=tmp_path / "s", progress=lambda _, *step: steps.append(step), **SETTINGS
    )
    # For each family the two that are stored at once, then the new one.
    assert steps == [(done, CELLS) for done in range(1, CELLS + 1) if done % 3 != 1]


CHANGES: list[dict[str, Any]] = [
    {"weight_std": 1.1},
    {"bias_std": 0.1},
    {"parametrization": "standard"},
    {"dtype": "float64"},
    {"batches": None},
    {"batches": 11},
    {"seeds": [5, 6]},
    {"depths": [2, 4, 5]},
    {"width": [9, 10]},
    {"activations": ["gelu", fastntk.activations.leaky_relu(0.2)]},
    {
        "activations": [
            fastntk.activations.custom(lambda x: x**3, lambda x: 3 * x**2, "mine"),
            fastntk.activations.custom(lambda x: x**5, lambda x: 5 * x**4, "other"),
        ]
    },
]


@pytest.mark.parametrize("change", CHANGES, ids=", ".join)
def test_other_settings_are_other_cells(
    X: npt.NDArray[np.float64], tmp_path: Path, change: dict[str, Any]
) -> None:
    study(X, tmp_path / "s")
    changed = study(X, tmp_path / "s", **change)
    assert changed.stored == 0
    assert_same(changed, study(X, None, **change))
    assert study(X, tmp_path / "s", **change).stored == CELLS
    assert study(X, tmp_path / "s").stored == CELLS


def test_custom_activations_are_known_by_what_they_do(
    X: npt.NDArray[np.float64], tmp_path: Path
) -> None:
    def own(power: int) -> Any:
        return fastntk.activations.custom(
            lambda x: x**power, lambda x: power * x ** (power - 1), "same name"
        )

    study(X, tmp_path / "s", activations=[own(3)])
    assert study(X, tmp_path / "s", activations=[own(3)]).stored == CELLS // 2
    assert study(X, tmp_path / "s", activations=[own(2)]).stored == 0


def test_other_samples_are_other_cells(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    study(X, tmp_path / "s")
    other = X.copy()
    other[3, 2] = np.nextafter(other[3, 2], 9.0)
    for samples in (other, X[::-1], X[:29], X.astype(np.float32)):
        assert study(np.ascontiguousarray(samples), tmp_path / "s").stored == 0
    assert study(np.asfortranarray(X), tmp_path / "s").stored == CELLS
    # More of the same: only what is new is computed.
    assert study(X, tmp_path / "s", depths=range(5), seeds=3).stored == CELLS


def test_infinite_width_does_not_depend_on_the_networks(
    X: npt.NDArray[np.float64], tmp_path: Path
) -> None:
    study(X, tmp_path / "s", infinite=True)
    changed = study(X, tmp_path / "s", infinite=True, width=12, seeds=[7], dtype="float64")
    assert changed.stored == 2 * 3


def test_a_full_disk_loses_nothing(
    X: npt.NDArray[np.float64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # SQLite's own limit of pages: the same error as from a full file system.
    plain = StudyStore._prepare

    def small(self: StudyStore) -> None:
        plain(self)
        self._connection.execute("PRAGMA max_page_count = 5")

    with monkeypatch.context() as patch:
        patch.setattr(StudyStore, "_prepare", small)
        patch.setattr(store_module, "_RETRY_SECONDS", None)  # there is nothing to wait for
        with pytest.raises(OSError, match=r"cannot be written: .*full; cells .* are safe") as error:
            study(X, tmp_path / "s")
    assert error.value.errno == errno.ENOSPC
    kept = rows_in(tmp_path / "s")
    assert 0 < kept < CELLS
    resumed = study(X, tmp_path / "s")
    assert resumed.stored == kept
    assert_same(resumed, study(X, None))


def test_a_file_that_may_not_grow_loses_nothing(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    # A limit of the operating system: writing fails in the middle of a page.
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (21_000, 21_000))\n"
    completed = subprocess.run(
        [sys.executable, "-c", limited + CHILD, str(tmp_path / "s"), str(tmp_path / "log"), "99"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 1
    assert "OSError" in completed.stderr
    assert "are safe" in completed.stderr
    kept = rows_in(tmp_path / "s")
    assert 0 < kept < CELLS
    resumed = study(X, tmp_path / "s")
    assert resumed.stored == kept
    assert_same(resumed, study(X, None))


def test_a_read_only_store_can_be_read(
    X: npt.NDArray[np.float64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = study(X, tmp_path / "s")
    connect = sqlite3.connect

    def read_only(path: Path, **options: Any) -> sqlite3.Connection:  # root may write any file
        opened: sqlite3.Connection = connect(f"file:{path}?mode=ro", uri=True, **options)
        return opened

    # For the store alone: others, such as coverage, have files of their own.
    for_the_store = SimpleNamespace(**vars(sqlite3) | {"connect": read_only})
    monkeypatch.setattr(store_module, "sqlite3", for_the_store)
    assert_same(study(X, tmp_path / "s"), expected)
    monkeypatch.setattr(depth_families.FiniteFamily, "kernels", None)  # an error before any work
    with pytest.raises(PermissionError, match=r"cannot be written: .*readonly"):
        study(X, tmp_path / "s", seeds=3)
    with pytest.raises(OSError, match="nothing' cannot be opened: unable to open"):
        study(X, tmp_path / "nothing")


def test_a_locked_store(
    X: npt.NDArray[np.float64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study(X, tmp_path / "s", seeds=1)
    monkeypatch.setattr(store_module, "_LOCK_SECONDS", 0.2)
    other = sqlite3.connect(tmp_path / "s", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")  # others may still read
        assert study(X, tmp_path / "s", seeds=1).stored == CELLS // 2
        with pytest.raises(TimeoutError, match=r"locked by another process for more than 0\.2 s"):
            study(X, tmp_path / "s")
        other.execute("COMMIT")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TimeoutError, match="locked by another process"):
            study(X, tmp_path / "s", seeds=1)
    finally:
        other.close()
    assert study(X, tmp_path / "s").stored == CELLS // 2


def test_things_that_are_no_store(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("depth,angle\n" * 100)
    foreign = tmp_path / "other.sqlite"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE cell (key TEXT)")
    connection.commit()
    connection.close()
    later = tmp_path / "later.sqlite"
    StudyStore(later).__exit__()
    connection = sqlite3.connect(later)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    for path, message in (
        (text, "notes.txt' is not an SQLite file, or its beginning is damaged"),
        (foreign, "other.sqlite': expected a store of fastntk's studies"),
        (later, "later.sqlite' has format 2: expected 1"),
    ):
        before = path.read_bytes()
        with pytest.raises(ValueError, match=message):
            study(X, path)
        assert path.read_bytes() == before
    with pytest.raises(OSError, match="cannot be opened: unable to open"):
        study(X, tmp_path)
    with pytest.raises(OSError, match=r"notes\.txt"):
        study(X, text / "below" / "s")
    empty = tmp_path / "empty"  # as a kill before the first transaction leaves it
    empty.touch()
    assert study(X, empty).stored == 0


def test_a_truncated_store(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    study(X, tmp_path / "s")
    whole = (tmp_path / "s").read_bytes()
    for size in (50, 100, 4096, 5000, len(whole) // 2, len(whole) - 4096, len(whole) - 1):
        (tmp_path / "s").write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"is damaged|is not an SQLite file"):
            study(X, tmp_path / "s")
        assert (tmp_path / "s").read_bytes() == whole[:size]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    path = tmp_path_factory.mktemp("whole") / "s"
    cells = {}
    with StudyStore(path) as store:
        for depth in range(40):
            cells[key_of({"depth": depth})] = {"angle": depth / 7, "pad": "x" * 300}
            store.add({"depth": depth}, cells[key_of({"depth": depth})])
    return path, cells


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
@given(at=st.floats(0, 1), junk=st.binary(min_size=1, max_size=64))
def test_damage_never_makes_a_wrong_number(
    stored: tuple[Path, dict[str, Any]], tmp_path: Path, at: float, junk: bytes
) -> None:
    whole, cells = stored[0].read_bytes(), stored[1]
    path = tmp_path / "s"
    first = int(at * (len(whole) - len(junk)))
    path.write_bytes(whole[:first] + junk + whole[first + len(junk) :])
    damaged = path.read_bytes()
    refusal, found = "", cells
    try:
        with StudyStore(path) as store:
            found = store.find(cells)
    except (ValueError, OSError) as error:
        refusal = str(error)
    # Without one, the damage is in a part of a page that is not in use, or the same bytes again.
    assert not refusal or str(path) in refusal
    assert found == cells
    assert path.read_bytes() == damaged


def test_a_damaged_number_is_noticed(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    expected = study(X, None)
    study(X, tmp_path / "s")
    digits = json.dumps(expected.results[-1].eigenvalue_max).encode()
    content = (tmp_path / "s").read_bytes()
    assert content.count(digits) > 0
    wrong = digits[:-1] + (b"1" if digits[-1:] != b"1" else b"2")
    (tmp_path / "s").write_bytes(content.replace(digits, wrong))
    with pytest.raises(ValueError, match=r"a checksum is wrong, of .*it was left as it is"):
        study(X, tmp_path / "s")


def test_a_cell_that_is_there_stays(tmp_path: Path) -> None:
    with StudyStore(tmp_path / "s") as store:
        store.add({"depth": 1}, {"angle": 0.1, "nothing": float("nan"), "most": float("inf")})
        store.add({"depth": 1}, {"angle": 0.2})
        (found,) = store.find([key_of({"depth": 1}), "no such key"]).values()
    assert found["angle"] == 0.1
    assert np.isnan(found["nothing"])
    assert found["most"] == np.inf


def test_writing_survives_an_interrupt(tmp_path: Path) -> None:
    with StudyStore(tmp_path / "s") as store:
        with pytest.raises(KeyboardInterrupt), store._transaction():
            raise KeyboardInterrupt
        store.add({"depth": 1}, {"angle": 0.1})  # the transaction before was rolled back
    assert rows_in(tmp_path / "s") == 1
    assert os.listdir(tmp_path) == ["s"]  # noqa: PTH208
