# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far kernels and networks move: in training, and along segments in parameter space."""

from __future__ import annotations

import copy
import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from reference import ReferenceNetwork

import fastntk
from fastntk import layers
from fastntk.linearity import KernelDrift, hessian_vector_product, kernel_change, kernel_drift

Array = npt.NDArray[np.float64]

generator = np.random.default_rng(3)
X, Z = generator.standard_normal((12, 4)), generator.standard_normal((7, 4))
Y = np.stack([np.sign(X[:, 0]), 0.3 * X[:, 1]], axis=1)
RATE = 0.5


def parameters(net: fastntk.MLP) -> list[Array]:
    """The parameters of each layer, its bias included."""
    biases = net.biases or (None,) * len(net.weights)
    return [
        np.concatenate([w.ravel(), *([] if b is None else [b])]).astype(np.float64)
        for w, b in zip(net.weights, biases, strict=True)
    ]


def trained(net: fastntk.MLP, **options: Any) -> tuple[dict[int, fastntk.MLP], fastntk.History]:
    kept = {0: net}

    def keep(step: int, now: fastntk.MLP) -> None:
        kept[step] = copy.deepcopy(now)

    settings: dict[str, Any] = {"loss": "mse", "learning_rate": RATE, "epochs": 12}
    history = fastntk.train(net, X, Y, callback=keep, callback_every=4, **settings | options)
    return kept, history


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("bias_std", [0.0, 0.4])
def test_drift_is_that_of_explicit_kernels(bias_std: float, dtype: str) -> None:
    net = fastntk.MLP([4, 9, 6, 2], activation="tanh", bias_std=bias_std, dtype=dtype)
    kept, history = trained(net)
    drift = kernel_drift(kept, Z)
    assert drift.steps.tolist() == [0, 4, 8, 12]
    start = ReferenceNetwork.like(net, bias_std=bias_std)
    initial, features = start.ntk(Z, Z), np.stack([start.features(Z, c) for c in (0, 1)], axis=1)
    f_0, w_0 = np.array([start.output(z) for z in Z]), parameters(net)
    for k, now in enumerate(kept.values()):
        reference = ReferenceNetwork.like(now, bias_std=bias_std)
        K, f, w = reference.ntk(Z, Z), np.array([reference.output(z) for z in Z]), parameters(now)
        norm, layers = np.linalg.norm, [b - a for a, b in zip(w_0, w, strict=True)]
        change = np.concatenate(layers)
        expected = {
            "relative_change": norm(K - initial) / norm(initial),
            "alignment": (K * initial).sum() / norm(K) / norm(initial),
            "condition_number": np.linalg.cond(K),
            "weight_change": norm(change),
            "weight_change_max": np.abs(change).max(),
            "layer_change": [norm(layer) for layer in layers],
            "layer_change_max": [np.abs(layer).max() for layer in layers],
            "output_change": np.sqrt(np.mean((f - f_0) ** 2)),
            "linear_error": np.sqrt(np.mean((f - f_0 - features @ change) ** 2)),
        }
        for name, value in expected.items():
            np.testing.assert_allclose(
                getattr(drift, name)[k], value, rtol=1e-7, atol=1e-12, err_msg=name
            )
    assert drift.resolved.all()
    assert np.isnan(drift.trajectory_error).all()
    assert drift.relative_change[-1] > 1e-3 < drift.linear_error[-1]
    assert drift.weight_change[-1] == pytest.approx(history.weight_change[-1], rel=1e-12, abs=0)
    assert drift.weight_change_max[-1] == pytest.approx(
        history.weight_change_max[-1], rel=1e-12, abs=0
    )


def test_drift_is_what_a_probe_follows() -> None:
    net = fastntk.MLP([4, 16, 2], activation="gelu")
    kept, history = trained(net, probe=Z, probe_every=4)
    frame, probed = kernel_drift(kept, Z).to_frame(), history.probe_frame()
    for name, other in (("steps", "step"), *((n, n) for n in ("relative_change", "resolved"))):
        assert frame[name].tolist() == probed[other].tolist()
    np.testing.assert_array_equal(frame["alignment"], np.cos(probed["angle"]))
    np.testing.assert_array_equal(frame["condition_number"], probed["condition_number"])
    assert [c for c in frame.columns if c.startswith("layer_change_")] == [
        *("layer_change_1", "layer_change_2", "layer_change_max_1", "layer_change_max_2")
    ]


def test_the_linear_model_beside_its_own_training() -> None:
    net = fastntk.MLP([4, 300, 2], activation="tanh")
    linear = net.linearize().fit(X, Y)
    kept, _ = trained(net, epochs=40)
    drift = kernel_drift(kept, Z, linear=linear, learning_rate=RATE)
    for k, (step, now) in enumerate(kept.items()):
        expected = linear.outputs(Z, steps=step, learning_rate=RATE)
        error = np.sqrt(np.mean((now(Z) - expected) ** 2))
        assert drift.trajectory_error[k] == pytest.approx(error, rel=1e-9, abs=1e-14)
    assert 0 < drift.trajectory_error[-1] < 0.2 * drift.output_change[-1]


