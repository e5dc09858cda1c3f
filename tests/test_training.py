# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training: an explicit reference, closed forms, the kernel; bad input."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import reference
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits
from tolerances import assert_close
from training_problems import (
    assert_same_bits,
    assert_same_history,
    orders,
    parameters,
    problem,
    rows_of,
)

import fastntk
from fastntk import activations
from fastntk._support import memory

BIAS_STD = 0.3


@pytest.mark.parametrize("loss", ["mse", "cross_entropy"])
@pytest.mark.parametrize("bias_std", [0.0, BIAS_STD])
@pytest.mark.parametrize("activation", ["identity", "relu", "gelu", "tanh", "sin", "abs"])
@pytest.mark.parametrize(("batch", "momentum"), [(None, 0.0), (5, 0.0), (5, 0.9)])
def test_trajectories(
    loss: str, bias_std: float, activation: str, batch: int | None, momentum: float
) -> None:
    X, y = problem(loss)
    net = fastntk.MLP([5, 8, 7, 3], activation=activation, bias_std=bias_std)
    history = fastntk.train(
        net,
        X,
        y,
        loss=loss,
        learning_rate=0.1,
        epochs=4,
        batch_size=batch,
        momentum=momentum,
        seed=3,
    )
    net_by_hand = reference.ReferenceNetwork.like(net, bias_std=bias_std)
    batches = orders(12, batch or 12, 4, 3)
    losses = reference.descend(net_by_hand, X, rows_of(y), loss, 0.1, batches, momentum)
    sizes = [len(b) for b in batches]
    per_epoch = np.reshape(np.multiply(losses, sizes), (4, -1)).sum(axis=1) / 12
    np.testing.assert_allclose(history.loss, per_epoch, rtol=1e-11)
    for actual, expected in zip(history.net.weights, net_by_hand.weights, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11 * np.abs(expected).max())
    assert history.epochs == 4
    assert history.status == "completed"


# A batch of 65 goes in blocks of at most 48 samples, and the one of 64 that is left in one; layers
# of more than 128 units lie in more than one slab.
@pytest.mark.parametrize(("n", "batch"), [(129, 65), (160, 96), (208, 144)])
def test_a_last_batch_whose_blocks_are_larger(n: int, batch: int) -> None:
    X, y = problem("mse", n=n)
    net = fastntk.MLP([5, 150, 140, 3], bias_std=BIAS_STD)
    history = fastntk.train(net, X, y, loss="mse", learning_rate=0.1, batch_size=batch, seed=3)
    by_hand = reference.ReferenceNetwork.like(net, bias_std=BIAS_STD)
    losses = reference.descend(by_hand, X, y, "mse", 0.1, orders(n, batch, 1, 3))
    np.testing.assert_allclose(history.loss[0], np.dot(losses, [batch, n - batch]) / n, rtol=1e-11)
    for actual, expected in zip(history.net.weights, by_hand.weights, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-11 * np.abs(expected).max())


def test_float32_follows_float64() -> None:
    X, y = problem("cross_entropy", n=40)
    net = fastntk.MLP([5, 64, 64, 3], bias_std=BIAS_STD)
    arguments: dict[str, Any] = {"learning_rate": 0.2, "epochs": 3, "batch_size": 10}
    double = fastntk.train(net, X, y, **arguments)
    single = fastntk.train(net.astype("float32"), X, y, **arguments)
    assert single.net.dtype == np.float32
    np.testing.assert_allclose(single.loss, double.loss, rtol=1e-4)
    np.testing.assert_allclose(single.gradient_norm, double.gradient_norm, rtol=1e-3)


def test_gradients_by_differences() -> None:
    X, y = problem("cross_entropy", n=6)
    net = fastntk.MLP([5, 4, 3], activation="softplus", bias_std=BIAS_STD)
    rate = 1e-3
    after = fastntk.train(net, X, y, learning_rate=rate)

    def loss_at(kind: int, layer: int, index: tuple[int, ...], step: float) -> float:
        weights = [w.copy() for w in net.weights]
        biases = [b.copy() for b in net.biases or ()]
        (weights, biases)[kind][layer][index] += step
        moved = fastntk.MLP.from_weights(
            weights, biases, activation="softplus", bias_std=BIAS_STD, activation_scale=scale
        )
        return float(fastntk.train(moved, X, y, learning_rate=1e-9).loss[0])

    scale = net.activation_scale
    square = 0.0
    for kind, (before, trained) in enumerate(
        [(net.weights, after.net.weights), (net.biases, after.net.biases)]
    ):
        assert before is not None
        assert trained is not None
        for layer, (old, new) in enumerate(zip(before, trained, strict=True)):
            for index in np.ndindex(old.shape):
                step = 1e-5
                slope = loss_at(kind, layer, index, step) - loss_at(kind, layer, index, -step)
                slope /= 2 * step
                square += slope**2
                assert (old[index] - new[index]) / rate == pytest.approx(slope, rel=1e-5, abs=1e-8)
    assert after.gradient_norm[0] == pytest.approx(np.sqrt(square), rel=1e-6, abs=0)


