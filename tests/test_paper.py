# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The paper, reproduced: what figures are of, by their data; and each verdict, either way."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import fastntk
from fastntk import paper
from fastntk.figures.panels import Limit, Line, Panel, Sheet, draw, levels
from fastntk.paper import claims, samples
from fastntk.paper import run as runs
from fastntk.paper.parts import (
    angle_curves,
    depth,
    layer_map,
    minibatches,
    scales,
    theorems,
    training,
)

if TYPE_CHECKING:
    from fastntk.paper.claims import Claim

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of 60 samples with labels."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((60, 5)), columns=list("abcde"))
    path = tmp_path_factory.mktemp("paper") / "small.csv"
    frame.assign(label=(frame["a"] > 0).astype(int)).to_csv(path, index=False)
    return path


# Verdicts.


def by_depth(*rows: Any, **columns: Any) -> pd.DataFrame:
    """Return a table of values of several seeds at depths 0, 1, …"""
    values = [
        {"depth": k, "seed": seed, "value": value, "least": value}
        for k, row in enumerate(rows)
        for seed, value in enumerate(row)
    ]
    return pd.DataFrame(values).assign(**columns)


@pytest.mark.parametrize(
    ("rows", "verdict", "text"),
    [
        (((1.0, 1.1), (2.0, 2.1), (3.0, 3.2)), HOLDS, "holds in 2 of 2 steps"),
        (((1.0, 1.1), (2.0, 2.1), (1.0, 1.1)), FAILS, "holds in 1 of 2 steps, 1 against it"),
        (((1.0, 1.1), (2.0, 2.1), (9.0, 1.1)), UNDECIDED, "holds in 1 of 2 steps, 1 open"),
        (((1.0, 1.1), (2.0, math.nan), (3.0, 3.2)), UNDECIDED, "holds in 0 of 2 steps, 2 open"),
        (((1.0,), (2.0,)), UNDECIDED, "holds in 0 of 1 step, 1 open"),  # a single seed
        (((1.0,), (1.0,)), UNDECIDED, "holds in 0 of 1 step, 1 open"),
    ],
)
def test_steps(rows: Any, verdict: str, text: str) -> None:
    found = claims.steps(by_depth(*rows), "value", rising=True)
    assert (found.verdict, found.text) == (verdict, text)
    turned = by_depth(*[[-value for value in row] for row in rows])
    assert claims.steps(turned, "value", rising=False) == found


def test_a_single_number_decides_only_if_it_is_exact() -> None:
    rising, least = by_depth((1.0,), (2.0,)), ("value", "least")
    assert claims.steps(rising, "value", rising=True, exact=True).verdict == HOLDS
    assert claims.steps(rising, "value", rising=False, exact=True).verdict == FAILS
    assert claims.falling(rising, *least, exact=True).verdict == FAILS
    assert claims.falling(rising, *least).verdict == UNDECIDED
    one = depth_frame(lambda level: 6 - level, lambda level: 6 + level).query("seed == 0")
    assert {claim.verdict for claim in depth.judged(one, "x")} == {UNDECIDED}


def test_a_bound_decides_only_what_is_below_it() -> None:
    frame = by_depth((math.nan, math.nan), (5.0, 5.1), (4.0, 4.1), (math.nan, math.nan))
    frame["least"] = [9.0, 9.0, 5.0, 5.1, 4.0, 4.1, 1.0, 1.0]
    found = claims.falling(frame, "value", "least")
    assert (found.held, found.against, found.open) == (2, 0, 1)
    frame.loc[frame["depth"] == 0, "least"] = 3.0  # κ at depth 0 is above 3: it may be above 5
    assert claims.falling(frame, "value", "least").open == 2
    known = by_depth((3.0, 3.1), (5.0, 5.1))
    assert claims.falling(known, "value", "least").verdict == FAILS


