# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of many depths in one pass, and the study made of them."""

from __future__ import annotations

import math
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from long_networks import eigenvalues_of, exact_features
from tolerances import assert_close

import fastntk
from fastntk import figures, layers
from fastntk._support import memory
from fastntk.kernels.depth_passes import depth_groups
from fastntk.studies import depth_families as families
from fastntk.studies.depth_results import COSTS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@pytest.fixture
def X() -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).standard_normal((30, 6))


@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("depths", [[0], [3], [0, 1, 2, 5], [4, 1]])
def test_each_depth_is_the_kernel_of_its_own_network(
    X: npt.NDArray[np.float64], depths: list[int], dtype: str, activation: str
) -> None:
    kernels = fastntk.ntk_depths(
        X, depths, width=24, activation=activation, seed=8, network_dtype=dtype, dtype="float64"
    )
    assert list(kernels) == depths
    for depth, K in kernels.items():
        net = fastntk.MLP([6, *[24] * depth, 1], activation=activation, seed=8, dtype=dtype)
        assert_close(K, net.ntk(X, dtype="float64"), dtype)
        assert np.array_equal(K, K.T)


def test_study_agrees_with_its_parts(X: npt.NDArray[np.float64]) -> None:
    study = fastntk.depth_study(
        X, depths=[2, 0], width=64, seeds=[4, 9], dtype="float64", progress=False
    )
    frame = study.to_frame()
    assert frame[["activation", "depth", "seed"]].to_numpy().tolist() == [
        [activation, depth, seed]
        for activation in ("relu", "identity")
        for depth in (0, 2)
        for seed in (4, 9)
    ]
    for result in study.results:
        net = fastntk.MLP(
            [6, *[64] * result.depth, 1], activation=result.activation, seed=result.seed
        )
        K = net.ntk(X)
        spectrum = fastntk.conditioning(K)
        assert result.eigenvalue_max == pytest.approx(spectrum.eigenvalue_max, rel=1e-12, abs=0)
        assert result.resolved == spectrum.resolved
        assert result.rank == spectrum.rank
        if result.resolved:
            assert result.condition_number == pytest.approx(
                spectrum.condition_number, rel=1e-9, abs=0
            )
        pair = fastntk.smallest_angle(K)
        assert result.smallest_angle == pytest.approx(np.degrees(pair.angle), rel=1e-9, abs=0)
        assert (result.i, result.j) == (pair.i, pair.j)


def summary_of(study: fastntk.DepthStudy) -> dict[tuple[str, int], dict[str, Any]]:
    rows: list[Any] = study.summary().to_dict("records")
    return {(row["activation"], row["depth"]): row for row in rows}


def test_activations_with_parameters(X: npt.NDArray[np.float64]) -> None:
    chosen: list[Any] = ["gelu", fastntk.activations.leaky_relu(0.3)]
    study = fastntk.depth_study(
        X, depths=[2], width=24, seeds=1, activations=chosen, dtype="float64", progress=False
    )
    assert [r.activation for r in study.results] == ["gelu", "leaky_relu(0.3)"]
    for result, phi in zip(study.results, chosen, strict=True):
        K = fastntk.MLP([6, 24, 24, 1], activation=phi).ntk(X)
        assert result.eigenvalue_max == pytest.approx(np.linalg.eigvalsh(K)[-1], rel=1e-9, abs=0)


def test_summary(X: npt.NDArray[np.float64]) -> None:
    study = fastntk.depth_study(X, depths=[0, 1], width=64, seeds=3, progress=False)
    summary = summary_of(study)
    cell = study.to_frame().query("activation == 'relu' and depth == 1")
    row = summary["relu", 1]
    assert row["smallest_angle"] == pytest.approx(cell["smallest_angle"].mean(), rel=1e-9, abs=0)
    assert row["condition_number_std"] == pytest.approx(
        cell["condition_number"].std(), rel=1e-9, abs=0
    )
    assert row["seeds"] == 3
    assert row["resolved"]
    linear = summary["identity", 1]
    assert not linear["resolved"]
    assert linear["rank"] == 6
    assert np.isnan(linear["condition_number"])


