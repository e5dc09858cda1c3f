# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""By how much the elements of a kernel may be off, for all pairs of some samples at once.

An element K_ij = √(K_ii K_jj) cos is off by the error of the cosine and by those of the sizes.
The former is followed as in `gap_bounds`, but not pair by pair: of each sample a number U, such
that the cosine of x and z is off by √(U_x U_z) at most. By the inequality of Cauchy and Schwarz it
is, for sums of vectors with the parts A and B of samples, and for activations, which widen errors
by χ_x χ_z,

    A_x A_z √(U_x U_z) + B_x B_z √(V_x V_z) ≤ √((A² U + B² V)_x (A² U + B² V)_z),
    χ_x χ_z √(U_x U_z) = √((χ² U)_x (χ² U)_z),

and what all pairs are off besides is added to U. Chaotic networks, χ > 1, widen errors by χ² a
layer.

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
from fastntk.infinite.close_gaps import close_gap_error
from fastntk.infinite.duals import Correlation, Gaps, PiecewiseLinear
from fastntk.infinite.duals.base import ROUNDING
from fastntk.infinite.gap_bounds import size_error_of_sum, steepness
from fastntk.infinite.gaps import CLOSE, cosine_error
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

    Array = NDArray[np.float64]

    # Of each sample: U, and the relative error of the size.
    Error = tuple[Array, Array]

_EPS = float(np.finfo(np.float64).eps)

# The forward pass, the dual and its derivative, and what is made of them, to the nearest number.
_ROUNDINGS_A_LAYER = 8

# The step of difference quotients by the size of a sample, and what they may be short of.
_STEP, _DOUBT = 2.0**-7, 1.25

# How fast sizes grow with those before is a logarithmic derivative, which takes no root and no
# difference of rounded numbers: its quotients are nearer, but for where it goes through 0.
_GROWTH_DOUBT = 1 + 2.0**-4

_SAMPLES_AT_ONCE = 64

# U stays below this, so that no product leaves the range of numbers.
_LARGEST = 1e100

# Up to this relative error e of the sizes, those of products are below 2e + 5e².
_LARGEST_SIZE_ERROR = 0.25


def kernel_error(network: SeveralDepths, norms: Norms) -> float:
    """Return by how much elements of the tangent kernel of some samples may be off.

    By this times √(K_ii K_jj): `dual_error`, to which some roundings for each layer are added.
    """
    network.require_one_depth()
    rounding = _ROUNDINGS_A_LAYER * network.layer_count * _EPS
    if _piecewise_linear(network):
        return _error_of_inputs(network, norms) + rounding
    cosine, size = _errors(network, norms, tangent=True)
    if size > _LARGEST_SIZE_ERROR:
        return math.inf
    return cosine + (2 + 5 * size) * size + rounding


def dual_error(network: SeveralDepths, norms: Norms, *, tangent: bool = True) -> float:
    """Return by how much elements of a kernel may be off because of duals and sizes, likewise.

    It is 0 where activations are piecewise linear, and 2 at most.

    Parameters
    ----------
    network : SeveralDepths
        The network, of one depth.
    norms : Norms
        Norms of the samples.
    tangent : bool
        Whether the kernel is the tangent kernel, not the NNGP.
    """
    network.require_one_depth()
    if _piecewise_linear(network):
        return 0.0
    cosine, size = _errors(network, norms, tangent=tangent)
    return min(cosine + 2 * size, 2.0)


def _errors(network: SeveralDepths, norms: Norms, *, tangent: bool) -> tuple[float, float]:
    """Return the largest error of a cosine, and the largest relative one of a size."""
    made = _errors_of_layers if isinstance(network, LayeredArchitecture) else _errors_of_chain
    with core_threads():  # as the factors
        cosines, sizes = made(network, norms, tangent=tangent)
    besides = (
        allowed_error(network, network.depths[0]) if isinstance(network, Architecture) else 0.0
    )
    return min(float(cosines.max()) + besides, 2.0), float(sizes.max())


