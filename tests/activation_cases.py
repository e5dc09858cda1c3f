# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The activations that tests go through: all entries by name, and some with other parameters."""

from __future__ import annotations

from typing import Any

from fastntk import activations
from fastntk.activations import Activation

PARAMETRIZED = [
    activations.leaky_relu(0.3),
    activations.abrelu(-0.4, 1.5),
    activations.rectified_monomial(1),
    activations.rectified_monomial(3),
    activations.rectified_monomial(4),
    activations.monomial(3),
    activations.polynomial(0.2, 0.7, -0.3, 0.1),
    activations.hermite(3),
    activations.erf(0.8, 0.3),
    activations.sine(1.4, 0.3),
    activations.cosine(1.4, 0.3),
    activations.exponential(0.3),
    activations.gaussian(0.7),
    activations.rbf(0.6),
    activations.softplus(2.0),
    activations.elu(1.7),
    activations.celu(0.6),
    activations.squareplus(0.5),
    activations.hardtanh(-0.4, 1.5),
]
ALL = [activations.get(name) for name in activations.names()] + PARAMETRIZED
FUNCTIONS = [phi for phi in ALL if phi.function is not None]


def identify(phi: Activation) -> str:
    return repr(phi)


# One of a user's own, with both derivatives.


def cube(x: Any) -> Any:
    return x**3


def slope_of_cube(x: Any) -> Any:
    return 3 * x**2


def bend_of_cube(x: Any) -> Any:
    return 6 * x


CUBE = activations.custom(cube, slope_of_cube, "cube", curvature=bend_of_cube)
