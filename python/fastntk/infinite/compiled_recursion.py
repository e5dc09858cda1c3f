# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The recursion over the layers for activations with compiled loops, compiled itself.

It does as `general_recursion` does, with the same compiled steps, a row of a tile at a time, while
it is in the cache. At pairs that a closed form leaves close it stops: their digits take the careful
formulas of `general_recursion`, which no loop over all pairs needs.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk.infinite.duals import CompiledDual
from fastntk.infinite.duals.closed_form import settle_equal
from fastntk.infinite.duals.compiled import call_loop
from fastntk.infinite.gaps import TINY
from fastntk.infinite.pair_layers import (
    Pairs,
    Side,
    activate_differences,
    weigh_gradients,
    weigh_hidden,
    write_row,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.architecture import Architecture
    from fastntk.infinite.layer_factors import LayerFactors
    from fastntk.infinite.recursion import Position, Target

    Array = NDArray[np.float64]


class Samples(NamedTuple):
    """What the samples of a tile bring into the recursion; of those of rows, sizes are swapped.

    Attributes
    ----------
    inputs : ndarray (2, n)
        Norms of the samples, each the sum of two numbers.
    factors : ndarray (layers, 5, n)
        r, p, A, B, C.
    sizes : ndarray (layers, 2, n)
        s and √Θ(x, x).
    norms : ndarray (layers − 1, 2, n)
        √E[φ(su)²] and √E[φ'(su)²].
    samples : ndarray (layers − 1, k, n)
        What the loops need; of loops that need less than others, the rest is 0. For columns that
        of all samples, as there may be much of it.
    first : int
        Which of these comes first.
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


@dataclass(frozen=True)
class CompiledNetwork:
    """A network of which all activations have compiled loops, and its samples.

    Attributes
    ----------
    layers : Layers
        The layers.
    factors : LayerFactors
        What the samples bring into the recursion.
    samples : ndarray (layers − 1, k, n)
        What the loops need of all of them, see `Samples`.
    """

    layers: Layers
    factors: LayerFactors
    samples: Array

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
            _stacked([_given(state.constants) for state in factors.states]),
            np.array(network.depths),
        )
        samples = _stacked([_given(state.samples) for state in factors.states])
        # The states share them: there may be much of it.
        states = tuple(
            replace(state, samples=part[: len(_given(state.samples))])
            for state, part in zip(factors.states, samples, strict=True)
        )
        return cls(layers, replace(factors, states=states), samples)

    def rows(self, part: slice) -> Samples:
        """Return the samples of the rows of a tile."""
        columns = self.columns(part)
        return Samples(
            _swapped(columns.inputs),
            _swapped(columns.factors),
            _swapped(columns.sizes),
            _swapped(columns.norms),
            _swapped(columns.samples[..., part]),
            0,
        )

    def columns(self, part: slice) -> Samples:
        """Return the samples of the columns of a tile."""
        sizes, states = self.factors.sizes, self.factors.states
        assert sizes is not None
        norms = [(state.activation[part], state.derivative[part]) for state in states]
        return Samples(
            np.ascontiguousarray(sizes.norms[:, part]),
            np.ascontiguousarray(self.factors.factors[..., part]),
            np.stack([sizes.hidden[:, part], sizes.gradients[:, part]], axis=1),
            np.array(norms),
            self.samples,
            part.start,
        )


def _swapped(array: Array) -> Array:
    return np.ascontiguousarray(array.swapaxes(-1, -2))


def _given(array: Array | None) -> Array:
    assert array is not None
    return array


def _stacked(arrays: list[Array]) -> Array:
    """Return arrays as parts of one, with zeros after the shorter ones."""
    result = np.zeros((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]))
    for whole, part in zip(result, arrays, strict=True):
        whole[: len(part)] = part
    return result


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _enter(gaps: Array, gain: float, row: Array, columns: Array, out: Pairs) -> None:
    near, far = out.hidden[0][0], out.hidden[1][0]
    for j in range(len(gaps)):
        gap = gaps[j]
        near[j] = 2.0 + gap if gap < 0.0 else gap
        other = -gap if gap < 0.0 else 2.0 - gap
        far[j] = other if other > TINY else 0.0
        out.size_difference[0][j] = gain * ((row[0] - columns[0, j]) + (row[1] - columns[1, j]))
        out.gradient_difference[0][j] = 0.0
        out.gradients[0][0, j], out.gradients[1][0, j] = 0.0, 2.0
        out.slopes[0][0, j], out.slopes[1][0, j] = 0.0, 2.0


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
    width = gaps.shape[1]
    tangent = len(targets[1].out) > 0
    b = np.empty((14, width))
    for i in range(start, gaps.shape[0]):
        slopes = b[0:1], b[1:2]
        pairs = Pairs((b[2:3], b[3:4]), (b[4:5], b[5:6]), slopes, b[6:7], b[7:8])
        # Where the next values go: no loop overwrites what it reads.
        hidden, gradients, size, gradient = (
            (b[8:9], b[9:10]),
            (b[10:11], b[11:12]),
            b[12:13],
            b[13:14],
        )
        _enter(gaps[i], layers.gain, rows.inputs[i], columns.inputs, pairs)
        k = 0
        for layer in range(layers.depths[-1] + 1):
            if layer > 0:
                given = (
                    (pairs.hidden[0][0], pairs.hidden[1][0], pairs.size_difference[0]),
                    rows.samples[layer - 1, i],
                    columns.samples[layer - 1],
                    columns.first,
                    layers.constants[layer - 1],
                    tangent,
                    (hidden[0][0], hidden[1][0], slopes[0][0], slopes[1][0]),
                )
                small = call_loop(layers.loops[layer - 1], given)
                if small > 0:
                    before = pairs.hidden, pairs.size_difference
                    others = settle_equal(before, hidden)
                    if tangent:
                        others += settle_equal(before, slopes)
                    if others > 0:
                        return i
                activate_differences(
                    (pairs.size_difference, pairs.gradient_difference),
                    rows.norms[layer - 1, i : i + 1],
                    columns.norms[layer - 1],
                    columns.sizes[layer - 1, 1],
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
            row = Side(rows.factors[layer, i : i + 1], rows.sizes[layer, i : i + 1])
            column = Side(columns.factors[layer], columns.sizes[layer])
            after = pairs
            if layers.biases[layer] > 0.0:
                after = Pairs(hidden, pairs.gradients, slopes, size, pairs.gradient_difference)
                weigh_hidden(pairs, row, column, after)
            if tangent:
                after = Pairs(after.hidden, gradients, slopes, after.size_difference, gradient)
                weigh_gradients(pairs, row, column, layers.rates[layer], after)
                gradients, gradient = pairs.gradients, pairs.gradient_difference
            if layers.biases[layer] > 0.0:
                hidden, size = pairs.hidden, pairs.size_difference
            pairs = after
            if position.diagonal:
                pairs.hidden[0][0, i], pairs.hidden[1][0, i] = 0.0, 2.0
                pairs.gradients[0][0, i], pairs.gradients[1][0, i] = 0.0, 2.0
            if layers.depths[k] == layer:
                write_row(targets, (pairs.hidden, pairs.gradients), one, position, (k, i, 0))
                k += 1
    return len(gaps)
