# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Estimators and kernels for scikit-learn: against its checks, explicit inverses and mpmath."""

from __future__ import annotations

import importlib
import pickle
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from mpmath import mp
from scipy import sparse
from scipy.optimize import approx_fprime
from sklearn.base import clone
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, WhiteKernel
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

import fastntk
from fastntk import infinite, layers
from fastntk.sklearn import (
    KernelCache,
    NeuralKernel,
    NTKClassifier,
    NTKFeatures,
    NTKRegressor,
    kernel_cache,
)
from fastntk.sklearn.classifier import nearest_probabilities
from fastntk.sklearn.kernel_sources import LimitKernels

if TYPE_CHECKING:
    from collections.abc import Iterator

RNG = np.random.default_rng(3)
X, Z = RNG.standard_normal((24, 3)), RNG.standard_normal((7, 3))
Y = np.stack([X[:, 0] * X[:, 1], np.sin(X[:, 2])], axis=1)
LABELS = np.array(["a", "b", "c"])[RNG.integers(3, size=24)]


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    kernel_cache.clear()
    yield
    kernel_cache.clear()


@pytest.mark.parametrize(
    "estimator",
    [
        NTKRegressor(depth=1),
        NTKRegressor("nngp", 1, width=16, random_state=0, ridge=0, solution="least_squares"),
        NTKClassifier(depth=1),
        NTKClassifier(depth=1, width=16, random_state=0, ridge=0.1),
        NTKFeatures(width=4),
        NTKFeatures(depth=2, width=3, bias_std=0.1, random_state=0),
    ],
    ids=repr,
)
def test_scikit_learns_checks(estimator: Any) -> None:
    """All of them, with no failure expected; those of other array libraries are not asked for."""
    check_estimator(estimator, on_skip=None)


@pytest.mark.long
@pytest.mark.parametrize("activation", ["relu", "abs", "erf", "gelu", "tanh", "sin"])
@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
def test_scikit_learns_checks_with_other_networks(kernel: str, activation: str) -> None:
    check_estimator(NTKRegressor(kernel, 2, activation, bias_std=0.3), on_skip=None)
    check_estimator(NTKClassifier(kernel, 2, activation, bias_std=0.3), on_skip=None)


@pytest.mark.parametrize("y", [Y[:, 0], Y, Y[:, :1]], ids=["single", "two", "column"])
@pytest.mark.parametrize(
    ("kernel", "options"),
    [
        ("ntk", {"bias_std": 0.3, "ridge": 0.1}),
        ("nngp", {"bias_std": [0.3, 0.0, 0.1], "ridge": 0.1}),
        ("ntk", {"activation": "erf", "weight_std": 1.3, "layer_weights": [1.0, 0.5, 0.2]}),
        ("nngp", {"solution": "least_squares", "ridge": 0.0, "bias_std": 0.2}),
    ],
)
def test_regressor_predicts_what_the_library_does(
    kernel: str, options: dict[str, Any], y: Any
) -> None:
    model = NTKRegressor(kernel, depth=2, **options).fit(X, y)
    regression = infinite.Regression(X, kernel=kernel, depth=2, **{"ridge": "auto"} | options)
    expected = regression.predict(Z, y, covariance=True)
    assert expected.covariance is not None
    np.testing.assert_array_equal(model.predict(Z), expected.mean)
    assert model.ridge_ == regression.ridge
    mean, std = model.predict(Z, return_std=True)
    np.testing.assert_array_equal(mean, expected.mean)
    variances = np.diagonal(expected.covariance)
    outputs = y.shape[1:]
    assert std.shape == (7, *outputs)
    np.testing.assert_allclose(std.reshape(7, -1)[:, -1] ** 2, variances, rtol=1e-7, atol=1e-12)
    mean, covariance = model.predict(Z, return_cov=True)
    np.testing.assert_array_equal(mean, expected.mean)
    assert covariance.shape == (7, 7, *outputs)
    np.testing.assert_array_equal(covariance.reshape(7, 7, -1)[..., 0], expected.covariance)


