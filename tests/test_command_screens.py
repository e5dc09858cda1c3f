# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What commands print, to the last word: the same numbers as the functions return, with labels."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import numba
import numpy as np
import pandas as pd
import pytest
import scipy
from click.testing import CliRunner

import fastntk
from fastntk._cli import cli
from fastntk._cli.tables import mean_and_deviation
from fastntk.info import describe

if TYPE_CHECKING:
    from pathlib import Path


def screen(*arguments: object) -> list[str]:
    """Return the lines that a command prints, without the seconds that it took."""
    result = CliRunner().invoke(cli, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return re.sub(r"\b\d+\.\d s\b", "SECONDS s", result.stdout).splitlines()


def table(columns: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[k]) for row in [columns, *rows]) for k in range(len(columns))]
    return [
        "  ".join(" " * (width - len(cell)) + cell for cell, width in zip(row, widths, strict=True))
        for row in [columns, *rows]
    ]


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "points.npy"
    X = np.random.default_rng(0).standard_normal((12, 5))
    np.save(path, X)
    return path


def test_the_screen_of_a_study(samples: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ["--depths", "0-1", "--width", "16,24", "--seeds", 2, "--activation"]
    options += ["tanh", "--out", out]
    lines = screen("study", samples, *options, "--batches", 4)
    X = np.load(samples)
    study = fastntk.depth_study(
        X, depths=(0, 1), width=(16, 24), seeds=2, activations=["tanh"], batches=4
    )
    over = "Mean ± standard deviation over seeds"
    assert lines[:3] == [
        "points: 12 samples of dimension 5, width 16, 24, 2 seeds, SECONDS s",
        f"{over}, of κ of batches over batches; the pair is that of most seeds.",
        "",
    ]
    assert lines[3:-3] == table(*expected_table(study, with_width=True))
    assert lines[-3:] == [
        "",
        f"Table of all seeds: {out / 'points.csv'}",
        f"Figure: {out / 'points.png'}",
    ]
    # Again, from the store; and with one width and without batches.
    again = screen("study", samples, *options, "--batches", 4)
    assert again[0].endswith("2 seeds, SECONDS s (8 of 8 networks from the store)")
    assert again[1:] == lines[1:]
    options = ["--depths", "0-1", "--width", 16, "--seeds", 2, "--activation", "tanh"]
    lines = screen("study", samples, *options, "--out", tmp_path / "other")
    study = fastntk.depth_study(X, depths=(0, 1), width=16, seeds=2, activations=["tanh"])
    assert lines[:3] == [
        "points: 12 samples of dimension 5, width 16, 2 seeds, SECONDS s",
        f"{over}; the pair is that of most seeds.",
        "",
    ]
    assert lines[3:-3] == table(*expected_table(study, with_width=False))


def expected_table(
    study: fastntk.DepthStudy, *, with_width: bool
) -> tuple[list[str], list[list[str]]]:
    columns = ["network", "depth", "smallest angle", "pair", "λ_min", "λ_max", "κ"]
    if with_width:
        columns[1:1] = ["width"]
    batches = study.batch_size is not None
    if batches:
        columns.append(f"κ of batches of {study.batch_size}")
    rows = []
    for _, row in study.summary().iterrows():
        assert row["resolved"] or row["depth"] == 0
        cells = ["tanh", f"{row['depth']}"]
        if with_width:
            cells[1:1] = [f"{row['width']:.0f}"]
        cells.append(f"{row['smallest_angle']:.3f} ± {row['smallest_angle_std']:.3f}°")
        cells.append("{}, {}".format(*row["pair"]))
        if row["resolved"]:
            cells.append(f"{row['eigenvalue_min']:.3g} ± {row['eigenvalue_min_std']:.2g}")
        else:
            cells.append("unresolved (rank 5)")
        cells.append(f"{row['eigenvalue_max']:.4g} ± {row['eigenvalue_max_std']:.2g}")
        if row["resolved"]:
            cells.append(f"{row['condition_number']:.3g} ± {row['condition_number_std']:.2g}")
        else:
            ratio = row["eigenvalue_max"] / row["noise_floor"]
            digits = 10 ** (np.floor(np.log10(ratio)) - 1)
            cells.append(f"≥ {np.floor(ratio / digits) * digits:.1e}")
        if batches:
            mean, spread = row["batch_condition_number"], row["batch_spread"]
            cells.append(f"{mean:.3g} ± {spread:.2g}")
        rows.append(cells)
    return columns, rows


def test_means_and_deviations() -> None:
    row: Any = pd.Series({"a": 1.23456, "a_std": 0.01234, "b": 2.0, "other": np.nan})
    assert mean_and_deviation(row, "a", ".3f") == "1.235 ± 0.012"
    assert mean_and_deviation(row, "a", ".4g") == "1.235 ± 0.012"
    assert mean_and_deviation(row, "a", ".2%") == "123.46% ± 1.23%"
    assert mean_and_deviation(row, "b", ".3g", "other") == "2"
    assert mean_and_deviation(row, "b", ".3g", "a_std") == "2 ± 0.012"


def test_the_screen_of_a_convergence_study(tmp_path: Path) -> None:
    small = ["--subset", 60, "--depths", 1, "--seeds", 2, "--batch-size", 20, "--epochs", 2]
    small += ["--rate-samples", 5, "--rate-steps", 10, "--width", 8, "--out", tmp_path]
    for options, reached in (([], False), (["--loss-target", 2.2], True)):
        lines = screen("convergence", "digits", *small, *options)
        assert lines[:4] == [
            "digits: 60 training samples, width 8, 2 seeds, SECONDS s",
            "Mean ± standard deviation over seeds. Of 5 samples: κ, and what the square loss is",
            "multiplied with at a step (in brackets: for how many seeds the tail was reached).",
            "",
        ]
        frame = pd.read_csv(tmp_path / "digits.csv")
        means, spread = frame.mean(numeric_only=True), frame.std(numeric_only=True)
        target = "2.2" if reached else "0.1"
        columns = ["depth", "κ", "predicted", "measured", "learning rate", f"epochs to {target}"]
        epochs = f"{means['epochs_to_target']:.1f} ± {spread['epochs_to_target']:.1f}"
        row = [
            "1",
            f"{means['condition_number']:.3g} ± {spread['condition_number']:.2g}",
            f"{means['predicted_rate']:.5f}",
            f"{means['measured_rate']:.5f} ({frame['rate_resolved'].sum()})",
            f"{means['learning_rate']:.3g}",
            epochs if reached else "not reached",
            f"{means['test_accuracy']:.2%} ± {spread['test_accuracy']:.2%}",
        ]
        assert lines[4:-3] == table([*columns, "test accuracy"], [row])
        files = [tmp_path / f"digits{part}.csv" for part in ("", "-curves", "-learning-rates")]
        assert lines[-3:] == [
            "",
            f"Tables: {files[0]}, {files[1]}, {files[2]}",
            f"Figure: {tmp_path / 'digits.png'}",
        ]


def test_the_words_of_a_report(samples: Path, tmp_path: Path) -> None:
    lines = screen(
        "kernel",
        samples,
        "--out",
        tmp_path / "out",
        "--width",
        16,
        "--bounds",
        "--dtype",
        "float64",
    )
    net = fastntk.MLP([5, 16, 16, 16, 1])
    K = net.ntk(np.load(samples))
    result = fastntk.conditioning(K, **net.ntk_errors(np.load(samples)))
    report = fastntk.kernel_report(net, np.load(samples), tmp_path / "other", progress=False)
    pair = net.smallest_angle(np.load(samples))
    assert result.bounds is not None
    lower, upper = result.bounds.condition_number
    assert lines[:9] == [
        f"points, {net!r}",
        "12 samples",
        f"smallest angle  {np.degrees(pair.angle):.6g}°, samples {pair.i} and {pair.j}",
        f"λ_max           {result.eigenvalue_max:.8g}",
        f"λ_min           {result.eigenvalue_min:.8g}",
        f"κ               {result.condition_number:.8g}",
        f"κ is certainly  in [{lower:.8g}, {upper:.8g}]",
        f"noise floor     {report.noise_floor:.2g}",
        f"effective rank  {result.effective_rank:.4g}",
    ]
    stages = [line.split("  ")[0] for line in lines[9:]]
    assert sorted(stages) == ["closest pair", "eigenvalues", "kernel"]
    assert all(re.fullmatch(r".{14}  SECONDS s", line) for line in lines[9:])


def test_the_screen_of_what_there_is() -> None:
    lines = screen("info")
    width = max(len(what) for what, _ in describe()) + 2
    expected = [f"{what:<{width}}{value}" for what, value in describe()]
    assert [line for line in lines if not line.startswith("memory")] == [
        line
        for line in expected
        if not line.startswith("memory")  # which comes and goes
    ]
    assert [line[:width].rstrip() for line in lines[:10]] == [
        *("fastntk", "Python", "NumPy", "SciPy", "Numba", "instruction set", "float32 products"),
        *("processors", "threads", "memory"),
    ]
    versions = (np.__version__, scipy.__version__, numba.__version__)
    assert [line[width:] for line in lines[2:5]] == list(versions)
    assert lines[7][width:] == str(os.cpu_count())
    assert lines[9].endswith(" available")
    extras = [line for line in lines if line.startswith("extra: ")]
    assert [line[7:width].rstrip() for line in extras] == ["study", "data", "torch", "cuda"]
    assert extras[0][width:] == "present"  # what these tests need
    for line in extras:
        name = line[7:width].rstrip()
        advice = f" missing; pip install 'fastntk[{name}]'"
        assert line[width:] == "present" or line.endswith(advice)
