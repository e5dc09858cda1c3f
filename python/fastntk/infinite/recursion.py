# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The recursion over the layers for piecewise linear activations, compiled.

The state of a pair of samples are the cosines of the hidden layer and of the gradients, as gaps
(see `gaps`). All terms below are non-negative, so that small gaps keep their digits, and they are
free of scale: no norm and no weight variance enters.

- δ belongs to the hidden layer, e to the gradients. Both have a sign: they are 1 − cos of an acute
  angle and −(1 + cos) of an obtuse one, so that angles near π keep their digits as well.

An activation with the kink k (0: identity, 1: ReLU, 2: absolute value) has the following gaps: with
ε the acute one of θ and π − θ, and J = (sin ε − ε cos ε)/π, γ is the gap of the activations and η
that of the derivatives, here without their signs:

    γ = δ − k J for an acute θ,    η = k θ/π
    1 + cos = k + (1 − k)|δ| + k J,    1 − cos = (2 − k) − (1 − k)|δ| − k J for an obtuse θ

The product of two cosines 1 − e and 1 − η with signs has the absolute value
1 − (|e| + |η| − |e||η|) and the product of the signs.

One layer of weights and biases, with the factors of the two samples (see `layer_factors`), μ and ν
standing for 1 − cos and 1 + cos of these, and e η for the gap of the product:

    1 − cos θ⁺ = r r' μ(γ) + ½[(r − r')² + (p − p')²]
    1 + cos θ⁺ = r r' ν(γ) + ½[(r − r')² + (p − p')²] + 2 p p'
    1 − cos φ⁺ = A A' μ(γ) + B B' μ(e η) + ½[(A − A')² + (B − B')² + (C − C')²]
    1 + cos φ⁺ = A A' ν(γ) + B B' ν(e η) + ½[(A − A')² + (B − B')² + (C − C')²] + 2 C C'

A row of a tile goes through all layers while it is in the first-level cache.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk.infinite.close_gaps import TINY
from fastntk.infinite.duals.half_angle import angle_factor, deficit_factor
from fastntk.infinite.layer_factors import A, B, C, P, R

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]


# A part of a function that is compiled once, within it. Compiled by itself as well, it would be
# called in the process that compiles, and not in those that load what was compiled: with products
# and sums contracted elsewhere, and other last bits.
_part = njit(nogil=True, cache=True, fastmath={"contract"}, forceinline=True)


class TileLayers(NamedTuple):
    """The layers, and what the samples of a tile bring into them.

    Attributes
    ----------
    rows, columns : ndarray (layers, 5, rows), (layers, 5, columns)
        The factors r, p, A, B, C of each layer and sample; the last size is 1 where all samples
        share them.
    shared : bool
        Whether all samples share their factors, which they do when there are no biases.
    kinks : ndarray (layers − 1,)
        The kink of the activation of each hidden layer.
    depths : ndarray (depths,)
        The depths at which kernels are wanted, ascending.
    """

    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    shared: bool
    kinks: Vector
    depths: NDArray[np.int64]


class Target(NamedTuple):
    """Where a kernel is written at each depth, as rows · columns · (one − gap).

    With one = 1, and the roots of its diagonal for rows and columns, this is the kernel; with
    one = 0, rows = −1 and columns = 1, it is the gaps themselves, with their signs.

    Attributes
    ----------
    out : ndarray (depths, n, m)
        The result; the first size is 0 where the kernel is not wanted.
    rows, columns : ndarray (depths, rows), (depths, columns)
        Scales of the samples.
    """

    out: FloatArray
    rows: Matrix
    columns: Matrix


class Position(NamedTuple):
    """Where in the results a tile begins, and whether that is on the diagonal of the kernel.

    On the diagonal rows and columns begin at the same sample; what lies left of it is left out.
    """

    row: int
    column: int
    diagonal: bool


@_part
def _unsigned(gap: float) -> float:
    """Return 1 − cos θ."""
    return gap if gap >= 0.0 else 2.0 + gap


@_part
def _other_side(gap: float) -> float:
    """Return 1 + cos θ."""
    return 2.0 - gap if gap >= 0.0 else -gap


@_part
def _signed(gap: float, complement: float) -> float:
    """Return the gap with its sign from 1 − cos θ and 1 + cos θ."""
    return gap if gap <= 1.0 else -max(complement, TINY)


@_part
def _product_gap(gap: float, other: float) -> float:
    """Return the gap, with a sign, of the product of two cosines."""
    a, b = abs(gap), abs(other)
    product = a + b - a * b
    return product if (gap >= 0.0) == (other >= 0.0) else -max(product, TINY)


@_part
def _join_opposite(layer: int, kink: float, gaps: Vector, gradient_gaps: Vector) -> None:
    """Take opposite samples for equal ones if the first activation is even, as |x| is.

    Their gaps are 0 but for the sign, which no later layer could tell from a small angle.
    """
    if layer != 1 or kink != 2.0:
        return
    for j in range(gaps.shape[0]):
        gaps[j] = 0.0 if gaps[j] == -TINY else gaps[j]
        gradient_gaps[j] = 0.0 if gradient_gaps[j] == -TINY else gradient_gaps[j]


@_part
def activation_gap(gap: float, kink: float) -> float:
    """Return γ, with a sign."""
    v = 0.5 * abs(gap)
    deficit = kink * (v * math.sqrt(v) * deficit_factor(v))
    if gap >= 0.0:
        return gap - deficit
    complement = kink + ((kink - 1.0) * gap + deficit)
    return -complement if complement < 1.0 else (2.0 - kink) + ((1.0 - kink) * gap - deficit)


@_part
def derivative_gap(gap: float, kink: float) -> float:
    """Return η, with a sign."""
    v = 0.5 * abs(gap)
    turn = math.sqrt(v) * angle_factor(v)
    if gap >= 0.0:
        turned, rest = kink * turn, (2.0 - kink) + kink * (1.0 - turn)
    else:
        turned, rest = kink * (1.0 - turn), (2.0 - kink) + kink * turn
    return _signed(turned, rest)


@_part
def _acute_layer_without_bias(
    gaps: Vector, gradient_gaps: Vector, a: float, b: float, kink: float
) -> None:
    """Do as `_layer_without_bias` for hidden layers at acute angles, which stay acute."""
    for j in range(gaps.shape[0]):
        gap = gaps[j]
        gradient_gap = gradient_gaps[j]
        v = 0.5 * gap
        root = math.sqrt(v)
        gamma = gap - kink * (v * root * deficit_factor(v))
        product = _product_gap(gradient_gap, kink * (root * angle_factor(v)))
        gaps[j] = gamma
        gradient_gaps[j] = _signed(
            a * gamma + b * _unsigned(product),
            a * (2.0 - gamma) + b * _other_side(product),
        )


@_part
def _layer_without_bias(
    gaps: Vector, gradient_gaps: Vector, factors: tuple[float, float], kink: float, acute: bool
) -> None:
    """Take the gaps through an activation and a layer whose factors are those of all samples."""
    a, b = factors
    if acute:
        _acute_layer_without_bias(gaps, gradient_gaps, a, b, kink)
        return
    for j in range(gaps.shape[0]):
        gap = gaps[j]
        gradient_gap = gradient_gaps[j]
        gamma = activation_gap(gap, kink)
        eta = derivative_gap(gap, kink)
        product = _product_gap(gradient_gap, eta)
        gaps[j] = gamma
        gradient_gaps[j] = _signed(
            a * _unsigned(gamma) + b * _unsigned(product),
            a * _other_side(gamma) + b * _other_side(product),
        )


@_part
def _affine(
    gaps: Vector,
    etas: Vector,
    gradient_gaps: Vector,
    row: Vector,
    columns: tuple[Vector, Vector, Vector, Vector, Vector],
) -> None:
    """Take the gaps γ, η and e through a layer of weights and biases."""
    r, p, a, b, c = columns
    for j in range(gaps.shape[0]):
        gamma = gaps[j]
        gradient_gap = gradient_gaps[j]
        chord = 0.5 * ((row[R] - r[j]) ** 2 + (row[P] - p[j]) ** 2)
        # r r' + p p' = 1 − chord
        gaps[j] = _signed(
            row[R] * r[j] * _unsigned(gamma) + chord,
            row[R] * r[j] * _other_side(gamma) + chord + 2.0 * row[P] * p[j],
        )
        product = _product_gap(gradient_gap, etas[j])
        chord = 0.5 * ((row[A] - a[j]) ** 2 + (row[B] - b[j]) ** 2 + (row[C] - c[j]) ** 2)
        gradient_gaps[j] = _signed(
            row[A] * a[j] * _unsigned(gamma) + row[B] * b[j] * _unsigned(product) + chord,
            row[A] * a[j] * _other_side(gamma)
            + row[B] * b[j] * _other_side(product)
            + chord
            + 2.0 * row[C] * c[j],
        )


@_part
def _activation(gaps: Vector, etas: Vector, kink: float) -> None:
    for j in range(gaps.shape[0]):
        gap = gaps[j]
        gaps[j] = activation_gap(gap, kink)
        etas[j] = derivative_gap(gap, kink)


@_part
def _activation_gaps(gaps: Vector, kink: float) -> None:
    for j in range(gaps.shape[0]):
        gaps[j] = activation_gap(gaps[j], kink)


@_part
def _clear(array: Vector) -> None:
    for j in range(array.shape[0]):
        array[j] = 0.0


@_part
def _write(out: FloatArray, gaps: Vector, one: float, row: float, columns: Vector) -> None:
    # Loops, as what NumPy makes of slices takes seconds to compile.
    if one == 0.0:
        for j in range(gaps.shape[0]):
            out[j] = gaps[j]
        return
    for j in range(gaps.shape[0]):
        out[j] = row * columns[j] * (one - _unsigned(gaps[j]))


@njit(nogil=True, cache=True, fastmath={"contract"})
def propagate(
    gaps: Matrix, layers: TileLayers, nngp: Target, ntk: Target, one: float, position: Position
) -> None:
    """Take a tile of pairs through all layers and write what is asked for at each depth.

    Parameters
    ----------
    gaps : ndarray (rows, columns)
        Gaps of the inputs, with a sign; overwritten.
    layers : TileLayers
        The layers, for the samples of the tile.
    nngp, ntk : Target
        Where the kernels go, with the scales of the samples of the tile.
    one : float
        See `Target`.
    position : Position
        Where the tile lies.
    """
    rows, columns = gaps.shape
    left, right = position.column, position.column + columns
    kinks, depths = layers.kinks, layers.depths
    wanted = len(nngp.out) > 0, len(ntk.out) > 0
    products = layers.rows[:, :, 0] * layers.columns[:, :, 0]  # those of all samples, if shared
    scratch = np.empty((2, columns))
    for i in range(rows):
        first = i if position.diagonal else 0
        gap = gaps[i, first:]
        gradient_gap = scratch[0, first:]
        eta = scratch[1, first:]
        _clear(eta)
        _clear(gradient_gap)
        k = 0
        for layer in range(depths[-1] + 1):
            kink = kinks[layer - 1] if layer > 0 else 0.0
            if layers.shared:
                a, b = products[layer, A], products[layer, B]
                _join_opposite(layer, kink, gap, gradient_gap)
                if layer == 0:
                    for j in range(gap.shape[0]):
                        gradient_gap[j] = gap[j] if a > 0.0 else 0.0
                elif wanted[1]:
                    # What ReLU makes of samples is at acute angles, and so is what a function with
                    # slopes of both signs makes of them.
                    acute = layer > 1 and kinks[layer - 2] >= 1.0
                    _layer_without_bias(gap, gradient_gap, (a, b), kink, acute)
                else:
                    _activation_gaps(gap, kink)
            else:
                if layer > 0:
                    _activation(gap, eta, kink)
                factors = (
                    layers.columns[layer, R, first:],
                    layers.columns[layer, P, first:],
                    layers.columns[layer, A, first:],
                    layers.columns[layer, B, first:],
                    layers.columns[layer, C, first:],
                )
                _affine(gap, eta, gradient_gap, layers.rows[layer, :, i], factors)
            if depths[k] == layer:
                row = position.row + i
                if wanted[0]:
                    target = nngp.out[k, row, left + first : right]
                    _write(target, gap, one, nngp.rows[k, i], nngp.columns[k, first:])
                if wanted[1]:
                    target = ntk.out[k, row, left + first : right]
                    _write(target, gradient_gap, one, ntk.rows[k, i], ntk.columns[k, first:])
                k += 1


@njit(nogil=True, cache=True)
def mirror(out: FloatArray, start: int, stop: int, first: int, last: int) -> None:
    """Copy out[start:stop, first:last], where it is right of the diagonal, to its other half."""
    block = 8  # the numbers of a cache line of the columns, and few rows, which are often a power
    for i0 in range(start, stop, block):  # of two apart: more would drive each other out of it
        end = min(i0 + block, stop)
        for j in range(first, last):
            for i in range(i0, min(end, j)):
                out[j, i] = out[i, j]
