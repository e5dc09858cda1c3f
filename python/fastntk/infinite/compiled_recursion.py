# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The recursion over the layers for activations with compiled loops, compiled itself.

It does as `general_recursion` does, with the same compiled steps, a row of a tile at a time, while
it is in the cache. At pairs that a closed form leaves close it stops: their digits take the careful
formulas of `general_recursion`, which no loop over all pairs needs.

**Cost** of a pair and layer, for a cosine as the activation: two exponentials of 16 operations,
some 20 more for both expectations (of φ and of φ', which the tangent kernel needs) and for what
sets small gaps apart; 5 for the differences of norms; a division and 36 for the gaps of gradients;
and about 40 numbers, read or written, of rows that are in the second-level cache: two thirds of the
time is arithmetic. Kernels without gaps and differences, which lose half the digits of close pairs,
take the same functions and some ten operations. Samples of one norm take another way, see
`angle_series`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk.infinite.duals import CompiledDual
from fastntk.infinite.duals.closed_form import settle_equal
from fastntk.infinite.duals.compiled import call_loop
from fastntk.infinite.pair_layers import (
    ZERO,
    Pairs,
    Side,
    activate_differences,
    sides_of_gap,
    stack_sizes,
    weigh_gradients,
    weigh_hidden,
    write_row,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fastntk.infinite.architecture import Architecture
    from fastntk.infinite.layer_factors import LayerFactors
    from fastntk.infinite.recursion import Position, Target

    Array = NDArray[np.float64]

    # Takes gaps, targets, `one`, the position and the first row; returns where it has stopped.
    Rows = Callable[[Array, tuple[Target, Target], float, Position, int], int]


class Samples(NamedTuple):
    """What samples bring into the recursion; for the rows of a tile, with the last axes swapped.

    Attributes
    ----------
    inputs : ndarray (2, n)
        Norms of the samples, each the sum of two numbers.
    factors : ndarray (layers, 5, n)
        r, p, A, B, C.
    sizes : ndarray (layers, 3, n)
        s, √Θ(x, x) and its reciprocal.
    norms : ndarray (layers − 1, 2, n)
        √E[φ(su)²] and √E[φ'(su)²].
    samples : ndarray (layers − 1, k, n)
        What the loops need; of loops that need less than others, the rest is 0.
    first : int
        Which of the samples comes first in the tile; 0 for its rows.
    """

    inputs: Array
    factors: Array
    sizes: Array
    norms: Array
    samples: Array
    first: int


class Layers(NamedTuple):
    """The layers.

    Attributes
    ----------
    gain : float
        By what the first layer multiplies norms.
    gains : ndarray (layers − 1,)
        By what the others multiply activations.
    rates, biases : ndarray (layers,)
        √ω^W, and σ_b.
    loops : ndarray of int (layers − 1,)
        Where the loops lie, see `Loop`.
    constants : ndarray (layers − 1, k)
        Those of the loops; likewise.
    depths : ndarray of int (depths,)
        The depths at which kernels are wanted, ascending.
    """

    gain: float
    gains: Array
    rates: Array
    biases: Array
    loops: NDArray[np.int64]
    constants: Array
    depths: NDArray[np.int64]


@njit(nogil=True, cache=True)
def spread(n: int) -> int:
    """Return how long rows of n numbers, or a few more, lie farther apart than a cache likes.

    An odd number of lines of 8: rows that a loop reads side by side begin in different sets of the
    nearest cache, where a power of two would have all of them in one, and drive each other out.
    """
    return n + (8 - n) % 16


@dataclass(frozen=True)
class CompiledNetwork:
    """A network of which all activations have compiled loops, and its samples.

    Attributes
    ----------
    layers : Layers
        The layers.
    factors : LayerFactors
        What the samples bring into the recursion.
    samples : Samples
        The same, as the compiled recursion takes it: all samples, as columns.
    """

    layers: Layers
    factors: LayerFactors
    samples: Samples

    @classmethod
    def of(cls, network: Architecture, factors: LayerFactors) -> CompiledNetwork | None:
        """Return the network, or None if it is another one."""
        duals = [dual for dual in network.layers.duals if isinstance(dual, CompiledDual)]
        sizes = factors.sizes
        if sizes is None or len(duals) < len(network.layers.duals) or not duals:
            return None
        layers = Layers(
            sizes.gain,
            np.array([network.layers.gain(hidden) for hidden in range(len(duals))]),
            np.ascontiguousarray(sizes.rates, dtype=np.float64),
            np.array(network.layers.bias_std, dtype=np.float64),
            np.array([dual.loop.address for dual in duals]),
            stacked([given_array(state.constants) for state in factors.states]),
            np.array(network.depths),
        )
        loop_samples = stacked([given_array(state.samples) for state in factors.states])
        # The states share them: there may be much of it.
        states = tuple(
            replace(state, samples=part[: len(given_array(state.samples)), : len(state.deviation)])
            for state, part in zip(factors.states, loop_samples, strict=True)
        )
        samples = Samples(
            spread_rows(sizes.norms),
            spread_rows(factors.factors),
            spread_rows(stack_sizes(sizes.hidden, sizes.gradients)),
            spread_rows(np.array([(state.activation, state.derivative) for state in states])),
            loop_samples,
            0,
        )
        return cls(layers, replace(factors, states=states), samples)

    def tile(self, part: slice, first: int, *, tangent: bool) -> Rows:  # noqa: ARG002
        """Return what takes rows of a tile, those of a part, through the layers: see `propagate`.

        The columns begin with the `first` sample.
        """
        whole = self.samples
        rows = Samples._make([*(swapped(each[..., part]) for each in whole[:-1]), 0])
        network = self.layers, rows, whole._replace(first=first)
        return lambda gaps, *where: propagate(gaps, network, *where)


def swapped(array: Array) -> Array:
    """Return the same with the last two axes swapped, in one piece."""
    return np.ascontiguousarray(array.swapaxes(-1, -2))


def given_array(array: Array | None) -> Array:
    """Return an array of a state that loops take."""
    assert array is not None
    return array


def stacked(arrays: list[Array]) -> Array:
    """Return arrays as parts of one, with zeros after the shorter ones, and rows `spread`."""
    width = [spread(n) for n in arrays[0].shape[1:]]
    result = np.zeros((len(arrays), max(map(len, arrays)), *width))
    for whole, part in zip(result, arrays, strict=True):
        whole[tuple(slice(n) for n in part.shape)] = part
    return result


def spread_rows(array: Array) -> Array:
    """Return an array with rows `spread`, which end with zeros."""
    result = np.zeros((*array.shape[:-1], spread(array.shape[-1])))
    result[..., : array.shape[-1]] = array
    return result


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _enter(
    gaps: Array,
    rates: tuple[float, float],
    row: Array,
    columns: tuple[Array, Array],
    first: int,
    out: Pairs,
) -> None:
    """Write what is followed of pairs with these gaps.

    The rates are by what the first layer multiplies norms, and √ω^W where it has no biases: the
    gradients after it are then the samples. With biases, that is 0, and there are none yet.
    """
    gain, rate = rates
    entered = rate > 0.0
    near, far = out.hidden
    gradient_near, gradient_far = out.gradients
    slope_near, slope_far = out.slopes
    high, low = columns[0][first:], columns[1][first:]
    for j in range(len(gaps)):
        near[j], far[j] = sides_of_gap(gaps[j])
        size = gain * ((row[0] - high[j]) + (row[1] - low[j]))
        out.size_difference[j], out.gradient_difference[j] = size, rate * size
        gradient_near[j] = near[j] if entered else 0.0
        gradient_far[j] = far[j] if entered else 2.0
        slope_near[j], slope_far[j] = 0.0, 2.0


@njit(nogil=True, cache=True)
def propagate(
    gaps: Array,
    network: tuple[Layers, Samples, Samples],
    targets: tuple[Target, Target],
    one: float,
    position: Position,
    start: int,
) -> int:
    """Take rows of a tile of pairs through all layers and write what is asked for at each depth.

    Parameters
    ----------
    gaps : ndarray (rows, columns)
        Gaps of the inputs, with a sign.
    network : tuple of Layers, Samples, Samples
        The layers, and the samples of rows and columns.
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
    layers, rows, columns = network
    tangent = len(targets[1].out) > 0
    b = np.empty((14, spread(gaps.shape[1])))
    for i in range(start, gaps.shape[0]):
        # Samples with themselves, and what lies left of the diagonal, are left out.
        skipped = i + 1 if position.diagonal else 0
        width, first = gaps.shape[1] - skipped, columns.first + skipped
        slopes = b[0, :width], b[1, :width]
        pairs = Pairs(
            (b[2, :width], b[3, :width]),
            (b[4, :width], b[5, :width]),
            slopes,
            b[6, :width],
            b[7, :width],
        )
        # Where the next values go: no loop overwrites what it reads.
        hidden, gradients = (b[8, :width], b[9, :width]), (b[10, :width], b[11, :width])
        size, gradient = b[12, :width], b[13, :width]
        inputs = columns.inputs[0], columns.inputs[1]
        entering = layers.gain, layers.rates[0] if layers.biases[0] == 0.0 else 0.0
        _enter(gaps[i, skipped:], entering, rows.inputs[i], inputs, first, pairs)
        k = ZERO
        for layer in range(layers.depths[-1] + 1):
            if layer > 0:
                given = (
                    (*pairs.hidden, pairs.size_difference),
                    rows.samples[layer - 1, i],
                    columns.samples[layer - 1],
                    first,
                    layers.constants[layer - 1],
                    tangent,
                    (*hidden, *slopes),
                )
                small = call_loop(layers.loops[layer - 1], given)
                before = pairs.hidden[0], pairs.size_difference
                if small > 0 and settle_equal(before, hidden, slopes, tangent) > 0:
                    return i
                activate_differences(
                    (pairs.size_difference, pairs.gradient_difference),
                    (rows.norms[layer - 1, i], rows.sizes[layer - 1, i, 1]),
                    (columns.norms[layer - 1], columns.sizes[layer - 1, 1]),
                    first,
                    layers.gains[layer - 1],
                    (size, gradient),
                )
                after = Pairs(hidden, pairs.gradients, slopes, size, gradient)
                hidden, size, gradient = (
                    pairs.hidden,
                    pairs.size_difference,
                    pairs.gradient_difference,
                )
                pairs = after
            row = Side(rows.factors[layer, i], rows.sizes[layer, i])
            column = Side(columns.factors[layer], columns.sizes[layer])
            biased = layers.biases[layer] > 0.0
            after = pairs
            if biased:
                after = Pairs(hidden, after.gradients, slopes, size, after.gradient_difference)
                weigh_hidden(pairs, row, column, first, after)
            if tangent and (biased or layer > 0):
                after = Pairs(after.hidden, gradients, slopes, after.size_difference, gradient)
                weigh_gradients(
                    pairs, row, column, first, (layers.rates[layer], biased, tangent), after
                )
                gradients, gradient = pairs.gradients, pairs.gradient_difference
            if biased:
                hidden, size = pairs.hidden, pairs.size_difference
            pairs = after
            if layers.depths[k] == layer:
                write_row(targets, (pairs.hidden, pairs.gradients), one, position, (k, i))
                k += 1
    return len(gaps)
