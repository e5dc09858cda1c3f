# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Slow and explicit: networks, gradients and kernels in plain NumPy float64, a sample at a time.

Nothing here is shared with the package; the formulas are written out once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def _normal_cdf(z: Array) -> Array:
    return np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in z.ravel()]).reshape(z.shape)


def _normal_density(z: Array) -> Array:
    return np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)


def _erf(z: Array) -> Array:
    return np.array([math.erf(x) for x in z.ravel()]).reshape(z.shape)


def _logistic(z: Array) -> Array:
    with np.errstate(over="ignore"):  # 0 is the value there
        return 1 / (1 + np.exp(-z))


SELU, SELU_ALPHA = 1.0507009873554804934, 1.6732632423543772848


def _cubic(z: Array) -> Array:
    return math.sqrt(8 / math.pi) * (z + 0.044715 * z**3)


# φ and φ' by name, with the default parameters of the package's activations; from the left at 0.
FUNCTIONS: dict[str, tuple[Callable[[Array], Any], Callable[[Array], Any]]] = {
    "identity": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0.0), lambda z: 1.0 * (z > 0)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.01 * z), lambda z: np.where(z > 0, 1.0, 0.01)),
    "abrelu": (lambda z: np.where(z > 0, z, -0.5 * z), lambda z: np.where(z > 0, 1.0, -0.5)),
    "abs": (np.abs, lambda z: np.where(z > 0, 1.0, -1.0)),
    "relu2": (lambda z: np.maximum(z, 0.0) ** 2, lambda z: 2 * np.maximum(z, 0.0)),
    "gelu": (
        lambda z: z * _normal_cdf(z),
        lambda z: _normal_cdf(z) + z * _normal_density(z),
    ),
    "silu": (
        lambda z: z * _logistic(z),
        lambda z: _logistic(z) + z * _logistic(z) * (1 - _logistic(z)),
    ),
    "elu": (
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0))),
    ),
    "softplus": (lambda z: np.log(1 + np.exp(z)), _logistic),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sigmoid": (_logistic, lambda z: _logistic(z) * (1 - _logistic(z))),
    "erf": (_erf, lambda z: 2 / math.sqrt(math.pi) * np.exp(-(z**2))),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda z: -np.sin(z)),
    "selu": (
        lambda z: SELU * np.where(z > 0, z, SELU_ALPHA * np.expm1(np.minimum(z, 0))),
        lambda z: SELU * np.where(z > 0, 1.0, SELU_ALPHA * np.exp(np.minimum(z, 0))),
    ),
    "celu": (
        lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        lambda z: np.where(z > 0, 1.0, np.exp(np.minimum(z, 0))),
    ),
    "mish": (
        lambda z: z * np.tanh(np.log(1 + np.exp(z))),
        lambda z: (
            np.tanh(np.log(1 + np.exp(z)))
            + z * _logistic(z) * (1 - np.tanh(np.log(1 + np.exp(z))) ** 2)
        ),
    ),
    "gelu_tanh": (
        lambda z: z * _logistic(_cubic(z)),
        lambda z: (
            _logistic(_cubic(z))
            + z
            * math.sqrt(8 / math.pi)
            * (1 + 3 * 0.044715 * z**2)
            * _logistic(_cubic(z))
            * (1 - _logistic(_cubic(z)))
        ),
    ),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z: 1 / (1 + np.abs(z)) ** 2),
    "squareplus": (
        lambda z: (z + np.sqrt(z**2 + 4)) / 2,
        lambda z: (1 + z / np.sqrt(z**2 + 4)) / 2,
    ),
    "relu6": (lambda z: np.clip(z, 0, 6), lambda z: 1.0 * ((z > 0) & (z <= 6))),
    "hardtanh": (lambda z: np.clip(z, -1, 1), lambda z: 1.0 * ((z > -1) & (z <= 1))),
    "hardsigmoid": (lambda z: np.clip(z + 3, 0, 6) / 6, lambda z: ((z > -3) & (z <= 3)) / 6),
    "hardswish": (
        lambda z: z * np.clip(z + 3, 0, 6) / 6,
        lambda z: np.where(z > 3, 1.0, np.where(z > -3, (2 * z + 3) / 6, 0.0)),
    ),
}


