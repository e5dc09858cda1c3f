# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command, end to end, and the files that it reads and writes."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

import fastntk
from fastntk import datasets
from fastntk._cli import cli
from fastntk._cli.kept import keep_others
from fastntk.studies.depth_results import COSTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(a) for a in arguments])


SMALL = ("--depths", "0-2", "--width", 32, "--seeds", 2)


def test_study_of_the_digits(tmp_path: Path) -> None:
    result = run("study", "digits", "--subset", 90, "--out", tmp_path, *SMALL)
    assert result.exit_code == 0, result.output
    assert "digits: 90 samples of dimension 64, width 32, 2 seeds" in result.output
    lines = [line for line in result.output.splitlines() if line.strip().startswith("relu")]
    assert [line.split()[1] for line in lines] == ["0", "1", "2"]
    assert "unresolved (rank" in lines[0]
    frame = pd.read_csv(tmp_path / "digits.csv")
    assert len(frame) == 2 * 3 * 2
    assert set(frame.columns) >= {"activation", "depth", "seed", "smallest_angle", "i", "j"}
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    expected = ["digits.csv", "digits.png", "digits.sqlite"]
    assert sorted(p.name for p in tmp_path.iterdir()) == expected


@pytest.mark.parametrize("command", ["study", "constancy", "convergence", "kernel"])
def test_an_interrupted_command_says_how_it_is_continued(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = {
        "study": "depth_study",
        "constancy": "constancy_study",
        "convergence": "convergence_study",
    }
    module = importlib.import_module(f"fastntk._cli.{command}")

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, computed.get(command, "kernel_report"), interrupted)
    out = ["--out", tmp_path / "results"]
    cases = [(out, tmp_path / "results")]
    if command != "kernel":
        cases.append(([*out, "--store", tmp_path / "cells"], tmp_path / "cells"))
    for options, place in cases:
        result = run(command, "digits", "--subset", 90, *options)
        assert result.exit_code == 130
        assert result.stderr.split("\n")[1:] == [
            f"Interrupted: what was finished is in {place}; the same command goes on there.",
            "",
        ]
        assert "Interrupted" not in result.stdout