def test_standard_deviations_without_noise_are_not_negative() -> None:
    model = NTKRegressor("nngp", 1, ridge=0.0, bias_std=0.1).fit(X, Y)
    std = model.predict(X, return_std=True)[1]
    assert (std >= 0).all()
    assert std.max() < 1e-5
    # A copy of the training samples counts as these: no kernel beside theirs.
    assert kernel_cache.misses == 1


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_networks_of_finite_width(parametrization: str) -> None:
    settings: dict[str, Any] = {
        "activation": "tanh",
        "weight_std": 1.2,
        "bias_std": 0.3,
        "activation_scale": 1.0,
    }
    rates = [1.0, 0.5, 0.25]
    net = fastntk.MLP([3, 40, 40, 1], parametrization=parametrization, seed=5, **settings)
    model = NTKRegressor(
        depth=2,
        width=40,
        random_state=5,
        parametrization=parametrization,
        ridge=0.1,
        layer_weights=rates,
        **settings,
    ).fit(X, Y)
    K, cross = net.ntk(X, layer_weights=rates), net.ntk(Z, X, layer_weights=rates)
    inverse = np.linalg.inv(K + 0.1 * np.eye(24))
    np.testing.assert_allclose(model.predict(Z), cross @ inverse @ Y, rtol=1e-9)
    np.testing.assert_allclose(model.dual_coef_, inverse @ Y, rtol=1e-9)
    assert model.network_.widths == (3, 40, 40, 1)
    with pytest.raises(ValueError, match="return_std=True: expected False with kernel='ntk' and"):
        model.predict(Z, return_std=True)
    # The covariance of the outputs over the weights of the readout is that of both.
    prior = fastntk.MLP([3, 40, 40, 1], seed=5, **settings)
    model = clone(model).set_params(kernel="nngp", layer_weights=None).fit(X, Y)
    K, cross = prior.conjugate_kernel(X), prior.conjugate_kernel(Z, X)
    inverse = np.linalg.inv(K + 0.1 * np.eye(24))
    mean, std = model.predict(Z, return_std=True)
    np.testing.assert_allclose(mean, cross @ inverse @ Y, rtol=1e-9)
    expected = prior.conjugate_kernel(Z) - cross @ inverse @ cross.T
    np.testing.assert_allclose(std[:, 0] ** 2, np.diagonal(expected), rtol=1e-8)
    covariance = model.predict(Z, return_cov=True)[1]
    np.testing.assert_allclose(covariance[..., 1], expected, atol=1e-10)


def test_random_states() -> None:
    def weights(random_state: Any) -> Any:
        net = NTKFeatures(width=4, random_state=random_state).fit(X).network_
        assert isinstance(net, fastntk.MLP)
        return net.weights[0]

    np.testing.assert_array_equal(weights(3), fastntk.MLP([3, 4, 1], seed=3).weights[0])
    state = np.random.RandomState(0)
    assert not np.array_equal(weights(state), weights(state))
    np.testing.assert_array_equal(
        weights(np.random.RandomState(1)), weights(np.random.RandomState(1))
    )
    assert not np.array_equal(weights(None), weights(None))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"kernel": "rbf"}, ValueError, "kernel='rbf': expected one of 'ntk', 'nngp'"),
        ({"depth": -1}, ValueError, "depth=-1: expected an integer of at least 0"),
        ({"depth": [1, 2]}, TypeError, r"depth=\[1, 2\]: expected an integer"),
        ({"depth": -1, "width": 4}, ValueError, "depth=-1: expected an integer of at least 0"),
        ({"width": 0}, ValueError, "width=0: expected an integer of at least 1"),
        ({"random_state": 0.5}, TypeError, "random_state=0.5: expected an integer"),
        ({"ridge": -1.0}, ValueError, "ridge=-1.0: expected a finite number of at least 0"),
        ({"solution": "any"}, ValueError, "solution='any': expected one of"),
        ({"weight_std": 0.0}, ValueError, "weight_std=0.0: expected a finite number above 0"),
        ({"tolerance": 0.0, "width": 4}, ValueError, "tolerance=0.0: expected a finite number"),
        ({"parametrization": "standard"}, ValueError, "parametrization='standard': expected 'ntk'"),
        ({"parametrization": "any"}, ValueError, "parametrization='any': expected one of"),
        ({"width": 4, "weight_std": [1, 2]}, TypeError, r"weight_std=\[1, 2\]: expected a finite"),
        ({"width": 4, "layer_weights": [1]}, ValueError, r"layer_weights=\[1\]: expected 4 numb"),
        ({"layer_weights": [1]}, ValueError, r"layer_weights=\[1\]: expected 4 numbers"),
    ],
)
@pytest.mark.parametrize("kind", [NTKRegressor, NTKClassifier])
def test_parameters_are_refused_by_name(
    kind: Any, parameters: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = kind(**parameters)
    with pytest.raises(error, match=message):
        model.fit(X, LABELS if kind is NTKClassifier else Y)


def test_samples_are_refused_by_scikit_learns_words() -> None:
    few: Any = sparse.csr_array(X)
    for estimator in (NTKRegressor(depth=1), NTKClassifier(depth=1), NTKFeatures(width=4)):
        y = LABELS if isinstance(estimator, NTKClassifier) else Y
        with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is req"):
            estimator.fit(few, y)
    with pytest.raises(ValueError, match="y has one class only, 'a': expected at least two"):
        NTKClassifier(depth=1).fit(X, ["a"] * 24)
    with pytest.raises(ValueError, match="return_std=True, return_cov=True: expected one of them"):
        NTKRegressor(depth=1).fit(X, Y).predict(Z, return_std=True, return_cov=True)
    with pytest.raises(np.linalg.LinAlgError, match=r"X\[0\] and X\[24\] are equal"):
        NTKRegressor(depth=1, ridge=0.0).fit(np.vstack([X, X]), np.vstack([Y, Y]))


def test_integer_targets_are_numbers() -> None:
    """A regressor takes class labels for numbers, as those of scikit-learn do."""
    numbers = (X[:, 0] > 0).astype(int) + 2
    a, b = (NTKRegressor(depth=1, bias_std=0.1).fit(X, y) for y in (numbers, numbers * 1.0))
    np.testing.assert_array_equal(a.predict(Z), b.predict(Z))
    np.testing.assert_allclose(a.predict(X), numbers, rtol=1e-8)


def test_samples_may_change_after_the_fit() -> None:
    samples = X.copy()
    model = NTKRegressor(depth=1, bias_std=0.1).fit(samples, Y)
    expected = model.predict(Z)
    samples[:] = 0.0
    kernel_cache.clear()
    np.testing.assert_array_equal(model.predict(Z), expected)


def test_weights_may_change_after_the_fit() -> None:
    """Neither predictions nor the kernels that others find are those of the new weights."""

    def fitted() -> NTKRegressor:
        return NTKRegressor(width=8, random_state=0, ridge=0.1).fit(X, Y)

    expected = fitted().predict(Z)
    kernel_cache.clear()
    model = fitted()
    model.network_.weights[0][:] = 7.0
    np.testing.assert_array_equal(model.predict(Z), expected)
    np.testing.assert_array_equal(fitted().predict(Z), expected)


def test_targets_whose_coefficients_are_too_large() -> None:
    with pytest.raises(OverflowError, match=r"^y: predictions are not finite in float64"):
        NTKRegressor(depth=1).fit(X, np.full(24, 1.7e308))


def test_ridges_are_numbers_of_python() -> None:
    assert type(NTKRegressor(depth=1).fit(np.vstack([X, X]), np.vstack([Y, Y])).ridge_) is float
    with pytest.raises(np.linalg.LinAlgError, match=r"ridge=0\.0: the kernel of X is singular"):
        NTKRegressor(depth=1).fit(np.zeros((1, 3)), [3.0])


@pytest.mark.parametrize("options", [{"activation": "erf"}, {"width": 8, "random_state": 1}])
def test_pickles_of_fitted_estimators(options: dict[str, Any]) -> None:
    model = NTKRegressor(depth=1, bias_std=0.1, ridge=0.1, **options).fit(X, Y)
    expected = model.predict(Z)
    kernel_cache.clear()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict(Z), expected)


