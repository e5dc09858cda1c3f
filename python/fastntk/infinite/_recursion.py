# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The recursion over the layers for piecewise linear activations, compiled.

State of a pair of samples: the cosines of the hidden layer and of the gradients, as *gaps*. Cosines
themselves would lose the digits of small angles; gaps keep them, all terms below being
non-negative, and they are free of scale: no norm and no weight variance enters.

- e = 1 − cos φ of the gradients.
- δ of the hidden layer has a sign, to keep the digits of angles near π as well: 1 − cos θ for
  acute angles, −(1 + cos θ) for obtuse ones, and never 0 for the latter. |δ| is the gap of θ or
  π − θ.

One activation with the kink k (0: identity, 1: ReLU, 2: absolute value): with ε the acute one of θ
and π − θ, and J = (sin ε − ε cos ε)/π; γ is the gap of the activations, η that of derivatives:

    γ = δ − k J,    1 + (1 − γ) = k + (1 − k)|δ| + k J for an obtuse θ,    η = k θ/π

One layer of weights and biases, with the factors of the two samples (see `_layers`):

    1 − cos θ⁺ = r r' γ + ½[(r − r')² + (p − p')²]
    e⁺ = A A' γ + B B' (e + η − e η) + ½[(A − A')² + (B − B')² + (C − C')²]

A row of a tile goes through all layers while it is in the first-level cache.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fastntk.infinite._half_angle import angle_factor, deficit_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray

    Vector = NDArray[np.float64]
    Matrix = NDArray[np.float64]

# The order of the factors of a layer in the arrays that are passed in.
R, P, A, B, C = range(5)

TINY = 5e-324  # the least positive number: the gap of opposite samples


@njit(nogil=True, cache=True, fastmath={"contract"})
def _unsigned(gap: float) -> float:
    """Return 1 − cos θ."""
    return gap if gap >= 0.0 else 2.0 + gap


@njit(nogil=True, cache=True, fastmath={"contract"})
def _activation_gap(gap: float, kink: float) -> float:
    """Return γ, with a sign."""
    v = 0.5 * abs(gap)
    deficit = kink * (v * math.sqrt(v) * deficit_factor(v))
    complement = kink + ((kink - 1.0) * gap + deficit)  # of an obtuse angle
    obtuse = -complement if complement < 1.0 else 2.0 - complement
    return gap - deficit if gap >= 0.0 else obtuse


@njit(nogil=True, cache=True, fastmath={"contract"})
def _derivative_gap(gap: float, kink: float) -> float:
    """Return η."""
    v = 0.5 * abs(gap)
    turn = math.sqrt(v) * angle_factor(v)
    return kink * (turn if gap >= 0.0 else 1.0 - turn)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _layer_without_bias(
    gaps: Vector, gradient_gaps: Vector, a: float, b: float, kink: float
) -> None:
    """Take the gaps through an activation and a layer whose factors are those of all samples."""
    for j in range(gaps.shape[0]):
        gap = gaps[j]
        gradient_gap = gradient_gaps[j]
        gamma = _activation_gap(gap, kink)
        eta = _derivative_gap(gap, kink)
        gaps[j] = gamma
        gradient_gaps[j] = a * _unsigned(gamma) + b * (gradient_gap + eta - gradient_gap * eta)


@njit(nogil=True, cache=True, fastmath={"contract"})
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
        # 1 − cos of an acute angle, 1 + cos of an obtuse one; r r' + p p' = 1 − chord
        gap = row[R] * r[j] * abs(gamma) + chord
        complement = gap + 2.0 * row[P] * p[j]
        obtuse = -complement if complement < 1.0 else 2.0 - complement
        gaps[j] = gap if gamma >= 0.0 else obtuse
        gradient_gaps[j] = (
            row[A] * a[j] * _unsigned(gamma)
            + row[B] * b[j] * (gradient_gap + etas[j] - gradient_gap * etas[j])
            + 0.5 * ((row[A] - a[j]) ** 2 + (row[B] - b[j]) ** 2 + (row[C] - c[j]) ** 2)
        )


@njit(nogil=True, cache=True, fastmath={"contract"})
def _activation(gaps: Vector, etas: Vector, kink: float) -> None:
    for j in range(gaps.shape[0]):
        gap = gaps[j]
        gaps[j] = _activation_gap(gap, kink)
        etas[j] = _derivative_gap(gap, kink)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _activation_gaps(gaps: Vector, kink: float) -> None:
    for j in range(gaps.shape[0]):
        gaps[j] = _activation_gap(gaps[j], kink)


@njit(nogil=True, cache=True, fastmath={"contract"})
def _write(out: FloatArray, gaps: Vector, one: float, row: float, columns: Vector) -> None:
    for j in range(gaps.shape[0]):
        out[j] = row * columns[j] * (one - _unsigned(gaps[j]))


@njit(nogil=True, cache=True, fastmath={"contract"})
def propagate(
    gaps: Matrix,
    row_factors: NDArray[np.float64],
    column_factors: NDArray[np.float64],
    kink: float,
    depths: NDArray[np.int64],
    one: float,
    nngp: FloatArray,
    nngp_rows: Matrix,
    nngp_columns: Matrix,
    ntk: FloatArray,
    ntk_rows: Matrix,
    ntk_columns: Matrix,
    origin: tuple[int, int],
    diagonal: bool,
) -> None:
    """Take a tile of pairs through all layers and write what is asked for at each depth.

    Parameters
    ----------
    gaps : ndarray (rows, columns)
        Of the inputs, with a sign; overwritten.
    row_factors, column_factors : ndarray (layers, 5, rows), (layers, 5, columns)
        r, p, A, B, C of each layer and sample; the last size is 1 where all samples share them,
        which they do when there are no biases.
    kink : float
        Of the activation.
    depths : ndarray
        Ascending.
    one : float
        Written is rows · columns · (one − gap): 1 gives kernels, 0 with a scale of −1 the gaps.
    nngp, ntk : ndarray (depths, n, m), or with the first size 0
        Results.
    nngp_rows, nngp_columns, ntk_rows, ntk_columns : ndarray (depths, rows), (depths, columns)
        Square roots of the diagonals of the kernels, for the samples of the tile.
    origin : tuple of int
        Where in the results the tile begins.
    diagonal : bool
        Whether rows and columns begin at the same sample; what lies left of the diagonal is then
        left out.
    """
    rows, columns = gaps.shape
    left, right = origin[1], origin[1] + columns
    shared = row_factors.shape[2] == 1 and column_factors.shape[2] == 1
    scratch = np.empty((2, columns))
    for i in range(rows):
        first = i if diagonal else 0
        gap = gaps[i, first:]
        gradient_gap = scratch[0, first:]
        eta = scratch[1, first:]
        eta[:] = 0.0
        gradient_gap[:] = 0.0
        k = 0
        for layer in range(depths[-1] + 1):
            if shared:
                a = row_factors[layer, A, 0] * column_factors[layer, A, 0]
                b = row_factors[layer, B, 0] * column_factors[layer, B, 0]
                if layer == 0:
                    for j in range(gap.shape[0]):
                        gradient_gap[j] = a * _unsigned(gap[j])
                elif ntk.shape[0] > 0:
                    _layer_without_bias(gap, gradient_gap, a, b, kink)
                else:
                    _activation_gaps(gap, kink)
            else:
                if layer > 0:
                    _activation(gap, eta, kink)
                row = row_factors[layer, :, i]
                factors = (
                    column_factors[layer, R, first:],
                    column_factors[layer, P, first:],
                    column_factors[layer, A, first:],
                    column_factors[layer, B, first:],
                    column_factors[layer, C, first:],
                )
                _affine(gap, eta, gradient_gap, row, factors)
            if depths[k] == layer:
                if nngp.shape[0] > 0:
                    scale = nngp_rows[k, i]
                    target = nngp[k, origin[0] + i, left + first : right]
                    _write(target, gap, one, scale, nngp_columns[k, first:])
                if ntk.shape[0] > 0:
                    scale = ntk_rows[k, i]
                    target = ntk[k, origin[0] + i, left + first : right]
                    _write(target, gradient_gap, one, scale, ntk_columns[k, first:])
                k += 1


@njit(nogil=True, cache=True)
def mirror(out: FloatArray, start: int, stop: int, first: int, last: int) -> None:
    """Copy out[start:stop, first:last], where it is right of the diagonal, to its other half."""
    block = 32  # some cache lines of the rows and of the columns in hand
    for j0 in range(first, last, block):
        for i0 in range(start, stop, block):
            for j in range(j0, min(j0 + block, last)):
                for i in range(i0, min(i0 + block, stop, j)):
                    out[j, i] = out[i, j]
