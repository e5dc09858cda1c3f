# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Predictions against explicit inverses, gradient descent, ensembles and scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.linalg import cho_factor, expm, lapack
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, WhiteKernel
from sklearn.kernel_ridge import KernelRidge
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits
from tolerances import assert_close

import fastntk
from fastntk import infinite
from fastntk.infinite.kernel_system import KernelSystem

generator = np.random.default_rng(0)
X = generator.standard_normal((15, 4))
Z = generator.standard_normal((6, 4))
Y = generator.standard_normal((15, 2))


@pytest.mark.parametrize("ridge", [0.0, 0.3])
@pytest.mark.parametrize("time", [0.0, 3.0, 200.0, np.inf])
@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
def test_against_explicit_formulas(kernel: str, time: float, ridge: float) -> None:
    arguments: dict[str, Any] = {"depth": 2, "activation": "erf", "bias_std": 0.2}
    function = getattr(infinite, kernel)
    theta = function(X, **arguments) + ridge * np.eye(15)
    decay = expm(-theta * time / 15) if time < np.inf else np.zeros_like(theta)
    filtered = np.linalg.inv(theta) @ (np.eye(15) - decay)
    weights = function(Z, X, **arguments) @ filtered
    prior = infinite.nngp(X, **arguments) + ridge * np.eye(15) * (kernel == "nngp")
    cross = infinite.nngp(Z, X, **arguments)
    covariance = infinite.nngp(Z, **arguments) + weights @ prior @ weights.T
    covariance -= weights @ cross.T + cross @ weights.T
    found = infinite.predict(
        X, Y, Z, kernel=kernel, ridge=ridge, time=time, covariance=True, **arguments
    )
    np.testing.assert_allclose(found.mean, weights @ Y, rtol=1e-8, atol=1e-10)
    assert found.covariance is not None
    np.testing.assert_allclose(found.covariance, covariance, rtol=1e-8, atol=1e-10)
    alone = infinite.predict(X, Y[:, 0], Z, kernel=kernel, ridge=ridge, time=time, **arguments)
    assert alone.covariance is None
    np.testing.assert_allclose(alone.mean, found.mean[:, 0], rtol=1e-9, atol=1e-12)


def test_posterior_of_the_gaussian_process() -> None:
    ridge = 0.1
    found = infinite.predict(X, Y, Z, kernel="nngp", ridge=ridge, covariance=True)
    K, cross = infinite.nngp(X) + ridge * np.eye(15), infinite.nngp(Z, X)
    expected = infinite.nngp(Z) - cross @ np.linalg.solve(K, cross.T)
    assert found.covariance is not None
    np.testing.assert_allclose(found.covariance, expected, atol=1e-10)
    model = GaussianProcessRegressor(infinite.NeuralKernel(), alpha=ridge, optimizer=None)
    mean, covariance = model.fit(X, Y[:, 0]).predict(Z, return_cov=True)
    np.testing.assert_allclose(found.mean[:, 0], mean, atol=1e-10)
    np.testing.assert_allclose(found.covariance, covariance, atol=1e-10)


def test_interpolation_and_small_steps_of_gradient_descent() -> None:
    regression = infinite.Regression(X, depth=1)
    np.testing.assert_allclose(regression.predict(X, Y).mean, Y, atol=1e-8)
    assert_close(regression.predict(X, Y, time=1e12).mean, Y, "float32")
    theta, f = infinite.ntk(X, depth=1), np.zeros_like(Y)
    for _ in range(4000):
        f -= 0.005 / 15 * theta @ (f - Y)
    np.testing.assert_allclose(regression.predict(X, Y, time=20.0).mean, f, atol=2e-3)


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_steps_of_gradient_descent(ridge: float) -> None:
    regression = infinite.Regression(X, depth=1, ridge=ridge)
    theta, cross = infinite.ntk(X, depth=1), infinite.ntk(Z, X, depth=1)
    coefficients = np.zeros_like(Y)
    for _ in range(30):
        coefficients -= 0.2 / 15 * ((theta + ridge * np.eye(15)) @ coefficients - Y)
    found = regression.predict(Z, Y, steps=30, learning_rate=0.2, covariance=True)
    np.testing.assert_allclose(found.mean, cross @ coefficients, rtol=1e-9)
    flow = regression.predict(Z, Y, time=6.0)
    small = infinite.predict(
        X, Y, Z, depth=1, ridge=ridge, steps=60_000, learning_rate=1e-4, covariance=True
    )
    np.testing.assert_allclose(small.mean, flow.mean, atol=1e-3)
    with pytest.raises(TypeError, match="steps=3, learning_rate=None: expected a time, or steps"):
        regression.predict(Z, Y, steps=3)
    with pytest.raises(TypeError, match=r"time=1\.0, steps=3, learning_rate=0\.1: expected a time"):
        regression.predict(Z, Y, time=1.0, steps=3, learning_rate=0.1)
    with pytest.raises(ValueError, match=r"steps=1\.5: expected whole numbers"):
        regression.predict(Z, Y, steps=1.5, learning_rate=0.1)