# Where tests run in the background, SIGINT may be ignored, by what they start as well.
LISTENING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from fastntk.__main__ import main
main()
"""


@pytest.mark.long
@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
def test_ctrl_c_leaves_a_study_that_can_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", LISTENING, "study", "digits", "--subset", "300"]
    command += ["--depths", "0-1", "--width", "32", "--seeds", "5000", "--out", str(tmp_path)]
    store = tmp_path / "digits.sqlite"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and cells_in(store) == 0:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"what was finished is in {tmp_path}; the same command goes on there" in errors
    assert cells_in(store) > 0


def cells_in(store: Path) -> int:
    """Return how many cells a store has, 0 while there is none."""
    if not store.exists():
        return 0
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as connection:
        try:
            (count,) = connection.execute("SELECT COUNT(*) FROM cell").fetchone()
        except sqlite3.OperationalError:  # no table yet
            return 0
    return int(count)


def test_the_installed_command_runs() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "fastntk", "info"], capture_output=True, text=True, check=True
    )
    assert f"fastntk           {fastntk.__version__}" in completed.stdout
    for what in (
        "BLAS",
        "threads",
        "instruction set",
        "float32 products",
        "memory",
        "extra: study",
    ):
        assert what in completed.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device that is always full")  # noqa: PTH110
@pytest.mark.parametrize("option", ["info", "--help"])
def test_output_that_cannot_be_written_is_explained(option: str) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        completed = subprocess.run(
            [sys.executable, "-m", "fastntk", option],
            check=False,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert completed.returncode == 1
    assert completed.stderr == "Error: standard output: No space left on device\n"


def test_the_default_size_of_batches_fits_few_samples(tmp_path: Path) -> None:
    np.savez(
        tmp_path / "few.npz", X=np.random.default_rng(0).standard_normal((12, 3)), y=[0, 1] * 6
    )
    command = ["convergence", tmp_path / "few.npz", "--out", tmp_path, "--depths", 1]
    result = run(*command, "--width", 4, "--seeds", 1, "--epochs", 1, "--rate-steps", 20)
    assert result.exit_code == 0, result.output
    assert set(pd.read_csv(tmp_path / "few.csv")["batch_size"]) == {9}


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".csv"])
def test_study_of_a_file(tmp_path: Path, suffix: str) -> None:
    X = np.random.default_rng(0).standard_normal((20, 4))
    file = tmp_path / f"points{suffix}"
    if suffix == ".npy":
        np.save(file, X)
    elif suffix == ".npz":
        np.savez(file, X=X, other=np.zeros(3))
    else:
        pd.DataFrame(X, columns=list("abcd")).to_csv(file, index=False)
    assert np.array_equal(datasets.load_file(file).X, X)
    result = run("study", file, "--activation", "relu", "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 0, result.output
    frame = pd.read_csv(tmp_path / "out" / "points.csv")
    expected = fastntk.depth_study(
        X, depths=range(3), width=32, seeds=2, activations=["relu"], data="points", progress=False
    )
    pd.testing.assert_frame_equal(
        frame.drop(columns=list(COSTS)), expected.to_frame().drop(columns=list(COSTS))
    )


def test_other_layouts_of_files(tmp_path: Path) -> None:
    X = np.arange(6.0).reshape(3, 2)
    np.savez(tmp_path / "one.npz", samples=X)
    np.savetxt(tmp_path / "bare.csv", X, delimiter=",")
    assert np.array_equal(datasets.load_file(tmp_path / "one.npz").X, X)
    assert np.array_equal(datasets.load_file(tmp_path / "bare.csv").X, X)


def test_a_killed_study_goes_on_when_it_is_started_again(tmp_path: Path) -> None:
    study = ["study", "digits", "--subset", "60", "--depths", "0-3", "--width", "64"]
    study += ["--out", str(tmp_path / "out")]
    command = [*study, "--seeds", "6"]
    store = tmp_path / "out" / "digits.sqlite"
    # More networks than any machine is done with before it is stopped.
    endless = [sys.executable, "-m", "fastntk", *study, "--seeds", "5000"]
    with subprocess.Popen(endless, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 60
        while process.poll() is None and cells_in(store) == 0:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.kill()
    assert not (tmp_path / "out" / "digits.csv").exists()
    resumed = run(*command)
    assert resumed.exit_code == 0, resumed.output
    found = re.search(r"\((\d+) of 48 networks from the store\)", resumed.output)
    assert found is not None
    assert int(found[1]) > 0
    whole = run(*study[:-1], tmp_path / "whole", "--seeds", "6")
    assert "from the store" not in whole.output
    one, other = (
        pd.read_csv(tmp_path / folder / "digits.csv", dtype=str).drop(columns=list(COSTS))
        for folder in ("out", "whole")
    )
    pd.testing.assert_frame_equal(one, other)  # of texts: every digit
    again = run(*command)
    assert "(48 of 48 networks from the store)" in again.output
    # More seeds: what is there is kept.
    more = run(*study, "--seeds", 7)
    assert "(48 of 56 networks from the store)" in more.output


def test_all_options_of_a_study(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((24, 5))
    np.save(tmp_path / "x.npy", X)
    options = ["--width", "16,32", "--infinite", "--batches", 8, "--weight-std", 1.2]
    options += ["--bias-std", 0.1, "--store", tmp_path / "cells", "--dtype", "float64"]
    result = run("study", tmp_path / "x.npy", "--out", tmp_path / "out", *SMALL[:2], *options)
    assert result.exit_code == 0, result.output
    assert "x: 24 samples of dimension 5, width 16, 32, 5 seeds" in result.output
    (header,) = (line for line in result.output.splitlines() if "network" in line)
    columns = ["network", "width", "depth", "smallest angle", "pair", "λ_min", "λ_max", "κ"]
    assert re.split("  +", header.strip()) == [*columns, "κ of batches of 8"]
    rows = [line.split()[:3] for line in result.output.splitlines() if " 2  " in line]
    assert ["relu", "infinite", "2"] in rows
    assert ["identity", "32", "2"] in rows
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["x.csv", "x.png"]
    expected = fastntk.depth_study(
        X, depths=range(3), width=[16, 32], weight_std=1.2, bias_std=0.1, dtype="float64",
        infinite=True, batches=8, store=tmp_path / "cells", progress=False, data="x",
    )  # fmt: skip
    assert expected.stored == len(expected.results)
    expected.save(tmp_path / "expected.csv")
    assert (tmp_path / "out" / "x.csv").read_bytes() == (tmp_path / "expected.csv").read_bytes()
    other = run(
        "study", tmp_path / "x.npy", "--out", tmp_path, *SMALL, "--parametrization", "standard"
    )
    assert other.exit_code == 0, other.output
    net = fastntk.MLP([5, 32, 32, 1], parametrization="standard", dtype="float32")
    largest = fastntk.conditioning(net.ntk(X, dtype="float64")).eigenvalue_max
    table = pd.read_csv(tmp_path / "x.csv").query("activation == 'relu' and depth == 2")
    assert table["eigenvalue_max"].iloc[0] == pytest.approx(largest, rel=1e-9, abs=0)


def test_a_store_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(4))
    notes = tmp_path / "notes.txt"
    notes.write_text("not a store\n" * 50)
    result = run("study", tmp_path / "x.npy", "--store", notes, "--out", tmp_path / "out", *SMALL)
    assert result.exit_code == 1
    assert "notes.txt' is not an SQLite file" in result.stderr
    assert not (tmp_path / "out").exists()
    assert notes.read_text() == "not a store\n" * 50


def test_warnings_are_shown(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((10, 4))
    X[7] = X[2]
    np.save(tmp_path / "twins.npy", X)
    result = run("study", tmp_path / "twins.npy", "--out", tmp_path, *SMALL)
    assert result.exit_code == 0, result.output
    assert "Warning: X has 1 rows that repeat another" in result.stderr
    assert "(2, 7)" in result.stderr
    assert "unresolved" in result.output


def bad_files(folder: Path) -> dict[str, Any]:
    np.save(folder / "nan.npy", np.full((3, 2), np.nan))
    np.save(folder / "vector.npy", np.ones(3))
    np.save(folder / "objects.npy", np.array([[{}]], dtype=object), allow_pickle=True)
    np.savez(folder / "two.npz", a=np.ones(2), b=np.ones(2))
    whole = folder / "whole.npy"
    np.save(whole, np.ones((30, 30)))
    (folder / "cut.npy").write_bytes(whole.read_bytes()[:200])
    (folder / "cut.npz").write_bytes(b"PK\x03\x04 not a zip")
    (folder / "words.csv").write_text("a,b\n1,2\n3,x\n")
    (folder / "empty.csv").write_text("")
    (folder / "samples.txt").write_text("1 2\n")
    return {
        "nan.npy": r"nan.npy': X\[0, 0\]=.*nan.*expected numbers that are finite",
        "vector.npy": r"vector.npy': X has shape \(3,\): expected a matrix",
        "objects.npy": "cannot be read as samples: .*dtype object",
        "two.npz": r"expected an array named X, found \['a', 'b'\]",
        "cut.npy": "cannot be read as samples",
        "cut.npz": "cannot be read as samples",
        "words.csv": "column 'b' has 'x' in row 2 of the samples: expected a number",
        "empty.csv": "cannot be read as samples: No columns",
        "samples.txt": r"expected a file that ends in .npy, .npz, .csv or .mat",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nan,nan\n1,2\n", r"X\[0, 0\]=.*nan.*: expected numbers that are finite"),
        ("NA,NA\n1,2\n", "column 1 has 'NA' in row 1 of the samples: expected a number"),
        (",\n1,2\n", "column 1 has '' in row 1 of the samples"),
        ("1,2\n,\n3,4\n", "column 1 has '' in row 2 of the samples"),
        ("1,2\n\n3,4\n", "column 1 has '' in row 2 of the samples"),
        ("a\n1\n\n3\n", "column 'a' has '' in row 2 of the samples"),
        ('a\n1\n""\n3\n', "column 'a' has '' in row 2 of the samples"),
        ("1,2\n3\n", "column 2 has '' in row 2 of the samples"),
        (",a,b\n0,1,2\n1,3,4\n", "first column has no name, as the index .*index=False"),
        ("a,target\n1,0.5\n", "column 'target' is taken for labels: expected integers from 0"),
        ("a,class,label\n1,0,1\n", r"several columns of labels: \['class', 'label'\]"),
        ("a,b\n", r"X has shape \(0, 2\)"),
        ("\n\n", "it is empty|No columns"),
    ],
)
def test_no_row_and_no_column_of_a_table_is_lost(
    tmp_path: Path, content: str, message: str
) -> None:
    file = tmp_path / "table.csv"
    file.write_text(content)
    with pytest.raises(ValueError, match=message):
        datasets.load_file(file)


def test_labels_of_a_table(tmp_path: Path) -> None:
    file = tmp_path / "table.csv"
    file.write_text("a,Label,y\n1,2,3\n4,0,6\n\n")
    dataset = datasets.load_file(file)
    assert dataset.X.tolist() == [[1.0, 3.0], [4.0, 6.0]]
    assert dataset.y is not None
    assert dataset.y.tolist() == [2, 0]


def test_bad_files(tmp_path: Path) -> None:
    for name, message in bad_files(tmp_path).items():
        with pytest.raises(ValueError, match=message):
            datasets.load_file(tmp_path / name)
        result = run("study", tmp_path / name, "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert not (tmp_path / "out").exists()
    with pytest.raises(FileNotFoundError):
        datasets.load_file(tmp_path / "missing.npy")
    assert "No such file" in run("study", tmp_path / "missing.npy").stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["mnits"],
            "DATA='mnits': expected one of 'digits', 'mnist', 'mnist-5000'",
        ),
        (["digits", "--depths", "a"], "expected numbers and ranges"),
        (["digits", "--depths", "3-1"], "the range '3-1' is empty"),
        (["digits", "--width", "0"], "--width=0: expected an integer of at least 1"),
        (["digits", "--width", "8,0"], "--width[1]=0: expected an integer of at least 1"),
        (["digits", "--batches", "1"], "--batches=1: expected an integer of at least 2"),
        (["digits", "--weight-std", "0"], "--weight-std=0.0: expected a finite number above 0"),
        (["digits", "--bias-std", "-1"], "--bias-std=-1.0: expected a finite number of at least 0"),
        (["digits", "--infinite", "--parametrization", "standard"], "expected 'ntk'"),
        (["digits", "--seeds", "0"], "--seeds=0: expected"),
        (
            ["digits", "--out", ""],
            "Invalid value for '--out': '': expected the path of a directory",
        ),
        (["digits", "--store="], "Invalid value for '--store': '': expected the path of a file"),
        (["digits", "--activation-scale", "0"], "--activation-scale=0.0: expected a finite number"),
        (["digits", "--tolerance", "0"], "--tolerance=0.0: expected a finite number above 0"),
        (["digits", "--subset", "5000"], "--subset=5000: expected from 2 to the 1797 samples"),
        (["digits", "--activation", "step"], "'step' is not one of"),
        (["digits", "--dtype", "float16"], "'float16' is not one of"),
    ],
)
def test_bad_options(arguments: list[str], message: str) -> None:
    result = run("study", *arguments)
    assert result.exit_code != 0
    assert message in result.stderr


def test_files_of_another_study_are_kept(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((12, 3)))

    def names(*options: object) -> tuple[list[str], str]:
        result = run("study", tmp_path / "x.npy", "--out", tmp_path / "out", *options)
        assert result.exit_code == 0, result.output
        return sorted(path.name for path in (tmp_path / "out").iterdir()), result.stderr

    first, second = ("--width", 8, "--seeds", 1), ("--width", 4, "--seeds", 1)
    own = ["x.csv", "x.png", "x.sqlite"]
    assert names("--depths", "0-1", *first) == (own, "")
    before = (tmp_path / "out" / "x.csv").read_bytes()
    # The same study, and more of it.
    assert names("--depths", "0-1", *first) == (own, "")
    assert (tmp_path / "out" / "x.csv").read_bytes() == before
    assert names("--depths", "0-2", *first) == (own, "")
    before = (tmp_path / "out" / "x.csv").read_bytes()
    figure = (tmp_path / "out" / "x.png").read_bytes()
    found, told = names("--depths", "0-2", *second)
    assert found == ["x-1.csv", "x-1.png", *own]
    kept = ", ".join(str(tmp_path / "out" / name) for name in ("x-1.csv", "x-1.png"))
    assert f"they are kept as {kept}\n" in told
    assert (tmp_path / "out" / "x-1.csv").read_bytes() == before
    assert (tmp_path / "out" / "x-1.png").read_bytes() == figure
    # Other samples of the same name, and less of the study, are not the same either.
    np.save(tmp_path / "x.npy", np.random.default_rng(1).standard_normal((12, 3)))
    found, _ = names("--depths", "0-2", *second)
    assert found == ["x-1.csv", "x-1.png", "x-2.csv", "x-2.png", *own]
    found, _ = names("--depths", "0", *second)
    assert "x-3.csv" in found


def test_two_studies_by_turns_leave_no_more_and_more_files(tmp_path: Path) -> None:
    table, picture = tmp_path / "x.csv", tmp_path / "x.png"
    frames = [pd.DataFrame({"depth": range(rows), "seed": seed}) for rows, seed in ((3, 0), (2, 1))]
    frames.append(frames[0][:2])  # less of the first one
    (tmp_path / "x-1.pdf").write_text("of mine")
    for turn in (0, 1, 0, 1, 2, 0, 2, 2, 1, 0, 1):
        frame = frames[turn].assign(seconds=float(turn))
        keep_others(table, frame, [picture, table.with_suffix(".pdf")], ("seconds",))
        frame.to_csv(table, index=False)
        picture.write_text(f"of {turn}")
        kept = {
            path.with_suffix(".png").read_text(): len(pd.read_csv(path))
            for path in tmp_path.glob("x*.csv")
        }
        assert kept[f"of {turn}"] == len(frame)
        assert len(list(tmp_path.glob("x*.csv"))) <= 3
    assert kept == {"of 0": 3, "of 1": 2, "of 2": 2}
    assert (tmp_path / "x-1.pdf").read_text() == "of mine"


@pytest.mark.parametrize("command", ["study", "convergence", "constancy"])
def test_samples_make_no_room_for_the_table_of_themselves(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the same command would read its own table the next time."""
    monkeypatch.chdir(tmp_path)
    samples = tmp_path / "x.csv"
    samples.write_text("a,b,label\n1,2,0\n3,5,1\n8,1,0\n2,7,1\n4,4,0\n")
    before = samples.read_bytes()
    for data, out in (("x.csv", "."), (samples, tmp_path)):
        result = run(command, data, "--out", out)
        assert result.exit_code == 1
        assert f"--out='{out}': the table" in result.stderr
    assert samples.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_tables_of_another_convergence_study_are_kept(tmp_path: Path) -> None:
    small = ("--subset", 60, "--depths", 1, "--seeds", 1, "--batch-size", 20, "--epochs", 1)
    rates = ("--rate-samples", 5, "--rate-steps", 10, "--width", 8, "--out", tmp_path)
    own = {"digits.csv", "digits-curves.csv", "digits-learning-rates.csv", "digits.png"}
    for _ in range(2):
        assert run("convergence", "digits", *small, *rates).exit_code == 0
        assert {path.name for path in tmp_path.iterdir()} == {*own, "digits.sqlite"}
    (tmp_path / "digits.csv").write_text("notes of mine")
    assert run("convergence", "digits", *small, *rates).exit_code == 0
    kept = {f"{name.partition('.')[0]}-1.{name.partition('.')[2]}" for name in own}
    assert {path.name for path in tmp_path.iterdir()} == {*own, *kept, "digits.sqlite"}
    assert (tmp_path / "digits-1.csv").read_text() == "notes of mine"


