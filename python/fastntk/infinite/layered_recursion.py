# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pairs of samples through the steps of a described network, for the bounds of their errors.

What is followed of a pair is what `general_recursion` follows: 1 − cos and 1 + cos of the vectors
of both, so that neither loses its digits, and the difference of their sizes, which is never formed
of rounded numbers. A normalization leaves the cosines as they are. The sizes of nodes and of
gradients after it, with q as in `wiring`, have the differences

    g/q − g'/q' = (g − g')/q − g' (q − q')/(q q'),    q − q' = (s − s') (s + s')/(q + q')
    s/q − s'/q' = ε (s − s') (s + s') / (q² q'² (s/q + s'/q'))

where q is the larger one of both; where it is the smaller one, the parts of the first would cancel,
and the samples change places.

Kernels come of a program that takes sizes through the steps sample by sample, see
`layered_program`. Of sizes that activations have rounded both make the same: the equations of
`layered_factors` and those above are identities, which hold for these sizes as for others. So
errors of differences move both by the same, but for rounding, of which the program has less.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk.infinite.duals import Correlation, Gaps, PiecewiseLinear
from fastntk.infinite.general_recursion import both_gaps, inverse_or_zero, product
from fastntk.infinite.pair_layers import (
    Pairs,
    Side,
    activate_rows,
    combine_rows,
    piecewise_gaps,
    turned_difference,
    weigh_rows,
)
from fastntk.infinite.wiring import Place

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.layered_architecture import LayeredArchitecture
    from fastntk.infinite.layered_factors import LayeredFactors

    Array = NDArray[np.float64]


class Bundle(NamedTuple):
    """What is followed of pairs, of all samples of the rows with those of the columns.

    Attributes
    ----------
    gaps : Gaps
        1 − cos and 1 + cos.
    difference : ndarray (rows, columns)
        The differences of sizes.
    slopes : Gaps or None
        Cosines with which the others are still to be multiplied: those of φ'.
    """

    gaps: Gaps
    difference: Array
    slopes: Gaps | None = None


def plain(bundle: Bundle) -> Bundle:
    """Return pairs with nothing to be multiplied any more."""
    if bundle.slopes is None:
        return bundle
    return Bundle(product(bundle.gaps, bundle.slopes), bundle.difference)


class PairCalculus:
    """The calculus of pairs.

    Parameters
    ----------
    network : LayeredArchitecture
        The steps.
    sides : tuple of LayeredFactors
        The factors of the samples of the rows and of the columns.

    Attributes
    ----------
    nothing : Bundle
        The pairs of what is 0, after `inputs` was called.
    """

    def __init__(
        self, network: LayeredArchitecture, sides: tuple[LayeredFactors, LayeredFactors]
    ) -> None:
        self._network, self._sides = network, sides
        nothing = np.zeros((1, 1))
        self.nothing = Bundle(Gaps(nothing, nothing + 2), nothing)

    def inputs(self, gaps: Array) -> Bundle:
        """Return pairs of inputs with these gaps, with a sign."""
        rows, columns = self._sides
        high, low = (rows.norms[k, :, np.newaxis] - columns.norms[k] for k in (0, 1))
        zero, two = np.zeros_like(gaps), np.full_like(gaps, 2.0)
        self.nothing = Bundle(Gaps(zero, two), zero)
        return Bundle(both_gaps(gaps), rows.gain * (high + low))

    def combined(
        self,
        place: Place,
        first: tuple[Bundle | None, float],
        second: tuple[Bundle | None, float],
        c: float,
    ) -> Bundle:
        """Return the pairs of a u ⊕ b v ⊕ c."""
        rows, columns = (side.sums.get(place) for side in self._sides)
        nothing = self.nothing
        (u, a), (v, b) = first, second
        if rows is None or columns is None:  # a single part
            bundle, factor = (u, a) if u is not None and a != 0 else (v, b)
            return nothing if bundle is None else _scaled(bundle, factor)
        u = nothing if u is None or a == 0 else plain(u)
        v = nothing if v is None or b == 0 else v
        near, far, difference = np.empty((3, *u.difference.shape))
        slopes = nothing.gaps if v.slopes is None else v.slopes
        before = Pairs(u.gaps[:], v.gaps[:], slopes[:], u.difference, _times(v.difference, b))
        left = Side(np.ascontiguousarray(rows.factors.T), np.ascontiguousarray(rows.sizes.T))
        right = Side(columns.factors, columns.sizes)
        if v is nothing:
            before = before._replace(size_difference=_times(u.difference, a))
            after = before._replace(hidden=(near, far), size_difference=difference)
            weigh_rows(before, left, right, (a, True, False), False, after)
        else:
            after = before._replace(gradients=(near, far), gradient_difference=difference)
            combine_rows(before, left, right, (a, c != 0, v.slopes is not None), after)
        return Bundle(Gaps(near, far), difference)

    def activated(
        self, step: int, hidden: Bundle, gradients: Bundle | None
    ) -> tuple[Bundle, Bundle | None]:
        """Return the pairs after an activation."""
        dual, gain = self._network.duals[step], self._network.steps.factor(step)
        rows, columns = (side.activated[step] for side in self._sides)
        x, z, tangent = rows.state, columns.state, gradients is not None
        if isinstance(dual, PiecewiseLinear):
            both = np.empty((4, *hidden.difference.shape))
            _piecewise(*hidden.gaps, dual.kink, tangent, both)
            gaps, slopes = Gaps(both[0], both[1]), Gaps(both[2], both[3]) if tangent else None
        else:
            pairs = Correlation(hidden.gaps, hidden.difference)
            gaps, slopes = dual.both_gaps(x, z, pairs, tangent=tangent)
        turned = None if gradients is None else plain(gradients)
        before = hidden.difference, hidden.difference if turned is None else turned.difference
        if dual.keeps_differences:
            activations, turns = dual.differences(x, z, before[0])
            difference = gain * activations
            own = rows.gradients, columns.gradients
            after = gain * turned_difference(before[1], own, x, z, turns)
        else:
            difference, after = np.empty((2, *before[0].shape))
            norms = np.stack([z.activation, z.derivative])
            sizes = norms, np.ascontiguousarray(columns.gradients)
            given = np.stack([x.activation, x.derivative], axis=1), rows.gradients
            activate_rows(before, given, sizes, gain, (difference, after))
        made = Bundle(gaps, difference)
        return made, None if turned is None else Bundle(turned.gaps, after, slopes)

    def normalized(
        self, step: int, hidden: Bundle, gradients: Bundle | None, epsilon: float
    ) -> tuple[Bundle, Bundle | None]:
        """Return the pairs after a normalization."""
        x, z = (side.normalized[step] for side in self._sides)
        s, q, p = x.size[:, np.newaxis], x.divisor[:, np.newaxis], z.divisor
        between = hidden.difference
        most, least = np.maximum(q, p), np.minimum(q, p)
        if epsilon == 0:
            size = np.zeros_like(between)
        else:
            share = (math.sqrt(epsilon) / least) ** 2  # at most 1
            parts = s / q + z.size / p
            size = between / most * ((s + z.size) / most) * share * inverse_or_zero(parts)
            between = between * ((s + z.size) / (q + p))
        turned = None
        if gradients is not None:
            # Of the sample with the smaller q.
            own = np.where(q >= p, z.gradients, x.gradients[:, np.newaxis])
            difference = (gradients.difference - own / least * between) / most
            turned = gradients._replace(difference=difference)
        return Bundle(hidden.gaps, size), turned


def _scaled(bundle: Bundle, factor: float) -> Bundle:
    return bundle._replace(difference=_times(bundle.difference, factor))


def _times(difference: Array, factor: float) -> Array:
    return difference if factor == 1 else factor * difference


@njit(nogil=True, cache=True, fastmath={"contract"})
def _piecewise(near: Array, far: Array, kink: float, tangent: bool, out: Array) -> None:
    """Write both gaps of φ and of φ' for an activation with this kink, see `recursion`."""
    for i in range(near.shape[0]):
        for j in range(near.shape[1]):
            made = piecewise_gaps(near[i, j], far[i, j], kink, tangent)
            out[0, i, j], out[1, i, j] = made[0], made[1]
            if tangent:
                out[2, i, j], out[3, i, j] = made[2], made[3]