@pytest.mark.parametrize("covariance", [False, True])
def test_arrays_of_times_and_steps(covariance: bool) -> None:
    regression = infinite.Regression(X, depth=1)
    times = np.array([[0.0, 2.0], [50.0, np.inf]])
    steps = np.array([0, 3, 10, 200])
    for y in (Y, Y[:, 0]):
        for shape, at in (
            (times.shape, {"time": times}),
            (steps.shape, {"steps": steps, "learning_rate": 0.2}),
        ):
            every: dict[str, Any] = {**at, "covariance": covariance}
            found = regression.predict(Z, y, **every)
            assert found.mean.shape == (*shape, 6, *y.shape[1:])
            if found.covariance is not None:
                assert found.covariance.shape == (*shape, 6, 6)
            for index in np.ndindex(shape):
                one = {k: v[index] if np.ndim(v) else v for k, v in every.items()}
                alone = regression.predict(Z, y, **one)
                np.testing.assert_allclose(found.mean[index], alone.mean, atol=1e-12)
                assert (alone.covariance is None) == (not covariance)
                if found.covariance is not None and alone.covariance is not None:
                    np.testing.assert_allclose(
                        found.covariance[index], alone.covariance, atol=1e-12
                    )


# Samples of which one is given twice with different targets. In the limits ridge → 0 and t → ∞ both
# count as one sample with the mean of their targets.
TWICE = np.concatenate([X, X[2:3]])
DISAGREEING = np.concatenate([Y, Y[2:3] + 0.5])
MEANS = Y.copy()
MEANS[2] += 0.25
RIDGES = {"relu": 1e-9, "gelu": 1e-7, "tanh": 1e-3}


@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_targets_that_disagree(activation: str, kernel: str) -> None:
    arguments: dict[str, Any] = {"activation": activation, "depth": 2, "kernel": kernel}
    message = r"ridge=0\.0: the kernel of X is singular .*: X\[2\] and X\[15\] are equal; expected"
    with pytest.raises(np.linalg.LinAlgError, match=message) as caught:
        infinite.predict(TWICE, DISAGREEING, Z, **arguments)
    limit = infinite.predict(X, MEANS, Z, **arguments, covariance=True)
    found = infinite.predict(
        TWICE, DISAGREEING, Z, **arguments, solution="least_squares", covariance=True
    )
    np.testing.assert_allclose(found.mean, limit.mean, atol=1e-7)
    assert limit.covariance is not None
    assert found.covariance is not None
    np.testing.assert_allclose(found.covariance, limit.covariance, atol=1e-7)
    least = infinite.Regression(TWICE, **arguments, solution="least_squares")
    late = least.predict(Z, DISAGREEING, time=[1e15, 1e60, 1e300, np.inf])
    for mean in late.mean:
        np.testing.assert_allclose(mean, limit.mean, atol=1e-7)
    regression = infinite.Regression(TWICE, **arguments, ridge="auto")
    assert 0 < regression.ridge < RIDGES[activation]
    assert f"expected ridge={regression.ridge:.2g} or more, ridge='auto'" in str(caught.value)
    np.testing.assert_allclose(
        regression.predict(Z, DISAGREEING).mean, limit.mean, atol=3e4 * regression.ridge + 1e-2
    )


def test_networks_pass_on_how_a_system_is_solved() -> None:
    network = infinite.Network(depth=1)
    for options in ({"ridge": "auto"}, {"solution": "least_squares"}):
        how: Any = options
        expected = infinite.Regression(TWICE, depth=1, **how).predict(Z, DISAGREEING).mean
        for found in (
            network.regression(TWICE, **how).predict(Z, DISAGREEING),
            network.predict(TWICE, DISAGREEING, Z, **how),
            infinite.predict(TWICE, DISAGREEING, Z, depth=1, **how),
        ):
            np.testing.assert_array_equal(found.mean, expected)


