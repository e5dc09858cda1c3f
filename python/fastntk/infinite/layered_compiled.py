# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Pairs through the program of a described network, compiled: a row of pairs at a time.

It does as `layered_recursion` does, with the same compiled steps, while the row is in the cache. At
pairs that a closed form leaves close it stops, see `compiled_recursion`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk.infinite.compiled_recursion import (
    given_array,
    spread,
    spread_rows,
    stacked,
    swapped,
)
from fastntk.infinite.duals import CompiledDual, PiecewiseLinear
from fastntk.infinite.duals.closed_form import settle_equal
from fastntk.infinite.duals.compiled import call_loop
from fastntk.infinite.layered_program import (
    ACTIVATE,
    COMBINE,
    DIFFERENCE_OUT,
    EPSILON,
    FIRST,
    FLAG,
    GRADIENT_OUT,
    INDEX,
    INPUT_DIFFERENCE,
    INPUTS,
    KIND,
    MULTIPLY,
    NO_DIFFERENCE,
    NORMALIZE,
    NOTHING,
    OUT,
    SECOND,
    SLOPES,
    SLOPES_OUT,
    U_DIFFERENCE,
    V_DIFFERENCE,
    U,
    V,
    program_of,
)
from fastntk.infinite.pair_layers import (
    Pairs,
    Side,
    activate_differences,
    piecewise_gaps,
    sides_of_gap,
    weigh_gradients,
    weigh_hidden,
    write_row,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.compiled_recursion import Rows
    from fastntk.infinite.layered_architecture import LayeredArchitecture
    from fastntk.infinite.layered_factors import LayeredFactors
    from fastntk.infinite.layered_program import Program
    from fastntk.infinite.recursion import Position, Target

    Array = NDArray[np.float64]


class Samples(NamedTuple):
    """What samples bring into the program; for the rows of a tile, with the last axes swapped.

    Attributes
    ----------
    inputs : ndarray (2, n)
        Norms of the samples, each the sum of two numbers.
    factors, sizes : ndarray (sums, 5, n), (sums, 3, n)
        See `layered_factors.Sum`.
    norms : ndarray (activations, 3, n)
        √E[φ(su)²], √E[φ'(su)²], and √Θ(x, x) before the activation.
    normalized : ndarray (normalizations, 3, n)
        See `layered_factors.Normalized`.
    samples : ndarray (activations, k, n)
        What the loops need; of loops that need less than others, the rest is 0.
    first : int
        Which of the samples comes first in the tile; 0 for its rows.
    """

    inputs: Array
    factors: Array
    sizes: Array
    norms: Array
    normalized: Array
    samples: Array
    first: int


class Activations(NamedTuple):
    """The activations, in the order of the program.

    Attributes
    ----------
    gains, kinks : ndarray (activations,)
        c_φ, and the kink of those that are linear on both sides of 0.
    loops : ndarray of int (activations,)
        Where the loops of others lie, see `Loop`; 0 for those with a kink.
    constants : ndarray (activations, k)
        Those of the loops.
    """

    gains: Array
    kinks: Array
    loops: NDArray[np.int64]
    constants: Array


@dataclass(frozen=True)
class CompiledLayers:
    """A described network of which all activations have compiled loops, and its samples.

    Attributes
    ----------
    programs : tuple of Program
        For the NNGP alone, and with the tangent kernel.
    activations : Activations
    factors : LayeredFactors
        What the samples bring into the recursion.
    samples : Samples
        The same, as the compiled recursion takes it: all samples, as columns.
    """

    programs: tuple[Program, Program]
    activations: Activations
    factors: LayeredFactors
    samples: Samples

    @classmethod
    def of(cls, network: LayeredArchitecture, factors: LayeredFactors) -> CompiledLayers | None:
        """Return the network, or None if it is another one."""
        duals = [network.duals[step] for step in factors.activated]
        if not all(isinstance(dual, (CompiledDual, PiecewiseLinear)) for dual in duals):
            return None
        states = [each.state for each in factors.activated.values()]
        n = factors.norms.shape[1]
        nothing = np.zeros((1, n))
        loop_samples = stacked(
            [
                given_array(state.samples) if isinstance(dual, CompiledDual) else nothing
                for dual, state in zip(duals, states, strict=True)
            ]
            or [nothing]
        )
        constants = stacked(
            [
                given_array(state.constants) if isinstance(dual, CompiledDual) else nothing[0, :1]
                for dual, state in zip(duals, states, strict=True)
            ]
            or [nothing[0, :1]]
        )
        activations = Activations(
            np.array([network.factor(step) for step in factors.activated], dtype=np.float64),
            np.array(
                [dual.kink if isinstance(dual, PiecewiseLinear) else 0.0 for dual in duals],
                dtype=np.float64,
            ),
            np.array(
                [dual.loop.address if isinstance(dual, CompiledDual) else 0 for dual in duals],
                dtype=np.int64,
            ),
            constants,
        )
        sums, normalized = factors.sums.values(), factors.normalized.values()
        norms = [
            (each.state.activation, each.state.derivative, each.gradients)
            for each in factors.activated.values()
        ]
        samples = Samples(
            spread_rows(factors.norms),
            spread_rows(np.array([each.factors for each in sums]).reshape(-1, 5, n)),
            spread_rows(np.array([each.sizes for each in sums]).reshape(-1, 3, n)),
            spread_rows(np.array(norms).reshape(-1, 3, n)),
            spread_rows(np.array(list(normalized)).reshape(-1, 3, n)),
            loop_samples,
            0,
        )
        programs = tuple(program_of(network, factors, tangent=each) for each in (False, True))
        return cls((programs[0], programs[1]), activations, factors, samples)

    def tile(self, part: slice, first: int, *, tangent: bool) -> Rows:
        """Return what takes rows of a tile, those of a part, through the program: see `propagate`.

        The columns begin with the `first` sample.
        """
        whole, gain = self.samples, self.factors.gain
        rows = Samples._make([*(swapped(each[..., part]) for each in whole[:-1]), 0])
        network = self.programs[tangent], self.activations, rows, whole._replace(first=first)
        return lambda gaps, *where: propagate(gaps, network, gain, *where)


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _enter(
    gaps: Array,
    gain: float,
    row: Array,
    columns: tuple[Array, Array],
    first: int,
    out: tuple[Array, Array, Array],
) -> None:
    """Write what is followed of pairs with these gaps: 1 ∓ cos, and the difference of sizes."""
    near, far, difference = out
    high, low = columns[0][first:], columns[1][first:]
    for j in range(len(gaps)):
        near[j], far[j] = sides_of_gap(gaps[j])
        difference[j] = gain * ((row[0] - high[j]) + (row[1] - low[j]))


# Without contractions, see `activate_differences`.
@njit(nogil=True, cache=True, error_model="numpy")
def _normalize(
    before: tuple[Array, Array],
    numbers: Array,
    row: Array,
    columns: tuple[Array, Array, Array],
    first: int,
    out: tuple[Array, Array],
) -> None:
    """Take differences of sizes through a normalization, see `layered_recursion`."""
    size, divisor, gradients = columns[0][first:], columns[1][first:], columns[2][first:]
    s, q, own = row[0], row[1], row[2]
    epsilon = numbers[EPSILON]
    root = math.sqrt(epsilon)
    between, gradient = before
    for j in range(len(between)):
        difference = numbers[FIRST] * between[j]
        t, p = size[j], divisor[j]
        most, least = max(q, p), min(q, p)
        made = 0.0
        if epsilon > 0.0:
            share = (root / least) * (root / least)
            parts = s / q + t / p
            change = (difference / most) * ((s + t) / most) * share
            made = change / parts if parts > 0.0 else 0.0
            difference = difference * ((s + t) / (q + p))
        other = gradients[j] if q >= p else own
        out[1][j] = (numbers[SECOND] * gradient[j] - other / least * difference) / most
        out[0][j] = made


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _piecewise(
    before: tuple[Array, Array],
    kink: float,
    tangent: bool,
    out: tuple[Array, Array],
    slopes: tuple[Array, Array],
) -> None:
    """Write both gaps of φ and of φ' for an activation with this kink, see `recursion`."""
    near, far = before
    for j in range(len(near)):
        made = piecewise_gaps(near[j], far[j], kink, tangent)
        out[0][j], out[1][j] = made[0], made[1]
        if tangent:
            slopes[0][j], slopes[1][j] = made[2], made[3]


@njit(nogil=True, cache=True, fastmath={"contract"})
def _multiply(
    first: tuple[Array, Array], second: tuple[Array, Array], out: tuple[Array, Array]
) -> None:
    for j in range(len(first[0])):
        near, far = first[0][j], first[1][j]
        out[0][j] = 0.5 * (near * second[1][j] + far * second[0][j])
        out[1][j] = 0.5 * (near * second[0][j] + far * second[1][j])


@njit(nogil=True, cache=True)
def _times(difference: Array, factor: float, scratch: Array) -> Array:
    """Return a multiple of differences, which is written to a row of its own."""
    if factor == 1.0:
        return difference
    for j in range(len(difference)):
        scratch[j] = factor * difference[j]
    return scratch


@njit(nogil=True, cache=True)
def _grow(differences: tuple[Array, Array], factor: float, out: tuple[Array, Array]) -> None:
    for j in range(len(differences[0])):
        out[0][j] = factor * differences[0][j]
        out[1][j] = factor * differences[1][j]


@njit(nogil=True, cache=True)
def _combine(
    pairs: Pairs,
    sides: tuple[Side, Side],
    first: int,
    numbers: Array,
    kind: tuple[bool, bool, bool],
    scratch: Array,
    out: tuple[tuple[Array, Array], Array],
) -> None:
    """Write a direct sum, for which see `layered_recursion`; the second part may be missing.

    The kind says whether it has a constant part, whether the second one is missing, and whether it
    has slopes.
    """
    u, v, slopes, difference, gradient = pairs
    row, columns = sides
    if kind[1]:
        difference = _times(difference, numbers[FIRST], scratch)
        before = Pairs(u, v, slopes, difference, gradient)
        weigh_hidden(before, row, columns, first, Pairs(out[0], v, slopes, out[1], gradient))
        return
    gradient = _times(gradient, numbers[SECOND], scratch)
    before = Pairs(u, v, slopes, difference, gradient)
    after = Pairs(u, out[0], slopes, difference, out[1])
    layer = numbers[FIRST], kind[0], kind[2]
    weigh_gradients(before, row, columns, first, layer, after)


@njit(nogil=True, cache=True)
def propagate(
    gaps: Array,
    network: tuple[Program, Activations, Samples, Samples],
    gain: float,
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
    network : tuple of Program, Activations, Samples, Samples
        The program, and the samples of rows and columns.
    gain : float
        1/√d.
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
        The first row that is not written because it has close pairs, or the number of rows.
    """
    program, activations, rows, columns = network
    b = np.empty((program.registers + 1, 2, spread(gaps.shape[1])))
    for i in range(start, gaps.shape[0]):
        # Samples with themselves, and what lies left of the diagonal, are left out.
        skipped = i + 1 if position.diagonal else 0
        width, first = gaps.shape[1] - skipped, columns.first + skipped
        for j in range(width):
            b[NOTHING, 0, j], b[NOTHING, 1, j], b[NO_DIFFERENCE, 0, j] = 0.0, 2.0, 0.0
        scratch = b[program.registers, 0, :width], b[program.registers, 1, :width]
        entered = b[INPUTS, 0, :width], b[INPUTS, 1, :width], b[INPUT_DIFFERENCE, 0, :width]
        inputs = columns.inputs[0], columns.inputs[1]
        _enter(gaps[i, skipped:], gain, rows.inputs[i], inputs, first, entered)
        for k in range(len(program.instructions)):
            op, numbers = program.instructions[k], program.numbers[k]
            index = op[INDEX]
            u = b[op[U], 0, :width], b[op[U], 1, :width]
            v = b[op[V], 0, :width], b[op[V], 1, :width]
            slopes = b[op[SLOPES], 0, :width], b[op[SLOPES], 1, :width]
            out = b[op[OUT], 0, :width], b[op[OUT], 1, :width]
            slopes_out = b[op[SLOPES_OUT], 0, :width], b[op[SLOPES_OUT], 1, :width]
            difference, gradient = b[op[U_DIFFERENCE], 0, :width], b[op[V_DIFFERENCE], 0, :width]
            difference_out = b[op[DIFFERENCE_OUT], 0, :width]
            gradient_out = b[op[GRADIENT_OUT], 0, :width]
            flag = op[FLAG] == 1
            if op[KIND] == COMBINE:
                sides = (
                    Side(rows.factors[index, i], rows.sizes[index, i]),
                    Side(columns.factors[index], columns.sizes[index]),
                )
                before = Pairs(u, v, slopes, difference, gradient)
                kind = flag, op[V] == NOTHING, op[SLOPES] != NOTHING
                made = out, difference_out
                _combine(before, sides, first, numbers, kind, scratch[0], made)
            elif op[KIND] == ACTIVATE:
                difference = _times(difference, numbers[FIRST], scratch[0])
                gradient = _times(gradient, numbers[SECOND], scratch[1])
                norms = rows.norms[index, i]
                both, made_both = (difference, gradient), (difference_out, gradient_out)
                if activations.loops[index] == 0:
                    _piecewise(u, activations.kinks[index], flag, out, slopes_out)
                    _grow(both, activations.gains[index] * norms[1], made_both)
                    continue
                given = (
                    (*u, difference),
                    rows.samples[index, i],
                    columns.samples[index],
                    first,
                    activations.constants[index],
                    flag,
                    (*out, *slopes_out),
                )
                small = call_loop(activations.loops[index], given)
                if small > 0 and settle_equal((u[0], difference), out, slopes_out, flag) > 0:
                    return i
                others = columns.norms[index], columns.norms[index, 2]
                activate_differences(
                    both, (norms, norms[2]), others, first, activations.gains[index], made_both
                )
            elif op[KIND] == MULTIPLY:
                _multiply(u, v, out)
            elif op[KIND] == NORMALIZE:
                parts = (
                    columns.normalized[index, 0],
                    columns.normalized[index, 1],
                    columns.normalized[index, 2],
                )
                before_both, after_both = (difference, gradient), (difference_out, gradient_out)
                row_parts = rows.normalized[index, i]
                _normalize(before_both, numbers, row_parts, parts, first, after_both)
            else:
                write_row(targets, (u, v), one, position, (index, i))
    return len(gaps)
