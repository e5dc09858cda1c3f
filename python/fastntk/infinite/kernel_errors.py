# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""By how much the elements of a kernel may be off, for all pairs of some samples at once.

An element K_ij = √(K_ii K_jj) cos is off by the error of the cosine and by those of the sizes.
The former is followed as in `gap_bounds`, with the largest factors of all samples in place of those
of a pair: chaotic networks, χ > 1, widen the errors of duals by up to χ² a layer.

Rounding is another matter. It makes relative errors of gaps, min(1 − cos, 1 + cos) times a few ε,
and no map of a layer makes these larger: with F as in `gap_bounds`, m = 1 − |ρ| and a change δ m of
it, each F is convex, so that F(1) − F(1 − m) changes by δ times itself at most, and for the
coefficients a_k, b_k of two samples

    |Σ a_k b_k Δ(ρ^k)| ≤ δ Σ ½(a_k² + b_k²) (1 − |ρ|^k) ≤ δ min(1 − c, 1 + c) .

What inner products of samples may be off (`gaps.cosine_error`) is no relative error of a gap where
that is small; but then gaps come from differences. For pairs that are not close, |ρ| ≤ 1 − t, and a
change e of ρ, it is F that is convex, and not its slopes, so that with the gap G = F(1) − F(1 − t)

    |Σ a_k b_k (ρ^k − σ^k)| ≤ e max F'(1 − t) ≤ e max G/t ,

the largest of all samples. Where activations are piecewise linear, this is all that inputs do; the
others carry errors of cosines through their layers. Norms are right to the last digits.

The compiled recursion makes no other errors: gaps of equal samples stay 0 there. What a series in
the angle may be off (see `angle_series`), and norms that count as one, is added for all samples,
whether their pairs take it or not.

What errors of the sizes of single samples make of cosines and of sizes is no proof but an estimate,
from difference quotients over a step of 2⁻⁷ that are taken to be short of the truth by a quarter at
most (tests/infinite/test_kernel_error.py measures by how much they are). It does not enter where
activations are piecewise linear, to which size makes no difference.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.threads import core_threads
from fastntk.infinite.angle_series import ARGUMENT_ERROR, NORM_ERROR, allowed_error
from fastntk.infinite.architecture import Architecture
from fastntk.infinite.duals import Correlation, Gaps, PiecewiseLinear
from fastntk.infinite.duals.base import ROUNDING
from fastntk.infinite.gap_bounds import size_error_of_sum
from fastntk.infinite.gaps import CLOSE, close_gap_error, cosine_error
from fastntk.infinite.layer_factors import A, B, LayerFactors, R
from fastntk.infinite.layered_architecture import LayeredArchitecture
from fastntk.infinite.layered_factors import LayeredFactors
from fastntk.infinite.wiring import follow

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastntk.infinite.duals import Dual, State
    from fastntk.infinite.sample_norms import Norms
    from fastntk.infinite.several_depths import SeveralDepths
    from fastntk.infinite.wiring import Place

    # Of the cosine, in absolute terms, and of the size, in relative ones.
    Error = tuple[float, float]

    Array = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)

# The forward pass, the dual and its derivative, and what is made of them, to the nearest number.
_ROUNDINGS_A_LAYER = 8

# The step of difference quotients by the size of a sample, and what they may be short of.
_STEP, _DOUBT = 2.0**-7, 1.25

# How fast sizes grow with those before is a logarithmic derivative, which takes no root and no
# difference of rounded numbers: its quotients are nearer, but for where it goes through 0.
_GROWTH_DOUBT = 1 + 2.0**-4

_SAMPLES_AT_ONCE = 64


def kernel_error(network: SeveralDepths, norms: Norms) -> float:
    """Return by how much elements of the tangent kernel of some samples may be off.

    By this times √(K_ii K_jj): `dual_error`, to which some roundings for each layer are added.
    """
    network.require_one_depth()
    made = _error_of_inputs if _piecewise_linear(network) else dual_error
    return made(network, norms) + _ROUNDINGS_A_LAYER * network.layer_count * _EPS