def test_standard_errors_are_those_of_pairs() -> None:
    spread, near = np.array([0.0, 100.0, -50.0]), np.array([1.0, 1.1, 0.9])
    assert claims.compared(spread + near, spread) is True
    assert claims.compared(spread + near, spread[::-1]) is None


@pytest.mark.parametrize("seeds", [3, 5])
def test_noise_rarely_speaks_against_a_statement_of_many_cases(seeds: int) -> None:
    """Of 500 statements with 20 cases of equal means about 2.5 % fail, not 40 %."""
    rng = np.random.default_rng(seeds)
    found = [
        claims.steps(by_depth(*rng.standard_normal((20, seeds))), "value", rising=True)
        for _ in range(500)
    ]
    assert 0.01 < np.mean([steps.against > 0 for steps in found]) < 0.04


def test_one_of_many_cases_against_a_statement_has_to_be_clear() -> None:
    # Means 1.53 ± 0.29: t = 5.3, above 4.30 for 95 % and two degrees of freedom, below 6.21 for
    # 97.5 %.
    low, high = (0.0, 0.0, 0.0), (1.0, 1.6, 2.0)
    assert claims.compared(low, high) is False
    assert claims.compared(low, high, among=2) is None
    assert claims.compared(high, low, among=100) is True
    falls, more = by_depth(high, low), by_depth(high, low, (9.0, 9.1, 9.2))
    assert claims.steps(falls, "value", rising=True).verdict == FAILS
    assert claims.steps(falls, "value", rising=True, groups=2).verdict == UNDECIDED
    assert claims.steps(more, "value", rising=True).verdict == UNDECIDED
    # Of logarithms.
    powers = [by_depth(*np.exp(rows)) for rows in ([low, high], [low, high, (-1.0, -1.1, -1.2)])]
    found = [claims.falling(frame, "value", "least").verdict for frame in powers]
    assert found == [FAILS, UNDECIDED]


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_noise_rarely_decides(seeds: int) -> None:
    """Of 1000 pairs of equal means about 5 % are told apart, of however few seeds."""
    rng = np.random.default_rng(seeds)
    decided = [claims.compared(*rng.standard_normal((2, seeds))) is not None for _ in range(1000)]
    assert 0.03 < np.mean(decided) < 0.07


@pytest.mark.parametrize(
    ("drift", "spread", "verdict"),
    [
        (0.01, 0.001, HOLDS),
        (1.0, 0.001, FAILS),
        # Outside the interval of 95 %, within that of one of two depths.
        (1.0, 0.345, UNDECIDED),
        (1.0, 5.0, UNDECIDED),
        (math.nan, 0.0, UNDECIDED),
    ],
)
def test_no_difference_is_seen_only_where_it_would_be(
    drift: float, spread: float, verdict: str
) -> None:
    """The linear network's angle: its error may be larger than what is asked about."""
    angles = [
        {"depth": k, "seed": seed, "activation": name, "smallest_angle": angle}
        for k in (0, 1, 2)
        for seed, noise in enumerate((-1.0, 0.1, 0.9))
        for name, angle in (
            ("relu", 10.0 + k),
            ("identity", 10.0 + (k > 0) * (drift + spread * noise)),
        )
    ]
    frame = pd.DataFrame(angles).assign(condition_number=2.0, condition_number_least=2.0)
    linear = next(c for c in depth.judged(frame, "x") if c.statement is depth.LINEAR_STAYS)
    assert linear.verdict == verdict


def expected(claim: Claim, verdict: str, *words: str) -> None:
    assert claim.verdict == verdict, claim
    for word in words:
        assert word in str(claim)


def test_theorems_about_angles() -> None:
    frame = angle_curves.remainders([1, 4], [1e-1, 1e-3, 1e-5])
    expected(angle_curves.judge_expansion(frame), HOLDS, "6 of 6 conditions")
    expected(angle_curves.judge_corollary(frame), HOLDS, "6 of 6 cases")
    constant = frame.assign(remainder_over_theta=0.5 + frame["theta"])
    expected(angle_curves.judge_expansion(constant), FAILS)
    closer = frame.assign(gradient_angle_at_theta_over_depth=0.9 * frame["theta_over_depth"])
    expected(angle_curves.judge_corollary(closer), FAILS)


