# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The samples that commands are given: data sets, files, columns, preprocessing, and none."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import fastntk
from fastntk import datasets
from fastntk.__main__ import main
from fastntk._cli import cli, samples

RNG = np.random.default_rng(0)
SMALL = ("--depths", "1", "--width", "8", "--seeds", "1")
TRAINING = ("--batch-size", "10", "--epochs", "1", "--rate-samples", "5", "--rate-steps", "5")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(RNG.standard_normal((20, 3)), columns=list("abc"))
    frame["kind"] = ["x", "y"] * 10
    frame.to_csv("table.csv")
    np.save("complex.npy", np.eye(3) * 1j)


@pytest.mark.parametrize("how", [None, "unit-norm"])
def test_a_study_of_a_table(how: str | None) -> None:
    options = (
        "--label",
        "kind",
        "--index",
        "0",
        *(() if how is None else ("--preprocessing", how)),
    )
    result = run("study", "table.csv", *options, "--activation", "relu", "--out", "out", *SMALL)
    assert result.exit_code == 0, result.output
    X = datasets.load("table.csv", label="kind", index=0, preprocessing=how).X
    expected = fastntk.depth_study(
        X, depths=[1], width=8, seeds=1, activations=["relu"], progress=False
    ).to_frame()
    found = pd.read_csv("out/table.csv")
    assert found["eigenvalue_max"].tolist() == expected["eigenvalue_max"].tolist()
    read = "label kind, index 0"
    called = f"table, {read}" if how is None else f"table, {how}, {read}"
    assert found["data"].unique().tolist() == [called]
    assert "table: 20 samples of dimension 3" in result.output


def test_a_kernel_of_the_samples_of_the_paper() -> None:
    result = run("kernel", "synthetic", "--subset", "30", "--width", "8", "--out", "out")
    assert result.exit_code == 0, result.output
    assert result.output.startswith("synthetic, MLP(widths=(5, 8, 8, 8, 1)")
    result = run("kernel", "synthetic", "--subset", "30", "--preprocessing", "symmetric")
    assert "preprocessing='symmetric': the range of the numbers" in result.stderr


def test_training_on_a_table() -> None:
    columns = ("--label", "kind", "--index", "0")
    result = run("convergence", "table.csv", *columns, "--out", "out", *SMALL, *TRAINING)
    assert result.exit_code == 0, result.output
    assert "table: 16 training samples" in result.output
    assert Path("out/table.csv").exists()


@pytest.mark.parametrize("name", datasets.WITH_TEST_PART)
def test_what_is_trained_is_tested_on_the_test_part(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of data sets that have one; of others, on the samples that are not trained on."""
    first = {"train": 0.0, "test": 100.0}

    def load(asked: str, part: str = "train", **_: object) -> datasets.Dataset:
        X = first[part] + np.arange(10.0)[:, np.newaxis]
        return datasets.Dataset(asked, X, np.arange(10) % 3, part)

    monkeypatch.setattr(samples, "load", load)
    training = samples.load_for_training(name, samples.Reading(), 4)
    assert len(training.X) == len(training.y) == 4
    assert training.test is not None
    np.testing.assert_array_equal(training.test[0][:, 0], 100 + np.arange(10.0))
    np.testing.assert_array_equal(training.test[1], np.arange(10) % 3)
    plain = samples.load_for_training("other", samples.Reading(), 4)
    assert plain.test is not None
    np.testing.assert_array_equal(np.sort(np.r_[plain.X, plain.test[0]], axis=0)[:, 0], range(10))
    np.testing.assert_array_equal(plain.test[1], plain.test[0][:, 0] % 3)
    assert samples.load_for_training("other", samples.Reading(), 10).test is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("study", "table.csv"),
            (
                "Error: DATA='table.csv': cannot be read as samples: its first column has no name, "
                "as the index of a table of pandas: expected columns of numbers only; leave it out "
                "with --index 0, take it for a feature with --index none, or let pandas write "
                "none, by to_csv(index=False)\n"
            ),
        ),
        (
            ("kernel", "table.csv", "--index", "0"),
            (
                "column 'kind' has 'x' in row 1 of the samples: expected a number; if these are "
                "labels, say so with --label kind\n"
            ),
        ),
        (
            ("study", "table.csv", "--index", "z"),
            "Error: DATA='table.csv': cannot be read as samples: --index='z': expected one of",
        ),
        (
            ("study", "table.csv", "--index", "9"),
            "Error: DATA='table.csv': cannot be read as samples: --index=9: expected a column from",
        ),
        (("study", "digits", "--label", "None"), "Error: --label='None': expected None for 'digi"),
        (
            ("convergence", "synthetic"),
            "Error: DATA='synthetic': has no labels: expected a data set with",
        ),
        (("convergence", "mnits"), "Error: DATA='mnits': expected one of 'digits', 'mnist'"),
        (("study", "digits", "--preprocessing", "white"), "'white' is not one of 'symmetric'"),
        (("study", "gone.csv"), "DATA: No such file or directory: 'gone.csv'"),
        (("kernel", "complex.npy"), "DATA='complex.npy': X has dtype complex128: expected real"),
    ],
)
def test_bad_samples_are_refused_before_any_work(arguments: tuple[str, ...], message: str) -> None:
    result = run(*arguments, "--out", "out")
    assert result.exit_code != 0
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert not Path("out").exists()


def test_a_column_may_be_none() -> None:
    found = run("study", "table.csv", "--index", "none", "--label", "kind", "--out", "out", *SMALL)
    assert found.exit_code == 0, found.output
    assert "table: 20 samples of dimension 4" in found.output
    assert set(pd.read_csv("out/table.csv")["data"]) == {"table, label kind, index none"}


def test_tables_say_how_samples_were_read() -> None:
    np.save("plain.npy", np.random.default_rng(1).standard_normal((20, 3)))
    for command, expected in (
        (("study", "digits", "--subset", "9"), "digits, subset of 9"),
        (("study", "plain.npy", "--preprocessing", "standardized"), "plain, standardized"),
        (("study", "plain.npy"), "plain"),
    ):
        assert run(*command, "--out", "out", *SMALL).exit_code == 0
        assert set(pd.read_csv(f"out/{expected.partition(',')[0]}.csv")["data"]) == {expected}
    reading = samples.Reading("standardized", -1, "id")
    assert reading.called("x", None) == "x, standardized, label -1, index id"


def test_what_is_missing_for_some_samples_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("talk").mkdir()
    monkeypatch.setitem(sys.modules, "soundfile", None)
    monkeypatch.setattr(sys, "argv", ["fastntk", "study", "talk"])
    with pytest.raises(SystemExit, match=r"^fastntk: .* needs soundfile.*'fastntk\[data\]'$"):
        main()
