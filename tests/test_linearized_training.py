# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training of the linear model: closed forms against a loop over the steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from threadpoolctl import threadpool_limits
from tolerances import assert_close

import fastntk
from fastntk.linearity.kernel_descent import Descent, Flow, Spectrum
from fastntk.studies.linearization import LinearizationResult, LinearizationStudy

if TYPE_CHECKING:
    from pathlib import Path

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
    assert training.loss(**at) == pytest.approx(loss, rel=1e-9, abs=0)


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
    assert training.loss(**at) == pytest.approx(((f - Y) ** 2).sum() / 24, rel=1e-11, abs=0)
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


def least_squares(
    net: fastntk.MLP, omega: Array, samples: Array, y: Array
) -> tuple[Array, Array, Array, float]:
    """Δw, f(X), f(Z) and the loss at t → ∞, from the singular values of the gradients."""
    F = net.jacobian(samples).reshape(y.size, -1)
    error = (y - net(samples)).ravel()
    change = np.sqrt(omega) * (np.linalg.pinv(F * np.sqrt(omega), rcond=1e-6) @ error)
    f = net(samples) + (F @ change).reshape(y.shape)
    g = net(Z) + net.jacobian(Z) @ change
    return change, f, g, float(((f - y) ** 2).sum() / (2 * len(samples)))


@pytest.mark.parametrize("late", [np.inf, 1e300, 1e30, 1e15, 1e9])
@pytest.mark.parametrize("disagreement", [0.0, 1.0])
@pytest.mark.parametrize("layer_weights", [None, [1.0, 0.0, 0.5]])
def test_end_of_training_is_least_squares_of_least_norm(
    late: float, disagreement: float, layer_weights: list[float] | None
) -> None:
    """With samples that are given twice and have an opposite, for which no solution may exist."""
    net = fastntk.MLP([4, 32, 32, 2], seed=5)
    samples = np.concatenate([X[:6], X[:2], -X[:1]])
    y = np.concatenate([Y[:8, :2], Y[:1, :2]])
    y[6:8] = y[:2] + disagreement
    layers = layer_weights or [1.0] * 3
    omega = np.repeat(layers, [w.size for w in net.weights])
    training = net.linearize().fit(samples, y, layer_weights=layer_weights)
    change, f, g, loss = least_squares(net, omega, samples, y)
    # The scale of descent is that of the flow: t = ηk.
    rate = 0.9 * training.largest_learning_rate
    ends: list[dict[str, Any]] = [{"time": late}]
    if np.isfinite(late):
        ends.append({"steps": np.rint(late / rate), "learning_rate": rate})
    for at in ends:
        np.testing.assert_allclose(training.outputs(**at), f, atol=1e-11)
        np.testing.assert_allclose(training.outputs(Z, **at), g, atol=1e-11)
        np.testing.assert_allclose(training.parameter_change(**at), change, atol=1e-10)
        assert training.loss(**at) == pytest.approx(loss, rel=1e-10, abs=1e-20)


def test_ends_of_each_output_by_itself() -> None:
    net = fastntk.MLP([4, 32, 3], seed=1)
    twice, y = np.concatenate([X[:5], X[:1]]), Y[:6]
    training = net.linearize().fit(twice, y, outputs="diagonal")
    K, cross = net.ntk(twice, outputs="diagonal"), net.ntk(Z, twice, outputs="diagonal")
    error = y - net(twice)
    for time in (np.inf, 1e200):
        g = training.outputs(Z, time=[0.0, time])
        for c in range(3):
            a = np.linalg.pinv(K[:, :, c], rcond=1e-10, hermitian=True) @ error[:, c]
            np.testing.assert_allclose(g[1, :, c], net(Z)[:, c] + cross[:, :, c] @ a, atol=1e-10)
        assert_close(g[0], net(Z), "float64")


