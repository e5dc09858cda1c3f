# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations without exponentials: softsign, squareplus."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk.activations import sensitivity
from fastntk.activations.activation import Activation, TorchModule

if TYPE_CHECKING:
    from numpy.typing import NDArray


def softsign() -> Activation:
    """Return the softsign, φ(x) = x / (1 + ``|x|``).

    Returns
    -------
    Activation
    """
    return Activation(
        name="softsign",
        label="softsign",
        function=lambda x: x / (1 + np.abs(x)),
        derivative=lambda x: (1 + np.abs(x)) ** -2.0,
        # At 0, where it jumps, that from the left.
        curvature=lambda x: np.where(x > 0, -2.0, 2.0) * (1 + np.abs(x)) ** -3.0,
        breakpoints=(0.0,),
        odd=True,
        in_core=True,
        sensitivity=sensitivity.of_softsign(),
        dual=lambda duals, _: duals.Softsign(),
        module=TorchModule("Softsign"),
    )


def squareplus(b: float = 4.0) -> Activation:
    """Return the squareplus, φ(x) = (x + √(x² + b)) / 2.

    J. T. Barron, "Squareplus: a softplus-like algebraic rectifier", 2021.

    Parameters
    ----------
    b : float
        Above 0; the smaller, the closer φ is to ReLU.

    Returns
    -------
    Activation

    Examples
    --------
    >>> from fastntk import activations
    >>> activations.squareplus().second_moment  # (E[u²] + E[u² + 4])/4
    1.5
    """
    b = arguments.scale(b, "b")

    def root(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.hypot(x, math.sqrt(b))

    def function(x: NDArray[np.float64]) -> NDArray[np.float64]:
        # Below 0 the sum would cancel.
        return np.where(x > 0, (x + root(x)) / 2, b / (2 * (root(x) + np.abs(x))))

    return Activation(
        name="squareplus",
        label="squareplus",
        parameters=(b,),
        function=function,
        derivative=lambda x: function(x) / root(x),
        curvature=lambda x: b / (2 * root(x)) / root(x) / root(x),
        known_second_moment=(2 + b) / 4,
        breakpoints=(0.0,),
        in_core=True,
        sensitivity=sensitivity.of_squareplus(b),
    )
