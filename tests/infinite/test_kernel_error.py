# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Conditioning at infinite width knows by how much the kernel may be off."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from exact_networks import CASES, DIGITS, covariance_of, exact_kernels

import fastntk
from fastntk import activations, infinite, layers
from fastntk.infinite.duals import Correlation, Gaps
from fastntk.infinite.kernel_errors import _DOUBT, _GROWTH_DOUBT, _STEP, kernel_error
from fastntk.infinite.sample_norms import Samples

OTHERS = ["selu", "gabor", "gelu_tanh", "mish", "sin"]
NAMES = ["relu", "erf", "gelu", "elu", "tanh", "sigmoid", "silu", "softplus"]


@pytest.mark.parametrize("inputs", [3, 784, 10_000, 100_003])
def test_norms_of_many_inputs_are_right_to_the_last_digits(inputs: int) -> None:
    """Of equal entries all squares are rounded to the same side."""
    X = np.vstack([np.full(inputs, 1 / 3), np.full(inputs, -0.1), np.arange(inputs) / 7])
    exact = [sum((Fraction(x) ** 2 for x in row.tolist()), Fraction()) / inputs for row in X]
    norms = Samples.of(X).norms
    for k, square in enumerate(exact):
        high, low = (Fraction(float(part[k])) for part in (norms.significands, norms.rests))
        squared = (high + low) ** 2 * Fraction(4) ** int(norms.exponents[k]) / inputs
        assert abs(squared / square - 1) < Fraction(inputs, 2**53) ** 2
        assert abs(low) <= high * 2**-53
    for depth in (0, 2):
        net = infinite.Network(depth)
        K = net.ntk(X)
        for k, square in enumerate(exact):  # ReLU: each layer adds its input's
            error = abs(Fraction(float(K[k, k])) - (1 + depth) * square)
            assert error < net.kernel_error(X, K)
            assert error < Fraction(1, 2**48) * square


@pytest.mark.parametrize("activation", [*NAMES, *OTHERS, activations.polynomial(0, 1, 1)])
def test_rows_of_zeros_beside_others(activation: Any) -> None:
    net = infinite.Network(1, activation)
    samples: list[Any] = [[[0.0, 0.0]], [[0.0, 0.0], [1.0, 2.0]], [[0.0, 0.0], [1e-10, 0.0]]]
    for X in samples:
        K = net.ntk(X)
        size = np.abs(K).max()
        assert np.isfinite(K).all()
        assert net.kernel_error(X, K) <= 1e-6 * size
        assert abs(K[0, 0] - net.ntk(X[:1])[0, 0]) <= 1e-13 * size


@pytest.mark.parametrize("activation", [*NAMES, activations.elu(0.5), activations.leaky_relu(0.2)])
@pytest.mark.parametrize("bias_std", [0.0, 0.1])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_sample_that_comes_twice_is_never_resolved(
    activation: Any, bias_std: float, normalize: bool
) -> None:
    for n, d in ((5, 3), (20, 6)):
        X = np.random.default_rng(0).standard_normal((n, d))
        X = np.vstack([X, X[:1]])
        net = infinite.Network(3, activation, bias_std=bias_std)
        result = net.conditioning(X, normalize=normalize)
        assert not result.resolved
        assert result.rank is not None
        assert result.rank <= n
        assert result.bounds is not None
        assert result.bounds.eigenvalue_min.lower <= 0
        assert result.bounds.condition_number.upper == np.inf


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "erf"])
def test_the_error_is_what_the_tolerance_and_the_depth_say(activation: str) -> None:
    X = np.random.default_rng(1).standard_normal((12, 4))
    for depth in (1, 4):
        loose = infinite.Network(depth, activation, tolerance=1e-6)
        exact = infinite.Network(depth, activation, tolerance=1e-13)
        K = loose.ntk(X)
        error = kernel_error(loose, Samples.of(X).norms) * np.trace(K)
        assert np.linalg.norm(K - exact.ntk(X), 2) <= error
        result = loose.conditioning(X)
        assert result.noise_floor >= error
        if result.resolved:
            assert result.noise_floor <= error + 1e-13 * result.eigenvalue_max
        if activation != "erf":
            assert error >= 1e-6 * np.trace(K)


