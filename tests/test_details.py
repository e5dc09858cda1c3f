# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Details that no other test would notice, as seeded bugs have shown (`seed_bugs.py`)."""

from __future__ import annotations

import io
import itertools
import math
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk._support import arguments, files
from fastntk._support.npy import read_npy_header
from fastntk._support.rounding import UNIT, cholesky_error, gamma
from fastntk.activations import gaussian_nodes, label_of, names
from fastntk.eigenvalues.enclosures import largest_interval, smallest_lower
from fastntk.eigenvalues.result import Bounds, Interval
from fastntk.kernels import angles, error_bounds, planning
from fastntk.kernels.request import KernelRequest
from fastntk.networks.targets import targets
from fastntk.studies.store import StudyStore, key_of
from fastntk.symmetric.block_lanczos import RitzPairs
from fastntk.symmetric.cholesky import Cholesky, NotPositiveDefinite
from fastntk.symmetric.matrix import SymmetricMatrix

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(0)
X = RNG.standard_normal((12, 4))
NET = fastntk.MLP([4, 8, 3], bias_std=0.2)


def test_two_networks_make_a_standard_error() -> None:
    with pytest.raises(ValueError, match=r"seeds=\[3\]: expected at least two"):
        fastntk.monte_carlo_ntk(X, [4], seeds=[3])


def test_activations_of_the_paper_are_the_default_of_angle_curves() -> None:
    curves = fastntk.angle_curves([0.5])
    assert curves.activations == ("relu2", "gelu", "tanh")
    assert curves.depths == (1, 3, 6)


def test_numbers_may_be_arrays_without_axes() -> None:
    assert arguments.real(np.array(0.5), "x", minimum=0.0) == 0.5
    with pytest.raises(TypeError, match=r"x=\[0\.5\]"):
        arguments.real(np.array([0.5]), "x", minimum=0.0)


def test_a_long_double_beyond_float64_is_not_infinite() -> None:
    assert arguments.real(math.inf, "x", minimum=0.0, infinite=True) == math.inf
    assert arguments.real(np.longdouble("inf"), "x", minimum=0.0, infinite=True) == math.inf
    beyond = np.longdouble("1e400")
    if np.isfinite(beyond):  # not where long doubles are doubles
        with pytest.raises(ValueError, match="x is beyond the range of float64"):
            arguments.real(beyond, "x", minimum=0.0, infinite=True)


def test_nodes_are_fine_on_both_sides_of_a_breakpoint() -> None:
    nodes, weights = gaussian_nodes((0.0,))
    np.testing.assert_allclose(np.sort(-nodes), np.sort(nodes), atol=1e-13)
    # E √|u|, of which the two sides are a half each.
    expected = 2**0.25 * math.gamma(0.75) / math.sqrt(math.pi) / 2
    for side in (-1, 1):
        half = float(weights @ np.sqrt(np.maximum(side * nodes, 0)))
        assert half == pytest.approx(expected, rel=1e-9, abs=0)


class Spoiled:
    """A matrix of which the first decomposition fails and leaves nothing."""

    def __init__(self, survives: bool) -> None:
        self.survives_factoring = survives
        self.shifts: list[float] = []

    def decomposition_error(self, shift: float, **_: Any) -> float:  # noqa: ARG002
        return 1e-9

    def factor(self, shift: float, **_: Any) -> str:
        self.shifts.append(shift)
        if len(self.shifts) == 1:
            raise NotPositiveDefinite(0)
        return "factor"


def test_a_matrix_that_a_decomposition_has_spoiled_proves_nothing_more() -> None:
    kept: Any = Spoiled(survives=True)
    assert smallest_lower(kept, 1.0, 1e-6, known=0.0) == -kept.shifts[1] - 1e-9
    spoiled: Any = Spoiled(survives=False)
    assert smallest_lower(spoiled, 1.0, 1e-6, known=0.25) == 0.25
    assert len(spoiled.shifts) == 1


