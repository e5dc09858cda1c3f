# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Between which gaps a pair of gradients is, whatever rounding and the errors of duals did.

The recursion is repeated for one pair with an interval in place of each gap, with the signs of
`recursion`. The maps of the layers grow with the gaps, so that their values at both ends are the
ends of the next interval, widened by what the map itself may be off: a chaotic network widens
intervals as it widens gaps. What the factors of the two samples may be off (see `layer_factors`) is
followed beside it; their chords are differences of rounded numbers, which near-duplicates with
biases lose to rounding first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.duals import Correlation, Gaps, PiecewiseLinear
from fastntk.infinite.gaps import CLOSE, TINY
from fastntk.infinite.layer_factors import A, B, C, P, R
from fastntk.infinite.recursion import activation_gap, derivative_gap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from fastntk.infinite.duals import Dual
    from fastntk.infinite.layer_factors import LayerFactors
    from fastntk.infinite.pairs import Pairs

    Interval = tuple[float, float]

_EPS = float(np.finfo(np.float64).eps)

# Relative error of a gap after the few operations of one map.
_ROUNDING = 16 * _EPS


@dataclass
class _FactorError:
    """Relative errors of what is followed of single samples, see `layer_factors`."""

    size: float = 4 * _EPS  # of a, hence of √q⁺
    turn: float = 0.0  # of t
    diagonal: float = 0.0  # of N

    def after_weights(self) -> float:
        """Follow N through a layer; return the error of its factors."""
        # Of a sum of positive terms: the largest one of its terms.
        self.diagonal = max(4 * self.size, self.diagonal + 2 * self.turn) + 4 * _EPS
        return self.diagonal

    def after_activation(self, dual: Dual, deviation: float) -> None:
        """Follow a and t through an activation of samples of about a standard deviation."""
        if isinstance(dual, PiecewiseLinear):
            activation = derivative = self.size
        else:
            # From below only: the series of a dual may end where the samples do.
            state = dual.state(deviation * np.array([1 - 2 * self.size, 1.0]))
            activation, derivative = (
                float(abs(np.log(moments[1] / moments[0]))) if moments[0] > 0 else 0.0
                for moments in (state.activation, state.derivative)
            )
        own = dual.gap_error + 4 * _EPS
        self.turn = derivative + 2 * self.size + own
        self.size = activation + own


def gradient_gap_bounds(pairs: Pairs, i: int, j: int, gap: float) -> Interval:
    """Return between which gaps, with signs, the gradients of a pair are.

    Parameters
    ----------
    pairs : Pairs
        Pairs of one set of samples.
    i, j : int
        The pair.
    gap : float
        The gap of the samples, with a sign.
    """
    network = pairs.network
    left, right = (pairs.factors.take(slice(k, k + 1)) for k in (i, j))
    error = _FactorError()
    hidden = _widened((gap, gap), _input_error(gap, pairs.X.norms.dimension))
    eta = gradient = 0.0, 0.0
    for layer in range(network.depths[-1] + 1):
        if layer > 0:
            dual = network.layers.duals[layer - 1]
            activation, derivative = _maps(dual, left, right, layer - 1)
            lost = 0.0
            if not network.piecewise_linear:
                lost, hidden = dual.gap_error, _without_signs(hidden)
            if isinstance(dual, PiecewiseLinear) and not network.piecewise_linear:
                # In a mixture, sin θ − θ cos θ is formed as it stands, of gaps without signs.
                lost = 4 * _EPS * (_EPS + math.sqrt(_near(hidden[1])))
            if dual.no_derivative is None:
                eta = _image(derivative, hidden, lost)
            hidden = _image(activation, hidden, lost)
            deviation = 0.0 if network.piecewise_linear else _deviation(left, right, layer - 1)
            error.after_activation(dual, deviation)
        factor_error = error.after_weights()
        if pairs.factors.shared:
            factor_error = 0.0  # both samples have the same numbers: no chord comes of their errors
        x, z = left.factors[layer, :, 0], right.factors[layer, :, 0]
        terms = [(hidden, x[A] * z[A]), (_product(gradient, eta), x[B] * z[B])]
        gradient = _affine(terms, x[[A, B, C]], z[[A, B, C]], factor_error)
        hidden = _affine([(hidden, x[R] * z[R])], x[[R, P]], z[[R, P]], factor_error)
    return gradient


