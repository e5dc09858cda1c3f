# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training of the linear model: closed forms against a loop over the steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tolerances import assert_close

import fastntk
from fastntk._kernel_descent import Descent, Flow, Spectrum

Array = npt.NDArray[np.float64]

generator = np.random.default_rng(0)
X = generator.standard_normal((12, 4))
Z = generator.standard_normal((5, 4))
Y = generator.standard_normal((12, 3))


def explicit_descent(
    net: fastntk.MLP, omega: Array, rate: float, steps: int
) -> tuple[Array, Array, Array, float]:
    """Δw, f(X), f(Z) and the loss after so many steps, from the gradients themselves."""
    F, G = net.jacobian(X), net.jacobian(Z)  # (n, C, P)
    change = np.zeros(net.n_parameters)
    for _ in range(steps):
        residual = net(X) + F @ change - Y
        change -= rate * omega * np.einsum("ncp,nc->p", F, residual) / len(X)
    f = net(X) + F @ change
    return change, f, net(Z) + G @ change, float(((f - Y) ** 2).sum() / (2 * len(X)))


@pytest.mark.parametrize("steps", [0, 1, 7, 60])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"activation": "gelu", "bias_std": 0.3},
        {"parametrization": "standard", "bias_std": 0.5},
    ],
)
@pytest.mark.parametrize("layer_weights", [None, [1.0, 0.0, 0.0], [0.5, 2.0, 1.0]])
def test_descent_is_that_of_an_explicit_loop(
    options: dict[str, Any], layer_weights: list[float] | None, steps: int
) -> None:
    net = fastntk.MLP([4, 16, 9, 3], seed=3, **options)
    omega = np.concatenate(
        [
            np.full(w.size + (0 if net.biases is None else len(w)), o)
            for w, o in zip(net.weights, layer_weights or [1.0] * 3, strict=True)
        ]
    )
    training = net.linearize().fit(X, Y, layer_weights=layer_weights)
    rate = 0.8 * training.largest_learning_rate
    change, f, g, loss = explicit_descent(net, omega, rate, steps)
    at: dict[str, Any] = {"steps": steps, "learning_rate": rate}
    np.testing.assert_allclose(training.outputs(**at), f, atol=1e-10)
    np.testing.assert_allclose(training.outputs(Z, **at), g, atol=1e-10)
    np.testing.assert_allclose(training.parameter_change(**at), change, atol=1e-10)
    assert training.loss(**at) == pytest.approx(loss, rel=1e-9)


def test_outputs_by_themselves() -> None:
    net = fastntk.MLP([4, 32, 3], seed=1)
    training = net.linearize().fit(X, Y, outputs="diagonal")
    f, g = net(X), net(Z)
    K, cross = net.ntk(X, outputs="diagonal"), net.ntk(Z, X, outputs="diagonal")
    for _ in range(25):
        residual = f - Y
        g -= 0.7 / 12 * np.einsum("mnc,nc->mc", cross, residual)
        f -= 0.7 / 12 * np.einsum("mnc,nc->mc", K, residual)
    at: dict[str, Any] = {"steps": 25, "learning_rate": 0.7}
    assert_close(training.outputs(**at), f, "float64")
    assert_close(training.outputs(Z, **at), g, "float64")
    assert training.loss(**at) == pytest.approx(((f - Y) ** 2).sum() / 24, rel=1e-11)
    assert training.eigenvalues.shape == (3, 12)


def test_both_kinds_agree_where_outputs_share_nothing() -> None:
    net = fastntk.MLP([4, 3])  # depth 0
    full, diagonal = (net.linearize().fit(X, Y, outputs=o) for o in ("full", "diagonal"))
    for at in ({"time": 3.0}, {"steps": 9, "learning_rate": 0.3}):
        options: Any = at
        assert_close(full.outputs(Z, **options), diagonal.outputs(Z, **options), "float64")
        assert_close(
            full.parameter_change(**options), diagonal.parameter_change(**options), "float64"
        )