def curves(angles: dict[int, float], *, resolved: bool = True) -> pd.DataFrame:
    return pd.DataFrame({"depth": list(angles), "gradient_angle": list(angles.values())}).assign(
        activation="relu", input_angle=5.0, resolved=resolved
    )


def test_figures_1_and_2() -> None:
    deeper, limit = angle_curves._FIGURE_1, angle_curves._THEOREM_35
    run = runs.checked_run()
    frame = angle_curves.angles(run, ["relu"], [0, 1, 3], [0.05 * 180 / math.pi])
    assert frame["gradient_angle"].round(5).tolist() == [2.86479, 7.7741, 12.74962]
    expected(angle_curves.judge_depth(frame, deeper), HOLDS, "2 of 2 steps")
    expected(angle_curves.judge_depth(curves({0: 5, 1: 4}), deeper), FAILS)
    hidden = curves({0: 5, 1: 6}, resolved=False)
    expected(angle_curves.judge_depth(hidden, deeper), UNDECIDED, "not resolved")

    def judge(frame: pd.DataFrame, **how: Any) -> Claim:
        return angle_curves.judge_limit(frame, limit, 75.0, **how)

    expected(judge(curves({1: 20, 2: 74, 3: 75})), HOLDS, "at depth 3")
    expected(judge(curves({1: 20, 2: 60, 3: 70})), FAILS)
    expected(judge(curves({1: 75, 2: 74.2, 3: 74.5})), FAILS)
    expected(judge(curves({1: 74, 2: 70, 3: 75})), HOLDS)
    expected(judge(curves({1: 74, 2: 70, 3: 75}), every_step=True), FAILS)
    expected(judge(curves({1: 20, 2: 74, 3: 75}, resolved=False)), UNDECIDED)
    both = pd.concat([curves({1: 20, 3: 74.9}).assign(input_angle=4.0), curves({1: 20, 3: 74.8})])
    expected(judge(both), HOLDS, "at most 0.2° from 75.00°")


def test_figure_5() -> None:
    part = paper.figure(5)
    assert [claim.verdict for claim in part.claims] == [HOLDS] * 4
    one = part.tables[""].query("layers == 1").set_index("input_angle")["embedding_angle"]
    assert one[60.0] == pytest.approx(
        math.degrees(fastntk.infinite.angle_map(math.pi / 3)), rel=1e-9, abs=0
    )
    assert one[180.0] == pytest.approx(90.0, rel=1e-9, abs=0)
    frame = part.tables[""]
    expected(layer_map.judge_increasing(frame.assign(embedding_angle=-frame["input_angle"])), FAILS)
    falling = frame["embedding_angle"].where(frame["layers"] > 1, -frame["input_angle"])
    expected(layer_map.judge_increasing(frame.assign(embedding_angle=falling)), FAILS)
    expected(layer_map.judge_below(frame.assign(embedding_angle=frame["input_angle"])), FAILS)
    expected(layer_map.judge_limit(frame.assign(embedding_angle=frame["layers"])), FAILS)
    theta = np.array([0.1, 0.01])
    expected(layer_map.judge_expansion(theta, theta - theta**2), FAILS)