def test_a_history_is_what_its_networks_are() -> None:
    net = fastntk.MLP([4, 8, 2])
    options: dict[str, Any] = {"loss": "mse", "learning_rate": RATE, "epochs": 12}
    history = fastntk.train(net, X, Y, keep_every=4, **options)
    by_history = kernel_drift(history, Z, linear=net.linearize().fit(X, Y), learning_rate=RATE)
    by_step = kernel_drift(trained(net)[0], Z, linear=net.linearize().fit(X, Y), learning_rate=RATE)
    assert by_history.steps.tolist() == [0, 4, 8, 12]
    for name, values in vars(by_step).items():
        np.testing.assert_array_equal(getattr(by_history, name), values)
    without = fastntk.train(net, X, Y, **options)
    with pytest.raises(ValueError, match=r"networks is a History without any: .*with keep_every"):
        kernel_drift(without, Z)


def test_networks_in_their_order() -> None:
    kept, _ = trained(fastntk.MLP([4, 8, 2]))
    by_step, in_order = kernel_drift(kept, Z), kernel_drift(list(kept.values()), Z)
    assert in_order.steps.tolist() == [0, 1, 2, 3]
    for name, values in vars(by_step).items():
        if name != "steps":
            np.testing.assert_array_equal(getattr(in_order, name), values)


def test_a_network_of_depth_0_never_drifts() -> None:
    kept, _ = trained(fastntk.MLP([4, 2], bias_std=0.1))
    drift = kernel_drift(kept, Z)
    assert not drift.relative_change.any()
    assert np.all(drift.alignment == 1)
    assert np.all(drift.linear_error <= 1e-14)
    assert drift.weight_change[-1] > 0.1


def test_progress_is_reported() -> None:
    seen: list[tuple[str, int, int]] = []
    kernel_drift([fastntk.MLP([4, 2])] * 2, Z, progress=lambda *each: seen.append(each))
    kernel_change(fastntk.MLP([4, 2]), Z, np.ones(8), 2, progress=lambda *each: seen.append(each))
    assert seen == [("networks", k, 2) for k in (1, 2)] + [("kernels", k, 2) for k in (1, 2)]


NET = fastntk.MLP([4, 5, 2])
OTHER = fastntk.MLP([4, 5, 2], seed=1)
DESCRIBED = fastntk.Network([layers.Dense(5), layers.ReLU(), layers.Dense(2)], inputs=4).sample()
NOT_FINITE = fastntk.MLP.of_network(NET.network.with_layers(copy.deepcopy(NET.network.layers)))
for _weights in NOT_FINITE.weights:
    _weights[:] = np.nan


@pytest.mark.parametrize(
    ("networks", "options", "error", "message"),
    [
        (NET, {}, TypeError, r"networks=MLP\(.*: expected a sequence of networks"),
        ([NET], {}, ValueError, r"networks=.*: expected the networks of a training.* at least two"),
        ([NET, 3], {}, TypeError, "networks has 3: expected the networks of a training"),
        ({0: NET, 1.5: NET}, {}, TypeError, "networks: a step=1.5: expected an integer"),
        ({0: NET, -1: NET}, {}, ValueError, "networks: a step=-1: expected an integer of at least"),
        ({3: NET, 1: NET}, {}, ValueError, r"networks has the steps \[3, 1\]: expected .* to rise"),
        (
            [NET, fastntk.MLP([4, 6, 2])],
            {},
            ValueError,
            "networks, step 1: layers 4→6 .*: expected the layers 4→5 .* of the first",
        ),
        (
            [NET, fastntk.MLP([4, 5, 2], activation="tanh", activation_scale=2**0.5)],
            {},
            ValueError,
            "networks, step 1: .*tanh.*: expected the .*relu",
        ),
        ([NET, NOT_FINITE], {}, OverflowError, "networks, step 1: .*not finite"),
        ([NET, NET], {"linear": 3}, TypeError, "linear=3: expected the training of a linear model"),
        (
            [NET, NET],
            {"learning_rate": 0.1},
            ValueError,
            "learning_rate=0.1: expected None without linear",
        ),
        (
            [NET, NET],
            {"linear": NET.linearize().fit(X, Y), "learning_rate": 0.1},
            TypeError,
            "networks is a list: expected a mapping of steps to networks beside linear",
        ),
        (
            {0: NET, 1: NET},
            {"linear": NET.linearize().fit(X, Y)},
            (TypeError, ValueError),
            "learning_rate=None",
        ),
        (
            {0: NET, 1: NET},
            {"linear": OTHER.linearize().fit(X, Y), "learning_rate": 0.1},
            ValueError,
            "linear is around other weights",
        ),
        (
            {0: NET, 1: NET},
            {"linear": DESCRIBED.linearize().fit(X, Y), "learning_rate": 0.1},
            ValueError,
            r"linear is around a network of layers \[.*: expected the layers 4→5 .* of the first",
        ),
    ],
)
def test_bad_networks(networks: Any, options: dict[str, Any], error: Any, message: str) -> None:
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        kernel_drift(networks, Z, **options)
    with pytest.raises(ValueError, match=r"X has shape \(2, 3\): expected 4 columns"):
        kernel_drift([NET, NET], np.ones((2, 3)))


