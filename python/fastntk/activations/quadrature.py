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

# Where nothing is known of a function, panels are halved until both halves give what the whole one
# does, but for this share of the whole integral. At first they are so narrow that a function which
# turns within 1/100 is seen to; and more panels than these are never looked at together. What is
# then still open may be the rounding of a function that computes in float32.
_SETTLED = 1e-14
_FIRST_CUT, _MOST_PANELS = 16, 2**15
_ROUNDED = 1e-6

# As far as this, the usual panels are enough.
_SAME = 1e-13

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
    panels = _panels(breakpoints, refinement)
    nodes, weights = _nodes_of(panels[:-1], panels[1:])
    return nodes.ravel(), weights.ravel()


def second_moment(function: Function, breakpoints: tuple[float, ...]) -> float:
    """Return E[φ(u)²] for a standard normal u."""
    nodes, weights = gaussian_nodes(breakpoints)
    return float(weights @ function(nodes) ** 2)


def settled_second_moment(function: Function, breakpoints: tuple[float, ...]) -> float | None:
    """Return E[φ(u)²] of a function of which no more is known, or None where nodes do not tell it.

    The panels are halved where φ needs it. So kinks and jumps that are not among the breakpoints
    cost time alone; what is narrower than the first nodes are apart may be missed.
    """
    plain = second_moment(function, breakpoints)
    edges = _panels(breakpoints, _FIRST_CUT)
    left, right = edges[:-1], edges[1:]
    whole = _squares(function, left, right)
    total, found = float(whole.sum()), 0.0
    while len(left) > 0:
        middle = (left + right) / 2
        halves = _squares(function, left, middle), _squares(function, middle, right)
        both = halves[0] + halves[1]
        # What is not finite stays so, however often it is halved.
        open_ = (np.abs(both - whole) > _SETTLED * total) & (left < middle) & (middle < right)
        if np.count_nonzero(open_) > _MOST_PANELS // 2:
            if np.abs(both - whole).sum() > _ROUNDED * total:
                return None
            open_[:] = False
        found += float(both[~open_].sum())
        left, right = (
            np.concatenate([left[open_], middle[open_]]),
            np.concatenate([middle[open_], right[open_]]),
        )
        whole = np.concatenate([half[open_] for half in halves])
    return plain if abs(found - plain) <= _SAME * found else found


def _panels(breakpoints: tuple[float, ...], refinement: int) -> NDArray[np.float64]:
    """Return the edges of the panels, see `gaussian_nodes`."""
    reach = 14.0
    edges = set(np.linspace(-reach, reach, 28 * refinement + 1).tolist())
    for point in breakpoints:
        steps = np.ldexp(1.0, -np.arange(1, 20)) / refinement
        edges |= {point, *(point + steps).tolist(), *(point - steps).tolist()}
    return np.array(sorted(edge for edge in edges if -reach <= edge <= reach))


def _nodes_of(
    left: NDArray[np.float64], right: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return nodes and weights (panels, 16), those of the normal distribution."""
    points, weights = np.polynomial.legendre.leggauss(16)
    centers, halves = (right + left) / 2, (right - left) / 2
    nodes = centers[:, np.newaxis] + halves[:, np.newaxis] * points
    density = np.exp(-(nodes**2) / 2) / math.sqrt(2 * math.pi)
    return nodes, halves[:, np.newaxis] * weights * density


def _squares(
    function: Function, left: NDArray[np.float64], right: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the part of E[φ(u)²] of each panel."""
    nodes, weights = _nodes_of(left, right)
    values = function(nodes.ravel()).reshape(nodes.shape)
    return np.asarray((weights * values**2).sum(axis=1))
