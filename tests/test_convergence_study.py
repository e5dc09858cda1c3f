# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Rates of convergence against what κ predicts, and the study of depths made of them."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from click.testing import CliRunner

import fastntk
from fastntk import figures
from fastntk._cli import cli
from fastntk.studies import convergence_cells
from fastntk.studies.convergence_cells import ConvergenceSettings
from fastntk.studies.rates import fit_tail
from fastntk.studies.runner import Task
from fastntk.studies.store import StudyStore

Array = npt.NDArray[np.float64]

generator = np.random.default_rng(0)
X = generator.standard_normal((80, 6))
LABELS = ((X[:, 0] > 0) + 2 * (X[:, 1] > 0)).astype(int)  # 0 … 3
TEST = (
    generator.standard_normal((40, 6)),
    generator.integers(0, 4, 40),
)


def samples_with(eigenvalues: list[float]) -> Array:
    """Samples whose kernel at depth 0, X Xᵀ/d, has the given eigenvalues."""
    n = len(eigenvalues)
    left, _ = np.linalg.qr(generator.standard_normal((n, n)))
    right, _ = np.linalg.qr(generator.standard_normal((n, n)))
    return np.asarray(left * np.sqrt(n * np.array(eigenvalues)) @ right)


@pytest.mark.parametrize("kappa", [4.0, 50.0, 400.0])
def test_measured_rate_is_the_predicted_one_for_a_linear_model(kappa: float) -> None:
    samples = samples_with([1.0, 2.0, kappa / 3, kappa])
    y = samples @ generator.standard_normal(4) + 1.0
    rate = fastntk.convergence_rate(fastntk.MLP([4, 1]), samples, y, steps=int(20 * kappa) + 60)
    assert rate.condition_number == pytest.approx(kappa, rel=1e-9, abs=0)
    assert rate.worst_case == pytest.approx(1 - 1 / kappa, rel=1e-9, abs=0)
    assert rate.learning_rate == pytest.approx(0.9 * 2 * 4 / (kappa + 1), rel=1e-9, abs=0)
    assert rate.predicted == pytest.approx((1 - 1.8 / (kappa + 1)) ** 2, rel=1e-9, abs=0)
    assert rate.resolved
    # With κ = 4 rounding stops the descent before the other errors are quite gone.
    assert rate.measured == pytest.approx(rate.predicted, rel=1e-3 if kappa < 10 else 1e-6, abs=0)
    assert rate.linear == pytest.approx(rate.measured, rel=1e-6, abs=0)
    assert rate.measured < rate.worst_case
    assert rate.r_squared > 1 - 1e-9


def test_a_tail_that_is_not_reached_is_not_resolved() -> None:
    samples = samples_with([1.0, 1.3, 1e4])
    rate = fastntk.convergence_rate(fastntk.MLP([3, 1]), samples, np.ones(3), steps=50)
    assert not rate.resolved
    # The linear model has the same slope there, and it is not that of the tail.
    assert rate.linear == pytest.approx(rate.measured, rel=1e-6, abs=0)
    short = fastntk.convergence_rate(fastntk.MLP([3, 1]), samples, np.ones(3), steps=5)
    assert np.isnan(short.measured)
    assert not short.resolved


def test_singular_kernels_have_no_predicted_rate() -> None:
    twice = np.concatenate([X[:5], X[:5]])
    rate = fastntk.convergence_rate(fastntk.MLP([6, 32, 1]), twice, np.arange(10.0), steps=100)
    assert not rate.resolved
    assert np.isnan([rate.predicted, rate.condition_number, rate.worst_case]).all()
    assert 0.9 < rate.measured <= 1


def test_wide_networks_converge_as_their_kernel_predicts() -> None:
    samples = X[:8]
    rate = fastntk.convergence_rate(
        fastntk.MLP([6, 4096, 1], activation="erf"), samples, samples[:, 0], steps=1500
    )
    assert rate.resolved
    assert np.log(rate.measured) == pytest.approx(np.log(rate.predicted), rel=0.1, abs=0)


