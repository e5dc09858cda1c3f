# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pairs through the program of a network of `piecewise_program`, compiled: a row at a time.

Factors that all samples share are those of a sample of norm 1, so that no tile depends on who else
is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numba import njit

from fastntk._support.memory import require_memory
from fastntk.infinite.compiled_recursion import spread
from fastntk.infinite.duals import PiecewiseLinear
from fastntk.infinite.pair_layers import piecewise_gaps, sides_of_gap, write_row
from fastntk.infinite.piecewise_program import (
    ACTIVATE,
    CONSTANT,
    FLAG,
    INDEX,
    INPUTS,
    KIND,
    NOTHING,
    OF_U,
    OF_V,
    OF_X,
    OF_Y,
    OUT,
    SLOPES,
    SLOPES_OUT,
    TURNED_CONSTANT,
    WRITE,
    U,
    V,
    X,
    Y,
    is_homogeneous,
    program_of,
    without_gradients,
)
from fastntk.infinite.sample_norms import Norms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.compiled_recursion import Rows
    from fastntk.infinite.layered_architecture import LayeredArchitecture
    from fastntk.infinite.layered_factors import LayeredFactors
    from fastntk.infinite.piecewise_program import PiecewiseProgram
    from fastntk.infinite.recursion import Position, Target

    Array = NDArray[np.float64]

    # Of the row, and of the columns, each the sum of two numbers.
    Factors: TypeAlias = tuple[float, float, Array, Array]

# Loops go on to the end of so many numbers: what a processor takes at once, two to four times.
_VECTOR = 32

# Of so many samples nobody asks how much memory factors take.
_FEW = 2**12


class Network(NamedTuple):
    """A program, and the factors of the samples of a tile.

    Attributes
    ----------
    instructions, places : ndarray of int (instructions, 10), (instructions, 6)
    registers : int
        See `PiecewiseProgram`.
    kinks : ndarray (activations,)
        Those of the activations.
    squares : ndarray (instructions, 6)
        Squares of the factors where all samples share them; nothing otherwise.
    rows, columns : ndarray (rows, factors, 2), (factors, 2, columns)
        The factors of all samples otherwise.
    first : int
        Which of the columns comes first in the tile.
    """

    instructions: NDArray[np.int64]
    places: NDArray[np.int64]
    registers: int
    kinks: Array
    squares: Array
    rows: Array
    columns: Array
    first: int


@dataclass(frozen=True)
class PiecewiseLayers:
    """A described network of activations that are linear on both sides of 0, and its samples.

    Attributes
    ----------
    networks : tuple of Network
        For the NNGP alone, and with the tangent kernel; with all samples as columns, and no rows.
    factors : LayeredFactors
        What the samples bring into the recursion: the scales of the kernels.
    """

    networks: tuple[Network, Network]
    factors: LayeredFactors

    @classmethod
    def of(
        cls, network: LayeredArchitecture, norms: Norms, factors: LayeredFactors
    ) -> PiecewiseLayers | None:
        """Return the network, or None if it is another one."""
        duals = network.duals.values()
        kinks = np.array([each.kink for each in duals if isinstance(each, PiecewiseLinear)])
        if len(kinks) < len(duals):
            return None
        shared = is_homogeneous(network)
        one = Norms(network.inputs, np.array([0.5]), np.array([1]), np.zeros(1))
        if len(norms) > _FEW and not shared:
            _require_memory(network, program_of(network, one, shared=False), len(norms))
        program = program_of(network, one if shared else norms, shared=shared)
        columns = np.empty((0, 2, 0)) if shared else _spread(program.factors, len(norms))
        networks = []
        for each in (without_gradients(program), program):
            squares = np.empty((0, 6))
            if shared:
                squares = np.array([factor[0, 0] for factor in each.factors])[each.places] ** 2
            given = each.instructions, each.places, each.registers, kinks, squares
            networks.append(Network(*given, np.empty((0, len(columns), 2)), columns, 0))
        return cls((networks[0], networks[1]), factors)

    def tile(self, part: slice, first: int, *, tangent: bool) -> Rows:
        """Return what takes rows of a tile, those of a part, through the program: see `propagate`.

        The columns begin with the `first` sample.
        """
        whole = self.networks[tangent]
        rows = np.ascontiguousarray(np.moveaxis(whole.columns[..., part], -1, 0))
        network = whole._replace(rows=rows, first=first)
        return lambda gaps, *where: propagate(gaps, network, *where)


