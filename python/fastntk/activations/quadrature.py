# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian expectations of functions of one variable, by quadrature."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastntk._support import arguments

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Nodes of panels cut into so many are enough for anything, and fit in memory.
_MOST_REFINED = 2**12

# A function of one variable, which takes an array of float64 elementwise.
Function: TypeAlias = Callable[["NDArray[np.float64]"], "NDArray[np.floating[Any]]"]


def gaussian_nodes(
    breakpoints: tuple[float, ...] = (), refinement: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes u and weights w with Σ w g(u) ≈ E[g(u)] for a standard normal u.

    Gauss–Legendre quadrature on panels of [-14, 14], whose edges include the breakpoints and crowd
    around them: functions with kinks or sharp turns there converge as fast as smooth ones.

    Parameters
    ----------
    breakpoints : tuple of float
        Where g is not analytic, or turns sharply.
    refinement : int
        Into how many panels each of the usual length 1 is cut.

    Returns
    -------
    nodes, weights : ndarray (m,)
        16 for each panel, ascending.

    Examples
    --------
    >>> from fastntk.activations import gaussian_nodes
    >>> u, w = gaussian_nodes()
    >>> round(float(w @ u**4), 12)
    3.0
    """
    given = arguments.items(breakpoints, "breakpoints", "numbers", in_order=False)
    breakpoints = tuple(
        arguments.real(point, f"breakpoints[{i}]", minimum=-math.inf)
        for i, point in enumerate(given)
    )
    refinement = arguments.integer(refinement, "refinement", minimum=1, maximum=_MOST_REFINED)
    reach = 14.0
    edges = set(np.linspace(-reach, reach, 28 * refinement + 1).tolist())
    for point in breakpoints:
        steps = np.ldexp(1.0, -np.arange(1, 20)) / refinement
        edges |= {point, *(point + steps).tolist(), *(point - steps).tolist()}
    panels = np.array(sorted(edge for edge in edges if -reach <= edge <= reach))
    points, weights = np.polynomial.legendre.leggauss(16)
    centers, halves = (panels[1:] + panels[:-1]) / 2, (panels[1:] - panels[:-1]) / 2
    nodes = (centers[:, np.newaxis] + halves[:, np.newaxis] * points).ravel()
    density = np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
    return nodes, (halves[:, np.newaxis] * weights).ravel() * density


def second_moment(function: Function, breakpoints: tuple[float, ...]) -> float:
    """Return E[φ(u)²] for a standard normal u."""
    nodes, weights = gaussian_nodes(breakpoints)
    return float(weights @ function(nodes) ** 2)
