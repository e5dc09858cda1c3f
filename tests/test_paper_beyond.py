# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What goes beyond the paper: the edge of chaos, the closest pairs, κ against n."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

import fastntk
from fastntk.figures.pairs import plot_pairs
from fastntk.paper.parts import chaos, samples_of_data
from fastntk.paper.parts.theorems import on_sphere
from fastntk.paper.run import checked_run
from fastntk.paper.samples import part_of, samples


def test_other_activations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chaos, "_SCALED", ("relu",))
    monkeypatch.setattr(chaos, "_DEPTHS", (0, 1, 4))
    frame = chaos.against_depth(checked_run(), {})
    assert frame["depth"].tolist() == [0, 1, 4]
    assert math.isnan(frame["condition_number"][0])  # 50 samples in 10 dimensions
    X = math.sqrt(10) * on_sphere((50, 10))
    smallest = [fastntk.infinite.smallest_angle(X, depth=k).angle for k in (0, 1, 4)]
    np.testing.assert_allclose(frame["smallest_angle"], np.degrees(smallest), rtol=1e-12)
    (claim,) = chaos.judged(frame)
    assert (claim.verdict, claim.data) == ("holds", "ReLU, scaled")
    (claim,) = chaos.judged(
        frame.assign(
            condition_number=frame["depth"] + 1.0, condition_number_least=frame["depth"] + 1.0
        )
    )
    assert claim.verdict == "fails"


def test_hardest_pairs_are_the_closest(monkeypatch: pytest.MonkeyPatch) -> None:
    digits = part_of(samples("digits"), 60)
    frame = samples_of_data.closest(checked_run(), digits, 32, 1)
    net = fastntk.MLP([64, 32, 32, 32, 1], seed=1)
    angles = np.degrees(fastntk.gradient_angles(net.ntk(digits.X, dtype="float64")))
    every = np.sort(angles[np.triu_indices(60, 1)])
    np.testing.assert_allclose(frame["gradient_angle"], every[: len(frame)], rtol=1e-6)
    assert digits.y is not None
    for row in frame.itertuples():
        assert (row.label_i, row.label_j) == (digits.y[row.i], digits.y[row.j])  # type: ignore[index]
        u, v = digits.X[row.i], digits.X[row.j]  # type: ignore[index]
        angle = math.degrees(math.acos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))
        assert row.input_angle == pytest.approx(angle, rel=1e-9, abs=0)
    monkeypatch.setattr(samples_of_data, "_SEARCHED", 60)
    part = samples_of_data.hardest_pairs(checked_run(seeds=[1], width=32), "digits")
    pd.testing.assert_frame_equal(part.tables[""], frame)
    (figure,) = part.drawings.values()
    assert isinstance(figure, Figure)
    differ = int((frame["label_i"] != frame["label_j"]).sum())
    assert part.text.endswith(f"Labels differ in {differ} of these pairs.")


def test_pictures_of_pairs() -> None:
    pictures = [(np.eye(3), np.ones((3, 3)))] * 7
    figure = plot_pairs("title", pictures, [f"pair {k}" for k in range(7)])
    shown = [image.get_array() for axes in figure.axes for image in axes.images]
    assert len(shown) == 14
    assert np.array_equal(np.asarray(shown[0]), np.eye(3))


def test_samples_without_pictures_have_a_table_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples_of_data, "_SEARCHED", 50)
    part = samples_of_data.hardest_pairs(checked_run(width=16), "synthetic")
    assert not part.drawings
    assert len(part.tables[""]) == 12
    assert "Labels" not in part.text


def test_sample_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples_of_data, "_MOST", 100)
    monkeypatch.setattr(samples_of_data, "_SIZES", (20, 50, 100))
    monkeypatch.setattr(samples_of_data, "_DEPTHS", (1, 3))
    part = samples_of_data.sample_size(checked_run(seeds=3, width=64), "digits")
    frame = part.tables[""]
    assert sorted(set(frame["n"])) == [20, 50, 100]
    X = part_of(samples("digits"), 100).X
    shuffled = X[np.random.default_rng(32).permutation(100)][:50]
    net = fastntk.MLP([64, 64, 64, 64, 1], seed=32)
    expected = np.linalg.cond(net.ntk(shuffled, dtype="float64"))
    row = frame.query("depth == 3 and seed == 32 and n == 50")["condition_number"].item()
    assert row == pytest.approx(expected, rel=1e-6, abs=0)
    wide = frame.pivot_table(index="n", columns=["depth", "seed"], values="condition_number")
    assert (np.diff(wide.to_numpy(), axis=0) > 0).all()  # interlacing
    monkeypatch.setattr(samples_of_data, "BATCH_SIZE", 50)
    assert samples_of_data.judge_growth(frame, "x").verdict == "holds"
    constant = frame.assign(
        condition_number=200.0 - frame["n"], condition_number_least=200.0 - frame["n"]
    )
    assert samples_of_data.judge_growth(constant, "x").verdict == "fails"
    unresolved = frame.assign(
        condition_number=frame["condition_number"].where(frame["depth"] != frame["depth"].min())
    )
    evidence = samples_of_data.judge_growth(unresolved, "x").evidence
    depths = frame["depth"].nunique()
    assert f" at the {depths - 1} of {depths} depths where both are resolved" in evidence
    assert "nan" not in evidence
    none = samples_of_data.judge_growth(frame.assign(condition_number=np.nan), "x")
    assert "κ of 100 or of 50 samples is resolved at no depth" in none.evidence