def _errors_of_chain(network: SeveralDepths, norms: Norms, *, tangent: bool) -> Error:
    assert isinstance(network, Architecture)
    factors = LayerFactors.of(norms, network)
    cosines, sizes = _input_errors(norms)
    followed = _Errors((cosines + NORM_ERROR + 2 * ARGUMENT_ERROR, sizes + NORM_ERROR))
    for layer in range(network.depths[0] + 1):
        if layer > 0:
            dual = network.layers.duals[layer - 1]
            followed.activate(dual, factors.states[layer - 1], tangent=tangent)
        followed.weigh(factors.factors[layer], biased=network.layers.bias_std[layer] > 0)
    return followed.gradients if tangent else followed.hidden


def _errors_of_layers(network: SeveralDepths, norms: Norms, *, tangent: bool) -> Error:
    assert isinstance(network, LayeredArchitecture)
    calculus = _LayeredErrors(network, LayeredFactors.of(norms, network))
    inputs = _input_errors(norms)
    ((hidden, gradients),) = follow(network.steps, calculus, inputs, tangent=tangent)
    if not tangent:
        return hidden
    return (np.zeros(1), np.zeros(1)) if gradients is None else gradients


def _piecewise_linear(network: SeveralDepths) -> bool:
    if isinstance(network, LayeredArchitecture):
        return all(isinstance(dual, PiecewiseLinear) for dual in network.duals.values())
    return network.piecewise_linear


def _input_error(norms: Norms) -> float:
    """Return by how much cosines of the samples themselves may be off."""
    return max(cosine_error(norms.dimension), close_gap_error(norms.dimension) * CLOSE)


def _input_errors(norms: Norms) -> Error:
    """Return the errors of the samples themselves."""
    return np.full(len(norms), _input_error(norms)), np.full(len(norms), 4 * _EPS)


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
    return slope * _input_error(norms)


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
    """Errors of all samples in a chain.

    Attributes
    ----------
    hidden, gradients, slopes : tuple of ndarray (n,)
        Of the hidden layer, of gradients, and of φ'.
    """

    def __init__(self, inputs: Error) -> None:
        self.hidden = inputs
        zero = np.zeros_like(inputs[0])
        self.gradients: Error = zero, zero
        self.slopes: Error = zero, zero

    def activate(self, dual: Dual, state: State, *, tangent: bool) -> None:
        """Take the errors through an activation."""
        self.hidden, self.slopes = _activated(dual, state, self.hidden, tangent=tangent)

    def weigh(self, factors: Array, *, biased: bool) -> None:
        """Take the errors through a layer of weights and biases, with the factors (5, n) of it."""
        turned = _product(self.gradients, self.slopes)
        self.gradients = _sum(factors, self.hidden, turned)
        cosines, sizes = self.hidden
        if biased:
            cosines = factors[R] ** 2 * cosines + 4 * float(sizes.max())
        self.hidden = _bounded(cosines), sizes + 2 * _EPS


class _LayeredErrors:
    """The calculus of these errors, for networks that are described by their layers."""

    def __init__(self, network: LayeredArchitecture, factors: LayeredFactors) -> None:
        self._network, self._factors = network, factors
        zero = np.zeros(factors.norms.shape[1])
        self._nothing: Error = zero, zero

    def combined(
        self,
        place: Place,
        first: tuple[Error | None, float],
        second: tuple[Error | None, float],
        c: float,  # noqa: ARG002
    ) -> Error:
        u, v = (
            self._nothing if part is None or factor == 0 else part
            for part, factor in (first, second)
        )
        found = self._factors.sums.get(place)
        if found is None:  # a single part
            return u[0] + v[0], u[1] + v[1] + _EPS
        return _sum(found.factors, u, v)

    def activated(
        self, step: int, hidden: Error, gradients: Error | None
    ) -> tuple[Error, Error | None]:
        state, dual = self._factors.activated[step].state, self._network.duals[step]
        made, slopes = _activated(dual, state, hidden, tangent=gradients is not None)
        return made, None if gradients is None else _product(gradients, slopes)

    def normalized(
        self,
        step: int,  # noqa: ARG002
        hidden: Error,
        gradients: Error | None,
        epsilon: float,
    ) -> tuple[Error, Error | None]:
        cosines, sizes = hidden
        made = cosines, np.zeros_like(sizes) if epsilon == 0 else sizes + 4 * _EPS
        if gradients is None:
            return made, None
        return made, (gradients[0], gradients[1] + sizes + 4 * _EPS)


