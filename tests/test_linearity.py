# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Products with the Hessian, and its spectral norm."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from interrupts import assert_ctrl_c_stops
from reference import ReferenceNetwork
from tolerances import assert_close

import fastntk
from fastntk.activations import FINITE_WIDTH
from fastntk.linearity import hessian_norm, hessian_vector_product

Array = npt.NDArray[np.float64]

# Central differences with steps of 1e-5 err by the square of the step, and rounding over the step.
DIFFERENCES = 1e-7


def normal(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape)


def moved(net: fastntk.MLP, change: Array, bias_std: float, parametrization: str) -> fastntk.MLP:
    """The network with its parameters changed."""
    weights, biases, first = [], [], 0
    for layer, w in enumerate(net.weights):
        weights.append(w + change[first : first + w.size].reshape(w.shape))
        first += w.size
        if net.biases is not None:
            biases.append(net.biases[layer] + change[first : first + len(w)])
            first += len(w)
    return fastntk.MLP.from_weights(
        weights,
        biases or None,
        activation=net.activation,
        bias_std=bias_std,
        parametrization=parametrization,
    )


def dense_hessian(net: fastntk.MLP, x: Array, output: int = 0) -> Array:
    H = hessian_vector_product(net, x, np.eye(net.n_parameters), output=output)
    return np.asarray((H + H.T) / 2)


@pytest.mark.parametrize("bias_std", [0.0, 0.4])
@pytest.mark.parametrize("activation", FINITE_WIDTH)
def test_products_agree_with_the_reference(activation: str, bias_std: float) -> None:
    net = fastntk.MLP([3, 6, 5, 2], activation=activation, bias_std=bias_std, seed=2)
    X, u, v = normal(4, 3), normal(4, seed=1), normal(net.n_parameters, seed=2)
    step = 1e-5
    sides = []
    for sign in (1, -1):
        change = moved(net, sign * step * v, bias_std, "ntk")
        reference = ReferenceNetwork.like(change, bias_std=bias_std)
        sides.append(sum(a * reference.gradient(x, 1) for a, x in zip(u, X, strict=True)))
    expected = (sides[0] - sides[1]) / (2 * step)
    actual = hessian_vector_product(net, X, v, output=1, coefficients=u)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=DIFFERENCES * np.abs(expected).max())


@given(
    st.lists(st.integers(1, 8), min_size=2, max_size=5),
    st.sampled_from(["tanh", "softplus", "identity", "gelu"]),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from(["ntk", "standard"]),
    st.integers(1, 12),
    st.integers(1, 6),
)
def test_products_are_derivatives_of_the_gradient(
    widths: list[int], activation: str, bias_std: float, parametrization: str, n: int, k: int
) -> None:
    options: dict[str, Any] = {"bias_std": bias_std, "parametrization": parametrization}
    net = fastntk.MLP(widths, activation=activation, **options)
    X, u = normal(n, widths[0]), normal(n, widths[-1], seed=1)
    V = normal(net.n_parameters, k, seed=2)
    products = hessian_vector_product(net, X, V, coefficients=u)
    assert products.shape == V.shape
    step = 1e-5
    scale = float(np.abs(net.vjp(X, u)).max())
    for v, product in zip(V.T, products.T, strict=True):
        sides = [moved(net, s * step * v, **options).vjp(X, u) for s in (1, -1)]
        expected = (sides[0] - sides[1]) / (2 * step)
        atol = 10 * DIFFERENCES * (np.abs(expected).max() + scale)
        np.testing.assert_allclose(product, expected, rtol=0, atol=atol)