@pytest.mark.parametrize("outputs", ["full", "diagonal"])
def test_flow_is_the_limit_of_small_steps(outputs: str) -> None:
    training = fastntk.MLP([4, 32, 3]).linearize().fit(X, Y, outputs=outputs)
    time = 4.0
    flow = training.outputs(Z, time=time)
    errors = [
        np.abs(training.outputs(Z, steps=k, learning_rate=time / k) - flow).max()
        for k in (1000, 2000, 4000)
    ]
    assert errors[0] < 1e-2
    np.testing.assert_allclose(np.divide(errors[:-1], errors[1:]), 2.0, rtol=0.01)  # first order


@pytest.mark.parametrize("outputs", ["full", "diagonal"])
def test_arrays_of_times_and_steps(outputs: str) -> None:
    net = fastntk.MLP([4, 8, 3])
    training = net.linearize().fit(X, Y, outputs=outputs)
    times = np.array([[0.0, 0.1], [3.0, 20.0], [1e3, 1e6]])
    for at in ({"time": times}, {"steps": 10 * times, "learning_rate": 0.2}):
        all_of_them: Any = at
        f, g = training.outputs(**all_of_them), training.outputs(Z, **all_of_them)
        loss, change = training.loss(**all_of_them), training.parameter_change(**all_of_them)
        assert [a.shape for a in (f, g, loss, change)] == [
            (3, 2, 12, 3),
            (3, 2, 5, 3),
            (3, 2),
            (3, 2, net.n_parameters),
        ]
        for index in np.ndindex(times.shape):
            one: Any = {**at, **{k: v[index] for k, v in at.items() if isinstance(v, np.ndarray)}}
            assert_close(f[index], training.outputs(**one), "float64")
            assert_close(g[index], training.outputs(Z, **one), "float64")
            assert_close(change[index], training.parameter_change(**one), "float64")
            assert loss[index] == pytest.approx(float(training.loss(**one)), rel=1e-12)
    assert_close(training.outputs(time=0.0), net(X), "float64")
    assert_close(training.outputs(Z, time=0.0), net(Z), "float64")


def test_many_samples_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    training = fastntk.MLP([4, 8, 3]).linearize().fit(X, Y)
    expected = training.outputs(Z, time=2.0)
    monkeypatch.setattr("fastntk.linearized_training._CROSS_KERNEL_ENTRIES", 2 * 12 * 9)
    assert_close(training.outputs(Z, time=2.0), expected, "float64")


def test_learning_rates() -> None:
    training = fastntk.MLP([4, 64, 1]).linearize().fit(X, Y[:, 0])
    values = np.linalg.eigvalsh(training._net.ntk(X))
    assert training.largest_learning_rate == pytest.approx(24 / values[-1], rel=1e-12)
    assert training.best_learning_rate == pytest.approx(24 / (values[-1] + values[0]), rel=1e-12)
    converging, diverging = (
        training.loss(steps=[0, 10**5], learning_rate=share * training.largest_learning_rate)
        for share in (0.99, 1.01)
    )
    assert converging[1] < 1e-6 * converging[0]
    assert diverging[1] > 1e6 * diverging[0]
    # (1 − ηλ_min/n)² a step, at last
    at_best = training.loss(steps=[100_000, 100_001], learning_rate=training.best_learning_rate)
    if at_best[0] > 1e-290:
        ratio = (values[-1] - values[0]) / (values[-1] + values[0])
        assert at_best[1] / at_best[0] == pytest.approx(ratio**2, rel=1e-9)


def test_float32_networks() -> None:
    net = fastntk.MLP([4, 64, 3], dtype="float32")
    single = net.linearize().fit(X, Y).outputs(Z, time=5.0)
    double = net.astype("float64").linearize().fit(X, Y).outputs(Z, time=5.0)
    assert single.dtype == np.float64
    np.testing.assert_allclose(single, double, atol=1e-4)


