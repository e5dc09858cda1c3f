# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The steps of the general recursion between activations, compiled: pair by pair, in one pass.

What they compute is said in `general_recursion`. After them, what is asked for is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk.infinite.gaps import TINY
from fastntk.infinite.layer_factors import A, B, C, P, R

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.recursion import Position, Target

    Array = NDArray[np.float64]


class Side(NamedTuple):
    """What the samples of the rows, or of the columns, bring into a layer.

    Attributes
    ----------
    factors : ndarray (rows, 5) or (5, columns)
        r, p, A, B, C.
    sizes : ndarray (rows, 2) or (2, columns)
        s and √Θ(x, x).
    """

    factors: Array
    sizes: Array


class Pairs(NamedTuple):
    """What is followed of the pairs of a tile: 1 ∓ cos, and differences.

    Attributes
    ----------
    hidden, gradients, slopes : tuple of ndarray (rows, columns)
        1 − cos and 1 + cos.
    size_difference, gradient_difference : ndarray (rows, columns)
        See `LayerPairs`.
    """

    hidden: tuple[Array, Array]
    gradients: tuple[Array, Array]
    slopes: tuple[Array, Array]
    size_difference: Array
    gradient_difference: Array


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def activate_differences(
    differences: tuple[Array, Array],
    rows: Array,
    columns: Array,
    sizes: Array,
    gain: float,
    out: tuple[Array, Array],
) -> None:
    """Take differences of sizes through an activation.

    Parameters
    ----------
    differences : tuple of ndarray (rows, columns)
        Those of s, and of √Θ.
    rows : ndarray (rows, 2)
        √E[φ(su)²] and √E[φ'(su)²].
    columns : ndarray (2, columns)
        The same.
    sizes : ndarray (columns,)
        √Θ.
    gain : float
        By what the layer multiplies activations.
    out : tuple of ndarray (rows, columns)
        The differences afterwards.
    """
    value, slope = columns[0], columns[1]
    for i in range(rows.shape[0]):
        a, b = rows[i, 0], rows[i, 1]
        before, new_sizes, new_gradients = differences[1][i], out[0][i], out[1][i]
        for j in range(len(value)):
            new_sizes[j] = gain * (a - value[j])
            new_gradients[j] = gain * (before[j] * b + sizes[j] * (b - slope[j]))


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def weigh_hidden(pairs: Pairs, rows: Side, columns: Side, out: Pairs) -> None:
    """Take 1 ∓ cos of hidden layers, and differences of sizes, through weights and biases."""
    for i in range(rows.factors.shape[0]):
        r, p, s = rows.factors[i, R], rows.factors[i, P], rows.sizes[i, 0]
        other_r, other_p, other_s = columns.factors[R], columns.factors[P], columns.sizes[0]
        near, far, difference = pairs.hidden[0][i], pairs.hidden[1][i], pairs.size_difference[i]
        new_near, new_far, new = out.hidden[0][i], out.hidden[1][i], out.size_difference[i]
        for j in range(len(near)):
            weights, biases = r * other_r[j], p * other_p[j]
            cross = p * difference[j] / other_s[j]
            chord = cross * cross / (1.0 + (weights + biases))
            new_near[j] = weights * near[j] + chord
            new_far[j] = weights * far[j] + chord + 2.0 * biases
            new[j] = difference[j] * ((r * s + other_r[j] * other_s[j]) / (s + other_s[j]))


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def weigh_gradients(pairs: Pairs, rows: Side, columns: Side, rate: float, out: Pairs) -> None:
    """Take 1 ∓ cos of gradients, and differences of their sizes, through weights and biases.

    `rate` is √ω^W of the layer.
    """
    for i in range(rows.factors.shape[0]):
        a, b, c = rows.factors[i, A], rows.factors[i, B], rows.factors[i, C]
        other_a, other_b, other_c = columns.factors[A], columns.factors[B], columns.factors[C]
        s, sizes = rows.sizes[i, 1], columns.sizes[1]
        near, far = pairs.hidden[0][i], pairs.hidden[1][i]
        gradient_near, gradient_far = pairs.gradients[0][i], pairs.gradients[1][i]
        slope_near, slope_far = pairs.slopes[0][i], pairs.slopes[1][i]
        size, gradient = pairs.size_difference[i], pairs.gradient_difference[i]
        new_near, new_far = out.gradients[0][i], out.gradients[1][i]
        new = out.gradient_difference[i]
        for j in range(len(near)):
            t = sizes[j]
            weights, turns = rate * size[j], gradient[j]
            larger, total = max(s, t), s + t
            inverse = 1.0 / larger if larger > 0.0 else 0.0
            share = 1.0 / total if total > 0.0 else 0.0
            both_a, both_b, both_c = a * other_a[j], b * other_b[j], c * other_c[j]
            u, v = weights * inverse, turns * inverse
            # The cross product of the difference with either vector is the same; nothing of the
            # difference cancels in that with the smaller one.
            first = s <= t
            x = a if first else other_a[j]
            y = b if first else other_b[j]
            z = c if first else other_c[j]
            bend = x * v - y * u
            chord = (z * u * (z * u) + z * v * (z * v) + bend * bend) / (
                1.0 + ((both_a + both_b) + both_c)
            )
            turned = 0.5 * (gradient_near[j] * slope_far[j] + gradient_far[j] * slope_near[j])
            rest = 0.5 * (gradient_near[j] * slope_near[j] + gradient_far[j] * slope_far[j])
            new_near[j] = both_a * near[j] + both_b * turned + chord
            new_far[j] = both_a * far[j] + both_b * rest + chord + 2.0 * both_c
            new[j] = share * (weights * (a * s + other_a[j] * t) + turns * (b * s + other_b[j] * t))


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _write(out: Array, gaps: tuple[Array, Array], one: float, row: float, columns: Array) -> None:
    first = len(gaps[0]) - len(out)
    near, far = gaps[0][first:], gaps[1][first:]
    scales = columns[first:]
    for j in range(len(out)):
        if one == 0.0:
            out[j] = near[j] if near[j] <= 1.0 else -max(far[j], TINY)
        else:
            cosine = 1.0 - near[j] if near[j] <= far[j] else far[j] - 1.0
            out[j] = row * scales[j] * cosine


@njit(nogil=True, cache=True)
def write_row(
    targets: tuple[Target, Target],
    both: tuple[tuple[Array, Array], tuple[Array, Array]],
    one: float,
    position: Position,
    place: tuple[int, int, int],
) -> None:
    """Write a row of a tile: the place is the depth, the row, and where this is in the pairs."""
    k, i, at = place
    first = i if position.diagonal else 0
    width = both[0][0].shape[1]
    left, right = position.column + first, position.column + width
    for kind in range(2):
        if len(targets[kind].out) > 0:
            part = targets[kind].out[k, position.row + i, left:right]
            row, columns = targets[kind].rows[k, i], targets[kind].columns[k]
            _write(part, (both[kind][0][at], both[kind][1][at]), one, row, columns)


@njit(nogil=True, cache=True)
def write_rows(
    targets: tuple[Target, Target],
    both: tuple[tuple[Array, Array], tuple[Array, Array]],
    one: float,
    position: Position,
    k: int,
) -> None:
    """Write all rows of a tile at a depth, the one of this number."""
    for i in range(both[0][0].shape[0]):
        write_row(targets, both, one, position, (k, i, i))
