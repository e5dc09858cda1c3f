# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of samples of one norm: a function of the angle, of which all pairs take the series.

Where all samples have one norm, so do their hidden layers and gradients, and the cosines that the
last layer makes of two of them depend on their angle θ alone, whatever the activations and biases.
For each kernel and depth this function is taken through all layers at a few angles only, and is
interpolated there by Chebyshev polynomials: a pair then costs some dozen multiply-adds, however
many layers there are.

The variable is

    w = sin(θ/2) − cos(θ/2) = √2 sin(θ/2 − π/4)    in [−1, 1].

Kinks of activations make half-integer powers of 1 − cos θ and 1 + cos θ, which are powers of θ and
of π − θ: in w they are analytic, where they would be roots in the cosine. θ itself would take a
polynomial in place of the second root, and have as many terms but for ReLU.

**Error.** Points are doubled until the series, summed as it will be for pairs, is right at the
points half-way between those that it was made of, where the error of an interpolation is largest:
half of `allowed_error` is what it may be off there, rounding included but for that of w. This one
is as an error of the samples, of 2 `ARGUMENT_ERROR` in their cosine at most, which layers may widen
as they do with others. Both are parts of what `kernel_errors` says, for all samples. It is no proof
but a measurement with a margin; piecewise linear activations, whose errors are proved, are
therefore left to their own recursion. Where the error is not reached with the most points, as in
deep chaotic networks, all pairs go through the layers. Where digits of small gaps are wanted, and
not kernels, they always do.

**One norm.** Norms count as one if they are the same number when rounded to a multiple of 2⁻⁴⁸ of
the power of two above: rows that were divided by their norms have one, up to their last digits.
Diagonals still come from the norms themselves. The decision depends on the norms of all samples of
a call, X and Z, and on the network, not on how many there are: where the samples of a call have one
norm, any part of them, in any order, divided into X and Z in any way, has it as well, and the same
series. With a sample of another norm beside them pairs take the other way, with other last digits
within the same errors.

**Cost.** Of a pair, for d inputs: d multiply-adds of the inner product; two roots; two operations
for each term of the series, of which there are 15 to 60 up to ten layers, half of that for even and
odd functions; three operations and 8 bytes for each kernel that is written, and as many bytes for
its mirror image. Layer by layer, it is some 60 to 120 operations for each of the layers, and reads
and writes of about 30 numbers in the second-level cache, for the differences of norms and both gaps
of three cosines that are carried.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk._support.threads import core_threads
from fastntk.infinite.close_gaps import TINY
from fastntk.infinite.duals.base import CANCELLATION
from fastntk.infinite.gaps import fill_gaps
from fastntk.infinite.layer_factors import KINDS, LayerFactors
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.recursion import Position, Target
from fastntk.infinite.sample_norms import Norms, Samples
from fastntk.infinite.tiles import Tile, tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.architecture import Architecture

    Array = NDArray[np.float64]

# Norms are rounded to so many digits after the point of their significands in [1/2, 1).
_DIGITS = 48

# By how much, relatively, a norm may be off then.
NORM_ERROR = 2.0**-48

# By how much w may be off: the square roots by ε/4 each, their difference as well, and what else
# the sums make of it.
ARGUMENT_ERROR = 2.0**-50

# Intervals between the points at first, and at most.
_FEWEST, _MOST = 64, 256

# Coefficients below this share of the allowed error are left out where none above follows.
_TRIMMED = 2.0**-7

# Pairs whose sums stay in the nearest cache, and terms that are added while one is in a register.
_PAIRS_AT_ONCE, _TERMS_AT_ONCE = 256, 8

# Rows and columns of a tile
_SHAPE = 128, 1024


