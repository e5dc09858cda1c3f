# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Descriptions of networks by their layers, and the steps that are made of them."""

from __future__ import annotations

import copy
import pickle
from typing import Any, cast

import numpy as np
import pytest
from drawn_networks import networks
from hypothesis import given

import fastntk
from fastntk import activations, layers
from fastntk.layers import Dense, LayerNorm, ReLU, Residual, RMSNorm
from fastntk.layers.activation import CONSTRUCTORS
from fastntk.layers.steps import Activate, Add, GainShift, Linear, Normalize, steps_of

# For arguments that type checkers would refuse.
dense, layer_norm, rms_norm, residual, network = cast(
    "tuple[Any, ...]", (Dense, LayerNorm, RMSNorm, Residual, fastntk.Network)
)

NAMES = {name: getattr(layers, name) for name in layers.__all__} | {"Network": fastntk.Network}


@given(networks())
def test_what_is_printed_makes_an_equal_network(net: fastntk.Network) -> None:
    again = eval(repr(net), NAMES)
    assert again == net
    assert hash(again) == hash(net)
    assert pickle.loads(pickle.dumps(net)) == copy.deepcopy(net) == net


@given(networks())
def test_steps_are_in_order(net: fastntk.Network) -> None:
    steps = net.steps
    for number, step in enumerate(steps.steps):
        assert step.target == number + 1
        assert all(source <= number for source in step.sources)
        for source in step.sources:
            assert steps.last_uses[source] >= number
    assert [step for step in steps.last_uses if step < 0] == [-1]  # nothing is lost but the outputs
    assert steps.outputs == (len(steps.steps),)
    assert net.widths == (net.inputs, *(step.layer.width for step in net.linear_maps))


def test_steps_of_a_block() -> None:
    first, inner, outer, last = Dense(4), Dense(3, bias_std=0.5), Dense(4), Dense(2, bias_std=1.0)
    norm, block = LayerNorm(gain=True, shift=True), Residual([inner, ReLU(), outer], scale=0.5)
    net = fastntk.Network([first, block, norm, last], inputs=5)
    relu = block.layers[1]
    assert isinstance(relu, layers.Activation)
    assert net.steps.steps == (
        Linear(0, 1, 5, 4, first, "layers[0]"),
        Linear(1, 2, 4, 3, inner, "layers[1].layers[0]"),
        Activate(2, 3, relu, "layers[1].layers[1]"),
        Linear(3, 4, 3, 4, outer, "layers[1].layers[2]"),
        Add(1, 4, 5, block, "layers[1]"),
        Normalize(5, 6, norm, "layers[2]"),
        GainShift(6, 7, 4, norm, "layers[2]"),
        Linear(7, 8, 4, 2, last, "layers[3]"),
    )
    assert net.n_parameters == 5 * 4 + (4 * 3 + 3) + 3 * 4 + 2 * 4 + (4 * 2 + 2)
    assert net.widths == (5, 4, 3, 4, 2)
    assert (net.n_outputs, net.inputs) == (2, 5)
    assert "layers[1]" in net._repr_html_()
    block = Residual([Dense(4)])
    deep = fastntk.Network([Dense(4), *[block] * 120, Dense(1)], inputs=3)
    limit = deep.infinite(blocks=[1, 2, 3, 120])
    assert isinstance(limit, fastntk.infinite.LayeredNetwork)
    for shown in (deep._repr_html_(), limit._repr_html_()):
        assert "layers[99]" in shown
        assert "layers[100]" not in shown
        assert "22 more" in shown
    assert "LayeredNetwork: 3 inputs, blocks 1–3, 120" in limit._repr_html_()
    assert "blocks" not in limit.at_blocks(120)._repr_html_()


def test_a_projection_is_a_layer_of_its_own() -> None:
    block = Residual([ReLU(), Dense(7)], projection=Dense(7, trained=False))
    net = fastntk.Network([Dense(4), block, Dense(1)], inputs=3)
    paths = [step.path for step in net.linear_maps]
    assert paths == ["layers[0]", "layers[1].projection", "layers[1].layers[1]", "layers[2]"]
    assert net.linear_maps[1].layer.rates == (0.0, 0.0)