@given(
    st.lists(st.integers(1, 9), min_size=3, max_size=5),
    st.sampled_from(FINITE_WIDTH),
    st.sampled_from([0.0, 0.4]),
    st.integers(1, 6),
)
def test_products_are_bilinear_and_symmetric(
    widths: list[int], activation: str, bias_std: float, n: int
) -> None:
    net = fastntk.MLP(widths, activation=activation, bias_std=bias_std)
    X = normal(n, widths[0])
    v, w = normal(2, net.n_parameters, seed=1)
    a, b = normal(2, n, seed=2)

    def product(direction: Array, coefficients: Array) -> Array:
        result: Array = hessian_vector_product(
            net, X, direction, output=widths[-1] - 1, coefficients=coefficients
        )
        return result

    of_v, of_w = product(v, a), product(w, a)
    norm = np.linalg.norm
    scale = float(norm(of_v) * norm(w) + norm(of_w) * norm(v))
    assert abs(float(w @ of_v) - float(v @ of_w)) <= 1e-12 * scale
    for actual, parts in (
        (product(2 * v - 3 * w, a), (2 * of_v, -3 * of_w)),
        (product(v, 2 * a - 3 * b), (2 * of_v, -3 * product(v, b))),
    ):
        largest = max(float(np.abs(part).max()) for part in parts)
        np.testing.assert_allclose(actual, sum(parts), rtol=0, atol=1e-12 * max(largest, 1e-300))


def test_coefficients_of_all_outputs() -> None:
    net = fastntk.MLP([4, 20, 3], activation="gelu", bias_std=0.2)
    X, v, u = normal(7, 4), normal(net.n_parameters, 2), normal(7, 3, seed=1)
    each = [hessian_vector_product(net, X, v, output=c, coefficients=u[:, c]) for c in range(3)]
    assert_close(hessian_vector_product(net, X, v, coefficients=u), sum(each), "float64")
    ones = hessian_vector_product(net, X, v, output=2, coefficients=np.ones(7))
    assert np.array_equal(hessian_vector_product(net, X, v, output=2), ones)
    alone = hessian_vector_product(net, X, v[:, 1], output=2)
    assert np.array_equal(alone, ones[:, 1])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "phi",
    [
        *("relu", "leaky_relu", "abs", "relu2", "elu", "selu", "softsign", "relu6"),
        fastntk.activations.abrelu(-0.4, 1.5),
        fastntk.activations.rectified_monomial(1),
        fastntk.activations.rectified_monomial(3),
        fastntk.activations.elu(1.7),
    ],
    ids=repr,
)
def test_at_a_kink_derivatives_are_those_from_the_left(phi: Any, dtype: str) -> None:
    """f = v φ(w x) with w x = 0: ∂²f/∂w² = v φ''(0) x² and ∂²f/∂v∂w = φ'(0) x."""
    net = fastntk.MLP.from_weights(
        [np.array([[0.0]]), np.array([[3.0]])],
        activation=phi,
        activation_scale=1.0,
        weight_std=1.0,
        dtype=dtype,
    )
    entry = net.activation
    assert entry.derivative is not None
    assert entry.curvature is not None
    slope, bend = (float(part(np.zeros(1))[0]) for part in (entry.derivative, entry.curvature))
    expected = np.array([[3 * bend * 4.0, slope * 2.0], [slope * 2.0, 0.0]])
    H = hessian_vector_product(net, [[2.0]], np.eye(2, dtype=dtype))
    np.testing.assert_allclose(H, expected, rtol=1e-6, atol=0)
    left = fastntk.MLP.from_weights(
        [np.array([[-1e-30]]), np.array([[3.0]])],
        activation=phi,
        activation_scale=1.0,
        weight_std=1.0,
        dtype=dtype,
    )
    np.testing.assert_allclose(
        hessian_vector_product(left, [[2.0]], np.eye(2, dtype=dtype)), H, rtol=1e-6, atol=1e-25
    )
    np.testing.assert_allclose(
        fastntk.linearity.hessian_norm(net, [[2.0]]).values,
        np.abs(np.linalg.eigvalsh(expected)).max(),
        rtol=1e-6,
    )