def test_rounding_errors_of_huge_sums() -> None:
    for n in (1, 10**6, 10**15):
        units = (n + 8) * UNIT
        assert gamma(n) == units / (1 - units)
        assert cholesky_error(n, -3.0) == pytest.approx(
            3 * units / (1 - 2 * units), rel=1e-12, abs=0
        )


def test_widened_bounds_of_an_indefinite_matrix_contain_what_they_should() -> None:
    bounds = Bounds(Interval(-2.0, -1.0), Interval(3.0, 4.0))
    wider = bounds.widened(feature_error=0.0, trace=1.0, kernel_error=0.5)
    assert wider.eigenvalue_min.lower <= -2.5
    assert -0.5 <= wider.eigenvalue_min.upper < -0.5 + 1e-12
    assert wider.eigenvalue_max.lower <= 2.5
    assert 4.5 <= wider.eigenvalue_max.upper < 4.5 + 1e-12
    roots = Bounds(Interval(4.0, 4.0), Interval(9.0, 9.0)).widened(0.5, 4.0, 0.0)
    # √λ moves by at most the relative error times √trace.
    assert roots.eigenvalue_min == pytest.approx((1.0, 9.0), rel=1e-9, abs=0)
    assert roots.eigenvalue_max == pytest.approx((4.0, 16.0), rel=1e-9, abs=0)


def test_zeros_have_ends_of_zero() -> None:
    result = fastntk.conditioning(np.zeros((3, 3)))
    assert result.bounds is not None
    assert result.bounds.eigenvalue_min == result.bounds.eigenvalue_max == (0.0, 0.0)
    assert not result.resolved


def test_what_an_operator_is_asked_for() -> None:
    operator = NET.ntk_operator(X)
    assert fastntk.conditioning(operator, method="operator").method == "operator"
    with pytest.raises(ValueError, match="method='dense': expected 'operator'"):
        fastntk.conditioning(operator, method="dense")


def test_signs_of_decompositions() -> None:
    K = SymmetricMatrix.made(np.eye(3)).array
    with pytest.raises(ValueError, match="sign=0: expected 1 or -1"):
        Cholesky.of(K, sign=0)
    # sign · A + shift · I.
    np.testing.assert_allclose(Cholesky.of(K, shift=3.0, sign=-1).solve(np.ones(3)), 0.5)


def advice(dtype: str, *, symmetric: bool, count: int) -> str:
    request: Any = SimpleNamespace(dtype=np.dtype(dtype), symmetric=symmetric, count=count)
    advice: Any = KernelRequest.advice
    return str(advice.fget(request))


def test_advice_where_memory_is_short() -> None:
    rest = ", write to a file (out=…) or use ntk_operator, ntk_tiles or smallest_angle"
    shorter, packed = " or dtype='float32'", ", keep half of it (out='packed')"
    fewer = "take fewer samples"
    assert advice("float64", symmetric=True, count=1) == fewer + shorter + packed + rest
    assert advice("float32", symmetric=True, count=1) == fewer + packed + rest
    assert advice("float32", symmetric=False, count=1) == fewer + rest
    assert advice("float32", symmetric=True, count=2) == fewer + rest


def test_targets_are_rows_of_samples() -> None:
    soft = np.full((12, 3), 1 / 3)
    result = targets(soft, "y", "cross_entropy", 12, 3, np.dtype(np.float64))
    np.testing.assert_array_equal(result, soft)
    with pytest.raises(ValueError, match=r"y has shape \(3, 12\): expected \(12,\) or \(12, 3\)"):
        targets(soft.T, "y", "cross_entropy", 12, 3, np.dtype(np.float64))


def test_a_file_is_filled_where_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_STEP", 7)
    monkeypatch.delattr("os.posix_fallocate")
    with (tmp_path / "f").open("w+b") as file:
        file.write(b"abc")
        files.reserve(file, 40)
    assert (tmp_path / "f").read_bytes() == b"abc" + bytes(37)


def stages(function: Any, *arguments: Any, **options: Any) -> list[str]:
    seen: list[str] = []
    function(*arguments, progress=lambda stage, *_: seen.append(stage), **options)
    return list(dict.fromkeys(seen))