def _elementwise(value: Callable[[Array], Any], slope: Any, bend: Any) -> Any:
    def at(g: Array) -> tuple[Array, Array, Array]:
        curvature = np.zeros((len(g),) * 3)
        for c, second in enumerate(np.broadcast_to(bend(g), g.shape)):
            curvature[c, c, c] = second
        return value(g), np.diag(slope(g) * np.ones_like(g)), curvature

    return at


def _softmax(g: Array) -> tuple[Array, Array, Array]:
    p = np.exp(g) / np.exp(g).sum()
    jacobian, curvature = np.zeros((len(g),) * 2), np.zeros((len(g),) * 3)
    for c, k in np.ndindex(jacobian.shape):
        jacobian[c, k] = p[c] * ((c == k) - p[k])
    for c, k, j in np.ndindex(curvature.shape):
        curvature[c, k, j] = jacobian[c, j] * ((c == k) - p[k]) - p[c] * jacobian[k, j]
    return p, jacobian, curvature


# Of the linear outputs g (C,): f = ψ(g), ∂f_c/∂g_k and ∂²f_c/∂g_k∂g_j.
OUTPUTS: dict[str, Callable[[Array], tuple[Array, Array, Array]]] = {
    "identity": _elementwise(lambda g: g, np.ones_like, np.zeros_like),
    "square": _elementwise(lambda g: g**2, lambda g: 2 * g, lambda g: 0 * g + 2),
    "tanh": _elementwise(
        np.tanh, lambda g: 1 - np.tanh(g) ** 2, lambda g: -2 * np.tanh(g) * (1 - np.tanh(g) ** 2)
    ),
    "sigmoid": _elementwise(
        _logistic,
        lambda g: _logistic(g) * _logistic(-g),
        lambda g: _logistic(g) * _logistic(-g) * (1 - 2 * _logistic(g)),
    ),
    "softplus": _elementwise(
        lambda g: np.log(1 + np.exp(g)), _logistic, lambda g: _logistic(g) * _logistic(-g)
    ),
    "softmax": _softmax,
    "cube": _elementwise(lambda g: g**3, lambda g: 3 * g**2, lambda g: 6 * g),
}


@dataclass
class ReferenceNetwork:
    weights: list[Array]
    biases: list[Array]  # zeros where there are none
    activation: str
    weight_std: float
    bias_std: float
    activation_scale: float
    output_activation: str = "identity"

    @classmethod
    def like(cls, net: object, weight_std: float = 1.0, bias_std: float = 0.0) -> ReferenceNetwork:
        weights = [w.astype(np.float64) for w in net.weights]  # type: ignore[attr-defined]
        given = net.biases  # type: ignore[attr-defined]
        biases = (
            [np.zeros(len(w)) for w in weights]
            if given is None
            else [b.astype(np.float64) for b in given]
        )
        return cls(
            weights,
            biases,
            str(net.activation.name).replace("rectified_monomial", "relu2"),  # type: ignore[attr-defined]
            weight_std,
            bias_std,
            net.activation_scale,  # type: ignore[attr-defined]
            str(net.output_activation.name).replace("monomial", "square"),  # type: ignore[attr-defined]
        )

    def preactivations(self, x: Array) -> list[Array]:
        """z^1, …, z^L and, last, the linear outputs g."""
        result = []
        h = x
        for weights, bias in zip(self.weights, self.biases, strict=True):
            z = self.weight_std / np.sqrt(len(h)) * (weights @ h) + self.bias_std * bias
            result.append(z)
            h = self.activation_scale * FUNCTIONS[self.activation][0](z)
        return result

    def output(self, x: Array) -> Array:
        return OUTPUTS[self.output_activation](self.preactivations(x)[-1])[0]

    def gradient(self, x: Array, output: int) -> Array:
        """∂f_output/∂(W^1, b^1, W^2, …) by backpropagation, one layer after the other."""
        zs = self.preactivations(x)
        delta = OUTPUTS[self.output_activation](zs[-1])[1][output]
        parts: list[Array] = []
        for layer in reversed(range(len(self.weights))):
            below = (
                x
                if layer == 0
                else self.activation_scale * FUNCTIONS[self.activation][0](zs[layer - 1])
            )
            scale = self.weight_std / np.sqrt(len(below))
            own = [(scale * np.outer(delta, below)).ravel()]
            if self.bias_std > 0:
                own.append(self.bias_std * delta)
            parts = own + parts
            if layer > 0:
                delta = scale * (self.weights[layer].T @ delta)
                delta *= self.activation_scale * FUNCTIONS[self.activation][1](zs[layer - 1])
        return np.concatenate(parts)

    def gradient_by_differences(self, x: Array, output: int, step: float = 1e-6) -> Array:
        """The same by central differences, one parameter after the other."""
        result = []
        for weights, bias in zip(self.weights, self.biases, strict=True):
            for parameters in [weights, bias] if self.bias_std > 0 else [weights]:
                flat = parameters.reshape(-1)
                for k in range(flat.size):
                    kept = flat[k]
                    flat[k] = kept + step
                    above = self.output(x)[output]
                    flat[k] = kept - step
                    below = self.output(x)[output]
                    flat[k] = kept
                    result.append((above - below) / (2 * step))
        return np.array(result)

    def features(self, X: Array, output: int) -> Array:
        return np.array([self.gradient(x, output) for x in X])

    def ntk(self, X: Array, Z: Array) -> Array:
        """Summed over outputs."""
        total = np.zeros((len(X), len(Z)))
        for output in range(len(self.weights[-1])):
            total += self.features(X, output) @ self.features(Z, output).T
        return total


