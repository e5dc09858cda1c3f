# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
r"""What rounding does to the vectors of a pass, step by step, forward and back.

For each sample one number is carried along with each vector of the passes: a bound of the Euclidean
distance between the vector as any computation in the given precision may have it, and the exact one
of these weights and this sample. With the unit roundoff u, γ_k = k u/(1 − k u), s = σ_w/√n, and ^
for the vectors of a pass in float64, which is one such computation, a map has

    ρ = s ‖W‖₂ e + γ (s ‖W‖_F (‖ĥ‖ + 2 e) + ‖σ_b b‖)                      of z, from e of h
    g = s ‖W‖₂ d + γ s ‖W‖_F (‖Δ̂‖ + 2 d)                                  of U, from d of Δ

with U = s Δ W; an activation, with max over all that lies within 2 ρ of ẑ, as both the exact z and
that of another computation do,

    e = c (max |φ'| ρ + R)                                                 of h, from ρ of z
    d = c (max |φ'| g + max |φ''| ρ max |U| + jump ‖U where φ may bend‖ + R')   of Δ, from g of U

with R and R' for the rounding of φ and φ' themselves. φ may bend where a kink is no further from ẑ
than that: there the slope of a ReLU may be 0 in one computation and 1 in another, and the whole of
U counts as an error. The first terms are the propagation of what is wrong already; the terms with γ
hold for sums in any order, with or without fused multiply-adds [1]_.

A normalization x = r(z) z of n elements, with r = √n/√(‖z‖² + n ε), has the Jacobian
r (I − x xᵀ/n), which is symmetric and no larger than r. With r for its largest value within 2 ρ,

    e = r ρ + γ √n                                                         of x, from ρ of z
    d = r (g + 2 e ‖Δ‖/√n) + (r² ρ/√n + γ r) ‖Δ‖                           of Δ_z, from g of Δ

where ‖Δ‖ stands for ‖Δ̂‖ + 2 g. If the mean is taken off first, ρ is larger by γ ‖z‖, and the
projection is no larger than 1 on the way back.

.. [1] N. J. Higham, "Accuracy and stability of numerical algorithms", 2nd ed., section 3.1.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.rounding import UNIT, gamma
from fastntk.activations.outputs import SQUARE, Softmax
from fastntk.activations.sensitivity import ROUNDINGS, of_square
from fastntk.kernels.spectral_norms import spectral_norm
from fastntk.kernels.wired_passes import normalized

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.activations import Activation
    from fastntk.activations.outputs import OutputActivation
    from fastntk.activations.sensitivity import Sensitivity
    from fastntk.networks.network import Layer
    from fastntk.networks.wired import GainAndShift

    # One row, or one number, for each sample; float64.
    Vector = NDArray[Any]

# A product of matrices of float32 may be made up of six products of bfloat16 parts.
_PARTS = {np.dtype(np.float32): 6, np.dtype(np.float64): 1}


def unit_roundoff(dtype: FloatDType) -> float:
    """Return u."""
    return float(np.finfo(dtype).eps) / 2


def product_rounding(terms: int, dtype: FloatDType) -> float:
    """Return γ for the elements of a product of matrices, sums of so many terms."""
    return gamma(_PARTS[dtype] * terms, unit_roundoff(dtype))


@dataclass(frozen=True)
class Rounded:
    """Vectors of some samples, and how far off they may be.

    Attributes
    ----------
    rows : ndarray (n, w)
        As a pass in float64 has them.
    error : ndarray (n,)
        Bounds of the distance between the exact ones and those of any computation, these included.
    """

    rows: Vector
    error: Vector

    @cached_property
    def norm(self) -> Vector:
        """The norm of each row."""
        return norms(self.rows)

    @property
    def size(self) -> Vector:
        """A bound of the norm as any computation may have it, and of the exact one."""
        found: Vector = self.norm + 2 * self.error
        return found

    @property
    def largest(self) -> Vector:
        """A bound of the largest element of each vector, as `size` is of its norm."""
        found: Vector = np.abs(self.rows).max(axis=1) + 2 * self.error
        return found


class StepErrors(ABC):
    """A step of a network, and how errors come through it.

    Attributes
    ----------
    has_parameters : bool
        Whether the gradient has a part of this step.
    adding : float
        By how much numbers are rounded to which this step adds what comes back from it.
    """

    has_parameters = False
    adding: float

    @abstractmethod
    def forward(self, *taken: Rounded) -> tuple[Rounded, Any]:
        """Return what the step makes of the nodes that it takes, and what the way back needs."""

    @abstractmethod
    def back(self, kept: Any, delta: Rounded) -> tuple[Rounded, ...]:
        """Return what comes back to each of these nodes from Δ of the one that was made."""

    def gradients(self, kept: Any, delta: Rounded) -> list[tuple[Vector, Vector]]:  # noqa: ARG002
        """Return the norm and the error of each part of the gradient, if it has any here."""
        return []


@dataclass(frozen=True)
class MapErrors(StepErrors):
    """A layer z = s W h + σ_b b, in float64."""

    weights: FloatArray
    scale: float
    bias: FloatArray | float  # σ_b b
    spectral: float  # ≥ s ‖W‖₂
    forward_rounding: float  # γ s ‖W‖_F of a sum over the inputs
    backward_rounding: float  # … over the outputs
    bias_rounding: float  # γ ‖σ_b b‖
    vanished: float  # what products below the smallest normal number may be off by, in sum
    gradient_scales: tuple[float, float]  # √ω s and √ω σ_b, by which h and 1 enter the features
    adding: float
    unit: float

    has_parameters = True

    @classmethod
    def of(cls, layer: Layer) -> MapErrors:
        """Return the map of a layer for passes in the precision of its weights."""
        dtype = layer.weights.dtype
        W = layer.weights.astype(np.float64, copy=False)
        bias = 0.0 if layer.bias is None else layer.bias_scale * layer.bias.astype(np.float64)
        scale = abs(layer.weight_scale)
        size = scale * float(np.linalg.norm(W))
        of_weights, of_bias = layer.kernel_weights
        forward, backward = (product_rounding(terms + 8, dtype) for terms in W.T.shape)
        vanished = float(np.finfo(dtype).tiny) * _PARTS[dtype] * (W.size + 8) * (1 + scale)
        return cls(
            weights=W,
            scale=layer.weight_scale,
            bias=bias,
            spectral=scale * spectral_norm(W),
            forward_rounding=forward * size,
            backward_rounding=backward * size,
            bias_rounding=forward * float(np.linalg.norm(bias)),
            vanished=vanished,
            gradient_scales=(
                float(np.sqrt(of_weights)) * scale,
                0.0 if layer.bias is None else float(np.sqrt(of_bias)) * layer.bias_scale,
            ),
            adding=backward,
            unit=unit_roundoff(dtype),
        )

    def forward(self, *taken: Rounded) -> tuple[Rounded, Any]:
        """Return z, and ‖h‖ with its error."""
        (h,) = taken
        z = self.scale * (h.rows @ self.weights.T) + self.bias
        error = self.spectral * h.error + self.bias_rounding
        error = error + self.forward_rounding * h.size + self.vanished * (h.size > 0)
        return Rounded(z, error), (h.norm, h.error)

    def back(self, kept: Any, delta: Rounded) -> tuple[Rounded, ...]:
        """Return U."""
        del kept
        error = self.spectral * delta.error
        error = error + self.backward_rounding * delta.size + self.vanished * (delta.size > 0)
        return (Rounded(self.scale * (delta.rows @ self.weights), error),)

    def back_from_output(self, output: int, count: int) -> Rounded:
        """Return U of so many samples where Δ is 1 for an output and 0 for others."""
        shape = (count, self.weights.shape[1])
        signal = np.broadcast_to(self.scale * self.weights[output], shape)
        return Rounded(signal, 2 * self.unit * norms(signal))

    def gradients(self, kept: Any, delta: Rounded) -> list[tuple[Vector, Vector]]:
        """Return those of the weights and the bias together, Δ ⊗ (√ω s h, √ω σ_b)."""
        # ‖δ' ⊗ h' − δ ⊗ h‖ ≤ ‖δ' − δ‖ ‖h'‖ + ‖δ‖ ‖h' − h‖.
        norm, error = kept
        of_weights, of_bias = self.gradient_scales
        norm, error = np.hypot(of_weights * norm, of_bias), of_weights * error
        off = delta.error * (norm + 2 * error) + (delta.norm + delta.error) * error
        return [(delta.norm * norm, off)]


@dataclass(frozen=True)
class _Gate:
    """What the way forward leaves of an activation: for each sample, a row or a number."""

    slopes: Vector  # c φ'(ẑ) (n, m)
    slope_roundings: Vector  # (n, m): what φ' may be off by where it is computed at ẑ
    may_bend: Vector  # (n, m): how far c φ' jumps where z may lie on either side of a kink, else 0
    z_error: Vector  # ρ (n,)
    slope: Vector  # c max |φ'| (n,)
    bend: Vector  # c max |φ''| (n,)


@dataclass(frozen=True)
class ActivationErrors(StepErrors):
    """An activation h = c φ(z), with what is known of how it is computed."""

    activation: Activation
    sensitivity: Sensitivity
    scale: float  # c_φ
    unit: float

    @classmethod
    def of(
        cls, activation: OutputActivation, scale: float, dtype: FloatDType
    ) -> ActivationErrors | None:
        """Return the activation of a layer; None where nothing is known."""
        if isinstance(activation, Softmax):
            return None
        known = of_square() if activation == SQUARE else activation.sensitivity
        return None if known is None else cls(activation, known, scale, unit_roundoff(dtype))

    @property
    def adding(self) -> float:  # type: ignore[override]
        """By how much a sum of two numbers is rounded."""
        return 2 * self.unit

    def forward(self, *taken: Rounded) -> tuple[Rounded, Any]:
        """Return h, and what is known of φ' at z."""
        (z,) = taken
        phi, bounds, c = self.activation, self.sensitivity, self.scale
        assert phi.function is not None
        assert phi.derivative is not None
        rounding = ROUNDINGS * self.unit
        # What the roundings of φ are at another point than ẑ.
        elsewhere = 1 + 1024 * rounding
        reach = 2 * z.error
        low, high = z.rows.min(axis=1) - reach, z.rows.max(axis=1) + reach
        slope, bend = c * bounds.slope(low, high), c * bounds.bend(low, high)
        may_bend = np.zeros(z.rows.shape, bool)
        for kink in bounds.kinks if bounds.jump else ():
            # In the precision of the passes the kink itself is rounded.
            around = (reach + 4 * self.unit * abs(kink))[:, np.newaxis]
            may_bend |= (np.abs(z.rows - kink) <= around) & (around > 0)
        gate = _Gate(
            slopes=c * phi.derivative(z.rows),
            slope_roundings=c * rounding * bounds.slope_terms(z.rows),
            may_bend=may_bend * (c * bounds.jump * elsewhere),
            z_error=z.error,
            slope=slope * elsewhere,
            bend=bend * elsewhere,
        )
        h = c * phi.function(z.rows)
        error = elsewhere * slope * z.error + c * rounding * norms(bounds.value_terms(z.rows))
        return Rounded(h, error + self._vanished(slope * z.error, h)), gate

    def back(self, kept: Any, delta: Rounded) -> tuple[Rounded, ...]:
        """Return Δ of z from U."""
        gate: _Gate = kept
        signal, error = delta.rows, delta.error
        moved = gate.bend * gate.z_error * (np.abs(signal).max(axis=1) + error)
        # Where φ may bend, the exact signal is within `error` of this one.
        bent = norms(gate.may_bend * signal) + gate.may_bend.max(axis=1) * error
        below = gate.slopes * signal
        off = gate.slope * error + moved + bent
        off = off + norms(gate.slope_roundings * signal)
        return (Rounded(below, off + self._vanished(gate.slope, below)),)

    def _vanished(self, present: Vector, vectors: Vector) -> Vector:
        """Return what numbers that vanish on the way to vectors that are not 0 may be off by."""
        tiny = 2.0**-126 if self.unit > UNIT else 2.0**-1022
        return np.where(present > 0, tiny * 1024 * self.scale * vectors.shape[1], 0.0)


