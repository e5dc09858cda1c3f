# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pairs through the program of a described network, compiled: a row at a time, in the cache.

At pairs that a closed form leaves close it stops, as `compiled_recursion` does, and at activations
without a compiled loop: some rows then take the same program instruction by instruction, with what
duals make of arrays. Factors that all samples share are those of a sample of norm 1, so that no
tile depends on who else is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np
from numba import njit

from fastntk._support.memory import require_memory
from fastntk.infinite.compiled_recursion import given_array, spread, stacked, swapped
from fastntk.infinite.duals import CompiledDual, Correlation, Gaps, PiecewiseLinear
from fastntk.infinite.duals.closed_form import settle_equal
from fastntk.infinite.duals.compiled import call_loop
from fastntk.infinite.general_recursion import both_gaps
from fastntk.infinite.layered_program import (
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
    SUM,
    SUMS,
    TURNED_CONSTANT,
    WRITE,
    U,
    V,
    X,
    Y,
    is_homogeneous,
    program_of,
    with_pairs_of_sums,
    without_gradients,
)
from fastntk.infinite.pair_layers import piecewise_gaps, sides_of_gap, write_row, write_rows
from fastntk.infinite.sample_norms import Norms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.compiled_recursion import Rows
    from fastntk.infinite.layered_architecture import LayeredArchitecture
    from fastntk.infinite.layered_factors import LayeredFactors
    from fastntk.infinite.layered_program import Program
    from fastntk.infinite.recursion import Position, Target

    Array = NDArray[np.float64]

    # Of the row, and of the columns, each the sum of two numbers.
    Factors: TypeAlias = tuple[float, float, Array, Array]

# Loops go on to the end of so many numbers: what a processor takes at once, two to four times.
_VECTOR = 32

# Of so many samples nobody asks how much memory factors take.
_FEW = 2**12


# In the place of loops: of an activation that is linear on both sides of 0, and of one without.
_PIECEWISE, _NO_LOOP = 0, -1


class Activations(NamedTuple):
    """The activations of a network, in their order.

    Attributes
    ----------
    kinks : ndarray (activations,)
        Those of activations that are linear on both sides of 0.
    loops : ndarray of int (activations,)
        Where the loops of others lie, see `Loop`.
    constants : ndarray (activations, k)
        Those of the loops.
    rows, columns : ndarray (activations, rows, k), (activations, k, columns)
        What the loops need of the samples of the tile; of loops that need less than others, the
        rest is 0.
    """

    kinks: Array
    loops: NDArray[np.int64]
    constants: Array
    rows: Array
    columns: Array


