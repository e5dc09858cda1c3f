# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Slow and explicit: networks, gradients and kernels in plain NumPy float64, a sample at a time.

Nothing here is shared with the package; the formulas are written out once more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def _value(activation: str, z: Array) -> Array:
    return np.maximum(z, 0.0) if activation == "relu" else z


def _slope(activation: str, z: Array) -> Array:
    return (z > 0.0).astype(np.float64) if activation == "relu" else np.ones_like(z)


@dataclass
class ReferenceNetwork:
    weights: list[Array]
    biases: list[Array]  # zeros where there are none
    activation: str
    weight_std: float
    bias_std: float
    activation_scale: float

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
            net.activation.name,  # type: ignore[attr-defined]
            weight_std,
            bias_std,
            net.activation_scale,  # type: ignore[attr-defined]
        )

    def preactivations(self, x: Array) -> list[Array]:
        """z^1, …, z^L and, last, f."""
        result = []
        h = x
        for weights, bias in zip(self.weights, self.biases, strict=True):
            z = self.weight_std / np.sqrt(len(h)) * (weights @ h) + self.bias_std * bias
            result.append(z)
            h = self.activation_scale * _value(self.activation, z)
        return result

    def output(self, x: Array) -> Array:
        return self.preactivations(x)[-1]

    def gradient(self, x: Array, output: int) -> Array:
        """∂f_output/∂(W^1, b^1, W^2, …) by backpropagation, one layer after the other."""
        zs = self.preactivations(x)
        delta = np.zeros(len(zs[-1]))
        delta[output] = 1.0
        parts: list[Array] = []
        for layer in reversed(range(len(self.weights))):
            below = (
                x if layer == 0 else self.activation_scale * _value(self.activation, zs[layer - 1])
            )
            scale = self.weight_std / np.sqrt(len(below))
            own = [(scale * np.outer(delta, below)).ravel()]
            if self.bias_std > 0:
                own.append(self.bias_std * delta)
            parts = own + parts
            if layer > 0:
                delta = scale * (self.weights[layer].T @ delta)
                delta *= self.activation_scale * _slope(self.activation, zs[layer - 1])
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