def test_a_linear_model_in_another_precision() -> None:
    """It is around the first network, too, whichever of them is rounded."""
    rounded = NET.astype("float32")
    for first, center in ((NET, rounded), (rounded, NET)):
        linear = center.linearize().fit(X, Y)
        drift = kernel_drift({0: first, 1: OTHER}, Z, linear=linear, learning_rate=0.1)
        assert drift.trajectory_error[0] < 1e-5


@pytest.mark.parametrize("bias_std", [0.0, 0.4])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_changes_along_a_segment_are_those_of_explicit_kernels(
    activation: str, bias_std: float
) -> None:
    net = fastntk.MLP([4, 9, 6, 2], activation=activation, bias_std=bias_std)
    delta = generator.standard_normal(net.n_parameters)
    change = kernel_change(net, Z, delta, 3)
    assert change.positions.tolist() == [1 / 3, 2 / 3, 1.0]
    reference = ReferenceNetwork.like(net, bias_std=bias_std)
    initial, norm = reference.ntk(Z, Z), np.linalg.norm
    for k, t in enumerate(change.positions):
        now, first = ReferenceNetwork.like(net, bias_std=bias_std), 0
        for w, b in zip(now.weights, now.biases, strict=True):
            for array in (w, b) if bias_std > 0 else (w,):
                array[...] += t * delta[first : first + array.size].reshape(array.shape)
                first += array.size
        assert first == net.n_parameters
        K = now.ntk(Z, Z)
        assert change.relative_change[k] == pytest.approx(
            norm(K - initial) / norm(initial), rel=1e-9, abs=0
        )
        alignment = (K * initial).sum() / norm(K) / norm(initial)
        assert change.alignment[k] == pytest.approx(alignment, rel=1e-9, abs=0)
    assert change.to_frame().shape == (3, 3)


def test_kinks_move_the_kernel_where_the_hessian_is_zero() -> None:
    """Only the first layer moves: its block of the Hessian has φ'' alone, which counts as 0."""
    net = fastntk.MLP([4, 50, 1])
    of_first = 4 * 50
    delta = np.where(np.arange(net.n_parameters) < of_first, generator.standard_normal(250), 0.0)
    assert not hessian_vector_product(net, Z, delta)[:of_first].any()
    change = kernel_change(net, Z, delta, 20, layer_weights=[1, 0]).relative_change
    assert change[-1] > 0.05
    # Units cross their kinks one by one: a step function of the position, without any at first.
    assert kernel_change(net, Z, 1e-6 * delta, layer_weights=[1, 0]).relative_change == [0.0]
    without_kinks = kernel_change(net.linear(), Z, delta, layer_weights=[1, 0])
    assert without_kinks.relative_change == [0.0]


def test_changes_are_of_first_order_for_smooth_activations() -> None:
    net = fastntk.MLP([4, 20, 1], activation="tanh", dtype="float32")
    delta = generator.standard_normal(net.n_parameters)
    change = kernel_change(net, Z, 1e-3 * delta, 4).relative_change
    np.testing.assert_allclose(change / change[0], [1, 2, 3, 4], rtol=0.02)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"net": 3}, TypeError, "net=3: expected a fastntk.MLP"),
        ({"direction": np.ones(3)}, ValueError, r"direction has shape \(3,\): expected \(30,\)"),
        (
            {"direction": np.ones((30, 2))},
            ValueError,
            r"direction is a matrix of 2 columns: expected a vector \(30,\)",
        ),
        ({"direction": np.full(30, np.nan)}, ValueError, "expected numbers that are finite"),
        ({"direction": np.full(30, 1e200)}, OverflowError, "direction, at 1 of it: .*not finite"),
        ({"steps": 0}, ValueError, "steps=0: expected an integer of at least 1"),
        ({"layer_weights": [0, 0]}, ValueError, "layer_weights=.*: expected 2 numbers"),
    ],
)
def test_bad_segments(change: dict[str, Any], error: type[Exception], message: str) -> None:
    arguments: dict[str, Any] = {"net": NET, "X": Z, "direction": np.ones(30)} | change
    with pytest.raises(error, match=message):
        kernel_change(**arguments)


def test_a_kernel_that_is_0_has_no_relative_change() -> None:
    net = fastntk.MLP([4, 3, 1])
    dead = fastntk.MLP.from_weights([np.zeros_like(w) for w in net.weights])
    drift = kernel_drift([dead, net], Z)
    assert isinstance(drift, KernelDrift)
    assert np.isnan(drift.relative_change).all()
    assert np.isnan(drift.alignment).all()