def test_stages_of_progress() -> None:
    K = NET.ntk(RNG.standard_normal((300, 4)))
    found = stages(fastntk.conditioning, K, method="cholesky")
    assert any("λ_min" in stage.split() for stage in found), found
    assert any("λ_max" in stage.split() for stage in found), found
    # A kernel of a single block shows what the core does, others show the blocks.
    assert "blocks" not in stages(NET.ntk, X)


def test_losses_of_large_outputs() -> None:
    """−log softmax of f = (1000, −1000): 0 for the first class, 2000 for the second."""
    net = fastntk.MLP.from_weights([np.array([[1.0], [-1.0]])])
    for label, loss in ((0, 0.0), (1, 2000.0)):
        history = fastntk.train(net, [[1000.0]], [label], learning_rate=1e-9)
        assert history.loss[0] == pytest.approx(loss, rel=1e-12, abs=0)


def test_angles_of_a_report_are_in_degrees(tmp_path: Path) -> None:
    circle = np.array([[1.0, 0.0], [math.cos(0.5), math.sin(0.5)]])
    net = fastntk.MLP([2, 1])
    report = fastntk.kernel_report(net, circle, tmp_path, progress=False)
    assert report.closest_pair.angle == pytest.approx(0.5, rel=1e-9, abs=0)
    assert f"smallest angle  {math.degrees(0.5):.6g}°, samples 0 and 1" in str(report)


def test_labels_of_activations() -> None:
    labels = {name: label_of(name) for name in names()}
    assert labels == {
        "identity": "linear network",
        "relu": "ReLU",
        "leaky_relu": "leaky ReLU",
        "abrelu": "ABReLU",
        "abs": "|x|",
        "sign": "sign",
        "relu2": "ReLU²",
        "rectified_monomial": "ReLU²",
        "monomial": "x²",
        "hermite": "Hermite 2",
        "erf": "erf",
        "gelu": "GELU",
        "sin": "sin",
        "cos": "cos",
        "exp": "exp",
        "gaussian": "Gaussian",
        "rbf": "RBF",
        "gabor": "Gabor",
        "exp_normalized": "normalized Gaussian",
        "tanh": "tanh",
        "sigmoid": "sigmoid",
        "silu": "SiLU",
        "softplus": "softplus",
        "elu": "ELU",
        "selu": "SELU",
        "celu": "CELU",
        "mish": "mish",
        "gelu_tanh": "GELU (tanh)",
        "softsign": "softsign",
        "squareplus": "squareplus",
        "relu6": "ReLU6",
        "hardtanh": "hardtanh",
        "hardsigmoid": "hard sigmoid",
        "hardswish": "hard swish",
    }


def test_names_in_checkpoints(tmp_path: Path) -> None:
    """Checkpoints of older versions are read by these names."""
    path = tmp_path / "c.npz"
    labels = np.arange(12) % 3
    fastntk.train(NET, X, labels, learning_rate=0.1, momentum=0.5, checkpoint=path)
    with np.load(path) as archive:
        found = set(archive.files)
    arrays = {
        f"{what}_{layer}_{kind}"
        for what in ("trained", "velocity")
        for layer in (0, 1)
        for kind in ("weights", "bias")
    }
    assert found == arrays | {"header"}


def test_depths_in_any_order() -> None:
    """Sets of integers have an order of their own: 8 comes before 1."""
    options: dict[str, Any] = {"width": 4, "seeds": [8, 1], "progress": False}
    study = fastntk.depth_study(X, depths=[8, 1], activations=["relu"], **options)
    assert [(r.depth, r.seed) for r in study.results] == [(1, 1), (1, 8), (8, 1), (8, 8)]
    one = fastntk.depth_study(X, depths=[1], activations=["relu"], **options)
    assert [r.smallest_angle for r in one.results] == [
        r.smallest_angle for r in study.results if r.depth == 1
    ]


class Diagonal:
    """diag(3, 1), whose products may be off by 1e-12."""

    n, frobenius_norm, product_error, trace = 2, math.sqrt(10), 1e-12, 4.0

    def product(self, vectors: Any) -> Any:
        return np.diag([3.0, 1.0]) @ vectors


