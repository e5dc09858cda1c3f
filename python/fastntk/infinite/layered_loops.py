# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The loops of a program over pairs of some rows: an instruction, or a few that belong together.

A row that every instruction reads and writes again spends as much time on the way to the
second-level cache and back as on its arithmetic. A usual block of a network takes one loop: what
its activation makes of a pair never leaves the processor's registers.

Loops come in several kinds, none of which reads or multiplies with what is 0. All of them have the
same bits, as do the first pairs of a row and those that are left at its end: products and sums are
`fused` where this says so, and contracted nowhere else but in activations, see
`activate_differences`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numba import njit

from fastntk.infinite.fused import fused
from fastntk.infinite.layered_program import (
    CONSTANT,
    FLAG,
    OF_U,
    OF_V,
    OF_X,
    OF_Y,
    OUT,
    SLOPES,
    SLOPES_OUT,
    TURNED_CONSTANT,
    U,
    V,
    X,
    Y,
)
from fastntk.infinite.pair_layers import piecewise_gaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Integers = NDArray[np.int64]
    Both: TypeAlias = tuple[float, float]

    # That of the row, as a sum of two numbers, and its place.
    Factor: TypeAlias = tuple[float, float, int]
    Factors: TypeAlias = tuple[Factor, Factor, Factor]


# Which factors a sum has of its terms, and of those with slopes.
_PLAIN, _TURNED = (OF_U, OF_V, CONSTANT), (OF_X, OF_Y, TURNED_CONSTANT)

# Rows take so many columns one after another: what these bring is in the nearest cache.
_CHUNK = np.uint64(128)

# A part of a loop, compiled once, within it.
_part = njit(nogil=True, cache=True, forceinline=True)


class Sums(NamedTuple):
    """The instructions, and the factors of samples of their sums.

    Attributes
    ----------
    instructions, places : ndarray of int (instructions, 10), (instructions, 6)
        See `Program`.
    shared : bool
        Whether all samples share their factors.
    rows, columns : ndarray (rows, factors, 2), (factors, 2, columns)
        The factors of samples; where all share them, one row of their squares, and of nothing.
    """

    instructions: NDArray[np.int64]
    places: NDArray[np.int64]
    shared: bool
    rows: Array
    columns: Array


class Part(NamedTuple):
    """Which pairs: the first of their rows, how many there are, and the same of the columns.

    Numbers without a sign: of a sum of others no compiler knows that it is not counted from the
    end.
    """

    row: np.uint64
    rows: np.uint64
    first: np.uint64
    width: np.uint64


@_part
def _factors(
    places: Integers, rows: Array, k: int, row: np.uint64, which: tuple[int, int, int]
) -> Factors:
    """Return the factors of a row in a sum, and where those of the columns lie."""
    u, v, c = places[k, which[0]], places[k, which[1]], places[k, which[2]]
    return (
        (rows[row, u, 0], rows[row, u, 1], u),
        (rows[row, v, 0], rows[row, v, 1], v),
        (rows[row, c, 0], rows[row, c, 1], c),
    )


@_part
def _gaps(b: Array, row: int, register: int, j: int) -> Both:
    return b[row, register, 0, j], b[row, register, 1, j]


@_part
def _product(factor: Factor, columns: Array, column: np.uint64, shared: bool) -> Both:
    """Return the product of the factors of both samples, and their difference."""
    high, low, place = factor
    if shared:
        return high, 0.0
    other = columns[place, 0, column]
    return high * other, (high - other) + (low - columns[place, 1, column])


@_part
def _sum_of(
    one: Both,
    other: Both,
    factors: Factors,
    columns: Array,
    column: np.uint64,
    kind: tuple[bool, bool],
) -> Both:
    """Return 1 ∓ cos of a sum of two, and perhaps of a constant, of which these are given.

    The kind is whether all samples share the factors, and whether there is a constant.
    """
    shared, constant = kind
    first, apart = _product(factors[0], columns, column, shared)
    second, other_apart = _product(factors[1], columns, column, shared)
    squares, both = fused(apart, apart, other_apart * other_apart), 0.0
    if constant:
        third, last_apart = _product(factors[2], columns, column, shared)
        squares, both = fused(last_apart, last_apart, squares), 2.0 * third
    chord = 0.5 * squares
    near = fused(first, one[0], fused(second, other[0], chord))
    return near, fused(first, one[1], fused(second, other[1], both + chord))


@_part
def _turned(one: Both, other: Both) -> Both:
    """Return 1 ∓ the product of two cosines."""
    near = 0.5 * fused(one[0], other[1], one[1] * other[0])
    return near, 0.5 * fused(one[0], other[0], one[1] * other[1])