def test_figure_6() -> None:
    frame = scales.random_angles(runs.checked_run(), [1, 32, 111], 64)
    assert set(frame["scales"]) == {*scales._CASES, scales._COMMON, scales._STANDARD}
    expected(scales.judge_common_scale(frame), HOLDS)
    changed = frame.copy()
    changed.loc[changed["scales"] == scales._COMMON, "gradient_angle"] += 1e-3
    expected(scales.judge_common_scale(changed), FAILS, "1.0e-03")
    far = frame.assign(gradient_angle=frame["input_angle"] * (1 + frame["depth"]))
    expected(scales.judge_separation(far), HOLDS)
    expected(scales.judge_depth(far), HOLDS)
    near = frame.assign(gradient_angle=frame["input_angle"] / (1 + frame["depth"]))
    expected(scales.judge_separation(near), FAILS)
    expected(scales.judge_depth(near), FAILS)
    # ω = 1/s²: a first layer four times as large counts a sixteenth.
    net = fastntk.MLP([2, 64, 1], seed=1, dtype="float64")
    pair = np.array([[1.0, 0.0], [math.cos(math.pi / 3), math.sin(math.pi / 3)]])
    angle = fastntk.gradient_angles(net.ntk(pair, layer_weights=[1 / 16, 1.0]))[0, 1]
    row = frame.query(
        "scales == 'first layer × 4' and depth == 1 and seed == 1 and input_angle == 60"
    )
    assert row["gradient_angle"].item() == pytest.approx(math.degrees(angle), rel=1e-12, abs=0)


def test_theorems_at_finite_width() -> None:
    run = runs.checked_run()
    found = theorems.wide_networks(run, [16, 64], 30)
    assert found["depth"].tolist() == [1, 1, 3, 3, 6, 6]
    ratios = found["deviation"].to_numpy().reshape(3, 2)
    assert ((ratios[:, 0] / ratios[:, 1] > 1.5) & (ratios[:, 0] / ratios[:, 1] < 4)).all()
    widths = np.array([10.0, 100.0, 1000.0])
    frame = pd.DataFrame({"depth": 1, "width": widths, "deviation": widths**-1.0})
    expected(theorems.judge_rate(frame), FAILS, "1.000 ± 0.000")
    expected(theorems.judge_rate(frame.assign(deviation=widths**-0.5)), HOLDS)
    expected(theorems.judge_rate(frame.assign(deviation=[1.0, 0.05, 0.1])), UNDECIDED)


def test_theorems_on_the_condition_number() -> None:
    for claim in theorems.judge_linear(theorems.linear_network()):
        expected(claim, HOLDS)
    frame = theorems.linear_network().assign(largest_angle_difference=1.0)
    frame["condition_number"] *= np.where(frame["depth"] == 3, 1.1, 1.0)
    for claim in theorems.judge_linear(frame):
        expected(claim, FAILS)
    frame["condition_number"] = math.nan
    expected(theorems.judge_linear(frame)[1], UNDECIDED)

    first = theorems.first_layer()
    expected(theorems.judge_first_layer(first), HOLDS, "32 of 32")
    expected(theorems.judge_first_layer(first.assign(eigenvalue_max=1.0)), FAILS)

    pairs = theorems.two_samples()
    expected(theorems.judge_pairs(pairs), HOLDS)
    at_start = pairs[(pairs["depth"] == 0) & (pairs["theta"] == 0.1)]["condition_number"].item()
    eigenvalues = np.linalg.eigvalsh([[1, math.cos(0.1)], [math.cos(0.1), 1]])
    assert at_start == pytest.approx(eigenvalues[1] / eigenvalues[0], rel=1e-9, abs=0)
    expected(theorems.judge_pairs(pairs.assign(condition_number=pairs["depth"])), FAILS)

    deep = theorems.infinite_depth([1, 10, 100, 10_000])
    expected(theorems.judge_infinite_depth(deep), HOLDS)
    expected(theorems.judge_infinite_depth(deep[:3]), FAILS)
    expected(theorems.judge_infinite_depth(deep.assign(distance=math.nan)), UNDECIDED)

    closest = theorems.closest_pairs()
    expected(theorems.judge_bound(closest, ""), HOLDS)
    expected(theorems.judge_bound(closest.assign(eigenvalue_min_bound=0.0), ""), FAILS)
    expected(theorems.judge_bound(closest.assign(eigenvalue_min=math.nan), ""), UNDECIDED)