# Classification.


def test_classifier_is_regression_on_signs() -> None:
    targets = np.where(LABELS[:, np.newaxis] == ["a", "b", "c"], 1.0, -1.0)
    model = NTKClassifier(depth=2, bias_std=0.1, ridge=0.3).fit(X, LABELS)
    regressor = NTKRegressor(depth=2, bias_std=0.1, ridge=0.3).fit(X, targets)
    outputs = regressor.predict(Z)
    np.testing.assert_array_equal(model.decision_function(Z), outputs)
    np.testing.assert_array_equal(model.predict(Z), np.array(["a", "b", "c"])[outputs.argmax(1)])
    probabilities = model.predict_proba(Z)
    np.testing.assert_array_equal(probabilities.argmax(1), outputs.argmax(1))
    # The same of targets of 0 and 1.
    regressor.fit(X, (targets + 1) / 2)
    expected = nearest_probabilities(regressor.predict(Z))
    np.testing.assert_allclose(probabilities, expected, atol=1e-12)
    two = NTKClassifier(depth=2, bias_std=0.1, ridge=0.3).fit(X, LABELS == "a")
    f = two.decision_function(Z)
    np.testing.assert_allclose(f, outputs[:, 0], rtol=1e-10)
    np.testing.assert_array_equal(two.predict(Z), f > 0)
    second = np.clip((1 + f) / 2, 0, 1)
    np.testing.assert_array_equal(two.predict_proba(Z), np.stack([1 - second, second], axis=1))


def test_nearest_probabilities() -> None:
    """The conditions of Karush, Kuhn and Tucker, which have one solution."""
    values = np.random.default_rng(0).standard_normal((200, 4)) * 2
    p = nearest_probabilities(values)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-14)
    assert (p >= 0).all()
    assert (p == 0).any()
    assert (p > 0).all(axis=1).any()
    shift = np.where(p > 0, values - p, -np.inf).max(axis=1, keepdims=True)
    np.testing.assert_allclose(np.where(p > 0, values - p, shift), shift + np.zeros(4), atol=1e-12)
    assert (values <= shift + p + 1e-12).all()
    np.testing.assert_allclose(nearest_probabilities(p), p, atol=1e-15)
    np.testing.assert_allclose(nearest_probabilities(values + 3.0), p, atol=1e-14)


def test_classifiers_of_several_labels_share_the_kernel() -> None:
    labels = np.stack([LABELS == "a", LABELS == "b"], axis=1)
    model = MultiOutputClassifier(NTKClassifier(depth=1, bias_std=0.1)).fit(X, labels)
    np.testing.assert_array_equal(model.predict(X), labels)
    assert kernel_cache.misses == 1


# What scikit-learn does with estimators.


