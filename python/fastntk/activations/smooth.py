# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations of the normal and of the logistic distribution: steps, and smooth forms of ReLU."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy

from fastntk._support import arguments
from fastntk._support.arguments import LARGEST_SCALE
from fastntk.activations import sensitivity
from fastntk.activations.activation import Activation, TorchModule

if TYPE_CHECKING:
    from numpy.typing import NDArray


def erf(slope: float = 1.0, offset: float = 0.0) -> Activation:
    """Return the error function, φ(x) = erf(slope · x) + offset.

    Parameters
    ----------
    slope : float
        Above 0.
    offset : float
        What is added.

    Returns
    -------
    Activation

    Examples
    --------
    >>> from fastntk import activations
    >>> round(activations.erf().second_moment, 6)  # (2/π) arcsin(2/3)
    0.464559
    """
    slope = arguments.scale(slope, "slope")
    offset = arguments.real(offset, "offset", minimum=-LARGEST_SCALE, maximum=LARGEST_SCALE)

    def derivative(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return 2 * slope / math.sqrt(math.pi) * np.exp(-((slope * x) ** 2))

    return Activation(
        name="erf",
        label="erf",
        parameters=(slope, offset),
        function=lambda x: scipy.special.erf(slope * x) + offset,
        derivative=derivative,
        curvature=lambda x: -2 * slope**2 * x * derivative(x),
        known_second_moment=2 / math.pi * math.asin(2 * slope**2 / (1 + 2 * slope**2)) + offset**2,
        odd=offset == 0,
        in_core=True,
        sensitivity=sensitivity.of_erf(slope, offset),
        dual=lambda duals, _: duals.ErrorFunction(slope, offset),
    )


def gelu() -> Activation:
    """Return the exact GELU, φ(x) = x P(u ≤ x) for a standard normal u.

    Returns
    -------
    Activation
    """

    def exact(module: Any) -> tuple[()]:
        if module.approximate != "none":
            raise ValueError(f"module contains {module!r}: expected the exact GELU")
        return ()

    return Activation(
        name="gelu",
        label="GELU",
        function=lambda x: x * scipy.special.ndtr(x),
        derivative=lambda x: (
            scipy.special.ndtr(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
        ),
        curvature=lambda x: np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) * (2 - x**2),
        known_second_moment=1 / 3 + math.sqrt(3) / (6 * math.pi),
        in_core=True,
        sensitivity=sensitivity.of_gelu(),
        dual=lambda duals, _: duals.Gelu(),
        module=TorchModule("GELU", exact),
    )


def tanh() -> Activation:
    """Return the hyperbolic tangent, φ(x) = tanh x.

    Returns
    -------
    Activation
    """

    def derivative(x: NDArray[np.float64]) -> NDArray[np.float64]:
        # cosh² does not overflow up to 350, and from there on is exp(2 |x|)/4 but for rounding.
        near = np.cosh(np.clip(x, -350, 350)) ** -2.0
        return np.where(np.abs(x) <= 350, near, 4 * np.exp(-2 * np.abs(x)))

    return Activation(
        name="tanh",
        label="tanh",
        function=np.tanh,
        derivative=derivative,
        curvature=lambda x: -2 * np.tanh(x) * derivative(x),
        breakpoints=(0.0,),
        odd=True,
        in_core=True,
        sensitivity=sensitivity.of_tanh(),
        dual=lambda duals, tolerance: duals.Tanh(tolerance),
        module=TorchModule("Tanh"),
    )


def sigmoid() -> Activation:
    """Return the logistic function, φ(x) = 1 / (1 + exp(−x)).

    Returns
    -------
    Activation
    """
    return Activation(
        name="sigmoid",
        label="sigmoid",
        function=_logistic,
        derivative=_logistic_density,
        curvature=lambda x: -_logistic_density(x) * np.tanh(x / 2),
        breakpoints=(0.0,),
        in_core=True,
        sensitivity=sensitivity.of_sigmoid(),
        dual=lambda duals, tolerance: duals.Sigmoid(tolerance),
        module=TorchModule("Sigmoid"),
    )


def silu() -> Activation:
    """Return the SiLU, φ(x) = x / (1 + exp(−x)).

    Returns
    -------
    Activation
    """
    return Activation(
        name="silu",
        label="SiLU",
        function=lambda x: x * _logistic(x),
        derivative=lambda x: _logistic(x) * (1 + x * _logistic(-x)),
        curvature=lambda x: _logistic_density(x) * (2 - x * np.tanh(x / 2)),
        breakpoints=(0.0,),
        in_core=True,
        sensitivity=sensitivity.of_silu(),
        dual=lambda duals, tolerance: duals.Silu(tolerance),
        module=TorchModule("SiLU"),
    )


def softplus(beta: float = 1.0) -> Activation:
    """Return the softplus, φ(x) = log(1 + exp(βx)) / β.

    Parameters
    ----------
    beta : float
        β above 0; the larger, the closer φ is to ReLU.

    Returns
    -------
    Activation
    """
    beta = arguments.scale(beta, "beta")

    def beta_of(module: Any) -> tuple[float]:
        # PyTorch replaces the function by a line where beta · z exceeds the threshold; above 20
        # the two differ by less than 3e-9/beta.
        if module.threshold < 20:
            raise ValueError(f"module contains {module!r}: expected a threshold of at least 20")
        return (module.beta,)

    return Activation(
        name="softplus",
        label="softplus",
        parameters=(beta,),
        function=lambda x: np.logaddexp(0, beta * x) / beta,
        derivative=lambda x: _logistic(beta * x),
        curvature=lambda x: beta * _logistic_density(beta * x),
        breakpoints=(0.0,),
        in_core=True,
        sensitivity=sensitivity.of_softplus(beta),
        dual=lambda duals, tolerance: duals.Softplus(tolerance, beta),
        # Above 37 the line is the function, to the last bit of a float64.
        module=TorchModule("Softplus", beta_of, lambda beta: {"beta": beta, "threshold": 40.0}),
    )


def mish() -> Activation:
    """Return the mish, φ(x) = x tanh(log(1 + exp(x))).

    Returns
    -------
    Activation
    """

    def gate(x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        # tanh(log(1 + y)) = (y² + 2y)/(y² + 2y + 2) and its derivatives by x, y = exp(x), of whose
        # denominators and numerators the highest powers are taken out for x > 0.
        w = np.exp(-np.abs(x))
        right = x > 0
        total = np.where(right, 1 + w * (2 + 2 * w), 2 + w * (2 + w))
        bend = np.where(right, w * (w * (w * (2 * w + 2) - 3) - 2), 2 + w * (2 - w * (3 + 2 * w)))
        value = np.where(right, 1 + 2 * w, w * (2 + w)) / total
        slope = 4 * w * np.where(right, w, 1.0) * (1 + w) / total**2
        return [value, slope, 4 * w * bend / total**3]

    def derivative(x: NDArray[np.float64]) -> NDArray[np.float64]:
        value, slope, _ = gate(x)
        return value + x * slope

    def curvature(x: NDArray[np.float64]) -> NDArray[np.float64]:
        _, slope, bend = gate(x)
        return 2 * slope + x * bend

    return Activation(
        name="mish",
        label="mish",
        function=lambda x: x * gate(x)[0],
        derivative=derivative,
        curvature=curvature,
        breakpoints=(0.0,),
        in_core=True,
        sensitivity=sensitivity.of_mish(),
        module=TorchModule("Mish"),
    )


# Of GELU's form by a tanh, x σ(y), y = rate (x + cubic x³).
_RATE, _CUBIC = math.sqrt(8 / math.pi), 0.044715


def gelu_tanh() -> Activation:
    """Return GELU's form by a tanh, x (1 + tanh(√(2/π) (x + 0.044715 x³)))/2.

    Returns
    -------
    Activation
    """

    def only_by_tanh(module: Any) -> tuple[()]:
        if module.approximate != "tanh":
            raise ValueError(f"module contains {module!r}: expected GELU's form by a tanh")
        return ()

    def argument(x: NDArray[np.float64]) -> NDArray[np.float64]:
        # Beyond 40, where exp(−y) is 0, the cube might overflow.
        x = np.clip(x, -40, 40)
        return _RATE * x * (1 + _CUBIC * x**2)

    def slope_of_argument(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return _RATE * (1 + 3 * _CUBIC * np.clip(x, -40, 40) ** 2)

    def derivative(x: NDArray[np.float64]) -> NDArray[np.float64]:
        y = argument(x)
        return _logistic(y) + x * slope_of_argument(x) * _logistic_density(y)

    def curvature(x: NDArray[np.float64]) -> NDArray[np.float64]:
        x = np.clip(x, -40, 40)
        y, slope = argument(x), slope_of_argument(x)
        inner = x * (6 * _RATE * _CUBIC * x - slope**2 * np.tanh(y / 2))
        return _logistic_density(y) * (2 * slope + inner)

    return Activation(
        name="gelu_tanh",
        label="GELU (tanh)",
        function=lambda x: x * _logistic(argument(x)),
        derivative=derivative,
        curvature=curvature,
        breakpoints=(0.0,),
        in_core=True,
        sensitivity=sensitivity.of_gelu_tanh(),
        module=TorchModule("GELU", only_by_tanh, lambda: {"approximate": "tanh"}),
    )


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    values: NDArray[np.float64] = scipy.special.expit(x)
    return values


def _logistic_density(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return _logistic(x) * _logistic(-x)