# Data.


def depth_frame(relu: Any, linear: Any, hidden: bool = False) -> pd.DataFrame:
    """Return angles that follow functions of depth and seed, and κ that falls as they rise."""
    rows = []
    for name, function in (("relu", relu), ("identity", linear)):
        for level in range(4):
            for seed in range(3):
                angle = function(level) * (1 + 0.01 * seed)
                kappa = math.nan if hidden and name == "identity" else 1e4 / angle**2
                rows.append(
                    {
                        "activation": name,
                        "depth": level,
                        "seed": seed,
                        "smallest_angle": angle,
                        "condition_number": kappa,
                        "condition_number_least": 1e9 if math.isnan(kappa) else kappa,
                    }
                )
    return pd.DataFrame(rows)


def test_claims_of_figure_3() -> None:
    rising = depth.judged(depth_frame(lambda level: 2 + level, lambda _: 2.0), "ours")
    assert [claim.verdict for claim in rising] == [HOLDS] * 5
    assert {claim.data for claim in rising} == {"ours"}
    turned = depth.judged(depth_frame(lambda level: 6 - level, lambda level: 6 + level), "ours")
    assert [claim.verdict for claim in turned] == [FAILS] * 5
    hidden = depth.judged(depth_frame(lambda level: 2 + level, lambda _: 2.0, hidden=True), "ours")
    assert [claim.verdict for claim in hidden] == [HOLDS] * 5
    expected(hidden[3], HOLDS, "not resolved at any depth: above 1e+09")


def test_figure_3_both_ways(labelled: Path, tmp_path: Path) -> None:
    store = tmp_path / "cells.sqlite"
    part = paper.figure(3, str(labelled), seeds=2, width=16, store=store, progress=False)
    whole, batches = part.tables[""], part.tables["minibatches"]
    assert sorted(set(whole["depth"])) == list(range(11))
    assert len(whole) == len(batches) == 2 * 11 * 2
    assert set(whole["seed"]) == {1, 32}  # the first of the authors'
    assert batches["batch_size"].unique().tolist() == [60]
    # A single batch of all samples: the kernel is the same, its rows in another order.
    keys = ["activation", "seed", "depth"]
    both = whole.merge(batches, on=keys, suffixes=("", "_of_batches"))
    known = both["condition_number"].notna()
    assert known.sum() > 10
    np.testing.assert_allclose(
        both["condition_number_of_batches"][known], both["condition_number"][known], rtol=1e-6
    )
    np.testing.assert_allclose(both["smallest_angle_of_batches"], both["smallest_angle"], rtol=1e-6)
    # Rank 5 of 60: drawn as what it is.
    assert "has rank 5 < n = 60" in part.text
    kappa = part.drawings[""].panels[1]  # type: ignore[union-attr]
    assert [line.style for line in kappa.lines] == ["both", "open", "open"]
    assert len(part.claims) == 11
    # Everything comes from the store the second time.
    again = paper.figure(3, str(labelled), seeds=2, width=16, store=store, progress=False)
    pd.testing.assert_frame_equal(again.tables["minibatches"], batches)


def test_minibatches_are_shuffled_and_whole() -> None:
    X = np.zeros((1100, 2))
    protocol = minibatches.Protocol(X=X, raw=X, depths=(0,), seeds=(1,), width=4, most_batches=None)
    parts = protocol.batches(1)
    assert [len(rows) for rows in parts] == [512, 512]
    assert len(set(np.concatenate(parts))) == 1024
    assert not np.array_equal(parts[0], protocol.batches(2)[0])
    one = minibatches.Protocol(X=X, raw=X, depths=(0,), seeds=(1,), width=4, most_batches=1)
    assert len(one.batches(1)) == 1


