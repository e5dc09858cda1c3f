# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations that are functions of the user's."""

from __future__ import annotations

import copyreg
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.activations import quadrature
from fastntk.activations.activation import Activation
from fastntk.activations.table import CONSTRUCTORS, restore

if TYPE_CHECKING:
    from fastntk.activations.quadrature import Function


def custom(
    function: Function,
    derivative: Function | None = None,
    name: str = "custom",
    breakpoints: tuple[float, ...] = (),
    curvature: Function | None = None,
) -> Activation:
    """Return an activation that is any function of one variable.

    Parameters
    ----------
    function : callable
        φ, of an array of float64, elementwise.
    derivative : callable, optional
        φ'. Networks of finite width need it. At infinite width, the error of the kernels is
        estimated more sharply with it.
    name : str
        For messages; not the name of another activation.
    breakpoints : tuple of float
        Where φ has kinks, or turns sharply. Kernels of infinite width are refused where they are
        seen to need others; what happens within less than 0.005 may go unseen.
    curvature : callable, optional
        φ''. The activation of a network's outputs needs it.

    Returns
    -------
    Activation

    Notes
    -----
    A network of finite width has its functions compiled when it first computes. Numba keeps what
    it compiled as long as the process lives, about 0.4 MB for each function, also when the
    activation is gone.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import activations
    >>> cube = activations.custom(lambda x: x**3, name="cube")
    >>> round(cube.second_moment, 10)
    15.0
    """
    if not callable(function):
        raise TypeError(f"function={shown(function)}: expected a function of an array")
    for argument, given in (("derivative", derivative), ("curvature", curvature)):
        if given is not None and not callable(given):
            raise TypeError(f"{argument}={shown(given)}: expected None or a function of an array")
    name = arguments.text(name, "name")
    if name in CONSTRUCTORS:
        raise ValueError(f"name={shown(name)}: expected one that is not taken")
    points = tuple(
        arguments.real(point, f"breakpoints[{i}]", minimum=-math.inf)
        for i, point in enumerate(
            arguments.items(breakpoints, "breakpoints", "numbers", in_order=False)
        )
    )
    with np.errstate(all="ignore"):  # reported below
        if _at_zero(function).dtype.kind not in "biuf":
            raise TypeError(
                f"function={shown(function)}: expected one whose values are real numbers"
            )
        moment = quadrature.settled_second_moment(function, points)
    if moment is None:
        raise ValueError(
            f"function={shown(function)}: its second moment E[φ(u)²] is not known, because it "
            "turns too often for any quadrature; expected fewer kinks, jumps or waves"
        )
    if not 0 < moment < math.inf:
        raise ValueError(
            f"function={shown(function)}: its second moment E[φ(u)²] is {moment!r}; expected a "
            "positive finite one"
        )
    return Activation(
        name=name,
        label=name,
        function=function,
        derivative=derivative,
        curvature=curvature,
        known_second_moment=moment,
        breakpoints=points,
        identity=(function, derivative, curvature),
    )


def _at_zero(function: Function) -> np.ndarray[Any, np.dtype[Any]]:
    try:
        return np.asarray(function(np.zeros(1)))
    except Exception as error:  # of the user's function, any error
        raise TypeError(
            f"function={shown(function)}: expected a function of an array, but for an "
            f"array of a single 0 it raises {type(error).__qualname__}: {error}"
        ) from error


def _call_that_makes(activation: Activation) -> tuple[Any, ...]:
    if activation.identity is None:
        return restore, (activation.name, activation.parameters)
    return custom, (
        activation.function,
        activation.derivative,
        activation.name,
        activation.breakpoints,
        activation.curvature,
    )


# The functions of an entry are closures, which cannot be pickled: copies and pickles hold the call
# that makes the activation.
copyreg.pickle(Activation, _call_that_makes)
