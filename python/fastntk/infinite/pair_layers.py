# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The steps of the general recursion between activations, compiled: a row of pairs in one pass.

What they compute is said in `general_recursion`. After them, what is asked for is written.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np
from numba import njit

from fastntk.infinite.close_gaps import TINY
from fastntk.infinite.duals.half_angle import angle_factor, deficit_factor
from fastntk.infinite.layer_factors import A, B, C, P, R

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.duals import State
    from fastntk.infinite.recursion import Position, Target

    Array = NDArray[np.float64]


# The least normal number: sizes below count as it where they divide.
LEAST = 2.0**-1022

# An integer that is written has a type of its own, for which Numba would compile functions again.
ZERO = cast("int", np.int64(0))


class Side(NamedTuple):
    """What the sample of a row, or those of the columns, bring into a layer.

    Attributes
    ----------
    factors : ndarray (5,) or (5, columns)
        r, p, A, B, C.
    sizes : ndarray (3,) or (3, columns)
        s, √Θ(x, x), and 1/√Θ(x, x), see `stack_sizes`.
    """

    factors: Array
    sizes: Array


def stack_sizes(hidden: Array, gradients: Array) -> Array:
    """Return the sizes of a `Side` from s and √Θ(x, x) (…, n), one array (…, 3, n)."""
    return np.stack([hidden, gradients, 1.0 / np.maximum(gradients, LEAST)], axis=-2)


class Pairs(NamedTuple):
    """What is followed of pairs: 1 ∓ cos, and differences; of a tile, or of a row of it.

    Attributes
    ----------
    hidden, gradients, slopes : tuple of ndarray (rows, columns) or (columns,)
        1 − cos and 1 + cos.
    size_difference, gradient_difference : ndarray (rows, columns) or (columns,)
        See `LayerPairs`.
    """

    hidden: tuple[Array, Array]
    gradients: tuple[Array, Array]
    slopes: tuple[Array, Array]
    size_difference: Array
    gradient_difference: Array


def turned_difference(
    difference: Array, gradients: tuple[Array, Array], x: State, z: State, turns: Array
) -> Array:
    """Return the difference of √Θ after an activation, as `activate_differences` has it.

    Parameters
    ----------
    difference : ndarray (rows, columns)
        That before it.
    gradients : tuple of ndarray (rows,), (columns,)
        √Θ before it.
    x, z : State
        The samples of the rows and columns.
    turns : ndarray (rows, columns)
        The difference of √E[φ'(su)²].
    """
    factor, other = turning_factors(gradients, x, z)
    return np.asarray(difference * factor + other * turns)


def turning_factors(gradients: tuple[Array, Array], x: State, z: State) -> tuple[Array, Array]:
    """Return what both parts of `turned_difference` are multiplied by, for rows and columns."""
    own, others = gradients[0][:, np.newaxis], gradients[1]
    factor = np.where(own >= others, x.derivative[:, np.newaxis], z.derivative)
    return factor, np.minimum(own, others)


# Of a sum of two products the compiler may contract either one, and chooses otherwise in a process
# that compiles than in one that loads what was compiled: so here it may not.
@njit(nogil=True, cache=True, error_model="numpy")
def activate_differences(
    differences: tuple[Array, Array],
    row: tuple[Array, float],
    columns: tuple[Array, Array],
    first: int,
    gain: float,
    out: tuple[Array, Array],
) -> None:
    """Take differences of sizes through an activation.

    With g = √Θ and b = √E[φ'(su)²], that of g b is (g − g') b + g' (b − b') for the larger g, and
    where it is the smaller one, of which both parts may be nothing beside what they leave, the
    samples change places.

    Parameters
    ----------
    differences : tuple of ndarray (m,)
        Those of s, and of √Θ.
    row : tuple of ndarray (2,), float
        √E[φ(su)²] and √E[φ'(su)²], and √Θ before the activation.
    columns : tuple of ndarray (2, columns), (columns,)
        The same of the columns, and their √Θ.
    first : int
        Which of the columns comes first.
    gain : float
        By what the layer multiplies activations.
    out : tuple of ndarray (m,)
        The differences afterwards.
    """
    a, b, own = row[0][0], row[0][1], row[1]
    value, slope, sizes = columns[0][0, first:], columns[0][1, first:], columns[1][first:]
    before, new_sizes, new_gradients = differences[1], out[0], out[1]
    for j in range(len(before)):
        new_sizes[j] = gain * (a - value[j])
        larger = own >= sizes[j]
        one, other = b if larger else slope[j], sizes[j] if larger else own
        new_gradients[j] = gain * (before[j] * one + other * (b - slope[j]))