@given(
    hnp.arrays(np.float64, 6, elements=st.floats(0, 50) | st.floats(0, 1e-12)),
    st.integers(1, 40),
    st.floats(1e-3, 1.0),
)
def test_filters(values: Array, k: int, rate: float) -> None:
    """(1 − q)/λ, without a division: the sum of a geometric series."""
    descent = Descent(rate, np.array(float(k)))
    series = sum((1 - rate * values / 3) ** i for i in range(k)) * rate / 3
    scale = max(1.0, float(np.abs(1 - rate * values / 3).max())) ** k * k * rate / 3
    np.testing.assert_allclose(descent.gain(values, 3), series, rtol=1e-12, atol=1e-13 * scale)
    np.testing.assert_allclose(descent.remaining(values, 3), (1 - rate * values / 3) ** k)
    flow = Flow(np.array(rate * k))
    np.testing.assert_allclose(
        flow.gain(values, 3) * values, 1 - flow.remaining(values, 3), atol=1e-15
    )
    tiny = values < 1e-10
    np.testing.assert_allclose(flow.gain(values, 3)[tiny], rate * k / 3, rtol=1e-8)


def test_spectrum_of_a_singular_kernel() -> None:
    half = generator.standard_normal((8, 3))
    K = half @ half.T
    spectrum = Spectrum.of(K)
    assert (spectrum.values >= 0).all()
    assert_close(spectrum.apply(spectrum.values, np.eye(8)), K, "float64")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"X": X[:, :3]}, ValueError, r"X has shape \(12, 3\): expected 4 columns"),
        ({"y": Y[:5]}, ValueError, r"y has shape \(5, 3\): expected \(12, 3\)"),
        ({"y": Y[:, :2]}, ValueError, r"y has shape \(12, 2\): expected \(12, 3\)"),
        ({"y": Y * np.nan}, ValueError, r"y\[0, 0\]=.*nan.*: expected numbers that are finite"),
        ({"outputs": "trace"}, ValueError, "outputs='trace': expected one of 'full', 'diagonal'"),
        ({"layer_weights": [1.0]}, ValueError, r"layer_weights=\[1.0\]: expected 2 numbers"),
    ],
)
def test_bad_models(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        fastntk.MLP([4, 8, 3]).linearize().fit(**{"X": X, "y": Y, **arguments})


@pytest.mark.parametrize(
    ("at", "error", "message"),
    [
        ({}, TypeError, "time=None, steps=None, learning_rate=None: expected a time, or steps"),
        ({"steps": 3}, TypeError, "expected a time, or steps and their learning rate"),
        ({"time": 3.0, "learning_rate": 0.1}, TypeError, "expected a time, or steps"),
        ({"time": -1.0}, ValueError, "time=-1.0: expected finite numbers of at least 0"),
        ({"time": [0.0, np.inf]}, ValueError, "time=.*inf.*: expected finite numbers"),
        ({"time": "now"}, TypeError, "time='now': expected finite numbers"),
        ({"steps": 1.5, "learning_rate": 0.1}, ValueError, "steps=1.5: expected whole numbers"),
        ({"steps": 1, "learning_rate": 0.0}, ValueError, "learning_rate=0.0: expected a finite"),
        ({"steps": 1, "learning_rate": np.nan}, ValueError, "learning_rate=nan: expected a fini"),
    ],
)
def test_bad_times(at: dict[str, Any], error: type[Exception], message: str) -> None:
    training = fastntk.MLP([4, 8, 3]).linearize().fit(X, Y)
    for ask in (training.outputs, training.loss, training.parameter_change):
        with pytest.raises(error, match=message):
            ask(**at)


def test_too_large_for_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastntk._memory.available_memory", lambda: 2**14)
    with pytest.raises(MemoryError, match=r"kernels of 36 rows .* or outputs='diagonal'"):
        fastntk.MLP([4, 8, 3]).linearize().fit(X, Y)
