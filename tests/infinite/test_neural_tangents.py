# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Agreement with neural-tangents, whose kernels make_reference.py has written."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastntk import activations, infinite

WEIGHT_STD, BIAS_STD, WIDTH = 1.3, 0.4, 512

# The activation and its scale, which neural-tangents does not have.
ACTIVATIONS = {
    "identity": (activations.identity(), 1.0),
    "relu": (activations.relu(), 1.0),
    "leaky_relu": (activations.leaky_relu(0.3), 1.0),
    "abrelu": (activations.abrelu(-0.4, 1.5), 1.0),
    "abs": (activations.absolute(), 1.0),
    "sign": (activations.sign(), 1.0),
    "rectified_monomial_2": (activations.rectified_monomial(2), 1.0),
    "rectified_monomial_3": (activations.rectified_monomial(3), 1.0),
    "monomial_2": (activations.monomial(2), 1.0),
    "monomial_3": (activations.monomial(3), 1.0),
    "polynomial": (activations.polynomial(0.2, 0.7, -0.3, 0.1), 1.0),
    "erf": (activations.erf(0.8, 0.3), 1.0),
    "gelu": (activations.gelu(), 1.0),
    "sin": (activations.sine(1.4, 0.3), 1.0),
    "cos": (activations.cosine(1.4, 0.3), 1.0),
    "exp": (activations.exponential(0.3), 1.0),
    "gaussian": (activations.gaussian(0.7), 1.0),
    "rbf": (activations.rbf(0.6), 1.0),
    "gabor": (activations.gabor(), 1.0),
    "exp_normalized": (activations.exp_normalized(0.8), math.exp(0.4)),
}


@pytest.fixture(scope="module")
def reference() -> dict[str, np.ndarray[Any, Any]]:
    with np.load(Path(__file__).with_name("neural_tangents.npz")) as file:
        return dict(file)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("label", ["XX", "XZ"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_kernels(
    name: str, label: str, depth: int, reference: dict[str, np.ndarray[Any, Any]]
) -> None:
    phi, scale = ACTIVATIONS[name]
    arguments: dict[str, Any] = {
        "depth": depth,
        "activation": phi,
        "weight_std": WEIGHT_STD,
        "bias_std": BIAS_STD,
        "activation_scale": scale,
    }
    X, Z = reference["X"], reference["Z"] if label == "XZ" else None
    key = f"{name}/{depth}/{label}"
    for kind in ("nngp", "ntk") if name != "sign" else ("nngp",):
        kernel = getattr(infinite.Network(**arguments), kind)
        rows, columns = (kernel(each).diagonal() for each in (X, X if Z is None else Z))
        sizes = np.sqrt(np.outer(rows, columns))
        assert_agrees(kernel(X, Z), reference[f"{key}/{kind}"], sizes, name)


def assert_agrees(
    actual: np.ndarray[Any, Any],
    expected: np.ndarray[Any, Any],
    sizes: np.ndarray[Any, Any],
    name: str,
) -> None:
    known = np.isfinite(expected)
    if name.startswith("rectified_monomial"):
        # neural-tangents divides 0 by 0 on the diagonal, and later layers hand that on.
        assert np.isfinite(actual).all()
    else:
        assert known.all()
    # Elements that are small beside the diagonal are differences, there as here.
    off = np.abs(actual - expected)[known]
    assert (off <= 1e-12 * np.abs(expected[known]) + 1e-15 * sizes[known]).all()


@pytest.mark.parametrize("depth", [1, 3])
def test_hermite(depth: int, reference: dict[str, np.ndarray[Any, Any]]) -> None:
    nngp, ntk = infinite.kernels(
        reference["sphere"], depth=depth, activation=activations.hermite(3)
    )
    # Powers of a correlation: those far from 1 become tiny.
    np.testing.assert_allclose(nngp, reference[f"hermite_3/{depth}/nngp"], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(ntk, reference[f"hermite_3/{depth}/ntk"], rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("bias_std", [0.0, BIAS_STD])
def test_standard_parametrization(
    depth: int, bias_std: float, reference: dict[str, np.ndarray[Any, Any]]
) -> None:
    actual = infinite.ntk(
        reference["X"],
        depth=depth,
        weight_std=WEIGHT_STD,
        bias_std=bias_std,
        activation_scale=1.0,
        parametrization="standard",
        width=WIDTH,
    )
    np.testing.assert_allclose(actual, reference[f"standard/{depth}/{bias_std}"], rtol=1e-12)