def test_a_search_computes_each_kernel_once(monkeypatch: pytest.MonkeyPatch) -> None:
    computed = []
    compute = LimitKernels.matrices

    def counted(self: Any, kinds: Any, *samples: Any) -> Any:
        computed.append((kinds, *(None if each is None else each.tobytes() for each in samples)))
        return compute(self, kinds, *samples)

    monkeypatch.setattr(LimitKernels, "matrices", counted)
    model = make_pipeline(StandardScaler(), NTKRegressor(depth=1, bias_std=0.1))
    grid = {"ntkregressor__ridge": [1e-3, 0.1, 1.0, "auto"]}
    search = GridSearchCV(model, grid, cv=4, return_train_score=True).fit(X, Y)
    # Of each of the 4 splits the kernel and that of the samples left out; of all samples in the
    # end. Train scores find the former.
    assert len(computed) == len(set(computed)) == kernel_cache.misses == 9
    assert kernel_cache.hits == 4 * 4 * 3 - 8
    kernel_cache.limit = 0
    try:
        again = GridSearchCV(model, grid, cv=4, return_train_score=True).fit(X, Y)
    finally:
        kernel_cache.limit = 2**28
    assert len(computed) > 40
    np.testing.assert_array_equal(search.predict(Z), again.predict(Z))
    np.testing.assert_array_equal(
        search.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"]
    )


def test_kernels_are_known_by_all_that_they_are_made_of() -> None:
    base: dict[str, Any] = {"depth": 1, "bias_std": 0.1, "ridge": 0.1}
    finite = base | {"width": 5, "random_state": 0}
    changes: list[dict[str, Any]] = [
        *(base | {"activation": each} for each in ("relu", "gelu", "abs")),
        base | {"kernel": "nngp"},
        base | {"depth": 2},
        base | {"weight_std": 1.1},
        base | {"bias_std": 0.2},
        base | {"activation_scale": 1.0},
        base | {"layer_weights": [1.0, 0.5]},
        finite,
        finite | {"random_state": 1},
        finite | {"width": 6},
        finite | {"weight_std": 1.1},
        finite | {"layer_weights": [1.0, 0.5]},
        finite | {"parametrization": "standard"},
        finite | {"activation": "tanh"},
        finite | {"kernel": "nngp"},
    ]
    found = [NTKRegressor(**each).fit(X, Y).predict(Z) for each in changes]
    assert (kernel_cache.hits, kernel_cache.misses) == (0, 2 * len(changes))
    for each, expected in zip(changes, found, strict=True):
        np.testing.assert_array_equal(NTKRegressor(**each).fit(X, Y).predict(Z), expected)
    assert kernel_cache.misses == 2 * len(changes)
    assert len({each.tobytes() for each in found}) == len(changes)


def test_bounds_of_the_cache() -> None:
    cache = KernelCache(limit=2 * 8 * 24 * 24)
    source = LimitKernels(infinite.Network(1))
    for shift in range(3):
        kernel = cache.matrices(source, ("ntk",), X + shift)["ntk"]
    assert not kernel.flags.writeable
    assert cache.nbytes == cache.limit
    cache.matrices(source, ("ntk",), X + 2)
    cache.matrices(source, ("ntk",), X + 1)
    assert (cache.hits, cache.misses) == (2, 3)
    cache.matrices(source, ("ntk",), X)  # had to go, and drives out X + 2
    cache.matrices(source, ("ntk",), X + 1)
    assert (cache.hits, cache.misses) == (3, 4)
    larger = np.vstack([X, X + 1])
    cache.matrices(source, ("ntk",), larger)
    cache.matrices(source, ("ntk",), X + 1)
    assert (cache.hits, cache.misses) == (4, 5)
    both = cache.matrices(source, ("nngp", "ntk"), X + 1)
    assert set(both) == {"nngp", "ntk"}
    assert (cache.hits, cache.misses) == (5, 6)
    cache.limit = 10
    assert cache.nbytes == 0
    assert "0 of 10 bytes" in repr(cache)
    with pytest.raises(ValueError, match="limit=-1: expected an integer of at least 0"):
        cache.limit = -1


BLOCK = layers.Residual([layers.RMSNorm(gain=True), layers.Dense(6), layers.Erf(), layers.Dense(5)])
DESCRIPTION = fastntk.Network([layers.Dense(5), BLOCK, layers.Dense(1, bias_std=0.1)], inputs=3)


@pytest.mark.parametrize("kernel", ["ntk", "nngp"])
def test_described_networks(kernel: str) -> None:
    """The limit of a description, networks of infinite width, and those that have weights."""
    limit = DESCRIPTION.infinite()
    assert isinstance(limit, infinite.LayeredNetwork)
    plain = infinite.Network(2, "erf", bias_std=0.1)
    for network, same in ((DESCRIPTION, limit), (limit, limit), (plain, plain)):
        model = NTKRegressor(kernel, ridge=0.1, network=network).fit(X, Y)
        assert model.network_ == same
        prediction = same.predict(X, Y, Z, kernel=kernel, ridge=0.1)
        np.testing.assert_allclose(model.predict(Z), prediction.mean, rtol=1e-10, atol=1e-12)
        assert np.isfinite(model.predict(Z, return_std=True)[1]).all()
    for net in (DESCRIPTION.sample(3), fastntk.MLP([3, 6, 1], seed=2)):
        model = NTKRegressor(kernel, ridge=0.1, network=net).fit(X, Y)
        of = net.ntk if kernel == "ntk" else net.conjugate_kernel
        expected = of(Z, X) @ np.linalg.solve(of(X) + 0.1 * np.eye(len(X)), Y)
        np.testing.assert_allclose(model.predict(Z), expected, rtol=1e-8, atol=1e-10)
        assert model.network_ is not net
        if kernel == "ntk":
            with pytest.raises(ValueError, match=r"return_std=True: expected False .* network="):
                model.predict(Z, return_std=True)
    signs = NTKClassifier(kernel, network=DESCRIPTION).fit(X, LABELS)
    assert (signs.predict(X) == LABELS).all()