@pytest.mark.parametrize("bias_std", [0.0, 1.0])
def test_a_model_that_is_linear_in_its_parameters_has_no_hessian(bias_std: float) -> None:
    net = fastntk.MLP([5, 3], bias_std=bias_std)
    X = normal(4, 5)
    assert not hessian_vector_product(net, X, normal(net.n_parameters)).any()
    norms = hessian_norm(net, X)
    assert not norms.values.any()
    assert not norms.errors.any()
    assert norms.resolved.all()


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_linear_network_with_one_hidden_layer(parametrization: str) -> None:
    """f = s₁ s₂ w · W x: the eigenvalues are ±s₁ s₂ ‖x‖, each as often as there are units."""
    d, m = 4, 9
    net = fastntk.MLP([d, m, 1], activation="identity", parametrization=parametrization)
    x = normal(1, d)
    scale = 1 / np.sqrt(d * m) if parametrization == "ntk" else 1.0
    V, v = normal(m, d, seed=1), normal(m, seed=2)
    expected = np.concatenate([scale * np.outer(v, x[0]).ravel(), scale * (V @ x[0])])
    direction = np.concatenate([V.ravel(), v])
    assert_close(hessian_vector_product(net, x, direction), expected, "float64")
    norms = hessian_norm(net, x)
    assert norms.values[0] == pytest.approx(scale * np.linalg.norm(x), rel=1e-12, abs=0)
    assert norms.resolved[0]


@pytest.mark.parametrize("depth", [1, 2, 4])
@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "abs", "identity"])
def test_homogeneous_networks(activation: str, depth: int) -> None:
    """f has degree L + 1 in the weights, so H w = L ∇f (Euler), and degree 1 in the input."""
    net = fastntk.MLP([5, *[11] * depth, 2], activation=activation)
    X, u, v = normal(6, 5), normal(6, seed=1), normal(net.n_parameters, seed=2)
    w = np.concatenate([a.ravel() for a in net.weights])
    gradient = net.gradient_features(X, 1).T @ u
    product = hessian_vector_product(net, X, w, output=1, coefficients=u)
    assert_close(product, depth * gradient, "float64")
    of_v = hessian_vector_product(net, X, v, coefficients=u)
    assert_close(hessian_vector_product(net, 3 * X, v, coefficients=u), 3 * of_v, "float64")
    values = hessian_norm(net, X).values
    np.testing.assert_allclose(hessian_norm(net, 3 * X).values, 3 * values, rtol=1e-9)


def test_many_samples_are_the_sum_of_their_parts() -> None:
    net = fastntk.MLP([3, 30, 20, 1], activation="silu", bias_std=0.3)
    X, u, v = normal(2500, 3), normal(2500, seed=1), normal(net.n_parameters, seed=2)
    parts = [
        hessian_vector_product(net, X[rows], v, coefficients=u[rows])
        for rows in (slice(0, 700), slice(700, 701), slice(701, 2500))
    ]
    assert_close(hessian_vector_product(net, X, v, coefficients=u), sum(parts), "float64")


@pytest.mark.parametrize("activation", ["relu", "tanh", "softplus"])
def test_float32_agrees_with_float64(activation: str) -> None:
    single = fastntk.MLP([6, 40, 30, 2], activation=activation, dtype="float32", bias_std=0.1)
    double = single.astype("float64")
    X = normal(9, 6).astype("float32")
    v = normal(single.n_parameters, 3, seed=1).astype("float32")
    product = hessian_vector_product(single, X, v, output=1)
    assert product.dtype == np.float32
    assert_close(product, hessian_vector_product(double, X, v, output=1), "float32")
    assert np.array_equal(hessian_norm(single, X).values, hessian_norm(double, X).values)


def test_results_do_not_depend_on_threads() -> None:
    from threadpoolctl import threadpool_limits

    net = fastntk.MLP([5, 300, 40, 2], activation="tanh", bias_std=0.5)
    X, v = normal(1100, 5), normal(net.n_parameters, 3, seed=1)
    products, norms = [], []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            products.append(hessian_vector_product(net, X, v))
            norms.append(hessian_norm(net, X[:3]).values)
    for other in (1, 2):
        assert np.array_equal(products[0], products[other])
        assert np.array_equal(norms[0], norms[other])