def _bounded(cosines: Array) -> Array:
    """Return U, but no numbers that leave the range; no cosine is off by more than 2."""
    return np.minimum(cosines, _LARGEST)


def _sum(factors: Array, u: Error, v: Error) -> Error:
    """Return the errors of a u ⊕ b v ⊕ c, of which A and B are among the factors (5, n)."""
    a, b = factors[A] ** 2, factors[B] ** 2
    # All that factors are off by.
    most = float(np.maximum(u[1], v[1]).max()) + 4 * _EPS
    sizes = size_error_of_sum((a, u[1]), (b, v[1]))
    return _bounded(a * u[0] + b * v[0] + 4 * most), sizes


def _product(u: Error, v: Error) -> Error:
    """Return the errors of products of cosines, and of sizes."""
    return _bounded(u[0] + v[0]), u[1] + v[1]


def _activated(dual: Dual, state: State, hidden: Error, *, tangent: bool) -> tuple[Error, Error]:
    """Return the errors of φ and of φ' from those before the activation."""
    cosines, sizes = hidden
    # Samples of one size have one state. One call, as its series have one length.
    deviation, places = np.unique(state.deviation, return_inverse=True)
    both = dual.state(np.concatenate([deviation, (1 - _STEP) * deviation]))
    n = len(deviation)
    state, less = both.take(slice(n)), both.take(slice(n, None))
    own = dual.gap_error + ROUNDING
    # Slopes may jump: what they are off by is no multiple of E, but that of the closest pairs.
    near = min(2 * float(cosines.max()), 1.0)
    if dual.no_derivative is None:
        changed = steepness(state)[places] ** 2 * cosines
    else:
        changed = _gaps(dual.gap, state, state, near)[places]
    turned = np.zeros_like(cosines)
    if tangent and dual.no_derivative is None:
        turned = _gaps(dual.derivative_gap, state, state, near)[places] + own
    of_sizes = slope_of_sizes = 0.0
    if not dual.scale_free:
        moved = _gaps(dual.gap, state, less, 0.0)[places]
        of_sizes = 2 * _DOUBT * float((np.sqrt(2 * moved) * sizes).max()) / _STEP
        if tangent and dual.no_derivative is None:
            moved = _gaps(dual.derivative_gap, state, less, 0.0)[places]
            # Where φ' jumps elsewhere than at 0, distances of it grow like roots.
            share = np.sqrt(sizes / _STEP) if dual.slope_jumps else sizes / _STEP
            slope_of_sizes = 2 * _DOUBT * float((np.sqrt(2 * moved) * share).max())
    growth, slope_growth = (
        (_GROWTH_DOUBT * np.abs(1 - ratio) / _STEP + _STEP)[places]
        for ratio in (
            np.divide(b, a, out=np.ones_like(a), where=a > 0)
            for a, b in (
                (state.activation, less.activation),
                (state.derivative, less.derivative),
            )
        )
    )
    return (
        (_bounded(changed + own + of_sizes), growth * sizes + dual.size_error),
        (_bounded(turned + own + slope_of_sizes), slope_growth * sizes + dual.size_error),
    )


def _gaps(
    function: Callable[[State, State, Correlation], Gaps], x: State, z: State, near: float
) -> Array:
    """Return the gaps of samples of x with the same ones of z, at this gap."""
    result = np.zeros(len(x.deviation))
    for first in range(0, len(result), _SAMPLES_AT_ONCE):
        part = slice(first, first + _SAMPLES_AT_ONCE)
        rows, columns = x.take(part), z.take(part)
        difference = rows.deviation[:, np.newaxis] - columns.deviation
        gaps = Gaps(np.full_like(difference, near), np.full_like(difference, 2 - near))
        found = function(rows, columns, Correlation(gaps, difference)).near.diagonal()
        result[part] = np.where(rows.deviation > 0, found, 0.0)
    return result
