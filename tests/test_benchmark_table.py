# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command that sets fastntk beside its peers, with small sizes and peers that others play."""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from benchmarks.peers import by_fastntk, by_numpy, environment
from benchmarks.peers.process import GIVING_BACK, PeerError, PeerProcess
from benchmarks.table import __main__ as command
from benchmarks.table import growth, machine, markdown, rounds
from benchmarks.table.figure import draw
from benchmarks.table.growth import Sweep, curves
from benchmarks.table.imports import measure_imports
from benchmarks.table.results import OURS, Curve, Results, Row, Timed
from benchmarks.table.rounds import Way, measure
from benchmarks.table.workloads import (
    FULL,
    NEURAL_TANGENTS,
    NUMPY,
    QUICK,
    TORCH,
    Shape,
    Sizes,
    kernel,
    training_flops,
    workloads,
)

import fastntk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).parents[1]

TINY = Sizes(
    kernels=(Shape(20, 5, 8, 2),),
    gram=Shape(21, 5, 8, 2),
    structured=100,
    pairs=Shape(12, 5, 8, 2),
    contracted=6,
    multiplied=3,
    operator=Shape(20, 5, 8, 2),
    vectors=4,
    fewer=2,
    epochs=((8, 2),),
    samples=20,
    batch=5,
    infinite=Shape(10, 3, 0, 2),
    activations=("relu",),
    conditioning=(10,),
)


class Here:
    """A peer in this process."""

    def __init__(self, functions: Mapping[str, Any]) -> None:
        self._functions = functions
        self._ready: list[Callable[[], Any]] = []

    def versions(self) -> dict[str, str]:
        return {"stand-in": "1"}

    def prepare(
        self, function: str, arrays: Mapping[str, Any], settings: Mapping[str, Any]
    ) -> tuple[int, Any]:
        self._ready.append(self._functions[function](arrays, settings))
        return len(self._ready) - 1, np.asarray(self._ready[-1]())

    def forget(self) -> None:
        self._ready.clear()

    def time(self, which: int, repeats: int = 1) -> tuple[float, float]:
        for _ in range(min(repeats, 2)):
            self._ready[which]()
        return 1e-3 * (which + 1), 2e-3

    def peak(self, which: int) -> int:
        return 1000 * (which + 1)

    def close(self) -> None:
        self._ready.clear()


def features(arrays: Mapping[str, Any]) -> Any:
    weights = by_numpy.weights_of(arrays)
    return fastntk.MLP.from_weights(weights).gradient_features(arrays["X"])


def block(arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Callable[[], Any]:
    F = features(arrays)[: settings["samples"]]
    return lambda: F @ F.T


def products(arrays: Mapping[str, Any], settings: Mapping[str, Any]) -> Callable[[], Any]:
    F = features(arrays)
    return lambda: F @ (F.T @ arrays["V"][:, : settings["vectors"]])


PLAYED = by_fastntk.PREPARE | {
    "ntk": by_numpy.PREPARE["ntk"],
    "gram": by_numpy.PREPARE["ntk"],
    "jacobian contraction": block,
    "vector products": block,
    "operator": products,
}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "pause", lambda: None)
    monkeypatch.setattr(growth, "pause", lambda: None)
    monkeypatch.setattr(machine, "pause", lambda: None)


@pytest.fixture
def peers() -> dict[str, Any]:
    return {
        OURS: Here(by_fastntk.PREPARE),
        NUMPY: Here(by_numpy.PREPARE),
        TORCH: Here(PLAYED),
        NEURAL_TANGENTS: Here(PLAYED),
    }


def steady(_: str) -> float:
    return 1e9


def asked(**options: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"only": "", "rounds": 2, "quick": True, **options})


def results_of(rows: list[Row], found: list[Curve]) -> Results:
    settings = {"command": "python -m benchmarks.table", "started": "today", "minutes": 1.0}
    known = {"processor": "one", "GEMM, float32": "fast"}
    return Results(settings, known, ["It was noisy."], [], rows, found)