@given(
    st.lists(st.integers(1, 7), min_size=2, max_size=4),
    st.sampled_from(["relu", "tanh", "identity", "gelu", "relu2"]),
    st.sampled_from([0.0, 0.4]),
    st.sampled_from(["ntk", "standard"]),
    st.sampled_from(["as it is", "inputs of 0", "readout of 0"]),
    st.integers(0, 3),
)
def test_norms_are_those_of_the_dense_hessian(
    widths: list[int],
    activation: str,
    bias_std: float,
    parametrization: str,
    special: str,
    seed: int,
) -> None:
    net = fastntk.MLP(
        widths, activation=activation, bias_std=bias_std, parametrization=parametrization, seed=seed
    )
    X = normal(2, widths[0], seed=seed)
    if special == "inputs of 0":  # h̄ may be 0
        X[0] = 0.0
    if special == "readout of 0":  # all δ are 0, H is not
        weights = [*net.weights[:-1], 0 * net.weights[-1]]
        net = fastntk.MLP.from_weights(
            weights,
            net.biases,
            activation=activation,
            bias_std=bias_std,
            parametrization=parametrization,
        )
    output = widths[-1] - 1
    norms = hessian_norm(net, X, output=output)
    assert norms.resolved.all()
    for x, value, error in zip(X, norms.values, norms.errors, strict=True):
        expected = np.abs(np.linalg.eigvalsh(dense_hessian(net, x[np.newaxis], output))).max()
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-13)
        assert error <= 1e-5 * value


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e3])  # of the inputs, and so of H
def test_errors_are_honest_before_convergence(size: float) -> None:
    net = fastntk.MLP([6, 20, 15, 1], seed=4)
    X = size * normal(4, 6)
    spectra = [np.abs(np.linalg.eigvalsh(dense_hessian(net, x[np.newaxis]))) for x in X]
    for passes in (1, 2, 3, 4):
        norms = hessian_norm(net, X, most_passes=passes, tolerance=1e-9)
        for eigenvalues, value, error, resolved in zip(
            spectra, norms.values, norms.errors, norms.resolved, strict=True
        ):
            assert value <= eigenvalues.max() * (1 + 1e-12)
            assert np.abs(eigenvalues - value).min() <= error * (1 + 1e-9)
            assert resolved == (error <= 1e-9 * value)
        if passes == 1:
            assert not norms.resolved.any()


def slope_of_norms(widths: Any, activation: str, ms: tuple[int, ...], seeds: int) -> float:
    """The slope of log ‖H‖ against log m, each averaged over seeds and samples."""
    X = normal(2, 10, seed=5)
    means = []
    for m in ms:
        nets = [fastntk.MLP(widths(m), activation=activation, seed=s) for s in range(seeds)]
        norms = [hessian_norm(net, X, tolerance=1e-3) for net in nets]
        assert all(n.resolved.all() for n in norms)
        means.append(np.mean([n.values for n in norms]))
    return float(np.polyfit(np.log(ms), np.log(means), 1)[0])


@pytest.mark.parametrize("hidden", [1, 2])
@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus"])
def test_the_norm_falls_like_one_over_the_root_of_the_width(activation: str, hidden: int) -> None:
    """Slope -1/2 up to a logarithm: max_j |w_j φ''(z_j)| of m units grows like √(2 log m).

    Alone, that makes the slope of √(log m/m) from 64 to 1024 −0.41.
    """
    slope = slope_of_norms(lambda m: [10, *[m] * hidden, 1], activation, (64, 256, 1024), 5)
    assert -0.53 < slope < -0.38


def test_without_curvature_there_is_no_logarithm() -> None:
    for activation in ("relu", "identity"):
        slope = slope_of_norms(lambda m: [10, m, m, 1], activation, (64, 256), 5)
        assert -0.54 < slope < -0.46


def test_the_norm_does_not_fall_with_a_bottleneck() -> None:
    assert slope_of_norms(lambda m: [10, m, 1, m, 1], "tanh", (32, 128, 512), 6) > -0.2


