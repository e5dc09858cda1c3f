# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Slow, explicit formulas for networks of infinite width, and the same in many digits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np

from fastntk.infinite.duals import Correlation, Gaps

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk.activations import Activation, Function
    from fastntk.infinite.duals import State

    Array = npt.NDArray[np.float64]


def relu_kernels(
    X: Array,
    depth: int,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    layer_weights: Sequence[tuple[float, float]] | None = None,
) -> tuple[Array, Array]:
    """Return Σ^{L+1} and Θ^{L+1} of ReLU, as the textbook has them."""
    rates = layer_weights or [(1.0, 1.0)] * (depth + 1)
    product = weight_std**2 * X @ X.T / X.shape[1]
    sigma = product + bias_std**2
    theta = rates[0][0] * product + rates[0][1] * bias_std**2
    for layer in range(1, depth + 1):
        deviation = np.sqrt(np.diag(sigma))
        scale = np.outer(deviation, deviation)
        rho = np.clip(sigma / scale, -1, 1)
        np.fill_diagonal(rho, 1.0)
        gate = 1 - np.arccos(rho) / np.pi
        product = weight_std**2 * scale * (rho * gate + np.sqrt(1 - rho**2) / np.pi)
        sigma = product + bias_std**2
        theta = (
            rates[layer][0] * product + rates[layer][1] * bias_std**2 + theta * weight_std**2 * gate
        )
    return sigma, theta


_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(20)


def normal_nodes(kinks: npt.ArrayLike) -> tuple[Array, Array]:
    """Return nodes and weights for E[g(u)] of functions with kinks, u a normal number.

    ``kinks`` has a row for each function, as have the nodes and the weights.
    """
    kinks = np.clip(np.atleast_2d(np.asarray(kinks, dtype=np.float64)), -10, 10)
    regular = np.broadcast_to(np.linspace(-10, 10, 17), (len(kinks), 17))
    edges = np.sort(np.concatenate([regular, kinks], axis=1), axis=1)
    centers, halves = (edges[:, 1:] + edges[:, :-1]) / 2, (edges[:, 1:] - edges[:, :-1]) / 2
    nodes = (centers[..., np.newaxis] + halves[..., np.newaxis] * _POINTS).reshape(len(kinks), -1)
    weights = (halves[..., np.newaxis] * _WEIGHTS).reshape(nodes.shape)
    return nodes, weights * np.exp(-(nodes**2) / 2) / math.sqrt(2 * np.pi)


def expectation(
    f: Function, s: float, t: float, rho: float, kinks: Sequence[float] = (0.0,)
) -> float:
    """Return E[f(u) f(v)] by an integral over v given u, and one over u."""
    if rho == 1:
        (nodes,), (weights,) = normal_nodes([b / r for b in kinks for r in (s, t)])
        return float(weights @ (f(s * nodes) * f(t * nodes)))
    rest = math.sqrt(1 - rho**2)
    # Where v is likely to be at a kink, the integral over u turns in a distance of `rest`.
    turns = [b / t / rho + k * rest for b in kinks if b and rho for k in (-4, -2, 0, 2, 4)]
    (u,), (weights,) = normal_nodes([*(b / s for b in kinks), *turns])
    # Given u, v = t(ρu + √(1 − ρ²) w) passes its kinks at these w.
    w, inner = normal_nodes((np.asarray(kinks) / t - rho * u[:, np.newaxis]) / rest)
    within = np.sum(inner * f(t * (rho * u[:, np.newaxis] + rest * w)), axis=1)
    return float(weights @ (f(s * u) * within))


def general_kernels(
    X: Array, depth: int, phi: Activation, weight_std: float, bias_std: float
) -> tuple[Array, Array]:
    """Return Σ^{L+1} and Θ^{L+1} by two-dimensional quadrature of φ and φ'."""
    return layered_kernels(X, [phi] * depth, [weight_std] * (depth + 1), [bias_std] * (depth + 1))


def layered_kernels(
    X: Array,
    phis: Sequence[Activation],
    weight_std: Sequence[float],
    bias_std: Sequence[float],
    scales: Sequence[float] | None = None,
    layer_weights: Sequence[tuple[float, float]] | None = None,
) -> tuple[Array, Array]:
    """Return Σ^{L+1} and Θ^{L+1} of a network whose layers differ, by quadrature of φ and φ'."""
    n = len(X)
    scales = scales or [phi.scale for phi in phis]
    rates = layer_weights or [(1.0, 1.0)] * len(weight_std)
    product = weight_std[0] ** 2 * X @ X.T / X.shape[1]
    sigma = product + bias_std[0] ** 2
    theta = rates[0][0] * product + rates[0][1] * bias_std[0] ** 2
    for layer, phi in enumerate(phis, 1):
        assert phi.function is not None
        assert phi.derivative is not None
        kinks = phi.breakpoints or (0.0,)
        gain = (weight_std[layer] * scales[layer - 1]) ** 2
        deviation = np.sqrt(np.diag(sigma))
        new, slope = np.empty((2, n, n))
        for i in range(n):
            for j in range(i + 1):
                s, t = deviation[i], deviation[j]
                rho = 1.0 if i == j else sigma[i, j] / (s * t)
                new[i, j] = new[j, i] = expectation(phi.function, s, t, rho, kinks)
                slope[i, j] = slope[j, i] = expectation(phi.derivative, s, t, rho, kinks)
        sigma = gain * new + bias_std[layer] ** 2
        theta = (
            rates[layer][0] * gain * new
            + rates[layer][1] * bias_std[layer] ** 2
            + theta * gain * slope
        )
    return sigma, theta


def pairs_at(x: State, z: State, gap: float) -> Correlation:
    """Return all pairs of some states, at 1 − ρ = gap."""
    near = np.full((len(x.deviation), len(z.deviation)), gap)
    return Correlation(Gaps(near, 2 - near), x.deviation[:, np.newaxis] - z.deviation)


def exact_angles(theta: float, depth: int) -> tuple[Any, Any]:
    """Return the embedding angle and the gradient angle in 60 digits."""
    with mpmath.workdps(60):
        angle = mpmath.mpf(theta)
        total = mpmath.cos(angle)
        for _ in range(depth):
            gate = 1 - angle / mpmath.pi
            cosine = gate * mpmath.cos(angle) + mpmath.sin(angle) / mpmath.pi
            total = cosine + total * gate
            angle = mpmath.acos(cosine)
        return angle, mpmath.acos(total / (depth + 1))


def exact_input_angle(x: Array, z: Array) -> float:
    """Return ∠(x, z) from the numbers as they are, rounded once."""
    with mpmath.workdps(400):
        a, b = ([mpmath.mpf(float(value)) for value in row] for row in (x, z))
        xx, zz, xz = (mpmath.fdot(p, q) for p, q in ((a, a), (b, b), (a, b)))
        return float(mpmath.acos(max(-1, min(1, xz / mpmath.sqrt(xx * zz)))))
