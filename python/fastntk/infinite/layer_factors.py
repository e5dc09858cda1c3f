# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the recursion needs of single samples: the diagonals of the kernels, layer by layer.

Of a sample at layer l: q = Σ(x, x) of the hidden layer, and N = Θ(x, x)/q. With the standard
deviation s = √q, and σ_w, σ_b, c, φ those of this layer, a = σ_w c √E[φ(su)²] (for the first layer
σ_w ‖x‖/√d) and b = σ_b,

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
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.dtypes import SMALLEST_NORMAL
from fastntk._support.memory import require_memory
from fastntk._support.threads import core_threads
from fastntk.infinite.duals import PiecewiseLinear, State
from fastntk.infinite.several_depths import at_depth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatDType
    from fastntk.infinite.architecture import Architecture
    from fastntk.infinite.duals import Dual
    from fastntk.infinite.sample_norms import Norms
    from fastntk.infinite.several_depths import SeveralDepths

# The order of the kernels in arrays that hold something for both.
KINDS = ("nngp", "ntk")
NNGP, NTK = range(2)

# The order of the factors of a layer in the arrays that hold them.
R, P, A, B, C = range(5)

# Squares of standard deviations, and small multiples of them, enter the duals of activations to
# which size makes a difference, and the differences of samples in sums.
_LARGEST_DEVIATION = 1e153

# The smallest size of which the square has all digits: that of u, or of φ(u), which need not be
# small where u is.
_SMALLEST_SIZE = 2.0**-511

# Steps for which a factor between 1/2 and 2 can be multiplied up without overflow.
_SAFE_POWER = 512


@dataclass(frozen=True)
class Sizes:
    """Sizes of samples at all layers, for the differences between those of two of them.

    Attributes
    ----------
    norms : ndarray (2, n)
        Norms of the samples, each the sum of two numbers.
    hidden, gradients : ndarray (layers, n)
        s and √Θ(x, x).
    gain : float
        σ_w/√d, by which the first layer multiplies norms.
    rates : ndarray (layers,)
        √ω^W.
    exact : bool
        Whether all samples keep the norm √d, see `LayerFactors.of`: sizes are then no rounded
        numbers.
    """

    norms: NDArray[np.float64]
    hidden: NDArray[np.float64]
    gradients: NDArray[np.float64]
    gain: float
    rates: NDArray[np.float64]
    exact: bool

    def take(self, samples: slice) -> Sizes:
        """Return the sizes of some of the samples."""
        return Sizes(
            self.norms[:, samples],
            self.hidden[:, samples],
            self.gradients[:, samples],
            self.gain,
            self.rates,
            self.exact,
        )


@dataclass(frozen=True)
class LayerFactors:
    """What one set of samples brings into the recursion.

    Attributes
    ----------
    factors : ndarray (layers, 5, n)
        r, p, A, B, C; the last size is 1 where all samples share them.
    shared : bool
        Whether they do: a single sample has factors of the same shape.
    states : tuple of State
        For each layer but the last, what the dual activation needs of the samples; of a sample of
        its own where all samples share the factors, as what is needed is then the same for all.
    scales : ndarray (2, depths, n)
        Square roots of the diagonals of the two kernels, `NNGP` and `NTK`.
    zero : ndarray of bool (2, depths, n)
        Where they are 0; an underflow is not.
    sizes : Sizes or None
        What differences of samples are made of; None where all samples share the factors.
    """

    factors: NDArray[np.float64]
    shared: bool
    states: tuple[State, ...]
    scales: NDArray[np.float64]
    zero: NDArray[np.bool_]
    sizes: Sizes | None

    @classmethod
    def of(cls, samples: Norms, network: Architecture, *, unit_norms: bool = False) -> LayerFactors:
        """Take samples through the layers.

        Parameters
        ----------
        samples : Norms
            Norms of the samples.
        network : Architecture
            The layers.
        unit_norms : bool
            Whether the samples have the norm √d and the network lets them keep it: rounding must
            not set off the growth of what is only an unstable fixed point.
        """
        if network.piecewise_linear and not any(network.layers.bias_std):
            return _without_bias(samples, network)
        # Quadratures of many samples are products of matrices, with other bits in more threads.
        with core_threads():
            return _general(samples, network, unit_norms)

    def take(self, samples: slice) -> LayerFactors:
        """Return the factors of some of the samples."""
        factors = self.factors
        return LayerFactors(
            factors if self.shared else factors[..., samples],
            self.shared,
            self.states if self.shared else tuple(state.take(samples) for state in self.states),
            self.scales[..., samples],
            self.zero[..., samples],
            None if self.sizes is None else self.sizes.take(samples),
        )