def test_layer_weights_of_described_networks() -> None:
    net = DESCRIPTION.sample(3)
    omega = [0.0, 1.0, 0.5, 2.0, 1.0]
    model = NTKRegressor(ridge=0.1, network=net, layer_weights=omega).fit(X, Y)
    K, cross = (net.ntk(A, X, layer_weights=omega) for A in (X, Z))
    expected = cross @ np.linalg.solve(K + 0.1 * np.eye(len(X)), Y)
    np.testing.assert_allclose(model.predict(Z), expected, rtol=1e-8, atol=1e-10)


def test_searches_over_networks() -> None:
    wide = fastntk.Network([layers.Dense(5), layers.ReLU(), layers.Dense(1)], inputs=3)
    candidates = [DESCRIPTION, wide.infinite(), DESCRIPTION.sample(1), fastntk.MLP([3, 4, 1])]
    search = GridSearchCV(NTKRegressor(ridge=0.1), {"network": candidates}, cv=2).fit(X, Y)
    assert search.best_params_["network"] in candidates
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    for network in candidates:
        model = NTKRegressor(network=network)
        assert model.get_params()["network"] is network
        copied = clone(model)
        assert repr(copied) == repr(model)
        copied.set_params(network=None, depth=1).fit(X, Y)
    pickled = pickle.loads(pickle.dumps(NTKRegressor(network=candidates[2]).fit(X, Y)))
    assert pickled.predict(Z).shape == Y[: len(Z)].shape


def test_kernels_of_given_networks_are_kept() -> None:
    kernel_cache.clear()
    net = DESCRIPTION.sample(1)
    for ridge in (0.1, 0.2):
        NTKRegressor(ridge=ridge, network=net).fit(X, Y)
    assert (kernel_cache.misses, kernel_cache.hits) == (1, 1)
    before = NTKRegressor(ridge=0.1, network=net).fit(X, Y).predict(Z)
    net.parameters[0][...] *= 2.0  # another network now
    after = NTKRegressor(ridge=0.1, network=net).fit(X, Y).predict(Z)
    assert not np.allclose(before, after)
    custom = fastntk.activations.custom(lambda z: z**3, lambda z: 3 * z**2)
    own = fastntk.MLP([3, 4, 1], activation=custom)
    for _ in range(2):  # nothing says that these are the same
        kernel_cache.clear()
        NTKRegressor(ridge=0.1, network=own).fit(X, Y)
        NTKRegressor(ridge=0.1, network=own).fit(X, Y)
        assert (kernel_cache.misses, kernel_cache.hits) == (2, 0)
    kernel_cache.clear()


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"network": 3}, TypeError, r"network=3: expected a fastntk\.Network, infinite\.Network"),
        ({"network": "relu"}, TypeError, "network='relu': expected a fastntk"),
        (
            {"network": DESCRIPTION, "depth": 2},
            ValueError,
            "depth=2: expected None, as with a network nothing else says what it is",
        ),
        (
            {"network": DESCRIPTION, "weight_std": [1.0]},
            ValueError,
            r"weight_std=\[1\.0\]: expected",
        ),
        ({"network": DESCRIPTION, "width": 4}, ValueError, "width=4: expected None"),
        ({"network": DESCRIPTION, "random_state": 4}, ValueError, "random_state=4: expected None"),
        (
            {"network": DESCRIPTION, "layer_weights": [1]},
            ValueError,
            "layer_weights=.*expected Non",
        ),
        (
            {"network": DESCRIPTION.sample(), "layer_weights": [1]},
            ValueError,
            r"layer_weights=\[1\]: expected 5 numbers",
        ),
        (
            {"network": DESCRIPTION.infinite(blocks=[0, 1])},
            TypeError,
            r"blocks=\[0, 1\]: expected an integer",
        ),
        (
            {"network": fastntk.Network([layers.Dense(2)], inputs=4)},
            ValueError,
            "X has 3 columns: expected 4",
        ),
        (
            {"network": fastntk.MLP([4, 1])},
            ValueError,
            "X has 3 columns: expected 4, the number of",
        ),
        (
            {"network": fastntk.Network([layers.ReLU(), layers.Dense(2)], inputs=3)},
            ValueError,
            r"layers\[0\]=ReLU\(\): no limit of infinite width is known",
        ),
    ],
)
@pytest.mark.parametrize("kind", [NTKRegressor, NTKClassifier])
def test_networks_are_refused_at_the_fit(
    kind: Any, parameters: dict[str, Any], error: type[Exception], message: str
) -> None:
    model = kind(**parameters)
    with pytest.raises(error, match=message):
        model.fit(X, LABELS if kind is NTKClassifier else Y)


