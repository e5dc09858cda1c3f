# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Depth studies of networks with blocks, and the architectures that describe them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

import fastntk
from fastntk._support import memory
from fastntk.architectures import Architecture
from fastntk.layers import Dense, LayerNorm, ReLU, Residual, RMSNorm, Sign, Tanh
from fastntk.studies import described_families
from fastntk.studies.depth_results import COSTS

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("residual", "prenorm", "postnorm")
SMALL: dict[str, Any] = {"seeds": 2, "activations": ["relu"], "progress": False}


@pytest.fixture
def X() -> npt.NDArray[np.float64]:
    return np.random.default_rng(0).standard_normal((20, 6))


def numbers(study: fastntk.DepthStudy) -> pd.DataFrame:
    return study.to_frame().drop(columns=list(COSTS))


def spelled(kind: str, depth: int, width: int, alpha: float) -> fastntk.Network:
    """Return the network of a kind, layer by layer."""
    dense, norm = Dense(width, weight_std=1.25, bias_std=0.5), LayerNorm()
    layers: list[Any] = [] if kind == "plain" else [dense]
    for _ in range(depth):
        if kind == "plain":
            layers += [dense, Tanh(scale=1.5)]
        elif kind == "residual":
            layers += [Residual([dense, Tanh(scale=1.5), dense], scale=alpha)]
        elif kind == "prenorm":
            layers += [Residual([norm, dense, Tanh(scale=1.5), dense], scale=alpha)]
        else:
            layers += [Residual([dense, Tanh(scale=1.5), dense], scale=alpha), norm]
    if kind == "prenorm":
        layers += [norm]
    return fastntk.Network([*layers, Dense(2, weight_std=1.25, bias_std=0.5)], inputs=7)


@pytest.mark.parametrize("kind", ["plain", *KINDS])
@pytest.mark.parametrize("depth", [0, 1, 4])
def test_layers_of_architectures(kind: str, depth: int) -> None:
    settings: dict[str, Any] = {"width": 5, "outputs": 2, "weight_std": 1.25, "bias_std": 0.5}
    settings |= {"activation": "tanh", "activation_scale": 1.5}
    found = Architecture(kind).network(depth, 7, **settings)
    assert found == spelled(kind, depth, 5, 1.0)
    if kind != "plain":
        by_depth = Architecture(kind, residual_scale="1/sqrt(L)")
        assert by_depth.network(depth, 7, **settings) == spelled(
            kind, depth, 5, 1 / math.sqrt(max(depth, 1))
        )
        assert Architecture(kind, residual_scale=0.25).network(depth, 7, **settings) == spelled(
            kind, depth, 5, 0.25
        )


def test_labels_and_scales() -> None:
    by_depth = Architecture("postnorm", residual_scale="1/sqrt(L)")
    assert by_depth.label == "postnorm(1/sqrt(L))"
    assert by_depth.scale_at(25) == 0.2
    assert math.isnan(by_depth.scale_at(0))
    half = Architecture("residual", residual_scale=0.5)
    assert (half.label, half.scale_at(3)) == ("residual(0.5)", 0.5)
    assert math.isnan(Architecture("plain").scale_at(3))
    assert Architecture("residual", residual_scale=1).label == "residual"
    with pytest.raises(ValueError, match=r"residual_scale=0\.5: expected 1, because a plain"):
        Architecture("plain", residual_scale=0.5)
    with pytest.raises(ValueError, match="residual_scale='1/L': expected a number, or '1/sqrt"):
        Architecture("residual", residual_scale="1/L")
    with pytest.raises(ValueError, match="kind='resnet': expected one of 'plain', 'residual'"):
        Architecture("resnet")


