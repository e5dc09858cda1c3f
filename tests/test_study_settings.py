# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Studies take the scale c_φ of activations, hand it to every network, and say how they were made.

With c_φ = 1, σ_w is that of the literature on the edge of chaos and of neural-tangents.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tolerances import assert_close

import fastntk
from fastntk import infinite

if TYPE_CHECKING:
    from pathlib import Path

X = np.random.default_rng(0).standard_normal((24, 4))
LABELS = (X[:, 0] > 0).astype(int)
TANH = fastntk.activations.get("tanh").scale


def test_monte_carlo() -> None:
    settings: Any = {"activation": "tanh", "weight_std": 1.5, "bias_std": 0.3}
    result = fastntk.monte_carlo_ntk(
        X[:3], [8, 16], seeds=[3, 7], depth=2, activation_scale=1.0, **settings
    )
    kernels = [
        fastntk.MLP([4, 8, 8, 1], seed=seed, activation_scale=1.0, **settings).ntk(X[:3])
        for seed in (3, 7)
    ]
    assert_close(result.mean[0], np.mean(kernels, axis=0), "float64")
    limit = infinite.ntk(X[:3], depth=2, activation_scale=1.0, **settings)
    assert_close(result.limit, limit, "float64")
    default = fastntk.monte_carlo_ntk(X[:3], [8], seeds=2, depth=2, **settings)
    for each, scale in ((result, 1.0), (default, TANH)):
        assert (each.depth, each.activation.name, each.activation_scale) == (2, "tanh", scale)
        assert (each.weight_std, each.bias_std) == (1.5, 0.3)


@pytest.mark.parametrize("power", [-500, 500])
def test_fluctuations_of_samples_of_any_size(power: int) -> None:
    """The kernels of ReLU networks scale with the squares of samples, exactly by powers of two."""
    usual = fastntk.monte_carlo_ntk(X[:4], [8, 16], seeds=3)
    scaled = fastntk.monte_carlo_ntk(np.ldexp(X[:4], power), [8, 16], seeds=3)
    for name in ("mean", "standard_error"):
        expected = np.ldexp(getattr(usual, name), 2 * power)
        np.testing.assert_array_equal(getattr(scaled, name), expected)
    assert scaled.rate == pytest.approx(usual.rate, rel=1e-12, abs=0)
    wanted, found = usual.to_frame(), scaled.to_frame()
    for column in ("fluctuation", "mean_error"):
        np.testing.assert_allclose(found[column], wanted[column], rtol=1e-14)


def test_fluctuations_of_samples_of_different_sizes() -> None:
    sizes = np.array([-500, 0, 500, 3])
    usual = fastntk.monte_carlo_ntk(X[:4], [8], seeds=5)
    scaled = fastntk.monte_carlo_ntk(np.ldexp(X[:4], sizes[:, np.newaxis]), [8], seeds=5)
    kernels = np.array([fastntk.MLP([4, 8, 8, 8, 1], seed=seed).ntk(X[:4]) for seed in range(5)])
    error = kernels.std(axis=0, ddof=1) / np.sqrt(5)
    np.testing.assert_allclose(usual.standard_error[0], error, rtol=1e-12)
    expected = np.ldexp(error, np.add.outer(sizes, sizes))
    np.testing.assert_allclose(scaled.standard_error[0], expected, rtol=1e-12)


def test_kernels_without_hidden_layers_do_not_fluctuate() -> None:
    result = fastntk.monte_carlo_ntk(X[:3], [8, 16], seeds=2, depth=0)
    assert not result.standard_error.any()
    assert np.isnan(result.rate)
    assert "rate nan" in repr(result)
    result.plot()


def test_tolerance_of_limits() -> None:
    steep: Any = {"activation": "sigmoid", "weight_std": 3.0}
    lax = fastntk.monte_carlo_ntk(X[:3], [4], seeds=2, tolerance=1e-3, **steep)
    np.testing.assert_array_equal(lax.limit, infinite.ntk(X[:3], tolerance=1e-3, **steep))
    curves = fastntk.angle_curves([0.5, 1.0], [2], ["sigmoid"], tolerance=1e-3)
    net = infinite.Network([2], "sigmoid", tolerance=1e-3)
    expected = net.gradient_angle([0.5, 1.0], bounds=True)
    np.testing.assert_array_equal(curves.infinite[0], expected.angle)
    np.testing.assert_array_equal(curves.resolved[0], expected.resolved)
    for function in (
        lambda: fastntk.monte_carlo_ntk(X, [4], 2, tolerance=-1.0),
        lambda: fastntk.angle_curves([0.5], tolerance=-1.0),
    ):
        with pytest.raises(ValueError, match=r"tolerance=-1\.0: expected"):
            function()


def test_angle_curves() -> None:
    theta = np.array([0.2, 1.0])
    scaled = fastntk.angle_curves(
        theta, [2], ["tanh", "relu"], activation_scale=1.0, width=512, seeds=6
    )
    for i, name in enumerate(("tanh", "relu")):
        expected = infinite.gradient_angle(theta, [2], name, activation_scale=1.0)
        np.testing.assert_array_equal(scaled.infinite[i], expected)
    assert scaled.mean is not None
    np.testing.assert_allclose(scaled.mean, scaled.infinite, atol=0.05)
    assert scaled.to_frame().activation_scale.tolist() == [1.0] * 4
    default = fastntk.angle_curves(theta, [2], ["tanh", "relu"])
    assert default.to_frame().activation_scale.tolist() == [TANH] * 2 + [2**0.5] * 2
    assert abs(default.infinite[0] - scaled.infinite[0]).max() > 1e-3