def test_networks_of_several_depths_share_their_first_layers() -> None:
    block = Residual([RMSNorm(), Dense(4)])
    end = [RMSNorm(), ReLU(), Dense(1)]
    deepest = [Dense(4), block, ReLU(), Dense(4), block, *end]
    steps = steps_of(deepest, 3, [0, 1, 2])
    singly = [
        steps_of([*part, *end], 3)
        for part in ([Dense(4)], [Dense(4), block], [Dense(4), block, ReLU(), Dense(4), block])
    ]
    for output, single in zip(steps.outputs, singly, strict=True):
        found, node = [], output
        while node > 0:  # from the outputs back, along the skip connections
            step = steps.steps[node - 1]
            found.append(type(step))
            node = step.sources[0]
        expected, node = [], single.outputs[0]
        while node > 0:
            step = single.steps[node - 1]
            expected.append(type(step))
            node = step.sources[0]
        assert found == expected
    assert sum(isinstance(step, Linear) for step in steps.steps) == 1 + 1 + 1 + 1 + 3


def test_each_activation_has_a_layer() -> None:
    made = {
        layer.phi
        for layer in (make() for name, make in CONSTRUCTORS.items() if name != "Polynomial")
    }
    assert made == {activations.get(name) for name in activations.names()}
    assert layers.Polynomial(0.0, 1.0, 2.0).phi == activations.polynomial(0.0, 1.0, 2.0)
    assert layers.LeakyReLU(0.2, scale=1.0) == layers.Activation(
        activations.leaky_relu(0.2), scale=1
    )
    assert layers.LeakyReLU(alpha=0.2) == layers.LeakyReLU(0.2) != layers.LeakyReLU()
    assert layers.ReLU().factor == pytest.approx(2**0.5)
    assert layers.ReLU(scale=1.0).factor == 1.0
    for name, make in CONSTRUCTORS.items():
        assert make.__name__ == name
        given: tuple[float, ...] = (1.0, 2.0) if name == "Polynomial" else ()
        assert eval(repr(make(*given, scale=2.0)), NAMES) == make(*given, scale=2.0)


def test_a_custom_activation_is_a_layer() -> None:
    cube = activations.custom(lambda x: x**3, name="cube")
    layer = layers.Activation(cube)
    assert layer.phi is cube
    assert repr(layer) == "Activation(Activation(cube))"