@pytest.mark.parametrize("factor", [0.3, 0.9, 0.9999])
def test_fits_of_the_tail(factor: float) -> None:
    steps = np.arange(400)
    fit = fit_tail(5.0 * factor**steps)
    assert fit.factor == pytest.approx(factor, rel=1e-9, abs=0)
    assert (fit.first, fit.last) == (200, 399)
    assert fit.r_squared == pytest.approx(1.0, rel=1e-9, abs=0)
    assert fit.drift < 1e-6
    bent = fit_tail(0.99**steps + 0.5 * 0.9999**steps)
    assert bent.drift > 0.05
    for unusable in (np.full(400, np.nan), np.zeros(400), np.ones(15), np.array([])):
        assert np.isnan(fit_tail(unusable).factor)
    flat = fit_tail(np.ones(40))
    assert flat.factor == 1.0
    assert flat.drift == np.inf
    with pytest.raises(ValueError, match=r"losses has shape \(2, 2\): expected a vector"):
        fit_tail(np.ones((2, 2)))


SMALL: dict[str, Any] = {
    "width": 48,
    "seeds": [3, 8],
    "test": TEST,
    "batch_size": 20,
    "epochs": 12,
    "loss_target": 0.3,
    "search_epochs": 5,
    "rate_samples": 10,
    "rate_steps": 400,
    "progress": False,
}


def tables(study: fastntk.ConvergenceStudy) -> list[pd.DataFrame]:
    frames = (study.to_frame(), study.curves(), study.learning_rates(), study.summary())
    return [frame.drop(columns="seconds", errors="ignore") for frame in frames]


def assert_same(one: fastntk.ConvergenceStudy, other: fastntk.ConvergenceStudy) -> None:
    for first, second in zip(tables(one), tables(other), strict=True):
        pd.testing.assert_frame_equal(first, second, check_exact=True)


@pytest.fixture(scope="module")
def study() -> fastntk.ConvergenceStudy:
    return fastntk.convergence_study(X, LABELS, [3, 0, 1], **SMALL)


def test_study_agrees_with_its_parts(study: fastntk.ConvergenceStudy) -> None:
    frame = study.to_frame()
    assert frame[["depth", "seed"]].to_numpy().tolist() == [
        [depth, seed] for depth in (0, 1, 3) for seed in (3, 8)
    ]
    rows = np.sort(np.random.default_rng(0).permutation(80)[:10])
    numbers = (LABELS[rows] - LABELS[rows].mean()) / LABELS[rows].std()
    for result in study.results:
        widths = [6, *[48] * result.depth]
        net = fastntk.MLP([*widths, 4], seed=result.seed, dtype="float32")
        first = fastntk.MLP([*widths, 4], seed=3, dtype="float32")
        search = fastntk.find_learning_rate(
            first, X, LABELS, batch_size=20, epochs=5, loss_target=0.3, seed=3
        )
        assert result.learning_rate == search.best
        tried = study.learning_rates().query(f"depth == {result.depth}")
        assert tried["learning_rate"].tolist() == [c.learning_rate for c in search.candidates]
        assert tried.loc[tried["best"], "learning_rate"].tolist() == [search.best]
        assert study.searches[result.depth].bound == search.bound
        history = fastntk.train(
            net,
            X,
            LABELS,
            learning_rate=search.best,
            epochs=12,
            batch_size=20,
            seed=result.seed,
            validation=TEST,
        )
        assert np.array_equal(result.loss, history.loss)
        assert np.array_equal(result.test_accuracy, history.validation_accuracy)  # type: ignore[arg-type]
        rate = fastntk.convergence_rate(
            fastntk.MLP([*widths, 1], seed=result.seed),
            X[rows].astype("float32"),
            numbers,
            steps=400,
        )
        assert result.rate == rate or np.isnan(rate.predicted)
        reached = np.flatnonzero(history.loss <= 0.3)
        row = frame[(frame["depth"] == result.depth) & (frame["seed"] == result.seed)].iloc[0]
        if len(reached):
            assert row["epochs_to_target"] == reached[0] + 1
        else:
            assert np.isnan(row["epochs_to_target"])
        assert row["test_accuracy"] == history.validation_accuracy[-1]  # type: ignore[index]
        assert row["final_loss"] == history.loss[-1]


@pytest.mark.parametrize("jobs", [1, 2, 3])
def test_study_does_not_depend_on_jobs(study: fastntk.ConvergenceStudy, jobs: int) -> None:
    assert_same(fastntk.convergence_study(X, LABELS, [0, 1, 3], jobs=jobs, **SMALL), study)