def test_features_of_described_networks() -> None:
    features = NTKFeatures(network=DESCRIPTION, random_state=3)
    F = features.fit_transform(X)
    net = DESCRIPTION.sample(3)
    np.testing.assert_array_equal(F, net.gradient_features(X))
    names = features.get_feature_names_out().tolist()
    assert len(set(names)) == len(names) == F.shape[1]
    assert names[15:20] == [f"gain2[{i}]" for i in range(5)]
    assert names[-1] == "b5[0]"
    np.testing.assert_array_equal(NTKFeatures(network=net).fit_transform(X), F)
    mlp = fastntk.MLP.from_weights([np.ones((4, 3)), np.ones((1, 4))], [np.ones(4), None])
    names = NTKFeatures(network=mlp).fit(X).get_feature_names_out().tolist()
    assert (names[11:14], names[-1], len(names)) == (["W1[3,2]", "b1[0]", "b1[1]"], "W2[0,3]", 20)
    bad: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"network": DESCRIPTION.infinite()}, TypeError, "network=Layered.*: expected a fastntk"),
        ({"network": net, "width": 3}, ValueError, "width=3: expected 128"),
        ({"network": net, "random_state": 3}, ValueError, "random_state=3: expected None"),
        ({"network": fastntk.MLP([3, 2])}, ValueError, "network has 2 outputs: expected one"),
        ({"network": fastntk.MLP([2, 1])}, ValueError, "X has 3 columns: expected 2"),
    ]
    for parameters, error, message in bad:
        with pytest.raises(error, match=message):
            NTKFeatures(**parameters).fit(X)


def test_features_of_parameters_with_rates_of_their_own() -> None:
    X = np.random.default_rng(1).standard_normal((6, 3))
    described = fastntk.Network(
        [
            layers.Dense(8, bias_std=0.3, trained=(2.0, False)),
            layers.RMSNorm(gain=True, shift=True, trained=(0.25, 3.0)),
            layers.Tanh(),
            layers.Dense(1, bias_std=0.5, trained=0.5),
        ],
        inputs=3,
    )
    features = NTKFeatures(network=described, random_state=0).fit(X)
    F = features.transform(X)
    np.testing.assert_allclose(F @ F.T, features.network_.ntk(X), rtol=1e-12)
    frozen = [name.startswith("b1") for name in features.get_feature_names_out()]
    assert np.array_equal(~F.any(axis=0), frozen)


def test_neural_kernels_of_described_networks() -> None:
    limit = DESCRIPTION.infinite()
    for network in (DESCRIPTION, limit):
        kernel = NeuralKernel("ntk", network=network)
        np.testing.assert_array_equal(kernel(X, Z), limit.ntk(X, Z))
        np.testing.assert_allclose(kernel.diag(X), np.diagonal(limit.ntk(X)), rtol=1e-13)
        value, gradient = kernel(X, eval_gradient=True)
        assert gradient.shape == (*value.shape, 0)
        assert clone(kernel) == kernel != NeuralKernel("ntk")
        assert repr(kernel).endswith(f"network={network!r})")
    model = GaussianProcessRegressor(NeuralKernel(network=DESCRIPTION), alpha=1e-3).fit(X, Y)
    assert model.predict(Z).shape == (len(Z), *Y.shape[1:])
    bad: list[tuple[dict[str, Any], type[Exception], str]] = [
        (
            {"network": fastntk.MLP([3, 1])},
            TypeError,
            r"network=MLP.*: expected a fastntk",
        ),
        ({"network": limit, "depth": 3}, ValueError, "depth=3: expected None"),
        (
            {"network": limit, "weight_std_bounds": (0.1, 1.0)},
            ValueError,
            r"weight_std_bounds=\(0\.1, 1\.0\): expected 'fixed'",
        ),
    ]
    for parameters, error, message in bad:
        with pytest.raises(error, match=message):
            NeuralKernel(**parameters)(X)


def test_frames_of_pandas() -> None:
    frame = pd.DataFrame(X, columns=["u", "v", "w"])
    model = NTKRegressor(depth=1, bias_std=0.1).fit(frame, pd.Series(Y[:, 0]))
    assert model.feature_names_in_.tolist() == ["u", "v", "w"]
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        np.testing.assert_array_equal(model.predict(frame), model.predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[["v", "u", "w"]])


