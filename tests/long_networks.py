# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of networks, and eigenvalues of their kernels, in more digits than float64 has.

Nothing here is shared with the package; the formulas are written out once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import mpmath
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import fastntk
    from fastntk.activations import Activation

Long: Any = np.longdouble  # 64 bits of precision, 11 more than float64 has


SELU, SELU_ALPHA = Long("1.0507009873554804934"), Long("1.6732632423543772848")
GELU_RATE, GELU_CUBIC = Long("1.5957691216057307118"), Long("0.044715")


def clipped(low: Any, high: Any) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return x between two numbers, constant beyond, and its slope."""
    one = Long(1)
    return (
        lambda x: np.clip(x, low, high),
        lambda x: np.where((x > low) & (x <= high), one, 0),
    )


def elementwise(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of arrays from one of numbers of mpmath."""

    def of_number(x: Any) -> Any:
        with mpmath.workprec(80):
            high = float(x)  # a long number is the sum of two floats
            y = function(mpmath.mpf(high) + mpmath.mpf(float(x - Long(high))))
            top = float(y)
            return Long(top) + Long(float(y - mpmath.mpf(top)))

    vectorized = np.frompyfunc(of_number, 1, 1)
    return lambda x: vectorized(x).astype(Long)


def exactly(phi: Activation) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """Return φ and φ' of arrays of long numbers, to 64 bits."""
    p = [Long(parameter) for parameter in phi.parameters]
    degree = int(phi.parameters[0]) if phi.name == "rectified_monomial" else 0
    rate, offset = (mpmath.mpf(parameter) for parameter in (*phi.parameters, 0, 0)[:2])
    one = Long(1)

    def logistic(x: Any) -> Any:
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e / (one + e), one / (one + e))

    def density(x: Any) -> Any:
        return logistic(x) * logistic(-x)

    def softplus(x: Any) -> Any:
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))

    def mish_gate(x: Any) -> Any:
        return np.tanh(softplus(x))

    def gelu_argument(x: Any) -> Any:
        x = np.clip(x, -40, 40)
        return GELU_RATE * (x + GELU_CUBIC * x**3)

    def squareplus(x: Any) -> Any:
        root = np.sqrt(x**2 + p[0])
        return np.where(x > 0, (x + root) / 2, p[0] / (2 * (root + np.abs(x))))

    if phi.slopes is not None:
        negative, positive = map(Long, phi.slopes)
        return (
            lambda x: np.where(x > 0, positive, negative) * x,
            lambda x: np.where(x > 0, positive, negative),
        )
    functions: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "rectified_monomial": (
            lambda x: np.maximum(x, 0) ** degree,
            lambda x: degree * np.where(x > 0, np.maximum(x, 0) ** (degree - 1), 0),
        ),
        "elu": (
            lambda x: np.where(x > 0, x, p[0] * np.expm1(np.minimum(x, 0))),
            lambda x: np.where(x > 0, one, p[0] * np.exp(np.minimum(x, 0))),
        ),
        "selu": (
            lambda x: SELU * np.where(x > 0, x, SELU_ALPHA * np.expm1(np.minimum(x, 0))),
            lambda x: SELU * np.where(x > 0, one, SELU_ALPHA * np.exp(np.minimum(x, 0))),
        ),
        "celu": (
            lambda x: np.where(x > 0, x, p[0] * np.expm1(np.minimum(x, 0) / p[0])),
            lambda x: np.where(x > 0, one, np.exp(np.minimum(x, 0) / p[0])),
        ),
        "mish": (
            lambda x: x * mish_gate(x),
            lambda x: mish_gate(x) + x * 4 * density(2 * softplus(x)) * logistic(x),
        ),
        "gelu_tanh": (
            lambda x: x * logistic(gelu_argument(x)),
            lambda x: (
                logistic(gelu_argument(x))
                + x
                * GELU_RATE
                * (one + 3 * GELU_CUBIC * np.clip(x, -40, 40) ** 2)
                * density(gelu_argument(x))
            ),
        ),
        "softsign": (lambda x: x / (one + np.abs(x)), lambda x: one / (one + np.abs(x)) ** 2),
        "squareplus": (
            squareplus,
            lambda x: squareplus(x) / np.sqrt(x**2 + p[0]),
        ),
        "relu6": clipped(0, 6),
        "hardtanh": clipped(*p) if phi.name == "hardtanh" else clipped(-1, 1),
        "hardsigmoid": (
            lambda x: np.clip(x + 3, 0, 6) / 6,
            lambda x: np.where((x > -3) & (x <= 3), one / 6, 0),
        ),
        "hardswish": (
            lambda x: x * np.clip(x + 3, 0, 6) / 6,
            lambda x: np.where((x > -3) & (x <= 3), (2 * x + 3) / 6, np.where(x > 3, one, 0)),
        ),
        "sin": (lambda x: np.sin(p[0] * x + p[1]), lambda x: p[0] * np.cos(p[0] * x + p[1])),
        "cos": (lambda x: np.cos(p[0] * x + p[1]), lambda x: -p[0] * np.sin(p[0] * x + p[1])),
        "erf": (
            elementwise(lambda x: mpmath.erf(rate * x) + offset),
            elementwise(
                lambda x: 2 * rate / mpmath.sqrt(mpmath.pi) * mpmath.exp(-((rate * x) ** 2))
            ),
        ),
        "tanh": (np.tanh, lambda x: 4 * density(2 * x)),
        "sigmoid": (logistic, density),
        "silu": (lambda x: x * logistic(x), lambda x: logistic(x) * (1 + x * logistic(-x))),
        "softplus": (
            lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(p[0] * x))) / p[0],
            lambda x: logistic(p[0] * x),
        ),
        "gelu": (
            elementwise(lambda x: x * mpmath.ncdf(x)),
            elementwise(lambda x: mpmath.ncdf(x) + x * mpmath.npdf(x)),
        ),
    }
    return functions[phi.name]