@pytest.mark.parametrize(
    ("trained", "kept", "rates"),
    [
        (True, "", (1.0, 1.0)),
        (1, "", (1.0, 1.0)),
        ((1, 1), "", (1.0, 1.0)),
        (np.True_, "", (1.0, 1.0)),
        (False, ", trained=False", (0.0, 0.0)),
        (0.0, ", trained=False", (0.0, 0.0)),
        ([0.5, 0.5], ", trained=0.5", (0.5, 0.5)),
        (np.array([2, 0]), ", trained=(2.0, 0.0)", (2.0, 0.0)),
        ((True, False), ", trained=(1.0, 0.0)", (1.0, 0.0)),
    ],
)
def test_forms_of_trained(trained: Any, kept: str, rates: tuple[float, float]) -> None:
    layer = Dense(3, trained=trained)
    assert repr(layer) == f"Dense(3{kept})"
    assert layer.rates == rates


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: Dense(0), ValueError, "width=0: expected an integer of at least 1"),
        (lambda: Dense(3, weight_std=0.0), ValueError, "weight_std=0.0: expected a finite number"),
        (lambda: Dense(3, bias_std=-1.0), ValueError, "bias_std=-1.0: expected"),
        (lambda: dense(3, trained="no"), TypeError, "trained='no': expected True, False, a learn"),
        (lambda: Dense(3, trained=-1.0), ValueError, "trained=-1.0: expected True, False, a learn"),
        (lambda: dense(3, trained=(1, 2, 3)), ValueError, "trained=(1, 2, 3): expected two learn"),
        (lambda: Dense(3, trained=(1, -2)), ValueError, "trained[1]=-2: expected"),
        (lambda: layer_norm(gain=1), TypeError, "gain=1: expected True or False"),
        (lambda: rms_norm(shift=None), TypeError, "shift=None: expected True or False"),
        (lambda: rms_norm(epsilon=-1e-5), ValueError, "epsilon=-1e-05: expected"),
        (lambda: rms_norm(trained=None), TypeError, "trained=None: expected"),
        (lambda: residual([]), ValueError, "layers=[]: expected at least one layer"),
        (lambda: residual([Dense(2)], scale=-1.0), ValueError, "scale=-1.0: expected"),
        (lambda: residual([Dense(2)], projection=2), TypeError, "projection=2: expected a Dense"),
        (lambda: layers.Activation("relu3"), ValueError, "activation='relu3': expected one of"),
        (lambda: ReLU(scale=0.0), ValueError, "scale=0.0: expected"),
        (
            lambda: layers.LeakyReLU(negative_slope=0.1),
            TypeError,
            "LeakyReLU(negative_slope=0.1): expected LeakyReLU(alpha=0.01, *, scale=None)",
        ),
        (lambda: ReLU(0.1, scale=2.0), TypeError, "ReLU(0.1): expected ReLU(*, scale=None)"),
        (
            lambda: layers.Polynomial(degree=2),
            TypeError,
            "Polynomial(degree=2): expected Polynomial(*coefficients, scale=None)",
        ),
        (
            lambda: network([Dense(2), ReLU], inputs=3),
            TypeError,
            "expected a layer of fast",
        ),
        (lambda: network(Dense(2), inputs=3), TypeError, "layers=Dense(2): expected a seq"),
        (lambda: fastntk.Network([Dense(2)], inputs=0), ValueError, "inputs=0: expected"),
        (
            lambda: fastntk.Network([Dense(2), ReLU()], inputs=3),
            ValueError,
            "layers[1]=ReLU(): expected a Dense, the layer of the outputs",
        ),
        (
            lambda: fastntk.Network([Dense(1), RMSNorm(), Dense(2)], inputs=3),
            ValueError,
            "layers[1]=RMSNorm(): a normalization of width 1 leaves nothing but a sign: expected",
        ),
        (
            lambda: fastntk.Network([RMSNorm(), Dense(2)], inputs=1),
            ValueError,
            "expected at least 2 neurons before it, or epsilon > 0",
        ),
        (
            lambda: fastntk.Network([Dense(1), LayerNorm(epsilon=1.0), Dense(2)], inputs=3),
            ValueError,
            "layers[1]=LayerNorm(epsilon=1): a normalization of width 1 leaves nothing but 0: exp",
        ),
        (
            lambda: fastntk.Network([LayerNorm(), Dense(2)], inputs=2),
            ValueError,
            "layers[0]=LayerNorm(): a normalization of width 2 leaves nothing but a sign: expected",
        ),
        (
            lambda: fastntk.Network([Dense(1), LayerNorm(), Dense(2)], inputs=3),
            ValueError,
            "width 1 leaves nothing but 0: expected at least 3 neurons before it",
        ),
        (
            lambda: fastntk.Network([LayerNorm(), Dense(2)], inputs=2),
            ValueError,
            "expected at least 3 neurons before it, or epsilon > 0",
        ),
        (
            lambda: fastntk.Network([Dense(4), Residual([ReLU(), Dense(2)]), Dense(2)], inputs=3),
            ValueError,
            "expected a branch of width 4, or projection=Dense(2)",
        ),
        (
            lambda: fastntk.Network(
                [Residual([Residual([Dense(3)], projection=Dense(2))]), Dense(2)], inputs=3
            ),
            ValueError,
            "layers[0].layers[0].layers[0]=Dense(3): the branch ends with width 3 and is added to ",
        ),
    ],
)
def test_refusals(call: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as raised:
        call()
    assert words in str(raised.value)
