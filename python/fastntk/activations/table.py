# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""All activations of the package by their names."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from fastntk.activations.activation import Activation
from fastntk.activations.exponentials import elu, exp_normalized, exponential, gaussian
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
from fastntk.activations.smooth import erf, gelu, sigmoid, silu, softplus, tanh

CONSTRUCTORS: dict[str, Callable[..., Activation]] = {
    "identity": identity,
    "relu": relu,
    "leaky_relu": leaky_relu,
    "abrelu": abrelu,
    "abs": absolute,
    "sign": sign,
    "relu2": rectified_monomial,
    "rectified_monomial": rectified_monomial,
    "monomial": monomial,
    "polynomial": polynomial,
    "hermite": hermite,
    "erf": erf,
    "gelu": gelu,
    "sin": sine,
    "cos": cosine,
    "exp": exponential,
    "gaussian": gaussian,
    "rbf": rbf,
    "gabor": gabor,
    "exp_normalized": exp_normalized,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "silu": silu,
    "softplus": softplus,
    "elu": elu,
}


@cache
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
    return CONSTRUCTORS[name](*parameters)


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
    return tuple(name for name, constructor in CONSTRUCTORS.items() if constructor != polynomial)


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
        raise ValueError(f"activation={activation!r}: expected one of {expected}")
    return restore(activation, ())


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
    return get(name).label if name in names() else name


# Those that the core computes, in networks of finite width. Others are compiled from their
# functions, where Numba can do that.
FINITE_WIDTH = tuple(name for name in names() if get(name).in_core)