def exact_features(net: fastntk.MLP, X: Any) -> Any:
    """Return the gradients (n, C, P) of all outputs, to about 64 bits."""
    phi, slope = exactly(net.activation)
    network = net.network
    c = Long(network.activation_scale)
    hs, gates = [X.astype(Long)], []
    for layer in network.hidden:
        z = Long(layer.weight_scale) * (hs[-1] @ layer.weights.astype(Long).T)
        if layer.bias is not None:
            z = z + Long(layer.bias_scale) * layer.bias.astype(Long)
        hs.append(c * phi(z))
        gates.append(c * slope(z))
    of_outputs = []
    for output in range(net.n_outputs):
        delta = np.zeros((len(X), net.n_outputs), Long)
        delta[:, output] = 1
        parts: list[Any] = []
        for at in range(len(network.layers) - 1, -1, -1):
            layer = network.layers[at]
            of_weights = Long(layer.weight_scale) * delta[:, :, None] * hs[at][:, None, :]
            if layer.bias is not None:
                parts.insert(0, Long(layer.bias_scale) * delta)
            parts.insert(0, of_weights.reshape(len(X), -1))
            if at > 0:
                delta = gates[at - 1] * (
                    Long(layer.weight_scale) * (delta @ layer.weights.astype(Long))
                )
        of_outputs.append(np.concatenate(parts, axis=1))
    return np.stack(of_outputs, axis=1)


def eigenvalues_of(features: Any) -> list[Any]:
    """Return the eigenvalues of F Fᵀ, for features of long numbers, ascending."""
    rows = features.reshape(len(features), -1)
    gram = rows @ rows.T
    scale = Long(np.abs(gram).max()) or Long(1)
    high = (gram / scale).astype(float)
    low = (gram / scale - high).astype(float)
    with mpmath.workprec(100):
        exact = mpmath.matrix(high.tolist()) + mpmath.matrix(low.tolist())
        values = sorted(mpmath.eigsy((exact + exact.T) / 2, eigvals_only=True))
        return [Long(float(value)) * scale for value in values]