def test_everything_is_compared_timed_and_written(
    peers: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gemm = command.Gemm(32)
    sections = "Kernels|Training|Infinite|Condition|Small calls: `"
    measured = command.run(TINY, peers, peers, gemm, asked(only=sections))
    assert (measured.curves, measured.failures) == ([], [])
    rows = measured.rows
    assert len(rows) == len(list(workloads(TINY)))
    assert {len(way.wall) for row in rows for way in row.ways} == {2}
    assert gemm.rates.keys() == {"float32", "float64"}
    assert capsys.readouterr().out.count("\n") == len(rows)
    found = curves(Sweep("kernel", "n", [4, 8], lambda n: kernel(Shape(n, 3, 4, 2), "float32")),
                   peers, peers)  # fmt: skip
    results = results_of(rows, found)
    command.write(results, tmp_path)
    assert Results.load(tmp_path / "table.json") == results
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    for row in rows:
        assert f"| {row.name} |" in text
    for word in ("It was noisy.", "processor: one", "## Growth", "torch.func, Jacobians"):
        assert word in text
    # The same three files from the first.
    again = tmp_path / "again"
    assert command.main(["--from", str(tmp_path / "table.json"), "--output", str(again)]) == 0
    for name in ("table.json", "table.md"):
        assert (again / name).read_bytes() == (tmp_path / name).read_bytes()
    assert (again / "table.png").stat().st_size > 10_000


@pytest.mark.parametrize("wrong", [1.001, np.nan])
def test_a_wrong_answer_is_found_before_anything_is_timed(
    peers: dict[str, Any], wrong: float
) -> None:
    def one_entry(arrays: Any, settings: Any) -> Callable[[], Any]:
        K = by_numpy.PREPARE["ntk"](arrays, settings)()
        i = np.unravel_index(np.abs(K).argmax(), K.shape)
        K[i] *= wrong
        return lambda: K

    peers[TORCH] = Here({"ntk": one_entry})
    peers[TORCH].time = pytest.fail
    with pytest.raises(AssertionError, match=r"torch by hand, `net.ntk`.* differs by"):
        measure(kernel(TINY.kernels[0], "float64"), peers, 1, steady)


def test_what_fails_is_named_and_the_rest_is_measured(
    peers: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def nonsense(*_: Any) -> Callable[[], Any]:
        return lambda: np.zeros((20, 20))

    def broken(*_: Any) -> Callable[[], Any]:
        raise PeerError("out of memory\nand a traceback")

    peers[TORCH] = Here(PLAYED | {"ntk": nonsense})
    peers[NUMPY] = Here({"conditioning": broken})
    asked_for = asked(only="ntk`, n 20|Gram|Condition", rounds=1)
    found = command.run(TINY, peers, peers, command.Gemm(32), asked_for)
    assert [row.name for row in found.rows] == ["Gram stage alone, n 21, d 5, m 8, L 2"] * 2
    assert len(found.failures) == 4
    assert all("torch by hand" in failure for failure in found.failures[:2])
    assert "FAILED: Condition numbers: `conditioning`, n 10" in capsys.readouterr().out
    results = results_of(found.rows, [])
    results.failures.extend(found.failures)
    results.save(tmp_path / "table.json")
    again = ["--from", str(tmp_path / "table.json"), "--output", str(tmp_path)]
    assert command.main(again) == 1
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert text.count("**Not measured.**") == 4
    assert "out of memory" in text
    assert "traceback" not in text


def test_what_is_missing_is_left_out(peers: dict[str, Any]) -> None:
    del peers[TORCH], peers[NEURAL_TANGENTS]
    row = measure(kernel(TINY.kernels[0], "float32"), peers, 1, steady)
    assert [way.name for way in row.peers] == ["NumPy by hand"]


def test_without_amx_where_there_is_one(
    peers: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fastntk.amx.is_available", lambda: True)
    row = measure(kernel(TINY.kernels[0], "float32"), peers, 1, steady)
    assert [way.name for way in row.ways][:2] == ["fastntk", "fastntk without AMX"]
    assert "without AMX" not in {way.name for way in row.peers}
    text = markdown.tables(results_of([row], []))
    # The stand-in takes 1 ms for what it was given first, 2 ms for the second.
    assert "1.00 ms, 2.00 ms" in text
    assert "×; without AMX: 0.50 × |" in text


def test_order_of_rounds_alternates_and_shares_are_scaled_up(peers: dict[str, Any]) -> None:
    seen: list[str] = []

    class Noting(Here):
        def __init__(self, name: str) -> None:
            super().__init__({"f": lambda *_: lambda: np.ones(2)})
            self._name = name

        def time(self, which: int, repeats: int = 1) -> tuple[float, float]:
            seen.append(self._name)
            super().time(which, repeats)
            return 1.0, 2.0

    ways = (Way("a", "f", OURS), Way("b", "f", "b", share=0.25))
    workload = rounds.Workload("S", "w", "float64", dict, ways, 0.0, flops=4e9)
    row = measure(workload, {name: Noting(name) for name in "ab"}, 3, steady)
    assert "".join(seen) == "abbaab"
    assert row.ways[1].wall == [4.0, 4.0, 4.0]
    assert row.ways[1].cpu == [8.0, 8.0, 8.0]
    assert row.of_limit(row.ours) == 4.0
    assert row.of_limit(row.ways[1]) == 1.0


def test_derived_numbers() -> None:
    ours = Timed(OURS, [1.0, 2.0, 4.0], [2.0, 4.0, 8.0], [1e9, 5e8, 1e9])
    without = Timed(f"{OURS} without AMX", [9.0] * 3, [9.0] * 3, [1e9] * 3)
    slow = Timed("slow", [3.0, 6.0, 4.0], [1.0] * 3, [1e9] * 3)
    fast = Timed("fast", [0.5, 1.0, 40.0], [1.0] * 3, [1e9] * 3)
    row = Row("S", "w", "float32", 1e9, 8e9, [ours, without, slow, fast])
    assert row.of_limit(ours) == 1.0  # of 1, 1 and 0.25
    assert row.times_ours(slow) == 3.0
    assert row.best_peer() is fast
    assert row.times_ours(fast) == 0.5
    assert row.ns_core(ours) == 0.5
    x = [1.0, 2.0, 4.0]
    assert Curve("w", OURS, "bytes", "n", x, [3 * v**1.5 for v in x]).exponent == pytest.approx(
        1.5, rel=1e-9, abs=0
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (12.345, "12.3 s"),
        (1.0, "1.00 s"),
        (0.12345, "123 ms"),
        (4e-5, "40.0 µs"),
        (3e-8, "0.03 µs"),
    ],
)
def test_durations(seconds: float, shown: str) -> None:
    assert markdown.duration(seconds) == shown


def test_flops() -> None:
    """Counted product by product, two operations for a product and its sum."""
    shape = Shape(7, 5, 3, 2)
    n, d, m = 7, 5, 3
    forward, backward = n * d * m + n * m * m, n * m * m
    assert shape.pass_flops == 2 * (forward + backward)
    hs, deltas = d + m + m, m + m
    assert shape.gram_flops == n * n * (hs + deltas)
    assert shape.product_flops == 2 * 2 * n * (d * m + m * m)
    deltas = n * (m * m + m * 4)
    weights = n * (d * m + m * m + m * 4)
    assert training_flops(n, [d, m, m, 4]) == 2 * (weights + weights + deltas)


def test_growth_is_fitted(peers: dict[str, Any]) -> None:
    class Quadratic(Here):
        def prepare(
            self,
            function: str,  # noqa: ARG002
            arrays: Mapping[str, Any],
            settings: Mapping[str, Any],  # noqa: ARG002
        ) -> tuple[int, Any]:
            self.n = len(arrays["X"])
            return 0, np.ones(3)

        def time(self, which: int, repeats: int = 1) -> tuple[float, float]:  # noqa: ARG002
            return 1e-6 * self.n**2, 0.0

        def peak(self, which: int) -> int:  # noqa: ARG002
            return 8 * self.n if self.n < 1000 else 0

    def at(n: int) -> rounds.Workload:
        return kernel(Shape(n, 2, 3, 1), "float32")

    there = {OURS: Quadratic({})}
    found = curves(Sweep("kernel", "n", [10, 20, 40], at), there, there)
    assert [(curve.quantity, round(curve.exponent, 9)) for curve in found] == [
        ("seconds", 2.0),
        ("bytes", 1.0),
    ]
    # What is too little to be seen has no curve.
    found = curves(Sweep("kernel", "n", [500, 1000], at), there, there)
    assert [curve.quantity for curve in found] == ["seconds"]


def test_sizes_of_the_sweeps_double() -> None:
    for quick in (True, False):
        for sweep in growth.sweeps(quick):
            assert [b / a for a, b in zip(sweep.sizes, sweep.sizes[1:], strict=False)] == [2.0] * (
                len(sweep.sizes) - 1
            )
            assert f"{sweep.axis} {sweep.sizes[-1]}" in sweep.at(sweep.sizes[-1]).name


def test_full_and_quick_have_the_same_sections() -> None:
    found = [[workload.section for workload in workloads(sizes)] for sizes in (FULL, QUICK)]
    assert set(found[0]) == set(found[1])
    assert len(found[0]) > len(found[1])


def test_warnings() -> None:
    good, steady_rates = {"float64": (1e9, 1.9e9)}, {"float64": [1e9, 1.1e9]}
    assert machine.warnings(2, good, steady_rates, 0.05) == []
    assert machine.warnings(1, {"float64": (1e9, 1e9)}, steady_rates, None) == []
    (said,) = machine.warnings(2, {"float64": (1e9, 1.2e9)}, steady_rates, 0.0)
    assert "1.20 times as fast with 2 threads" in said
    (said,) = machine.warnings(2, good, {"float64": [1e9] * 5 + [2e9] * 5}, 0.0)
    assert "factor of 2.00" in said
    (said,) = machine.warnings(2, good, steady_rates, 1.5)
    assert "1.5 processors busy" in said


def test_facts_state_what_matters() -> None:
    rates = machine.gemm_by_threads(2, "float64", steady)
    assert rates == (1e9, 1e9)
    found = machine.facts(2, {"torch": {"torch": "2.13.0"}}, {"float64": rates})
    assert found["torch"] == "torch 2.13.0"
    assert found["GEMM, float64"] == "1 GFLOP/s with 1 thread, 1 with 2 (1.00 ×)"
    assert fastntk.__version__ in found["fastntk"]
    ones = Here({"gemm": lambda arrays, _: lambda: arrays["A"] @ arrays["A"]})
    assert machine.gemm_of(ones, "float32", size=10) == 2e6  # 2000 operations in a ms
    assert machine.varied({"float64": [1e9, 2e9, 3e9]})["GEMM during the run, float64"] == (
        "median 2 GFLOP/s, a tenth below 1, a tenth above 3"
    )


@pytest.mark.skipif(sys.platform != "linux", reason="what is busy is read from /proc/stat")
def test_own_work_is_not_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([(100.0, 1000.0), (104.0, 1010.0)])
    monkeypatch.setattr(machine, "_busy_and_elapsed", lambda: next(moments))
    own = iter([5.0, 6.0])
    monkeypatch.setattr(machine, "_own_seconds", lambda: next(own))
    assert machine.OtherWork().processors() == pytest.approx(
        0.3, rel=1e-9, abs=0
    )  # 3 of 4 busy seconds in 10


def test_a_process_computes_and_says_what_went_wrong() -> None:
    K = np.diag(np.arange(1.0, 601.0))
    with PeerProcess(sys.executable, "benchmarks.peers.by_numpy", 1, GIVING_BACK) as peer:
        assert set(peer.versions()) == {"numpy", "scipy"}
        which, ends = peer.prepare("conditioning", {"K": K}, {})
        np.testing.assert_allclose(ends, [1.0, 600.0])
        wall, _ = peer.time(which, 2)
        assert wall > 0
        with pytest.raises(PeerError, match=r"(?s)by_numpy failed.*KeyError: 'nothing'"):
            peer.prepare("nothing", {}, {})
        if sys.platform == "linux":
            # LAPACK's copy of the matrix, and little more; Linux counts in batches of pages.
            assert 0.8 * K.nbytes <= peer.peak(which) < 3 * K.nbytes
        peer.forget()
        with pytest.raises(PeerError, match="IndexError"):
            peer.time(which)
    with (
        PeerProcess(sys.executable, "benchmarks.peers.by_nobody", 1) as peer,
        pytest.raises(PeerError, match=r"(?s)by_nobody has ended \(1\).*No module named"),
    ):
        peer.versions()


def test_imports_are_measured() -> None:
    row = measure_imports(1, ("json", "re"))
    assert row.name == "`import json`"
    assert all(way.wall[0] > 0 and len(way.wall) == 1 for way in row.ways)


def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed: list[Any] = []
    made: list[Path] = []

    def create(folder: Path, with_pip: bool) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "pyvenv.cfg").touch()
        made.append(folder)

    monkeypatch.setattr(venv, "create", create)
    monkeypatch.setattr(subprocess, "run", lambda words, **_: installed.append(words))
    python = environment.make_environment(tmp_path / "new")
    assert python == environment.python_of(tmp_path / "new")
    assert environment.make_environment(tmp_path / "new") == python
    assert made == [tmp_path / "new"]
    (words,) = installed
    assert words[:4] == [python, "-m", "pip", "install"]
    assert set(environment.REQUIREMENTS) < set(words)
    # One that was interrupted is gone on with.
    next((tmp_path / "new").glob("*.txt")).unlink()
    environment.make_environment(tmp_path / "new")
    assert len(installed) == 2
    (tmp_path / "something").touch()
    with pytest.raises(FileExistsError, match="is no virtual environment"):
        environment.make_environment(tmp_path)


def test_readme_block_is_replaced(tmp_path: Path) -> None:
    row = Row("Kernels", "one", "float64", 1e9, None, [Timed(OURS, [1.0], [1.0], [1e9])])
    results = results_of([row], [])
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{markdown.BEGIN}\nold\n{markdown.END}\nafter\n", encoding="utf-8")
    markdown.write_into(readme, results)
    text = readme.read_text(encoding="utf-8")
    assert text == f"before\n{markdown.readme_block(results)}\nafter\n"
    assert "| one | float64 | 1.00 s | 1.00 | – | – |" in text
    markdown.write_into(readme, results)
    assert readme.read_text(encoding="utf-8") == text
    readme.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="must have the lines"):
        markdown.write_into(readme, results)