def test_a_kernel_of_something_else_is_refused() -> None:
    X = np.random.default_rng(1).standard_normal((12, 4))
    net = infinite.Network(2, "erf", bias_std=0.1)
    K = net.ntk(X)
    error = net.kernel_error(X, K)
    assert net.kernel_error(X, K * (1 + 1e-4)) == pytest.approx(error, rel=1e-3)
    normalized = net.ntk(X, normalize=True)
    assert net.kernel_error(X, normalized) == net.kernel_error(X[::-1], normalized)
    single = fastntk.PackedKernel.from_dense(K.astype(np.float32))
    assert net.kernel_error(X, single) > error
    changed = K.copy()
    changed[5, 5] *= 1 + 2e-3
    for other, i in (
        (changed, 5),
        (net.ntk(X[::-1]), 0),
        (net.nngp(X), 0),
        (fastntk.PackedKernel.from_dense(infinite.ntk(X, depth=3, activation="erf")), 0),
    ):
        with pytest.raises(ValueError, match=rf"^kernel\[{i}, {i}\]=.*: expected the tangent kern"):
            net.kernel_error(X, other)
    zero = np.zeros((2, 4))
    assert infinite.Network(2).kernel_error(zero, np.zeros((2, 2))) == 0


def relu_kernel(X: np.ndarray[Any, np.dtype[np.float64]], depth: int) -> mpmath.matrix:
    """Return the tangent kernel of a ReLU network of infinite width, without biases."""
    n, d = X.shape
    rows = [[mpmath.mpf(float(value)) for value in row] for row in X]
    sigma = [[mpmath.fdot(a, b) / d for b in rows] for a in rows]
    theta = [list(row) for row in sigma]
    for _ in range(depth):
        new = [[mpmath.mpf(0)] * n for _ in range(n)]
        for i in range(n):
            for j in range(n):
                size = mpmath.sqrt(sigma[i][i] * sigma[j][j])
                rho = min(mpmath.mpf(1), sigma[i][j] / size)
                gate = 1 - mpmath.acos(rho) / mpmath.pi
                new[i][j] = size * (rho * gate + mpmath.sqrt(1 - rho**2) / mpmath.pi)
                theta[i][j] = new[i][j] + theta[i][j] * gate
        sigma = new
    return mpmath.matrix(theta)


@pytest.mark.parametrize("distance", [1.0, 1e-4, 1e-8])
@pytest.mark.parametrize("depth", [1, 3, 6])
def test_relu_against_fifty_digits(distance: float, depth: int) -> None:
    X = np.random.default_rng(2).standard_normal((6, 3))
    X[5] = X[0] + distance * X[5]
    net = infinite.Network(depth)
    K = net.ntk(X)
    with mpmath.workdps(50):
        exact = relu_kernel(X, depth)
        difference = mpmath.matrix(K.tolist()) - exact
        off = float(mpmath.mnorm(difference, "f"))
        values = sorted(mpmath.eigsy(exact, eigvals_only=True))
        kappa = float(values[-1] / values[0])
    assert off <= kernel_error(net, Samples.of(X).norms) * np.trace(K)
    result = net.conditioning(X)
    assert result.bounds is not None
    assert float(values[0]) in result.bounds.eigenvalue_min
    assert float(values[-1]) in result.bounds.eigenvalue_max
    assert kappa in result.bounds.condition_number
    assert result.resolved
    assert fastntk.conditioning(K).condition_number == result.condition_number


def check_elements(name: str, seed: int, depth: int, weight_std: float, bias_std: float) -> float:
    """Check all elements of a kernel against many digits; return the error that it claims."""
    case = CASES[name]
    rng = np.random.default_rng([seed, depth])
    X = rng.standard_normal((6, 3))
    X[1] = X[0] + 10.0 ** rng.uniform(-9, -2) * X[1]
    X[2] = -X[0] + 10.0 ** rng.uniform(-9, -2) * X[2]
    X[3] *= 0.1
    X[4] = 2 * X[3]
    net = infinite.Network(depth, case.phi, weight_std, bias_std, activation_scale=1.0)
    K = net.ntk(X)
    error = kernel_error(net, Samples.of(X).norms)
    with mpmath.workdps(DIGITS):
        for i in range(len(X)):
            for j in range(i):
                covariance = covariance_of(X[[i, j]])
                x, z, exact = exact_kernels(case, covariance, depth, weight_std, bias_std)[1]
                off = abs(K[i, j] - exact) / mpmath.sqrt(x * z)
                assert off <= error, (i, j, float(off))
                assert abs(K[i, i] - x) <= error * x
    return error


