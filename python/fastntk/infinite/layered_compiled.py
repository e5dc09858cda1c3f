# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pairs through the program of a described network, compiled: a few rows at a time, in the cache.

At pairs that a closed form leaves close it stops, as `compiled_recursion` does, and at activations
without a compiled loop: some rows then take the same program instruction by instruction, with what
duals make of arrays. Factors that all samples share are those of a sample of norm 1, so that no
tile depends on who else is there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk._support.memory import require_memory
from fastntk.infinite.compiled_recursion import given_array, spread, stacked, swapped
from fastntk.infinite.duals import CompiledDual, Correlation, Gaps, PiecewiseLinear
from fastntk.infinite.duals.closed_form import settle_equal
from fastntk.infinite.duals.compiled import call_loop
from fastntk.infinite.general_recursion import both_gaps
from fastntk.infinite.layered_loops import Part, Sums, activate_pairs, add_pairs, run_block
from fastntk.infinite.layered_program import (
    ACTIVATE,
    FLAG,
    INDEX,
    INPUTS,
    KIND,
    NOTHING,
    OF_U,
    OUT,
    SLOPES_OUT,
    SUM,
    WRITE,
    U,
    V,
)
from fastntk.infinite.layered_recorder import programs_of
from fastntk.infinite.pair_layers import ZERO, sides_of_gap, write_row, write_rows
from fastntk.infinite.sample_norms import Norms

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.compiled_recursion import Rows
    from fastntk.infinite.layered_architecture import LayeredArchitecture
    from fastntk.infinite.layered_factors import LayeredFactors
    from fastntk.infinite.layered_program import Program
    from fastntk.infinite.recursion import Position, Target

    Array = NDArray[np.float64]

# Loops go on to the end of so many numbers: what a processor takes at once, two to four times.
_VECTOR = 32

