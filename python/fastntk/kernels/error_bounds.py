# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
r"""Proved bounds of what rounding does to gradient features, and so to a kernel.

For each sample one number is carried along with each vector of the passes: a bound of the Euclidean
distance between the vector as any computation in the given precision may have it, and the exact one
of these weights and this sample. With the unit roundoff u, γ_k = k u/(1 − k u), s = σ_w/√n, and ^
for the vectors of a pass in float64, which is one such computation,

    ρ^l = s ‖W^l‖₂ e^{l−1} + γ (s ‖W^l‖_F (‖ĥ^{l−1}‖ + 2 e^{l−1}) + ‖σ_b b^l‖)         of z^l
    e^l = c (max |φ'| ρ^l + R)                                                           of h^l
    d^l = c (max |φ'| g + max |φ''| ρ^l max |U^l| + jump ‖U^l where φ may bend‖ + R')    of Δ^l
    g   = s ‖W^{l+1}‖₂ d^{l+1} + γ s ‖W^{l+1}‖_F (‖Δ̂^{l+1}‖ + 2 d^{l+1})                 of U^l

with U^l = s Δ^{l+1} W^{l+1}, R and R' for the rounding of φ and φ' themselves, and max over all
that lies within 2 ρ^l of ẑ^l: both the exact z^l and that of another computation do. φ may bend
where a kink is no further from ẑ than that: there the slope of a ReLU may be 0 in one computation
and 1 in another, and the whole of U counts as an error. The first terms are the propagation of what
is wrong already; the terms with γ hold for sums in any order, with or without fused multiply-adds
[1]_.

An activation ψ of the outputs makes theirs a layer like those below it, with c = 1, and with a U of
an output that is 1 for itself and 0 for the others. Of a softmax nothing is proved.

Products of norms are the price for a proof: the bound grows with each layer by c σ_w ‖W‖₂/√n max
|φ'|, 2.8 for ReLU, where the error itself grows by 1 or so.

.. [1] N. J. Higham, "Accuracy and stability of numerical algorithms", 2nd ed., section 3.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from threading import Event
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.rounding import UNIT, gamma
from fastntk._support.threads import core_threads, map_in_threads
from fastntk.activations.outputs import SQUARE, Softmax
from fastntk.activations.sensitivity import ROUNDINGS, of_square
from fastntk.kernels.rounding import KernelErrors
from fastntk.kernels.spectral_norms import spectral_norm
from fastntk.networks.network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.activations import Activation
    from fastntk.activations.outputs import OutputActivation
    from fastntk.activations.sensitivity import Sensitivity
    from fastntk.networks.any_network import AnyNetwork
    from fastntk.networks.network import Layer

    # One row, or one number, for each sample; float64.
    Vector = NDArray[Any]

# Samples that pass through the network together.
_ROWS = 256

# What the sums and norms of the analysis itself, of fewer than 10⁹ terms, are rounded by.
_OWN_ROUNDING = 1 + 1e-6

# A product of matrices of float32 may be made up of six products of bfloat16 parts.
_PARTS = {np.dtype(np.float32): 6, np.dtype(np.float64): 1}


def kernel_errors(
    network: AnyNetwork, X: FloatArray, outputs: range, dtype: FloatDType
) -> KernelErrors:
    """Return bounds of the errors of a kernel K(X, X), for `fastntk.conditioning`.

    Parameters
    ----------
    network : AnyNetwork
        Whose precision is that of the passes.
    X : ndarray (n, d)
        Samples on the host.
    outputs : range
        The outputs over which the kernel is summed.
    dtype : dtype
        The precision of the Gram matrices.

    Returns
    -------
    KernelErrors
        ``feature_error``: the largest relative error of the features of a sample, so that it holds
        for any subset of them. ``kernel_error``: what rounding of the Gram matrices can add, in
        spectral norm. Infinite where nothing is proved.
    """
    # Nothing is proved of networks with other steps than those of a chain.
    analysis = _Analysis.of(network) if isinstance(network, Network) else None
    if analysis is None:
        return KernelErrors(feature_error=np.inf, kernel_error=np.inf)
    blocks = [X[first : first + _ROWS] for first in range(0, len(X), _ROWS)]
    with core_threads() as threads:
        found = list(
            map_in_threads(
                lambda rows: analysis.of_features(rows, outputs), blocks, threads, Event()
            )
        )
    with np.errstate(all="ignore"):
        errors = np.concatenate([error for error, _ in found])
        norms = np.concatenate([norm for _, norm in found])
        unit = _unit(dtype)
        if dtype != network.dtype:  # H and Δ are rounded to it
            errors += 3 * unit * (norms + 2 * errors)
        # Between another computation and this one lies the exact one.
        least, most = norms - 2 * errors, norms + 2 * errors
        relative = np.where(errors == 0, 0.0, errors / np.maximum(least, 0.0))
        # Of a sum over layers of products of sums, over the inputs, and over units and outputs.
        assert isinstance(network, Network)
        layers = network.layers
        terms = max(layer.weights.shape[1] for layer in layers)
        # Δ of linear outputs is a single 1.
        summed = layers[:-1] if network.has_linear_outputs else layers
        terms += max([len(outputs), *(len(outputs) * len(layer.weights) for layer in summed)])
        rounding = gamma(_PARTS[dtype] * (terms + len(layers) + 8), unit)
        # K has its trace from features that were rounded, too.
        relative *= _OWN_ROUNDING / (1 - rounding) if rounding < 1 else np.inf
        return KernelErrors(
            feature_error=_bound(relative.max()),
            kernel_error=_bound(rounding * np.sum(most**2) * _OWN_ROUNDING),
        )


def _bound(value: Any) -> float:
    return float(np.inf if np.isnan(value) else value)


def _unit(dtype: FloatDType) -> float:
    return float(np.finfo(dtype).eps) / 2


@dataclass(frozen=True)
class _Map:
    """A layer z = s W h + σ_b b, in float64, and how errors come through it."""

    weights: FloatArray
    scale: float
    bias: FloatArray | float  # σ_b b
    norm: float  # ≥ s ‖W‖₂
    forward_rounding: float  # γ s ‖W‖_F of a sum over the inputs
    backward_rounding: float  # … over the outputs
    bias_rounding: float  # γ ‖σ_b b‖
    vanished: float  # what products below the smallest normal number may be off by, in sum
    gradient_scales: tuple[float, float]  # √ω s and √ω σ_b, by which h and 1 enter the features

    @classmethod
    def of(cls, layer: Layer) -> _Map:
        """Return the map of a layer for passes in the precision of its weights."""
        dtype = layer.weights.dtype
        W = layer.weights.astype(np.float64, copy=False)
        bias = 0.0 if layer.bias is None else layer.bias_scale * layer.bias.astype(np.float64)
        scale = abs(layer.weight_scale)
        size = scale * float(np.linalg.norm(W))
        of_weights, of_bias = layer.kernel_weights
        forward, backward = (
            gamma(_PARTS[dtype] * (terms + 8), _unit(dtype)) for terms in W.T.shape
        )
        vanished = float(np.finfo(dtype).tiny) * _PARTS[dtype] * (W.size + 8) * (1 + scale)
        return cls(
            weights=W,
            scale=layer.weight_scale,
            bias=bias,
            norm=scale * spectral_norm(W),
            forward_rounding=forward * size,
            backward_rounding=backward * size,
            bias_rounding=forward * float(np.linalg.norm(bias)),
            vanished=vanished,
            gradient_scales=(
                float(np.sqrt(of_weights)) * scale,
                0.0 if layer.bias is None else float(np.sqrt(of_bias)) * layer.bias_scale,
            ),
        )


@dataclass(frozen=True)
class _Function:
    """An activation, with what is known of how it is computed."""

    activation: Activation
    sensitivity: Sensitivity
    scale: float  # c_φ

    @classmethod
    def of(cls, activation: OutputActivation, scale: float) -> _Function | None:
        """Return the activation of a layer; None where nothing is known."""
        if isinstance(activation, Softmax):
            return None
        known = of_square() if activation == SQUARE else activation.sensitivity
        return None if known is None else cls(activation, known, scale)


@dataclass(frozen=True)
class _Hidden:
    """What a forward pass leaves of a hidden layer: for each of some samples, a row or a number."""

    slopes: Vector  # c φ'(ẑ) (n, m)
    slope_roundings: Vector  # (n, m): what φ' may be off by where it is computed at ẑ
    may_bend: Vector  # (n, m): how far c φ' jumps where z may lie on either side of a kink, else 0
    z_error: Vector  # ρ (n,)
    slope: Vector  # c max |φ'| (n,)
    bend: Vector  # c max |φ''| (n,)


@dataclass(frozen=True)
class _Analysis:
    """The analysis of the passes through one network."""

    hidden: list[_Map]
    readout: _Map | None  # None where the last of the hidden layers is that of outputs f = ψ(g)
    functions: list[_Function]  # of the hidden layers
    unit: float

    @classmethod
    def of(cls, network: Network) -> _Analysis | None:
        """Return the analysis; None where nothing is known of how φ or ψ is computed."""
        phi = _Function.of(network.activation, network.activation_scale)
        psi = _Function.of(network.output_activation, 1.0)
        if phi is None or psi is None:
            return None
        with core_threads():
            maps = [_Map.of(layer) for layer in network.layers]
        functions = [phi] * len(network.hidden)
        unit = _unit(network.dtype)
        if network.has_linear_outputs:
            return cls(maps[:-1], maps[-1], functions, unit)
        return cls(maps, None, [*functions, psi], unit)

    def of_features(self, X: FloatArray, outputs: range) -> tuple[Vector, Vector]:
        """Return, for each sample, a bound of the error of its features, and their norm."""
        with np.errstate(all="ignore"):  # what overflows has no bound
            return self._of_features(X.astype(np.float64, copy=False), outputs)

    def _of_features(self, X: Vector, outputs: range) -> tuple[Vector, Vector]:
        inputs, layers = self._forward(X)
        maps = self.hidden if self.readout is None else [*self.hidden, self.readout]
        errors, norms = [], []
        for output in outputs:
            for at, (delta, delta_error) in enumerate(self._backward(layers, output, len(X))):
                # ‖δ' ⊗ h' − δ ⊗ h‖ ≤ ‖δ' − δ‖ ‖h'‖ + ‖δ‖ ‖h' − h‖, with h̄ = (√ω s h, √ω σ_b).
                of_weights, of_bias = maps[at].gradient_scales
                norm, error = inputs[at]
                norm, error = np.hypot(of_weights * norm, of_bias), of_weights * error
                errors.append(delta_error * (norm + 2 * error) + (delta + delta_error) * error)
                norms.append(delta * norm)
        return _root_sum_of_squares(errors) * _OWN_ROUNDING, _root_sum_of_squares(norms)

    def _forward(self, X: Vector) -> tuple[list[tuple[Vector, Vector]], list[_Hidden]]:
        """Return ‖ĥ^l‖ and e^l for l = 0 … L, and what is left of the layers."""
        rounding = ROUNDINGS * self.unit
        # What the roundings of φ are at another point than ẑ.
        elsewhere = 1 + 1024 * rounding
        h, error = X, np.zeros(len(X))
        inputs, layers = [(_norms(h), error)], []
        for layer, of_layer in zip(self.hidden, self.functions, strict=True):
            phi, bounds, c = of_layer.activation, of_layer.sensitivity, of_layer.scale
            assert phi.function is not None
            assert phi.derivative is not None
            z = layer.scale * (h @ layer.weights.T) + layer.bias
            size = inputs[-1][0] + 2 * error
            z_error = layer.norm * error + layer.bias_rounding
            z_error = z_error + layer.forward_rounding * size + layer.vanished * (size > 0)
            reach = 2 * z_error
            low, high = z.min(axis=1) - reach, z.max(axis=1) + reach
            slope, bend = c * bounds.slope(low, high), c * bounds.bend(low, high)
            may_bend = np.zeros(z.shape, bool)
            for kink in bounds.kinks if bounds.jump else ():
                # In the precision of the passes the kink itself is rounded.
                around = (reach + 4 * self.unit * abs(kink))[:, np.newaxis]
                may_bend |= (np.abs(z - kink) <= around) & (around > 0)
            layers.append(
                _Hidden(
                    slopes=c * phi.derivative(z),
                    slope_roundings=c * rounding * bounds.slope_terms(z),
                    may_bend=may_bend * (c * bounds.jump * elsewhere),
                    z_error=z_error,
                    slope=slope * elsewhere,
                    bend=bend * elsewhere,
                )
            )
            h = c * phi.function(z)
            error = elsewhere * slope * z_error + c * rounding * _norms(bounds.value_terms(z))
            error = error + self._vanished(slope * z_error, h, c)
            inputs.append((_norms(h), error))
        return inputs, layers

    def _backward(
        self, layers: list[_Hidden], output: int, count: int
    ) -> list[tuple[Vector, Vector]]:
        """Return ‖Δ̂^l‖ and d^l for l = 1 … L + 1."""
        found = []
        if self.readout is None:  # U of outputs f = ψ(g) is 1 for this one and 0 for others
            signal = np.zeros((count, len(self.hidden[-1].weights)))
            signal[:, output] = 1.0
            error = np.zeros(count)
        else:
            found.append((np.ones(count), np.zeros(count)))
            signal = np.broadcast_to(  # U
                self.readout.scale * self.readout.weights[output],
                (count, self.readout.weights.shape[1]),
            )
            error = 2 * self.unit * _norms(signal)
        for at in range(len(layers) - 1, -1, -1):
            layer = layers[at]
            moved = layer.bend * layer.z_error * (np.abs(signal).max(axis=1) + error)
            # Where φ may bend, the exact signal is within `error` of this one.
            bent = _norms(layer.may_bend * signal) + layer.may_bend.max(axis=1) * error
            delta = layer.slopes * signal
            delta_error = layer.slope * error + moved + bent
            delta_error = delta_error + _norms(layer.slope_roundings * signal)
            delta_error = delta_error + self._vanished(layer.slope, delta, self.functions[at].scale)
            size = _norms(delta)
            found.append((size, delta_error))
            if at > 0:
                above = self.hidden[at]
                signal = above.scale * (delta @ above.weights)
                error = above.norm * delta_error
                size = size + 2 * delta_error
                error = error + above.backward_rounding * size + above.vanished * (size > 0)
        return found[::-1]

    def _vanished(self, present: Vector, vectors: Vector, scale: float) -> Vector:
        """Return what numbers that vanish on the way to vectors that are not 0 may be off by."""
        tiny = 2.0**-126 if self.unit > UNIT else 2.0**-1022
        return np.where(present > 0, tiny * 1024 * scale * vectors.shape[1], 0.0)


def _root_sum_of_squares(parts: list[Vector]) -> Vector:
    """Return √Σ_k p_k², whose squares may be below the smallest number where the root is not."""
    rows = np.array(parts)
    exponents = np.frexp(rows.max(axis=0))[1]
    roots: Vector = np.ldexp(np.sqrt(np.sum(np.ldexp(rows, -exponents) ** 2, axis=0)), exponents)
    return roots


def _norms(rows: Vector) -> Vector:
    norms: Vector = np.linalg.norm(rows, axis=1)
    return norms