def _unit_factors(
    squares: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]],
) -> tuple[NDArray[np.float64], ...]:
    """Return N⁺ and A, B, C from the three terms of N⁺."""
    total = squares[0] + squares[1] + squares[2]
    with np.errstate(divide="ignore", invalid="ignore"):
        units = (np.where(total > 0, np.sqrt(square / total), 0.0) for square in squares)
        return (total, *units)


def _general(samples: Norms, network: Architecture, unit_norms: bool) -> LayerFactors:
    n, last, layers = len(samples), network.depths[-1], network.layers
    require_memory(
        8 * n * (7 * (last + 1) + 2 * len(network.depths)),
        f"depth={last}: {n} samples at all layers",
        "take fewer samples or layers",
    )
    factors = np.zeros((last + 1, 5, n))
    states = []
    scales = np.empty((2, len(network.depths), n))
    hidden, gradients = np.empty((2, last + 1, n))
    rates = network.rates(samples.dimension)
    with np.errstate(over="ignore"):  # looked at below
        norms = np.ldexp(np.stack([samples.significands, samples.rests]), samples.exponents)
        a = layers.weight_std[0] * norms[0]
        a /= math.sqrt(samples.dimension)
        size = np.zeros(n)  # N
        turn = np.zeros(n)  # t √q⁺
        for layer, (weight_rate, bias_rate) in enumerate(rates):
            bias = layers.bias_std[layer]
            deviation = np.ones(n) if unit_norms else np.hypot(a, bias)
            if not np.isfinite(deviation).all():
                raise OverflowError(
                    f"depth={network.depths[-1]}: samples grow beyond {np.finfo(float).max:.1g} "
                    f"at layer {layer}; expected smaller samples, weight_std or scales of "
                    "activations"
                )
            require_digits(deviation)
            with np.errstate(divide="ignore"):
                inverse = np.where(deviation > 0, 1.0 / deviation, 0.0)
            r, p, t = a * inverse, bias * inverse, turn * inverse
            size, *unit = _unit_factors((weight_rate * r**2, size * t**2, bias_rate * p**2))
            factors[layer] = r, p, *unit
            hidden[layer], gradients[layer] = deviation, np.sqrt(size) * deviation
            for k in np.flatnonzero(np.equal(network.depths, layer)):
                scales[:, k] = hidden[layer], gradients[layer]
            if layer < last:
                state = state_in_range(layers.duals[layer], deviation)
                gain = layers.gain(layer)
                a = gain * state.activation
                turn = gain * deviation * state.derivative
                states.append(state)
    sizes = Sizes(
        np.stack([np.ones(n), np.zeros(n)]) if unit_norms else norms,
        hidden,
        gradients,
        layers.weight_std[0] / math.sqrt(samples.dimension),
        np.sqrt(rates[:, 0]),
        unit_norms,
    )
    return LayerFactors(factors, False, tuple(states), scales, scales == 0, sizes)


def state_in_range(dual: Dual, deviation: NDArray[np.float64]) -> State:
    """Return what a dual needs of samples; raise OverflowError for sizes that it cannot take."""
    if not (dual.scale_free or deviation.max() <= _LARGEST_DEVIATION):
        raise OverflowError(
            f"samples have standard deviations up to {deviation.max():.3g} before an "
            f"activation; expected at most {_LARGEST_DEVIATION:g}, from smaller "
            "samples, weight_std or bias_std"
        )
    state = dual.state(deviation)
    if not dual.scale_free:
        _require_sizes(deviation, np.maximum(deviation, state.activation), _SMALLEST_SIZE)
    return state


def require_squares(sizes: NDArray[np.float64], name: Callable[[], str]) -> None:
    """Raise OverflowError where squares of the sizes of a sum, a layer, leave the range."""
    if not sizes.max() <= _LARGEST_DEVIATION:
        raise OverflowError(
            f"{name()}: samples have sizes up to {sizes.max():.3g}; expected at most "
            f"{_LARGEST_DEVIATION:g}, from smaller samples, weight_std, bias_std or scale"
        )
    lost = (sizes > 0) & (sizes < _SMALLEST_SIZE)
    if lost.any():
        raise OverflowError(
            f"{name()}: samples have sizes down to {sizes[lost].min():.3g}; expected at least "
            f"{_SMALLEST_SIZE:.2g}, or 0, from larger samples, weight_std, bias_std or scale"
        )


def require_digits(deviation: NDArray[np.float64]) -> None:
    """Raise OverflowError where a sample that is not 0 has a size with less than all digits."""
    _require_sizes(deviation, deviation, SMALLEST_NORMAL[deviation.dtype])


