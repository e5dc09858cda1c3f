# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far the cosines of pairs may be off in networks that are described by their layers.

A running error, as in `gap_bounds`, goes with each pair through the steps: that of the cosine, of
the difference of sizes, and the relative errors of both sizes. Of a sum a u ⊕ b v ⊕ c with the
parts A, B, C of unit vectors (see `layered_factors`) it is

    A A' E_u + B B' E_v + the error of the square of the cross product + rounding
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk.infinite import gap_bounds
from fastntk.infinite.architecture import Architecture
from fastntk.infinite.duals import Correlation, Gaps
from fastntk.infinite.duals.base import ROUNDING
from fastntk.infinite.gap_bounds import (
    Bounded,
    Moved,
    modulus,
    size_error_of_sum,
    square_error,
    steepness,
)
from fastntk.infinite.general_recursion import inverse_or_zero
from fastntk.infinite.layer_factors import A, B, C, LayerFactors
from fastntk.infinite.layered_architecture import LayeredArchitecture
from fastntk.infinite.layered_factors import LayeredFactors
from fastntk.infinite.layered_recursion import Bundle, PairCalculus, plain
from fastntk.infinite.pair_layers import turning_factors
from fastntk.infinite.wiring import follow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from fastntk.infinite.pairs import Pairs
    from fastntk.infinite.wiring import Place

    Array = NDArray[np.float64]

_EPS = float(np.finfo(np.float64).eps)


def bounded_gaps(
    pairs: Pairs, rows: slice, columns: slice, gaps: Array, error: Array, *, tangent: bool
) -> Iterator[tuple[Bounded, Bounded]]:
    """Yield, at each depth, the gaps of the nodes and of the gradients, see `gap_bounds`.

    Parameters
    ----------
    pairs : Pairs
        The network and its samples.
    rows, columns : slice
        A single one of the samples, and others; of the samples of all rows and columns.
    gaps, error : ndarray (1, n)
        Gaps of the samples, with a sign, and by how much they may be off.
    tangent : bool
        Whether the gaps of the gradients are wanted; those that are yielded mean nothing without.
    """
    network = pairs.network
    sides = pairs.factors.take(rows), pairs.factors.take(columns)
    if isinstance(network, Architecture):
        left, right = sides
        assert isinstance(left, LayerFactors)
        assert isinstance(right, LayerFactors)
        return gap_bounds.bounded_gaps(network, (left, right), gaps, error, tangent=tangent)
    return _of_layers(pairs, sides, gaps, error, tangent=tangent)


def _of_layers(
    pairs: Pairs,
    sides: tuple[LayerFactors | LayeredFactors, LayerFactors | LayeredFactors],
    gaps: Array,
    error: Array,
    *,
    tangent: bool,
) -> Iterator[tuple[Bounded, Bounded]]:
    network, (left, right) = pairs.network, sides
    assert isinstance(network, LayeredArchitecture)
    assert isinstance(left, LayeredFactors)
    assert isinstance(right, LayeredFactors)
    calculus = _BoundCalculus(network, (left, right))
    inputs = calculus.inputs(gaps, error)
    # The same sample twice stays that, whatever rounding and the errors of duals make of it.
    equal = (inputs.pairs.gaps.near == 0) & (error == 0) & (inputs.pairs.difference == 0)
    for hidden, gradients in follow(network.steps, calculus, inputs, tangent=tangent):
        yield _bounded(hidden, equal), _bounded(gradients or hidden, equal)


class _Errors(NamedTuple):
    """Pairs, with the errors of what is known of them.

    Attributes
    ----------
    pairs : Bundle
    cosine : ndarray (1, n)
        By how much the cosines may be off; where they are still to be multiplied, the products.
    difference : ndarray (1, n)
        By how much the differences of sizes may be off.
    sizes : tuple of ndarray (1, 1), (n,)
        The relative errors of sizes.
    """

    pairs: Bundle
    cosine: Array
    difference: Array
    sizes: tuple[Array, Array]


def _bounded(found: _Errors, equal: NDArray[np.bool_]) -> Bounded:
    near, far = plain(found.pairs).gaps
    near, far = np.where(equal, 0.0, near), np.where(equal, 2.0, far)
    # No two cosines are further apart than 2.
    return Bounded(Gaps(near, far), np.where(equal, 0.0, np.minimum(found.cosine, 2.0)))