def test_ridges_of_their_own() -> None:
    assert infinite.Regression(X, ridge="auto").ridge == 0.0
    assert infinite.Regression(X, ridge=0.25).ridge == 0.25
    auto = infinite.predict(X, Y, Z, ridge="auto").mean
    np.testing.assert_array_equal(auto, infinite.predict(X, Y, Z).mean)
    enough = infinite.Regression(TWICE, ridge="auto").ridge
    mean = infinite.predict(TWICE, DISAGREEING, Z, ridge=enough).mean
    np.testing.assert_array_equal(infinite.predict(TWICE, DISAGREEING, Z, ridge="auto").mean, mean)
    with pytest.raises(np.linalg.LinAlgError, match=r"ridge=1e-18: the kernel of X is singular"):
        infinite.predict(TWICE, DISAGREEING, Z, ridge=1e-18)


@pytest.mark.parametrize(
    ("samples", "arguments", "message"),
    [
        (np.r_[X, 3 * X[:1]], {}, r"X\[0\] and X\[15\] are parallel or nearly so; exp"),
        (np.r_[X, -X[:1]], {"activation": "erf"}, r"X\[0\] and X\[15\] are opposite or nearly so;"),
        (np.r_[X, X], {}, r"X\[0\] and X\[15\] are equal, X.* are equal, and 12 more such pairs"),
        (np.r_[X, 0 * X[:1]], {}, r"X\[15\] has a kernel of 0, .*; expected ridge="),
        (
            0 * X,
            {},
            r"X\[0\] has a kernel of 0, .*\(15 such rows\); expected solution='least_squar",
        ),
        (X, {"depth": 0}, r"no two rows are the same to it, .* \(the closest rows, X\[\d+\] and"),
        (
            np.linspace(-30, 30, 50)[:, np.newaxis],
            {"depth": 2, "weight_std": 1.5, "bias_std": 0.05, "kernel": "nngp"},
            r"singular to working precision, .*; expected ridge=",
        ),
    ],
)
def test_reasons_of_singular_kernels(samples: Any, arguments: dict[str, Any], message: str) -> None:
    y = np.arange(len(samples)) % 3
    with pytest.raises(np.linalg.LinAlgError, match=message):
        infinite.predict(samples, y, samples[:2], **arguments)
    regression = infinite.Regression(samples, **arguments, solution="least_squares")
    assert np.isfinite(regression.predict(samples[:2], y).mean).all()
    assert np.isfinite(regression.predict(samples[:2], y, time=3.0).mean).all()


def test_samples_of_very_different_norms_are_not_singular() -> None:
    """Without biases the kernel scales with the norms: so do predictions."""
    norms = 10.0 ** -np.arange(15.0)
    mean = infinite.predict(X * norms[:, np.newaxis], Y * norms[:, np.newaxis], Z).mean
    np.testing.assert_allclose(mean, infinite.predict(X, Y, Z).mean, rtol=1e-9)


def test_scaling_changes_no_digit() -> None:
    """The solution is that of the Cholesky decomposition of the kernel as it stands."""
    theta = infinite.ntk(X * np.arange(1, 16)[:, np.newaxis])
    factor, _ = cho_factor(np.array(theta + 0.5 * np.eye(15), order="F"), lower=True)
    expected, _ = lapack.dpotrs(factor, Y, lower=1)
    system = KernelSystem(theta, 0.5, 0.0)
    assert system.resolved
    np.testing.assert_array_equal(system.solve(Y), expected)


@pytest.mark.parametrize(("share", "resolved"), [(0.5, False), (2.0, True), (1e3, True)])
@pytest.mark.parametrize("error", [0.0, 1e-9])
def test_least_eigenvalue_that_is_resolved(share: float, resolved: bool, error: float) -> None:
    """A circulant matrix, whose eigenvalues are known."""
    n = 40
    values = 1 + 0.4 * np.cos(2 * np.pi * np.arange(n) / n)
    values[0] = share * (n * np.finfo(float).eps * values[1] + 2 * error)
    column = np.fft.fft(values).real / n
    matrix = column[np.abs(np.arange(n) - np.arange(n)[:, np.newaxis])]
    assert KernelSystem(matrix, 0.0, error).resolved == resolved