def test_custom_activation() -> None:
    cube = activations.custom(lambda x: x**3, lambda x: 3 * x**2, name="cube")
    X, y = problem("mse")
    net = fastntk.MLP([5, 6, 3], activation=cube, activation_scale=0.5)
    history = fastntk.train(net, X, y, loss="mse", learning_rate=0.01)
    W, readout = net.weights
    z = X @ W.T / np.sqrt(5)
    f = 0.5 * z**3 @ readout.T / np.sqrt(6)
    delta = (f - y) / 12
    np.testing.assert_allclose(history.loss[0], np.sum((f - y) ** 2) / 24)
    np.testing.assert_allclose(
        history.net.weights[1], readout - 0.01 * delta.T @ (0.5 * z**3) / np.sqrt(6), rtol=1e-12
    )
    back = delta @ readout / np.sqrt(6) * 1.5 * z**2
    np.testing.assert_allclose(
        history.net.weights[0], W - 0.01 * back.T @ X / np.sqrt(5), rtol=1e-12
    )


def test_linear_regression_has_its_closed_form() -> None:
    """w_t − w* = (1 − η XᵀX/(n d))^t (w_0 − w*) for f = X w/√d, and the minimum is met."""
    X, _ = problem("mse", n=30, d=4)
    y = np.random.default_rng(5).standard_normal(30)
    net = fastntk.MLP([4, 1])
    history = fastntk.train(net, X, y, loss="mse", learning_rate=1.5, epochs=40)
    features = X / 2.0
    solution = np.linalg.lstsq(features, y, rcond=None)[0]
    w = net.weights[0][0]
    contraction = np.linalg.matrix_power(np.eye(4) - 1.5 * features.T @ features / 30, 40)
    np.testing.assert_allclose(
        history.net.weights[0][0], solution + contraction @ (w - solution), rtol=1e-11
    )
    long = fastntk.train(net, X, y[:, np.newaxis], loss="mse", learning_rate=1.5, epochs=2000)
    assert long.loss[-1] == pytest.approx(
        np.sum((features @ solution - y) ** 2) / 60, rel=1e-12, abs=0
    )
    assert long.gradient_norm[-1] < 1e-12
    assert long.accuracy is None


@pytest.mark.parametrize("parametrization", ["ntk", "standard"])
def test_a_step_moves_the_function_by_the_kernel(parametrization: str) -> None:
    """Δf = −(η/n) K (f − y) + O(η²), for all outputs together."""
    X, y = problem("mse", n=9)
    net = fastntk.MLP(
        [5, 40, 30, 3], activation="tanh", bias_std=BIAS_STD, parametrization=parametrization
    )
    f = net(X)
    K = net.ntk(X, outputs="full")
    expected = -np.einsum("ijcd,jd->ic", K, f - y) / 9
    errors = []
    for rate in (1e-4, 1e-5):
        after = fastntk.train(net, X, y, loss="mse", learning_rate=rate).net
        errors.append(np.abs((after(X) - f) / rate - expected).max() / np.abs(expected).max())
    assert errors[1] < 1e-4
    assert errors[1] == pytest.approx(errors[0] / 10, rel=0.2, abs=0)


def test_standard_parametrization_is_a_matter_of_rates() -> None:
    """With W' = W/√n, gradients ∂/∂W' are √n times ∂/∂W: the same path for rates n η."""
    X, y = problem("cross_entropy")
    ntk = fastntk.MLP([5, 8, 3], seed=2)
    standard = fastntk.MLP([5, 8, 3], seed=2, parametrization="standard")
    a = fastntk.train(ntk, X, y, learning_rate=0.01, layer_rates=[5, 8], epochs=20)
    b = fastntk.train(standard, X, y, learning_rate=0.01, epochs=20)
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-11)
    assert a.loss[-1] < a.loss[0]