class _BoundCalculus:
    """The calculus of pairs with their errors."""

    def __init__(
        self, network: LayeredArchitecture, sides: tuple[LayeredFactors, LayeredFactors]
    ) -> None:
        self._network, self._sides = network, sides
        self._pairs = PairCalculus(network, sides)

    def inputs(self, gaps: Array, error: Array) -> _Errors:
        """Return pairs of inputs with these gaps, which may be off by an error."""
        pairs = self._pairs.inputs(gaps)
        rows, columns = self._sides
        # Norms have nearly twice as many digits as a number, see `sample_norms`.
        rests = np.abs(rows.norms[1, :, np.newaxis]) + np.abs(columns.norms[1])
        beyond = rows.gain * (rests + _EPS * rows.norms[0, :, np.newaxis])
        rounding = np.abs(pairs.difference) + 2**10 * beyond
        difference = np.where(pairs.difference != 0, 4 * _EPS * rounding, 0.0)
        x, z = (
            np.abs(side.norms[1]) * inverse_or_zero(side.norms[0]) + 8 * _EPS
            for side in self._sides
        )
        self._none = _Errors(
            self._pairs.nothing, np.zeros_like(gaps), np.zeros_like(gaps), (0 * x[:, None], 0 * z)
        )
        return _Errors(pairs, error, difference, (x[:, np.newaxis], z))

    def combined(
        self,
        place: Place,
        first: tuple[_Errors | None, float],
        second: tuple[_Errors | None, float],
        c: float,
    ) -> _Errors:
        (u, a), (v, b) = (
            (self._none, 0.0) if part is None or factor == 0 else (part, factor)
            for part, factor in (first, second)
        )
        pairs = self._pairs.combined(place, (u.pairs, a), (v.pairs, b), c)
        rows, columns = (side.sums.get(place) for side in self._sides)
        if rows is None or columns is None:  # a single part
            part, factor = (u, a) if a != 0 else (v, b)
            off = factor * part.difference + 2 * _EPS * np.abs(pairs.difference)
            x, z = (size + _EPS for size in part.sizes)
            return _Errors(pairs, part.cosine, off, (x, z))
        left, right = rows.factors[..., np.newaxis], columns.factors
        sizes = tuple(
            size_error_of_sum((factors[A] ** 2, p), (factors[B] ** 2, q))
            for factors, p, q in zip((left, right), u.sizes, v.sizes, strict=True)
        )
        # All errors of factors and sizes are below this.
        most = sum(np.maximum(p, q) for p, q in zip(u.sizes, v.sizes, strict=True))
        unit = 2 * most + 24 * _EPS
        s, t = rows.sizes[0, :, np.newaxis], columns.sizes[0]
        inverse = inverse_or_zero(np.maximum(s, t))
        weights, turns = a * u.pairs.difference, b * v.pairs.difference
        p, q = np.abs(weights) * inverse, np.abs(turns) * inverse
        p_off = a * u.difference * inverse + unit * p
        q_off = b * v.difference * inverse + unit * q
        f, g, h = (np.where(s <= t, left[each], right[each]) for each in (A, B, C))
        # The last entry of the cross product is a difference.
        entries = h * (p_off + q_off) + f * q_off + g * p_off + unit * (f * q + g * p)
        bend = inverse * (f * turns - g * weights)
        length = np.sqrt((h * p) ** 2 + (h * q) ** 2 + bend**2)
        products = left[A] * right[A] * u.cosine + left[B] * right[B] * v.cosine
        rounding = (unit + ROUNDING) * np.minimum(*pairs.gaps)
        s, t = s * inverse, t * inverse  # their sum stays in range
        off = (
            a * u.difference * (left[A] * s + right[A] * t)
            + b * v.difference * (left[B] * s + right[B] * t)
        ) * inverse_or_zero(s + t) + 2 * unit * (np.abs(weights) + np.abs(turns))
        cosine = np.minimum(products + square_error(length, entries) + rounding, 2.0)
        return _Errors(pairs, cosine, off, (sizes[0], sizes[1]))

    def activated(
        self, step: int, hidden: _Errors, gradients: _Errors | None
    ) -> tuple[_Errors, _Errors | None]:
        dual, gain = self._network.duals[step], self._network.steps.factor(step)
        rows, columns = (side.activated[step] for side in self._sides)
        x, z = rows.state, columns.state
        before = Correlation(hidden.pairs.gaps, hidden.pairs.difference)
        # The error of φ takes φ' as well.
        turned = self._none if gradients is None else gradients
        made, product = self._pairs.activated(step, hidden.pairs, turned.pairs)
        assert product is not None
        moved = Moved.of(dual, x, z)
        same = np.asarray((before.difference == 0) & (hidden.difference == 0))
        of_sizes = (hidden.sizes, hidden.difference, same)

        def by_sizes(function: object) -> Array | float:
            if dual.scale_free:
                return 0.0
            return moved.cosine_error(function, before, *of_sizes)  # type: ignore[arg-type]

        slopes_off: Array | float = 0.0
        if dual.no_derivative is None:
            assert product.slopes is not None
            steps = modulus(dual, dual.derivative_gap, (x, z), before.gaps, hidden.cosine)
            steep = steepness(x)[:, np.newaxis] * steepness(z)
            cosine = steep * np.minimum(np.abs(product.slopes.cosine) + steps, 1.0) * hidden.cosine
            own = dual.error(x, z, np.minimum(*product.slopes))
            slopes_off = np.minimum(steps + own + by_sizes(dual.derivative_gap), 2.0)
        else:
            cosine = modulus(dual, dual.gap, (x, z), before.gaps, hidden.cosine)
        cosine = cosine + dual.error(x, z, np.minimum(*made.gaps)) + by_sizes(dual.gap)
        # Sizes, and their differences.
        growth = moved.growth()
        off = hidden.difference * inverse_or_zero(x.deviation[:, np.newaxis])
        lost = np.where(same, 0.0, 0.0 if dual.keeps_differences else 2 * dual.size_error)
        values, slopes = (
            lost * (left[:, np.newaxis] + right) + rate * left[:, np.newaxis] * off
            for left, right, rate in (
                (x.activation, z.activation, growth[0][0]),
                (x.derivative, z.derivative, growth[0][1]),
            )
        )
        sizes, slope_sizes = (
            tuple(
                of_sample[k] * size + dual.size_error
                for of_sample, size in zip(growth, hidden.sizes, strict=True)
            )
            for k in (0, 1)
        )
        found = _Errors(
            made,
            np.minimum(cosine, 2.0),
            gain * values + 4 * _EPS * np.abs(made.difference),
            (sizes[0], sizes[1]),
        )
        if gradients is None:
            return found, None
        relative = slope_sizes[0] + gradients.sizes[1] + 4 * _EPS
        factor, other = turning_factors((rows.gradients, columns.gradients), x, z)
        turns = np.abs(x.derivative[:, np.newaxis] - z.derivative)
        parts = np.abs(gradients.pairs.difference) * factor + other * turns
        turned_off = gain * (gradients.difference * factor + other * slopes + relative * parts)
        c = np.abs(plain(gradients.pairs).gaps.cosine)
        slope = 1.0 if product.slopes is None else np.abs(product.slopes.cosine)
        product_off = slope * gradients.cosine + c * slopes_off + gradients.cosine * slopes_off
        product_sizes = tuple(p + q for p, q in zip(gradients.sizes, slope_sizes, strict=True))
        return found, _Errors(
            product, product_off, turned_off, (product_sizes[0], product_sizes[1])
        )

    def normalized(
        self, step: int, hidden: _Errors, gradients: _Errors | None, epsilon: float
    ) -> tuple[_Errors, _Errors | None]:
        given = None if gradients is None else gradients.pairs
        made, turned = self._pairs.normalized(step, hidden.pairs, given, epsilon)
        x, z = (side.normalized[step] for side in self._sides)
        s, q, p = x.size[:, np.newaxis], x.divisor[:, np.newaxis], z.divisor
        most, least = np.maximum(q, p), np.minimum(q, p)
        none = np.zeros_like(hidden.difference)
        unit = 2 * (hidden.sizes[0] + hidden.sizes[1]) + 8 * _EPS
        size_off, sizes, between_off = none, self._none.sizes, hidden.difference
        if epsilon > 0:
            share = (math.sqrt(epsilon) / least) ** 2 * inverse_or_zero(s / q + z.size / p)
            size_off = hidden.difference / most * ((s + z.size) / most) * share
            size_off = size_off + unit * np.abs(made.difference)
            sizes = hidden.sizes
            between_off = between_off + unit * np.abs(hidden.pairs.difference)
        found = _Errors(made, hidden.cosine, size_off, sizes)
        if gradients is None or turned is None:
            return found, None
        other = np.where(q >= p, z.gradients, x.gradients[:, np.newaxis]) / least
        parts = np.abs(gradients.pairs.difference) + other * np.abs(hidden.pairs.difference)
        own = gradients.sizes[0] + gradients.sizes[1] + unit
        off = (gradients.difference + other * between_off + own * parts) / most
        turned_sizes = tuple(
            a + b + 4 * _EPS for a, b in zip(gradients.sizes, hidden.sizes, strict=True)
        )
        return found, _Errors(turned, gradients.cosine, off, (turned_sizes[0], turned_sizes[1]))