@njit(inline="always")
def sides_of_gap(gap: float) -> tuple[float, float]:
    """Return 1 − cos and 1 + cos from a gap with a sign; the least one is that of opposite ones."""
    other = -gap if gap < 0.0 else 2.0 - gap
    return 2.0 + gap if gap < 0.0 else gap, other if other > TINY else 0.0


@njit(nogil=True, cache=True, fastmath={"contract"}, forceinline=True)
def piecewise_gaps(
    near: float, far: float, kink: float, tangent: bool
) -> tuple[float, float, float, float]:
    """Return 1 ∓ cos of φ and of φ' for an activation with this kink, see `recursion`.

    No sum is one of two products, see `activate_differences`.
    """
    acute = near <= far
    least = near if acute else far
    v = 0.5 * least
    root = math.sqrt(v)
    bend = v * root * deficit_factor(v)
    obtuse = least + kink * (bend - least)
    made = near - kink * bend if acute else (2.0 - kink) - obtuse
    other = far + kink * bend if acute else kink + obtuse
    if not tangent:
        return made, other, 0.0, 2.0
    turn = root * angle_factor(v)
    # Small angles and their small supplements keep their digits.
    turned, rest = (turn, 1.0 - turn) if acute else (1.0 - turn, turn)
    return made, other, kink * turned, (2.0 - kink) + kink * rest


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def weigh_hidden(pairs: Pairs, row: Side, columns: Side, first: int, out: Pairs) -> None:
    """Take 1 ∓ cos of hidden layers, and differences of sizes, through weights and biases.

    `first` is the first of the columns.
    """
    r, p, s = row.factors[R], row.factors[P], row.sizes[0]
    other_r, other_p = columns.factors[R, first:], columns.factors[P, first:]
    other_s = columns.sizes[0, first:]
    near, far, difference = pairs.hidden[0], pairs.hidden[1], pairs.size_difference
    new_near, new_far, new = out.hidden[0], out.hidden[1], out.size_difference
    for j in range(len(near)):
        weights, biases = r * other_r[j], p * other_p[j]
        cross = p * difference[j] / other_s[j]
        chord = cross * cross / (1.0 + (weights + biases))
        new_near[j] = weights * near[j] + chord
        new_far[j] = weights * far[j] + chord + 2.0 * biases
        new[j] = difference[j] * ((r * s + other_r[j] * other_s[j]) / (s + other_s[j]))