def dual_error(network: SeveralDepths, norms: Norms, *, tangent: bool = True) -> float:
    """Return by how much elements of a kernel may be off because of duals and sizes, likewise.

    It is 0 where activations are piecewise linear.

    Parameters
    ----------
    network : SeveralDepths
        The network, of one depth.
    norms : Norms
        Norms of the samples.
    tangent : bool
        Whether the kernel is the tangent kernel, not the NNGP.
    """
    depth = network.require_one_depth()
    if _piecewise_linear(network):
        return 0.0
    if isinstance(network, LayeredArchitecture):
        return _error_of_layers(network, norms, tangent=tangent)
    assert isinstance(network, Architecture)
    factors = LayerFactors.of(norms, network)
    cosine, size = _input_errors(norms.dimension)
    followed = _Errors((cosine + NORM_ERROR + 2 * ARGUMENT_ERROR, size + NORM_ERROR))
    with core_threads():  # as the factors
        for layer in range(depth + 1):
            if layer > 0:
                dual = network.layers.duals[layer - 1]
                followed.activate(dual, _distinct(factors.states[layer - 1]), tangent=tangent)
            followed.weigh(factors.factors[layer], biased=network.layers.bias_std[layer] > 0)
    cosine, size = followed.gradients if tangent else followed.hidden
    return min(cosine + 2 * size + allowed_error(network, depth), 2.0)


def _error_of_layers(network: LayeredArchitecture, norms: Norms, *, tangent: bool) -> float:
    with core_threads():  # as the factors
        factors = LayeredFactors.of(norms, network)
        calculus = _LayeredErrors(network, factors)
        inputs = _input_errors(norms.dimension)
        ((hidden, gradients),) = follow(network.steps, calculus, inputs, tangent=tangent)
    cosine, size = (gradients or (0.0, 0.0)) if tangent else hidden
    return min(cosine + 2 * size, 2.0)


def _piecewise_linear(network: SeveralDepths) -> bool:
    if isinstance(network, LayeredArchitecture):
        return all(isinstance(dual, PiecewiseLinear) for dual in network.duals.values())
    return network.piecewise_linear


def _input_errors(dimension: int) -> Error:
    """Return the errors of the samples themselves."""
    return max(cosine_error(dimension), close_gap_error(dimension) * CLOSE), 4 * _EPS


def _error_of_inputs(network: SeveralDepths, norms: Norms) -> float:
    """Return what the error of inner products makes where activations are piecewise linear."""
    if isinstance(network, LayeredArchitecture):
        calculus = _NearPairs(network, LayeredFactors.of(norms, network))
        start = np.full((1, len(norms)), CLOSE)
        ((_, gradients),) = follow(network.steps, calculus, start, tangent=True)
    else:
        assert isinstance(network, Architecture)
        gradients = _near_gradients(network, LayerFactors.of(norms, network))
    if gradients is None:  # nothing is trained
        return 0.0
    # A pair that counts as close or not may be the other one, by its error.
    slope = (1 + 2.0**-10) * float(gradients.max(initial=0.0)) / CLOSE
    return slope * _input_errors(norms.dimension)[0]


def _near_gradients(network: Architecture, factors: LayerFactors) -> Array:
    """Return 1 − cos of the gradients of pairs as `_NearPairs` has them, in a chain."""
    hidden = np.full((1, factors.factors.shape[-1]), CLOSE)
    gradients = np.zeros_like(hidden)
    for layer, squares in enumerate(factors.factors**2):
        if layer > 0:
            hidden, gradients = _turned(network.layers.duals[layer - 1], hidden, gradients)
        gradients = squares[A] * hidden + squares[B] * gradients
        hidden = squares[R] * hidden
    return gradients