def test_errors_of_products_widen_both_sides_of_the_largest_eigenvalue() -> None:
    one = np.array([[1.0], [0.0]])
    exact: Any = Diagonal()
    found = largest_interval(exact, RitzPairs(np.array([3.0]), one, np.zeros(1)))
    # Eight times the error for a single vector, and some rounding.
    assert 8e-12 <= 3 - found.lower < 8.2e-12
    assert 8e-12 <= found.upper - 3 < 8.2e-12


def test_a_decomposition_in_place_of_what_is_negated() -> None:
    negative = np.array([[-4.0, -2.0], [-2.0, -5.0]])
    factor = Cholesky.of(negative.copy(), sign=-1, overwrite=True)
    np.testing.assert_allclose(factor.solve(np.array([6.0, 7.0])), [1.0, 1.0])
    factor = Cholesky.of(-negative, overwrite=True)
    np.testing.assert_allclose(factor.solve(np.array([6.0, 7.0])), [1.0, 1.0])


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "cells.sqlite"
    with StudyStore(path) as store:
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN EXCLUSIVE")
        with ThreadPoolExecutor(1) as pool:
            written = pool.submit(store_in_a_thread, path)
            time.sleep(0.2)
            assert not written.done()
            other.execute("COMMIT")
            assert written.result() == {"angle": 0.5}
        other.close()
        assert list(store.find([key_of({"depth": 1})]).values()) == [{"angle": 0.5}]


def store_in_a_thread(path: Path) -> Any:
    with StudyStore(path) as store:
        return store.add({"depth": 1}, {"angle": 0.5})


def test_a_masked_row_among_others() -> None:
    rows: Any = [
        [1.0, 2.0, 3.0, 4.0],
        np.ma.array([1.0, 2.0, 3.0, 4.0], mask=[False, True, False, False]),
    ]
    with pytest.raises(ValueError, match="masked"):
        NET.ntk(rows)


def test_arrays_with_long_headers() -> None:
    for version in ((1, 0), (2, 0)):
        file = io.BytesIO()
        np.lib.format.write_array(file, np.arange(6.0).reshape(2, 3), version=version)
        before = len(file.getvalue()) - 48
        file.seek(0)
        assert read_npy_header(file) == ((2, 3), np.dtype(np.float64), before)


def test_epochs_to_a_loss() -> None:
    study = fastntk.convergence_study(
        X,
        np.arange(12) % 2,
        [1],
        width=4,
        seeds=1,
        batch_size=4,
        epochs=4,
        rate_samples=4,
        rate_steps=9,
        progress=False,
    )
    result = replace(study.results[0], loss=np.array([3.0, 2.0, 1.0, 1.5]))
    assert [result.epochs_to(target) for target in (5.0, 3.0, 2.0, 1.2)] == [1, 1, 2, 3]
    assert math.isnan(result.epochs_to(0.5))


def test_a_thousand_times_the_loss_at_the_start_is_divergence() -> None:
    """The loss w²/2 of f(1) = w is multiplied by (1 − η)² in each step."""
    net = fastntk.MLP.from_weights([np.array([[1.0]])])
    for factor, status in ((900.0, "completed"), (1100.0, "diverged")):
        history = fastntk.train(
            net, [[1.0]], [0.0], loss="mse", learning_rate=1 + math.sqrt(factor), epochs=2
        )
        assert history.status == status
        np.testing.assert_allclose(history.loss, [0.5, 0.5 * factor])


def test_rates_that_were_tried_are_in_order() -> None:
    search = fastntk.find_learning_rate(NET, X, np.arange(12) % 3, epochs=1, grid=[0.5, 0.25, 1.0])
    assert search.to_frame().learning_rate.tolist() == [0.25, 0.5, 1.0]