def test_features() -> None:
    for depth, bias_std in ((1, 0.0), (2, 0.3)):
        features = NTKFeatures(depth, 5, bias_std=bias_std, random_state=2)
        F = features.fit_transform(X)
        net = fastntk.MLP([3, *[5] * depth, 1], bias_std=bias_std, seed=2)
        np.testing.assert_array_equal(F, net.gradient_features(X))
        names = features.get_feature_names_out()
        assert len(set(names)) == len(names) == F.shape[1]
    # By the names' own account of where each parameter is.
    where = {name: k for k, name in enumerate(names)}
    step = 1e-6
    for name, layer, index in (("W2[1,4]", 1, (1, 4)), ("b2[3]", 1, (3,)), ("W1[4,2]", 0, (4, 2))):
        moved = []
        for sign in (1, -1):
            weights, biases = [w.copy() for w in net.weights], [b.copy() for b in net.biases or ()]
            (weights if name[0] == "W" else biases)[layer][index] += sign * step
            other = fastntk.MLP.from_weights(weights, biases, bias_std=bias_std)
            moved.append(other(X)[:, 0])
        np.testing.assert_allclose(F[:, where[name]], (moved[0] - moved[1]) / (2 * step), atol=1e-8)
    table = features.set_output(transform="pandas").fit_transform(X)
    assert table.columns.tolist() == names.tolist()


def test_features_that_do_not_fit_are_refused_before() -> None:
    with pytest.raises(MemoryError, match=r"width=10000000: the gradients of 24 samples.*NTKRegre"):
        NTKFeatures(width=10**7, depth=2).fit(X)


def test_estimators_are_shown_and_copied() -> None:
    model = NTKClassifier("nngp", 2, weight_std=[1.0, 1.2, 1.0], ridge=0.1)
    assert repr(model) == (
        "NTKClassifier(depth=2, kernel='nngp', ridge=0.1, weight_std=[1.0, 1.2, 1.0])"
    )
    assert clone(model).get_params() == model.get_params()


def test_an_old_or_missing_scikit_learn_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "fastntk.sklearn")
    monkeypatch.setitem(sys.modules, "sklearn.utils.validation", None)
    with pytest.raises(ImportError, match=r"needs scikit-learn 1\.6 or later.*fastntk\[study\]"):
        importlib.import_module("fastntk.sklearn")


# The kernel for Gaussian processes.


def higher_order(kernel: NeuralKernel, samples: Any) -> Any:
    """Return differences of the order 6 of the kernel by its hyperparameters."""
    theta, h = kernel.theta, 0.005
    found = []
    for unit in np.eye(len(theta)):
        k = {j: kernel.clone_with_theta(theta + j * h * unit)(samples) for j in range(-3, 4)}
        found.append((45 * (k[1] - k[-1]) - 9 * (k[2] - k[-2]) + (k[3] - k[-3])) / (60 * h))
    return np.stack(found, axis=-1)


WIDE = (1e-3, 1e3)


@pytest.mark.parametrize("kernel", ["nngp", "ntk"])
@pytest.mark.parametrize(
    "options",
    [
        {"weight_std_bounds": WIDE},
        {"weight_std": [1.0, 1.5, 0.7], "weight_std_bounds": [WIDE] * 3},
        {"weight_std": 1.2, "bias_std": 0.3, "weight_std_bounds": WIDE, "bias_std_bounds": WIDE},
        {"bias_std": [0.3, 0.1, 0.2], "bias_std_bounds": WIDE, "activation": "abs"},
        {
            "weight_std": 1.3,
            "bias_std": 0.3,
            "weight_std_bounds": WIDE,
            "bias_std_bounds": WIDE,
            "activation": "erf",
        },
        {"weight_std_bounds": WIDE, "parametrization": "standard", "width": 7},
    ],
)
def test_gradients_by_hyperparameters(kernel: str, options: dict[str, Any]) -> None:
    neural = NeuralKernel(kernel, 2, **options)
    K, gradient = neural(X, eval_gradient=True)
    assert gradient.shape == (*K.shape, len(neural.theta)) == (*K.shape, len(neural.bounds))
    np.testing.assert_array_equal(K, NeuralKernel(kernel, 2, **without_bounds(options))(X))
    scale = np.sqrt(np.outer(np.diag(K), np.diag(K)))[..., np.newaxis]
    # The kernel is of the degree 6 and more in σ; the documented error is 6e-10 of 6 K.
    assert np.abs((gradient - higher_order(neural, X)) / scale).max() < 1e-8


def without_bounds(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if not name.endswith("bounds")}


def test_gradients_against_mpmath() -> None:
    """To the error that is documented: of one hidden layer of ReLUs with biases."""
    weight_std, bias_std = 1.3, 0.4
    neural = NeuralKernel(
        "nngp",
        1,
        weight_std=weight_std,
        bias_std=bias_std,
        weight_std_bounds=WIDE,
        bias_std_bounds=WIDE,
    )
    samples = X[:4]
    gradient = neural(samples, eval_gradient=True)[1]
    K = neural(samples)
    with mp.workdps(40):

        def covariance(x: Any, z: Any) -> Any:
            def of(log_b: Any, log_w: Any) -> Any:
                w, b = mp.exp(2 * log_w), mp.exp(2 * log_b)
                xx, xz, zz = (
                    w * mp.fsum(mp.mpf(p) * mp.mpf(q) for p, q in zip(s, t, strict=True)) / 3 + b
                    for s, t in ((x, x), (x, z), (z, z))
                )
                cosine = min(xz / mp.sqrt(xx * zz), mp.mpf(1))
                theta = mp.acos(cosine)
                mean = mp.sqrt(xx * zz) * (mp.sin(theta) + (mp.pi - theta) * cosine) / mp.pi
                return w * mean + b

            return of

        at = (mp.log(mp.mpf(bias_std)), mp.log(mp.mpf(weight_std)))
        for i in range(4):
            for j in range(i):
                for k, order in enumerate(((1, 0), (0, 1))):
                    exact = mp.diff(covariance(samples[i], samples[j]), at, order)
                    scale = 4 * np.sqrt(K[i, i] * K[j, j])
                    assert abs(float(exact) - gradient[i, j, k]) < 2e-9 * scale