@dataclass(frozen=True)
class _InPlace(StepErrors):
    """A step that multiplies and adds elements, in a precision."""

    dtype: FloatDType

    @property
    def unit(self) -> float:
        """The unit roundoff u."""
        return unit_roundoff(self.dtype)

    @property
    def adding(self) -> float:  # type: ignore[override]
        """By how much a sum of two numbers is rounded."""
        return 2 * self.unit

    def vanished(self, present: Vector, width: int, factor: float | Vector = 1.0) -> Vector:
        """Return what products below the smallest normal number may be off by, in sum."""
        tiny = float(np.finfo(self.dtype).tiny)
        return np.where(present > 0, tiny * 8 * (width + 8) * (1 + factor), 0.0)


@dataclass(frozen=True)
class SumErrors(_InPlace):
    """A sum h' = h + α u."""

    scale: float  # α

    def forward(self, *taken: Rounded) -> tuple[Rounded, Any]:
        """Return h'."""
        skip, branch = taken
        alpha = abs(self.scale)
        error = skip.error + alpha * branch.error
        # α is rounded itself.
        error = error + gamma(4, self.unit) * (skip.size + alpha * branch.size)
        width = skip.rows.shape[1]
        error = error + self.vanished(alpha * branch.size, width, alpha)
        return Rounded(skip.rows + self.scale * branch.rows, error), None

    def back(self, kept: Any, delta: Rounded) -> tuple[Rounded, ...]:
        """Return Δ of h and of u."""
        del kept
        alpha = abs(self.scale)
        error = alpha * delta.error + gamma(4, self.unit) * alpha * delta.size
        error = error + self.vanished(alpha * delta.size, delta.rows.shape[1], alpha)
        return delta, Rounded(self.scale * delta.rows, error)