def test_targets_of_rates_are_centred_and_scaled_in_float64() -> None:
    labels = np.arange(12) % 5 % 2
    study = fastntk.convergence_study(
        X,
        labels,
        [1],
        width=4,
        seeds=1,
        batch_size=4,
        epochs=1,
        rate_samples=11,
        rate_steps=9,
        progress=False,
    )
    rows = np.sort(np.random.default_rng(0).permutation(12)[:11])
    centred = labels[rows] - np.mean(labels[rows])
    net = fastntk.MLP([4, 4, 1])
    expected = fastntk.convergence_rate(
        net, X.astype(np.float32)[rows], centred / centred.std(), steps=9
    )
    assert study.results[0].rate.linear == expected.linear  # to the bit


def test_curves_of_held_out_samples() -> None:
    options: dict[str, Any] = {"width": 4, "seeds": 1, "batch_size": 4, "epochs": 2}
    options |= {"rate_samples": 4, "rate_steps": 9, "progress": False}
    labels = np.arange(12) % 2
    study = fastntk.convergence_study(X, labels, [1], test=(X, labels), **options)
    (result,) = study.results
    curves = study.curves()
    for name in ("test_loss", "test_accuracy"):
        np.testing.assert_array_equal(curves[name], getattr(result, name))


def test_parameters_of_activations_are_above_zero() -> None:
    for make in (fastntk.activations.rbf, fastntk.activations.gaussian):
        with pytest.raises(ValueError, match=r"=0\.0: expected a finite number"):
            make(0.0)


def test_the_rate_of_a_plan_counts_two_operations_a_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = itertools.count(0.0, 0.5)
    monkeypatch.setattr(planning, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(planning, "_CALIBRATION_SIZE", 8)
    assert planning._multiplication_rate.__wrapped__("float64") == 2 * 8**3 / 0.5


def test_matrices_whose_squares_stay_in_range() -> None:
    """Norms between 1e-120 and 1e120."""
    for scale, fits in ((0.9e120, True), (1.1e120, False), (1.1e-120, True), (0.9e-120, False)):
        K = np.diag([scale, 0.0])
        if fits:
            assert fastntk.conditioning(K).eigenvalue_max == pytest.approx(scale, rel=1e-9, abs=0)
        else:
            with pytest.raises(ValueError, match="expected between 1e-120 and 1e"):
                fastntk.conditioning(K)
    for K in (np.diag([1e308, 1e308]), np.full((600, 600), 1e308)):  # nor has their trace a sum
        for matrix in (K, fastntk.PackedKernel.from_dense(K)):
            with pytest.raises(ValueError, match="expected between 1e-120 and 1e"):
                fastntk.conditioning(matrix)


def test_spectra_of_the_same_sizes() -> None:
    for scale in (1e-121, 1e121, 1e308):  # eigenvalues of the last one are beyond float64
        for matrix in (K := np.full((4, 4), scale), fastntk.PackedKernel.from_dense(K)):
            with pytest.raises(ValueError, match=r"K has entries .*expected between 1e-120 and 1e"):
                fastntk.spectrum(matrix)
    for scale in (0.0, 1e-119, 1e119):
        assert fastntk.spectrum(np.full((4, 4), scale))[-1] == pytest.approx(4 * scale, rel=1e-14)


def test_paths_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match="store=5"):
        fastntk.convergence_study(X, np.arange(12) % 2, [1], batch_size=4, store=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="store=5"):
        fastntk.depth_study(X, store=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="checkpoint=5"):
        fastntk.train(NET, X, np.arange(12) % 3, learning_rate=0.1, checkpoint=5)  # type: ignore[arg-type]


def test_seeds_of_depths_have_128_bits() -> None:
    first, second = np.random.SeedSequence(3, spawn_key=(2,)).generate_state(2, np.uint64).tolist()
    assert fastntk.depth_sweep.independent_seed(3, 2) == first * 2**64 + second


def test_rooms_are_found_when_they_are_first_asked_for() -> None:
    program = "import fastntk; print(fastntk.info.describe.__module__, fastntk.training.__name__)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.split() == ["fastntk.info", "fastntk.training"]
    program = "import fastntk\nfor name in dir(fastntk): print(name, getattr(fastntk, name))"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.count("\n") > 40