@njit(inline="always")
def _weigh_gradient(
    factors: tuple[tuple[float, float, float], tuple[float, float, float]],
    sizes: tuple[tuple[float, float], tuple[float, float]],
    differences: tuple[float, float],
    gaps: tuple[tuple[float, float], tuple[float, float], tuple[float, float]],
    kind: tuple[bool, bool],
) -> tuple[float, float, float]:
    """Return what `weigh_gradients` writes for one pair.

    Parameters
    ----------
    factors : tuple of tuple of float
        A, B and C of both samples.
    sizes : tuple of tuple of float
        √Θ and its reciprocal, of both.
    differences : tuple of float
        √ω^W times that of s, and that of √Θ, after the activation.
    gaps : tuple of tuple of float
        1 − cos and 1 + cos: of the hidden layer, of gradients, of φ'.
    kind : tuple of bool
        Whether C may be other than 0, and whether the cosines of φ' may be other than 1.
    """
    biased, sloped = kind
    (a, b, c), (other_a, other_b, other_c) = factors
    (s, inverse), (t, other_inverse) = sizes
    weights, turns = differences
    (near, far), (gradient_near, gradient_far), (slope_near, slope_far) = gaps
    both_a, both_b = a * other_a, b * other_b
    both_c = c * other_c if biased else 0.0
    # Two quotients by one division
    total, whole = max(s + t, LEAST), 1.0 + ((both_a + both_b) + both_c)
    quotient = 1.0 / (total * whole)
    share, part = quotient * whole, quotient * total
    # Over the larger one of the sizes
    one = min(inverse, other_inverse)
    u, v = weights * one, turns * one
    # The cross product of the difference with either vector is the same; nothing of the difference
    # cancels in that with the smaller one.
    first = s <= t
    x = a if first else other_a
    y = b if first else other_b
    z = c if first else other_c
    bend = x * v - y * u
    lift = z * u * (z * u) + z * v * (z * v) if biased else 0.0
    chord = (lift + bend * bend) * part
    turned, rest = gradient_near, gradient_far
    if sloped:
        turned = 0.5 * (gradient_near * slope_far + gradient_far * slope_near)
        rest = 0.5 * (gradient_near * slope_near + gradient_far * slope_far)
    return (
        both_a * near + both_b * turned + chord,
        both_a * far + both_b * rest + chord + 2.0 * both_c,
        # Products of differences and sizes could leave the range of numbers: these are over the
        # larger one of the sizes, as above.
        (share * max(s, t)) * (u * (a * s + other_a * t) + v * (b * s + other_b * t)),
    )


@njit(inline="always")
def _weigh_row(
    pairs: Pairs,
    row: Side,
    columns: Side,
    first: int,
    rate: float,
    kind: tuple[bool, bool],
    out: Pairs,
) -> None:
    biased, sloped = kind
    a, b, c = row.factors[A], row.factors[B], row.factors[C]
    other_a, other_b = columns.factors[A, first:], columns.factors[B, first:]
    other_c = columns.factors[C, first:]
    own = row.sizes[1], row.sizes[2]
    sizes, inverses = columns.sizes[1, first:], columns.sizes[2, first:]
    near, far = pairs.hidden
    gradient_near, gradient_far = pairs.gradients
    slope_near, slope_far = pairs.slopes
    size, gradient = pairs.size_difference, pairs.gradient_difference
    new_near, new_far = out.gradients
    new = out.gradient_difference
    for j in range(len(near)):
        new_near[j], new_far[j], new[j] = _weigh_gradient(
            (
                (a, b, c if biased else 0.0),
                (other_a[j], other_b[j], other_c[j] if biased else 0.0),
            ),
            (own, (sizes[j], inverses[j])),
            (rate * size[j], gradient[j]),
            (
                (near[j], far[j]),
                (gradient_near[j], gradient_far[j]),
                (slope_near[j], slope_far[j]) if sloped else (0.0, 2.0),
            ),
            kind,
        )


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def weigh_gradients(
    pairs: Pairs,
    row: Side,
    columns: Side,
    first: int,
    layer: tuple[float, bool, bool],
    out: Pairs,
) -> None:
    """Take 1 ∓ cos of gradients, and differences of their sizes, through weights and biases.

    `first` is the first of the columns; the layer has √ω^W, perhaps biases, and perhaps the cosines
    of φ' as slopes.
    """
    rate, biased, sloped = layer
    # One loop would read C and slopes, and calculate with them, where they are 0 and 1.
    if biased and sloped:
        _weigh_row(pairs, row, columns, first, rate, (True, True), out)
    elif biased:
        _weigh_row(pairs, row, columns, first, rate, (True, False), out)
    elif sloped:
        _weigh_row(pairs, row, columns, first, rate, (False, True), out)
    else:
        _weigh_row(pairs, row, columns, first, rate, (False, False), out)


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _write(out: Array, gaps: tuple[Array, Array], one: float, row: float, columns: Array) -> None:
    near, far = gaps[0][len(gaps[0]) - len(out) :], gaps[1][len(gaps[1]) - len(out) :]
    scales = columns[len(columns) - len(out) :]
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
    place: tuple[int, int],
) -> None:
    """Write a row of a tile; the place is the number of the depth, and the row.

    The pairs may leave out the diagonal, where gaps are 0, and what lies left of it.
    """
    k, i = place
    for kind in range(2):
        if len(targets[kind].out) > 0:
            row, columns = targets[kind].rows[k, i], targets[kind].columns[k]
            part = targets[kind].out[
                k, position.row + i, position.column : position.column + len(columns)
            ]
            first = 0
            if position.diagonal:
                part[i] = row * columns[i] if one > 0.0 else 0.0
                first = i + 1
            _write(part[first:], both[kind], one, row, columns)