class Series(NamedTuple):
    """The series of a kernel at each depth: of T_2k(w) for its even part, of T_2k+1(w) for the odd.

    Attributes
    ----------
    coefficients : ndarray (depths, 2, K)
        Those of both parts, with zeros after the last.
    terms : ndarray (depths, 2)
        How many they have, 1 more than a multiple of `_TERMS_AT_ONCE`; 0 where there is no series.
    opposite : ndarray (depths,)
        What the layers make of opposite samples: of an odd function −1, and not nearly so.
    """

    coefficients: Array
    terms: NDArray[np.int64]
    opposite: Array

    @classmethod
    def of(cls, found: list[Array | None], opposite: Array) -> Series:
        """Return the series of some depths, given the coefficients (K,) of all T_k(w).

        `opposite` (depths,) are the cosines of opposite samples.
        """
        parts = [(each[::2], each[1::2]) for each in found if each is not None]
        longest = max((_padded(part) for both in parts for part in both), default=0)
        terms = np.zeros((len(found), 2), np.int64)
        result = cls(np.zeros((len(found), 2, longest)), terms, opposite)
        for k, each in enumerate(found):
            if each is not None:
                for parity in range(2):
                    part = np.trim_zeros(each[parity::2], "b")
                    result.coefficients[k, parity, : len(part)] = part
                    result.terms[k, parity] = _padded(part)
        return result


