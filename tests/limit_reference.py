# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Slow, explicit formulas for described networks of infinite width, in many digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np

from fastntk.layers import Activation, Dense, LayerNorm, Rescale, Residual, RMSNorm

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    import fastntk
    from fastntk.layers import Layer

    Array = npt.NDArray[np.float64]


def exact_kernels(net: fastntk.Network, X: Array, digits: int = 30) -> tuple[Any, Any]:
    """Return Σ and Θ as matrices of mpmath, layer by layer, for relu and erf."""
    with mpmath.workdps(digits):
        rows = mpmath.matrix(X.tolist())
        sigma = rows * rows.T / net.inputs
        sigma, theta, gain = _followed(net.layers, sigma, 0 * sigma, mpmath.mpf(0))
        return sigma, theta + gain * sigma


def _followed(layers: Sequence[Layer], sigma: Any, theta: Any, gain: Any) -> tuple[Any, Any, Any]:
    """Return Σ, Θ, and the multiple of Σ that belongs to Θ because of gains."""
    ones = mpmath.matrix([[1] * sigma.cols] * sigma.rows)
    for layer in layers:
        if isinstance(layer, Dense):
            weights, biases = (mpmath.mpf(rate) for rate in layer.rates)
            w, b = mpmath.mpf(layer.weight_std) ** 2, mpmath.mpf(layer.bias_std) ** 2
            theta = w * (theta + (weights + gain) * sigma) + biases * b * ones
            sigma, gain = w * sigma + b * ones, mpmath.mpf(0)
        elif isinstance(layer, Activation):
            scale = mpmath.mpf(layer.factor) ** 2
            sigma, slopes = _activated(layer.phi.name, sigma)
            sigma = scale * sigma
            theta = scale * _product(theta, slopes)
        elif isinstance(layer, Residual):
            branch, of_branch, more = _followed(layer.layers, sigma, theta, gain)
            skip, of_skip, own = sigma, theta, gain
            if layer.projection is not None:
                skip, of_skip, own = _followed([layer.projection], sigma, theta, gain)
            square = mpmath.mpf(layer.scale) ** 2
            theta = of_skip + own * skip + square * (of_branch + more * branch)
            sigma, gain = skip + square * branch, mpmath.mpf(0)
        else:
            assert isinstance(layer, (LayerNorm, RMSNorm, Rescale))
            if not isinstance(layer, Rescale):
                epsilon = mpmath.mpf(layer.epsilon)
                sizes = [mpmath.sqrt(sigma[i, i] + epsilon) for i in range(sigma.rows)]
                inverse = mpmath.diag([1 / size for size in sizes])
                sigma, theta = inverse * sigma * inverse, inverse * theta * inverse
            of_gain, of_shift = layer.rates
            gain = gain + of_gain * layer.gain
            theta = theta + of_shift * layer.shift * ones
    return sigma, theta, gain


def _activated(name: str, sigma: Any) -> tuple[Any, Any]:
    """Return the matrices of E[φ(u)φ(v)] and E[φ'(u)φ'(v)]."""
    n = sigma.rows
    values, slopes = mpmath.matrix(n, n), mpmath.matrix(n, n)
    for i in range(n):
        for j in range(n):
            values[i, j], slopes[i, j] = _dual(name, sigma[i, i], sigma[i, j], sigma[j, j])
    return values, slopes


def _product(left: Any, right: Any) -> Any:
    """Return the elementwise product."""
    result = left.copy()
    for i in range(left.rows):
        for j in range(left.cols):
            result[i, j] = left[i, j] * right[i, j]
    return result


def _dual(name: str, xx: Any, xz: Any, zz: Any) -> tuple[Any, Any]:
    """Return E[φ(u)φ(v)] and E[φ'(u)φ'(v)]."""
    if name in ("relu", "abs"):
        product = mpmath.sqrt(xx * zz)
        cosine = max(mpmath.mpf(-1), min(mpmath.mpf(1), xz / product))
        gate = (mpmath.pi - mpmath.acos(cosine)) / (2 * mpmath.pi)
        value = product * (mpmath.sqrt(1 - cosine**2) / (2 * mpmath.pi) + gate * cosine)
        # |u| = 2 max(u, 0) - u, of which φ' is 2 [u > 0] - 1.
        return (value, gate) if name == "relu" else (4 * value - xz, 4 * gate - 1)
    assert name == "erf"
    both = (1 + 2 * xx) * (1 + 2 * zz)
    value = 2 / mpmath.pi * mpmath.asin(2 * xz / mpmath.sqrt(both))
    return value, 4 / mpmath.pi / mpmath.sqrt(both - 4 * xz**2)