def test_features_that_are_rounded_to_another_precision_carry_its_errors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of features with norms 1 and errors 0.1 as they are, and once they are rounded to float32."""
    analysis = SimpleNamespace(
        of_features=lambda rows, _: (np.full(len(rows), 0.1), np.ones(len(rows)))
    )
    monkeypatch.setattr(error_bounds, "analysis_of", lambda _: analysis)
    # Sums over 8 inputs of a map, over 3 outputs of 8 units, over 2 layers and a few steps more; of
    # float32, in six parts.
    terms = 8 + 3 * 8 + 2 + 8
    for dtype, error, rounding in (
        ("float64", 0.1, gamma(terms, 2.0**-53)),
        ("float32", 0.1 + 3 * 2.0**-24 * 1.2, gamma(6 * terms, 2.0**-24)),
    ):
        found = error_bounds.kernel_errors(NET._network, X, range(3), np.dtype(dtype))
        expected = error / (1 - 2 * error) * (1 + 1e-6) / (1 - rounding)
        assert found["feature_error"] == pytest.approx(expected, rel=1e-9, abs=0)


def test_precision_of_given_weights() -> None:
    single: Any = np.ones((2, 3), np.float32)
    double: Any = np.ones((1, 2))
    weights: Any
    for weights, dtype, expected in (
        ([single, double], None, np.float64),
        ([single, double.astype(np.float32)], None, np.float32),
        ([single, double], "float32", np.float32),
        ([single], "float64", np.float64),
    ):
        net = fastntk.MLP.from_weights(weights, dtype=dtype)
        assert net.dtype == expected
        assert {w.dtype for w in net.weights} == {np.dtype(expected)}


def test_folders_are_made_with_all_above_them(tmp_path: Path) -> None:
    files.make_folder(tmp_path / "a" / "b" / "c", "directory")
    files.make_folder(tmp_path / "a" / "b" / "c", "directory")
    assert (tmp_path / "a" / "b" / "c").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="directory: "):
        files.make_folder(tmp_path / "file" / "d", "directory")


def test_batches_in_words() -> None:
    batches = fastntk.batch_conditioning(np.diag([1.0, 2.0, 4.0, 8.0, 16.0]), batch_size=2, seed=1)
    kappa = [batch.condition_number for batch in batches.batches]
    assert str(batches) == (
        f"κ = {np.mean(kappa):.6g} ± {batches.std:.2g} over {len(kappa)} batches of "
        f"{' or '.join(map(str, sorted({len(rows) for rows in batches.samples})))} samples, "
        f"{len(kappa)} of them resolved"
    )


def test_networks_that_do_not_learn_have_no_rate() -> None:
    weights = [-np.ones((3, 2)), np.ones((1, 3))]
    net = fastntk.MLP.from_weights(weights, activation="relu")
    with pytest.raises(ValueError, match="net has gradients of 0 at all samples"):
        fastntk.convergence_rate(net, np.ones((4, 2)), np.ones(4))


def test_samples_without_gradients_have_no_resolved_angle() -> None:
    alone = np.zeros((3, 4))
    alone[1] = 1.0
    with pytest.warns(UserWarning, match=r"2 zero rows \(0, 2\)"):
        frame = fastntk.depth_study(alone, depths=[0, 1], width=8).to_frame()
    assert frame["smallest_angle"].isna().all()
    assert (frame["i"] == -1).all()
    assert not frame["angle_resolved"].any()


def test_the_closest_of_pairs_that_the_kernel_cannot_tell_apart() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.standard_normal((2, 4))
    samples = np.array([first, first, second, second])
    samples[[1, 3], 0] += 1e-11, 1e-10
    frame = fastntk.depth_study(samples, depths=[2], width=32, dtype="float64").to_frame()
    assert set(zip(frame["i"], frame["j"], strict=True)) == {(0, 1)}


def test_rows_of_large_kernels_are_looked_at_in_blocks() -> None:
    blocks = list(angles._row_slices(5000))
    assert [block.start for block in blocks[1:]] == [block.stop for block in blocks[:-1]]
    assert (blocks[0].start, blocks[-1].stop) == (0, 5000)
    assert max(block.stop - block.start for block in blocks) * 5000 <= 2**21