def test_summary_has_means_over_seeds(study: fastntk.ConvergenceStudy) -> None:
    frame, summary = study.to_frame(), study.summary().set_index("depth")
    for depth, cell in frame.groupby("depth"):
        row = summary.loc[depth]
        assert row["test_accuracy"] == pytest.approx(cell["test_accuracy"].mean(), rel=1e-9, abs=0)
        assert row["final_loss_std"] == pytest.approx(
            np.std(cell["final_loss"], ddof=1), rel=1e-9, abs=0
        )
        assert row["reached"] == cell["epochs_to_target"].notna().sum()
        assert row["rates_resolved"] == cell["rate_resolved"].sum()
        assert row["learning_rate"] == cell["learning_rate"].iloc[0]
    table = figures.table1(study)
    np.testing.assert_allclose(table["test_accuracy"], 100 * summary["test_accuracy"])
    np.testing.assert_allclose(
        table["standard_error"], 100 * summary["test_accuracy_std"] / np.sqrt(2)
    )


def test_figures_show_every_depth(study: fastntk.ConvergenceStudy) -> None:
    labels = ["depth 0", "depth 1", "depth 3"]
    (axes,) = figures.figure4(study).axes
    assert axes.get_legend_handles_labels()[1] == labels
    curves = study.curves().query("depth == 1").groupby("epoch")["loss"].mean()
    np.testing.assert_allclose(np.asarray(axes.lines[1].get_ydata(), float), curves.to_numpy())
    left, middle, right = study.plot()
    assert left.get_legend_handles_labels()[1] == labels
    assert "0.3" in middle.get_ylabel()
    assert right.get_legend_handles_labels()[1][:3] == ["predicted", "linear model", "measured"]


def test_tables_on_disk(study: fastntk.ConvergenceStudy, tmp_path: Path) -> None:
    written = study.save(tmp_path / "x.csv")
    assert [file.name for file in written] == ["x.csv", "x-curves.csv", "x-learning-rates.csv"]
    for file, frame in zip(
        written, (study.to_frame(), study.curves(), study.learning_rates()), strict=True
    ):
        pd.testing.assert_frame_equal(pd.read_csv(file), frame)