@_part
def _sum_loop(
    b: Array, sums: Sums, k: int, part: Part, turned: bool, kind: tuple[bool, bool]
) -> None:
    """Do as `add_pairs`; whether there is a product is a literal, as is the kind."""
    ops, places, _, rows, columns = sums
    u, v, x, y, slopes, out = (
        ops[k, U],
        ops[k, V],
        ops[k, X],
        ops[k, Y],
        ops[k, SLOPES],
        ops[k, OUT],
    )
    for start in range(np.uint64(0), part.width, _CHUNK):
        stop = min(np.uint64(start + _CHUNK), part.width)
        for i in range(part.rows):
            row = np.uint64(0) if kind[0] else part.row + i
            plain = _factors(places, rows, k, row, _PLAIN)
            others = _factors(places, rows, k, row, _TURNED)
            for j in range(start, stop):
                column = part.first + j
                one, other = _gaps(b, i, u, j), _gaps(b, i, v, j)
                near, far = _sum_of(one, other, plain, columns, column, kind)
                if turned:
                    one, other = _gaps(b, i, x, j), _gaps(b, i, y, j)
                    both = _sum_of(one, other, others, columns, column, kind)
                    product, rest = _turned(both, _gaps(b, i, slopes, j))
                    near += product
                    far += rest
                b[i, out, 0, j], b[i, out, 1, j] = near, far


@_part
def add_pairs(b: Array, sums: Sums, k: int, part: Part) -> None:
    """Write a sum of two registers, and perhaps of the product of two others with slopes."""
    turned, constant = sums.instructions[k, FLAG] == 1, _has_constant(sums, k)
    if sums.shared and turned:
        _sum_loop(b, sums, k, part, True, (True, True))
    elif sums.shared:
        _sum_loop(b, sums, k, part, False, (True, True))
    elif turned and constant:
        _sum_loop(b, sums, k, part, True, (False, True))
    elif turned:
        _sum_loop(b, sums, k, part, True, (False, False))
    elif constant:
        _sum_loop(b, sums, k, part, False, (False, True))
    else:
        _sum_loop(b, sums, k, part, False, (False, False))


@_part
def _has_constant(sums: Sums, k: int) -> bool:
    return bool(sums.places[k, CONSTANT] != 0 or sums.places[k, TURNED_CONSTANT] != 0)


@njit(nogil=True, cache=True, fastmath={"contract"})
def activate_pairs(b: Array, op: Integers, kink: float, part: Part) -> None:
    """Write both gaps of φ and of φ' for an activation with this kink, see `recursion`."""
    u, made, slopes, tangent = op[U], op[OUT], op[SLOPES_OUT], op[FLAG] == 1
    for i in range(part.rows):
        for j in range(part.width):
            found = piecewise_gaps(b[i, u, 0, j], b[i, u, 1, j], kink, tangent)
            b[i, made, 0, j], b[i, made, 1, j] = found[0], found[1]
            if tangent:
                b[i, slopes, 0, j], b[i, slopes, 1, j] = found[2], found[3]


@_part
def _block_loop(
    b: Array, sums: Sums, k: int, part: Part, kink: float, count: int, kind: tuple[bool, bool]
) -> None:
    """Do as `run_block`; the count is a literal, as is the kind: the loop has no branch."""
    ops, places, _, rows, columns = sums
    nodes, gradients = k + count - 2, k + count - 1
    start, hidden, after, made = ops[k, U], ops[nodes, U], ops[nodes, V], ops[nodes, OUT]
    gradient, slopes, turned = ops[gradients, U], ops[gradients, SLOPES], ops[gradients, OUT]
    for begin in range(np.uint64(0), part.width, _CHUNK):
        stop = min(np.uint64(begin + _CHUNK), part.width)
        for i in range(part.rows):
            row = np.uint64(0) if kind[0] else part.row + i
            before = _factors(places, rows, k, row, _PLAIN)
            of_nodes = _factors(places, rows, nodes, row, _PLAIN)
            of_gradients = _factors(places, rows, gradients, row, _PLAIN)
            of_turned = _factors(places, rows, gradients, row, _TURNED)
            for j in range(begin, stop):
                column = part.first + j
                h, g = _gaps(b, i, hidden, j), _gaps(b, i, gradient, j)
                if count > 2:
                    z = _gaps(b, i, start, j)
                    if count > 3:
                        none = (0.0, 2.0)
                        z = _sum_of(z, none, before, columns, column, (kind[0], False))
                    found = piecewise_gaps(z[0], z[1], kink, True)
                    e, slope = (found[0], found[1]), (found[2], found[3])
                else:
                    e, slope = _gaps(b, i, after, j), _gaps(b, i, slopes, j)
                one, other = _sum_of(h, e, of_nodes, columns, column, kind)
                near, far = _sum_of(g, e, of_gradients, columns, column, kind)
                product, rest = _turned(_sum_of(h, g, of_turned, columns, column, kind), slope)
                b[i, made, 0, j], b[i, made, 1, j] = one, other
                b[i, turned, 0, j], b[i, turned, 1, j] = near + product, far + rest


@_part
def run_block(b: Array, sums: Sums, k: int, count: int, part: Part, kink: float) -> None:
    """Do what instructions from the k-th on say that `together` counts, with the same bits.

    They end with the sums for the nodes and for their gradients; before these comes an activation
    with this kink, or none, and before that a sum with a constant, or none.
    """
    if sums.shared:
        _block_loop(b, sums, k, part, kink, 3, (True, True))
    elif count == 4:
        _block_loop(b, sums, k, part, kink, 4, (False, True))
    elif count == 3:
        _block_loop(b, sums, k, part, kink, 3, (False, False))
    elif _has_constant(sums, k) or _has_constant(sums, k + 1):
        _block_loop(b, sums, k, part, kink, 2, (False, True))
    else:
        _block_loop(b, sums, k, part, kink, 2, (False, False))