def test_angle_curves_of_activations_with_parameters() -> None:
    phi = fastntk.activations.leaky_relu(0.2)
    curves = fastntk.angle_curves([0.5], [1], [phi, "relu"])
    assert curves.activations == ("leaky_relu(0.2)", "relu")
    assert curves.to_frame().activation.tolist() == ["leaky_relu(0.2)", "relu"]
    np.testing.assert_array_equal(curves.infinite[0], infinite.gradient_angle([0.5], [1], phi))
    assert curves.plot(panel="leaky_relu(0.2)").get_title() == "leaky_relu(0.2)"


def test_convergence(tmp_path: Path) -> None:
    fixed: dict[str, Any] = {
        "width": 16,
        "seeds": 1,
        "activation": "tanh",
        "batch_size": 8,
        "epochs": 2,
        "rate_samples": 5,
        "rate_steps": 20,
        "store": tmp_path / "store.sqlite",
        "progress": False,
    }
    default = fastntk.convergence_study(X, LABELS, [1], **fixed).to_frame()
    scaled = fastntk.convergence_study(X, LABELS, [1], activation_scale=1.0, **fixed).to_frame()
    for frame, scale in ((default, TANH), (scaled, 1.0)):
        net = fastntk.MLP([4, 16, 1], activation="tanh", activation_scale=scale)
        rows = np.sort(np.random.default_rng(0).permutation(len(X))[:5])
        expected = fastntk.conditioning(net.ntk(X[rows])).eigenvalue_max
        # From the store of both, which has to tell them apart.
        assert frame.eigenvalue_max[0] == pytest.approx(
            expected, rel=1e-5, abs=0
        )  # float32 samples
        assert frame.activation_scale.tolist() == [scale]
        assert frame.iloc[0][["activation", "dtype", "width"]].tolist() == ["tanh", "float32", 16]
    assert default.final_loss[0] != scaled.final_loss[0]


def test_linearization() -> None:
    fixed: dict[str, Any] = {"activation": "tanh", "seeds": 1, "steps": 3, "learning_rate": 0.1}
    scaled = fastntk.linearization_error(X, X[:, 0], [8], activation_scale=1.0, **fixed)
    default = fastntk.linearization_error(X, X[:, 0], [8], **fixed)
    given = fastntk.linearization_error(X, X[:, 0], [8], activation_scale=TANH, **fixed)
    assert default.results == given.results != scaled.results
    row = scaled.to_frame().iloc[0]
    names = ["depth", "learning_rate", "activation", "activation_scale", "bias_std"]
    assert row[names].tolist() == [2, 0.1, "tanh", 1.0, 0.0]


@pytest.mark.parametrize(
    "function",
    [
        lambda scale: fastntk.monte_carlo_ntk(X, [4], 2, activation_scale=scale),
        lambda scale: fastntk.angle_curves([0.5], activation_scale=scale),
        lambda scale: fastntk.convergence_study(
            X, LABELS, [1], batch_size=8, activation_scale=scale
        ),
        lambda scale: fastntk.linearization_error(X, X[:, 0], [4], activation_scale=scale),
    ],
)
def test_bad_scales(function: Any) -> None:
    with pytest.raises(ValueError, match=r"activation_scale=0\.0: expected"):
        function(0.0)


def test_networks_show_how_they_are_scaled(tmp_path: Path) -> None:
    net = fastntk.MLP(
        [3, 4, 5, 1], activation="tanh", activation_scale=1.0, weight_std=2**0.5, bias_std=0.1
    )
    shown = "activation_scale=1, weight_std=1.41421, bias_std=0.1, parametrization='ntk'"
    assert shown in repr(net)
    net.save(tmp_path / "net.npz")
    assert repr(fastntk.MLP.load(tmp_path / "net.npz")) == repr(net)
    assert shown in repr(net.astype("float32"))
    standard = fastntk.MLP([3, 4, 1], weight_std=2.0, parametrization="standard")
    assert "activation_scale=1.41421, parametrization='standard', dtype" in repr(standard)
    given = fastntk.MLP.from_weights(net.weights, net.biases, weight_std=3.0, bias_std=0.5)
    assert "weight_std=3, bias_std=0.5" in repr(given)


@pytest.mark.parametrize(
    "study",
    [
        lambda **given: fastntk.monte_carlo_ntk(np.eye(3), [8], **given),
        lambda **given: fastntk.linearization_error(np.eye(3), np.ones(3), [8], **given),
        lambda **given: fastntk.depth_study(np.eye(3), depths=[1], **given),
    ],
)
def test_no_seed_counts_twice(study: Any) -> None:
    """The spread over seeds would be that of fewer networks."""
    with pytest.raises(ValueError, match=r"seeds=\[2, 1, 2\]: expected each seed only once"):
        study(seeds=[2, 1, 2])


def test_no_width_counts_twice() -> None:
    """The same networks again are no other networks: errors of fits would be too small."""
    X = np.random.default_rng(0).standard_normal((5, 3))
    for once, twice in (
        [fastntk.monte_carlo_ntk(X, widths, 3, depth=1) for widths in ([16, 8], [16, 8, 16])],
        [
            fastntk.linearization_error(X, X[:, 0], widths, seeds=2, steps=3)
            for widths in ([4, 8, 16], [4, 8, 4, 16, 8])
        ],
    ):
        assert twice.to_frame().equals(once.to_frame())