def test_layer_rates_of_weights_and_biases() -> None:
    X, y = problem("mse")
    net = fastntk.MLP([5, 6, 3], bias_std=BIAS_STD)
    multipliers = [(0.5, 2.0), (0.0, 3.0)]
    history = fastntk.train(
        net, X, y, loss="mse", learning_rate=0.1, epochs=3, layer_rates=multipliers, momentum=0.5
    )
    by_hand = reference.ReferenceNetwork.like(net, bias_std=BIAS_STD)
    batches = [np.arange(12)] * 3
    losses = reference.descend(by_hand, X, y, "mse", 0.1, batches, 0.5, multipliers)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-11)
    assert np.array_equal(history.net.weights[1], net.weights[1])
    assert history.net.biases is not None
    np.testing.assert_allclose(history.net.biases[1], by_hand.biases[1], rtol=1e-11)


@pytest.mark.parametrize("trainable", [(True, False, False), (False, False, True), (0, 1, 1)])
def test_frozen_layers_keep_their_bits(trainable: tuple[bool, ...]) -> None:
    chosen = [bool(t) for t in trainable]
    X, y = problem("cross_entropy")
    net = fastntk.MLP([5, 8, 7, 3], bias_std=BIAS_STD)
    history = fastntk.train(net, X, y, learning_rate=0.1, epochs=3, trainable=chosen)
    by_hand = reference.ReferenceNetwork.like(net, bias_std=BIAS_STD)
    multipliers = [(float(t), float(t)) for t in chosen]
    batches = [np.arange(12)] * 3
    losses = reference.descend(
        by_hand, X, rows_of(y), "cross_entropy", 0.1, batches, multipliers=multipliers
    )
    np.testing.assert_allclose(history.loss, losses, rtol=1e-11)
    assert net.biases is not None
    assert history.net.biases is not None
    for layer, learns in enumerate(chosen):
        assert np.array_equal(net.weights[layer], history.net.weights[layer]) != learns
        assert np.array_equal(net.biases[layer], history.net.biases[layer]) != learns


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_same_bits_for_any_number_of_threads(dtype: str, momentum: float) -> None:
    X, y = problem("cross_entropy", n=700, d=300)
    net = fastntk.MLP([300, 520, 270, 3], bias_std=BIAS_STD, dtype=dtype)
    histories = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            histories.append(
                fastntk.train(
                    net,
                    X,
                    y,
                    learning_rate=0.1,
                    epochs=2,
                    batch_size=600,
                    momentum=momentum,
                    validation=(X[:50], y[:50]),
                )
            )
    for other in histories[1:]:
        assert_same_history(histories[0], other)


# The last of the larger batches, in a call of its own, would be too small for panels.
@pytest.mark.parametrize(("n", "batch"), [(30, 7), (100, 70)])
def test_bits_depend_on_the_seed_and_not_on_what_is_watched(n: int, batch: int) -> None:
    X, y = problem("cross_entropy", n=n)
    net = fastntk.MLP([5, 20, 3])
    arguments: dict[str, Any] = {"learning_rate": 0.1, "epochs": 3, "batch_size": batch}
    plain = fastntk.train(net, X, y, **arguments)
    watched = fastntk.train(
        net,
        X,
        y,
        **arguments,
        callback=lambda *_: None,
        callback_every=2,
        probe=X,
        probe_every=3,
        keep_every=4,
    )
    assert (
        plain.to_frame()
        .drop(columns="seconds")
        .equals(watched.to_frame()[plain.to_frame().columns].drop(columns="seconds"))
    )
    assert_same_bits(plain.net, watched.net)
    other = fastntk.train(net, X, y, **arguments, seed=1)
    assert not np.array_equal(plain.net.weights[0], other.net.weights[0])


def test_the_network_is_copied_unless_it_is_not() -> None:
    X, y = problem("cross_entropy")
    net = fastntk.MLP([5, 20, 3], bias_std=BIAS_STD)
    before = [a.copy() for a in parameters(net)]
    copied = fastntk.train(net, X, y, learning_rate=0.1, epochs=2)
    assert all(np.array_equal(a, b) for a, b in zip(parameters(net), before, strict=True))
    assert copied.net is not net
    inplace = fastntk.train(net, X, y, learning_rate=0.1, epochs=2, inplace=True)
    assert inplace.net is net
    assert_same_history(inplace, copied)