_BAD_TEXTS = (
    *("", " ", "x", "-1", "nan", "inf", "-inf", "1e400", "1.5.", "1,,2", "2-1", "0-99999999999"),
    *("0x10", "1_", "\u0661x", "9" * 5000, "1;2", "\n", "--", "None", "True", "relu,tanh"),
)


def _options() -> Iterator[tuple[str, click.Parameter]]:
    for name, command in cli.commands.items():
        for parameter in command.params:
            # Any text is the name of a file or a folder that is to be written.
            takes_text = isinstance(parameter, click.Option) and not parameter.is_flag
            if takes_text and not isinstance(parameter.type, click.Path):
                yield name, parameter


_ARGUMENTS = {"figure": ["5"], "table": ["1"], "reproduce": ["--only", "figure 5"]}


def test_bad_texts_for_all_options(tmp_path: Path) -> None:
    tried = 0
    with contextlib.chdir(tmp_path):
        for command, option in _options():
            for text in _BAD_TEXTS:
                if option.opts[0] == "--loss-target" and text == "inf":
                    continue
                given = _ARGUMENTS.get(command, ["digits"])
                result = CliRunner().invoke(cli, [command, *given, f"{option.opts[0]}={text}"])
                tried += 1
                assert isinstance(result.exception, SystemExit), (command, option.name, text)
                assert result.exit_code in {1, 2}
                # A column of a table is named behind the file that does not have it.
                named = option.name if option.name in {"label", "index"} else option.opts[0]
                assert named in result.stderr
                assert not list(tmp_path.iterdir()), (command, option.name, text)
    assert tried > 500


