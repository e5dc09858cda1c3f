# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the paper's page says of skip connections and normalization."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

import fastntk
from fastntk.architectures import Architecture
from fastntk.paper.parts import architectures, architectures_trained
from fastntk.paper.run import checked_run
from fastntk.paper.samples import part_of, samples, split

LABELS = ("plain", "residual", "residual(1/sqrt(L))", "prenorm", "postnorm")


def test_the_five_architectures() -> None:
    assert architectures.LABELS == LABELS
    assert architectures.ARCHITECTURES[2] == Architecture("residual", residual_scale="1/sqrt(L)")


def test_numbers_of_the_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures, "_DEPTHS", (1, 2))
    monkeypatch.setattr(architectures, "_SAMPLES", 20)
    part = architectures.architectures(checked_run(seeds=[1, 32], width=16), "digits")
    frame = part.tables[""]
    assert len(frame) == 5 * 2 * 3
    X = part_of(samples("digits"), 20).X
    postnorm = Architecture("postnorm").network(2, 64, width=16)
    rows = frame.query("architecture == 'postnorm' and depth == 2").set_index("seed")
    expected = np.linalg.cond(postnorm.sample(32, "float32").ntk(X, dtype="float64"))
    assert rows["condition_number"][32] == pytest.approx(expected, rel=1e-6, abs=0)
    limit = postnorm.infinite()
    assert rows["condition_number"][-1] == pytest.approx(
        limit.conditioning(X).condition_number, rel=1e-9, abs=0
    )
    assert rows["smallest_angle"][-1] == pytest.approx(
        math.degrees(limit.smallest_angle(X).angle), rel=1e-9, abs=0
    )
    np.testing.assert_array_equal(frame["condition_number_least"], frame["condition_number"])
    assert (
        part.command == "fastntk reproduce --only architectures --data digits --seeds 2 --width 16"
    )
    assert [claim.verdict for claim in part.claims[:4]] == ["holds"] * 4
    assert [claim.data for claim in part.claims[4:]] == [f"digits, {label}" for label in LABELS]


def table(kappa: Any, seeds: tuple[int, ...] = (1, 2, 3)) -> pd.DataFrame:
    """Return a table of κ as a function of (architecture, depth), the same at finite width."""
    rows = [
        {
            "architecture": label,
            "depth": depth,
            "width": math.inf if seed < 0 else 8,
            "seed": seed,
            "smallest_angle": 1000 / value,
            "condition_number": value * (1 + 0.001 * seed * depth),
            "condition_number_least": value * (1 + 0.001 * seed * depth),
        }
        for k, label in enumerate(LABELS)
        for depth in (1, 3, 10)
        for seed in (-1, *seeds)
        for value in [kappa(k, depth)]
    ]
    return pd.DataFrame(rows)


def test_verdicts() -> None:
    def verdicts(kappa: Any) -> list[str]:
        return [claim.verdict for claim in architectures.judged(table(kappa), "x")]

    order = (1.0, 2.0, 9.0, 3.0, 4.0)  # κ of plain networks is the smallest, of α = 1/√L largest
    falling = verdicts(lambda k, depth: 100 * order[k] / depth)
    assert falling == ["holds"] * 9
    rising = verdicts(lambda k, depth: 100 * order[k] * depth)
    assert rising == ["fails", "fails", "holds", "holds", *["fails"] * 5]
    # One step of one architecture is enough against the statements of all.
    bend = verdicts(lambda k, depth: 100 * order[k] / (2.0 if (k, depth) == (3, 10) else depth))
    assert bend == ["fails", "fails", "holds", "fails", *["holds"] * 3, "fails", "holds"]
    swapped = verdicts(lambda k, depth: 100 * order[::-1][k] / depth)
    assert swapped[2:4] == ["fails", "holds"]
    one = table(lambda k, depth: 100 * (0.5 if (k, depth) == (4, 3) else order[k]) / depth)
    (claim,) = architectures.judged(one, "x")[2:3]
    assert claim.evidence == (
        "holds in 11 of 12 comparisons, 1 against it; against it: postnorm at depth 3"
    )
    # At depth 1 α = 1/√L is 1: the same κ there is not held against it.
    equal = verdicts(lambda k, depth: 100 * (order[1 if (k, depth) == (2, 1) else k]) / depth)
    assert equal[2:4] == ["holds", "holds"]
    hidden = table(lambda k, depth: 100 * order[k] / depth)
    hidden.loc[hidden["depth"] == 10, "condition_number"] = math.nan
    claims = architectures.judged(hidden, "x")
    assert [claim.verdict for claim in claims[1:]] == ["undecided"] * 8