def test_readme_shows_the_committed_results() -> None:
    committed = ROOT / "benchmarks" / "gallery" / "table.json"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = [markdown.readme_block(Results.load(committed))] if committed.exists() else []
    assert readme.count(markdown.BEGIN) == len(shown)
    assert all(block in readme for block in shown)


def test_figure_shows_every_row() -> None:
    way = Timed(OURS, [1.0], [1.0], [1e9])
    peer = Timed("peer", [2.0], [1.0], [1e9])
    rows = [
        Row("K", "limited", "float32", 5e8, None, [way]),
        Row("K", "both", "float64", 5e8, None, [way, peer]),
        Row("C", "compared", "float64", None, None, [way, peer]),
    ]
    left, right = draw(results_of(rows, [])).axes
    bars: list[Any] = [list(axes.patches) for axes in (left, right)]
    assert [text.get_text() for text in left.get_yticklabels()] == [
        "limited, float32",
        "both, float64",
    ]
    assert [text.get_text() for text in right.get_yticklabels()] == ["both, float64", "compared"]
    assert [bar.get_width() for bar in bars[0]] == [0.5, 0.5]
    assert [bar.get_width() for bar in bars[1]] == [1.0, 1.0]  # from 1 to 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Attempted to insert:UserWarning")
def test_torch_itself(peers: dict[str, Any]) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed")
    from benchmarks.peers import by_torch

    peers[TORCH] = Here(by_torch.PREPARE)
    compared = [
        measure(workload, peers, 1, steady)
        for workload in workloads(TINY)
        if any(way.peer == TORCH for way in workload.ways)
    ]
    used = {
        way.function for workload in workloads(TINY) for way in workload.ways if way.peer == TORCH
    }
    assert used | {"gemm"} == by_torch.PREPARE.keys()
    assert len(compared) == 11