def test_summary_of_seeds_that_differ(X: npt.NDArray[np.float64]) -> None:
    study = fastntk.depth_study(
        X, depths=[1], width=4, seeds=3, activations=["relu"], progress=False
    )
    changes: list[dict[str, Any]] = [
        {"rank": 5, "i": 0, "j": 1, "resolved": True, "angle_resolved": True},
        {"rank": 2, "i": 4, "j": 7, "resolved": False, "angle_resolved": True},
        {"rank": 9, "i": 4, "j": 7, "resolved": True, "angle_resolved": False},
    ]
    results = [
        replace(result, noise_floor=floor, memory_bytes=size, **change)
        for result, change, floor, size in zip(
            study.results, changes, (2.0, 7.0, 3.0), (100, 200, 150), strict=True
        )
    ]
    (row,) = summary_of(replace(study, results=tuple(results))).values()
    assert (row["rank"], row["noise_floor"], row["memory_bytes"]) == (2, 7.0, 200)
    assert (row["pair"], row["pair_seeds"], row["seeds"]) == ((4, 7), 2, 3)
    assert not row["resolved"]
    assert not row["angle_resolved"]


def test_without_the_nonlinearity_nothing_changes_with_depth() -> None:
    X = np.random.default_rng(3).standard_normal((4, 40))
    study = fastntk.depth_study(X, depths=[0, 3], width=1024, seeds=4, progress=False)
    table = summary_of(study)
    flat = table["identity", 3]
    base = table["identity", 0]
    assert flat["smallest_angle"] == pytest.approx(base["smallest_angle"], rel=0.05, abs=0)
    assert flat["condition_number"] == pytest.approx(base["condition_number"], rel=0.3, abs=0)


def test_with_it_angles_grow_and_condition_numbers_fall(X: npt.NDArray[np.float64]) -> None:
    study = fastntk.depth_study(
        X, depths=[1, 2, 4], width=512, seeds=4, activations=["relu"], progress=False
    )
    summary = study.summary()
    assert summary["smallest_angle"].is_monotonic_increasing
    assert summary["condition_number"].is_monotonic_decreasing


@pytest.mark.parametrize("distance", [1e-5, 1e-9])
def test_small_angles_have_their_digits(distance: float) -> None:
    X = np.random.default_rng(5).standard_normal((20, 4))
    X[13] = X[6]
    X[13, 2] += distance
    study = fastntk.depth_study(
        X, depths=[0, 2], width=32, seeds=1, activations=["relu"], dtype="float64", progress=False
    )
    at_depth_0 = study.results[0]
    assert (at_depth_0.i, at_depth_0.j) == (6, 13)
    unit = X[6] / np.linalg.norm(X[6])
    across = X[13] - X[6] - unit * (unit @ (X[13] - X[6]))
    expected = np.degrees(np.linalg.norm(across) / np.linalg.norm(X[6]))
    assert at_depth_0.smallest_angle == pytest.approx(expected, rel=1e-15 / distance + 1e-5, abs=0)
    assert study.results[1].smallest_angle > 0
    assert (study.results[1].i, study.results[1].j) == (6, 13)


def test_duplicates_are_named_and_unresolved(X: npt.NDArray[np.float64]) -> None:
    X[12] = X[5]
    X[20] = 3.0 * X[7]
    with (
        pytest.warns(UserWarning, match=r"1 rows that repeat .*\(5, 12\)"),
        pytest.warns(UserWarning, match=r"1 rows that are a multiple .*\(7, 20\)"),
    ):
        study = fastntk.depth_study(X, depths=[0, 2], width=48, seeds=1, progress=False)
    for result in study.results:
        assert not result.resolved
        assert result.smallest_angle < 1e-5
        assert (result.i, result.j) in {(5, 12), (7, 20)}


def test_zero_rows_are_named_and_left_out_of_the_angles(X: npt.NDArray[np.float64]) -> None:
    expected = fastntk.depth_study(X[2:], depths=[1], width=48, seeds=1, progress=False)
    X[:2] = 0.0
    with pytest.warns(UserWarning, match=r"2 zero rows \(0, 1\)"):
        study = fastntk.depth_study(X, depths=[1], width=48, seeds=1, progress=False)
    for result, without in zip(study.results, expected.results, strict=True):
        assert not result.resolved
        assert result.rank <= 28
        assert result.smallest_angle == pytest.approx(without.smallest_angle, rel=1e-6, abs=0)
        assert (result.i, result.j) == (without.i + 2, without.j + 2)


def test_samples_without_a_gradient_are_left_out_of_the_angles() -> None:
    # With two units a layer, ReLU networks are dead for many samples.
    X = np.random.default_rng(0).standard_normal((12, 3))
    study = fastntk.depth_study(
        X, depths=[3], width=2, seeds=6, activations=["relu"], progress=False
    )
    silent = 0
    for result in study.results:
        K = fastntk.MLP([3, 2, 2, 2, 1], seed=result.seed).ntk(X)
        alive = np.flatnonzero(np.diagonal(K))
        silent += len(X) - len(alive)
        assert len(alive) < 2 or {result.i, result.j} <= set(alive.tolist())
        assert np.isnan(result.smallest_angle) == (len(alive) < 2)
    assert silent > 0