def _padded(part: Array) -> int:
    return 1 + -(-max(len(part) - 1, 0) // _TERMS_AT_ONCE) * _TERMS_AT_ONCE


def allowed_error(network: Architecture, depth: int) -> float:
    """Return by how much the cosines of a series may be off, at a depth.

    That is as much as the roundings that `kernel_errors` counts, and next to nothing beside what
    the tolerance allows to duals without a closed form, whose own series may have jumps of that
    size.
    """
    errors = [dual.gap_error for dual in network.layers.duals[:depth]]
    loose = max((error for error in errors if error > CANCELLATION), default=0.0)
    return (depth + 1) * 2.0**-49 + loose * 2.0**-10


def one_norm(norms: Norms) -> tuple[float, int] | None:
    """Return significand and exponent of the norm of all samples, or None if they have several."""
    significands, exponents = np.frexp(norms.significands + norms.rests)
    rounded, more = np.frexp(np.ldexp(np.rint(np.ldexp(significands, _DIGITS)), -_DIGITS))
    exponents = exponents + more + norms.exponents
    if rounded[0] == 0 or (rounded != rounded[0]).any() or (exponents != exponents[0]).any():
        return None
    return float(rounded[0]), int(exponents[0])


@dataclass(frozen=True)
class PairsOfOneNorm:
    """All pairs of two sets of samples that have one norm, for kernels that are series.

    Attributes
    ----------
    X, Z : Samples
        The samples; the same object where pairs of one set are wanted.
    scales : ndarray (2, depths, samples)
        Square roots of the diagonals of the two kernels: those of X, and after them those of Z
        where that is another set.
    series : tuple of Series
        Those of both kernels.
    complete : bool
        Whether all kernels that are wanted have series at all depths.
    """

    X: Samples
    Z: Samples
    scales: Array
    series: tuple[Series, Series]
    complete: bool

    @classmethod
    def of(
        cls, X: Samples, Z: Samples | None, network: Architecture, kinds: tuple[str, ...]
    ) -> PairsOfOneNorm | None:
        """Return the pairs of X with Z, or with itself; None if no kernel of them is a series."""
        if network.piecewise_linear or (Z is None and len(X) == 1):
            return None
        norms = X.norms if Z is None else Norms.joined([X.norms, Z.norms])
        norm = one_norm(norms)
        if norm is None:
            return None
        wanted = KINDS[0] in kinds, KINDS[1] in kinds
        scales, zero = _diagonals(norms, norm[1], network)
        if any(wanted[kind] and zero[kind].any() for kind in range(2)):
            return None
        given = network, norms.dimension, norm, wanted
        # Matrix products of some duals have other last bits in more threads.
        with core_threads():
            try:
                series = _remembered(*given)
            except TypeError:  # an activation of a user without a hash
                series = _found(*given)
        found = sum(int((each.terms[:, 0] > 0).sum()) for each in series)
        if found == 0:
            return None
        complete = found == sum(wanted) * len(network.depths)
        return cls(X, X if Z is None else Z, scales, series, complete)

    @property
    def symmetric(self) -> bool:
        """Whether X and Z are the same samples, of which both may hold other ranges."""
        return self.X.norms is self.Z.norms

    def tiles(self, wanted: slice | None = None) -> list[Tile]:
        """Return tiles that cover all pairs, or those of `wanted` rows.

        Each pair once where X and Z are the same.
        """
        n, m = len(self.X), len(self.Z)
        return list(tiles(n, m, 1, symmetric=self.symmetric, shape=_SHAPE, wanted=wanted))

    def propagate(self, tile: Tile, results: Results, origin: tuple[int, int]) -> None:
        """Write the kernels that are series; `origin` is where the tile begins in the results."""
        gaps = np.empty((tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start))
        fill_gaps(self.X, self.Z, tile.rows, tile.columns, gaps, same=self.symmetric)
        self.propagate_gaps(gaps, tile, results, origin)

    def propagate_gaps(
        self, gaps: Array, tile: Tile, results: Results, origin: tuple[int, int]
    ) -> None:
        """Do the same for pairs at given gaps, with a sign."""
        targets = tuple(
            Target(
                target.out,
                # Compiled loops are compiled again for other layouts.
                np.ascontiguousarray(target.rows[:, tile.rows]),
                np.ascontiguousarray(target.columns[:, tile.columns]),
            )
            for target in (results.nngp, results.ntk)
        )
        write_kernels(gaps, self.series, (targets[0], targets[1]), Position(*origin, tile.diagonal))


def _diagonals(
    norms: Norms, exponent: int, network: Architecture
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the roots of the diagonals of kernels, and where they are 0.

    Of samples of nearly the same norm few are different.
    """
    significands = np.ldexp(norms.significands, norms.exponents - exponent)
    distinct, back = np.unique(significands, return_inverse=True)
    exponents = np.full(len(distinct), exponent)
    few = Norms(norms.dimension, distinct, exponents, np.zeros_like(distinct))
    factors = LayerFactors.of(few, network)
    # In C order, as all scales that a compiled loop gets: it takes both kernels' alike.
    return np.take(factors.scales, back, axis=-1), np.take(factors.zero, back, axis=-1)


def _found(
    network: Architecture, dimension: int, norm: tuple[float, int], wanted: tuple[bool, bool]
) -> tuple[Series, Series]:
    """Return the series of the kernels that are wanted."""
    depths = network.depths
    allowed = np.array([allowed_error(network, depth) for depth in depths])
    missing = [(kind, k) for kind in range(2) if wanted[kind] for k in range(len(depths))]
    found: list[list[Array | None]] = [[None] * len(depths) for _ in range(2)]
    intervals = _FEWEST
    values = _cosines(network, dimension, norm, wanted, _gaps_at_points(2 * intervals))
    while True:
        for kind, k in list(missing):
            series = _coefficients(values[kind, k, ::2], _TRIMMED * allowed[k])
            if _deviation(series, values[kind, k]) <= allowed[k] / 2:
                found[kind][k] = series
                missing.remove((kind, k))
        intervals *= 2
        if not missing or intervals > _MOST:
            first, second = (
                Series.of(*each) for each in zip(found, values[..., 0].copy(), strict=True)
            )
            return first, second
        merged = np.empty((2, len(depths), 2 * intervals + 1))
        merged[..., ::2] = values
        more = _gaps_at_points(2 * intervals)[1::2]
        merged[..., 1::2] = _cosines(network, dimension, norm, wanted, more)
        values = merged


# A network is asked for the kernels of many sets of samples: of small ones they take less than the
# series.
_remembered = lru_cache(maxsize=32)(_found)


def forget() -> None:
    """Forget all series, as a process does that begins."""
    _remembered.cache_clear()


def _gaps_at_points(intervals: int) -> Array:
    """Return the gaps, with a sign, of angles at Chebyshev points, from w = 1 down to −1.

    Those of w and of −w are the same but for the sign.
    """
    # h = 1 − |w|, and √(gap/2) = (√(2 − w²) − |w|)/2 without cancellation
    h = 2 * np.sin(np.pi / 2 * np.arange(intervals // 2 + 1) / intervals) ** 2
    product = h * (2 - h)
    root = product / (np.sqrt(1 + product) + (1 - h))
    gaps = 2 * root**2
    gaps[-1] = 1.0
    opposite = -np.maximum(gaps[:-1], TINY)
    return np.concatenate([opposite, gaps[::-1]])


def _cosines(
    network: Architecture,
    dimension: int,
    norm: tuple[float, int],
    wanted: tuple[bool, bool],
    gaps: Array,
) -> Array:
    """Return the cosines (2, depths, n) of both kernels for samples of a norm at some gaps."""
    n, depths = len(gaps), len(network.depths)
    one, many = (_samples(norm, dimension, count) for count in (1, n))
    out = np.zeros((2, depths, 1, n))
    targets = [
        Target(out[kind, : depths * wanted[kind]], np.ones((depths, 1)), np.ones((depths, n)))
        for kind in range(2)
    ]
    tile = Tile(slice(0, 1), slice(0, n), diagonal=False)
    # The compiled recursion would leave the rows of close pairs to the general one.
    pairs = replace(Pairs.of(one, many, network), compiled=None)
    pairs.propagate_gaps(gaps[np.newaxis].copy(), tile, Results.of_kernels(*targets), (0, 0))
    return out[:, :, 0]


def _samples(norm: tuple[float, int], dimension: int, n: int) -> Samples:
    """Return samples of which only the norm is known."""
    significands, exponents = np.full(n, norm[0]), np.full(n, norm[1])
    return Samples(np.empty((n, 0)), Norms(dimension, significands, exponents, np.zeros(n)))


def _coefficients(values: Array, left_out: float) -> Array:
    """Return those of the polynomial with these values at the Chebyshev points from 1 to −1.

    Those of even and of odd polynomials that are at most what may be left out, and after which none
    that is larger follows, are 0.
    """
    result = np.empty(len(values))
    if not np.isfinite(values).all():
        return np.full(1, math.nan)
    for parity, sign in ((0, 1), (1, -1)):
        # Even and odd functions have no other terms, not even from rounding.
        part = 0.5 * (values + sign * values[::-1])
        transformed = np.fft.rfft(np.concatenate([part, part[-2:0:-1]])).real
        result[parity::2] = transformed[parity::2] / (len(values) - 1)
    result[[0, -1]] *= 0.5
    for parity in range(2):
        part = result[parity::2]
        large = np.flatnonzero(np.abs(part) > left_out)
        part[large[-1] + 1 if len(large) else 0 :] = 0.0
    return result


def _deviation(series: Array, values: Array) -> float:
    """Return how far a series is from cosines, beside what the rounding of w makes of them.

    Parameters
    ----------
    series : ndarray (K,)
        The coefficients, from cosines at every other point.
    values : ndarray (points,)
        The cosines at all Chebyshev points, of which those between are looked at.
    """
    intervals = len(values) - 1
    gaps, right = _gaps_at_points(intervals)[1::2].copy(), values[1::2]
    out = np.empty((1, 1, len(gaps)))
    target = Target(out, np.ones((1, 1)), np.ones((1, len(gaps))))
    both = Series.of([series], values[:1]), Series.of([None], values[:1])
    write_kernels(gaps[np.newaxis], both, (target, target), Position(0, 0, diagonal=False))
    w = np.cos(np.pi / intervals * np.arange(0, intervals + 1, 2))
    slopes = np.abs(np.diff(values[::2]) / np.diff(w))
    return float((np.abs(out[0, 0] - right) - ARGUMENT_ERROR * slopes).max())


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _arguments(gaps: Array, w: Array, y: Array) -> None:
    """Write w and T_2(w) from gaps with a sign."""
    for j in range(_PAIRS_AT_ONCE):
        half = 0.5 * abs(gaps[j])
        size = math.sqrt(1.0 - half) - math.sqrt(half)
        w[j] = -size if gaps[j] >= 0.0 else size
        y[j] = 2.0 * (size * size) - 1.0


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _recur(coefficients: Array, y: Array, sums: tuple[Array, Array]) -> None:
    """Write b_1 and b_2 of Clenshaw's recurrence b_k = c_k + 2y b_k+1 − b_k+2."""
    b, c = sums
    for j in range(_PAIRS_AT_ONCE):
        b[j], c[j] = 0.0, 0.0
    for k in range(len(coefficients) - 1, 0, -_TERMS_AT_ONCE):
        p, q = coefficients[k], coefficients[k - 1]
        r, s = coefficients[k - 2], coefficients[k - 3]
        t, u = coefficients[k - 4], coefficients[k - 5]
        v, z = coefficients[k - 6], coefficients[k - 7]
        for j in range(_PAIRS_AT_ONCE):
            x, one, two = 2.0 * y[j], b[j], c[j]
            two = x * one + (p - two)
            one = x * two + (q - one)
            two = x * one + (r - two)
            one = x * two + (s - one)
            two = x * one + (t - two)
            one = x * two + (u - one)
            two = x * one + (v - two)
            b[j] = x * two + (z - one)
            c[j] = two


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _sum(both: Array, terms: Array, given: Array, scratch: Array) -> None:
    """Write the sums of a series, within [−1, 1], into the first row of the scratch.

    All loops have one length, with one order of operations for every pair.

    Parameters
    ----------
    both, terms : ndarray (2, K), (2,)
        The coefficients of both parts, and their numbers.
    given : ndarray (2, pairs)
        w and T_2(w).
    scratch : ndarray (3, pairs)
        Overwritten.
    """
    w, y = given[0], given[1]
    total, b, c = scratch[0], scratch[1], scratch[2]
    first = both[0, 0]
    _recur(both[0, : terms[0]], y, (b, c))
    for j in range(_PAIRS_AT_ONCE):
        total[j] = y[j] * b[j] + (first - c[j])
    first = both[1, 0]
    _recur(both[1, : terms[1]], y, (b, c))
    for j in range(_PAIRS_AT_ONCE):
        # T_1 = w, and T_3 = (2 T_2 − 1) w
        value = total[j] + w[j] * ((2.0 * y[j] - 1.0) * b[j] + (first - c[j]))
        value = value if value < 1.0 else 1.0
        total[j] = value if value > -1.0 else -1.0


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def write_kernels(
    gaps: Array,
    series: tuple[Series, Series],
    targets: tuple[Target, Target],
    position: Position,
) -> None:
    """Write the kernels of a tile of pairs that are series; others stay as they are.

    Parameters
    ----------
    gaps : ndarray (rows, columns)
        Gaps of the samples, with a sign.
    series : tuple of Series
        Those of both kernels.
    targets : tuple of Target
        Where the kernels go, with the scales of the samples of the tile.
    position : Position
        Where the tile lies.
    """
    rows, columns = gaps.shape
    scratch = np.zeros((6, _PAIRS_AT_ONCE))
    part, arguments, sums = scratch[0], scratch[1:3], scratch[3:]
    for i in range(rows):
        skipped = i + 1 if position.diagonal else 0
        for start in range(skipped, columns, _PAIRS_AT_ONCE):
            stop = min(start + _PAIRS_AT_ONCE, columns)
            for j in range(stop - start):
                part[j] = gaps[i, start + j]
            _arguments(part, arguments[0], arguments[1])
            for kind in range(2):
                terms = series[kind].terms
                for k in range(len(terms)):
                    if terms[k, 0] == 0:
                        continue
                    _sum(series[kind].coefficients[k], terms[k], arguments, sums)
                    row, opposite = targets[kind].rows[k, i], series[kind].opposite[k]
                    scales = targets[kind].columns[k, start:stop]
                    left = position.column + start
                    out = targets[kind].out[k, position.row + i, left : left + stop - start]
                    for j in range(stop - start):
                        # Of equal and of opposite samples nothing is to be computed.
                        cosine = opposite if part[j] == -TINY else sums[0, j]
                        cosine = 1.0 if part[j] == 0.0 else cosine
                        out[j] = row * scales[j] * cosine
        if position.diagonal:
            for kind in range(2):
                for k in range(len(series[kind].terms)):
                    if series[kind].terms[k, 0] > 0:
                        target = targets[kind]
                        value = target.rows[k, i] * target.columns[k, i]
                        target.out[k, position.row + i, position.column + i] = value