def _require_memory(network: LayeredArchitecture, program: PiecewiseProgram, n: int) -> None:
    """Raise MemoryError if the factors of n samples, and a copy, do not fit."""
    require_memory(
        2 * 16 * n * len(program.factors),
        f"blocks={network.depths[-1]}: {n} samples at all layers",
        "take fewer samples or layers",
    )


def _spread(factors: list[Array], n: int) -> Array:
    """Return the factors of n samples as one array, which goes on with zeros."""
    result = np.zeros((len(factors), 2, spread(n + _VECTOR)))
    for whole, part in zip(result, factors, strict=True):
        whole[:, :n] = part
    return result


# Without contractions, see `activate_differences`.
@njit(nogil=True, cache=True)
def _sum(b: Array, op: Array, factors: Array, turned: bool, width: int) -> None:
    """Write a sum of two registers, and perhaps of the product of two others with slopes.

    The factors are those that all samples share: their squares.
    """
    u, v, out = op[U], op[V], op[OUT]
    a, c, constant = factors[OF_U], factors[OF_V], 2.0 * factors[CONSTANT]
    if not turned:
        for j in range(width):
            b[out, 0, j] = a * b[u, 0, j] + c * b[v, 0, j]
            b[out, 1, j] = a * b[u, 1, j] + c * b[v, 1, j] + constant
        return
    x, y, slopes = op[X], op[Y], op[SLOPES]
    d, e, other = 0.5 * factors[OF_X], 0.5 * factors[OF_Y], factors[TURNED_CONSTANT]
    for j in range(width):
        near = d * b[x, 0, j] + e * b[y, 0, j]
        far = d * b[x, 1, j] + e * b[y, 1, j] + other
        product = near * b[slopes, 1, j] + far * b[slopes, 0, j]
        rest = near * b[slopes, 0, j] + far * b[slopes, 1, j]
        b[out, 0, j] = a * b[u, 0, j] + c * b[v, 0, j] + product
        b[out, 1, j] = a * b[u, 1, j] + c * b[v, 1, j] + constant + rest


@njit(inline="always")
def _factors(sides: tuple[Array, Array, int], place: int, width: int) -> Factors:
    """Return a factor of the row, and those of the columns: slices, which are read in vectors."""
    row, columns, first = sides
    stop = first + width
    return (
        row[place, 0],
        row[place, 1],
        columns[place, 0, first:stop],
        columns[place, 1, first:stop],
    )


@njit(inline="always")
def _both(factor: Factors, j: int) -> tuple[float, float]:
    """Return the product of both factors, and the square of their difference."""
    high, low, others, rests = factor
    difference = (high - others[j]) + (low - rests[j])
    return high * others[j], difference * difference


@njit(inline="always")
def _terms(
    b: Array,
    registers: tuple[int, int],
    factors: tuple[Factors, Factors, Factors],
    j: int,
    constant: bool,
) -> tuple[float, float]:
    """Return what two registers, and perhaps a constant, add to 1 − cos and 1 + cos."""
    u, v = registers
    first, square = _both(factors[0], j)
    second, other = _both(factors[1], j)
    squares = square + other
    same = first * b[u, 1, j] + second * b[v, 1, j]
    if constant:
        third, last = _both(factors[2], j)
        squares += last
        same += 2.0 * third
    chord = 0.5 * squares
    return first * b[u, 0, j] + second * b[v, 0, j] + chord, same + chord


@njit(inline="always")
def _own_sum_of(
    b: Array,
    op: Array,
    places: Array,
    sides: tuple[Array, Array, int],
    width: int,
    turned: bool,
    constant: bool,
) -> None:
    """Do as `_own_sum`, for sums with and without products and constants."""
    out, slopes = op[OUT], op[SLOPES]
    plain, others = (op[U], op[V]), (op[X], op[Y])
    factors = (
        _factors(sides, places[OF_U], width),
        _factors(sides, places[OF_V], width),
        _factors(sides, places[CONSTANT], width),
    )
    of_others = (
        _factors(sides, places[OF_X], width),
        _factors(sides, places[OF_Y], width),
        _factors(sides, places[TURNED_CONSTANT], width),
    )
    for j in range(width):
        near, far = _terms(b, plain, factors, j, constant)
        if turned:
            part, rest = _terms(b, others, of_others, j, constant)
            near += 0.5 * (part * b[slopes, 1, j] + rest * b[slopes, 0, j])
            far += 0.5 * (part * b[slopes, 0, j] + rest * b[slopes, 1, j])
        b[out, 0, j] = near
        b[out, 1, j] = far


