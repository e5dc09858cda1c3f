# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Bounds of errors are as large as their proofs say: no term of a proof comes or goes unnoticed.

That bounds hold is shown elsewhere, by errors that were measured. Rounding seldom does its worst:
a bound that has lost a term, or half of one, would hold in all of those tests. Here its numbers
are compared with those that were recorded when the proof was read last. Whoever changes a proof
records them again, `python tests/test_pinned_bounds.py`, and reads what has changed.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import fastntk
from fastntk import activations, infinite
from fastntk.infinite.gap_bounds import bounded_gaps, input_error
from fastntk.infinite.gaps import fill_gaps
from fastntk.infinite.kernel_errors import dual_error
from fastntk.infinite.layer_factors import LayerFactors
from fastntk.infinite.sample_norms import Samples

if TYPE_CHECKING:
    from fastntk.activations import Activation

RECORDED = Path(__file__).with_name("pinned_bounds.json")

FINITE = {
    "relu": activations.relu(),
    "leaky_relu": activations.leaky_relu(-0.3),
    "abrelu": activations.abrelu(-0.4, 1.5),
    "rectified": activations.rectified_monomial(3),
    "erf": activations.erf(0.8, 0.3),
    "sine": activations.sine(3.0, 0.3),
    "cosine": activations.cosine(1.4, 0.3),
    "softplus": activations.softplus(5.0),
    "elu": activations.elu(1.7),
    "gelu": activations.gelu(),
    "sigmoid": activations.sigmoid(),
    "silu": activations.silu(),
    "tanh": activations.tanh(),
}
INFINITE = {
    **FINITE,
    "sign": activations.sign(),
    "gaussian": activations.gaussian(0.7),
    "gabor": activations.gabor(),
    "hermite": activations.hermite(3),
}


def has_gradient(net: infinite.Network) -> bool:
    return all(dual.no_derivative is None for dual in net.layers.duals)


def of_passes(phi: Activation) -> list[float]:
    """Return errors of features and kernels at ordinary, large and vanishing samples."""
    found = []
    for dtype, vanishing in (("float32", 1e-36), ("float64", 1e-306)):
        net = fastntk.MLP(
            [3, 6, 7, 2],
            activation=phi,
            bias_std=0.3,
            weight_std=1.2,
            dtype=dtype,
            seed=3,
        )
        plain = fastntk.MLP(
            [3, 6, 7, 2], activation=phi, dtype=dtype, seed=4, parametrization="standard"
        )
        X = np.array([[0.3, -1.1, 0.7], [4.0, 5.0, -6.0], [vanishing, -vanishing, 0.0]])
        for network in (net, plain):
            for x in X.astype(dtype):
                errors = network.ntk_errors(x[np.newaxis], layer_weights=[1.0, 0.5, 2.0])
                found += [errors["feature_error"], errors["kernel_error"]]
        of_one = net.ntk_errors(X.astype(dtype)[:2], outputs=1, dtype="float32")
        found += [of_one["feature_error"], of_one["kernel_error"]]
    return found


def of_outputs(psi: Activation) -> list[float]:
    """Return errors of one output f = ψ(g) and of all, of networks with an output activation."""
    net = fastntk.MLP([3, 6, 2], activation="gelu", bias_std=0.3, seed=3, output_activation=psi)
    x = np.array([[0.3, -1.1, 0.7]])
    errors = [net.ntk_errors(x, outputs=outputs) for outputs in (0, 1, "trace")]
    return [each[name] for each in errors for name in ("feature_error", "kernel_error")]


def of_gates(phi: Activation) -> list[float]:
    """Return errors where units are 0, or as near to it as rounding takes them."""
    weights = [
        np.array([[1.0, -1.0, 0.5], [0.5, 0.25, -0.125], [1.0, 1.0, 0.0]]),
        np.array([[1.0, -0.5, 0.25], [0.3, 0.0, 1.0]]),
        np.array([[0.7, -0.2]]),
    ]
    net = fastntk.MLP.from_weights(weights, activation=phi, parametrization="standard")
    X = np.array([[1.0, 1.0, 0.0], [1.0, 1.5, 1.0], [1e8, 1e8 + 1e-8, 0.0]])
    return [net.ntk_errors(x[np.newaxis])["feature_error"] for x in X]


def of_kernels(phi: Activation) -> list[float]:
    """Return by how much duals put kernels of infinite width off."""
    found = []
    X = np.array([[0.3, -1.1, 0.7], [1.2, 0.8, -1.0], [0.1, 0.2, 0.3]])
    for depth, bias_std in ((1, 0.0), (3, 0.0), (2, 0.4)):
        net = infinite.Network(depth, phi, weight_std=1.3, bias_std=bias_std)
        kinds = (True, False) if has_gradient(net) else (False,)
        norms = Samples.of(X).norms
        found += [dual_error(net, norms, tangent=tangent) for tangent in kinds]
    return found


def of_angles(phi: Activation) -> list[float]:
    """Return by how much cosines of pairs may be off at infinite width."""
    x = np.array([0.3, -1.1, 0.7])
    others = [x + 1e-7, -x + 1e-5, 3 * x + 1e-3, x[::-1], np.array([1.1, 0.3, 0.7])]
    found = []
    for bias_std in (0.0, 0.4):
        net = infinite.Network(2, phi, weight_std=1.3, bias_std=bias_std)
        for other in others:
            samples = Samples.of(np.stack([x, other]))
            factors = LayerFactors.of(samples.norms, net)
            sides = factors.take(slice(0, 1)), factors.take(slice(1, 2))
            gaps = np.empty((1, 1))
            fill_gaps(samples, samples, slice(0, 1), slice(1, 2), gaps, same=True)
            error = input_error(gaps, 3)
            tangent = has_gradient(net)
            ((hidden, gradients),) = bounded_gaps(net, sides, gaps, error, tangent=tangent)
            found += [float(each.error[0, 0]) for each in (hidden, gradients)[: 1 + tangent]]
    return found


KINDS = {
    "passes": (of_passes, FINITE),
    "outputs": (of_outputs, {name: FINITE[name] for name in ("tanh", "sigmoid", "softplus")}),
    "gates": (of_gates, FINITE),
    "kernels": (of_kernels, INFINITE),
    "angles": (of_angles, INFINITE),
}


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, (_, names) in KINDS.items() for name in names]
)
def test_bounds_are_those_that_were_proved(kind: str, name: str) -> None:
    function, names = KINDS[kind]
    recorded = json.loads(RECORDED.read_text(encoding="utf-8"))[kind][name]
    # Those of angles are made of difference quotients with a tiny step, which have few digits.
    digits = 0.05 if kind == "angles" else 2e-3
    # No number is too small to be compared.
    assert function(names[name]) == pytest.approx(recorded, rel=digits, abs=0)


if __name__ == "__main__":
    numbers = {
        kind: {
            name: [float(f"{number:.5g}") for number in function(phi)]
            for name, phi in names.items()
        }
        for kind, (function, names) in KINDS.items()
    }
    RECORDED.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