@pytest.mark.parametrize(
    "command",
    [
        *([name, "digits"] for name in ("study", "constancy", "kernel", "convergence")),
        *(["figure", "5"], ["table", "1"], ["reproduce"]),
    ],
)
def test_files_where_others_are_wanted(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a store\n" * 50)
    result = run(*command, "--out", tmp_path / "file")
    assert result.exit_code == 2
    assert "--out" in result.stderr
    inside = tmp_path / "file" / "inside"
    result = run(*command, "--out", inside)
    assert result.exit_code == 1
    assert result.stderr == f"Error: [Errno 20] --out: Not a directory: '{inside}'\n"
    if "--store" in run(command[0], "--help").output:
        result = run(*command, "--store", inside / "x", "--out", tmp_path / "out")
        assert result.stderr.startswith("Error: [Errno 20] --store: Not a directory")
        result = run(*command, "--store", tmp_path / "file", "--out", tmp_path / "out")
        assert result.stderr.startswith(f"Error: --store='{tmp_path / 'file'}' is not an SQLite")


def test_errors_of_commands_begin_with_what_was_typed(tmp_path: Path) -> None:
    np.savetxt(tmp_path / "x.csv", np.eye(4), delimiter=",", header="a,b,c,label", comments="")
    table, one = tmp_path / "x.csv", tmp_path / "one.npy"
    np.save(one, np.ones((1, 3)))
    for command, told in (
        (["kernel", table, "--width", 0], "--width=0: expected"),  # widths of a network
        (["kernel", table, "--width", 0, "--depth", 0], "--width=0: expected an integer of at lea"),
        (["constancy", table, "--widths", 0], "--widths[0]=0: expected"),
        (["constancy", table, "--loss-target", -1], "--loss-target=-1.0: expected"),
        (["convergence", table, "--batch-size", 0], "--batch-size=0: expected"),
        (["kernel", one], "DATA has shape (1, 3): expected at least two samples"),
        (["figure", 5, "--data", "digits"], "--data='digits': expected none"),
        (["figure", 3, "--data", "no.csv"], "[Errno 2] --data: No such file or directory: 'no.csv"),
        (["reproduce", "--only", "x"], "--only='x': expected one of"),
        (["study", "nothing"], "DATA='nothing': expected one of"),
    ):
        result = run(*command, "--out", tmp_path / "out")
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: {told}"), result.stderr


def test_what_cannot_be_kept_is_no_reason_to_lose_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((6, 3)))
    command = ["study", tmp_path / "x.npy", "--out", tmp_path, "--depths", 0, "--seeds", 1]
    assert run(*command, "--width", 4).exit_code == 0
    before = (tmp_path / "x.csv").read_bytes()

    def refuse(path: Path, target: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path), None, str(target))

    monkeypatch.setattr("pathlib.Path.rename", refuse)
    result = run(*command, "--width", 5)
    assert result.stderr.startswith("Error: [Errno 13] --out: Permission denied: "), result.stderr
    assert (tmp_path / "x.csv").read_bytes() == before


