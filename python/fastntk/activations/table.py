# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""All activations of the package by their names."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable
from functools import cache

from fastntk._support import arguments
from fastntk.activations import (
    algebraic,
    clipped,
    exponentials,
    periodic,
    piecewise,
    polynomials,
    smooth,
)
from fastntk.activations.activation import Activation

CONSTRUCTORS: dict[str, Callable[..., Activation]] = {
    "identity": piecewise.identity,
    "relu": piecewise.relu,
    "leaky_relu": piecewise.leaky_relu,
    "abrelu": piecewise.abrelu,
    "abs": piecewise.absolute,
    "sign": piecewise.sign,
    "relu2": piecewise.rectified_monomial,
    "rectified_monomial": piecewise.rectified_monomial,
    "monomial": polynomials.monomial,
    "polynomial": polynomials.polynomial,
    "hermite": polynomials.hermite,
    "erf": smooth.erf,
    "gelu": smooth.gelu,
    "sin": periodic.sine,
    "cos": periodic.cosine,
    "exp": exponentials.exponential,
    "gaussian": exponentials.gaussian,
    "rbf": periodic.rbf,
    "gabor": periodic.gabor,
    "exp_normalized": exponentials.exp_normalized,
    "tanh": smooth.tanh,
    "sigmoid": smooth.sigmoid,
    "silu": smooth.silu,
    "softplus": smooth.softplus,
    "elu": exponentials.elu,
    "selu": exponentials.selu,
    "celu": exponentials.celu,
    "mish": smooth.mish,
    "gelu_tanh": smooth.gelu_tanh,
    "softsign": algebraic.softsign,
    "squareplus": algebraic.squareplus,
    "relu6": clipped.relu6,
    "hardtanh": clipped.hardtanh,
    "hardsigmoid": clipped.hardsigmoid,
    "hardswish": clipped.hardswish,
}

_NAMES = tuple(
    name for name, constructor in CONSTRUCTORS.items() if constructor != polynomials.polynomial
)


def restore(name: str, parameters: tuple[float, ...]) -> Activation:
    """Return the activation of a name, with the parameters that it was made with.

    Parameters
    ----------
    name : str
        The name of an `Activation`.
    parameters : tuple of float
        Its parameters.

    Returns
    -------
    Activation

    Examples
    --------
    >>> from fastntk import activations
    >>> activations.restore("leaky_relu", (0.2,)) == activations.leaky_relu(0.2)
    True
    """
    given = tuple(arguments.items(parameters, "parameters", "numbers"))
    for i, parameter in enumerate(given):
        if not isinstance(parameter, numbers.Real):
            raise TypeError(f"parameters[{i}]={arguments.shown(parameter)}: expected a number")
    signed = tuple((parameter, math.copysign(1.0, parameter)) for parameter in given)
    return _restored(arguments.choice(name, "name", tuple(CONSTRUCTORS)), signed)


@cache
def _restored(name: str, signed: tuple[tuple[float, float], ...]) -> Activation:
    """Return the activation; of parameters with their signs, as 0 and −0 are equal."""
    parameters = tuple(parameter for parameter, _ in signed)
    try:
        return CONSTRUCTORS[name](*parameters)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"parameters={arguments.shown(parameters)}: expected those of {name!r}: {error}"
        ) from None


def require_entry(activation: Activation, what: str) -> None:
    """Raise ValueError, about `what`, for an activation that `restore` cannot make again."""
    if activation.name not in CONSTRUCTORS:
        raise ValueError(
            f"{what}: expected an activation that fastntk knows by name; networks of finite width "
            "with a custom function cannot be written to a file, nor go to the workers of a cluster"
        )


def names() -> tuple[str, ...]:
    """Return the names of all activations that need no parameters.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> from fastntk import activations
    >>> "gelu" in activations.names()
    True
    """
    return _NAMES


def get(activation: str | Activation) -> Activation:
    """Return an activation by its name; one that is an activation already, as it is.

    Parameters
    ----------
    activation : str or Activation
        One of the `names`, which stands for its default parameters.

    Returns
    -------
    Activation

    Examples
    --------
    >>> from fastntk import activations
    >>> activations.get("softplus")
    Activation(softplus(1))
    """
    if isinstance(activation, Activation):
        return activation
    if not isinstance(activation, str) or activation not in names():
        expected = ", ".join(map(repr, names()))
        raise ValueError(f"activation={arguments.shown(activation)}: expected one of {expected}")
    return _restored(activation, ())


def label_of(name: str) -> str:
    """Return the label of an activation for figures.

    Parameters
    ----------
    name : str
        One of the `names`; any other, such as that of a custom activation, is its own label.

    Returns
    -------
    str

    Examples
    --------
    >>> from fastntk import activations
    >>> activations.label_of("relu2"), activations.label_of("cube")
    ('ReLU²', 'cube')
    """
    given = arguments.text(name, "name")
    return get(given).label if given in names() else given


# Those that the core computes, in networks of finite width. Others are compiled from their
# functions, where Numba can do that.
FINITE_WIDTH = tuple(name for name in names() if get(name).in_core)
