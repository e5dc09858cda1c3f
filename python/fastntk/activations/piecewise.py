# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations that are a power of x on either side of 0: ReLU and its kin."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.arguments import LARGEST_SCALE
from fastntk.activations import sensitivity
from fastntk.activations.activation import (
    Activation,
    TorchModule,
    with_exponent,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray


def identity() -> Activation:
    """Return φ(x) = x, which makes the network linear.

    Returns
    -------
    Activation
    """
    return Activation(
        name="identity",
        label="linear network",
        function=lambda x: x,
        derivative=np.ones_like,
        curvature=np.zeros_like,
        known_second_moment=1.0,
        slopes=(1.0, 1.0),
        power=1,
        odd=True,
        in_core=True,
        sensitivity=sensitivity.of_linear_pieces(1.0, 1.0),
        dual=lambda duals, _: duals.PiecewiseLinear(1.0, 1.0),
    )


def relu() -> Activation:
    """Return the rectified linear unit, φ(x) = max(x, 0).

    Returns
    -------
    Activation

    Examples
    --------
    >>> from fastntk import activations
    >>> activations.relu().scale == 2**0.5
    True
    """
    return Activation(
        name="relu",
        label="ReLU",
        function=lambda x: np.maximum(x, 0),
        derivative=lambda x: (x > 0).astype(float),
        curvature=np.zeros_like,
        known_second_moment=0.5,
        breakpoints=(0.0,),
        slopes=(0.0, 1.0),
        power=1,
        in_core=True,
        sensitivity=sensitivity.of_linear_pieces(0.0, 1.0),
        dual=lambda duals, _: duals.PiecewiseLinear(0.0, 1.0),
        module=TorchModule("ReLU"),
    )


def abrelu(negative: float = -0.5, positive: float = 1.0) -> Activation:
    """Return the piecewise linear φ(x) = negative · x for x < 0, positive · x for x > 0.

    Parameters
    ----------
    negative, positive : float
        The two slopes, which may have either sign but are not both 0.

    Returns
    -------
    Activation

    Examples
    --------
    >>> from fastntk import activations
    >>> activations.abrelu(-0.25, 2.0).slopes
    (-0.25, 2.0)
    """
    negative = arguments.real(negative, "negative", minimum=-LARGEST_SCALE, maximum=LARGEST_SCALE)
    positive = arguments.real(positive, "positive", minimum=-LARGEST_SCALE, maximum=LARGEST_SCALE)
    if negative == positive == 0:
        raise ValueError(f"positive={positive!r}: expected two slopes that are not both 0")
    return Activation(
        name="abrelu",
        label="ABReLU",
        parameters=(negative, positive),
        **_linear_pieces(negative, positive),
    )


def leaky_relu(alpha: float = 0.01) -> Activation:
    """Return the leaky ReLU, φ(x) = x for x > 0 and αx for x < 0.

    Parameters
    ----------
    alpha : float
        The slope α for x < 0: 0 for ReLU, 1 for the identity.

    Returns
    -------
    Activation

    Examples
    --------
    >>> import fastntk
    >>> net = fastntk.MLP([3, 16, 1], activation=fastntk.activations.leaky_relu(0.2))
    >>> net.activation
    Activation(leaky_relu(0.2))
    """
    alpha = arguments.real(alpha, "alpha", minimum=-LARGEST_SCALE, maximum=LARGEST_SCALE)
    return Activation(
        name="leaky_relu",
        label="leaky ReLU",
        parameters=(alpha,),
        module=TorchModule(
            "LeakyReLU",
            lambda module: (module.negative_slope,),
            lambda slope: {"negative_slope": slope},
        ),
        **_linear_pieces(alpha, 1.0),
    )


def absolute() -> Activation:
    """Return the absolute value, φ(x) = ``|x|``, whose name is "abs".

    Returns
    -------
    Activation
    """
    return Activation(name="abs", label="|x|", **_linear_pieces(-1.0, 1.0))


def _linear_pieces(negative: float, positive: float) -> dict[str, Any]:
    """Return what an entry says of φ(x) = negative · x for x < 0, positive · x for x > 0."""
    return {
        "function": lambda x: np.where(x > 0, positive, negative) * x,
        "derivative": lambda x: np.where(x > 0, positive, negative),
        "curvature": np.zeros_like,
        "known_second_moment": (negative**2 + positive**2) / 2,
        "breakpoints": (0.0,),
        "slopes": (negative, positive),
        "power": 1,
        "odd": negative == positive,
        "in_core": True,
        "sensitivity": sensitivity.of_linear_pieces(negative, positive),
        "dual": lambda duals, _: duals.PiecewiseLinear(negative, positive),
    }


def sign() -> Activation:
    """Return the sign, φ(x) = 1 for x > 0 and −1 for x < 0.

    Its derivative is 0 but for a point mass at 0, which has no second moment: at infinite width it
    has an NNGP kernel, and no NTK, and networks of finite width do not take it.

    Returns
    -------
    Activation
    """
    return Activation(
        name="sign",
        label="sign",
        function=np.sign,
        derivative=None,  # what is 0 but for a point mass is no function
        known_second_moment=1.0,
        breakpoints=(0.0,),
        power=0,
        odd=True,
        dual=lambda duals, _: duals.Sign(),
    )


# The largest degree d for which (2d − 1)!! = 2 E[φ(u)²] is a number of float64.
_LARGEST_DEGREE = 150


def rectified_monomial(degree: int = 2) -> Activation:
    """Return φ(x) = max(x, 0)^degree; the one of degree 2 has the name "relu2", too.

    Parameters
    ----------
    degree : int
        At least 1, and at most 150: E[φ(u)²] has to be within the range of float64.

    Returns
    -------
    Activation

    Examples
    --------
    >>> from fastntk import activations
    >>> activations.get("relu2") == activations.rectified_monomial(2)
    True
    """
    degree = arguments.integer(degree, "degree", minimum=1, maximum=_LARGEST_DEGREE)

    def curvature(x: NDArray[np.float64]) -> NDArray[np.float64]:
        power = np.where(x > 0, x, 0.0) ** max(degree - 2, 0)
        return degree * (degree - 1) * power * (x > 0)

    return Activation(
        name="rectified_monomial",
        label=with_exponent("ReLU", degree),
        parameters=(degree,),
        function=lambda x: np.maximum(x, 0) ** degree,
        derivative=lambda x: degree * np.where(x > 0, x, 0.0) ** (degree - 1) * (x > 0),
        curvature=curvature,
        known_second_moment=math.prod(range(1, 2 * degree, 2)) / 2,
        breakpoints=(0.0,),
        power=degree,
        in_core=True,
        sensitivity=sensitivity.of_rectified_monomial(degree),
        dual=lambda duals, _: duals.RectifiedMonomial(degree),
    )