def test_marginal_likelihood_is_maximized() -> None:
    truth = NeuralKernel(depth=2, weight_std=1.4, bias_std=0.2)
    samples = np.random.default_rng(1).standard_normal((40, 2))
    y = np.random.default_rng(2).multivariate_normal(np.zeros(40), truth(samples))
    kernel = NeuralKernel(
        depth=2, bias_std=0.5, weight_std_bounds=(0.1, 10.0), bias_std_bounds=(1e-3, 10.0)
    )
    assert NeuralKernel().theta.size == 0  # by default there is nothing to be found
    combined = kernel + WhiteKernel(1e-3, "fixed")
    model = GaussianProcessRegressor(combined, alpha=1e-8).fit(samples, y)
    start, found = combined.theta, model.kernel_.theta
    assert found.shape == (2,)
    _, slope = model.log_marginal_likelihood(start, eval_gradient=True)
    numeric = approx_fprime(start, model.log_marginal_likelihood, 1e-6)
    np.testing.assert_allclose(slope, numeric, rtol=1e-3)
    assert np.abs(slope).max() > 1
    best = model.log_marginal_likelihood_value_
    assert best > model.log_marginal_likelihood(start) + 1
    assert best >= model.log_marginal_likelihood(np.log([0.2, 1.4])) - 1e-6
    for step in np.vstack([np.eye(2), -np.eye(2)]) * 0.05:
        assert model.log_marginal_likelihood(found + step) < best
    # What has been found is shown as what can be given, and copied.
    fitted = model.kernel_.k1
    assert eval(repr(fitted), {"NeuralKernel": NeuralKernel}) == fitted == clone(fitted)
    scaled = GaussianProcessRegressor(ConstantKernel() * kernel, alpha=1e-3).fit(samples, y)
    assert scaled.kernel_.theta.shape == (3,)


def test_hyperparameters_of_each_layer() -> None:
    kernel = NeuralKernel(weight_std=[1.0, 2.0], weight_std_bounds=WIDE)
    np.testing.assert_allclose(kernel.theta, np.log([1.0, 2.0]))
    np.testing.assert_allclose(kernel.bounds, np.log([WIDE, WIDE]))
    kernel.theta = np.log([3.0, 0.5])
    expected = NeuralKernel(weight_std=[3.0, 0.5])
    np.testing.assert_allclose(kernel(X), expected(X), rtol=1e-14)
    assert repr(kernel).startswith("NeuralKernel(kernel='nngp', depth=None, activation='relu', wei")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bias_std_bounds": WIDE}, "bias_std=0.0: expected above 0, or bias_std_bounds='fixed'"),
        ({"weight_std_bounds": "free"}, "weight_std_bounds='free': expected an array of numbers"),
        ({"weight_std_bounds": (2.0, 1.0)}, r"weight_std_bounds=\(2.0, 1.0\): expected 'fixed'"),
        ({"weight_std_bounds": (0.0, 1.0)}, r"weight_std_bounds=\(0.0, 1.0\): expected 'fixed'"),
        ({"weight_std_bounds": [WIDE] * 2}, r"weight_std_bounds=\[.*for each of the 1 values"),
        (
            {"depth": 0, "weight_std": [1.0], "weight_std_bounds": WIDE},
            r"weight_std=\[1.0\]: expected a numb",
        ),
    ],
)
def test_bounds_are_refused_by_name(options: dict[str, Any], message: str) -> None:
    kernel = NeuralKernel(**{"depth": 1} | options)
    with pytest.raises((ValueError, TypeError), match=message):
        kernel(X, eval_gradient=True)


def test_the_old_name_of_the_kernel() -> None:
    with pytest.warns(DeprecationWarning, match="kind: NeuralKernel calls it kernel now") as found:
        kernel = NeuralKernel(kind="ntk", depth=1)
    assert [each.filename for each in found] == [__file__]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert clone(kernel).get_params() == kernel.get_params()
        assert "kind" not in kernel.get_params()
        assert kernel == NeuralKernel("ntk", 1)
        assert repr(kernel).startswith("NeuralKernel(kernel='ntk', depth=1, ")
    for use in (
        lambda: kernel.kind,
        lambda: setattr(kernel, "kind", "nngp"),
        lambda: kernel.set_params(kind="ntk", depth=2),
    ):
        with pytest.warns(DeprecationWarning, match="kind") as found:
            use()
        assert [each.filename for each in found] == [__file__]
    assert kernel == NeuralKernel("ntk", 2)
