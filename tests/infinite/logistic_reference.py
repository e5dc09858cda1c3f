# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian expectations of steep functions by double integrals, at all norms and angles.

The functions change around 0 at a scale of 1 and are powers elsewhere, up to what falls off
exponentially. Panels of quadrature crowd around each scale at which an integrand changes, so that
few of them are enough for norms from 1e-150 to 1e150.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.special import expit

Array: TypeAlias = npt.NDArray[np.float64]
Steep: TypeAlias = Callable[[Array], Array]

REACH = 12.0  # of a standard normal number
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(16)
_MULTIPLES = 2.0 ** np.arange(-1, 7)
_UNITS = np.linspace(-REACH, REACH, 17)


def density(x: Array) -> Array:
    """Return the logistic density."""
    return expit(x) * expit(-x)


# φ and φ' by name, and the power of the argument with which they grow.
FUNCTIONS: dict[str, tuple[tuple[Steep, int], tuple[Steep, int]]] = {
    "tanh": ((np.tanh, 0), (lambda x: 4 * density(2 * x), 0)),
    "sigmoid": ((expit, 0), (density, 0)),
    "softplus": ((lambda x: np.logaddexp(0, x), 1), (expit, 0)),
    "silu": ((lambda x: x * expit(x), 1), (lambda x: expit(x) * (1 + x * expit(-x)), 0)),
}


def _panels(edges: Array) -> tuple[Array, Array]:
    """Return nodes and weights on the panels between sorted edges, along the last axis."""
    centers, halves = (edges[..., 1:] + edges[..., :-1]) / 2, np.diff(edges) / 2
    nodes = centers[..., np.newaxis] + halves[..., np.newaxis] * _NODES
    weights = halves[..., np.newaxis] * _WEIGHTS
    shape = (*edges.shape[:-1], -1)
    return nodes.reshape(shape), weights.reshape(shape)


def _normal(x: Array) -> Array:
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _outer_nodes(scales: list[float]) -> tuple[Array, Array]:
    steps = [m * _MULTIPLES for m in scales if m < REACH]
    edges = np.unique(np.concatenate([_UNITS, *steps, *(-each for each in steps)]))
    nodes, weights = _panels(edges[np.abs(edges) <= REACH])
    return nodes, weights * _normal(nodes)


def root_mean_square(f: Steep, s: float, power: int) -> float:
    """Return √E[f(su)²] / s^power."""
    nodes, weights = _outer_nodes([1 / s])
    return math.sqrt(float(weights @ (f(s * nodes) / s**power) ** 2))


def cosine(f: Steep, power: int, s: float, t: float, gap: float) -> float:
    """Return E[f(u) f(v)] over the root mean squares, for the correlation 1 − gap."""
    rho, sine = 1 - gap, math.sqrt(gap * (2 - gap))
    scales = [1 / s]
    if rho:
        scales += [sine / abs(rho), 1 / (t * abs(rho))]
    x, weights = _outer_nodes([m for m in scales if m > 0])
    total = weights * (f(s * x) / s**power)
    width = t * sine
    if width == 0:
        inner = f(t * rho * x) / t**power
    elif width < 1e-8 * min(1.0, t):
        # The second order, of width²/2, is below what is looked at.
        inner = f(t * rho * x) / t**power
    else:
        # v = width · offset, with the offset from where v = 0; y has the normal density.
        with np.errstate(over="ignore"):
            zero = np.clip(-rho * x / sine, -1e6, 1e6)[:, np.newaxis]
        steps = _MULTIPLES / width
        edges = np.concatenate([-steps[::-1], [0.0], steps])
        all_edges = np.concatenate([np.broadcast_to(edges, (len(x), len(edges))), _UNITS - zero], 1)
        all_edges = np.sort(np.clip(all_edges, -REACH - zero, REACH - zero), axis=1)
        offset, inner_weights = _panels(all_edges)
        # Far from 0, v is t ρ x but for what a clipped zero would get wrong.
        far = np.abs(zero) >= 1e6
        v = np.where(far, (t * rho * x)[:, np.newaxis], width * offset)
        inner = (inner_weights * _normal(zero + offset) * (f(v) / t**power)).sum(axis=1)
    value = float(total @ inner)
    return value / (root_mean_square(f, s, power) * root_mean_square(f, t, power))