def test_same_bits_for_any_number_of_threads() -> None:
    samples = np.random.default_rng(1).standard_normal((301, 9))
    points = np.random.default_rng(2).standard_normal((150, 9))
    y = samples[:, :3] ** 2

    def bits(threads: int) -> list[bytes]:
        found: list[Any] = []
        with threadpool_limits(threads, user_api="blas"):
            for solution in ("unique", "least_squares"):
                regression = infinite.Regression(samples, depth=2, solution=solution, ridge="auto")
                for time in (np.inf, [0.5, 100.0]):
                    found += regression.predict(points, y, time=time, covariance=True)
        return [np.asarray(array).tobytes() for array in found]

    alone = bits(1)
    assert bits(2) == alone
    assert bits(3) == alone


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kernel": "rbf"}, ValueError, "kernel='rbf': expected one of 'ntk', 'nngp'"),
        ({"ridge": -1.0}, ValueError, "ridge=-1.0: expected a finite number of at least 0"),
        ({"time": -1.0}, ValueError, "time=-1.0: expected numbers of at least 0"),
        ({"time": np.nan}, ValueError, "time=nan: expected numbers of at least 0"),
        ({"ridge": "some"}, ValueError, "ridge='some': expected a finite number of at least 0, or"),
        ({"solution": "any"}, ValueError, "solution='any': expected one of 'unique', 'least_sq"),
        ({"y": np.ones(3)}, ValueError, r"y has shape \(3,\): expected \(15,\) or \(15, C\)"),
        ({"y": np.full(15, np.nan)}, ValueError, r"y\[0\]=nan: expected numbers that are finite"),
        ({"Z": np.ones((2, 3))}, ValueError, r"Z has shape \(2, 3\): expected 4 columns"),
        ({"depth": [1, 2]}, TypeError, r"depth=\[1, 2\]: expected an integer"),
    ],
)
def test_bad_input(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        infinite.predict(**{"X": X, "y": Y, "Z": Z, **arguments})


@pytest.mark.parametrize("kind", ["ntk", "nngp"])
def test_scikit_learn_kernel(kind: str) -> None:
    kernel = infinite.NeuralKernel(kind, depth=2, activation="gelu", weight_std=1.2, bias_std=0.1)
    function = getattr(infinite, kind)
    arguments: dict[str, Any] = {
        "depth": 2,
        "activation": "gelu",
        "weight_std": 1.2,
        "bias_std": 0.1,
    }
    np.testing.assert_array_equal(kernel(X), function(X, **arguments))
    np.testing.assert_array_equal(kernel(Z, X), function(Z, X, **arguments))
    assert_close(kernel.diag(X), np.diag(kernel(X)), "float64")
    assert kernel(X, eval_gradient=True)[1].shape == (15, 15, 0)
    with pytest.raises(ValueError, match="expected Y=None"):
        kernel(X, Z, eval_gradient=True)
    assert not kernel.is_stationary()
    np.testing.assert_array_equal(clone(kernel)(X), kernel(X))
    assert repr(kernel) == (
        f"NeuralKernel(kernel='{kind}', depth=2, activation='gelu', weight_std=1.2, bias_std=0.1)"
    )
    with pytest.raises(ValueError, match="kernel='rbf': expected one of"):
        infinite.NeuralKernel("rbf")(X)


def test_scikit_learn_estimators() -> None:
    kernel = infinite.NeuralKernel("ntk", depth=1)
    combined = ConstantKernel() * kernel + WhiteKernel(0.1)
    model = GaussianProcessRegressor(combined, n_restarts_optimizer=0, normalize_y=True)
    labels = (X[:, 0] > 0).astype(int)
    assert model.fit(X, X[:, 0]).score(X, X[:, 0]) > 0.5
    ridge = KernelRidge(alpha=0.2, kernel=kernel).fit(X, Y)
    expected = infinite.predict(X, Y, Z, ridge=0.2, depth=1).mean
    np.testing.assert_allclose(ridge.predict(Z), expected, atol=1e-9)
    assert SVC(kernel=kernel, C=100).fit(X, labels).score(X, labels) == 1.0


def test_monte_carlo_rate() -> None:
    result = fastntk.monte_carlo_ntk(X[:5], [32, 128, 512], seeds=40, depth=2)
    assert 0.4 < result.rate < 0.6
    ratio = result.fluctuation[0] / result.fluctuation[1]
    assert ratio == pytest.approx(2.0, rel=0.3, abs=0)
    scores = (result.mean[-1] - result.limit) / result.standard_error[-1]
    assert np.abs(scores).max() < 5
    assert_close(result.limit, infinite.ntk(X[:5], depth=2), "float64")


def test_monte_carlo_seeds_and_progress() -> None:
    calls: list[tuple[str, int, int]] = []

    def record(stage: str, done: int, total: int) -> None:
        calls.append((stage, done, total))

    result = fastntk.monte_carlo_ntk(X[:3], [8, 16], seeds=[3, 7], depth=1, progress=record)
    kernels = [fastntk.MLP([4, 8, 1], seed=seed).ntk(X[:3]) for seed in (3, 7)]
    assert_close(result.mean[0], np.mean(kernels, axis=0), "float64")
    error = np.std(kernels, axis=0, ddof=1) / np.sqrt(2)
    assert_close(result.standard_error[0], error, "float64")
    assert calls[-1] == ("width 16", 4, 4)
    for seeds in (1, [1]):
        with pytest.raises(ValueError, match="seeds="):
            fastntk.monte_carlo_ntk(X, [4], seeds=seeds)


def test_angle_curves() -> None:
    theta = np.linspace(0.1, 3.0, 4)
    curves = fastntk.angle_curves(theta, [1, 2], ["relu", "identity"], width=512, seeds=8)
    np.testing.assert_array_equal(curves.infinite[0], infinite.gradient_angle(theta, [1, 2]))
    np.testing.assert_allclose(curves.infinite[1], [theta, theta], atol=1e-7)
    assert curves.mean is not None
    assert curves.deviation is not None
    np.testing.assert_allclose(curves.mean, curves.infinite, atol=0.1)
    assert (curves.deviation < 0.1).all()
    frame = curves.to_frame()
    assert list(frame.columns) == [
        "activation",
        "depth",
        "theta",
        "infinite",
        "resolved",
        "mean",
        "deviation",
        "activation_scale",
        "tolerance",
        "width",
        "seeds",
        "weight_std",
        "bias_std",
        "parametrization",
        "dtype",
    ]
    assert len(frame) == 16
    assert frame["resolved"].all()
    small = fastntk.angle_curves([0.0, 1e-9, 1.0], [1, 3], ["relu", "tanh"])
    np.testing.assert_array_equal(small.resolved[0], np.ones((2, 3)))
    np.testing.assert_array_equal(small.resolved[1], [[True, False, True]] * 2)
    limits = fastntk.angle_curves(theta, [1])
    assert limits.mean is None
    assert list(limits.to_frame().columns) == [
        "activation",
        "depth",
        "theta",
        "infinite",
        "resolved",
        "activation_scale",
        "tolerance",
        "weight_std",
        "bias_std",
        "parametrization",
        "dtype",
    ]
    with pytest.raises(ValueError, match=r"theta has shape \(1, 2\): expected a vector"):
        fastntk.angle_curves([[0.1, 0.2]])


@pytest.mark.parametrize("solver", ["cholesky", "cg"])
def test_a_regression_keeps_its_samples(solver: str) -> None:
    samples = X.copy()
    regression = infinite.Regression(samples, depth=2, ridge=0.1, solver=solver)
    samples[:] = 0.5
    expected = infinite.Regression(X, depth=2, ridge=0.1, solver=solver).predict(Z, Y).mean
    assert np.array_equal(regression.predict(Z, Y).mean, expected)


@pytest.mark.parametrize(
    ("scale", "when", "message"),
    [
        (1.7e308, {}, "^y: predictions are not finite"),
        (1e308, {"time": 300.0}, "^y: predictions are not finite"),
        (1.0, {"steps": 2000, "learning_rate": 1e3}, "^steps=2000, learning_rate=1000.0: descent"),
        (0.0, {"steps": [1, 2000], "learning_rate": 1e3}, r"^steps=\[1, 2000\], learning_rate=100"),
        (1e200, {"steps": 5, "learning_rate": 1e-3}, ""),
        # Outputs as they begin, whose covariance grows by the square.
        (0.0, {"steps": 90, "learning_rate": 1e3, "covariance": True}, r"^steps=90, .*: descent"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_predictions_that_are_not_finite(scale: float, when: dict[str, Any], message: str) -> None:
    regression = infinite.Regression(X, depth=2)
    if message:
        with pytest.raises(OverflowError, match=message):
            regression.predict(Z, scale * np.sign(Y), **when)
    else:
        assert np.isfinite(regression.predict(Z, scale * np.sign(Y), **when).mean).all()
