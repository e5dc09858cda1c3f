# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far the cosines of pairs may be off: a running error through the layers.

Beside the gaps that `general_recursion` carries from layer to layer goes E, by which the cosine of
a pair may be off, and with it both gaps. It begins with that of the samples, and what a layer makes
of it follows from the map of the layer. With χ = s √E[φ'(su)²] / √E[φ(su)²] of a sample, c' the
cosine of φ' and H by how much c' may be off,

    |∂c/∂ρ| = χ_x χ_z |c'|,      E_φ = χ_x χ_z min(1, |c'| + H) E + own error of the dual

(Price's theorem), so that chaotic networks, χ > 1, widen errors as they widen gaps. For the
derivative, which may have jumps, let F(ρ) = Σ a_k² ρ^k be the map of a sample with itself; by the
inequality of Cauchy and Schwarz, for the coefficients a_k, b_k of both samples,

    |Σ a_k b_k (ρ^k − σ^k)|² ≤ |F_x(ρ) − F_x(σ)| |F_z(ρ) − F_z(σ)|    for ρ, σ of one sign,

and F(2E) − F(0) does where the signs differ, as F is convex. No derivative of higher order enters.

Sizes of single samples are off as well, by relative errors that are followed beside E. What they
make of the cosines is taken from difference quotients, at samples that are smaller by a millionth,
and doubled: this part is an estimate, which does not enter where activations are piecewise linear.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk.infinite.duals import Correlation, Gaps, State
from fastntk.infinite.duals.base import ROUNDING
from fastntk.infinite.gaps import CLOSE, TINY, UNDERFLOW, close_gap_error, cosine_error
from fastntk.infinite.general_recursion import LayerPairs, inverse_or_zero
from fastntk.infinite.layer_factors import A, B, C, P, R
from fastntk.infinite.pair_layers import turning_factors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from fastntk.infinite.architecture import Architecture
    from fastntk.infinite.duals import Dual
    from fastntk.infinite.layer_factors import LayerFactors

    Array = NDArray[np.float64]
    ArrayOrFloat = Array | float

_EPS = float(np.finfo(np.float64).eps)

# An angle is called resolved where it is known up to this relative error.
RELATIVE_ERROR = 1e-3

# The step of difference quotients: errors of the duals and of second order then matter alike.
_STEP = 2.0**-20

# By how much difference quotients are taken to be too small at most.
_DOUBT, _GROWTH_DOUBT = 2.0, 1 + 2.0**-10


class Bounded(NamedTuple):
    """Gaps of cosines, and by how much both may be off."""

    gaps: Gaps
    error: Array

    @property
    def angle_bounds(self) -> tuple[Array, Array]:
        """Between which numbers the angles are."""
        near, far = self.gaps
        error = self.error
        low = Gaps(np.maximum(near - error, 0.0), np.minimum(far + error, 2.0)).angle
        high = Gaps(np.minimum(near + error, 2.0), np.maximum(far - error, 0.0)).angle
        return low * (1 - 4 * _EPS), high * (1 + 4 * _EPS)

    @property
    def resolved(self) -> NDArray[np.bool_]:
        """Which angles are known up to `RELATIVE_ERROR`."""
        low, high = self.angle_bounds
        return np.asarray(high - low <= RELATIVE_ERROR * self.gaps.angle)


def bounded_gaps(
    network: Architecture,
    sides: tuple[LayerFactors, LayerFactors],
    gaps: Array,
    error: Array,
    *,
    tangent: bool,
) -> Iterator[tuple[Bounded, Bounded]]:
    """Yield, at each depth of a network, the gaps of the hidden layer and of the gradients.

    Parameters
    ----------
    network : Architecture
        The layers.
    sides : tuple of LayerFactors
        The factors of one sample, and of another one, or of many that have the norm of the first.
    gaps : ndarray (1, n)
        Gaps of the samples, with a sign.
    error : ndarray (1, n)
        By how much these may be off.
    tangent : bool
        Whether the gaps of the gradients are wanted; those that are yielded mean nothing without.
    """
    pairs = LayerPairs.of_inputs(gaps, sides)
    errors = _Errors(network, sides, pairs, error, tangent=tangent)
    for layer in range(network.depths[-1] + 1):
        if layer > 0:
            errors.activate(layer)
        errors.weigh(layer)
        if layer in network.depths:
            yield Bounded(pairs.hidden, errors.hidden), Bounded(pairs.gradients, errors.gradients)


def input_error(gaps: Array, dimension: int) -> Array:
    """Return by how much gaps of samples may be off, see `gaps`."""
    size = np.abs(gaps)
    close = close_gap_error(dimension) * size
    error = np.where(size < CLOSE / 2, close, np.maximum(close, cosine_error(dimension)))
    # Those of equal and opposite samples are known.
    return np.where((gaps == 0) | (gaps == -TINY), 0.0, error + UNDERFLOW)


def size_error_of_sum(
    first: tuple[ArrayOrFloat, ArrayOrFloat], second: tuple[ArrayOrFloat, ArrayOrFloat]
) -> Array:
    """Return the relative error of the size of a u ⊕ b v ⊕ c.

    The square of the size is a sum of three. Where shares p and q of it are off by factors
    (1 ± e)² and (1 ± f)², the root of 1 + p (± 2e + e²) + q (± 2f + f²) is between
    1 − p e − q f, as roots are concave, and 1 + p e + q f + ½ (p e² + q f²).

    Parameters
    ----------
    first, second : tuple of (float or ndarray, float or ndarray)
        p and e, q and f. Shares that are too large make the larger one of the errors.
    """
    (p, e), (q, f) = first, second
    most = np.maximum(e, f)
    return np.asarray(np.minimum(p * e + q * f + most**2, most) + 4 * _EPS)


@dataclass
class _Sizes:
    """Relative errors of what is followed of single samples, see `layer_factors`."""

    hidden: Array  # of a and s
    slope: Array  # of √E[φ'(su)²]
    gradient: Array  # of √Θ

    @classmethod
    def of(cls, side: LayerFactors) -> _Sizes:
        """Return the errors of the norms of samples, of which the rest is known."""
        if side.sizes is None or side.sizes.exact:  # the errors of the same numbers cancel
            return cls(*(np.zeros(1) for _ in range(3)))
        norm, rest = side.sizes.norms
        error = np.abs(rest) * inverse_or_zero(norm) + 8 * _EPS
        return cls(error, np.zeros_like(error), np.zeros_like(error))

    @property
    def weights(self) -> Array:
        """The relative errors of A, B and C, and of √Θ."""
        return np.maximum(self.hidden, self.gradient + self.slope) + 4 * _EPS


@dataclass
class _Errors:
    """The errors of `LayerPairs`, which are followed together with them."""

    network: Architecture
    sides: tuple[LayerFactors, LayerFactors]
    pairs: LayerPairs
    hidden: Array
    tangent: bool = field(kw_only=True)

    def __post_init__(self) -> None:
        zero = np.zeros_like(self.hidden)
        self.gradients, self.slopes = zero, zero
        # The same sample twice stays that, whatever rounding and the errors of duals make of it.
        near = self.pairs.hidden.near
        self.equal = (near == 0) & (self.hidden == 0) & (self.pairs.size_difference == 0)
        self.x, self.z = (_Sizes.of(side) for side in self.sides)
        self.exact = all(side.sizes is None or side.sizes.exact for side in self.sides)
        # Of the differences of s or a, and of √Θ.
        self.size_difference, self.gradient_difference = zero, zero
        rows, columns = (side.sizes for side in self.sides)
        if rows is not None and columns is not None:
            # Norms have nearly twice as many digits as a number, see `sample_norms`.
            rests = np.abs(rows.norms[1, :, np.newaxis]) + np.abs(columns.norms[1])
            beyond = rows.gain * (rests + _EPS * rows.norms[0, :, np.newaxis])
            rounding = np.abs(self.pairs.size_difference) + 2**10 * beyond
            different = self.pairs.size_difference != 0
            self.size_difference = np.where(different, 4 * _EPS * rounding, 0.0)

    def activate(self, layer: int) -> None:
        """Take pairs and errors through the activation before a layer."""
        dual = self.network.layers.duals[layer - 1]
        x, z = (side.states[layer - 1] for side in self.sides)
        before = Correlation(self.pairs.hidden, self.pairs.size_difference)
        turned = np.abs(self.pairs.gradient_difference)
        self.pairs.activate(self.network, layer, tangent=True)
        error = self.hidden
        moved = None if self.sides[0].sizes is None else Moved.of(dual, x, z)
        if dual.no_derivative is None:
            steps = modulus(dual, dual.derivative_gap, (x, z), before.gaps, error)
            slopes = self.pairs.slopes
            steep = steepness(x)[:, np.newaxis] * steepness(z)
            self.hidden = steep * np.minimum(np.abs(slopes.cosine) + steps, 1.0) * error
            of_sizes = self._of_sizes(dual, dual.derivative_gap, moved, before)
            own = dual.error(x, z, np.minimum(*slopes))
            self.slopes = np.minimum(steps + own + of_sizes, 2.0)
        else:
            self.hidden = modulus(dual, dual.gap, (x, z), before.gaps, error)
        of_sizes = self._of_sizes(dual, dual.gap, moved, before)
        self.hidden = self.hidden + dual.error(x, z, np.minimum(*self.pairs.hidden)) + of_sizes
        if moved is not None:
            self._activate_sizes(dual, layer, moved, before, turned)

    def _same(self, before: Correlation) -> NDArray[np.bool_]:
        """Return which pairs are certain to be of samples of one size."""
        return np.asarray((before.difference == 0) & (self.size_difference == 0))

    def _of_sizes(
        self,
        dual: Dual,
        function: Callable[[State, State, Correlation], Gaps],
        moved: Moved | None,
        before: Correlation,
    ) -> Array | float:
        """Return what the errors of the sizes make of the cosines of an activation."""
        if moved is None or dual.scale_free:
            return 0.0
        rows, columns = self.x.hidden[:, np.newaxis], self.z.hidden
        off = self.size_difference
        return moved.cosine_error(function, before, (rows, columns), off, self._same(before))

    def _activate_sizes(
        self, dual: Dual, layer: int, moved: Moved, before: Correlation, turned: Array
    ) -> None:
        """Take the errors of the sizes, and of their differences, through an activation."""
        x, z = (side.states[layer - 1] for side in self.sides)
        same = self._same(before)
        growth = moved.growth()
        for errors, (activation, slope) in zip((self.x, self.z), growth, strict=True):
            own = 0.0 if self.exact else dual.size_error
            errors.slope = slope * errors.hidden + own
            errors.hidden = activation * errors.hidden + own
        gain = self.network.layers.gain(layer - 1)
        off = self.size_difference * inverse_or_zero(x.deviation[:, np.newaxis])
        lost = np.where(same, 0.0, 0.0 if dual.keeps_differences else 2 * dual.size_error)
        values, slopes = (
            lost * (left[:, np.newaxis] + right) + rate * left[:, np.newaxis] * off
            for left, right, rate in (
                (x.activation, z.activation, growth[0][0]),
                (x.derivative, z.derivative, growth[0][1]),
            )
        )
        self.size_difference = gain * values + 4 * _EPS * np.abs(self.pairs.size_difference)
        rows, columns = (side.sizes for side in self.sides)
        assert rows is not None
        assert columns is not None
        gradients = rows.gradients[layer - 1], columns.gradients[layer - 1]
        factor, other = turning_factors(gradients, x, z)
        parts = turned * factor + other * np.abs(x.derivative[:, np.newaxis] - z.derivative)
        relative = self.x.slope[:, np.newaxis] + self.z.gradient + 4 * _EPS
        self.gradient_difference = gain * (
            self.gradient_difference * factor + other * slopes + relative * parts
        )

    def weigh(self, layer: int) -> None:
        """Take pairs and errors through a layer of weights and biases."""
        left, right = self.sides[0].factors[layer][..., np.newaxis], self.sides[1].factors[layer]
        error, turned = self.hidden, self._product()
        chord, gradient_chord = self._of_differences(layer)
        self.pairs.weigh(self.network, layer, tangent=self.tangent)
        if self.network.layers.bias_std[layer] > 0:
            relative = 2 * (self.x.hidden[:, np.newaxis] + self.z.hidden) + ROUNDING
            rounding = relative * np.minimum(*self.pairs.hidden)
            self.hidden = left[R] * right[R] * error + chord + rounding
        if self.tangent:
            relative = 2 * (self.x.weights[:, np.newaxis] + self.z.weights) + ROUNDING
            rounding = relative * np.minimum(*self.pairs.gradients)
            products = left[A] * right[A] * error + left[B] * right[B] * turned
            self.gradients = products + gradient_chord + rounding
        if not self.exact:
            for side in (self.x, self.z):
                side.gradient, side.hidden = side.weights, side.hidden + 2 * _EPS
        for both in (self.pairs.hidden, self.pairs.gradients):
            both.near[self.equal], both.far[self.equal] = 0.0, 2.0
        # No two cosines are further apart than 2.
        self.hidden, self.gradients = (
            np.where(self.equal, 0.0, np.minimum(each, 2.0))
            for each in (self.hidden, self.gradients)
        )

    def _product(self) -> Array:
        """Return by how much the product of the cosines of gradients and slopes may be off."""
        c, other = np.abs(self.pairs.gradients.cosine), np.abs(self.pairs.slopes.cosine)
        first_order = other * self.gradients + c * self.slopes
        return np.asarray(first_order + self.gradients * self.slopes)

    def _of_differences(self, layer: int) -> tuple[Array | float, Array | float]:
        """Take the errors of differences through a layer; return those of both chords."""
        rows, columns = (side.sizes for side in self.sides)
        if rows is None or columns is None:
            return 0.0, 0.0
        left, right = self.sides[0].factors[layer][..., np.newaxis], self.sides[1].factors[layer]
        difference, turns = self.pairs.size_difference, self.pairs.gradient_difference
        sizes = self.x.hidden[:, np.newaxis] + self.z.hidden + 8 * _EPS
        chord: Array | float = 0.0
        gradient_chord: Array | float = 0.0
        off = self.size_difference
        if self.network.layers.bias_std[layer] > 0:
            t = columns.hidden[layer]
            sine = np.abs(left[P] * difference / t)
            chord = square_error(sine, left[P] * off / t + sizes * sine)
            self.size_difference = off + 2 * sizes * np.abs(difference)
        if self.tangent:
            s, t = rows.gradients[layer, :, np.newaxis], columns.gradients[layer]
            inverse, rate = inverse_or_zero(np.maximum(s, t)), rows.rates[layer]
            a, b, c = (np.where(s <= t, left[each], right[each]) for each in (A, B, C))
            unit = self.x.weights[:, np.newaxis] + self.z.weights + sizes
            u, v = (np.abs(each) * inverse for each in (rate * difference, turns))
            u_off = rate * off * inverse + sizes * u
            v_off = self.gradient_difference * inverse + unit * v
            # The last entry of the cross product is a difference.
            entries = c * (u_off + v_off) + a * v_off + b * u_off + unit * (a * v + b * u)
            length = np.sqrt(
                (c * u) ** 2 + (c * v) ** 2 + (inverse * (a * turns - b * rate * difference)) ** 2
            )
            gradient_chord = square_error(length, entries)
            s, t = s * inverse, t * inverse  # their sum stays in range
            total = inverse_or_zero(s + t)
            self.gradient_difference = (
                rate * off * (left[A] * s + right[A] * t)
                + self.gradient_difference * (left[B] * s + right[B] * t)
            ) * total + 2 * (unit + sizes) * (rate * np.abs(difference) + np.abs(turns))
        return chord, gradient_chord


class Moved(NamedTuple):
    """States of both samples, and those of samples that are a little smaller."""

    x: State
    z: State
    x_moved: State
    z_moved: State

    @classmethod
    def of(cls, dual: Dual, x: State, z: State) -> Moved:
        """Return states that all have the same number of terms, where they are series."""
        # From below only: the series of a dual may end where the samples do.
        deviations = [x.deviation, z.deviation]
        deviations += [(1 - _STEP) * each for each in deviations]
        state = dual.state(np.concatenate(deviations))
        ends = itertools.accumulate((len(each) for each in deviations), initial=0)
        return cls(*(state.take(slice(*part)) for part in itertools.pairwise(ends)))

    def cosine_error(
        self,
        function: Callable[[State, State, Correlation], Gaps],
        pairs: Correlation,
        sizes: tuple[Array, Array],
        off: Array,
        same: NDArray[np.bool_],
    ) -> Array:
        """Return what the errors of the sizes make of the cosines of a map.

        Parameters
        ----------
        function : callable
            The map: a method of the dual.
        pairs : Correlation
            The pairs before it.
        sizes : tuple of ndarray (1, 1), (n,)
            The relative errors of the sizes of both samples.
        off : ndarray
            The errors of the differences of sizes.
        same : ndarray of bool
            Which pairs are certain to be of samples of one size.
        """
        s = self.x.deviation[:, np.newaxis]
        shifts = (
            (self.z_moved, pairs._replace(difference=(1 - _STEP) * pairs.difference)),
            (self.z, pairs._replace(difference=pairs.difference - _STEP * s)),
        )
        base = function(self.x, self.z, pairs)
        quotients = []
        for z, moved in shifts:
            other = function(self.x_moved, z, moved)
            change = np.minimum(np.abs(other.near - base.near), np.abs(other.far - base.far))
            quotients.append(change / _STEP)
        together, alone = quotients
        rows, columns = sizes
        apart = rows + columns + off * inverse_or_zero(s)
        alone = np.where(same, 0.0, alone * apart)
        return np.asarray(_DOUBT * (together * np.maximum(rows, columns) + alone))

    def growth(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Return d ln √E[φ(su)²]/d ln s of both samples, and the same for φ'."""
        x, z = (
            (_growth(state.activation, less.activation), _growth(state.derivative, less.derivative))
            for state, less in ((self.x, self.x_moved), (self.z, self.z_moved))
        )
        return x, z


def _growth(values: Array, less: Array) -> float:
    change = np.where(values > 0, 1 - less * inverse_or_zero(values), 0.0)
    return _GROWTH_DOUBT * float(np.abs(change).max()) / _STEP


def square_error(size: Array, error: Array) -> Array:
    """Return by how much the square of a size that may be off by an error may be off."""
    lost = np.where((size > 0) | (error > 0), UNDERFLOW, 0.0)
    return np.asarray(error * (2 * size + error) + lost)


def steepness(state: State) -> Array:
    """Return χ."""
    return np.asarray(state.deviation * state.derivative * inverse_or_zero(state.activation))


def modulus(
    dual: Dual,
    function: Callable[[State, State, Correlation], Gaps],
    states: tuple[State, State],
    gaps: Gaps,
    error: Array,
) -> Array:
    """Return by how much the cosine that a map makes of gaps may be off where these are."""
    least = np.minimum(*gaps)
    small = np.where(least + error > 1, 1 - 2 * error, least - error)
    ends = np.maximum(small, 0.0), np.minimum(least + error, 1.0)
    columns = np.zeros(error.shape[1], dtype=np.intp)
    squares = np.ones_like(error)
    for state in states:
        row, column = state.take(columns[:1]), state.take(columns)
        low, high = (
            function(row, column, Correlation(Gaps(end, 2 - end), np.zeros_like(end))).near
            for end in ends
        )
        own = dual.error(row, column, high)
        squares = squares * (np.maximum(high - low, 0.0) + 2 * own)
    return np.where(error == 0, 0.0, np.sqrt(squares))