def _input_error(gap: float, dimension: int) -> float:
    """Return the relative error of a gap of samples, see `gaps`."""
    # Sums over the inputs have so many roundings; those of close pairs are of small numbers.
    of_sums = (dimension + 16) * _EPS
    return 4 * of_sums if abs(gap) < CLOSE / 2 else of_sums * (4 + 1 / abs(gap))


def _maps(
    dual: Dual, left: LayerFactors, right: LayerFactors, hidden: int
) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """Return what an activation and its derivative make of a gap."""
    if isinstance(dual, PiecewiseLinear):
        kink = dual.kink
        return lambda gap: activation_gap(gap, kink), lambda gap: derivative_gap(gap, kink)
    x, z = left.states[hidden], right.states[hidden]

    def pairs(gap: float) -> Correlation:
        gaps = Gaps(np.array([[_near(gap)]]), np.array([[_far(gap)]]))
        return Correlation(gaps, x.deviation[:, np.newaxis] - z.deviation)

    return (
        lambda gap: _with_sign(float(dual.gap(x, z, pairs(gap)).near[0, 0])),
        lambda gap: _with_sign(float(dual.derivative_gap(x, z, pairs(gap)).near[0, 0])),
    )


def _deviation(left: LayerFactors, right: LayerFactors, hidden: int) -> float:
    return float(max(side.states[hidden].deviation[0] for side in (left, right)))


def _near(gap: float) -> float:
    """Return 1 − cos."""
    return gap if gap >= 0 else 2 + gap


def _far(gap: float) -> float:
    """Return 1 + cos."""
    return 2 - gap if gap >= 0 else -gap


def _with_sign(near: float, far: float | None = None) -> float:
    """Return the gap, with a sign, from 1 − cos, and from 1 + cos where that is known."""
    if near <= 1:
        return max(near, 0.0)
    return -max(2 - near if far is None else far, TINY)


def _without_signs(gaps: Interval) -> Interval:
    """Return gaps as the general recursion has them: 1 − cos of obtuse angles, rounded."""
    low, high = gaps
    return (
        low if low >= 0 else _with_sign(_near(low) - 4 * _EPS),
        high if high >= 0 else _with_sign(min(_near(high) + 4 * _EPS, 2.0)),
    )


def _ends(gaps: Iterable[float]) -> Interval:
    """Return the ends of the smallest interval: acute angles come before obtuse ones."""
    ordered = sorted(gaps, key=lambda gap: (gap < 0, gap))
    return ordered[0], ordered[-1]


def _image(function: Callable[[float], float], gaps: Interval, lost: float) -> Interval:
    low, high = _widened(_ends(map(function, gaps)), _ROUNDING)
    if lost == 0:
        return low, high
    return _with_sign(_near(low) - lost), _with_sign(min(_near(high) + lost, 2.0))


def _product(gaps: Interval, others: Interval) -> Interval:
    """Return the gaps of a product of cosines, which is largest and smallest at two corners."""
    corners = []
    for a in gaps:
        for b in others:
            size = abs(a) + abs(b) - abs(a) * abs(b)
            corners.append(size if (a >= 0) == (b >= 0) else -max(size, TINY))
    return _ends(corners)


def _widened(gaps: Interval, error: float) -> Interval:
    low, high = gaps
    less, more = max(1 - error, 0.0), 1 + error
    return (
        low * less if low >= 0 else _with_sign(2 - _far(low) * more, _far(low) * more),
        _with_sign(high * more) if high >= 0 else -max(_far(high) * less, TINY),
    )


def _affine(
    terms: list[tuple[Interval, float]],
    x: NDArray[np.float64],
    z: NDArray[np.float64],
    error: float,
) -> Interval:
    """Take gaps through a layer of weights and biases.

    Parameters
    ----------
    terms : list of (Interval, float)
        Gaps, and the products of the factors that belong to them.
    x, z : ndarray
        All factors of each sample, unit vectors; the last one is that of the bias.
    error : float
        Relative error of each factor.
    """
    length = float(np.linalg.norm(x - z))
    # Of each unit vector, the error of its norm is at most that of its entries.
    chords = max(length - 2 * error, 0.0) ** 2 / 2, (length + 2 * error) ** 2 / 2
    ends = []
    for end in (0, 1):
        near = sum(_near(gaps[end]) * factor for gaps, factor in terms) + chords[end]
        far = sum(_far(gaps[end]) * factor for gaps, factor in terms) + chords[1 - end]
        ends.append(_with_sign(near, far + 2 * float(x[-1] * z[-1])))
    return _widened((ends[0], ends[1]), _ROUNDING + 2 * error)
