# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activation functions and the scale that keeps the second moment of the activations at 1.

An activation is given by its name, ``"relu"``, or made by the function of that name where it has
parameters: ``leaky_relu(0.2)``. Any other function becomes one by `custom`.
"""

from fastntk.activations.activation import Activation
from fastntk.activations.algebraic import softsign, squareplus
from fastntk.activations.clipped import hardsigmoid, hardswish, hardtanh, relu6
from fastntk.activations.exponentials import (
    celu,
    elu,
    exp_normalized,
    exponential,
    gaussian,
    selu,
)
from fastntk.activations.outputs import Softmax
from fastntk.activations.periodic import cosine, gabor, rbf, sine
from fastntk.activations.piecewise import (
    abrelu,
    absolute,
    identity,
    leaky_relu,
    rectified_monomial,
    relu,
    sign,
)
from fastntk.activations.polynomials import hermite, monomial, polynomial
from fastntk.activations.quadrature import Function, gaussian_nodes
from fastntk.activations.smooth import (
    erf,
    gelu,
    gelu_tanh,
    mish,
    sigmoid,
    silu,
    softplus,
    tanh,
)
from fastntk.activations.table import FINITE_WIDTH, get, label_of, names, restore
from fastntk.activations.user_functions import custom

__all__ = [
    "FINITE_WIDTH",
    "Activation",
    "Function",
    "Softmax",
    "abrelu",
    "absolute",
    "celu",
    "cosine",
    "custom",
    "elu",
    "erf",
    "exp_normalized",
    "exponential",
    "gabor",
    "gaussian",
    "gaussian_nodes",
    "gelu",
    "gelu_tanh",
    "get",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hermite",
    "identity",
    "label_of",
    "leaky_relu",
    "mish",
    "monomial",
    "names",
    "polynomial",
    "rbf",
    "rectified_monomial",
    "relu",
    "relu6",
    "restore",
    "selu",
    "sigmoid",
    "sign",
    "silu",
    "sine",
    "softplus",
    "softsign",
    "squareplus",
    "tanh",
]


def __dir__() -> list[str]:
    """Return the public names, and not those of the files that they come from."""
    return sorted(__all__)
