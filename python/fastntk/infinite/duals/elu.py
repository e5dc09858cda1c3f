# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""ELU in closed form: its kink would make a Hermite series converge slowly.

On each side of 0 the function is linear or exponential. An exponential under a normal density
shifts the mean, so everything comes down to probabilities of quadrants with a moved corner, which
are Owen's function T: D. B. Owen, "Tables for computing bivariate normal probabilities", 1956.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import ndtr, owens_t

from fastntk.activations import gaussian_nodes
from fastntk.infinite.duals.base import CANCELLATION, ClosedForm, State
from fastntk.infinite.duals.piecewise import angle, sine

if TYPE_CHECKING:
    from fastntk.activations import Function
    from fastntk.infinite.duals.base import Array


class Elu(ClosedForm):
    """The dual of φ(x) = x for x > 0, α(exp(x) − 1) for x < 0.

    Parameters
    ----------
    alpha : float
        α.
    function : callable
        φ of an array, elementwise.
    tolerance : float
        The largest relative error of √E[φ(u)²] that is accepted.
    """

    def __init__(self, alpha: float, function: Function, tolerance: float) -> None:
        self.alpha, self.function, self.tolerance = alpha, function, tolerance
        self.gap_error = max(tolerance, CANCELLATION)

    def state(self, deviation: Array) -> State:
        """Return the state of samples, after a check that the formulas resolve them."""
        with np.errstate(over="ignore", invalid="ignore"):
            result = super().state(deviation)
        # The terms cancel for small s and overflow for large s: compare with a plain integral.
        # It costs one function of one variable for each sample, and is no less exact.
        nodes, weights = gaussian_nodes((0.0,))
        exact = np.array([math.sqrt(weights @ self.function(s * nodes) ** 2) for s in deviation])
        error = np.abs(result.activation - exact)
        if not (error <= self.tolerance * exact).all():
            worst = deviation[np.argmax(~(error <= self.tolerance * exact))]
            raise ValueError(
                f"tolerance={self.tolerance:g}: not reached for the activation 'elu' "
                f"with a standard deviation of {worst:.3g} before it; expected samples, weight_std "
                "and bias_std that keep it between about 1e-3 and 8, or a larger tolerance"
            )
        return result

    def covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return E[φ(u)φ(v)], summed over the quadrants of linear and exponential sides."""
        alpha, rho = self.alpha, 1 - gap
        quarter = 0.5 - angle(gap) / (2 * math.pi)  # P(u < 0, v < 0)
        linear = s * t * (sine(gap) / (2 * math.pi) + rho * quarter)
        exponential = _both(s, t, gap) - _one(t, gap) - _one(s, gap) + quarter
        return linear + alpha * (_mixed(s, t, gap) + _mixed(t, s, gap)) + alpha**2 * exponential

    def derivative_covariance(self, s: Array, t: Array, gap: Array) -> Array:
        """Return E[φ'(u)φ'(v)], summed over the quadrants of linear and exponential sides."""
        quarter = 0.5 - angle(gap) / (2 * math.pi)
        mixed = _half(t) - _one(t, gap) + _half(s) - _one(s, gap)
        return quarter + self.alpha * mixed + self.alpha**2 * _both(s, t, gap)


def _half(t: Array) -> Array:
    """Return E[exp(v); v < 0]."""
    return np.asarray(np.exp(t**2 / 2) * ndtr(-t))


def _one(t: Array, gap: Array) -> Array:
    """Return E[exp(v); u < 0, v < 0]."""
    rho = 1 - gap
    with np.errstate(divide="ignore"):
        slope = np.where(rho == 0, np.inf, sine(gap) / rho)
    probability = (ndtr(-rho * t) + ndtr(-t)) / 2 - owens_t(rho * t, slope) - 0.5 * (rho < 0)
    return np.asarray(np.exp(t**2 / 2) * probability)


def _both(s: Array, t: Array, gap: Array) -> Array:
    """Return E[exp(u + v); u < 0, v < 0]."""
    rho = 1 - gap
    h, k = s + rho * t, t + rho * s
    with np.errstate(divide="ignore", invalid="ignore"):
        h_slope = np.where(h == 0, np.inf, t * sine(gap) / h)
        k_slope = np.where(k == 0, np.inf, s * sine(gap) / k)
    probability = (
        (ndtr(-h) + ndtr(-k)) / 2 - owens_t(h, h_slope) - owens_t(k, k_slope) - 0.5 * (h * k < 0)
    )
    return np.asarray(np.exp((s**2 + t**2) / 2 + rho * s * t) * probability)


def _mixed(s: Array, t: Array, gap: Array) -> Array:
    """Return E[u (exp(v) − 1); u > 0, v < 0]."""
    rho = 1 - gap
    scale = 1 / math.sqrt(2 * math.pi)
    # exp(t²/2) times the normal densities at −ρt and at −t.
    corner = scale * np.exp(gap * (2 - gap) * t**2 / 2)
    boundary = corner * ndtr(-t * sine(gap)) - rho * scale / 2
    inner = rho * t * (_half(t) - _one(t, gap))
    return s * (boundary + inner - scale * gap / 2)