def test_trained_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(architectures_trained, "_DEPTHS", (1, 2))
    monkeypatch.setattr(architectures_trained, "_SAMPLES", 12)
    monkeypatch.setattr(architectures_trained, "_EPOCHS", 40)
    part = architectures_trained.architectures_trained(checked_run(seeds=[1], width=16), "digits")
    frame = part.tables[""]
    assert frame["architecture"].tolist() == [label for label in LABELS for _ in range(2)]
    parts = split("digits", 12)
    classes, index = np.unique(parts.y, return_inverse=True)
    targets = np.eye(len(classes))[index]
    row: Any
    for row in frame.query("depth == 2 and architecture in ('plain', 'postnorm')").itertuples():
        network = Architecture(str(row.architecture)).network(2, 64, width=16, outputs=len(classes))
        net = network.sample(1, "float32")
        K = net.ntk(parts.X, dtype="float64")
        assert row.condition_number == pytest.approx(np.linalg.cond(K), rel=1e-6, abs=0)
        blocks = net.astype("float64").ntk(parts.X, outputs="full")
        n, c = 12, len(classes)
        whole = blocks.transpose(2, 0, 3, 1).reshape(n * c, n * c)
        rate = n / np.linalg.eigvalsh(whole)[-1]
        assert row.learning_rate == pytest.approx(rate, rel=2e-3, abs=0)
        history = fastntk.train(
            net, parts.X.astype(np.float32), targets.astype(np.float32), loss="mse",
            learning_rate=row.learning_rate, epochs=40, loss_target=0.05, momentum=0.9,
        )  # fmt: skip
        assert (row.initial_loss, row.final_loss) == (history.loss[0], history.loss[-1])
        reached = history.loss[-1] <= 0.05
        assert math.isnan(row.epochs_to_loss) != reached
        assert not reached or row.epochs_to_loss == history.epochs
    assert len(part.claims) == 6


def cells(kappa: Any, epochs: Any) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "architecture": label,
                "depth": depth,
                "seed": seed,
                "condition_number": kappa(k, depth),
                "epochs_to_loss": epochs(k, depth) + seed,
            }
            for k, label in enumerate(LABELS)
            for depth in (1, 3, 10)
            for seed in (1, 2, 3)
        ]
    )


def test_whether_training_follows() -> None:
    def verdicts(epochs: Any) -> list[str]:
        frame = cells(lambda k, depth: 1000 + k - 10 * depth, epochs)
        return [claim.verdict for claim in architectures_trained.judged(frame, "x")]

    follows = verdicts(lambda k, depth: 500 + k - 10 * depth)
    assert follows == ["holds"] * 6
    against = verdicts(lambda k, depth: 500 - k + 10 * depth)
    assert against == ["fails"] * 6
    by_chance = verdicts(lambda k, depth: 100 + (7 * k + 3 * depth) % 5)
    assert by_chance[-1] == "undecided"
    # What does not reach the loss comes last: here those with the smallest κ of all, without which
    # the others would decide.
    missed = verdicts(lambda k, depth: math.nan if depth == 10 else 500 + k - 10 * depth)
    assert missed == ["undecided"] * 6
    nothing = verdicts(lambda *_: math.nan)
    assert nothing == ["undecided"] * 6