def test_a_store_is_gone_on_from(
    study: fastntk.ConvergenceStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "cells.sqlite"
    reports: list[tuple[str, int, int]] = []

    def stop(name: str, done: int, total: int) -> None:
        reports.append((name, done, total))
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fastntk.convergence_study(
            X, LABELS, [0, 1, 3], store=store, jobs=1, **{**SMALL, "progress": stop}
        )
    assert [report[1:] for report in reports] == [(i, 15) for i in range(1, 9)]
    assert reports[0][0] == "depth 0, learning rate"
    computed: list[int] = []

    def train(net: fastntk.MLP, *arguments: Any, **options: Any) -> fastntk.History:
        computed.append(net.depth)
        return fastntk.train(net, *arguments, **options)

    monkeypatch.setattr(convergence_cells, "train", train)
    resumed = fastntk.convergence_study(X, LABELS, [0, 1, 3], store=store, jobs=1, **SMALL)
    assert computed == [3, 3]  # depth 1 had both of its trainings
    assert_same(resumed, study)
    again = fastntk.convergence_study(X, LABELS, [0, 1, 3], store=store, **SMALL)
    assert computed == [3, 3]
    pd.testing.assert_frame_equal(again.to_frame(), resumed.to_frame())  # with the seconds
    # More seeds and depths are added to what is there; other settings are not taken for the same.
    fastntk.convergence_study(X, LABELS, [1], store=store, **{**SMALL, "seeds": [3, 8, 9]})
    assert computed == [3, 3, 1]
    fastntk.convergence_study(X, LABELS, [1], store=store, **{**SMALL, "epochs": 13})
    assert computed == [3, 3, 1, 1, 1]
    for samples, labels, changes in (
        (2 * X, LABELS, {}),
        (X, LABELS[::-1], {}),
        (X, LABELS, {"test": (2 * TEST[0], TEST[1])}),
    ):
        computed.clear()
        fastntk.convergence_study(samples, labels, [1], store=store, **{**SMALL, **changes})
        assert computed == [1, 1]


def test_a_killed_process_loses_at_most_what_it_was_doing(tmp_path: Path) -> None:
    program = textwrap.dedent(
        """
        import os, signal, sys
        sys.path.insert(0, sys.argv[2])
        import fastntk, test_convergence_study as test
        def report(name, done, total):
            if done == 7:
                os.kill(os.getpid(), signal.SIGKILL)
        fastntk.convergence_study(
            test.X, test.LABELS, [0, 1], store=sys.argv[1], **{**test.SMALL, "progress": report}
        )
        """
    )
    store = tmp_path / "cells.sqlite"
    completed = subprocess.run(
        [sys.executable, "-c", program, store, Path(__file__).parent], check=False
    )
    assert completed.returncode == -signal.SIGKILL
    done: list[int] = []
    study = fastntk.convergence_study(
        X,
        LABELS,
        [0, 1],
        store=store,
        **{**SMALL, "progress": lambda _name, count, _total: done.append(count)},
    )
    assert done[0] == 1
    assert 5 in done
    assert len(done) < 10  # some came from the store together
    assert_same(study, fastntk.convergence_study(X, LABELS, [0, 1], **SMALL))


def test_a_store_that_cannot_be_written_stops_all_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StudyStore.add

    def add(self: StudyStore, settings: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        if settings["study"] == "convergence: training":
            raise OSError("the disk is full")
        return real(self, settings, result)

    monkeypatch.setattr(StudyStore, "add", add)
    before = threading.active_count()
    # The second training would take hours.
    options = {**SMALL, "seeds": [3, 8], "jobs": 2, "rate_steps": 10**8, "rate_samples": 80}
    with pytest.raises(OSError, match="the disk is full"):
        fastntk.convergence_study(X, LABELS, [3], store=tmp_path / "x.sqlite", **options)
    assert threading.active_count() == before


def test_without_test_samples() -> None:
    options = {**SMALL, "test": None, "seeds": 1}
    study = fastntk.convergence_study(X, LABELS, [1], **options)
    assert "test_loss" not in study.curves()
    assert np.isnan(study.to_frame()["test_accuracy"]).all()
    assert len(study.plot()) == 3


def test_deeper_networks_are_better_conditioned_and_converge_faster() -> None:
    study = fastntk.convergence_study(
        X, LABELS, [1, 4], **{**SMALL, "width": 512, "rate_steps": 1500, "epochs": 5}
    )
    summary = study.summary().set_index("depth")
    assert summary["condition_number"][4] < summary["condition_number"][1]
    assert summary["predicted_rate"][4] < summary["predicted_rate"][1]
    assert summary["measured_rate"][4] < summary["measured_rate"][1]


@pytest.mark.parametrize("halvings", [2, 9])
def test_a_learning_rate_with_which_trainings_diverge_is_halved(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, halvings: int
) -> None:
    """Rates that are the fastest of few epochs need not do for many: here those of one seed."""
    asked: dict[tuple[int, int], list[float]] = {}
    training = ConvergenceSettings.training

    def diverges_at_first(self: Any, depth: int, seed: int, learning_rate: float) -> Task:
        task = training(self, depth, seed, learning_rate)
        tried = asked.setdefault((depth, seed), [])
        tried.append(learning_rate)
        bad = depth == 1 and seed == 8 and len(tried) <= halvings
        numbers = task.compute
        return replace(
            task,
            compute=lambda poll: numbers(poll) | ({"status": "diverged"} if bad else {}),
        )

    monkeypatch.setattr(ConvergenceSettings, "training", diverges_at_first)
    reports: list[tuple[int, int]] = []
    options = SMALL | {
        "progress": lambda _, done, total: reports.append((done, total)),
        "store": tmp_path / "s",
    }
    study = fastntk.convergence_study(X, LABELS, [0, 1], **options)
    best = {depth: search.best for depth, search in study.searches.items()}
    most = min(halvings, 6)
    assert asked[1, 3] == asked[1, 8] == [best[1] / 2**k for k in range(most + 1)]
    assert asked[0, 3] == [best[0]]
    used = {(each.depth, each.seed): (each.learning_rate, each.status) for each in study.results}
    last = best[1] / 2**most
    assert used[1, 3] == (last, "completed")
    assert used[1, 8] == (last, "completed" if halvings <= 6 else "diverged")
    assert used[0, 8] == (best[0], "completed")
    # Two searches, two cells for each of four networks, and two more for each halving.
    assert reports[-1] == (10 + 2 * most, 10 + 2 * most)


def test_nothing_converges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "fastntk.training.learning_rate_search.learning_rate_bound", lambda *_, **__: 1e20
    )
    with pytest.raises(RuntimeError, match="depth 0: training diverged with every learning rate"):
        fastntk.convergence_study(1e6 * X, LABELS, [0], **SMALL)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"y": LABELS[:5]}, ValueError, r"y has shape \(5,\): expected 80 labels from 0"),
        ({"y": LABELS - 1}, ValueError, "y has a label -1: expected 80 labels from 0"),
        ({"y": LABELS * 1.0}, TypeError, "y has dtype float64: expected 80 labels from 0"),
        ({"depths": []}, ValueError, r"depths=\[\]: expected at least one integer"),
        ({"depths": [-1]}, ValueError, r"depths\[0\]=-1: expected an integer of at least 0"),
        ({"width": 0}, ValueError, "width=0: expected an integer of at least 1"),
        ({"seeds": 0}, ValueError, "seeds=0: expected an integer of at least 1"),
        ({"seeds": [1, 1]}, ValueError, r"seeds=\[1, 1\]: expected each seed only once"),
        ({"batch_size": 81}, ValueError, "batch_size=81: expected at most the 80 samples of X"),
        ({"epochs": 0}, ValueError, "epochs=0: expected an integer of at least 1"),
        ({"search_epochs": 0}, ValueError, "search_epochs=0: expected an integer of at least 1"),
        ({"rate_samples": 1}, ValueError, "rate_samples=1: expected an integer of at least 2"),
        ({"rate_steps": 0}, ValueError, "rate_steps=0: expected an integer of at least 1"),
        ({"loss_target": np.nan}, ValueError, "loss_target=nan: expected a finite number"),
        ({"dtype": "int8"}, ValueError, "dtype='int8': expected 'float32' or 'float64'"),
        ({"activation": "step"}, ValueError, "activation='step': expected one of"),
        ({"jobs": 0}, ValueError, "jobs=0: expected an integer of at least 1"),
        ({"test": TEST[0]}, TypeError, r"test is a ndarray: expected a pair \(X, y\)"),
        ({"test": (TEST[0], TEST[1] + 1)}, ValueError, r"test\[1\] has a label 4: expected those"),
        ({"test": (TEST[0][:, :2], TEST[1])}, ValueError, r"test\[0\] has shape \(40, 2\)"),
    ],
)
def test_bad_arguments(
    arguments: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    store = tmp_path / "cells.sqlite"
    with pytest.raises(error, match=message):
        fastntk.convergence_study(
            **{"X": X, "y": LABELS, "depths": [0], "store": store, **SMALL, **arguments}
        )
    assert not store.exists()


def test_bad_networks_for_a_rate() -> None:
    with pytest.raises(ValueError, match="net has 2 outputs: expected one"):
        fastntk.convergence_rate(fastntk.MLP([6, 2]), X, LABELS)
    with pytest.raises(ValueError, match="steps=0: expected an integer of at least 1"):
        fastntk.convergence_rate(fastntk.MLP([6, 1]), X, LABELS, steps=0)


def test_the_command(tmp_path: Path) -> None:
    arguments = ["convergence", "digits", "--subset", "200", "--depths", "0-1", "--width", "32"]
    arguments += ["--seeds", "2", "--epochs", "3", "--batch-size", "50", "--rate-samples", "10"]
    arguments += ["--rate-steps", "200", "--out", str(tmp_path)]
    first, second = (CliRunner().invoke(cli, arguments) for _ in range(2))
    assert first.exit_code == 0, first.output
    assert "digits: 200 training samples, width 32, 2 seeds" in first.output
    lines = first.output.splitlines()
    assert [line.split()[0] for line in lines if line.lstrip()[:1] in {"0", "1"}] == ["0", "1"]
    assert second.output.splitlines()[1:] == lines[1:]  # but for the seconds
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "digits-curves.csv",
        "digits-learning-rates.csv",
        "digits.csv",
        "digits.png",
        "digits.sqlite",
    ]
    frame = pd.read_csv(tmp_path / "digits.csv")
    assert frame["test_accuracy"].between(0, 1).all()  # of the samples that were left over
    bad = CliRunner().invoke(cli, ["convergence", "digits", "--subset", "1"])
    assert bad.exit_code != 0
    assert "subset=1: expected from 2 to the 1797 samples" in bad.stderr