# Rows that take each instruction together: they read the factors of the columns from a near cache.
_ROWS = 4

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
    """A program, and the samples of a tile.

    Attributes
    ----------
    sums : Sums
        The instructions, and the factors of the samples.
    together : ndarray of int (instructions,)
    registers : int
        See `Program`.
    activations : Activations
        The activations.
    first : int
        Which of the columns comes first in the tile.
    """

    sums: Sums
    together: NDArray[np.int64]
    registers: int
    activations: Activations
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
        programs = network.shared_programs
        shared = programs is not None
        if programs is None:
            given = network.steps, network.duals
            states = {step: each.state for step, each in factors.activated.items()}
            if len(norms) > _FEW:
                first = {step: state.take(slice(1)) for step, state in states.items()}
                _, single = programs_of(*given, norms.take(np.array([0])), first)
                _require_memory(network, single, len(norms))
            programs = programs_of(*given, norms, states)
            columns, rows = _spread(programs[1].factors, len(norms)), np.empty((0, 0, 2))
        else:
            rows = np.array([[(factor[0, 0] ** 2, 0.0) for factor in programs[1].factors]])
            columns = np.empty((0, 2, 0))
        activations = _activations(network, factors)
        nngp, both = (
            Network(
                Sums(each.instructions, each.places, shared, rows, columns),
                each.together,
                each.registers,
                activations,
                0,
            )
            for each in programs
        )
        return cls(network, (nngp, both), factors)

    def tile(self, part: slice, first: int, *, tangent: bool) -> Rows:
        """Return what takes rows of a tile, those of a part, through the program: see `propagate`.

        The columns begin with the `first` sample.
        """
        network = self._of_rows(part, first, tangent=tangent)
        return lambda gaps, *where: propagate(gaps, network, *where)

    def _of_rows(self, part: slice, first: int, *, tangent: bool) -> Network:
        whole = self.networks[tangent]
        sums = whole.sums
        if not sums.shared:
            rows = np.ascontiguousarray(np.moveaxis(sums.columns[..., part], -1, 0))
            sums = sums._replace(rows=rows)
        given = swapped(whole.activations.columns[..., part])
        activations = whole.activations._replace(rows=given)
        return whole._replace(sums=sums, activations=activations, first=first)

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

        for k, op in enumerate(network.sums.instructions):
            if op[KIND] == WRITE:
                write_rows(targets, (found(op[U])[:], found(op[V])[:]), one, position, op[INDEX])
            elif op[KIND] != ACTIVATE or network.activations.loops[op[INDEX]] == _PIECEWISE:
                _run_rows(b, network, k, columns)
            else:
                place, tangent = network.sums.places[k, OF_U], op[FLAG] == 1
                high, low = network.sums.rows[:, place].T[..., np.newaxis]
                others, rests = network.sums.columns[place, :, network.first :][:, :columns]
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
    rows, columns = gaps.shape
    activations, sums = network.activations, network.sums
    b = _registers(min(_ROWS, rows - start), network.registers, columns)
    differences = np.empty(columns)
    for i in range(start, rows, _ROWS):
        group = range(min(_ROWS, rows - i))
        # Samples with themselves, and what lies left of the diagonal, are left out, but for what
        # fills the first vector; the last one is filled as well: no loop of sums has a rest.
        left = _skipped(i, position) // _VECTOR * _VECTOR
        width = (columns - left + _VECTOR - 1) // _VECTOR * _VECTOR
        for row in group:
            skipped = _skipped(i + row, position)
            _enter(gaps[i + row, skipped:], b[row, INPUTS, :, :width], skipped - left)
        k = ZERO
        while k < len(sums.instructions):
            op, place = sums.instructions[k], sums.places[k, OF_U]
            kind, index, tangent = op[KIND], op[INDEX], op[FLAG] == 1
            linear = kind == ACTIVATE and activations.loops[index] == _PIECEWISE
            if kind == SUM or linear:
                part = _part(i, len(group), network.first + left, width)
                _run(b, sums, activations.kinks, int(k), int(network.together[k]), part)
                k += network.together[k]
                continue
            for row in group:
                skipped = _skipped(i + row, position)
                u = _of_pairs(b[row], op[U], skipped - left, columns - left)
                if kind == WRITE:
                    v = _of_pairs(b[row], op[V], skipped - left, columns - left)
                    write_row(targets, (u, v), one, position, (index, i + row))
                    continue
                if activations.loops[index] == _NO_LOOP:
                    return i
                out = _of_pairs(b[row], op[OUT], skipped - left, columns - left)
                slopes = _of_pairs(b[row], op[SLOPES_OUT], skipped - left, columns - left)
                difference, first = differences[skipped:], network.first + skipped
                _subtract(sums.rows[i + row, place], sums.columns[place], first, difference)
                given = (
                    (*u, difference),
                    activations.rows[index, i + row],
                    activations.columns[index],
                    first,
                    activations.constants[index],
                    tangent,
                    (*out, *slopes),
                )
                small = call_loop(activations.loops[index], given)
                if small > 0 and settle_equal((u[0], difference), out, slopes, tangent) > 0:
                    return i
            k += network.together[k]
    return len(gaps)


@njit(nogil=True, cache=True)
def _enter(gaps: Array, inputs: Array, first: int) -> None:
    """Write the gaps of a row of inputs from the first place on, and others around them."""
    inputs[:] = 1.0
    for j in range(len(gaps)):
        inputs[0, first + j], inputs[1, first + j] = sides_of_gap(gaps[j])


@njit(inline="always")
def _skipped(row: int, position: Position) -> int:
    """Return how many columns a row has that are left out."""
    return row + 1 if position.diagonal else 0


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


@njit(nogil=True, cache=True)
def _run(b: Array, sums: Sums, kinks: Array, k: int, count: int, part: Part) -> None:
    """Do what so many instructions from the k-th on say for some rows.

    They are sums, and activations that are linear on both sides of 0. A call counts the references
    to each array that it is given: this is given few, and called once a block.
    """
    if count > 1:
        activation = k + max(count - 3, 0)  # the third last of them, if there is one
        run_block(b, sums, k, count, part, kinks[sums.instructions[activation, INDEX]])
    elif sums.instructions[k, KIND] == ACTIVATE:
        op = sums.instructions[k]
        activate_pairs(b, op, kinks[op[INDEX]], part)
    else:
        add_pairs(b, sums, k, part)


@njit(inline="always")
def _part(i: int, rows: int, first: int, width: int) -> Part:
    return Part(np.uint64(i), np.uint64(rows), np.uint64(first), np.uint64(width))


@njit(nogil=True, cache=True)
def _run_rows(b: Array, network: Network, k: int, width: int) -> None:
    part = _part(0, len(b), network.first, width)
    _run(b, network.sums, network.activations.kinks, k, 1, part)