def test_condition_numbers_are_means_over_minibatches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(minibatches, "BATCH_SIZE", 20)
    X = np.random.default_rng(0).standard_normal((50, 6))
    protocol = minibatches.Protocol(X=X, raw=X, depths=(1,), seeds=(3,), width=40, most_batches=2)
    quiet = runs.checked_run(seeds=1, progress=False)
    found: Any = minibatches.minibatch_study(quiet, protocol).set_index("activation")
    net = fastntk.MLP([6, 40, 1], seed=3)
    kappa = [np.linalg.cond(net.ntk(X[rows], dtype="float64")) for rows in protocol.batches(3)]
    assert max(kappa) > 1.05 * min(kappa)
    row = found.loc["relu"]
    assert row["condition_number"] == pytest.approx(np.mean(kappa), rel=1e-6, abs=0)
    assert row["condition_number_least"] == pytest.approx(np.mean(kappa), rel=1e-6, abs=0)
    assert row["spread_over_batches"] == pytest.approx(np.std(kappa), rel=1e-5, abs=0)
    assert row[["batches", "batches_resolved", "batch_size"]].tolist() == [2, 2, 20]
    # Six features make a kernel of rank six for the linear network.
    row = found.loc["identity"]
    assert row[["condition_number", "spread_over_batches"]].isna().all()
    assert row["condition_number_least"] > 1e10
    assert row[["batches", "batches_resolved"]].tolist() == [2, 0]


def training_frame(epochs: tuple[float, ...], kappa: tuple[float, ...]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "depth": k,
                "seed": seed,
                "epochs_to_target": each + 0.1 * seed,
                "condition_number": kappa[k],
            }
            for k, each in enumerate(epochs)
            for seed in range(3)
        ]
    )


def test_claims_of_figure_4() -> None:
    kappa = (90.0, 70.0, 50.0, 30.0, 20.0, 10.0)
    faster, with_kappa = training.judged(training_frame((60, 50, 40, 30, 20, 10), kappa), "x", 0.1)
    expected(faster, HOLDS, "18 of 18 trainings reached it")
    expected(with_kappa, HOLDS, "rank correlation 1.00")
    slower, against = training.judged(training_frame((10, 20, 30, 40, 50, 60), kappa), "x", 0.1)
    expected(slower, FAILS)
    expected(against, FAILS)
    mixed = training.judged(training_frame((30, 10, 20, 25, 15, 28), kappa), "x", 0.1)[1]
    expected(mixed, UNDECIDED)
    few = training.judged(training_frame((30, math.nan, math.nan), kappa), "x", 0.1)[1]
    expected(few, UNDECIDED, "too few")


@pytest.mark.parametrize(
    ("means", "verdict"),
    [
        ((0.90, 0.95, 0.92), HOLDS),
        ((0.95, 0.92, 0.90), FAILS),
        ((0.90, 0.92, 0.95), FAILS),
        ((0.949, 0.95, 0.92), UNDECIDED),
    ],
)
def test_claim_of_table_1(means: tuple[float, ...], verdict: str) -> None:
    noise = ((0.0, 0.001, -0.001), (0.001, -0.003, 0.002), (0.0, 0.002, 0.001))
    rows = [
        {"depth": depth, "seed": seed, "test_accuracy": mean + noise[k][seed]}
        for k, (depth, mean) in enumerate(zip((1, 3, 6), means, strict=True))
        for seed in range(3)
    ]
    expected(training.judge_accuracy(pd.DataFrame(rows), "x"), verdict, "at depths 1, 3, 6")


def test_figure_4_and_table_1_share_their_trainings(labelled: Path, tmp_path: Path) -> None:
    common: dict[str, Any] = {"seeds": 2, "width": 8, "store": tmp_path / "cells.sqlite"}
    part = paper.figure(4, str(labelled), progress=False, **common)
    assert part.tables[""]["batch_size"].unique().tolist() == [48]  # a fifth is held out
    assert len(part.tables["curves"]) == 4 * 2 * 40
    table = paper.table(1, str(labelled), progress=False, **common)
    pd.testing.assert_frame_equal(table.tables["seeds"], part.tables[""])
    assert table.tables[""]["test_samples"].unique().tolist() == [12]
    assert [claim.statement.source for claim in table.claims] == ["Table 1"]
    # Of a file: called by its name, without its folder.
    assert [table.name, part.name] == ["table-1-small", "figure-4-small"]
    assert {file.parent for file in table.save(tmp_path / "out")} == {tmp_path / "out"}