class _NearPairs:
    """The calculus of 1 − cos of samples and what has their sizes and is nearly the same.

    For networks with piecewise linear activations that are described by their layers.
    """

    def __init__(self, network: LayeredArchitecture, factors: LayeredFactors) -> None:
        self._network, self._factors = network, factors

    def combined(
        self,
        place: Place,
        first: tuple[Array | None, float],
        second: tuple[Array | None, float],
        c: float,  # noqa: ARG002
    ) -> Array:
        parts = [
            (part, which)
            for (part, factor), which in ((first, A), (second, B))
            if part is not None and factor != 0
        ]
        found = self._factors.sums.get(place)
        made = np.zeros((1, self._factors.norms.shape[1]))
        for part, which in parts:
            made += part if found is None else found.factors[which] ** 2 * part
        return made

    def activated(
        self, step: int, hidden: Array, gradients: Array | None
    ) -> tuple[Array, Array | None]:
        dual = self._network.duals[step]
        made, turned = _turned(
            dual, hidden, np.zeros_like(hidden) if gradients is None else gradients
        )
        return made, None if gradients is None else turned

    def normalized(
        self,
        step: int,  # noqa: ARG002
        hidden: Array,
        gradients: Array | None,
        epsilon: float,  # noqa: ARG002
    ) -> tuple[Array, Array | None]:
        return hidden, gradients


def _turned(dual: Dual, hidden: Array, gradients: Array) -> tuple[Array, Array]:
    """Return 1 − cos after an activation to which sizes make no difference."""
    pairs = Correlation(Gaps(hidden, 2 - hidden), np.zeros_like(hidden))
    nothing = dual.state(np.zeros(0))
    slopes = dual.derivative_gap(nothing, nothing, pairs).near
    return (
        dual.gap(nothing, nothing, pairs).near,
        gradients + slopes - gradients * slopes,
    )


class _Errors:
    """Errors of cosines, and relative errors of sizes, the largest of all samples.

    Attributes
    ----------
    hidden, gradients : tuple of float
        Of the cosine, and of the size.
    slopes : tuple of float
        Likewise, of φ'.
    """

    def __init__(self, inputs: Error) -> None:
        self.hidden = inputs
        self.gradients: Error = (0.0, 0.0)
        self.slopes: Error = (0.0, 0.0)

    def activate(self, dual: Dual, state: State, *, tangent: bool) -> None:
        """Take the errors through an activation."""
        self.hidden, self.slopes = _activated(dual, state, self.hidden, tangent=tangent)

    def weigh(self, factors: Array, *, biased: bool) -> None:
        """Take the errors through a layer of weights and biases, with the factors (5, n) of it."""
        error, size = self.hidden
        squares = (factors**2).max(axis=1)
        turned = self.gradients[0] + self.slopes[0]
        unit = max(size, self.gradients[1] + self.slopes[1]) + 4 * _EPS
        cosine = float(squares[A]) * error + float(squares[B]) * turned + 4 * unit
        self.gradients = min(cosine, 2.0), unit
        if biased:
            error = float(squares[R]) * error + 4 * size
        self.hidden = min(error, 2.0), size + 2 * _EPS


class _LayeredErrors:
    """The calculus of these errors, for networks that are described by their layers."""

    def __init__(self, network: LayeredArchitecture, factors: LayeredFactors) -> None:
        self._network, self._factors = network, factors

    def combined(
        self,
        place: Place,
        first: tuple[Error | None, float],
        second: tuple[Error | None, float],
        c: float,  # noqa: ARG002
    ) -> Error:
        parts = [part for part, factor in (first, second) if part is not None and factor != 0]
        found = self._factors.sums.get(place)
        if found is None:  # a single part
            return (parts[0][0], parts[0][1] + _EPS) if parts else (0.0, 0.0)
        squares = (found.factors**2).max(axis=1)
        both = ((first[0], squares[A]), (second[0], squares[B]))
        errors = sum(part[0] * float(square) for part, square in both if part is not None)
        e, f = (0.0 if part is None else part[1] for part, _ in both)
        most = max((part[1] for part in parts), default=0.0) + 4 * _EPS
        size = float(size_error_of_sum((squares[A], e), (squares[B], f)))
        return min(errors + 4 * most, 2.0), size

    def activated(
        self, step: int, hidden: Error, gradients: Error | None
    ) -> tuple[Error, Error | None]:
        state = _distinct(self._factors.activated[step].state)
        tangent = gradients is not None
        made, slopes = _activated(self._network.duals[step], state, hidden, tangent=tangent)
        if gradients is None:
            return made, None
        return made, (min(gradients[0] + slopes[0], 2.0), gradients[1] + slopes[1])

    def normalized(
        self,
        step: int,  # noqa: ARG002
        hidden: Error,
        gradients: Error | None,
        epsilon: float,
    ) -> tuple[Error, Error | None]:
        made = hidden[0], 0.0 if epsilon == 0 else hidden[1] + 4 * _EPS
        if gradients is None:
            return made, None
        return made, (gradients[0], gradients[1] + hidden[1] + 4 * _EPS)