@pytest.mark.parametrize("inplace", [False, True])
def test_networks_that_are_kept(inplace: bool) -> None:
    X, y = problem("cross_entropy", n=25)
    net = fastntk.MLP([5, 20, 3], bias_std=BIAS_STD)
    start, seen = copy.deepcopy(net), {}
    history = fastntk.train(
        net,
        X,
        y,
        learning_rate=0.1,
        epochs=2,
        batch_size=5,
        keep_every=4,
        inplace=inplace,
        callback=lambda step, now: seen.update({step: copy.deepcopy(now)}),
        callback_every=1,
    )
    assert list(history.networks) == [0, 4, 8, 10]
    for step, kept in history.networks.items():
        assert_same_bits(kept, seen[step] if step else start)
        assert kept is not history.net
        assert not any(
            np.shares_memory(a, b)
            for a, b in zip(parameters(kept), parameters(history.net), strict=True)
        )
    assert not fastntk.train(net, X, y, learning_rate=0.1).networks


def test_of_a_training_that_diverges_no_last_network_is_kept() -> None:
    X, y = problem("mse", n=25)
    net = fastntk.MLP([5, 20, 3], dtype="float32")
    history = fastntk.train(net, X, y, loss="mse", learning_rate=1e30, epochs=9, keep_every=1)
    assert history.status == "diverged"
    assert 0 in history.networks
    assert all(np.isfinite(a).all() for kept in history.networks.values() for a in parameters(kept))
    assert not all(np.isfinite(a).all() for a in parameters(history.net))


def test_more_networks_than_fit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = problem("cross_entropy", n=20)
    net = fastntk.MLP([5, 20, 3])
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 100_000)
    options: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 5, "epochs": 50}
    assert len(fastntk.train(net, X, y, keep_every=4, **options).networks) == 51
    with pytest.raises(MemoryError, match=r"102 copies of the weights.* larger keep_every"):
        fastntk.train(net, X, y, keep_every=2, **options)


def test_what_is_recorded() -> None:
    X, y = problem("cross_entropy", n=20)
    Z, labels = problem("cross_entropy", n=8, seed=1)
    net = fastntk.MLP([5, 20, 3], bias_std=BIAS_STD)
    history = fastntk.train(
        net, X, y, learning_rate=0.3, epochs=3, validation=(Z, labels), inplace=False
    )
    after = history.net
    f = after(Z)
    softmax = np.exp(f) / np.exp(f).sum(axis=1, keepdims=True)
    assert history.validation_loss is not None
    assert history.validation_accuracy is not None
    assert history.accuracy is not None
    expected = -np.log(softmax[np.arange(8), labels]).mean()
    assert history.validation_loss[-1] == pytest.approx(expected, rel=1e-13, abs=0)
    assert history.validation_accuracy[-1] == (f.argmax(axis=1) == labels).mean()
    assert history.accuracy[0] == (net(X).argmax(axis=1) == y).mean()
    change = np.concatenate(
        [(a - b).ravel() for a, b in zip(parameters(after), parameters(net), strict=True)]
    )
    assert history.weight_change[-1] == pytest.approx(np.linalg.norm(change), rel=1e-13, abs=0)
    assert history.weight_change_max[-1] == np.abs(change).max()
    # One step moves the weights by η ‖gradient‖.
    assert history.weight_change[0] == pytest.approx(
        0.3 * history.gradient_norm[0], rel=1e-12, abs=0
    )
    assert (history.seconds > 0).all()
    frame = history.to_frame()
    assert list(frame["epoch"]) == [1, 2, 3]
    assert np.array_equal(frame["loss"], history.loss)
    panels = history.plot()
    assert [axes.get_ylabel() for axes in panels] == ["loss", "accuracy"]
    assert len(panels[0].lines) == 2


def test_plot_of_a_single_output() -> None:
    X, _ = problem("mse")
    history = fastntk.train(fastntk.MLP([5, 1]), X, X[:, 0], loss="mse", learning_rate=0.1)
    assert "accuracy" not in history.to_frame()
    assert history.plot()[1].get_ylabel() == "change of the weights"


def test_soft_targets() -> None:
    X, y = problem("cross_entropy")
    net = fastntk.MLP([5, 8, 3])
    labels = fastntk.train(net, X, y, learning_rate=0.1, epochs=2)
    assert_same_history(labels, fastntk.train(net, X, np.eye(3)[y], learning_rate=0.1, epochs=2))
    soft = 0.8 * np.eye(3)[y] + 0.2 / 3
    history = fastntk.train(net, X, soft, learning_rate=0.1, epochs=2)
    by_hand = reference.ReferenceNetwork.like(net)
    losses = reference.descend(by_hand, X, soft, "cross_entropy", 0.1, [np.arange(12)] * 2)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-12)


