# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations that are functions of the user's."""

from __future__ import annotations

import copyreg
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
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
) -> Activation:
    """Return an activation that is any function of one variable.

    Parameters
    ----------
    function : callable
        φ, of an array of float64, elementwise.
    derivative : callable, optional
        φ'. With it, the error of the kernels at infinite width is estimated more sharply.
    name : str
        For messages; not the name of another activation.
    breakpoints : tuple of float
        Where φ has kinks, or turns sharply.

    Returns
    -------
    Activation

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import activations
    >>> cube = activations.custom(lambda x: x**3, name="cube")
    >>> round(cube.second_moment, 10)
    15.0
    """
    if not callable(function):
        raise TypeError(f"function={function!r}: expected a function of an array")
    if derivative is not None and not callable(derivative):
        raise TypeError(f"derivative={derivative!r}: expected None or a function of an array")
    if not isinstance(name, str):
        raise TypeError(f"name={name!r}: expected a string")
    if name in CONSTRUCTORS:
        raise ValueError(f"name={name!r}: expected one that is not taken")
    points = tuple(
        arguments.real(point, f"breakpoints[{i}]", minimum=-math.inf)
        for i, point in enumerate(
            arguments.items(breakpoints, "breakpoints", "numbers", in_order=False)
        )
    )
    with np.errstate(all="ignore"):  # reported below
        if np.asarray(function(np.zeros(1))).dtype.kind not in "biuf":
            raise TypeError(f"function={function!r}: expected one whose values are real numbers")
        moment = quadrature.second_moment(function, points)
    if not 0 < moment < math.inf:
        raise ValueError(
            f"function={function!r}: its second moment E[φ(u)²] is {moment!r}; expected a positive "
            "finite one"
        )
    return Activation(
        name=name,
        label=name,
        function=function,
        derivative=derivative,
        known_second_moment=moment,
        breakpoints=points,
        identity=(function, derivative),
    )


def _call_that_makes(activation: Activation) -> tuple[Any, ...]:
    if activation.identity is None:
        return restore, (activation.name, activation.parameters)
    return custom, (
        activation.function,
        activation.derivative,
        activation.name,
        activation.breakpoints,
    )


# The functions of an entry are closures, which cannot be pickled: copies and pickles hold the call
# that makes the activation.
copyreg.pickle(Activation, _call_that_makes)