def test_bands_of_many_depths_are_in_panels_of_their_own(
    labelled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"_DEPTHS": range(1, 7), "_EPOCHS": 3, "_RATE_STEPS": 5}.items():
        monkeypatch.setattr(training, name, value)
    part = paper.figure(4, str(labelled), seeds=1, width=4, progress=False)
    panels = part.drawings[""].panels  # type: ignore[union-attr]
    assert [panel.title for panel in panels[:-2]] == [f"depth {k}" for k in range(1, 7)]
    for panel in panels[:-2]:
        assert [line.style for line in panel.lines] == ["thin"] * 5 + ["line"]
        assert panel.lines[-1].label == panel.title


class AskedError(Exception):
    """What a study was asked for."""


def test_the_sizes_of_the_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    def study(*given: Any, **settings: Any) -> None:
        raise AskedError(len(given[0]), *given[2:], settings)

    monkeypatch.setattr(depth, "depth_study", study)
    monkeypatch.setattr(training, "convergence_study", study)
    with pytest.raises(AskedError) as asked:
        paper.figure(3, "synthetic", full=True)
    samples_of_study, settings = asked.value.args
    assert samples_of_study == 2000
    assert settings["depths"] == tuple(range(21))
    assert (settings["width"], settings["seeds"]) == (512, (1, 32, 111, 555, 666))
    with pytest.raises(AskedError) as asked:
        paper.table(1, full=True)
    samples_of_study, depths, settings = asked.value.args
    assert samples_of_study == 1438  # all but a fifth
    assert depths == (1, 3, 6, 8, 10, 12)
    assert (settings["width"], settings["batch_size"], len(settings["seeds"])) == (512, 500, 5)


# Samples and settings.


def test_samples_by_name(labelled: Path) -> None:
    synthetic = samples.samples("synthetic").X
    assert synthetic.shape == (2000, 5)
    assert np.array_equal(synthetic, samples.samples("synthetic").X)
    digits = samples.samples("digits")
    raw = samples.raw_pixels("digits", None).X
    assert (raw.min(), raw.max()) == (0.0, 16.0)
    np.testing.assert_allclose(raw / 8 - 1, digits.X)
    pictures = samples.images("digits", None)
    assert pictures is not None
    assert pictures.shape == (1797, 8, 8)
    assert samples.images("synthetic", None) is None
    assert len(samples.part_of(digits, 100).X) == 100
    split = samples.split(str(labelled), 30)
    assert split.X.shape == (30, 5)
    assert split.n_test == 12
    with pytest.raises(ValueError, match=r"data='nothing': expected .*'synthetic'.*, or a"):
        samples.samples("nothing")
    with pytest.raises(ValueError, match="data='synthetic': expected a data set with labels"):
        samples.split("synthetic", None)


def test_data_sets_of_the_same_name_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ("x.csv", "a/x.csv", "b/a/x.csv", "b/y.csv", "a/z.csv", "a/z.npy", "digits.csv")
    for each in given:
        file = Path(each)
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".npy":
            np.save(file, np.eye(2))
        else:
            file.write_text("1.5,2\n3,4.5\n")
    for few in (["x.csv"], ["b/a/x.csv", "b/y.csv", "synthetic"]):
        assert list(samples.names_apart(few).values()) == [Path(each).stem for each in few]
    assert samples.names_apart([*given, "digits"]) == {
        "x.csv": f"{tmp_path.name}-x",
        "a/x.csv": f"{tmp_path.name}-a-x",
        "b/a/x.csv": "b-a-x",
        "b/y.csv": "y",
        "a/z.csv": "z-csv",
        "a/z.npy": "z-npy",
        "digits.csv": "digits-csv",
        "digits": "digits",
    }
    for twice in (["digits", "digits"], ["a/x.csv", "b/../a/x.csv"]):
        with pytest.raises(ValueError, match=r"data=\['.*: expected each data set only once"):
            paper.reproduce("out", twice, only=["figure 5"], progress=False)
    assert not Path("out").exists()