@given(order=st.permutations(range(4)), seed=st.integers(0, 100))
def test_renaming_the_classes_changes_nothing(order: list[int], seed: int) -> None:
    X, y = problem("cross_entropy", outputs=4, seed=seed)
    # Not ReLU, whose units may all be dead for a sample: outputs would be equal.
    net = fastntk.MLP([5, 9, 4], seed=seed, activation="tanh")
    first, last = net.weights
    renamed = fastntk.MLP.from_weights([first, last[order]], activation="tanh")
    inverse = np.argsort(order)
    a = fastntk.train(net, X, y, learning_rate=0.5, epochs=3)
    b = fastntk.train(renamed, X, inverse[y], learning_rate=0.5, epochs=3)
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-12)
    assert a.accuracy is not None
    assert b.accuracy is not None
    assert np.array_equal(a.accuracy, b.accuracy)
    assert_close(b.net.weights[1], a.net.weights[1][order], "float64")


@given(factor=st.sampled_from([0.5, 2.0, 8.0]), seed=st.integers(0, 100))
def test_scaling_a_linear_problem_scales_its_solution(factor: float, seed: int) -> None:
    """f = X w/√d is linear in w: targets and weights by a factor, losses by its square."""
    X, y = problem("mse", seed=seed)
    net = fastntk.MLP([5, 3], seed=seed)
    scaled = fastntk.MLP.from_weights([factor * net.weights[0]])
    a = fastntk.train(net, X, y, loss="mse", learning_rate=0.5, epochs=3)
    b = fastntk.train(scaled, X, factor * y, loss="mse", learning_rate=0.5, epochs=3)
    np.testing.assert_allclose(b.loss, factor**2 * a.loss, rtol=1e-12)
    np.testing.assert_allclose(b.net.weights[0], factor * a.net.weights[0], rtol=1e-12)
    np.testing.assert_allclose(b.gradient_norm, factor * a.gradient_norm, rtol=1e-12)


@given(seed=st.integers(0, 100), copies=st.integers(2, 4))
def test_repeating_all_samples_changes_nothing(seed: int, copies: int) -> None:
    X, y = problem("cross_entropy", seed=seed)
    net = fastntk.MLP([5, 9, 3], seed=seed)
    a = fastntk.train(net, X, y, learning_rate=0.5, epochs=3)
    b = fastntk.train(net, np.tile(X, (copies, 1)), np.tile(y, copies), learning_rate=0.5, epochs=3)
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-12)