def test_eigenvalues_below_the_floor_count_as_zero_from_some_time_on() -> None:
    values = np.array([0.0, 1e-14, 2e-14, 1.0])
    n, floor = 4, 1.5e-14
    switch = n * 2.0**-26 / floor
    early, late = Flow(np.array(0.99 * switch)), Flow(np.array([1.01 * switch, np.inf]))
    np.testing.assert_array_equal(early.gain(values, n, floor), early.gain(values, n))
    np.testing.assert_array_equal(early.remaining(values, n, floor), early.remaining(values, n))
    np.testing.assert_array_equal(late.gain(values, n, floor)[:, :2], 0.0)
    np.testing.assert_array_equal(late.remaining(values, n, floor)[:, :2], 1.0)
    np.testing.assert_allclose(late.gain(values, n, floor)[1, 2:], [5e13, 1.0])
    np.testing.assert_array_equal(late.remaining(values, n, floor)[1, 2:], 0.0)
    for share, null in ((0.99, False), (1.01, True)):
        descent = Descent(0.5, np.rint(np.array(2 * share * switch)))
        exact = descent.gain(values, n)
        expected = np.where([null, null, False, False], 0.0, exact)
        np.testing.assert_array_equal(descent.gain(values, n, floor), expected)
        left = np.where([null, null, False, False], 1.0, descent.remaining(values, n))
        np.testing.assert_array_equal(descent.remaining(values, n, floor), left)
    # Rounding that is multiplied by the share of such a direction stays below 2^-26 until then.
    np.testing.assert_allclose(early.gain(values, n, floor)[:2] * floor, 0.99 * 2.0**-26)


def test_floor_is_that_of_conditioning() -> None:
    K = fastntk.MLP([4, 32, 1]).ntk(X)
    assert Spectrum.of(K).floor == pytest.approx(
        fastntk.conditioning(K).noise_floor, rel=1e-12, abs=0
    )


def test_same_bits_for_any_number_of_threads() -> None:
    samples = np.random.default_rng(1).standard_normal((301, 9))
    y = np.random.default_rng(2).standard_normal((301, 2))
    points = np.random.default_rng(3).standard_normal((150, 9))
    net = fastntk.MLP([9, 70, 2], bias_std=0.1)

    def bits(threads: int) -> list[bytes]:
        with threadpool_limits(threads, user_api="blas"):
            found = []
            for outputs in ("full", "diagonal"):
                training = net.linearize().fit(samples, y, outputs=outputs)
                times: Any = {"time": [0.5, 100.0, np.inf]}
                found += [training.outputs(points, **times), training.outputs(**times)]
                found += [training.loss(**times), training.parameter_change(**times)]
                found.append(training.eigenvalues)
            return [array.tobytes() for array in found]

    alone = bits(1)
    assert bits(2) == alone
    assert bits(3) == alone


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
            assert loss[index] == pytest.approx(float(training.loss(**one)), rel=1e-12, abs=0)
    assert_close(training.outputs(time=0.0), net(X), "float64")
    assert_close(training.outputs(Z, time=0.0), net(Z), "float64")


def test_many_samples_come_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    training = fastntk.MLP([4, 8, 3]).linearize().fit(X, Y)
    expected = training.outputs(Z, time=2.0)
    monkeypatch.setattr("fastntk.linearity.linear_training._CROSS_KERNEL_ENTRIES", 2 * 12 * 9)
    assert_close(training.outputs(Z, time=2.0), expected, "float64")


def test_learning_rates() -> None:
    net = fastntk.MLP([4, 64, 1])
    training = net.linearize().fit(X, Y[:, 0])
    values = np.linalg.eigvalsh(net.ntk(X))
    assert training.largest_learning_rate == pytest.approx(24 / values[-1], rel=1e-12, abs=0)
    assert training.best_learning_rate == pytest.approx(
        24 / (values[-1] + values[0]), rel=1e-12, abs=0
    )
    converging, diverging = (
        training.loss(steps=[0, 10**5], learning_rate=share * training.largest_learning_rate)
        for share in (0.99, 1.01)
    )
    assert converging[1] < 1e-6 * converging[0]
    assert diverging[1] > 1e6 * diverging[0]
    # (1 − ηλ_min/n)² a step, at last
    rate = 0.5 * training.largest_learning_rate
    ends = training.loss(steps=[2000, 2001], learning_rate=rate)
    assert 1e-290 < ends[0] < ends[1] / 0.5
    assert ends[1] / ends[0] == pytest.approx((1 - values[0] / values[-1]) ** 2, rel=1e-6, abs=0)