@pytest.mark.parametrize("function", [hessian_vector_product, hessian_norm])
def test_custom_activations_are_refused(function: Any) -> None:
    def progress(stage: str, done: int, total: int) -> None:
        pytest.fail("work has begun")

    net = fastntk.MLP(
        [3, 5, 1], activation=fastntk.activations.custom(lambda x: x**3, lambda x: 3 * x**2)
    )
    directions = (normal(net.n_parameters),) if function is hessian_vector_product else ()
    with pytest.raises(ValueError, match=r"activation Activation\(custom\): expected one with a s"):
        function(net, normal(2, 3), *directions, progress=progress)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n, X, v: hessian_vector_product(n, X[:, :2], v), ValueError, "X has shape"),
        (
            lambda n, X, v: hessian_vector_product(n, X, v[:3]),
            ValueError,
            r"v has shape \(3,\): expected \(35,\) or \(35, k\)",
        ),
        (
            lambda n, X, v: hessian_vector_product(n, X, v * np.nan),
            ValueError,
            r"^v\[0\]=nan: expected",
        ),
        (
            lambda n, X, v: hessian_vector_product(n, X, v, output=2),
            ValueError,
            "output=2: expected an integer of at least 0 and at most 1",
        ),
        (
            lambda n, X, v: hessian_vector_product(n, X, v, output=True),
            TypeError,
            "output=True: expected an integer",
        ),
        (
            lambda n, X, v: hessian_vector_product(n, X, v, coefficients=np.ones(4)),
            ValueError,
            r"coefficients has shape \(4,\): expected \(5,\) or \(5, 2\)",
        ),
        (
            lambda n, X, v: hessian_vector_product(n, X, v, coefficients=np.full(5, np.inf)),
            ValueError,
            r"^coefficients\[0\]=inf: expected",
        ),
        (lambda n, X, _: hessian_norm(n, X, output=-1), ValueError, "output=-1: expected an in"),
        (lambda n, X, _: hessian_norm(n, X, tolerance=0), ValueError, "tolerance=0: expected a"),
        (lambda n, X, _: hessian_norm(n, X, most_passes=0), ValueError, "most_passes=0: expect"),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], message: str) -> None:
    net = fastntk.MLP([3, 7, 2])
    with pytest.raises(error, match=message):
        call(net, normal(5, 3), normal(35))


def test_progress_is_told_and_may_end_the_work() -> None:
    net = fastntk.MLP([3, 20, 1], activation="tanh")
    X, seen = normal(4, 3), []

    def progress(*report: Any) -> None:
        seen.append(report)

    hessian_norm(net, X, progress=progress)
    assert seen == [("samples", k, 4) for k in (1, 2, 3, 4)]
    seen.clear()
    hessian_vector_product(net, X, normal(net.n_parameters), progress=progress)
    assert {stage for stage, _, _ in seen} == {"passes", "tangents", "sums"}

    def fail(stage: str, done: int, total: int) -> None:
        raise RuntimeError(stage)

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="samples"):
        hessian_norm(net, X, progress=fail)
    with pytest.raises(RuntimeError, match="passes"):
        hessian_vector_product(net, X, normal(net.n_parameters), progress=fail)
    assert threading.active_count() == before


@pytest.mark.skipif(os.name != "posix", reason="sends a POSIX signal")
@pytest.mark.parametrize(
    "call",
    [
        "hessian_norm(net, X, tolerance=1e-30, most_passes=10**6)",
        "hessian_vector_product(net, np.tile(X, (20000, 1)), v)",
    ],
)
def test_ctrl_c_stops(call: str) -> None:
    program = f"""
        import sys
        import threading
        import numpy as np
        import fastntk
        from fastntk.linearity import hessian_norm, hessian_vector_product

        net = fastntk.MLP([10, 1000, 1000, 1], activation="tanh")
        X, v = np.ones((4, 10)), np.ones((net.n_parameters, 8))
        # When the work has begun.
        threading.Timer(0.5, lambda: print("started", flush=True)).start()
        try:
            {call}
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        else:
            sys.exit("the work was done before the signal came")
        print(hessian_norm(fastntk.MLP([3, 1]), np.ones((1, 3))).values, flush=True)
        """
    assert_ctrl_c_stops(program, then="[0.]")
