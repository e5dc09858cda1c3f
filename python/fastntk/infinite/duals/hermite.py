# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Series in Hermite polynomials, by quadrature, for all that has no closed form.

With φ(su) = Σ_k a_k(s) h_k(u) in the orthonormal Hermite polynomials (Mehler's formula),

    E[φ(u) φ(v)] = Σ_k a_k(s) a_k(t) ρ^k,        E[φ(u)²] = Σ_k a_k(s)²

so that the coefficients of single samples, by one-dimensional quadrature, serve all pairs. What K
terms leave out is known for each sample, τ(s) = E[φ(u)²] − Σ_{k<K} a_k(s)², and a pair misses at
most √(τ(s) τ(t)) |ρ|^K: an error bound that comes with the result.
"""

from __future__ import annotations

import math
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

from fastntk._support.memory import require_memory
from fastntk.activations import gaussian_nodes
from fastntk.infinite.duals.base import CANCELLATION, State
from fastntk.infinite.duals.compiled import CompiledDual, Loop
from fastntk.infinite.duals.interpolation import interpolated
from fastntk.infinite.duals.series import PAIRS_AT_ONCE, Series, add_series, write_gaps
from fastntk.infinite.duals.vectorized import correlation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.activations import Activation, Function
    from fastntk.infinite.duals.base import Array
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs

_FEWEST_TERMS, _MOST_TERMS = 32, 2048
_SAMPLES_AT_ONCE = 256

# Functions of which nothing is known have their moments compared at so many standard deviations,
# with those of panels cut so finely; their own panels are cut into at most so many.
_COMPARED, _FINE, _MOST_CUT = 9, 32, 16

# The share of the error of gaps that is left out of sums of pairs: the number of terms may then
# depend on the neighbours of a pair.
_TRUNCATION = 2.0**-12


@Loop
def fill_series(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,
    tangent: bool,
    out: RowGaps,
) -> int:
    """Write 1 ∓ c of sums of Mehler's formula, see `Loop`; none of them are to be refined.

    Samples have the coefficients of φ and those of φ'; constants are the numbers of these, each
    with their limits, see `Series`.
    """
    fill_terms((pairs[0], pairs[1]), row, columns, first, constants, tangent, out)
    return 0


@njit(nogil=True, cache=True, fastmath={"contract"})
def fill_terms(
    gaps: tuple[Array, Array],
    row: Array,
    columns: Array,
    first: int,
    constants: Array,
    tangent: bool,
    out: RowGaps,
) -> None:
    """Do as `fill_series` for pairs of these gaps."""
    near, far = gaps
    scratch = np.empty((2, PAIRS_AT_ONCE))
    at, sample = 0, 0
    for part in range(2 if tangent else 1):
        terms = int(constants[at])
        limits = constants[at + 1 : at + 2 + terms]
        own, others = row[sample : sample + terms], columns[sample : sample + terms]
        for start in range(0, len(near), PAIRS_AT_ONCE):
            stop = min(start + PAIRS_AT_ONCE, len(near))
            x, values = scratch[0, : stop - start], scratch[1, : stop - start]
            for j in range(len(x)):
                x[j] = correlation(near[start + j], far[start + j])
            add_series(values, x, own, others, first + start, limits)
            write_gaps(values, out[2 * part][start:stop], out[2 * part + 1][start:stop])
        at += 2 + terms
        sample += terms


def hermite_coefficients(
    function: Function, deviation: Array, terms: int, error: float
) -> tuple[Array, Array]:
    """Return what series of a function with a kink at 0 are made of.

    Parameters
    ----------
    function : callable
        The function.
    deviation : ndarray (n,)
        Standard deviations above 0, ascending.
    terms : int
        How many terms.
    error : float
        What the coefficients may be off, as a share of the root mean square.

    Returns
    -------
    tuple of ndarray (terms, n), (n,)
        The coefficients over the root mean squares, and what they leave out of the sum of their
        squares.
    """
    basis = _kink_basis(terms)
    both = interpolated(lambda s: basis.expand(function, s), deviation, error)
    series = _over(both[:-1], both[-1])
    return series, np.abs(1 - (series**2).sum(axis=0))


class Quadrature(CompiledDual):
    """The dual of any function, to a relative tolerance.

    Parameters
    ----------
    activation : Activation
        With a function, and with a derivative if there is one.
    tolerance : float
        The largest share of E[φ(u)²], and of E[φ'(u)²], that the series may leave out.
    """

    loop = fill_series

    def __init__(self, activation: Activation, tolerance: float) -> None:
        assert activation.function is not None
        self.phi, self.function, self.tolerance = activation, activation.function, tolerance
        self.gap_error = self.size_error = max(tolerance, CANCELLATION)
        self.missing = self.gap_error * _TRUNCATION

    def state(self, deviation: Array) -> State:
        """Return the state of samples, with the fewest terms that keep the tolerance."""
        # Samples of equal norm, which all are after the first layer of many a study, share theirs.
        distinct, back = np.unique(deviation, return_inverse=True)
        terms, reached = _FEWEST_TERMS, math.inf
        nodes = _Nodes(self.phi, distinct)
        while terms <= _MOST_TERMS:
            basis = _Basis(terms, self.phi.breakpoints, nodes.refinement(terms, self.tolerance))
            # The ends first: they tell nearly always whether the terms will do.
            for samples in (distinct[[0, -1]], distinct):
                state, reached = self._expansion(basis, samples)
                if reached > self.tolerance:
                    break
            else:
                return state.take(back)
            terms *= 2
        raise ValueError(
            f"tolerance={self.tolerance:g}: expected at least {reached:.1g} for the activation "
            f"{self.phi.name!r} with standard deviations up to {distinct[-1]:.3g} before it: so "
            f"much do {_MOST_TERMS} terms of its Hermite series leave out (its kinks, if any, "
            "belong into breakpoints)"
        )

    def _expansion(self, basis: _Basis, deviation: Array) -> tuple[State, float]:
        """Return the state of samples for a basis, and the largest share that it leaves out."""
        series, size, rest = self._expand(basis, self.function, deviation)
        slopes, slope_size, slope_rest = self._derivative(basis, series, deviation)
        both = (
            Series.of(_over(series, size), rest, self.missing),
            Series.of(_over(slopes, slope_size), slope_rest, self.missing),
        )
        constants = [np.append(len(each.coefficients), each.limits) for each in both]
        samples = np.concatenate([each.coefficients for each in both])
        state = State(deviation, size, slope_size, samples, np.concatenate(constants))
        return state, max(float(rest.max()), float(slope_rest.max()))

    def _expand(
        self, basis: _Basis, function: Function, deviation: Array
    ) -> tuple[Array, Array, Array]:
        """Return coefficients (K, n), root mean squares, and what is left out of their squares."""
        zero = int(len(deviation) > 0 and deviation[0] == 0)
        parts = [basis.expand(function, deviation[:zero])]
        if len(deviation) > zero:
            rest = deviation[zero:]
            parts.append(interpolated(lambda s: basis.expand(function, s), rest, self.missing))
        both = np.concatenate(parts, axis=1)
        series, size = both[:-1], both[-1]
        return series, size, _over(np.abs(size**2 - (series**2).sum(axis=0)), size**2)

    def _derivative(
        self, basis: _Basis, series: Array, deviation: Array
    ) -> tuple[Array, Array, Array]:
        if self.phi.derivative is not None:
            return self._expand(basis, self.phi.derivative, deviation)
        # h_k' = √k h_{k−1}; the error is judged by what the second half of the terms adds.
        orders = np.sqrt(np.arange(1.0, len(series)))[:, np.newaxis]
        with np.errstate(divide="ignore"):
            inverse = np.where(deviation > 0, 1 / deviation, 0.0)
        slopes = np.zeros_like(series)
        slopes[:-1] = orders * series[1:] * inverse
        squares = slopes**2
        total = squares.sum(axis=0)
        tail = squares[len(series) // 2 :].sum(axis=0)
        return slopes, np.sqrt(total), _over(tail, total)


@cache
def _kink_basis(terms: int) -> _Basis:
    return _Basis(terms, (0.0,), max(1, math.isqrt(terms) // 8))


class _Nodes:
    """How finely the panels are cut for an activation, so that no sharp turn falls between nodes.

    The sum of squares that tells what a series leaves out is one over the same nodes: where these
    miss a turn of φ, or of φ', both do. So moments are compared with those of other nodes. The
    activations of the package need none of it: they name where they turn.
    """

    def __init__(self, activation: Activation, deviation: Array) -> None:
        self._phi = activation
        s = deviation[deviation > 0]
        self._deviation = s if len(s) <= _COMPARED else np.geomspace(s[0], s[-1], _COMPARED)
        self._cut = 1
        self._off: dict[int, float] = {}

    def refinement(self, terms: int, tolerance: float) -> int:
        """Return the refinement of a quadrature for so many terms."""
        cut = max(self._cut, math.isqrt(terms) // 8)
        while (off := self._difference(cut)) > max(tolerance, 4 * CANCELLATION):
            cut *= 2
            if cut > _MOST_CUT:
                raise ValueError(
                    f"tolerance={tolerance:g}: expected at least {off:.1g} for the activation "
                    f"{self._phi.name!r} with standard deviations up to {self._deviation[-1]:.3g} "
                    "before it: so much do its moments change with the nodes of their quadrature "
                    "(where it turns sharply belongs into breakpoints)"
                )
        self._cut = cut
        return cut

    def _difference(self, cut: int) -> float:
        """Return by which share of the mean square moments differ from those of fine panels."""
        if self._phi.identity is None or len(self._deviation) == 0:
            return 0.0
        if cut not in self._off:
            found, right = self._moments(cut), self._right
            share = _over(np.abs(found - right), np.broadcast_to(right[:, 2:], right.shape))
            self._off[cut] = float(2 * share.max())
        return self._off[cut]

    @cached_property
    def _right(self) -> Array:
        return self._moments(_FINE)

    def _moments(self, cut: int) -> Array:
        """Return E[g], E[u g] and √E[g²] of g = φ(su), and of φ'(su) if known (k, 3, n)."""
        breakpoints = self._phi.breakpoints
        known = [each for each in (self._phi.function, self._phi.derivative) if each is not None]
        result = np.empty((len(known), 3, len(self._deviation)))
        for k, s in enumerate(self._deviation.tolist()):
            if k == 0 or any(breakpoints):
                nodes, weights = gaussian_nodes(_points_of(breakpoints, s), cut)
            for row, function in zip(result, known, strict=True):
                values = _values(function, s * nodes)
                peak = max(float(np.abs(values).max()), np.finfo(np.float64).tiny)
                scaled = values / peak  # whose squares are in range
                moments = weights @ scaled, (weights * nodes) @ scaled, weights @ scaled**2
                row[:, k] = peak * moments[0], peak * moments[1], peak * math.sqrt(moments[2])
        return result


class _Basis:
    """The first Hermite polynomials at the nodes of a quadrature that resolves them."""

    def __init__(self, terms: int, breakpoints: tuple[float, ...], refinement: int) -> None:
        self.breakpoints = breakpoints
        self.refinement = refinement
        self.terms = terms
        self._points: tuple[float, ...] | None = None  # those of the nodes
        self._nodes: tuple[Array, Array, Array]

    def expand(self, function: Function, deviation: Array) -> Array:
        """Return coefficients, and root mean squares in the last row (K + 1, n)."""
        require_memory(
            8 * (self.terms + 1) * len(deviation),
            f"X: a series of {self.terms} terms for {len(deviation)} samples",
            "take fewer samples, or a larger tolerance",
        )
        result = np.empty((self.terms + 1, len(deviation)))
        # Breakpoints other than 0 lie at different u for different s.
        step = 1 if any(self.breakpoints) else _SAMPLES_AT_ONCE
        for first in range(0, len(deviation), step):
            part = slice(first, first + step)
            s = deviation[part]
            nodes, weights, polynomials = self._at_nodes(float(s.max()))
            values = _values(function, s[:, np.newaxis] * nodes)
            result[-1, part] = np.sqrt((values**2) @ weights)
            result[:-1, part] = polynomials @ (values * weights).T
        return result

    def _at_nodes(self, scale: float) -> tuple[Array, Array, Array]:
        points = _points_of(self.breakpoints, scale)
        if points != self._points:
            nodes, weights = gaussian_nodes(points, self.refinement)
            self._nodes = nodes, weights, _hermite_polynomials(self.terms, nodes)
            self._points = points
        return self._nodes


def _points_of(breakpoints: tuple[float, ...], scale: float) -> tuple[float, ...]:
    """Return the places u at which φ(su) has its breakpoints."""
    return tuple(b / scale for b in breakpoints) if scale > 0 else ()


def _values(function: Function, z: Array) -> NDArray[np.floating[Any]]:
    """Return the values of a function, which are finite."""
    values = function(z)
    if not np.isfinite(values).all():
        raise ValueError("activation: its values at finite numbers are not all finite")
    return values


def _over(part: Array, whole: Array) -> Array:
    """Return part / whole, and 0 for 0/0."""
    positive = np.broadcast_to(whole > 0, part.shape)
    return np.divide(part, whole, out=np.zeros_like(part), where=positive)


@njit(nogil=True, cache=True)
def _hermite_polynomials(terms: int, nodes: Array) -> Array:
    """Return the orthonormal h_0 … h_{terms−1} at the nodes."""
    result = np.empty((terms, len(nodes)))
    result[0] = 1.0
    if terms > 1:
        result[1] = nodes
    for k in range(2, terms):
        result[k] = (nodes * result[k - 1] - math.sqrt(k - 1.0) * result[k - 2]) / math.sqrt(k)
    return result