def test_outputs_of_diverging_descent_overflow() -> None:
    training = fastntk.MLP([4, 16, 1]).linearize().fit(X, Y[:, 0])
    at: dict[str, Any] = {"steps": 10_000, "learning_rate": 3 * training.largest_learning_rate}
    assert training.loss(**at) == np.inf
    assert not np.isfinite(training.outputs(**at)).any()
    with pytest.raises(OverflowError, match=r"steps=10000, .*: descent diverges, as it does above"):
        training.parameter_change(**at)


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
    assert (spectrum.eigenvalues >= 0).all()
    assert_close(spectrum.apply(spectrum.eigenvalues, np.eye(8)), K, "float64")


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
        ({"time": -1.0}, ValueError, "time=-1.0: expected numbers of at least 0"),
        ({"time": [0.0, np.nan]}, ValueError, r"time=\[0.0, nan\]: expected numbers of at least 0"),
        ({"time": "now"}, TypeError, "time='now': expected an array of numbers"),
        ({"steps": 1.5, "learning_rate": 0.1}, ValueError, "steps=1.5: expected whole numbers"),
        ({"steps": np.inf, "learning_rate": 0.1}, ValueError, "steps=inf: expected whole numbers"),
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
    monkeypatch.setattr("fastntk._support.memory.ALWAYS_THERE", 0)
    monkeypatch.setattr("fastntk._support.memory.available_memory", lambda: 2**14)
    with pytest.raises(MemoryError, match=r"kernels of 36 rows .* or outputs='diagonal'"):
        fastntk.MLP([4, 8, 3]).linearize().fit(X, Y)


def test_a_network_without_hidden_layers_is_its_linear_model() -> None:
    study = fastntk.linearization_error(X, Y, [3, 7], Z=Z, depth=0, seeds=[1, 2], bias_std=0.4)
    for result in study.results:
        assert max(result.error, result.test_error) < 1e-12
        assert result.change > 0.1


@pytest.mark.parametrize(
    ("activation", "slopes"), [("relu", (-0.9, -0.3)), ("tanh", (-1.25, -0.5))]
)
def test_wide_networks_follow_their_linear_model(
    activation: str, slopes: tuple[float, float]
) -> None:
    study = fastntk.linearization_error(
        X,
        Y[:, 0],
        [32, 128, 512, 2048],
        Z=Z,
        depth=1,
        activation=activation,
        seeds=4,
        steps=40,
    )
    for fit in (study.fit, study.test_fit):
        assert slopes[0] < fit.slope < slopes[1]
        assert 0 < fit.standard_error < 0.3
    widest = study.to_frame().query("width == 2048")
    assert widest["error"].mean() < 0.05 * widest["change"].mean()


def test_trajectories_are_compared_step_by_step() -> None:
    """Against both of them written out."""
    study = fastntk.linearization_error(X, Y, [16], seeds=[3], steps=5, learning_rate=0.3)
    assert study.steps == (1, 2, 3, 4, 5)
    start = fastntk.MLP([4, 16, 16, 3], seed=3)
    net, worst = start, 0.0
    for k in range(1, 6):
        net = fastntk.train(net, X, Y, loss="mse", learning_rate=0.3).net
        _, linear, _, _ = explicit_descent(start, np.ones(start.n_parameters), 0.3, k)
        worst = max(worst, float(np.sqrt(np.mean((net(X) - linear) ** 2))))
    (result,) = study.results
    assert result.error == pytest.approx(worst, rel=1e-9, abs=0)
    assert np.isnan(result.test_error)
    assert np.isnan(study.fit.slope)  # a single width has none


def test_layer_rates_are_those_of_training() -> None:
    net = fastntk.MLP([4, 3], bias_std=0.7)  # depth 0: linear
    training = net.linearize().fit(X, Y, layer_weights=[[1.0, 0.3]])
    trained = fastntk.train(
        net, X, Y, loss="mse", learning_rate=0.2, epochs=9, layer_rates=[[1.0, 0.3]]
    ).net
    at: dict[str, Any] = {"steps": 9, "learning_rate": 0.2}
    assert_close(training.outputs(Z, **at), trained(Z), "float64")
    assert trained.biases is not None
    assert net.biases is not None
    moved = [trained.weights[0] - net.weights[0], trained.biases[0] - net.biases[0]]
    change = np.concatenate([np.ravel(part) for part in moved])
    np.testing.assert_allclose(training.parameter_change(**at), change, atol=1e-13)