CHAOTIC = [
    ("erf", 1, 1.0, 0.0),
    ("erf", 6, 4.0, 0.0),
    ("erf", 12, 3.0, 0.3),
    ("gelu", 6, 2.5, 0.1),
    ("sin", 6, 3.0, 0.0),
    ("cos", 4, 3.0, 0.2),
    ("gaussian", 6, 3.0, 0.1),
    ("relu2", 2, 1.0, 0.5),
    ("monomial", 2, 0.7, 0.0),
    ("exp_normalized", 8, 1.0, 0.0),
]


@pytest.mark.parametrize(("name", "depth", "weight_std", "bias_std"), CHAOTIC)
def test_errors_hold_in_chaotic_networks(
    name: str, depth: int, weight_std: float, bias_std: float
) -> None:
    error = check_elements(name, 0, depth, weight_std, bias_std)
    # Not far too large either: what the duals may be off, for each layer and by its growth.
    assert error < 1e-3


@pytest.mark.long
@pytest.mark.parametrize("weight_std", [0.7, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("name", [name for name in CASES if name not in ("sign", "series")])
def test_errors_hold_for_all_activations(name: str, weight_std: float) -> None:
    towers = name in ("exponential", "monomial", "relu2")
    for seed in range(3):
        for depth in (1, 2) if towers else (1, 3, 8, 20):
            for bias_std in (0.0, 0.5):
                weight = min(weight_std, 1.0) if towers else weight_std
                check_elements(name, seed, depth, weight, bias_std)


def test_growth_of_errors_follows_the_steepness_of_the_map() -> None:
    X = np.random.default_rng(0).standard_normal((3, 4))
    norms = Samples.of(X).norms
    for weight_std in (1.0, 4.0):
        shallow, deep = (
            kernel_error(infinite.Network(depth, "erf", weight_std, activation_scale=1.0), norms)
            for depth in (4, 10)
        )
        if weight_std == 1.0:
            assert deep < 10 * shallow
        else:
            assert deep > 100 * shallow


@pytest.mark.parametrize(
    "activation",
    [
        *activations.names(),
        activations.elu(1.0),
        activations.elu(0.5),
        activations.leaky_relu(0.2),
        activations.leaky_relu(1.0),
    ],
)
def test_whether_slopes_jump(activation: Any) -> None:
    phi = activations.get(activation)
    if phi.derivative is None:
        return
    x = np.linspace(-6.0, 6.0, 25)  # where the kinks are that any of them has
    step = np.abs(phi.derivative(x + 1e-9) - phi.derivative(x - 1e-9))
    dual = infinite.Network(1, activation).layers.duals[0]
    assert dual.slope_jumps == (step.max() > 1e-3)


@pytest.mark.parametrize(
    "activation", [*NAMES, "sin", "gaussian", "relu2", activations.sine(3.0, 0.4)]
)
def test_difference_quotients_of_sizes_are_not_short_by_more_than_is_allowed_for(
    activation: Any,
) -> None:
    """What a change of size does to a cosine is a distance, measured here over shorter steps."""
    dual = infinite.Network(1, activation, tolerance=1e-13).layers.duals[0]
    sizes = np.geomspace(1e-3, 1e3, 61)
    if activation == "sin" or not isinstance(activation, str):
        sizes = sizes[sizes < 5]  # beyond, all samples are orthogonal but for themselves
    of_slopes = 0.5 if dual.slope_jumps else 1.0
    for function, exponent in ((dual.gap, 1.0), (dual.derivative_gap, of_slopes)):

        def distance(step: float, function: Any = function) -> Any:
            states = dual.state(np.concatenate([sizes, (1 - step) * sizes]))
            n = len(sizes)
            state, less = states.take(slice(n)), states.take(slice(n, None))
            difference = state.deviation[:, np.newaxis] - less.deviation
            gaps = Gaps(np.zeros_like(difference), np.full_like(difference, 2.0))
            found = function(state, less, Correlation(gaps, difference)).near.diagonal()
            return np.sqrt(2 * found)

        whole = distance(_STEP)
        for share in (2.0**-2, 2.0**-5):
            part = distance(share * _STEP)
            # Twice what is allowed for goes into the error.
            assert (part <= _DOUBT * share**exponent * whole + 1e-6).all()


@pytest.mark.parametrize("activation", [*NAMES, *OTHERS, "gaussian", "relu2", "softsign", "relu6"])
def test_growth_of_sizes_is_not_short_by_more_than_is_allowed_for(activation: str) -> None:
    dual = infinite.Network(1, activation).layers.duals[0]
    sizes = np.geomspace(1e-3, 3.0 if activation in ("sin", *OTHERS) else 1e3, 61)

    def growth(step: float) -> Any:
        both = dual.state(np.concatenate([sizes, (1 - step) * sizes]))
        values = np.stack([both.activation, both.derivative]).reshape(2, 2, -1)
        return np.abs(values[:, 0] - values[:, 1]) / (step * np.maximum(values[:, 0], 1e-300))

    for share in (2.0**-3, 2.0**-6):
        assert (growth(share * _STEP) <= _GROWTH_DOUBT * growth(_STEP) + _STEP).all()


@pytest.mark.parametrize("inputs", [5, 300, 2000])
@pytest.mark.parametrize("bias_std", [0.0, 0.3])
def test_inner_products_of_many_inputs_against_many_digits(inputs: int, bias_std: float) -> None:
    """Pairs that just do not count as close, of entries whose products round to the same side."""
    rng = np.random.default_rng(inputs)
    X = np.full((5, inputs), 1 / 3)
    X[1] += 0.0213 * rng.standard_normal(inputs)  # an angle of 0.064; 0.0625 is close
    X[2] += 0.0206 * rng.standard_normal(inputs)
    X[3] = 0.1 + X[3] * rng.random(inputs)
    X[4] = -1.0001 * X[1] + 1e-3
    case = CASES["relu"]
    for depth in (0, 3, 12):
        net = infinite.Network(depth, "relu", 1.3, bias_std, activation_scale=1.0)
        K, error = net.ntk(X), kernel_error(net, Samples.of(X).norms)
        assert error < 1e-11
        with mpmath.workdps(DIGITS):
            for i in range(len(X)):
                for j in range(i):
                    covariance = covariance_of(X[[i, j]])
                    x, z, exact = exact_kernels(case, covariance, depth, 1.3, bias_std)[1]
                    assert abs(K[i, j] - exact) <= error * mpmath.sqrt(x * z)


@pytest.mark.parametrize("before", [[], [layers.LayerNorm()]])
@pytest.mark.parametrize("phi", [layers.GELU(), layers.Tanh(), layers.ReLU()])
def test_the_error_of_many_residual_blocks_stays_useful(phi: Any, before: list[Any]) -> None:
    """Sizes of sums are off by a mean of what those of their parts are, and not by the largest."""
    block = layers.Residual([*before, layers.Dense(64), phi, layers.Dense(64)], scale=0.1)
    network = fastntk.Network([layers.Dense(64), *[block] * 100, layers.Dense(1)], inputs=20)
    X = np.random.default_rng(0).standard_normal((6, 20))
    net = network.infinite()
    loose = infinite.LayeredNetwork(network.layers, inputs=20, tolerance=1e-6)
    K = net.ntk(X)
    error = net.kernel_error(X, K)
    assert error < 1e-5 * np.trace(K)
    other = loose.ntk(X)
    assert np.linalg.norm(other - K, 2) <= loose.kernel_error(X, other) + error


def test_samples_of_other_sizes_do_not_widen_the_errors_of_each_other() -> None:
    """In a sum they have other shares, and before an activation another steepness."""
    block = layers.Residual([layers.Dense(64), layers.Erf(), layers.Dense(64)])
    network = fastntk.Network([layers.Dense(64), *[block] * 100, layers.Dense(1)], inputs=20)
    X = np.random.default_rng(0).standard_normal((6, 20))
    small = np.vstack([X[:-1], 1e-3 * X[-1:]])
    net = network.infinite()
    apart, alike = (net.kernel_error(x, net.ntk(x)) / np.trace(net.ntk(x)) for x in (small, X))
    assert apart < 10 * alike < 1e-2
    result = net.conditioning(small)
    assert result.resolved