def test_plain_networks_stay_as_they_are(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    """To the last bit, and beside others; their cells are those without an architecture."""
    common: dict[str, Any] = {"depths": [0, 2], "width": 8, "infinite": True, **SMALL}
    store = tmp_path / "cells.sqlite"
    alone = fastntk.depth_study(X, store=store, **common)
    named = fastntk.depth_study(X, architecture="plain", store=store, **common)
    assert (alone.stored, named.stored) == (0, 6)
    pd.testing.assert_frame_equal(numbers(named), numbers(alone), check_exact=True)
    assert "architecture" not in alone.to_frame()
    assert "architecture" not in alone.summary()
    both = fastntk.depth_study(X, architecture=["postnorm", "plain"], store=store, **common)
    assert both.stored == 6
    rows = numbers(both).query("architecture == 'plain'").reset_index(drop=True)
    assert rows["residual_scale"].isna().all()
    pd.testing.assert_frame_equal(
        rows.drop(columns=["architecture", "residual_scale"]), numbers(alone), check_exact=True
    )
    assert both.to_frame()["architecture"].tolist() == ["postnorm"] * 6 + ["plain"] * 6


@pytest.mark.parametrize("kind", KINDS)
def test_each_depth_is_that_of_its_own_network(X: npt.NDArray[np.float64], kind: str) -> None:
    X[9] = X[3]
    X[9, 1] += 1e-5  # so close that the angle comes from gradients of its own
    settings: dict[str, Any] = {"weight_std": 1.25, "bias_std": 0.25, "activation_scale": 1.5}
    scales: dict[str, float | str] = {"": 1.0, "(1/sqrt(L))": "1/sqrt(L)"}
    study = fastntk.depth_study(
        X, architecture=kind, residual_scale=list(scales.values()), depths=[0, 1, 3], width=8,
        infinite=True, dtype="float64", **settings, **SMALL,
    )  # fmt: skip
    assert [(r.architecture, r.width, r.depth, r.seed) for r in study.results] == [
        (kind + scale, width, depth, seed)
        for scale in scales
        for width, seeds in ((8, (0, 1)), (math.inf, (-1,)))
        for depth in (0, 1, 3)
        for seed in seeds
    ]
    for result in study.results:
        alpha: Any = scales[result.architecture.removeprefix(kind)]
        if result.depth == 0:
            assert math.isnan(result.residual_scale)
        else:
            expected = 1.0 if alpha == 1.0 else result.depth**-0.5
            assert result.residual_scale == pytest.approx(expected, rel=1e-15, abs=0)
        architecture = Architecture(kind, residual_scale=alpha)
        network = architecture.network(result.depth, 6, width=8, activation="relu", **settings)
        net: Any = network.infinite() if result.seed < 0 else network.sample(result.seed)
        K = net.ntk(X)
        largest = np.linalg.eigvalsh(K)[-1]
        assert result.eigenvalue_max == pytest.approx(largest, rel=1e-10, abs=0)
        pair = net.smallest_angle(X)
        assert (result.i, result.j) == (pair.i, pair.j) == (3, 9)
        assert result.smallest_angle == pytest.approx(np.degrees(pair.angle), rel=1e-9, abs=0)
        if result.seed < 0:
            found = net.conditioning(X)
            assert result.resolved == found.resolved
            assert result.noise_floor == pytest.approx(found.noise_floor, rel=1e-9, abs=0)


def test_depths_at_infinite_width_come_from_one_pass(
    X: npt.NDArray[np.float64], monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[Any] = []
    whole = described_families.InfiniteDescribedFamily.kernels

    def counted(self: Any, X: Any, depths: Any) -> Any:
        passes.append((self.architecture, tuple(depths)))
        return whole(self, X, depths)

    monkeypatch.setattr(described_families.InfiniteDescribedFamily, "kernels", counted)
    common: dict[str, Any] = {**SMALL, "width": 4, "seeds": 1, "infinite": True}
    study = fastntk.depth_study(
        X, architecture=KINDS, residual_scale=[1.0, "1/sqrt(L)"], depths=[0, 1, 2, 5], **common
    )
    together, each = [(0,), (1, 2, 5)], [(0,), (1,), (2,), (5,)]
    assert passes == [
        (kind + scale, depths)
        for kind in KINDS
        for scale, cut in (("", together), ("(1/sqrt(L))", each))
        for depths in cut
    ]
    frame = study.to_frame().query("width == inf")
    assert frame["pass_depths"].tolist() == [1, 3, 3, 3, 1, 1, 1, 1] * 3
    # The same bits as from passes of their own.
    for kind in KINDS:
        for depth in (1, 5):
            alone = fastntk.depth_study(X, architecture=kind, depths=[depth], **common)
            (result,) = (r for r in alone.results if r.seed < 0)
            (other,) = (
                r for r in study.results if (r.architecture, r.depth, r.seed) == (kind, depth, -1)
            )
            assert result.eigenvalue_max == other.eigenvalue_max
            assert result.eigenvalue_min == other.eigenvalue_min


def test_bounds(X: npt.NDArray[np.float64]) -> None:
    study = fastntk.depth_study(
        X, architecture=["plain", "prenorm"], depths=[2], width=64, infinite=True, bounds=True,
        **SMALL,
    )  # fmt: skip
    for result in study.results:
        assert result.resolved
        assert result.condition_number_lower <= result.condition_number
        assert result.condition_number <= result.condition_number_upper
        bounds = result.condition_number_lower, result.condition_number_upper
        assert math.isfinite(bounds[1])
        # As those of the kernel of the network itself.
        if result.architecture == "prenorm" and result.seed >= 0:
            net = Architecture("prenorm").network(2, 6, width=64).sample(result.seed, "float32")
            K = net.ntk(X, dtype="float64")
            error = net.astype("float64").feature_error
            found = fastntk.conditioning(K, feature_error=error)
            found = found.widened(**net.ntk_errors(X, dtype="float64"))
            assert found.bounds is not None
            expected = found.bounds.condition_number
            assert bounds == pytest.approx((expected.lower, expected.upper), rel=1e-9, abs=0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_depths_at_finite_width_come_from_one_pass(
    X: npt.NDArray[np.float64], dtype: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the bits of a network of each depth, however passes are cut; a store is gone on with."""
    passes: list[tuple[str, tuple[int, ...]]] = []
    whole = described_families.FiniteDescribedFamily.kernels

    def counted(self: Any, X: Any, depths: Any) -> Any:
        passes.append((self.architecture, tuple(depths)))
        kernels = whole(self, X, depths)
        for depth, kernel in kernels.items():
            alone = self.networks[depth].sample(self.seed, dtype).ntk(X, dtype="float64")
            np.testing.assert_array_equal(kernel, alone)
        return kernels

    monkeypatch.setattr(described_families.FiniteDescribedFamily, "kernels", counted)
    common: dict[str, Any] = {**SMALL, "seeds": 1, "width": 8, "dtype": dtype}
    kinds = [*KINDS, "mine"]
    common["architecture"] = [*KINDS, mine]
    study = fastntk.depth_study(X, depths=[0, 1, 2, 5], **common)
    together = [(0,), (1, 2, 5)]
    assert passes == [(kind, depths) for kind in kinds for depths in together]
    assert study.to_frame()["pass_depths"].tolist() == [1, 3, 3, 3] * 4
    store = tmp_path / "cells.sqlite"
    fastntk.depth_study(X, depths=[1, 5], store=store, **common)
    passes.clear()
    again = fastntk.depth_study(X, depths=[1, 2, 5], store=store, **common)
    assert again.stored == 8
    assert passes == [(kind, (2,)) for kind in kinds]
    expected = numbers(study).query("depth > 0").reset_index(drop=True)
    pd.testing.assert_frame_equal(numbers(again), expected, check_exact=True)
    # Passes of several depths take more memory than they may.
    monkeypatch.setattr(memory, "available_memory", lambda: 50_000)
    passes.clear()
    cut = fastntk.depth_study(X, depths=[0, 1, 2, 5], **common)
    assert passes == [(kind, (depth,)) for kind in kinds for depth in (0, 1, 2, 5)]
    pd.testing.assert_frame_equal(numbers(cut), numbers(study), check_exact=True)
    # Two depths may have the same network.
    monkeypatch.undo()
    twice = fastntk.depth_study(
        X, depths=[1, 2, 5], **common | {"architecture": lambda depth: mine(min(depth, 2))}
    )
    assert {r.pass_depths for r in twice.results} == {3}
    assert twice.results[1].eigenvalue_min == twice.results[2].eigenvalue_min


def test_the_noise_floor_is_the_rule_of_the_network(X: npt.NDArray[np.float64]) -> None:
    family = described_families.FiniteDescribedFamily(
        label="relu",
        called="x",
        networks={2: Architecture("postnorm").network(2, 6, width=8)},
        width=8,
        seed=0,
        dtype="float32",
    )
    net = family.networks[2].sample()
    gained = fastntk.Network([LayerNorm(gain=True), Dense(4), ReLU(), Dense(1)], inputs=6)
    other = described_families.FiniteDescribedFamily(
        label="relu", called="x", networks={1: gained}, width=4, seed=0, dtype="float32"
    )
    kernel: Any = None
    assert family.errors(X, 2, kernel) == {
        "feature_error": net.feature_error,
        "kernel_error": 0.0,
    }
    assert other.errors(X, 1, kernel)["feature_error"] == gained.sample().feature_error


def mine(depth: int) -> fastntk.Network:
    """Networks of a user."""
    block = Residual([RMSNorm(), Dense(9), Tanh(), Dense(9)], scale=0.5)
    return fastntk.Network([Dense(9), *[block] * depth, Dense(1)], inputs=6)


def test_networks_of_the_user(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    common: dict[str, Any] = {**SMALL, "width": [4, 8], "depths": [0, 2], "infinite": True}
    store = tmp_path / "cells.sqlite"
    study = fastntk.depth_study(X, architecture=["residual", mine], store=store, **common)
    assert study.own_architectures == ("mine",)
    assert study.widths == (4, 8, 9)
    frame = study.to_frame()
    rows = frame[frame["architecture"] == "mine"]
    assert rows["width"].tolist() == [9.0] * 4 + [math.inf] * 2
    assert set(rows["activation"]) == {"tanh"}
    assert rows["residual_scale"].isna().tolist() == [True, True, False, False, True, False]
    for name in ("activation_scale", "weight_std", "bias_std"):
        assert rows[name].isna().all()
        assert frame[frame["architecture"] == "residual"][name].notna().all()
    K = mine(2).sample(1, "float32").ntk(X, dtype="float64")
    (result,) = (r for r in study.results if (r.architecture, r.depth, r.seed) == ("mine", 2, 1))
    assert result.eigenvalue_max == pytest.approx(np.linalg.eigvalsh(K)[-1], rel=1e-10, abs=0)
    # Cells are known by the layers, whatever function returns them.
    other: Any = lambda depth: mine(depth)  # noqa: E731, PLW0108
    again = fastntk.depth_study(X, architecture=other, store=store, **common)
    assert again.stored == len(again.results) == 6
    assert {r.architecture for r in again.results} == {"<lambda>"}


def test_files_and_summary(X: npt.NDArray[np.float64], tmp_path: Path) -> None:
    study = fastntk.depth_study(
        X, architecture=["plain", "postnorm", mine], depths=[1, 2], width=8, infinite=True,
        data="X", **SMALL,
    )  # fmt: skip
    study.save(tmp_path / "study.npz")
    assert fastntk.DepthStudy.load(tmp_path / "study.npz") == study
    study.save(tmp_path / "study.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "study.csv"), study.to_frame())
    summary = study.summary()
    assert summary[["architecture", "width", "depth", "seeds"]].to_numpy().tolist() == [
        [kind, width, depth, seeds]
        for kind, own in (("plain", 8), ("postnorm", 8), ("mine", 9))
        for width, seeds in ((own, 2), (math.inf, 1))
        for depth in (1, 2)
    ]
    cell = study.to_frame().query("architecture == 'postnorm' and depth == 2 and width == 8")
    mean = summary.query("architecture == 'postnorm' and depth == 2 and width == 8")
    assert mean["smallest_angle"].item() == pytest.approx(
        cell["smallest_angle"].mean(), rel=1e-12, abs=0
    )
    assert repr(study).startswith("<DepthStudy: 18 networks, plain, postnorm, mine; relu, tanh; ")


def test_limits_of_infinite_depth_are_those_of_plain_networks(X: npt.NDArray[np.float64]) -> None:
    common: dict[str, Any] = {**SMALL, "depths": [1, 2], "width": 8}
    assert fastntk.depth_study(X, architecture="residual", **common).limit_activations == ()
    both = fastntk.depth_study(X, architecture=["residual", "plain"], **common)
    assert both.limit_activations == ("relu",)
    angle, _ = fastntk.figures.plot_depth_study(both).axes
    assert [text.get_text() for text in angle.texts] == ["plain, ReLU:\ninfinite depth"]


def test_figures_tell_architectures_apart(X: npt.NDArray[np.float64]) -> None:
    common: dict[str, Any] = {**SMALL, "depths": [1, 2, 3], "width": 8, "infinite": True}
    kinds: list[Any] = [
        "plain",
        "residual",
        Architecture("residual", residual_scale="1/sqrt(L)"),
        "postnorm",
    ]
    one = fastntk.depth_study(X, architecture=kinds, **common)
    figure = fastntk.figures.plot_depth_study(one)
    (legend,) = figure.legends
    labels = [text.get_text() for text in legend.get_texts()]
    assert set(labels) > {"plain", "infinite width", "residual", "residual(1/sqrt(L))", "postnorm"}
    drawn = [
        (line.get_color(), line.get_linestyle())
        for line in figure.axes[0].lines
        if len(np.asarray(line.get_ydata())) == 3 and line.get_linestyle() != "None"
    ]
    assert len(set(drawn)) == 8
    two = fastntk.depth_study(
        X, architecture=kinds[:2], **common | {"activations": ["relu", "tanh"], "infinite": False}
    )
    labels = fastntk.figures.plot_depth_study(two).axes[0].get_legend_handles_labels()[1]
    assert labels == ["plain, ReLU", "plain, tanh", "residual, ReLU", "residual, tanh"]
    # One depth: against the width.
    wide = fastntk.depth_study(
        X, architecture=["plain", "postnorm"], **common | {"depths": [2], "width": [4, 8]}
    )
    angle = fastntk.figures.plot_depth_study(wide).axes[0]
    assert angle.get_legend_handles_labels()[1] == ["plain", "postnorm"]
    assert {text.get_text() for text in angle.texts} == {
        f"{name}:\ninfinite width" for name in ("plain", "postnorm")
    }


def test_bad_architectures(X: npt.NDArray[np.float64]) -> None:
    def narrow(_: int) -> fastntk.Network:
        return fastntk.Network([Dense(4), Dense(2), Dense(4), Dense(1)], inputs=6)

    def study(**given: Any) -> None:
        fastntk.depth_study(X, depths=[1], width=4, **SMALL | given)

    for error, message, given in (
        (ValueError, r"architecture='res': expected one of 'plain'", {"architecture": "res"}),
        (TypeError, r"architecture\[1\]=5: expected one of .* or", {"architecture": ["plain", 5]}),
        (ValueError, r"architecture=\[\]: expected at least one", {"architecture": []}),
        (ValueError, "expected each only once", {"architecture": ["plain", "plain"]}),
        (ValueError, "expected each only once", {"architecture": [mine, mine]}),
        (ValueError, "residual_scale=0.5: expected 1, because no", {"residual_scale": 0.5}),
        (
            ValueError,
            r"residual_scale\[1\]=-1: expected a finite number of at least 0",
            {"architecture": "residual", "residual_scale": [1, -1]},
        ),
        (
            ValueError,
            "parametrization='standard' with architecture='residual': expected 'ntk'",
            {"architecture": "residual", "parametrization": "standard"},
        ),
        (
            TypeError,
            "architecture=<lambda>, at depth 1: 1: expected a function of the depth alone that ret",
            {"architecture": lambda depth: depth},
        ),
        (
            ValueError,
            "architecture=<lambda>, at depth 1: .*: expected inputs=6, the number of columns of X",
            {"architecture": lambda _: fastntk.Network([Dense(1)], inputs=5)},
        ),
        (
            ValueError,
            r"architecture=narrow, at depth 1: layers\[1\]=Dense\(2\): .* is a bottleneck",
            {"architecture": narrow, "infinite": True},
        ),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            study(**given)


def test_functions_that_fail_are_named_with_the_depth(X: npt.NDArray[np.float64]) -> None:
    def shallow(depth: int) -> fastntk.Network:
        return [fastntk.Network([Dense(4), Dense(1)], inputs=6)][depth - 1]

    def two(depth: int, width: int) -> fastntk.Network:
        return fastntk.Network([Dense(width)] * depth, inputs=6)

    def unfit(depth: int) -> fastntk.Network:
        return fastntk.Network([RMSNorm(), Dense(depth - 2)], inputs=6)

    def signs(depth: int) -> fastntk.Network:
        return fastntk.Network([*[Dense(4), Sign()] * depth, Dense(1)], inputs=6)

    expected = "; expected a function of the depth alone that returns a fastntk.Network"
    cases: list[tuple[Any, type[Exception], str]] = [
        (shallow, IndexError, "shallow, at depth 2: IndexError: list index out of range"),
        (two, TypeError, f"two, at depth 1: TypeError: {two.__qualname__}() missing 1 required"),
        (unfit, ValueError, "unfit, at depth 1: ValueError: width=-1: expected an integer"),
    ]
    for function, cause, words in cases:
        with pytest.raises((TypeError, ValueError)) as raised:
            fastntk.depth_study(X, architecture=["plain", function], depths=[1, 2], **SMALL)
        assert str(raised.value).startswith(f"architecture={words}")
        assert str(raised.value).endswith(expected)
        assert type(raised.value.__cause__) is cause
        assert isinstance(raised.value, TypeError) == (cause is TypeError)
    with pytest.raises(
        ValueError, match=r"^architecture=signs, at depth 1: layers\[1\]=Sign\(\): it "
    ):
        fastntk.depth_study(X, architecture=signs, depths=[1, 2], **SMALL)


def test_with_a_client_the_numbers_are_the_same(X: npt.NDArray[np.float64]) -> None:
    distributed = pytest.importorskip("distributed")
    common: dict[str, Any] = {**SMALL, "depths": [0, 1, 3], "width": 8, "infinite": True}
    common |= {"architecture": ["plain", "prenorm", mine], "residual_scale": [1.0, "1/sqrt(L)"]}
    here = fastntk.depth_study(X, **common)
    seen: list[tuple[int, int]] = []
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        there = fastntk.depth_study(
            X, client=client, **common | {"progress": lambda _, *counts: seen.append(counts)}
        )
    pd.testing.assert_frame_equal(numbers(there), numbers(here), check_exact=True)
    # Depth 1 has the same networks with both scales.
    assert seen[-1] == (len(here.results),) * 2