def _activated(dual: Dual, state: State, hidden: Error, *, tangent: bool) -> tuple[Error, Error]:
    """Return the errors of φ and of φ' from those before the activation."""
    error, size = hidden
    # One call, as its series have one length.
    both = dual.state(np.concatenate([state.deviation, (1 - _STEP) * state.deviation]))
    n = len(state.deviation)
    state, less = both.take(slice(n)), both.take(slice(n, None))
    own = dual.gap_error + ROUNDING
    present = state.activation > 0
    inverse = np.divide(1.0, state.activation, out=np.zeros_like(state.activation), where=present)
    steepness = float((state.deviation * state.derivative * inverse).max(initial=0.0)) ** 2
    if dual.no_derivative is None:
        changed = steepness * error
    else:
        changed = _largest(dual.gap, state, state, min(2 * error, 1.0)) if error > 0 else 0.0
    turned = 0.0
    if tangent and dual.no_derivative is None and error > 0:
        turned = _largest(dual.derivative_gap, state, state, min(2 * error, 1.0)) + own
    of_sizes = slope_of_sizes = 0.0
    if not dual.scale_free:
        moved = _largest(dual.gap, state, less, 0.0)
        of_sizes = 2 * _DOUBT * math.sqrt(2 * moved) * size / _STEP
        if tangent and dual.no_derivative is None:
            moved = _largest(dual.derivative_gap, state, less, 0.0)
            # Where φ' jumps elsewhere than at 0, distances of it grow like roots.
            share = math.sqrt(size / _STEP) if dual.slope_jumps else size / _STEP
            slope_of_sizes = 2 * _DOUBT * math.sqrt(2 * moved) * share
    growth, slope_growth = (
        _GROWTH_DOUBT * float(np.abs(1 - ratio).max(initial=0.0)) / _STEP + _STEP
        for ratio in (
            np.divide(b, a, out=np.ones_like(a), where=a > 0)
            for a, b in (
                (state.activation, less.activation),
                (state.derivative, less.derivative),
            )
        )
    )
    return (
        (min(changed + own + of_sizes, 2.0), growth * size + dual.size_error),
        (min(turned + own + slope_of_sizes, 2.0), slope_growth * size + dual.size_error),
    )


def _distinct(state: State) -> State:
    """Return the state of samples of different sizes: those of equal size have equal errors."""
    return state.take(np.unique(state.deviation, return_index=True)[1])


def _largest(
    function: Callable[[State, State, Correlation], Gaps], x: State, z: State, near: float
) -> float:
    """Return the largest gap of samples of x with the same ones of z, at this gap."""
    largest = 0.0
    for first in range(0, len(x.deviation), _SAMPLES_AT_ONCE):
        part = slice(first, first + _SAMPLES_AT_ONCE)
        rows, columns = x.take(part), z.take(part)
        difference = rows.deviation[:, np.newaxis] - columns.deviation
        gaps = Gaps(np.full_like(difference, near), np.full_like(difference, 2 - near))
        found = function(rows, columns, Correlation(gaps, difference)).near.diagonal()
        largest = max(largest, float(found[rows.deviation > 0].max(initial=0.0)))
    return largest