def test_a_single_row_with_a_gradient_has_no_angle() -> None:
    with pytest.warns(UserWarning, match="1 zero rows"):
        study = fastntk.depth_study(np.eye(2) * [1, 0], depths=[0], seeds=1, progress=False)
    assert np.isnan(study.results[0].smallest_angle)
    assert (study.results[0].i, study.results[0].j) == (-1, -1)


def test_little_memory_means_more_passes_and_the_same_results(
    X: npt.NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments: dict[str, Any] = {"depths": range(5), "width": 32, "seeds": 1, "dtype": "float64"}
    expected = fastntk.depth_study(X, progress=False, **arguments)
    monkeypatch.setattr(memory, "available_memory", lambda: 200_000)
    calls: list[tuple[int, ...]] = []
    whole = fastntk.ntk_depths

    def counted(X: npt.ArrayLike, depths: tuple[int, ...], **rest: Any) -> Any:
        calls.append(depths)
        return whole(X, depths, **rest)

    monkeypatch.setattr(families, "ntk_depths", counted)
    study = fastntk.depth_study(X, progress=False, **arguments)
    assert len(calls) > 2
    for result, other in zip(study.results, expected.results, strict=True):
        assert result.smallest_angle == pytest.approx(other.smallest_angle, rel=1e-9, abs=0)
        assert result.eigenvalue_max == pytest.approx(other.eigenvalue_max, rel=1e-12, abs=0)


def test_groups_of_depths() -> None:
    def needed(depths: Sequence[int]) -> int:
        return sum(depths)

    assert depth_groups(range(4), needed, None) == [(0, 1, 2, 3)]
    assert depth_groups(range(5), needed, 3) == [(0, 1, 2), (3,), (4,)]


def test_progress_is_reported_for_every_network(X: npt.NDArray[np.float64]) -> None:
    seen: list[tuple[str, int, int]] = []
    fastntk.depth_study(
        X, depths=[0, 1], width=8, seeds=2, progress=lambda *step: seen.append(step)
    )
    assert [done for _, done, _ in seen] == list(range(1, 9))
    assert {total for _, _, total in seen} == {8}


def test_save_is_complete_or_nothing(
    X: npt.NDArray[np.float64], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = fastntk.depth_study(X, depths=[0, 1], width=8, seeds=1, progress=False)
    target = tmp_path / "new" / "study.csv"
    study.save(target)
    pd.testing.assert_frame_equal(pd.read_csv(target), study.to_frame())
    before = target.read_bytes()

    to_csv = pd.DataFrame.to_csv

    def full_disk(self: pd.DataFrame, path: Path | None = None, **options: Any) -> str:
        if path is None:  # for the text, which is compared with what is there
            return str(to_csv(self, **options))
        path.write_text("half a ta")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full_disk)
    with pytest.raises(OSError, match="No space left"):
        study.save(target)
    assert target.read_bytes() == before
    assert [p.name for p in target.parent.iterdir()] == ["study.csv"]


def test_plot(X: npt.NDArray[np.float64]) -> None:
    study = fastntk.depth_study(X, depths=[0, 1, 2], width=64, seeds=2, progress=False)
    angle, kappa = study.plot()
    relu = angle.lines[0]
    means = study.summary().query("activation == 'relu'")["smallest_angle"]
    np.testing.assert_allclose(np.asarray(relu.get_ydata(), dtype=float), means)
    assert kappa.get_yscale() == "log"
    labels = kappa.get_legend_handles_labels()[1]
    assert {"linear network", "$\\lambda_\\mathrm{min}$ unresolved, κ above"} <= set(labels)


def test_several_widths(X: npt.NDArray[np.float64]) -> None:
    study = fastntk.depth_study(X, depths=[0, 2], width=[32, 16], seeds=2, progress=False)
    assert study.widths == (16, 32)
    alone = [
        fastntk.depth_study(X, depths=[0, 2], width=width, seeds=2, progress=False)
        for width in (16, 32)
    ]
    frame = study.to_frame().drop(columns=list(COSTS))
    for width, each in zip((16, 32), alone, strict=True):
        rows = frame[frame["width"] == width].reset_index(drop=True)
        pd.testing.assert_frame_equal(
            rows, each.to_frame().drop(columns=list(COSTS)), check_exact=True
        )
    assert study.summary()["width"].tolist() == [16, 16, 32, 32] * 2
    assert len(study.plot()[0].lines) > len(alone[0].plot()[0].lines)


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_weights_and_biases_are_those_of_the_network(
    X: npt.NDArray[np.float64], parametrization: str
) -> None:
    network: dict[str, Any] = {
        "weight_std": 1.3,
        "bias_std": 0.4,
        "parametrization": parametrization,
    }
    X[9] = X[3]
    X[9, 1] += 1e-7  # so close that the angle comes from the differences
    study = fastntk.depth_study(
        X, depths=[2], width=24, seeds=[5], dtype="float64", progress=False, **network
    )
    for result in study.results:
        net = fastntk.MLP([6, 24, 24, 1], activation=result.activation, seed=5, **network)
        K = net.ntk(X)
        assert result.eigenvalue_max == pytest.approx(np.linalg.eigvalsh(K)[-1], rel=1e-10, abs=0)
        pair = net.smallest_angle(X)
        assert (result.i, result.j) == (pair.i, pair.j) == (3, 9)
        assert result.smallest_angle == pytest.approx(np.degrees(pair.angle), rel=1e-9, abs=0)
        bound = fastntk.angle_bound(K, pair)
        assert result.eigenvalue_min_bound == pytest.approx(bound, rel=1e-9, abs=0)


def test_infinite_width_stands_beside_the_networks(X: npt.NDArray[np.float64]) -> None:
    X[9] = X[3]
    X[9, 1] += 1e-7
    settings: dict[str, Any] = {"weight_std": 1.2, "bias_std": 0.3, "activations": ["relu", "tanh"]}
    study = fastntk.depth_study(
        X, depths=[0, 1, 3], width=16, seeds=2, infinite=True, progress=False, **settings
    )
    frame = study.to_frame()
    limits = [r for r in study.results if r.width == np.inf]
    assert [(r.activation, r.depth, r.seed) for r in limits] == [
        (name, depth, -1) for name in ("relu", "tanh") for depth in (0, 1, 3)
    ]
    for result in limits:
        network: dict[str, Any] = {
            "activation": result.activation,
            "weight_std": 1.2,
            "bias_std": 0.3,
        }
        K = fastntk.infinite.ntk(X, depth=result.depth, **network)
        spectrum = fastntk.conditioning(K)
        assert result.resolved == spectrum.resolved
        assert result.eigenvalue_max == pytest.approx(spectrum.eigenvalue_max, rel=1e-12, abs=0)
        pair = fastntk.infinite.smallest_angle(X, result.depth, **network)
        assert (result.i, result.j) == (pair.i, pair.j)
        assert result.smallest_angle == pytest.approx(np.degrees(pair.angle), rel=1e-6, abs=0)
    without = fastntk.depth_study(
        X, depths=[0, 1, 3], width=16, seeds=2, progress=False, **settings
    )
    rest = frame[np.isfinite(frame["width"])].reset_index(drop=True)
    pd.testing.assert_frame_equal(
        rest.drop(columns=[*COSTS, "tolerance"]),  # that of infinite width
        without.to_frame().drop(columns=list(COSTS)),
        check_exact=True,
        check_dtype=False,  # infinite widths are floats
    )


def test_networks_approach_infinite_width() -> None:
    X = np.random.default_rng(2).standard_normal((20, 30))
    study = fastntk.depth_study(
        X, depths=[3], width=[64, 4096], seeds=2, activations=["relu"], infinite=True,
        progress=False,
    )  # fmt: skip
    narrow, wide, limit = study.summary()["condition_number"]
    assert abs(wide / limit - 1) < 0.1
    assert abs(wide - limit) < abs(narrow - limit)


def test_batches_are_those_of_the_kernel(X: npt.NDArray[np.float64]) -> None:
    study = fastntk.depth_study(
        X, depths=[0, 3], width=64, seeds=[4], dtype="float64", batches=8, infinite=True,
        progress=False,
    )  # fmt: skip
    for result in study.results:
        if result.width == np.inf:
            K = fastntk.infinite.ntk(X, depth=result.depth, activation=result.activation)
        else:
            net = fastntk.MLP([6, *[64] * result.depth, 1], activation=result.activation, seed=4)
            K = net.ntk(X)
        expected = fastntk.batch_conditioning(K, 8, seed=max(result.seed, 0))
        assert (result.batches, result.batches_resolved) == (3, expected.resolved)
        assert result.batch_condition_number == pytest.approx(
            expected.mean, rel=1e-9, nan_ok=True, abs=0
        )
        assert result.batch_spread == pytest.approx(expected.std, rel=1e-9, nan_ok=True, abs=0)
        if result.resolved:
            assert result.batch_condition_number < result.condition_number
    summary = study.summary()
    assert {"batch_condition_number", "batch_condition_number_std", "batch_spread"} <= set(summary)
    plain = fastntk.depth_study(X, depths=[1], width=8, seeds=1, progress=False)
    assert not any("batch" in column for column in (*plain.to_frame(), *plain.summary()))


def test_bounds_and_rates(X: npt.NDArray[np.float64]) -> None:
    frame = fastntk.depth_study(
        X, depths=range(4), width=64, seeds=3, infinite=True, progress=False
    ).to_frame()
    known = frame[frame["resolved"]]
    assert len(known) > 10
    assert (known["eigenvalue_min"] <= known["eigenvalue_min_bound"]).all()
    np.testing.assert_array_equal(known["worst_case_rate"], 1 - 1 / known["condition_number"])
    assert frame[~frame["resolved"]]["worst_case_rate"].isna().all()


def test_what_it_cost(X: npt.NDArray[np.float64], monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[float] = []
    whole = fastntk.ntk_depths

    def timed(*arguments: Any, **rest: Any) -> Any:
        started = time.perf_counter()
        result = whole(*arguments, **rest)
        passes.append(time.perf_counter() - started)
        return result

    monkeypatch.setattr(families, "ntk_depths", timed)
    study = fastntk.depth_study(
        X, depths=[0, 2, 5], width=32, seeds=1, activations=["relu"], progress=False
    )
    # One pass, shared out to the depths: deeper ones did more of it.
    assert len(passes) == 1
    seconds = [r.kernel_seconds for r in study.results]
    alone = [6 + 2 * depth * 32 + 1 for depth in (0, 2, 5)]
    assert seconds == pytest.approx(
        [sum(seconds) * work / sum(alone) for work in alone], rel=1e-9, abs=0
    )
    assert passes[0] <= sum(seconds) < study.seconds
    assert sum(r.kernel_seconds + r.analysis_seconds for r in study.results) < study.seconds
    assert {r.pass_depths for r in study.results} == {3}
    assert {(r.batches, r.batches_resolved) for r in study.results} == {(0, 0)}
    features = 30 * (6 + 32 * (5 + 0 + 2 + 5))
    assert {r.memory_bytes for r in study.results} == {8 * (features + 3 * 30 * 30 + 30 * 31 // 2)}


def test_limits_of_infinite_depth(X: npt.NDArray[np.float64]) -> None:
    def limits(X: npt.NDArray[np.float64], *names: Any, **rest: Any) -> fastntk.DepthStudy:
        chosen: list[Any] = list(names) or ["relu", "identity", "gelu"]
        return fastntk.depth_study(
            X, depths=[1, 2], width=16, seeds=1, activations=chosen, progress=False, **rest
        )

    plain = limits(X)
    assert plain.limit_activations == ("relu",)
    assert plain.limit_angle == pytest.approx(75.5225, abs=1e-4)
    assert np.isnan(plain.limit_condition_number)
    normalized = X / np.linalg.norm(X, axis=1, keepdims=True)
    assert limits(normalized).limit_condition_number == 11.0
    assert limits(normalized.astype(np.float32)).limit_condition_number == 11.0
    normalized[4] *= 1 + 1e-5
    assert np.isnan(limits(normalized).limit_condition_number)
    slopes = [fastntk.activations.leaky_relu(a) for a in (0.2, -0.3, 1.0, -1.0)]
    kinked = ("leaky_relu(0.2)", "leaky_relu(-0.3)")
    assert limits(X, *slopes).limit_activations == kinked
    abrelu = fastntk.activations.abrelu(0.0, 1.0)
    assert limits(X, abrelu, "abs").limit_activations == ("abrelu(0, 1)",)
    assert limits(X, bias_std=0.1).limit_activations == ()
    assert np.isnan(limits(X, bias_std=0.1).limit_angle)
    X[3] = X[8]
    with pytest.warns(UserWarning, match="repeat another"):
        assert limits(X).limit_activations == ()
    X[3] = 0
    with pytest.warns(UserWarning, match="zero rows"):
        assert limits(X).limit_activations == ()


def test_the_limits_are_approached() -> None:
    X = np.random.default_rng(0).standard_normal((9, 5))
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    study = fastntk.depth_study(
        X, depths=[10, 1000], width=1, seeds=1, activations=["relu"], infinite=True, progress=False
    )
    shallow, deep = (r for r in study.results if r.width == np.inf)
    assert shallow.smallest_angle < deep.smallest_angle < study.limit_angle
    assert deep.smallest_angle == pytest.approx(study.limit_angle, abs=1.0)
    assert deep.condition_number == pytest.approx(study.limit_condition_number, rel=0.02, abs=0)


def test_plot_of_everything(X: npt.NDArray[np.float64]) -> None:
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    study = fastntk.depth_study(
        X, depths=[1, 2, 3], width=[32, 64], seeds=2, activations=["relu", "gelu", "tanh", "silu",
        "erf"], infinite=True, batches=10, progress=False,
    )  # fmt: skip
    figure = figures.plot_depth_study(study)
    angle, kappa = figure.axes
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert len(labels) == len(set(labels)) == 5 * 2 + 2
    for axes, column in ((angle, "smallest_angle"), (kappa, "condition_number")):
        gelu = next(line for line in axes.lines if line.get_label() == "GELU, width 32")
        limit = study.to_frame().query("width == inf and activation == 'gelu'")
        (line,) = (
            line
            for line in axes.lines
            if (line.get_label(), line.get_color()) == ("infinite width", gelu.get_color())
        )
        np.testing.assert_array_equal(line.get_ydata(), limit[column])
        assert {"ReLU, width 32", "ReLU, width 64", "erf, width 64", "infinite width"} <= set(
            axes.get_legend_handles_labels()[1]
        )
        assert [text.get_text() for text in axes.texts] == ["ReLU:\ninfinite depth"]
    assert "κ of batches of 10" in labels
    drawn = [
        (line.get_color(), line.get_marker(), line.get_linestyle())
        for line in angle.lines
        if len(np.asarray(line.get_ydata())) == 3 and line.get_linestyle() in {"-", "--", ":"}
    ]
    # Five activations of two widths, and the five limits: each looks different.
    assert len(drawn) == len(set(drawn)) == 15
    assert any(set(np.asarray(line.get_ydata())) == {study.limit_angle} for line in angle.lines)


def test_numba_is_imported_for_infinite_width_only() -> None:
    program = (
        "import sys, numpy as np, fastntk\n"
        "X = np.random.default_rng(0).standard_normal((5, 3))\n"
        "def study(**rest):\n"
        "    fastntk.depth_study(X, depths=[1], width=4, seeds=1, progress=False, **rest)\n"
        "    print('numba' in sys.modules)\n"
        "study(batches=3)\n"
        "study(infinite=True)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert completed.stdout == "False\nTrue\n"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"depths": [-1]}, ValueError, r"depths\[0\]=-1: expected an integer of at least 0"),
        ({"depths": []}, ValueError, r"depths=\[\]: expected at least one"),
        ({"depths": [1.5]}, TypeError, r"depths\[0\]=1.5: expected an integer"),
        ({"depths": "3"}, TypeError, r"depths='3': expected a sequence"),
        ({"depths": 3}, TypeError, r"depths=3: expected a sequence"),
        ({"width": 0}, ValueError, "width=0: expected an integer of at least 1"),
        ({"seeds": 0}, ValueError, "seeds=0: expected an integer of at least 1"),
        ({"seeds": [-4]}, ValueError, r"seeds\[0\]=-4: expected"),
        ({"activations": ["relu", "swish"]}, ValueError, "activation='swish': expected one of"),
        ({"activations": ["relu", "relu"]}, ValueError, "each only once"),
        ({"activations": "relu"}, TypeError, "activations='relu': expected a sequence"),
        ({"dtype": "float16"}, ValueError, "dtype='float16': expected 'float32' or 'float64'"),
        ({"dtype": "nonsense"}, ValueError, "dtype='nonsense': expected"),
        ({"width": [8, 0]}, ValueError, r"width\[1\]=0: expected an integer of at least 1"),
        ({"width": []}, ValueError, r"width=\[\]: expected at least one"),
        ({"width": "8"}, TypeError, "width='8': expected an integer"),
        ({"weight_std": 0.0}, ValueError, r"weight_std=0\.0: expected a finite number above 0"),
        ({"bias_std": -1.0}, ValueError, r"bias_std=-1\.0: expected"),
        ({"parametrization": "mup"}, ValueError, "parametrization='mup': expected one of"),
        ({"batches": 1}, ValueError, "batches=1: expected an integer of at least 2"),
        (
            {"batches": 31},
            ValueError,
            "batches=31: expected an integer of at least 2 and at most 30",
        ),
        ({"batches": "all"}, TypeError, "batches='all': expected an integer"),
        ({"infinite": "yes"}, TypeError, "infinite='yes': expected True or False"),
        (
            {"infinite": True, "parametrization": "standard"},
            ValueError,
            "infinite=True with parametrization='standard': expected 'ntk'",
        ),
        ({"activations": ["sign"], "infinite": True}, ValueError, "sign"),
        (
            {"activations": [fastntk.activations.exp_normalized()]},
            ValueError,
            "expected one with a function and a derivative",
        ),
    ],
)
def test_bad_arguments(
    X: npt.NDArray[np.float64], arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fastntk.depth_study(X, progress=False, **arguments)


def test_bad_samples() -> None:
    with pytest.raises(ValueError, match=r"X has shape \(1, 3\): expected at least two samples"):
        fastntk.depth_study(np.ones((1, 3)), progress=False)
    with pytest.raises(ValueError, match=r"X\[1, 0\]=.*inf.*: expected numbers that are finite"):
        fastntk.depth_study([[1.0, 2.0], [np.inf, 1.0]], progress=False)


def test_bounds_of_the_condition_number() -> None:
    X = np.random.default_rng(3).standard_normal((40, 6))
    study = fastntk.depth_study(X, depths=[0, 3], width=64, seeds=1, bounds=True, progress=False)
    frame = study.to_frame()
    assert (frame.condition_number_lower <= frame.condition_number_upper).all()
    for result in study.results:
        if result.resolved:
            assert result.condition_number >= result.condition_number_lower
            assert result.condition_number <= result.condition_number_upper
        else:
            assert result.condition_number_upper == np.inf
    plain = fastntk.depth_study(X, depths=[3], width=64, seeds=1, progress=False)
    assert "condition_number_lower" not in plain.to_frame()
    with pytest.raises(TypeError, match="bounds=1: expected True or False"):
        fastntk.depth_study(X, bounds=1, progress=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bounds_hold_for_the_exact_kernel(dtype: str) -> None:
    X = np.random.default_rng(3).standard_normal((5, 4))
    X[1] = X[0] + 1e-6 * X[2]
    study = fastntk.depth_study(
        X,
        depths=[2, 4],
        width=32,
        seeds=2,
        dtype=dtype,
        activations=["tanh", "relu"],
        bounds=True,
        progress=False,
    )
    assert len(study.results) == 8
    for result in study.results:
        net = fastntk.MLP(
            [4, *[32] * result.depth, 1],
            seed=result.seed,
            activation=result.activation,
            dtype=dtype,
        )
        values = eigenvalues_of(exact_features(net, X.astype(dtype)))
        lower, upper = result.condition_number_lower, result.condition_number_upper
        assert lower <= values[-1] / values[0] <= upper
        if result.resolved:
            assert result.eigenvalue_min == pytest.approx(float(values[0]), rel=1.0, abs=0)
            assert upper < math.inf


# The scale of the literature on the edge of chaos, and of neural-tangents.
UNSCALED: Any = {"activation_scale": 1.0, "weight_std": 1.5, "bias_std": 0.3}


def test_kernels_of_depths_take_a_scale(X: npt.NDArray[np.float64]) -> None:
    kernels = fastntk.ntk_depths(X, [0, 2], width=24, activation="tanh", seed=3, **UNSCALED)
    for depth, K in kernels.items():
        net = fastntk.MLP([6, *[24] * depth, 1], activation="tanh", seed=3, **UNSCALED)
        np.testing.assert_allclose(K, net.ntk(X), rtol=1e-12)
    default = fastntk.ntk_depths(X, [2], width=24, activation="tanh", seed=3)[2]
    scale = fastntk.activations.get("tanh").scale
    given = fastntk.ntk_depths(X, [2], width=24, activation="tanh", activation_scale=scale, seed=3)
    np.testing.assert_array_equal(default, given[2])


def test_study_takes_a_scale_and_says_how_it_was_made(X: npt.NDArray[np.float64]) -> None:
    study = fastntk.depth_study(
        X,
        depths=[2],
        width=32,
        seeds=1,
        activations=["tanh", "gelu"],
        dtype="float32",
        infinite=True,
        progress=False,
        **UNSCALED,
    )
    frame = study.to_frame()
    assert frame.columns[-7:].tolist() == [
        *("activation_scale", "weight_std", "bias_std", "parametrization", "dtype"),
        *("samples", "tolerance"),
    ]
    for row in frame.to_dict("records"):
        assert (row["activation_scale"], row["weight_std"], row["bias_std"]) == (1.0, 1.5, 0.3)
        assert row["parametrization"] == "ntk"
        infinite = np.isinf(row["width"])
        assert row["dtype"] == ("float64" if infinite else "float32")
        if infinite:
            K = fastntk.infinite.ntk(X, depth=2, activation=row["activation"], **UNSCALED)
        else:
            net = fastntk.MLP(
                [6, 32, 32, 1], activation=row["activation"], dtype="float32", **UNSCALED
            )
            K = net.ntk(X, dtype="float64")
        assert row["eigenvalue_max"] == pytest.approx(np.linalg.eigvalsh(K)[-1], rel=1e-9, abs=0)
    default = fastntk.depth_study(
        X, depths=[0], width=8, seeds=1, activations=["tanh"], progress=False
    )
    assert default.to_frame().activation_scale.tolist() == [fastntk.activations.get("tanh").scale]


def test_stores_tell_scales_and_tolerances_apart(
    X: npt.NDArray[np.float64], tmp_path: Path
) -> None:
    fixed: dict[str, Any] = {
        "depths": [1],
        "width": 8,
        "seeds": 1,
        "activations": ["softplus"],
        "infinite": True,
        "store": tmp_path / "store.sqlite",
        "progress": False,
    }
    assert fastntk.depth_study(X, **fixed).stored == 0
    # The default by its value is the same network, but another key.
    others: list[dict[str, Any]] = [{"activation_scale": 1.0}, {"activation_scale": 2.0}]
    for other in others:
        assert fastntk.depth_study(X, **fixed, **other).stored == 0
        assert fastntk.depth_study(X, **fixed, **other).stored == 2
    # Only the network of infinite width has a tolerance.
    assert fastntk.depth_study(X, **fixed, tolerance=1e-6).stored == 1
    assert fastntk.depth_study(X, **fixed, tolerance=1e-10).stored == 2


@pytest.mark.parametrize("study", [True, False])
def test_bad_scales(X: npt.NDArray[np.float64], study: bool) -> None:
    function: Any = fastntk.depth_study if study else fastntk.ntk_depths
    for value in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="activation_scale="):
            function(X, depths=[1], activation_scale=value)


def test_tolerance_reaches_infinite_width(X: npt.NDArray[np.float64]) -> None:
    fixed: dict[str, Any] = {"depths": [1], "seeds": 1, "width": 8, "progress": False}
    with pytest.raises(ValueError, match=r"tolerance=0\.0: expected"):
        fastntk.depth_study(X, **fixed, tolerance=0.0)
    with pytest.raises(ValueError, match=r"tolerance=0\.001: expected 1e-10 with infinite=False"):
        fastntk.depth_study(X, **fixed, tolerance=1e-3)
    fixed |= {"activations": ["sigmoid"], "infinite": True}
    study = fastntk.depth_study(X, **fixed, tolerance=1e-3)
    strict = fastntk.depth_study(X, **fixed)
    lax_value, value = (s.to_frame().eigenvalue_max.iloc[-1] for s in (study, strict))
    assert lax_value == pytest.approx(value, rel=1e-2, abs=0)
    assert lax_value != value


def warned(X: npt.NDArray[np.float64], **settings: Any) -> list[str]:
    """Return the warnings of a study of a network of depth 1."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fastntk.depth_study(X, depths=[1], width=16, seeds=1, progress=False, **settings)
    return [str(each.message) for each in caught]


def test_samples_are_warned_of_where_they_make_kernels_singular() -> None:
    X = np.random.default_rng(0).standard_normal((8, 5))
    X[3], X[4], X[5] = 2 * X[2], 0.0, X[1]
    zero, repeated, multiple = warned(X)
    assert "1 zero rows (4): where networks have no biases" in zero
    assert "repeat another to 12 digits (rows (1, 5))" in repeated
    assert "multiple of another to 12 digits (rows (2, 3))" in multiple
    # Biases tell x from 2 x, and from 0: κ is finite, but for the repeated row.
    assert warned(X, bias_std=0.3) == [repeated]
    X[5] = 1.0
    study = fastntk.depth_study(
        X, depths=[1], width=64, seeds=1, activations=["relu"], bias_std=0.3, progress=False
    )
    assert study.results[0].resolved

    def mine(depth: int) -> fastntk.Network:
        return fastntk.Network([layers.Dense(9), layers.ReLU(), layers.Dense(1)], inputs=5)

    assert warned(X, bias_std=0.3, architecture=mine) == [zero, multiple]


def test_samples_that_float32_does_not_tell_apart_are_named() -> None:
    X = np.random.default_rng(0).standard_normal((8, 5))
    X[3], X[6] = X[2] * (1 + 1e-9), X[1] + 1e-10
    (message,) = warned(X, dtype="float32", bias_std=0.3)
    assert "repeat another in float32 (rows (2, 3), (1, 6))" in message
    assert "dtype='float64'" in message
    assert warned(X, dtype="float64", bias_std=0.3) == []