# Without contractions, see `activate_differences`.
@njit(nogil=True, cache=True)
def _own_sum(
    b: Array, op: Array, places: Array, sides: tuple[Array, Array, int], turned: bool, width: int
) -> None:
    """Do as `_sum` with factors of samples: (factors, 2) of the row, (factors, 2, n) of columns.

    The last of the sides is the first of the columns.
    """
    # Each a loop of its own, which reads no factors that are 0.
    constant = places[CONSTANT] != 0 or places[TURNED_CONSTANT] != 0
    if turned and constant:
        _own_sum_of(b, op, places, sides, width, True, True)
    elif turned:
        _own_sum_of(b, op, places, sides, width, True, False)
    elif constant:
        _own_sum_of(b, op, places, sides, width, False, True)
    else:
        _own_sum_of(b, op, places, sides, width, False, False)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _activate(
    b: Array, u: int, out: tuple[int, int], kink: float, tangent: bool, width: int
) -> None:
    """Write both gaps of φ and of φ' for an activation with this kink, see `recursion`."""
    made, slopes = out
    for j in range(width):
        found = piecewise_gaps(b[u, 0, j], b[u, 1, j], kink, tangent)
        b[made, 0, j], b[made, 1, j] = found[0], found[1]
        if tangent:
            b[slopes, 0, j], b[slopes, 1, j] = found[2], found[3]


@njit(nogil=True, cache=True)
def propagate(
    gaps: Array,
    network: Network,
    targets: tuple[Target, Target],
    one: float,
    position: Position,
    start: int,
) -> int:
    """Take rows of a tile of pairs through the program and write what is asked for at each depth.

    Parameters
    ----------
    gaps : ndarray (rows, columns)
        Gaps of the inputs, with a sign.
    network : Network
        The program, for the samples of the tile.
    targets : tuple of Target
        Where the two kernels go, NNGP and NTK, with the scales of the samples of the tile.
    one : float
        See `Target`.
    position : Position
        Where the tile lies.
    start : int
        The first row.

    Returns
    -------
    int
        The number of rows.
    """
    columns = gaps.shape[1]
    b = np.empty((network.registers, 2, spread(columns + 2 * _VECTOR)))
    b[NOTHING, 0], b[NOTHING, 1] = 0.0, 2.0
    for i in range(start, gaps.shape[0]):
        # Samples with themselves, and what lies left of the diagonal, are left out, but for what
        # fills the first vector; the last one is filled as well: no loop has a rest.
        skipped = i + 1 if position.diagonal else 0
        left = skipped // _VECTOR * _VECTOR
        width = (columns - left + _VECTOR - 1) // _VECTOR * _VECTOR
        for j in range(width):
            b[INPUTS, 0, j], b[INPUTS, 1, j] = 1.0, 1.0
        for j in range(skipped, columns):
            b[INPUTS, 0, j - left], b[INPUTS, 1, j - left] = sides_of_gap(gaps[i, j])
        for k in range(len(network.instructions)):
            op = network.instructions[k]
            flag = op[FLAG] == 1
            if op[KIND] == ACTIVATE:
                out = op[OUT], op[SLOPES_OUT]
                _activate(b, op[U], out, network.kinks[op[INDEX]], flag, width)
            elif op[KIND] == WRITE:
                u = b[op[U], 0, skipped - left : columns - left]
                v = b[op[U], 1, skipped - left : columns - left]
                x = b[op[V], 0, skipped - left : columns - left]
                y = b[op[V], 1, skipped - left : columns - left]
                write_row(targets, ((u, v), (x, y)), one, position, (op[INDEX], i))
            elif len(network.squares) > 0:
                _sum(b, op, network.squares[k], flag, width)
            else:
                sides = network.rows[i], network.columns, network.first + left
                _own_sum(b, op, network.places[k], sides, flag, width)
    return len(gaps)
