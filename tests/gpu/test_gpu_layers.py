# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks with skip connections and normalization on a GPU, beside the processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from test_gpu_results import HANDING_OVER, INPUTS, OUTPUTS, QUANTITIES, Job, M, N, Way, normal
from tolerances import assert_close

import fastntk
from fastntk import activations, layers
from fastntk.layers import Dense, LayerNorm, Residual, RMSNorm

if TYPE_CHECKING:
    from pathlib import Path

BLOCK = [LayerNorm(gain=True, shift=True), Dense(12, bias_std=0.2), layers.GELU(), Dense(9)]
DESCRIPTION = fastntk.Network(
    [
        Dense(9),
        Residual(BLOCK, scale=0.5),
        Residual([layers.SiLU(), Dense(7)], projection=Dense(7, bias_std=0.3)),
        RMSNorm(gain=True, epsilon=0.1, trained=0.5),
        Dense(OUTPUTS, bias_std=0.5),
    ],
    inputs=INPUTS,
)
RATES = [[1.0, 2.0], [0.5, 0.0], [0.0, 1.0], [1.5, 1.5], [1, 1], [2, 2], [3, 1], [1, 1]]

WEIGHTED = {
    "weighted": lambda j: j.net.ntk(j.X, layer_weights=RATES, **j.on),
    "operator": lambda j: (
        j.net.ntk_operator(j.Z, layer_weights=RATES, **j.on)
        @ j.give(normal(M, 2, dtype=j.net.dtype))
    ),
}
OURS = QUANTITIES | WEIGHTED


@pytest.mark.parametrize("handed", HANDING_OVER)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", OURS)
def test_quantities(name: str, dtype: str, handed: str, xp: Any) -> None:
    net, way = DESCRIPTION.sample(seed=3, dtype=dtype), Way(handed, xp)
    X, Z = normal(N, INPUTS, dtype=dtype), normal(M, INPUTS, seed=1, dtype=dtype)
    exact: Any = net.astype("float64")
    expected = OURS[name](Job(exact, X, Z, lambda v: v.astype("float64"), {}))
    given: Any = net
    found = way.back(OURS[name](Job(given, way.give(X), way.give(Z), way.give, way.options)))
    assert found.dtype == dtype
    assert found.shape == expected.shape
    assert_close(found, expected, dtype)


TRAINING: list[dict[str, Any]] = [
    {"loss": "mse"},
    {"loss": "cross_entropy", "batch_size": 10, "momentum": 0.5},
    {"loss": "mse", "batch_size": 16, "momentum": 0.9, "layer_rates": RATES},
    {"loss": "cross_entropy", "batch_size": 16, "trainable": [False] * 3 + [True] * 5},
]


@pytest.mark.parametrize("handed", HANDING_OVER)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("options", TRAINING, ids=str)
def test_training(options: dict[str, Any], dtype: str, handed: str, xp: Any) -> None:
    net, way = DESCRIPTION.sample(seed=3, dtype=dtype), Way(handed, xp)
    X, labels = normal(N, INPUTS, dtype=dtype), np.arange(N) % OUTPUTS
    y = labels if options["loss"] == "cross_entropy" else normal(N, OUTPUTS, dtype=dtype)
    arguments: Any = {"learning_rate": 0.1, "epochs": 3, "seed": 5, **options}
    expected = fastntk.train(net, X, y, validation=(X[:M], y[:M]), probe=X[:4], **arguments)
    found = fastntk.train(
        net,
        way.give(X),
        way.give(y),
        validation=(way.give(X[:M]), way.give(y[:M])),
        probe=way.give(X[:4]),
        **arguments,
        **way.options,
    )
    assert found.status == "completed"
    for name in ("loss", "accuracy", "validation_loss", "weight_change", "gradient_norm"):
        assert_close(getattr(found, name), getattr(expected, name), dtype)
    arrays = zip(found.net.parameters, expected.net.parameters, net.parameters, strict=True)
    for now, truth, before in arrays:
        assert_close(now, truth, dtype)
        assert np.array_equal(now, before) == np.array_equal(truth, before)
    changes = [[p.relative_change for p in each.probe] for each in (found, expected)]
    assert_close(changes[0], changes[1], dtype)


def test_training_goes_on_from_a_checkpoint(xp: Any, tmp_path: Path) -> None:
    net, X, y = DESCRIPTION.sample(), normal(N, INPUTS), np.arange(N) % OUTPUTS
    options: Any = {"learning_rate": 0.1, "batch_size": 10, "momentum": 0.5, "device": "cuda"}
    whole = fastntk.train(net, X, y, epochs=4, **options)
    for epochs in (2, 4):
        parts = fastntk.train(net, X, y, epochs=epochs, checkpoint=tmp_path / "c.npz", **options)
    assert np.array_equal(parts.loss, whole.loss)
    assert all(map(np.array_equal, parts.net.parameters, whole.net.parameters))


def test_pairs_and_samples_without_a_direction(xp: Any) -> None:
    net, X = DESCRIPTION.sample(), normal(N, INPUTS)
    assert net.smallest_angle(X, 3, device="cuda") == net.smallest_angle(X, 3)
    X[5] = 0.0
    for call in (net, net.ntk, net.jacobian, net.smallest_angle):
        with pytest.raises(ValueError, match=r"X\[5\]: the values before layers\[1\]\.layers\[0\]"):
            call(X, device="cuda")
        with pytest.raises(ValueError, match=r"X\[5\]: the values before layers\[1\]\.layers\[0\]"):
            call(xp.asarray(X))


def test_custom_activations_are_refused(xp: Any) -> None:
    custom = layers.Activation(activations.custom(lambda z: z**3, lambda z: 3 * z**2))
    net = fastntk.Network([Dense(4), Residual([custom, Dense(4)]), Dense(1)], inputs=INPUTS)
    with pytest.raises(ValueError, match=r"^layers\[1\]\.layers\[0\]=Activation\(.* a GPU cannot"):
        net.sample().ntk(xp.asarray(normal(M, INPUTS)))
