# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations made of exponentials."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.arguments import LARGEST_SCALE
from fastntk.activations import sensitivity
from fastntk.activations.activation import Activation, TorchModule

if TYPE_CHECKING:
    from numpy.typing import NDArray


# The largest rate for which E[φ(u)²] = exp(2 rate²) is in the range of float64, rounded down.
_LARGEST_RATE = 18.8


def exponential(rate: float = 1.0) -> Activation:
    """Return φ(x) = exp(rate · x), whose name is "exp".

    Parameters
    ----------
    rate : float
        Any finite number.

    Returns
    -------
    Activation
    """
    rate = arguments.real(rate, "rate", minimum=-_LARGEST_RATE, maximum=_LARGEST_RATE)
    return Activation(
        name="exp",
        label="exp",
        parameters=(rate,),
        function=lambda x: np.exp(rate * x),
        derivative=lambda x: rate * np.exp(rate * x),
        curvature=lambda x: rate**2 * np.exp(rate * x),
        known_second_moment=math.exp(2 * rate**2),
        dual=lambda duals, _: duals.Exponential(rate),
    )


def gaussian(rate: float = 1.0) -> Activation:
    """Return φ(x) = exp(−rate · x²).

    Parameters
    ----------
    rate : float
        Above 0.

    Returns
    -------
    Activation
    """
    rate = arguments.scale(rate, "rate")
    return Activation(
        name="gaussian",
        label="Gaussian",
        parameters=(rate,),
        function=lambda x: np.exp(-rate * x**2),
        derivative=lambda x: -2 * rate * x * np.exp(-rate * x**2),
        curvature=lambda x: 2 * rate * (2 * rate * x**2 - 1) * np.exp(-rate * x**2),
        known_second_moment=(1 + 4 * rate) ** -0.5,
        dual=lambda duals, _: duals.Gaussian(rate),
    )


def exp_normalized(gamma: float = 1.0) -> Activation:
    """Return the activation of a normalized Gaussian kernel, at infinite width only.

    It is a dual without a function φ: for u and v with the standard deviations s and t and the
    correlation ρ, E[φ(u)φ(v)] = s t exp(γ(ρ − 1)), the Gaussian kernel of normalized samples times
    their norms.

    Parameters
    ----------
    gamma : float
        γ above 0.

    Returns
    -------
    Activation

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import activations, infinite
    >>> K = infinite.nngp(np.eye(2), depth=1, activation=activations.exp_normalized(0.5))
    >>> round(float(K[0, 1] / K[0, 0]), 6)  # exp(−½)
    0.606531
    """
    gamma = arguments.scale(gamma, "gamma")
    return Activation(
        name="exp_normalized",
        label="normalized Gaussian",
        parameters=(gamma,),
        function=None,
        derivative=None,
        known_second_moment=1.0,
        dual=lambda duals, _: duals.ExpNormalized(gamma),
    )


# The mean of (eᶻ − 1)² for z < 0 and of 0 elsewhere: e² erfc(√2)/2 − √e erfc(√½) + ½.
_SECOND_MOMENT_OF_EXPONENTIAL = 0.14494541749292367


def elu(alpha: float = 1.0) -> Activation:
    """Return the ELU, φ(x) = x for x > 0 and α(exp(x) − 1) for x < 0.

    Parameters
    ----------
    alpha : float
        α, at least 0.

    Returns
    -------
    Activation
    """
    alpha = arguments.real(alpha, "alpha", minimum=0.0, maximum=LARGEST_SCALE)
    return Activation(
        name="elu",
        label="ELU",
        parameters=(alpha,),
        module=TorchModule("ELU", lambda module: (module.alpha,), lambda alpha: {"alpha": alpha}),
        **_exponential_below_zero(alpha),
    )


# The numbers for which a standard normal distribution of arguments stays one, in mean and variance:
# G. Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.
_SELU_SCALE, _SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717


def selu() -> Activation:
    """Return the SELU, 1.0507… times the ELU with α = 1.6733….

    Returns
    -------
    Activation

    Examples
    --------
    >>> from fastntk import activations
    >>> round(activations.selu().second_moment, 12)
    1.0
    """
    return Activation(
        name="selu",
        label="SELU",
        module=TorchModule("SELU"),
        **_exponential_below_zero(_SELU_ALPHA, scale=_SELU_SCALE),
    )


# 1/α and its square are numbers of float32.
_SMALLEST_CELU, _LARGEST_CELU = 1e-18, 1e18


def celu(alpha: float = 1.0) -> Activation:
    """Return the CELU, φ(x) = x for x > 0 and α(exp(x/α) − 1) for x < 0.

    Parameters
    ----------
    alpha : float
        α, from 1e-18 to 1e18.

    Returns
    -------
    Activation
    """
    alpha = arguments.real(alpha, "alpha", minimum=_SMALLEST_CELU, maximum=_LARGEST_CELU)
    return Activation(
        name="celu",
        label="CELU",
        parameters=(alpha,),
        module=TorchModule("CELU", lambda module: (module.alpha,), lambda alpha: {"alpha": alpha}),
        **_exponential_below_zero(1.0, scale=alpha, rate=1 / alpha),
    )


def _exponential_below_zero(alpha: float, scale: float = 1.0, rate: float = 1.0) -> dict[str, Any]:
    """Return what an entry says of scale · ELU(rate · x)."""
    below, slope = scale * alpha, scale * rate

    def function(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(x > 0, slope * x, below * np.expm1(rate * np.minimum(x, 0)))

    def derivative(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(x > 0, slope, below * rate * np.exp(rate * np.minimum(x, 0)))

    def curvature(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(x > 0, 0.0, below * rate**2 * np.exp(rate * np.minimum(x, 0)))

    known = slope**2 / 2 + below**2 * _SECOND_MOMENT_OF_EXPONENTIAL if rate == 1 else None
    return {
        "function": function,
        "derivative": derivative,
        "curvature": curvature,
        "known_second_moment": known,
        "breakpoints": (0.0,),
        "in_core": True,
        "sensitivity": sensitivity.of_elu(below, slope, rate),
        "dual": lambda duals, _: duals.Elu(alpha, scale, rate),
    }