def test_power_laws() -> None:
    results = tuple(
        LinearizationResult(m, s, 3.0 * m**-0.5, 2.0 / m, 1.0)
        for m in (10, 40, 160)
        for s in (0, 1)
    )
    diverged = LinearizationResult(10, 2, np.inf, np.inf, 1.0)
    study = LinearizationStudy(
        (*results, diverged), 2, 0.1, (1, 10), fastntk.activations.get("relu"), 2**0.5, 0.0, 4
    )
    assert study.fit.slope == pytest.approx(-0.5, abs=1e-12)
    assert study.test_fit.slope == pytest.approx(-1.0, abs=1e-12)
    assert study.fit.standard_error < 1e-7


def test_divergence_is_recorded() -> None:
    study = fastntk.linearization_error(X, Y, [8], seeds=1, steps=200, learning_rate=500.0)
    assert study.results[0].error == np.inf
    assert np.isnan(study.fit.slope)


def test_table_and_figure_of_linearization(tmp_path: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    study = fastntk.linearization_error(
        X, Y, [8, 16], seeds=2, steps=3, progress=lambda *report: reports.append(report)
    )
    assert reports == [
        ("width 8", 1, 4),
        ("width 8", 2, 4),
        ("width 16", 3, 4),
        ("width 16", 4, 4),
    ]
    study.save(tmp_path / "x.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "x.csv"), study.to_frame())
    axes = study.plot()
    assert axes.get_xscale() == axes.get_yscale() == "log"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"widths": []}, ValueError, r"widths=\[\]: expected at least one integer"),
        ({"widths": [0]}, ValueError, r"widths\[0\]=0: expected an integer of at least 1"),
        ({"steps": 0}, ValueError, "steps=0: expected an integer of at least 1"),
        ({"seeds": 0}, ValueError, "seeds=0: expected an integer of at least 1"),
        ({"depth": -1}, ValueError, "depth=-1: expected an integer of at least 0"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate=0.0: expected a finite number above"),
        ({"y": Y[:4]}, ValueError, r"y has shape \(4, 3\): expected \(12, 3\)"),
        ({"Z": Z[:, :2]}, ValueError, r"Z has shape \(5, 2\): expected 4 columns"),
    ],
)
def test_bad_arguments_of_linearization(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        fastntk.linearization_error(**{"X": X, "y": Y, "widths": [8], **arguments})


@pytest.mark.parametrize("solver", ["eigh", "cg"])
def test_what_is_fitted_stays(solver: Any) -> None:
    net = fastntk.MLP([4, 32, 3])
    at: dict[str, Any] = {} if solver == "cg" else {"time": 3.0}

    def fitted(samples: Array, targets: Array) -> Any:
        return net.linearize().fit(samples, targets, solver=solver)

    samples, targets = X.copy(), Y.copy()
    training = fitted(samples, targets)
    expected = [training.outputs(Z, **at), training.outputs(**at), training.parameter_change(**at)]
    samples[:], targets[:] = 0.5, 0.0
    net.weights[1][:] *= 2
    found = [training.outputs(Z, **at), training.outputs(**at), training.parameter_change(**at)]
    for one, other in zip(found, expected, strict=True):
        assert np.array_equal(one, other)


@pytest.mark.filterwarnings("error")
def test_targets_that_are_too_large() -> None:
    training = fastntk.MLP([4, 16, 1]).linearize().fit(X, 1e308 * np.sign(Y[:, 0]))
    calls: list[tuple[Any, dict[str, Any]]] = [
        (training.outputs, {"Z": Z, "time": np.inf}),
        (training.loss, {"time": 0.0}),
        (training.loss, {"steps": 1, "learning_rate": 1e-3}),
    ]
    for call, when in calls:
        with pytest.raises(OverflowError, match=r"^y: what training does is not finite in float64"):
            call(**when)
