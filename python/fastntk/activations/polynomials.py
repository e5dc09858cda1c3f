# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations that are polynomials."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import hermite_e
from numpy.polynomial.polynomial import polyder, polyval

from fastntk._support import arguments
from fastntk._support.arguments import LARGEST_SCALE
from fastntk.activations.activation import Activation, with_exponent

if TYPE_CHECKING:
    from numpy.typing import NDArray


# The largest degrees d for which E[φ(u)²] = (2d − 1)!!, and d! for Hermite polynomials, are floats.
_LARGEST_DEGREE, _LARGEST_HERMITE = 150, 170


def monomial(degree: int = 2) -> Activation:
    """Return φ(x) = x^degree.

    Parameters
    ----------
    degree : int
        At least 1, and at most 150: E[φ(u)²] has to be within the range of float64.

    Returns
    -------
    Activation
    """
    degree = arguments.integer(degree, "degree", minimum=1, maximum=_LARGEST_DEGREE)
    return Activation(
        name="monomial",
        label=with_exponent("x", degree),
        parameters=(degree,),
        function=lambda x: x**degree,
        derivative=lambda x: degree * x ** (degree - 1),
        curvature=lambda x: degree * (degree - 1) * x ** max(degree - 2, 0),
        known_second_moment=float(math.prod(range(1, 2 * degree, 2))),
        power=degree,
        odd=degree % 2 == 1,
        dual=lambda duals, _: duals.Polynomial((0.0,) * degree + (1.0,)),
    )


def polynomial(*coefficients: float) -> Activation:
    """Return φ(x) = coefficients[0] + coefficients[1] x + coefficients[2] x² and so on.

    Parameters
    ----------
    *coefficients : float
        At least one of them not 0.

    Returns
    -------
    Activation

    Examples
    --------
    >>> from fastntk import activations
    >>> activations.polynomial(1.0, 0.0, 2.0).second_moment  # 1 + 4 E[u²] + 4 E[u⁴]
    17.0
    """
    numbers = tuple(
        arguments.real(c, f"coefficients[{i}]", minimum=-LARGEST_SCALE, maximum=LARGEST_SCALE)
        for i, c in enumerate(coefficients)
    )
    if not any(numbers):
        raise ValueError(
            f"coefficients={arguments.shown(coefficients)}: expected one that is not 0"
        )
    powers = np.array(numbers)
    slope: NDArray[np.float64] = polyder(powers)
    curvature: NDArray[np.float64] = polyder(powers, 2)
    series = hermite_e.poly2herme(numbers)
    return Activation(
        name="polynomial",
        label="polynomial",
        parameters=numbers,
        function=lambda x: polyval(x, powers),
        derivative=lambda x: polyval(x, slope),
        curvature=lambda x: polyval(x, curvature),
        odd=not any(numbers[::2]),
        known_second_moment=sum(float(c) ** 2 * math.factorial(k) for k, c in enumerate(series)),
        dual=lambda duals, _: duals.Polynomial(numbers),
    )


def hermite(degree: int = 2) -> Activation:
    """Return the Hermite polynomial of this degree, scaled to E[φ(u)²] = 1.

    It is for infinite width: Numba cannot compile it for a network of finite width, for which the
    same function can be written as a `polynomial`.

    Parameters
    ----------
    degree : int
        At least 1, and at most 170.

    Returns
    -------
    Activation

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import activations
    >>> values = activations.hermite(2).function(np.array([1.0, 3.0]))  # (x² − 1)/√2
    >>> np.round(values * np.sqrt(2), 12)
    array([0., 8.])
    """
    degree = arguments.integer(degree, "degree", minimum=1, maximum=_LARGEST_HERMITE)
    series = np.zeros(degree + 1)
    series[degree] = math.factorial(degree) ** -0.5
    slope, curvature = hermite_e.hermeder(series), hermite_e.hermeder(series, 2)
    return Activation(
        name="hermite",
        label=f"Hermite {degree}",
        parameters=(degree,),
        function=lambda x: hermite_e.hermeval(x, series),
        derivative=lambda x: hermite_e.hermeval(x, slope),
        curvature=lambda x: hermite_e.hermeval(x, curvature),
        known_second_moment=1.0,
        odd=degree % 2 == 1,
        dual=lambda duals, _: duals.Polynomial(tuple(hermite_e.herme2poly(series))),
    )
