# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the recursion needs of single samples: the diagonals of the kernels, layer by layer.

Of a sample at layer l: q = Σ(x, x) of the hidden layer, and N = Θ(x, x)/q. With the standard
deviations s = √q, a = σ_w c √E[φ(su)²] (for the first layer σ_w ‖x‖/√d) and b = σ_b,

    q⁺ = a² + b²,    r = a/√q⁺,    p = b/√q⁺,    t = σ_w c s √E[φ'(su)²] / √q⁺
    N⁺ = ω^W r² + ω^b p² + N t²
    A = √ω^W r/√N⁺,    B = √N t/√N⁺,    C = √ω^b p/√N⁺

so that (r, p) and (A, B, C) are unit vectors. For two samples, the normalized kernels
Σ/√(q q') = 1 − δ and Θ/√(N q N' q') = 1 − e then obey

    1 − δ⁺ = r r' (1 − γ) + p p',      1 − e⁺ = A A' (1 − γ) + B B' (1 − e)(1 − η) + C C'

with γ, η the gaps of E[φφ'] and of the derivatives. Written for the gaps these are sums of
non-negative terms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.duals import PiecewiseLinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatDType
    from fastntk.infinite._architecture import Architecture
    from fastntk.infinite._inputs import Norms
    from fastntk.infinite.duals import State

NNGP, NTK = 0, 1

# Steps for which a factor between 1/2 and 2 can be multiplied up without overflow.
_SAFE_POWER = 512


@dataclass(frozen=True)
class LayerFactors:
    """What one set of samples brings into the recursion.

    Attributes
    ----------
    factors : ndarray (layers, 5, n)
        r, p, A, B, C; the last size is 1 where all samples have the same.
    states : tuple of State
        For each layer but the last, what the dual activation needs of the samples; empty for
        piecewise linear activations, which need nothing.
    scales : ndarray (2, depths, n)
        Square roots of the diagonals of the two kernels, `NNGP` and `NTK`.
    zero : ndarray of bool (2, depths, n)
        Where they are 0; an underflow is not.
    """

    factors: NDArray[np.float64]
    states: tuple[State, ...]
    scales: NDArray[np.float64]
    zero: NDArray[np.bool_]

    @classmethod
    def of(cls, samples: Norms, network: Architecture) -> LayerFactors:
        """Take samples through the layers."""
        if isinstance(network.dual, PiecewiseLinear) and network.bias_std == 0:
            return _without_bias(samples, network, network.dual)
        return _general(samples, network)


def _unit_factors(
    squares: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], ...]:
    """Return N⁺ and A, B, C from the three terms of N⁺."""
    total = squares[0] + squares[1] + squares[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        units = (np.where(total > 0, np.sqrt(square / total), 0.0) for square in squares)
        return (total, *units)


def _general(samples: Norms, network: Architecture) -> LayerFactors:
    n, last = len(samples), network.depths[-1]
    factors = np.zeros((last + 1, 5, n))
    states = []
    scales = np.empty((2, len(network.depths), n))
    bias = network.bias_std
    with np.errstate(over="ignore"):  # looked at below
        a = network.weight_std * np.ldexp(samples.significands, samples.exponents)
        a /= math.sqrt(samples.dimension)
        size = np.zeros(n)  # N
        turn = np.zeros(n)  # t √q⁺
        for layer in range(last + 1):
            weight_rate, bias_rate = network.rates[layer]
            deviation = np.ones(n) if network.unit_norms else np.hypot(a, bias)
            if not np.isfinite(deviation).all():
                raise OverflowError(
                    f"depth={network.depths[-1]}: samples grow beyond {np.finfo(float).max:.1g} "
                    f"at layer {layer}; expected smaller samples, weight_std or activation_scale"
                )
            with np.errstate(divide="ignore"):
                inverse = np.where(deviation > 0, 1.0 / deviation, 0.0)
            r, p, t = a * inverse, bias * inverse, turn * inverse
            size, *unit = _unit_factors((weight_rate * r**2, size * t**2, bias_rate * p**2))
            factors[layer] = r, p, *unit
            for k in np.flatnonzero(np.equal(network.depths, layer)):
                scales[:, k] = deviation, np.sqrt(size) * deviation
            if layer < last:
                state = network.dual.state(deviation)
                gain = network.weight_std * network.activation_scale
                a = gain * state.activation
                turn = gain * deviation * state.derivative
                if not isinstance(network.dual, PiecewiseLinear):
                    states.append(state)
    return LayerFactors(factors, tuple(states), scales, scales == 0)


def _without_bias(samples: Norms, network: Architecture, dual: PiecewiseLinear) -> LayerFactors:
    """All samples alike: a layer multiplies their norms by the same number."""
    rates = network.rates[:, 0]
    sizes = np.cumsum(rates)  # N
    before = np.concatenate([[0.0], sizes[:-1]])
    factors = np.zeros((len(rates), 5, 1))
    factors[:, 0] = 1.0
    for position, part in ((2, rates), (3, before)):
        np.divide(part, sizes, out=factors[:, position, 0], where=sizes > 0)
    np.sqrt(factors, out=factors)
    scales = np.empty((2, len(network.depths), len(samples)))
    zero = np.empty(scales.shape, dtype=bool)
    gain = network.weight_std * network.activation_scale * dual.root_mean_square
    first, shift = math.frexp(network.weight_std / math.sqrt(samples.dimension))
    for k, depth in enumerate(network.depths):
        significand, exponent = _power(gain, depth)
        scale = samples.significands * (significand * first)
        powers = samples.exponents + (exponent + shift)
        for kind, size in ((NNGP, 1.0), (NTK, float(sizes[depth]))):
            scales[kind, k] = _ldexp(scale * math.sqrt(size), powers)
            zero[kind, k] = (scale == 0) | (size == 0)
    return LayerFactors(factors, (), scales, zero)


def _ldexp(x: NDArray[np.float64], exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(over="ignore", under="ignore"):  # looked at where the scales are used
        return np.ldexp(x, np.clip(exponents, -(2**20), 2**20).astype(np.int32))


def _power(base: float, n: int) -> tuple[float, int]:
    """Return baseⁿ as significand and exponent, without overflow."""
    root, exponent = math.frexp(base)
    significand, powers = 1.0, exponent * n
    while n > 0:
        steps = min(n, _SAFE_POWER)
        significand, shift = math.frexp(significand * root**steps)
        powers += shift
        n -= steps
    return significand, powers


def check_range(
    scales: NDArray[np.float64],
    dtype: FloatDType,
    depths: tuple[int, ...],
    *,
    zero: NDArray[np.bool_],
) -> None:
    """Raise OverflowError where a kernel, or all of it, leaves the range of its numbers."""
    limits = np.finfo(dtype)
    for k, depth in enumerate(depths):
        scale = float(scales[k].max())
        with np.errstate(over="ignore", under="ignore"):
            diagonal = np.square(scale)
        too_large = not diagonal <= limits.max
        if too_large or (diagonal < limits.tiny and not zero[k].all()):
            raise OverflowError(
                f"depth={depth}: the largest entry of the kernel is too "
                f"{'large' if too_large else 'small'} for {dtype}; expected samples, weight_std "
                "and activation_scale that keep it in range, or normalize=True"
            )