def angle(u: Array, v: Array) -> float:
    u, v = u / np.linalg.norm(u), v / np.linalg.norm(v)
    return float(2 * np.arcsin(min(1.0, float(np.linalg.norm(u - v)) / 2)))


def infinite_gradient_angle(theta: float, depth: int) -> float:
    """φ_L of the infinitely wide ReLU network at the input angle θ: Lemma 3.1 of 2305.08813."""
    angles = [theta]
    for _ in range(depth):
        t = angles[-1]
        angles.append(float(np.arccos((1 - t / np.pi) * np.cos(t) + np.sin(t) / np.pi)))
    cosine = 0.0
    for layer, t in enumerate(angles):
        product = np.prod([1 - s / np.pi for s in angles[layer:depth]])
        cosine += float(np.cos(t) * product)
    return float(np.arccos(cosine / (depth + 1)))


def sample_loss(f: Array, y: Array, loss: str) -> tuple[float, Array]:
    """Return ℓ(f, y) of one sample and ∂ℓ/∂f."""
    if loss == "mse":
        return 0.5 * float(np.sum((f - y) ** 2)), f - y
    softmax = np.exp(f) / np.exp(f).sum()
    return -float(np.sum(y * np.log(softmax))), softmax - y


def descend(
    net: ReferenceNetwork,
    X: Array,
    targets: Array,
    loss: str,
    rate: float,
    batches: list[npt.NDArray[np.intp]],
    momentum: float = 0.0,
    multipliers: list[tuple[float, float]] | None = None,
) -> list[float]:
    """Take a step for each batch and return the losses before; the network is changed.

    `multipliers` are those of the rates of each layer's weights and bias.
    """
    losses = []
    velocity: Array | None = None
    for batch in batches:
        total = 0.0
        gradient = np.zeros(0)
        for i in batch:
            value, residual = sample_loss(net.output(X[i]), targets[i], loss)
            total += value / len(batch)
            for c, r in enumerate(residual):
                part = r * net.gradient(X[i], c) / len(batch)
                gradient = part if gradient.size == 0 else gradient + part
        losses.append(total)
        velocity = gradient if velocity is None else momentum * velocity + gradient
        first = 0
        for layer, (weights, bias) in enumerate(zip(net.weights, net.biases, strict=True)):
            own = (1.0, 1.0) if multipliers is None else multipliers[layer]
            parts = [(weights, own[0])] + ([(bias, own[1])] if net.bias_std > 0 else [])
            for parameters, multiplier in parts:
                step = velocity[first : first + parameters.size].reshape(parameters.shape)
                np.subtract(parameters, rate * multiplier * step, out=parameters)
                first += parameters.size
    return losses