GOOD: dict[str, Any] = {"X": np.eye(3), "y": [0, 1, 1], "learning_rate": 0.1}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"net": 5}, TypeError, "net=5: expected a fastntk.MLP"),
        ({"X": np.ones((3, 4))}, ValueError, r"X has shape \(3, 4\): expected 3 columns"),
        ({"X": [[1, 2, np.nan]] * 3}, ValueError, r"X\[0, 2\]=.*nan"),
        ({"y": [0, 1]}, ValueError, "y has 2 labels: expected 3, one for each sample"),
        ({"y": [0, 1, 2]}, ValueError, r"y\[2\]=2: expected labels from 0 to 1, the outputs of"),
        ({"y": [0, -1, 2]}, ValueError, r"y\[1\]=-1: expected labels from 0 to 1"),
        ({"y": [0.0, 1.0, 1.0]}, TypeError, "y has dtype float64: expected integer labels"),
        ({"y": np.eye(3)}, ValueError, r"y has shape \(3, 3\): expected \(3,\) or \(3, 2\)"),
        ({"y": [[0.5, 0.5], [0.5, 0.6], [1, 0]]}, ValueError, r"y\[1\]=.*: expected probabiliti"),
        ({"y": [[0.5, 0.5], [-0.5, 1.5], [1, 0]]}, ValueError, r"y\[1\]=.*that sum to 1"),
        ({"y": [[0.5, np.nan]] * 3}, ValueError, r"y\[0, 1\]=.*nan.*: expected numbers"),
        ({"y": [0, 1, 1], "loss": "mse"}, ValueError, r"y has shape \(3,\): expected \(3, 2\)"),
        ({"loss": "hinge"}, ValueError, "loss='hinge': expected one of 'cross_entropy', 'mse'"),
        ({"learning_rate": 0}, ValueError, "learning_rate=0: expected a finite number above 0"),
        ({"learning_rate": -1.0}, ValueError, "learning_rate=-1.0: expected a finite number above"),
        ({"learning_rate": float("nan")}, ValueError, "learning_rate=nan: expected a finite numb"),
        ({"learning_rate": "0.1"}, TypeError, "learning_rate='0.1': expected a finite number"),
        ({"epochs": 0}, ValueError, "epochs=0: expected an integer of at least 1"),
        ({"batch_size": 4}, ValueError, "batch_size=4: expected at most the 3 samples of X"),
        ({"batch_size": 0}, ValueError, "batch_size=0: expected an integer of at least 1"),
        ({"momentum": 1.0}, ValueError, "momentum=1.0: expected a number from 0 to below 1"),
        ({"momentum": -0.1}, ValueError, "momentum=-0.1: expected a finite number of at least 0"),
        ({"seed": -1}, ValueError, "seed=-1: expected an integer of at least 0"),
        ({"validation": np.eye(3)}, TypeError, "validation is a ndarray: expected a pair"),
        (
            {"validation": (np.eye(3), [0, 1, 5])},
            ValueError,
            r"validation\[1\]\[2\]=5: expected labels from 0 to 1",
        ),
        ({"trainable": [True]}, ValueError, r"trainable=\[True\]: expected True or False for each"),
        ({"trainable": [1, 0]}, ValueError, "expected True or False for each of 2 layers"),
        ({"trainable": [False, False]}, ValueError, "expected at least one layer that is trained"),
        (
            {"layer_rates": [[0, 1], [0, 1]]},
            ValueError,
            "expected at least one layer that is trained",
        ),
        ({"layer_rates": [1]}, ValueError, r"layer_rates=\[1\]: expected 2 numbers, one for each"),
        ({"loss_target": -1}, ValueError, "loss_target=-1: expected a finite number of at least"),
        ({"callback_every": 2}, ValueError, "callback_every=2: expected None without callback"),
        ({"probe_every": 2}, ValueError, "probe_every=2: expected None without probe"),
        ({"keep_every": 0}, ValueError, "keep_every=0: expected an integer of at least 1"),
        (
            {"keep_every": 2, "checkpoint": "file.npz"},
            ValueError,
            "keep_every=2: expected None beside checkpoint",
        ),
        (
            {"probe": np.eye(3), "probe_every": 0},
            ValueError,
            "probe_every=0: expected an integer of at least 1",
        ),
        ({"probe": np.ones((2, 2))}, ValueError, r"probe has shape \(2, 2\): expected 3 columns"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {"net": fastntk.MLP([3, 4, 2]), **GOOD, **arguments}
    with pytest.raises(error, match=message):
        fastntk.train(given.pop("net"), given.pop("X"), given.pop("y"), **given)


def test_a_single_output_has_no_classes() -> None:
    with pytest.raises(ValueError, match="loss='cross_entropy': expected a net with at least 2"):
        fastntk.train(fastntk.MLP([3, 4, 1]), np.eye(3), [0, 1, 1], learning_rate=0.1)


def test_a_batch_that_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 50_000)
    net = fastntk.MLP([3, 4, 2])
    X, y = np.ones((3000, 3)), np.zeros(3000, int)
    with pytest.raises(MemoryError, match=r"activations of a batch of 3000 .* smaller batch_size"):
        fastntk.train(net, X, y, learning_rate=0.1)
    assert fastntk.train(net, X, y, learning_rate=0.1, batch_size=100).status == "completed"


def test_weights_in_training_are_in_memory_beside_the_batch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside the network there are its copy and, with momentum, the velocities."""
    net = fastntk.MLP([3, 400, 2])
    X, y = np.ones((8, 3)), np.zeros(8, int)
    readout = net.weights[1].nbytes
    weights = net.weights[0].nbytes + readout
    of_batch = net.network.handle().training_bytes(8, False, 1)
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)

    def require(needed: int, **arguments: Any) -> None:
        """That much is enough, and a byte less is not."""
        monkeypatch.setattr(memory, "available_memory", lambda: needed)
        fastntk.train(net, X, y, learning_rate=0.1, **arguments)
        monkeypatch.setattr(memory, "available_memory", lambda: needed - 1)
        with pytest.raises(MemoryError, match="a copy of the weights with the activations of a ba"):
            fastntk.train(net, X, y, learning_rate=0.1, **arguments)

    require(of_batch + weights)
    require(of_batch + 2 * weights, momentum=0.5)
    require(of_batch + weights + readout, momentum=0.5, trainable=[False, True])