def test_scale_and_tolerance_of_a_study(tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((12, 3))
    np.save(tmp_path / "x.npy", X)
    options = ("--activation-scale", 1, "--tolerance", 1e-4, "--activation", "sigmoid")
    result = run(
        *("study", tmp_path / "x.npy", "--infinite", "--out", tmp_path, *SMALL, *options),
        *("--weight-std", 1.5, "--dtype", "float64"),
    )
    assert result.exit_code == 0, result.output
    frame = pd.read_csv(tmp_path / "x.csv")
    expected = fastntk.depth_study(
        X,
        depths=range(3),
        width=32,
        seeds=2,
        activations=["sigmoid"],
        activation_scale=1.0,
        weight_std=1.5,
        dtype="float64",
        infinite=True,
        tolerance=1e-4,
        data="x",
        progress=False,
    )
    pd.testing.assert_frame_equal(
        frame.drop(columns=list(COSTS)), expected.to_frame().drop(columns=list(COSTS))
    )
    assert frame.activation_scale.eq(1.0).all()


def test_scale_of_a_kernel_and_of_convergence(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((12, 3)))
    fixed = ("--activation", "tanh", "--activation-scale", 1, "--width", 8)
    result = run("kernel", tmp_path / "x.npy", "--out", tmp_path / "kernel", *fixed)
    assert result.exit_code == 0, result.output
    assert "activation_scale=1, weight_std=1, bias_std=0, parametrization='ntk'" in result.output
    small = ("--subset", 60, "--depths", 1, "--seeds", 1, "--batch-size", 20, "--epochs", 1)
    rates = ("--rate-samples", 5, "--rate-steps", 10, "--out", tmp_path)
    result = run("convergence", "digits", *small, *rates, *fixed)
    assert result.exit_code == 0, result.output
    assert pd.read_csv(tmp_path / "digits.csv").activation_scale.tolist() == [1.0]


def test_help_and_version() -> None:
    for arguments in ([], ["--help"], ["study", "--help"], ["info", "--help"]):
        assert "Usage" in run(*arguments).output
    assert fastntk.__version__ in run("--version").output


def test_depths_are_lists_and_ranges(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(5) + 1)
    result = run("study", tmp_path / "x.npy", "--depths", "4,0-1", "--out", tmp_path, *SMALL[2:])
    assert result.exit_code == 0, result.output
    assert pd.read_csv(tmp_path / "x.csv")["depth"].unique().tolist() == [0, 1, 4]


def test_seeds_are_a_number_or_a_range(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(5) + 1)
    small = ("study", tmp_path / "x.npy", "--depths", 1, "--width", 4, "--out", tmp_path)
    result = run(*small, "--seeds", "3-4")
    assert result.exit_code == 0, result.output
    assert "width 4, 2 seeds, " in result.output
    assert pd.read_csv(tmp_path / "x.csv")["seed"].tolist() == [3, 4] * 2
    result = run(*small, "--seeds", "7-7")
    assert "width 4, 1 seed, " in result.output
    assert pd.read_csv(tmp_path / "x.csv")["seed"].tolist() == [7] * 2
    for bad in ("4-3", "many", "-1"):
        assert "seeds" in run(*small, "--seeds", bad).output


def test_formats_of_figures(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.eye(5) + 1)
    small = ("study", tmp_path / "x.npy", "--depths", 1, "--width", 4, "--out", tmp_path)
    result = run(*small, "--seeds", 1, "--format", "svg, pdf")
    assert result.exit_code == 0, result.output
    assert f"Figures: {tmp_path / 'x.svg'}, {tmp_path / 'x.pdf'}" in result.output
    assert b"<svg" in (tmp_path / "x.svg").read_bytes()
    assert (tmp_path / "x.pdf").read_bytes().startswith(b"%PDF")
    assert not (tmp_path / "x.png").exists()
    # All figures of another study are kept, in whatever formats they are.
    result = run(*small, "--seeds", 1, "--bias-std", 1)
    assert result.exit_code == 0, result.output
    assert {"x-1.csv", "x-1.pdf", "x-1.svg", "x.png"} <= {p.name for p in tmp_path.iterdir()}
    assert not (tmp_path / "x.svg").exists()
    assert "'gif': expected some of png, pdf, svg" in run(*small, "--format", "gif").output


@pytest.mark.parametrize("missing", ["click", "matplotlib"])
def test_a_missing_extra_is_explained(missing: str, tmp_path: Path) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import fastntk.__main__ as command; command.main()"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program, "study", "digits", "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert completed.returncode == 1
    assert re.fullmatch(
        rf"fastntk: {missing}[a-z.]* is not installed; pip install 'fastntk\[study\]'\n",
        completed.stderr,
    )
    assert not (tmp_path / "out").exists()  # before any work


def test_importing_the_package_is_light() -> None:
    program = (
        "import sys, fastntk\n"
        "heavy = {'matplotlib', 'pandas', 'sklearn', 'cupy', 'torch', 'numba', 'tqdm', 'click'}\n"
        "heavy |= {'scipy.stats', 'scipy.special', 'scipy.sparse.linalg'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert completed.stdout == "[]\n"