@njit(nogil=True, cache=True)
def activate_rows(
    differences: tuple[Array, Array],
    rows: tuple[Array, Array],
    columns: tuple[Array, Array],
    gain: float,
    out: tuple[Array, Array],
) -> None:
    """Do as `activate_differences` for all rows (rows, 2) of a tile, and their √Θ."""
    for i in range(len(rows[0])):
        before, after = (differences[0][i], differences[1][i]), (out[0][i], out[1][i])
        activate_differences(before, (rows[0][i], rows[1][i]), columns, ZERO, gain, after)


@njit(nogil=True, cache=True)
def weigh_rows(
    pairs: Pairs,
    rows: Side,
    columns: Side,
    layer: tuple[float, bool, bool],
    tangent: bool,
    out: Pairs,
) -> None:
    """Take all rows of a tile through a layer, with factors (rows, 5) and sizes (rows, 3).

    The layer is that of `weigh_gradients`; `tangent` says whether gradients are wanted.
    """
    for i in range(len(rows.factors)):
        row = Side(rows.factors[i], rows.sizes[i])
        before, after = _row_of(pairs, i), _row_of(out, i)
        if layer[1]:
            weigh_hidden(before, row, columns, ZERO, after)
        if tangent:
            weigh_gradients(before, row, columns, ZERO, layer, after)


@njit(nogil=True, cache=True)
def combine_rows(
    pairs: Pairs, rows: Side, columns: Side, layer: tuple[float, bool, bool], out: Pairs
) -> None:
    """Do as `weigh_gradients` for all rows of a tile, with factors (rows, 5), sizes (rows, 3)."""
    for i in range(len(rows.factors)):
        row = Side(rows.factors[i], rows.sizes[i])
        weigh_gradients(_row_of(pairs, i), row, columns, ZERO, layer, _row_of(out, i))


@njit(nogil=True, cache=True)
def _row_of(pairs: Pairs, i: int) -> Pairs:
    return Pairs(
        (pairs.hidden[0][i], pairs.hidden[1][i]),
        (pairs.gradients[0][i], pairs.gradients[1][i]),
        (pairs.slopes[0][i], pairs.slopes[1][i]),
        pairs.size_difference[i],
        pairs.gradient_difference[i],
    )


@njit(nogil=True, cache=True)
def write_rows(
    targets: tuple[Target, Target],
    both: tuple[tuple[Array, Array], tuple[Array, Array]],
    one: float,
    position: Position,
    k: int,
) -> None:
    """Write all rows of a tile at a depth, the one of this number."""
    (near, far), (gradient_near, gradient_far) = both
    for i in range(len(near)):
        row = (near[i], far[i]), (gradient_near[i], gradient_far[i])
        write_row(targets, row, one, position, (k, i))
