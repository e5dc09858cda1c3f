# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""By how much φ and φ' move with their argument, and what rounding does to them as computed.

This is what a proof of the accuracy of a network asks of its activation. The core computes φ and φ'
by a few operations and at most two functions of the C or CUDA library, each of which is right to 5
units in the last place (erfc on a GPU; glibc's to 3). Where terms are added up, their magnitudes
say by how much the sum may be off, however much of them cancels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# φ and φ', as computed, are off by at most so many unit roundoffs of the magnitudes of their terms:
# twice 5 for a unit in the last place is twice the roundoff, and the operations around it.
ROUNDINGS = 32


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Bounds for φ, which are those of the functions by the same names in the core.

    Attributes
    ----------
    slope : callable
        Takes the ends of intervals and returns the largest |φ'| in each.
    bend : callable
        Takes the ends of intervals and returns the largest |φ''| in each, kinks left out.
    jump : float
        How far φ' jumps at kinks.
    kinks : tuple of float
        Where they are.
    value_terms, slope_terms : callable
        The magnitudes of the terms of which φ and φ' at some numbers are made up. From one number
        to another they change by at most 512 times as much as φ and φ' may.
    """

    slope: Callable[[Array, Array], Array]
    bend: Callable[[Array, Array], Array]
    jump: float = 0.0
    kinks: tuple[float, ...] = (0.0,)
    value_terms: Callable[[Array], Array]
    slope_terms: Callable[[Array], Array]


def _everywhere(bound: float) -> Callable[[Array, Array], Array]:
    return lambda low, _: np.full_like(low, bound)


def _density(x: Array) -> Array:
    return np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)


def _logistic(x: Array) -> Array:
    values: Array = scipy.special.expit(x)
    return values


def _logistic_slope(x: Array) -> Array:
    return _logistic(x) * _logistic(-x)


def of_linear_pieces(negative: float, positive: float) -> Sensitivity:
    """Return the bounds for negative · x for x < 0 and positive · x for x > 0."""

    def slope(low: Array, high: Array) -> Array:
        # At 0 itself φ' is that from the left.
        below = np.where(low <= 0, abs(negative), 0.0)
        return np.maximum(below, np.where(high > 0, abs(positive), 0.0))

    def slope_at(x: Array) -> Array:
        return np.where(x > 0, abs(positive), abs(negative))

    return Sensitivity(
        slope=slope,
        bend=_everywhere(0.0),
        jump=abs(positive - negative),
        value_terms=lambda x: slope_at(x) * np.abs(x),
        slope_terms=slope_at,
    )


def of_rectified_monomial(degree: int) -> Sensitivity:
    """Return the bounds for max(x, 0)^degree."""
    if degree == 1:
        return of_linear_pieces(0.0, 1.0)

    def power(x: Array, exponent: int) -> Array:
        # One that vanishes is not 0.
        return np.where(
            x > 0, np.maximum(np.maximum(x, 0.0) ** exponent, np.finfo(x.dtype).tiny), 0.0
        )

    return Sensitivity(
        slope=lambda _, high: degree * power(high, degree - 1),
        bend=lambda _, high: degree * (degree - 1) * power(high, degree - 2),
        value_terms=lambda x: degree * power(x, degree),
        slope_terms=lambda x: degree**2 * power(x, degree - 1),
    )


def of_square() -> Sensitivity:
    """Return the bounds for x², of outputs."""
    return Sensitivity(
        slope=lambda low, high: 2 * np.maximum(np.abs(low), np.abs(high)),
        bend=_everywhere(2.0),
        value_terms=np.square,
        slope_terms=lambda x: 2 * np.abs(x),
    )


def of_gelu() -> Sensitivity:
    """Return the bounds for x P(u ≤ x)."""

    def terms(x: Array) -> Array:
        # The argument of erfc is rounded, too: where P is small, its relative error is that times
        # x², and P x² is at most |x| times the density.
        return scipy.special.ndtr(x) + np.abs(x) * (1 + x**2) * _density(x)

    return Sensitivity(
        slope=_everywhere(1.13),  # at x = √2
        bend=_everywhere(math.sqrt(2 / math.pi) * (1 + 1e-12)),  # at 0
        value_terms=lambda x: np.abs(x) * terms(x),
        slope_terms=terms,
    )


def of_sigmoid() -> Sensitivity:
    """Return the bounds for 1/(1 + exp(−x))."""
    return Sensitivity(
        slope=_everywhere(0.25),
        bend=_everywhere(0.0963),  # 1/(6√3)
        value_terms=_logistic,
        slope_terms=_logistic_slope,
    )


def of_silu() -> Sensitivity:
    """Return the bounds for x/(1 + exp(−x))."""
    return Sensitivity(
        slope=_everywhere(1.1),
        bend=_everywhere(0.5),  # at 0
        value_terms=lambda x: np.abs(x) * _logistic(x),
        slope_terms=lambda x: _logistic(x) + np.abs(x) * _logistic_slope(x),
    )


def of_tanh() -> Sensitivity:
    """Return the bounds for tanh x."""
    return Sensitivity(
        slope=_everywhere(1.0),
        bend=_everywhere(0.77),  # 4/(3√3)
        value_terms=lambda x: np.abs(np.tanh(x)),
        slope_terms=lambda x: 4 * _logistic_slope(2 * x),
    )


def of_softplus(beta: float) -> Sensitivity:
    """Return the bounds for log(1 + exp(βx))/β."""

    def value_terms(x: Array) -> Array:
        # The product βx is rounded before its exponential is taken.
        tail = np.exp(-np.abs(beta * x))
        terms: Array = np.logaddexp(0, beta * x) / beta + np.abs(x) * tail
        return terms

    return Sensitivity(
        slope=_everywhere(1.0),
        bend=_everywhere(beta / 4),
        value_terms=value_terms,
        slope_terms=lambda x: _logistic(beta * x) + np.abs(beta * x) * _logistic_slope(beta * x),
    )


def of_elu(alpha: float, positive: float = 1.0, rate: float = 1.0) -> Sensitivity:
    """Return the bounds for positive · x for x > 0 and alpha (exp(rate · x) − 1) for x < 0."""
    steepest = alpha * rate

    def slope_terms(x: Array) -> Array:
        exponent = rate * np.minimum(x, 0.0)
        # The exponent is rounded before its exponential is taken, if the rate is not 1.
        grown = 1.0 if rate == 1 else 1 - exponent
        return np.where(x > 0, positive, steepest * np.exp(exponent) * grown)

    return Sensitivity(
        slope=_everywhere(max(positive, steepest)),
        bend=_everywhere(steepest * rate),
        jump=abs(positive - steepest),
        value_terms=lambda x: np.where(
            x > 0, positive * x, -alpha * np.expm1(rate * np.minimum(x, 0.0))
        ),
        slope_terms=slope_terms,
    )


def of_mish() -> Sensitivity:
    """Return the bounds for x tanh(log(1 + exp(x)))."""

    def gate(x: Array) -> Array:
        return np.asarray(np.tanh(np.logaddexp(0, x)))

    return Sensitivity(
        slope=_everywhere(1.09),  # at x = 1.49
        bend=_everywhere(0.65),  # at x = −0.09
        value_terms=lambda x: np.abs(x) * gate(x),
        # The slope of the gate, (1 − gate²) σ(x), is at most 2 min(gate, exp(−x)).
        slope_terms=lambda x: gate(x) + 2 * np.abs(x) * np.minimum(gate(x), np.exp(-np.abs(x))),
    )


def of_gelu_tanh() -> Sensitivity:
    """Return the bounds for x σ(y) with y = √(8/π) (x + 0.044715 x³)."""

    def terms(x: Array) -> Array:
        # As y is rounded before its exponential is taken, so are σ and σ' by |y| times as much.
        # Beyond 40 the exponential is 0.
        x = np.clip(x, -40, 40)
        y = math.sqrt(8 / math.pi) * x * (1 + 0.044715 * x**2)
        grown = (1 + np.abs(y)) * (1 + 3 * np.abs(y))
        return np.asarray(_logistic(y) + grown * _logistic_slope(y))

    return Sensitivity(
        slope=_everywhere(1.13),  # at x = 1.42
        bend=_everywhere(math.sqrt(2 / math.pi) * (1 + 1e-12)),  # at 0
        value_terms=lambda x: np.abs(x) * terms(x),
        slope_terms=terms,
    )


def of_softsign() -> Sensitivity:
    """Return the bounds for x/(1 + |x|)."""
    return Sensitivity(
        slope=_everywhere(1.0),
        bend=_everywhere(2.0),  # on either side of 0
        value_terms=lambda x: np.abs(x) / (1 + np.abs(x)),
        slope_terms=lambda x: (1 + np.abs(x)) ** -2.0,
    )


def of_squareplus(b: float) -> Sensitivity:
    """Return the bounds for (x + √(x² + b))/2, in which nothing cancels."""

    def root(x: Array) -> Array:
        return np.asarray(np.hypot(x, math.sqrt(b)))

    def value(x: Array) -> Array:
        return np.where(x > 0, (x + root(x)) / 2, b / (2 * (root(x) + np.abs(x))))

    return Sensitivity(
        slope=_everywhere(1.0),
        bend=_everywhere((1 + 1e-12) / (2 * math.sqrt(b))),  # at 0
        value_terms=value,
        slope_terms=lambda x: value(x) / root(x),
    )


def of_clipped(below: float, above: float, rate: float, offset: float) -> Sensitivity:
    """Return the bounds for rate · x + offset, constant beyond two kinks."""

    def slope(low: Array, high: Array) -> Array:
        return np.where((low <= above) & (high > below), rate, 0.0)

    return Sensitivity(
        slope=slope,
        bend=_everywhere(0.0),
        jump=rate,
        kinks=(below, above),
        value_terms=lambda x: rate * np.abs(np.clip(x, below, above)) + abs(offset),
        slope_terms=lambda x: np.where((x > below) & (x <= above), rate, 0.0),
    )


def of_hardswish() -> Sensitivity:
    """Return the bounds for x (x + 3)/6 between −3 and 3, 0 below and x above."""

    def terms(x: Array) -> Array:
        return np.where(x > -3, 1.0 + np.minimum(np.abs(x), 3.0), 0.0)

    return Sensitivity(
        slope=lambda low, high: np.where(high > -3, np.where(low > 3, 1.0, 1.5), 0.0),
        bend=_everywhere(1 / 3 * (1 + 1e-12)),
        jump=0.5,
        kinks=(-3.0, 3.0),
        value_terms=lambda x: np.abs(x) * terms(x),
        slope_terms=terms,
    )


def of_erf(rate: float, offset: float) -> Sensitivity:
    """Return the bounds for erf(rate · x) + offset."""
    steepest = 2 * rate / math.sqrt(math.pi) * (1 + 1e-12)

    def slope_terms(x: Array) -> Array:
        square = (rate * x) ** 2  # which is rounded before its exponential is taken
        return (1 + square) * steepest * np.exp(-square)

    return Sensitivity(
        slope=_everywhere(steepest),
        bend=_everywhere(0.968 * rate**2),  # 4/√(2πe), at x = 1/(√2 rate)
        # erf is concave: its relative error is no larger than that of its argument.
        value_terms=lambda x: np.minimum(steepest * np.abs(x), 1.0) + abs(offset),
        slope_terms=slope_terms,
    )


def of_sine(frequency: float, phase: float) -> Sensitivity:
    """Return the bounds for sin(frequency · x + phase)."""
    return _of_sinusoid(frequency, phase, 0.0)


def of_cosine(frequency: float, phase: float) -> Sensitivity:
    """Return the bounds for cos(frequency · x + phase)."""
    return _of_sinusoid(frequency, phase, 1.0)


def _of_sinusoid(frequency: float, phase: float, at_zero: float) -> Sensitivity:
    """Return the bounds for a sinusoid, itself at most |argument| + at_zero."""

    def argument(x: Array) -> Array:
        return np.abs(frequency * x) + abs(phase)

    return Sensitivity(
        slope=_everywhere(frequency),
        bend=_everywhere(frequency**2),
        value_terms=lambda x: argument(x) + at_zero,
        slope_terms=lambda x: frequency * (1 + argument(x)),
    )