class Network(NamedTuple):
    """A program, and the factors of the samples of a tile.

    Attributes
    ----------
    instructions, places : ndarray of int (instructions, 10), (instructions, 6)
    registers : int
        See `Program`.
    activations : Activations
        The activations.
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
    activations: Activations
    squares: Array
    rows: Array
    columns: Array
    first: int


@dataclass(frozen=True)
class CompiledLayers:
    """A described network, and its samples.

    Attributes
    ----------
    network : LayeredArchitecture
        The network.
    networks : tuple of Network
        Its programs for the NNGP alone, and with the tangent kernel; with all samples as columns,
        and no rows.
    factors : LayeredFactors
        What the samples bring into the recursion.
    """

    network: LayeredArchitecture
    networks: tuple[Network, Network]
    factors: LayeredFactors

    @classmethod
    def of(
        cls, network: LayeredArchitecture, norms: Norms, factors: LayeredFactors
    ) -> CompiledLayers:
        """Return the network with samples of these norms."""
        piecewise = all(isinstance(dual, PiecewiseLinear) for dual in network.duals.values())
        shared = piecewise and is_homogeneous(network)
        if len(norms) > _FEW and not shared:
            first = norms.take(np.array([0])), factors.take(slice(1)).activated
            _require_memory(network, program_of(network, *first, shared=False), len(norms))
        one = Norms(network.inputs, np.array([0.5]), np.array([1]), np.zeros(1))
        program = program_of(network, one if shared else norms, factors.activated, shared=shared)
        columns = np.empty((0, 2, 0)) if shared else _spread(program.factors, len(norms))
        activations = _activations(network, factors)
        networks = []
        for each in map(with_pairs_of_sums, (without_gradients(program), program)):
            squares = np.empty((0, 6))
            if shared:
                squares = np.array([factor[0, 0] for factor in each.factors])[each.places] ** 2
            given = each.instructions, each.places, each.registers, activations, squares
            networks.append(Network(*given, np.empty((0, len(columns), 2)), columns, 0))
        return cls(network, (networks[0], networks[1]), factors)

    def tile(self, part: slice, first: int, *, tangent: bool) -> Rows:
        """Return what takes rows of a tile, those of a part, through the program: see `propagate`.

        The columns begin with the `first` sample.
        """
        network = self._of_rows(part, first, tangent=tangent)
        return lambda gaps, *where: propagate(gaps, network, *where)

    def _of_rows(self, part: slice, first: int, *, tangent: bool) -> Network:
        whole = self.networks[tangent]
        rows = np.ascontiguousarray(np.moveaxis(whole.columns[..., part], -1, 0))
        given = swapped(whole.activations.columns[..., part])
        activations = whole.activations._replace(rows=given)
        return whole._replace(activations=activations, rows=rows, first=first)

    def propagate_arrays(
        self,
        gaps: Array,
        samples: tuple[slice, slice],
        targets: tuple[Target, Target],
        one: float,
        position: Position,
    ) -> None:
        """Do as `propagate` instruction by instruction, for rows and columns of all samples."""
        network = self._of_rows(samples[0], samples[1].start, tangent=len(targets[1].out) > 0)
        sides = [self.factors.take(part) for part in samples]
        duals = [
            (dual, *(side.activated[step].state for side in sides))
            for step, dual in self.network.duals.items()
        ]
        height, columns = gaps.shape
        b = _registers(height, network.registers, columns)
        b[:, INPUTS] = 1.0
        b[:, INPUTS, :, :columns] = np.stack(both_gaps(gaps), axis=1)

        def found(register: int) -> Gaps:
            near, far = np.ascontiguousarray(np.moveaxis(b[:, register, :, :columns], 1, 0))
            return Gaps(near, far)

        for k, op in enumerate(network.instructions):
            if op[KIND] == WRITE:
                write_rows(targets, (found(op[U])[:], found(op[V])[:]), one, position, op[INDEX])
            elif op[KIND] != ACTIVATE or network.activations.loops[op[INDEX]] == _PIECEWISE:
                _run_rows(b, network, k, columns)
            else:
                place, tangent = network.places[k, OF_U], op[FLAG] == 1
                high, low = network.rows[:, place].T[..., np.newaxis]
                others, rests = network.columns[place, :, network.first :][:, :columns]
                pairs = Correlation(found(op[U]), (high - others) + (low - rests))
                dual, x, z = duals[op[INDEX]]
                made, slopes = dual.both_gaps(x, z, pairs, tangent=tangent)
                for register, each in ((op[OUT], made), (op[SLOPES_OUT], slopes)):
                    if each is None:
                        continue
                    if position.diagonal:  # a truncated series leaves more than rounding there
                        np.fill_diagonal(each.near, 0.0)
                        np.fill_diagonal(each.far, 2.0)
                    b[:, register, :, :columns] = np.stack(each, axis=1)


def _activations(network: LayeredArchitecture, factors: LayeredFactors) -> Activations:
    """Return the activations, with what their loops need of all samples as columns."""
    kinks, loops, constants, samples = [], [], [], []
    nothing = np.zeros((1, factors.norms.shape[1]))
    for step, dual in network.duals.items():
        state = factors.activated[step].state
        compiled = isinstance(dual, CompiledDual)
        kinks.append(dual.kink if isinstance(dual, PiecewiseLinear) else 0.0)
        loops.append(_PIECEWISE if isinstance(dual, PiecewiseLinear) else _NO_LOOP)
        if isinstance(dual, CompiledDual):
            loops[-1] = dual.loop.address
        constants.append(given_array(state.constants) if compiled else np.zeros(1))
        samples.append(given_array(state.samples) if compiled else nothing)
    if not any(loops):  # no loop needs anything
        samples = [nothing[:, :0] for _ in loops]
    return Activations(
        np.array(kinks, dtype=np.float64),
        np.array(loops, dtype=np.int64),
        stacked(constants or [np.zeros(1)]),
        np.empty((len(loops), 0, 0)),
        stacked(samples or [nothing]),
    )


def _require_memory(network: LayeredArchitecture, program: Program, n: int) -> None:
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


# Without contractions, see `activate_differences`.
@njit(nogil=True, cache=True)
def _sums(b: Array, ops: NDArray[np.int64], factors: Array, width: int) -> None:
    """Do as `_sum` for two instructions, with the same bits: see `with_pairs_of_sums`."""
    h, e, g, slopes = ops[0, U], ops[0, V], ops[1, U], ops[1, SLOPES]
    out, made = ops[0, OUT], ops[1, OUT]
    a, c, p, q = factors[0, OF_U], factors[0, OF_V], factors[1, OF_U], factors[1, OF_V]
    x, y = 0.5 * factors[1, OF_X], 0.5 * factors[1, OF_Y]
    for j in range(width):
        near, far = x * b[h, 0, j] + y * b[g, 0, j], x * b[h, 1, j] + y * b[g, 1, j]
        product = near * b[slopes, 1, j] + far * b[slopes, 0, j]
        rest = near * b[slopes, 0, j] + far * b[slopes, 1, j]
        one, two = a * b[h, 0, j] + c * b[e, 0, j], a * b[h, 1, j] + c * b[e, 1, j]
        b[made, 0, j] = p * b[g, 0, j] + q * b[e, 0, j] + product
        b[made, 1, j] = p * b[g, 1, j] + q * b[e, 1, j] + rest
        b[out, 0, j], b[out, 1, j] = one, two


# Without contractions, see `activate_differences`.
@njit(nogil=True, cache=True)
def _own_sums(
    b: Array,
    ops: NDArray[np.int64],
    places: NDArray[np.int64],
    sides: tuple[Array, Array, int],
    width: int,
) -> None:
    """Do as `_sums` with factors of samples, see `_own_sum`."""
    h, e, g, slopes = ops[0, U], ops[0, V], ops[1, U], ops[1, SLOPES]
    out, made = ops[0, OUT], ops[1, OUT]
    none = _factors(sides, 0, width)
    nodes = (
        _factors(sides, places[0, OF_U], width),
        _factors(sides, places[0, OF_V], width),
        none,
    )
    gradients = (
        _factors(sides, places[1, OF_U], width),
        _factors(sides, places[1, OF_V], width),
        none,
    )
    turned = (
        _factors(sides, places[1, OF_X], width),
        _factors(sides, places[1, OF_Y], width),
        none,
    )
    for j in range(width):
        one, two = _terms(b, (h, e), nodes, j, False)
        near, far = _terms(b, (g, e), gradients, j, False)
        part, rest = _terms(b, (h, g), turned, j, False)
        near += 0.5 * (part * b[slopes, 1, j] + rest * b[slopes, 0, j])
        far += 0.5 * (part * b[slopes, 0, j] + rest * b[slopes, 1, j])
        b[out, 0, j], b[out, 1, j] = one, two
        b[made, 0, j], b[made, 1, j] = near, far


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
    columns, activations = gaps.shape[1], network.activations
    b = _registers(1, network.registers, columns)[0]
    differences = np.empty(columns)
    for i in range(start, gaps.shape[0]):
        # Samples with themselves, and what lies left of the diagonal, are left out, but for what
        # fills the first vector; the last one is filled as well: no loop of sums has a rest.
        skipped = i + 1 if position.diagonal else 0
        left = skipped // _VECTOR * _VECTOR
        width = (columns - left + _VECTOR - 1) // _VECTOR * _VECTOR
        for j in range(width):
            b[INPUTS, 0, j], b[INPUTS, 1, j] = 1.0, 1.0
        for j in range(skipped, columns):
            b[INPUTS, 0, j - left], b[INPUTS, 1, j - left] = sides_of_gap(gaps[i, j])
        done = 0
        for k in range(len(network.instructions)):
            if k < done:
                continue
            op, index = network.instructions[k], network.instructions[k, INDEX]
            u = _of_pairs(b, op[U], skipped - left, columns - left)
            if op[KIND] == WRITE:
                v = _of_pairs(b, op[V], skipped - left, columns - left)
                write_row(targets, (u, v), one, position, (index, i))
                continue
            if op[KIND] == SUMS:
                _run_both(b, network, (k, i), network.first + left, width)
                done = k + 2
                continue
            if op[KIND] == SUM or activations.loops[index] == _PIECEWISE:
                _run(b, network, (k, i), network.first + left, width)
                continue
            if activations.loops[index] == _NO_LOOP:
                return i
            out = _of_pairs(b, op[OUT], skipped - left, columns - left)
            slopes = _of_pairs(b, op[SLOPES_OUT], skipped - left, columns - left)
            difference, first = differences[skipped:], network.first + skipped
            place = network.places[k, OF_U]
            _subtract(network.rows[i, place], network.columns[place], first, difference)
            given = (
                (*u, difference),
                activations.rows[index, i],
                activations.columns[index],
                first,
                activations.constants[index],
                op[FLAG] == 1,
                (*out, *slopes),
            )
            small = call_loop(activations.loops[index], given)
            if small > 0 and settle_equal((u[0], difference), out, slopes, op[FLAG] == 1) > 0:
                return i
    return len(gaps)


@njit(nogil=True, cache=True)
def _registers(rows: int, registers: int, columns: int) -> Array:
    """Return the registers of rows, of which one holds nothing."""
    b = np.empty((rows, registers, 2, spread(columns + 2 * _VECTOR)))
    b[:, NOTHING, 0], b[:, NOTHING, 1] = 0.0, 2.0
    return b


@njit(inline="always")
def _of_pairs(b: Array, register: int, start: int, stop: int) -> tuple[Array, Array]:
    return b[register, 0, start:stop], b[register, 1, start:stop]


@njit(nogil=True, cache=True)
def _subtract(row: Array, columns: Array, first: int, out: Array) -> None:
    """Write the differences of sizes."""
    high, low = columns[0, first:], columns[1, first:]
    for j in range(len(out)):
        out[j] = (row[0] - high[j]) + (row[1] - low[j])


@njit(inline="always")
def _run(b: Array, network: Network, place: tuple[int, int], first: int, width: int) -> None:
    """Do what an instruction says for a row, their numbers being the place.

    A sum, or an activation that is linear on both sides of 0.
    """
    k, i = place
    op = network.instructions[k]
    if op[KIND] == ACTIVATE:
        kink = network.activations.kinks[op[INDEX]]
        _activate(b, op[U], (op[OUT], op[SLOPES_OUT]), kink, op[FLAG] == 1, width)
    elif len(network.squares) > 0:
        _sum(b, op, network.squares[k], op[FLAG] == 1, width)
    else:
        sides = network.rows[i], network.columns, first
        _own_sum(b, op, network.places[k], sides, op[FLAG] == 1, width)


@njit(inline="always")
def _run_both(b: Array, network: Network, place: tuple[int, int], first: int, width: int) -> None:
    """Do what two instructions say for a row that can be done together: the first, and the next."""
    k, i = place
    if len(network.squares) > 0:
        _sums(b, network.instructions[k : k + 2], network.squares[k : k + 2], width)
    else:
        sides = network.rows[i], network.columns, first
        _own_sums(b, network.instructions[k : k + 2], network.places[k : k + 2], sides, width)


@njit(nogil=True, cache=True)
def _run_rows(b: Array, network: Network, k: int, width: int) -> None:
    for i in range(len(b)):
        _run(b[i], network, (k, i), network.first, width)