@dataclass(frozen=True)
class _Unit:
    """What the way forward leaves of a normalization."""

    x: Rounded  # what it made
    rates: Vector  # r of ẑ (n, 1)
    most: Vector  # the largest r near it (n,)
    z_error: Vector  # ρ, with what taking off the mean adds (n,)


@dataclass(frozen=True)
class NormalizationErrors(_InPlace):
    """A normalization x = r z, or r (z − z̄)."""

    centered: bool
    epsilon: float

    def forward(self, *taken: Rounded) -> tuple[Rounded, Any]:
        """Return x, and what is known of r near z."""
        (z,) = taken
        width = z.rows.shape[1]
        x, rates = normalized(z.rows, centered=self.centered, epsilon=self.epsilon)
        z_error = z.error
        if self.centered:  # Σ|z| ≤ √n ‖z‖, so that the mean is off by at most γ ‖z‖/√n
            z_error = z_error + gamma(width + 8, self.unit) * z.size
        left = norms(x) / rates[:, 0]  # ‖z‖, or what the mean leaves of it
        # A little less than what is rounded itself.
        least = np.maximum((1 - 1e-6) * left - 2 * z_error, 0.0)
        most = np.sqrt(width / (least**2 + width * self.epsilon))
        rounding = gamma(width + 16, self.unit)
        error = most * z_error + rounding * np.sqrt(width)
        error = error + self.vanished(np.ones(len(error)), width)
        made = Rounded(x, error)
        return made, _Unit(made, rates, most, z_error)

    def back(self, kept: Any, delta: Rounded) -> tuple[Rounded, ...]:
        """Return Δ of z."""
        unit: _Unit = kept
        x, most = unit.x, unit.most
        width = x.rows.shape[1]
        mean = delta.rows.mean(axis=1, keepdims=True) if self.centered else 0.0
        along = (x.rows * delta.rows).mean(axis=1, keepdims=True)
        below = unit.rates * (delta.rows - mean - x.rows * along)
        # How much longer than √n, the most that it may be, x is as computed.
        longer = 1 + x.error / np.sqrt(width)
        turned = 2 * longer * x.error / np.sqrt(width)
        rounding = 4 * gamma(width + 16, self.unit) * longer**2
        moved = most**2 * unit.z_error / np.sqrt(width)
        error = most * (delta.error + (turned + rounding) * delta.size)
        error = error + (moved + rounding * most) * longer**2 * delta.size
        return (Rounded(below, error + self.vanished(delta.size, width, most)),)