def test_seeds() -> None:
    assert runs.checked_run().several_seeds(3) == (1, 32, 111)
    assert runs.checked_run(full=True).several_seeds(3) == runs.AUTHORS_SEEDS
    assert runs.checked_run(seeds=7).several_seeds(3) == (*runs.AUTHORS_SEEDS, 1000, 1001)
    assert runs.checked_run(seeds=[4, 2]).several_seeds(3) == (4, 2)
    with pytest.raises(ValueError, match="expected each seed only once"):
        runs.checked_run(seeds=[4, 4])


def test_what_is_kept_is_the_same(tmp_path: Path) -> None:
    calls = []

    def compute(name: str, _: object) -> pd.DataFrame:
        calls.append(name)
        return pd.DataFrame({"a": [1, 2], "b": [math.pi, math.nan], "c": ["x", "y"]})

    kept = runs.checked_run(store=tmp_path / "s.sqlite")
    pieces = {"one": {"setting": 1}, "two": {"setting": 2}}
    first = runs.kept_tables(kept, "test", pieces, compute)
    second = runs.kept_tables(kept, "test", pieces, compute)
    assert calls == ["one", "two"]
    pd.testing.assert_frame_equal(first, second)
    pd.testing.assert_frame_equal(first, runs.kept_tables(runs.checked_run(), "x", pieces, compute))
    runs.kept_tables(kept, "test", {"one": {"setting": 3}}, compute)
    assert len(calls) == 5


# Figures as data.


def sheet(lines: list[Line], **settings: Any) -> Sheet:
    return Sheet(title="t", panels=[Panel(x="x", y="y", lines=lines, **settings)])


def test_angle_axes_have_ticks_of_30_degrees() -> None:
    grid = np.linspace(0, 180, 7)
    line = Line(x=grid, y=grid, label="a")
    axes = draw(sheet([line], x_kind="degrees", y_kind="degrees")).axes[0]
    for ticks in (axes.get_xticks(), axes.get_yticks()):
        assert set(np.diff(ticks)) == {30.0}


def test_depths_have_colours_in_order_and_few_have_bands() -> None:
    x = np.arange(1.0, 4.0)
    assert levels([6, 1, 3, 1]) == {1: 0.0, 3: 0.5, 6: 1.0}
    lines = [
        Line(x=x, y=x, label=f"{k}", spread=x / 10, level=place)
        for k, place in levels(range(6)).items()
    ]
    brightness = [sum(line.colour[:3]) for line in lines]
    assert brightness == sorted(brightness)
    assert len(draw(sheet(lines[:5])).axes[0].collections) == 5
    assert len(draw(sheet(lines)).axes[0].collections) == 0


def test_limits_and_lines_are_named_where_they_end() -> None:
    x = np.arange(1.0, 4.0)
    limits = [Limit(value=2.0, label="limit"), Limit(value=2.01, label="other")]
    panel = sheet([Line(x=x, y=x, label="a")], limits=limits, direct=True)
    axes = draw(panel).axes[0]
    texts: dict[str, Any] = {text.get_text(): text for text in axes.texts}
    assert set(texts) == {"limit", "other", "a"}
    assert texts["other"].xy[1] - texts["limit"].xy[1] > 0.05
    assert not draw(panel).legends


def test_marks_are_thinned() -> None:
    x = np.arange(100.0)
    line = draw(sheet([Line(x=x, y=x, label="a", style="both")])).axes[0].lines[0]
    assert line.get_markevery() == 7