def _require_sizes(
    deviation: NDArray[np.float64], sizes: NDArray[np.float64], least: float
) -> None:
    """Raise OverflowError where a sample that is not 0 has a size below the least."""
    lost = (deviation > 0) & (sizes < least)
    if lost.any():
        raise OverflowError(
            f"samples have standard deviations down to {deviation[lost].min():.3g} before an "
            f"activation; expected at least {_SMALLEST_SIZE:.2g}, or 0, from larger samples, "
            "weight_std or bias_std"
        )


def _without_bias(samples: Norms, network: Architecture) -> LayerFactors:
    """Take samples through layers that multiply the norms of all of them by the same number."""
    rates = network.rates(samples.dimension)[:, 0]
    sizes = np.cumsum(rates)  # N
    before = np.concatenate([[0.0], sizes[:-1]])
    factors = np.zeros((len(rates), 5, 1))
    factors[:, R] = 1.0
    for position, part in ((A, rates), (B, before)):
        np.divide(part, sizes, out=factors[:, position, 0], where=sizes > 0)
    np.sqrt(factors, out=factors)
    scales = np.empty((2, len(network.depths), len(samples)))
    zero = np.empty(scales.shape, dtype=bool)
    first, shift = math.frexp(network.layers.weight_std[0] / math.sqrt(samples.dimension))
    for k, (significand, exponent) in enumerate(_growth(network)):
        scale = samples.significands * (significand * first)
        powers = samples.exponents + (exponent + shift)
        for kind, size in ((NNGP, 1.0), (NTK, float(sizes[network.depths[k]]))):
            scales[kind, k] = _ldexp(scale * math.sqrt(size), powers)
            zero[kind, k] = (scale == 0) | (size == 0)
    state = State(np.ones(1), np.ones(1), np.ones(1))
    states = (state,) * len(network.layers.duals)
    return LayerFactors(factors, True, states, scales, zero, None)


def _growth(network: Architecture) -> Iterator[tuple[float, int]]:
    """Yield by what the hidden layers multiply norms, for each depth, as 2^exponent times less."""
    layers = network.layers
    gains = []
    for hidden, dual in enumerate(layers.duals):
        assert isinstance(dual, PiecewiseLinear)
        gains.append(layers.gain(hidden) * dual.root_mean_square)
    # Equal factors that follow one another are raised to a power, not multiplied one by one.
    runs = [(gain, sum(1 for _ in run)) for gain, run in groupby(gains)]
    passed, start = (1.0, 0), 0  # what comes from the runs that end before this depth
    run = 0
    for depth in network.depths:
        while depth > 0 and start + runs[run][1] < depth:
            gain, length = runs[run]
            passed = _times_power(passed, gain, length)
            start += length
            run += 1
        yield passed if depth == start else _times_power(passed, runs[run][0], depth - start)


def _times_power(number: tuple[float, int], base: float, n: int) -> tuple[float, int]:
    """Return number · baseⁿ; both numbers are significand and exponent."""
    power, exponent = _power(base, n)
    significand, shift = math.frexp(number[0] * power)
    return significand, number[1] + exponent + shift


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
    network: SeveralDepths,
    *,
    zero: NDArray[np.bool_],
) -> None:
    """Raise OverflowError where a kernel, or all of it, leaves the range of its numbers."""
    limits = np.finfo(dtype)
    for k, depth in enumerate(network.depths):
        scale = float(scales[k].max())
        with np.errstate(over="ignore", under="ignore"):
            diagonal = np.square(scale)
        too_large = not diagonal <= limits.max
        if too_large or (diagonal < limits.tiny and not zero[k].all()):
            raise OverflowError(
                f"{network.depth_name}={depth}: the largest entry of the kernel is too "
                f"{'large' if too_large else 'small'} for {dtype}; expected samples, weight_std, "
                "bias_std and scales of activations that keep it in range, or normalize=True"
            )


def require_nonzero(
    zero: NDArray[np.bool_], name: str, network: SeveralDepths, *, tangent: bool = True
) -> None:
    """Raise ValueError where the diagonal of a kernel is 0, given (depths, samples)."""
    if zero.any():
        k, i = (int(index) for index in np.argwhere(zero)[0])
        at = at_depth(network, network.depths[k])
        if tangent and not network.trained[k]:
            raise ValueError(
                f"layers: expected some that are trained {at}, because the angle to a zero "
                "gradient is not defined"
            )
        raise ValueError(
            f"{name}[{i}] has a kernel of 0 {at}, as a row of zeros has: expected samples with "
            "K(x, x) > 0, because the angle to a zero gradient is not defined"
        )