@dataclass(frozen=True)
class GainErrors(_InPlace):
    """A gain and a shift, y = γ ∘ x + β, or one of them."""

    gain: Vector | None  # float64
    shift: Vector | None
    roots: tuple[float, float]  # √ω of the gain and of the shift

    has_parameters = True

    @classmethod
    def of(cls, both: GainAndShift) -> GainErrors:
        """Return the step of a gain and a shift for passes in their precision."""
        given = both.gain if both.gain is not None else both.shift
        assert given is not None
        gain, shift = (
            None if array is None else array.astype(np.float64) for array in (both.gain, both.shift)
        )
        first, second = both.kernel_weights
        return cls(given.dtype, gain, shift, (float(np.sqrt(first)), float(np.sqrt(second))))

    @property
    def _most(self) -> float:
        """The largest |γ|."""
        return 1.0 if self.gain is None else float(np.abs(self.gain).max())

    def forward(self, *taken: Rounded) -> tuple[Rounded, Any]:
        """Return y, and x."""
        (x,) = taken
        y, error = x.rows, x.error
        if self.gain is not None:
            y = self.gain * y
            error = self._most * error
            error = error + self.vanished(x.size, len(self.gain), self._most)
        shift = 0.0 if self.shift is None else self.shift
        size = self._most * x.size + np.linalg.norm(shift)
        return Rounded(y + shift, error + gamma(4, self.unit) * size), x

    def back(self, kept: Any, delta: Rounded) -> tuple[Rounded, ...]:
        """Return Δ of x."""
        del kept
        if self.gain is None:
            return (delta,)
        error = self._most * (delta.error + gamma(4, self.unit) * delta.size)
        error = error + self.vanished(delta.size, len(self.gain), self._most)
        return (Rounded(self.gain * delta.rows, error),)

    def gradients(self, kept: Any, delta: Rounded) -> list[tuple[Vector, Vector]]:
        """Return those of the gain, √ω Δ ∘ x, and of the shift, √ω Δ."""
        x: Rounded = kept
        of_gain, of_shift = self.roots
        found = []
        if self.gain is not None:
            # ‖δ' ∘ x' − δ ∘ x‖ ≤ ‖δ' − δ‖ max |x'| + max |δ| ‖x' − x‖, and the rounding.
            error = delta.error * x.largest + delta.largest * x.error
            error = error + gamma(4, self.unit) * delta.size * x.largest
            error = error + self.vanished(delta.size, x.rows.shape[1])
            found.append((of_gain * norms(delta.rows * x.rows), of_gain * error))
        if self.shift is not None:
            found.append((of_shift * delta.norm, of_shift * delta.error))
        return found


def norms(rows: Vector) -> Vector:
    """Return the norm of each row."""
    found: Vector = np.linalg.norm(rows, axis=1)
    return found
