# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The study of how constant kernels are, against the width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from click.testing import CliRunner

import fastntk
from fastntk import figures
from fastntk._cli import cli
from fastntk._support import memory
from fastntk.linearity import hessian_vector_product
from fastntk.studies import constancy_cells
from fastntk.studies.power_law import bootstrap_slope, fit_power_law

if TYPE_CHECKING:
    from pathlib import Path

Array = npt.NDArray[np.float64]

generator = np.random.default_rng(1)
X = generator.standard_normal((6, 3))
Y = 0.5 + 0.2 * np.sign(X[:, 0])
ALL = constancy_cells.ARCHITECTURES

SMALL: dict[str, Any] = {
    "seeds": [2, 5],
    "depth": 2,
    "bottleneck": 3,
    "hessian_samples": 2,
    "epochs": 60,
    "loss_target": 1e-2,
    "progress": False,
}


@pytest.fixture(scope="module")
def study() -> fastntk.ConstancyStudy:
    return fastntk.constancy_study(X, Y, [8, 5], **SMALL)


def layers_of(architecture: str, m: int) -> list[int]:
    if architecture == "bottleneck":
        return [3, m, 3, m, 1]
    return [3, m, m, 2 if architecture == "softmax" else 1]


def test_cells_are_what_their_networks_are(study: fastntk.ConstancyStudy) -> None:
    kinds = [(a, m, seed) for a in ALL for m in (5, 8) for seed in (2, 5)]
    assert [(r.architecture, r.width, r.seed) for r in study.results] == kinds
    statuses = set()
    for k, result in enumerate(study.results):
        if (k + k // 2) % 2:  # one seed of each kind, by turns
            continue
        psi = result.architecture
        plain = psi in {"linear", "bottleneck"}
        net = fastntk.MLP(
            layers_of(psi, result.width),
            activation="tanh",
            output_activation="identity" if plain else psi,
            seed=result.seed,
        )
        y = np.stack([Y, 1 - Y], axis=1) if psi == "softmax" else Y
        norms = [
            np.linalg.norm(hessian_vector_product(net, x[np.newaxis], np.eye(net.n_parameters)), 2)
            for x in X[:2]
        ]
        assert result.hessian_norm == pytest.approx(np.mean(norms), rel=1e-5, abs=0)
        assert result.hessian_norm_resolved
        gradients = np.linalg.norm(net.gradient_features(X), axis=1)
        assert result.gradient_norm == pytest.approx(gradients.mean(), rel=1e-10, abs=0)
        rate = 0.5 * fastntk.learning_rate_bound(net, X, loss="mse")
        assert result.learning_rate == rate
        history = fastntk.train(
            net, X, y, loss="mse", learning_rate=rate, epochs=60, loss_target=1e-2
        )
        statuses.add(result.status)
        assert (result.status, result.steps) == (history.status, history.epochs)
        assert (result.initial_loss, result.final_loss) == (history.loss[0], history.loss[-1])
        if history.status == "diverged":
            continue
        before, after = net.ntk(X), history.net.ntk(X)
        change = np.linalg.norm(after - before) / np.linalg.norm(before)
        assert result.relative_change == pytest.approx(change, rel=1e-9, abs=0)
        alignment = (after * before).sum() / np.linalg.norm(after) / np.linalg.norm(before)
        assert result.alignment == pytest.approx(alignment, rel=1e-9, abs=0)
        assert result.weight_change == pytest.approx(history.weight_change[-1], rel=1e-9, abs=0)
        assert result.weight_change_max == pytest.approx(
            history.weight_change_max[-1], rel=1e-9, abs=0
        )
        for kappa, kernel in (
            (result.condition_number, before),
            (result.condition_number_after, after),
        ):
            expected = np.linalg.cond(kernel)
            assert kappa == pytest.approx(expected, rel=1e-3, abs=0) or (
                np.isnan(kappa) and expected > 1e6
            )
        moved = history.net(X) - net(X)
        assert result.output_change == pytest.approx(np.sqrt(np.mean(moved**2)), rel=1e-9, abs=0)
        delta = np.concatenate(
            [(b - a).ravel() for a, b in zip(net.weights, history.net.weights, strict=True)]
        )
        error = moved - net.jvp(X, delta)
        assert result.linear_error == pytest.approx(np.sqrt(np.mean(error**2)), rel=1e-8, abs=0)
    assert {"target reached", "completed"} <= statuses


def test_tables(study: fastntk.ConstancyStudy, tmp_path: Path) -> None:
    frame = study.to_frame()
    assert len(frame) == len(study.results)
    summary = study.summary()
    assert summary[["architecture", "width"]].to_numpy().tolist() == [
        [a, m] for a in ALL for m in (5, 8)
    ]
    for _, row in summary.iterrows():
        cell = frame[
            (frame["architecture"] == row["architecture"]) & (frame["width"] == row["width"])
        ]
        reached = cell[cell["status"] == "target reached"]
        assert (row["seeds"], row["reached"]) == (2, len(reached))
        assert row["diverged"] == (cell["status"] == "diverged").sum()
        assert row["hessian_norm"] == pytest.approx(cell["hessian_norm"].mean(), rel=1e-9, abs=0)
        np.testing.assert_equal(row["weight_change"], reached["weight_change"].mean())
    slopes = study.slopes().set_index(["architecture", "quantity"])
    of_linear = frame[frame["architecture"] == "linear"]
    law = fit_power_law(of_linear["width"], of_linear["hessian_norm"])
    assert slopes.loc[("linear", "hessian_norm"), "slope"] == pytest.approx(
        law.slope, rel=1e-12, abs=0
    )
    for name, row in slopes.iterrows():
        architecture, quantity = map(str, tuple(name))  # type: ignore[arg-type]
        found = study.slope(architecture, quantity)
        np.testing.assert_equal(tuple(found), tuple(row[["slope", "lower", "upper"]]))
        cell = frame[frame["architecture"] == architecture]
        trained = quantity not in {"hessian_norm", "gradient_norm"}
        usable = cell[cell["status"] == "target reached"] if trained else cell
        assert row["networks"] == len(usable)
    study.save(tmp_path / "table.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "table.csv"), frame)
    study.save(tmp_path / "table.csv")  # the same table
    with pytest.raises(ValueError, match="architecture='relu': expected one of 'linear'"):
        study.slope("relu", "hessian_norm")
    with pytest.raises(ValueError, match="quantity='loss': expected one of 'hessian_norm'"):
        study.slope("linear", "loss")


def test_a_store_is_gone_on_from(
    study: fastntk.ConstancyStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[int] = []
    train = fastntk.train

    def counted(net: fastntk.MLP, *others: Any, **options: Any) -> Any:
        trained.append(net.widths[1])
        if len(trained) == 4 and stopping:
            raise KeyboardInterrupt
        return train(net, *others, **options)

    monkeypatch.setattr(constancy_cells, "train", counted)
    stopping = True
    chosen = ["linear", "tanh", "bottleneck"]
    arguments: dict[str, Any] = SMALL | {
        "architectures": chosen,
        "store": tmp_path / "cells.sqlite",
        "jobs": 1,
    }
    with pytest.raises(KeyboardInterrupt):
        fastntk.constancy_study(X, Y, [5, 8], **arguments)
    assert trained == [8] * 4  # the widest networks first
    stopping = False
    seen: list[tuple[str, int, int]] = []
    arguments["progress"] = lambda *each: seen.append(each)
    again = fastntk.constancy_study(X, Y, [5, 8], **arguments)
    assert len(trained) == 4 + 12 - 3
    assert [done for _, done, _ in seen] == [3, *range(4, 13)]
    assert {total for *_, total in seen} == {12}
    expected = study.to_frame().drop(columns="seconds")
    expected = expected[expected["architecture"].isin(chosen)].reset_index(drop=True)
    pd.testing.assert_frame_equal(again.to_frame().drop(columns="seconds"), expected)
    for changes, missing in (
        ({"seeds": [5, 2]}, 0),
        ({"seeds": [5, 7]}, 6),
        ({"loss_target": 1e-3, "architectures": ["tanh"]}, 4),
        ({"bottleneck": 2}, 4),  # of the others it decides nothing
    ):
        trained.clear()
        fastntk.constancy_study(X, Y, [5, 8], **arguments | changes)
        assert len(trained) == missing


def test_divergence_is_reported_and_the_study_goes_on() -> None:
    study = fastntk.constancy_study(
        X, Y, [4, 8], architectures=["linear", "square"], **SMALL | {"learning_rate": 30.0}
    )
    by_status = {
        r.architecture: {s.status for s in study.results if s.architecture == r.architecture}
        for r in study.results
    }
    assert by_status["square"] == {"diverged"}
    for result in study.results:
        assert result.learning_rate == 30.0
        assert result.hessian_norm > 0 < result.gradient_norm
        if result.status == "diverged":
            assert np.isnan([result.relative_change, result.weight_change, result.alignment]).all()
            assert result.steps > 0
    summary = study.summary().set_index(["architecture", "width"])
    assert summary["diverged"]["square"].tolist() == [2, 2]
    assert np.isnan(study.slope("square", "weight_change")).all()
    assert np.isfinite(study.slope("square", "hessian_norm")).all()


def test_a_network_without_a_gradient_is_not_trained() -> None:
    dead = fastntk.MLP([1, 1, 1], seed=0).weights[0].item()
    study = fastntk.constancy_study(
        [[-np.sign(dead)]],
        [0.5],
        [1],
        architectures=["linear"],
        activation="relu",
        depth=1,
        seeds=1,
        progress=False,
    )
    (result,) = study.results
    assert (result.status, result.gradient_norm, result.hessian_norm) == ("no gradient", 0.0, 0.0)
    assert result.steps == 0
    assert np.isnan(result.learning_rate)


def test_widths_that_do_not_fit_are_said_before(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise AssertionError("a network was computed")

    monkeypatch.setattr(memory, "available_memory", lambda: 2**30)
    monkeypatch.setattr(constancy_cells.ConstancySettings, "cell", refused)
    with pytest.raises(
        MemoryError,
        match=r"widths=20000: 2 networks of 400100000 parameters .* needs 47\.\d GiB, but 1\.0 GiB"
        r".*take smaller widths or jobs=1",
    ):
        fastntk.constancy_study(X, Y, [8, 20_000], jobs=2)
    with pytest.raises(MemoryError, match=r"1 networks of .*: take smaller widths$"):
        fastntk.constancy_study(X, Y, [8, 20_000], jobs=1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"X": np.ones(3)}, ValueError, "X has shape"),
        ({"y": Y[:3]}, ValueError, r"y has shape \(3,\): expected \(6,\)"),
        ({"y": 2 * Y}, ValueError, r"y\[\d\]=1\.4: expected from -1 to 1, .* 'tanh'"),
        ({"y": -Y}, ValueError, r"y\[0\]=-0\.\d: expected from 0 to inf, .* 'square'"),
        ({"widths": []}, ValueError, r"widths=\[\]: expected at least one integer"),
        ({"widths": [0]}, ValueError, r"widths\[0\]=0: expected an integer of at least 1"),
        ({"architectures": ["deep"]}, ValueError, "architectures='deep': expected one of 'linear'"),
        ({"architectures": []}, ValueError, r"architectures=\[\]: expected at least one"),
        ({"architectures": ["tanh"] * 2}, ValueError, "each only once"),
        ({"architectures": "tanh"}, TypeError, "architectures='tanh': expected a sequence"),
        ({"depth": 0}, ValueError, "depth=0: expected at least one hidden layer"),
        ({"bottleneck": 0}, ValueError, "bottleneck=0: expected an integer of at least 1"),
        (
            {"activation": fastntk.activations.custom(np.tanh)},
            ValueError,
            "activation=.*: expected one with a second derivative in the core",
        ),
        ({"seeds": [1, 1]}, ValueError, r"seeds=\[1, 1\]: expected each seed only once"),
        ({"hessian_samples": 0}, ValueError, "hessian_samples=0: expected an integer"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate=0.0: expected a finite number above"),
        ({"epochs": 0}, ValueError, "epochs=0: expected an integer of at least 1"),
        ({"loss_target": -1.0}, ValueError, "loss_target=-1.0: expected a finite number of at"),
        ({"jobs": 0}, ValueError, "jobs=0: expected an integer of at least 1"),
    ],
)
def test_bad_arguments(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"X": X, "y": Y, "widths": [4], "progress": False} | change
    with pytest.raises(error, match=message):
        fastntk.constancy_study(**arguments)


def test_slopes_with_intervals() -> None:
    random = np.random.default_rng(0)
    widths = np.repeat([10.0, 20.0, 40.0, 80.0], 5)
    values = 3 * widths**-0.5 * np.exp(0.2 * random.standard_normal(20))
    shuffled = random.permutation(20)
    found = bootstrap_slope(widths, values)
    assert found == pytest.approx(bootstrap_slope(widths[shuffled], values[shuffled]), abs=0.01)
    assert found.slope == pytest.approx(fit_power_law(widths, values).slope, rel=1e-9, abs=0)
    # The same draws, with a fit for each.
    slopes = []
    for _ in range(1000):
        rows = np.concatenate([5 * k + random.integers(5, size=5) for k in range(4)])
        slopes.append(np.polyfit(np.log(widths), np.log(values[rows]), 1)[0])
    lower, upper = found.slope + np.sqrt(5 / 4) * (
        np.quantile(slopes, [0.025, 0.975]) - found.slope
    )
    assert (found.lower, found.upper) == pytest.approx((lower, upper), abs=0.02)
    # How often the interval has the slope in it, with as few seeds as a study has.
    inside = 0
    for _ in range(200):
        noise = np.exp(0.2 * random.standard_normal(20))
        interval = bootstrap_slope(widths, widths**-0.5 * noise)
        inside += interval.lower <= -0.5 <= interval.upper
    assert 0.85 <= inside / 200 <= 0.99
    alone = bootstrap_slope([1, 2, 4], [1.0, 2.0, 4.0])
    assert alone.slope == pytest.approx(1.0, rel=1e-9, abs=0)
    assert np.isnan(alone[1:]).all()
    assert np.isnan(bootstrap_slope([4, 4], [1.0, 2.0])).all()


def test_figure(study: fastntk.ConstancyStudy) -> None:
    figure = figures.plot_constancy(study)
    assert len(figure.axes) == 6
    summary = study.summary()
    for axes, name in zip(
        figure.axes, ("hessian_norm", "gradient_norm", "relative_change"), strict=False
    ):
        assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
        lines = {line.get_label(): line for line in axes.lines}
        for architecture in ALL:
            rows = summary[(summary["architecture"] == architecture) & (summary[name] > 0)]
            np.testing.assert_array_equal(lines[architecture].get_ydata(), rows[name])
    with pytest.raises(TypeError, match="study=3: expected a fastntk"):
        figures.plot_constancy(3)  # type: ignore[arg-type]


def test_the_command(tmp_path: Path) -> None:
    labels = (X[:, 0] > 0).astype(int) + 4
    table = np.column_stack([X, labels])
    np.savetxt(tmp_path / "six.csv", table, delimiter=",", header="a,b,c,label", comments="")
    call = ["constancy", str(tmp_path / "six.csv"), "--widths", "4,8", "--seeds", "2"]
    call += ["--architecture", "linear", "--architecture", "square"]
    call += ["--epochs", "50", "--learning-rate", "30", "--out", str(tmp_path / "out")]
    found = CliRunner().invoke(cli, call)
    assert found.exit_code == 0, found.output
    frame = pd.read_csv(tmp_path / "out" / "six.csv")
    expected = fastntk.constancy_study(
        fastntk.datasets.load(str(tmp_path / "six.csv")).X,
        0.25 + 0.5 * (labels - 4),
        [4, 8],
        architectures=["linear", "square"],
        seeds=2,
        learning_rate=30.0,
        epochs=50,
        data="six",
        progress=False,
    )
    pd.testing.assert_frame_equal(
        frame.drop(columns="seconds"), expected.to_frame().drop(columns="seconds")
    )
    assert (tmp_path / "out" / "six.png").exists()
    slope = expected.slope("linear", "hessian_norm")
    shown = f"{slope.slope:+.2f} [{slope.lower:+.2f}, {slope.upper:+.2f}]".replace("-", "−")
    assert shown in found.output
    assert "0 of 4, 4 diverged" in found.output
    refused = CliRunner().invoke(cli, [*call[:2], "--depth", "0"])
    assert refused.exit_code == 1
    assert "depth=0: expected at least one hidden layer" in refused.output
    np.save(tmp_path / "unlabelled.npy", X)
    call = ["constancy", str(tmp_path / "unlabelled.npy")]
    refused = CliRunner().invoke(cli, call)
    assert refused.exit_code == 1
    assert "has no labels: expected a data set with labels" in refused.output
