# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Powers on the positive side of 0.

Cho and Saul, "Kernel methods for deep learning", NeurIPS 2009.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numba import njit
from numpy.polynomial import polynomial

from fastntk.infinite.duals.base import CANCELLATION, Gaps, State
from fastntk.infinite.duals.compiled import CompiledDual, Loop
from fastntk.infinite.duals.expectation import CLOSE
from fastntk.infinite.duals.half_angle import arc_factor
from fastntk.infinite.duals.vectorized import correlation

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Correlation
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs


@Loop
def fill_rectified(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,
    tangent: bool,
    out: RowGaps,
) -> int:
    """Write 1 ∓ c, see `Loop`.

    c is (1 − θ/π) A(ρ) + (sin θ/π) B(ρ) with the polynomials of `_polynomials`, of which the
    constants are the degrees of φ and of φ', and after them the coefficients. Samples have 0 where
    φ is 0 of them, and 1 elsewhere; and the same for φ'.
    """
    near, far = pairs[0], pairs[1]
    scratch = np.empty((7, _PAIRS_AT_ONCE))
    close = 0
    for start in range(0, len(near), _PAIRS_AT_ONCE):
        m = min(_PAIRS_AT_ONCE, len(near) - start)
        gaps = near[start : start + m], far[start : start + m]
        angles = scratch[0, :m], scratch[1, :m], scratch[2, :m], scratch[3, :m]
        _fill_angles(gaps, angles)
        at = 2
        for part in range(2 if tangent else 1):
            terms = int(constants[part]) // 2 + 1
            odd = int(constants[part]) % 2 == 1
            inner = constants[at : at + terms], constants[at + terms : at + 2 * terms]
            at += 2 * terms
            cosines = scratch[4, :m]
            _fill_cosines(angles, inner, odd, (scratch[5, :m], scratch[6, :m]), cosines)
            own, others = row[part], columns[part, first + start : first + start + m]
            new_near = out[2 * part][start : start + m]
            new_far = out[2 * part + 1][start : start + m]
            for j in range(m):
                c = cosines[j] * (own * others[j])
                new_near[j], new_far[j] = 1.0 - c, 1.0 + c
                close += c > 1.0 - CLOSE
    return close


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _fill_angles(gaps: tuple[Array, Array], out: tuple[Array, Array, Array, Array]) -> None:
    """Write 1 − θ/π, sin θ, ρ and ρ²."""
    near, far = gaps
    gate, sine, rho, square = out
    for j in range(len(near)):
        root = math.sqrt(near[j] * far[j])
        turn = root * arc_factor(0.5 * min(near[j], far[j]))
        gate[j] = 1.0 - turn if near[j] <= far[j] else turn
        sine[j] = root
        rho[j] = correlation(near[j], far[j])
        square[j] = rho[j] * rho[j]


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def _fill_cosines(
    angles: tuple[Array, Array, Array, Array],
    coefficients: tuple[Array, Array],
    odd: bool,
    scratch: tuple[Array, Array],
    out: Array,
) -> None:
    """Write c of `fill_rectified` from what `_fill_angles` writes, for an odd or even degree."""
    gate, sine, rho, square = angles
    a, b = scratch
    terms = len(coefficients[0])
    for j in range(len(out)):
        a[j], b[j] = coefficients[0][terms - 1], coefficients[1][terms - 1]
    for k in range(terms - 2, -1, -1):
        p, q = coefficients[0][k], coefficients[1][k]
        for j in range(len(out)):
            a[j] = a[j] * square[j] + p
            b[j] = b[j] * square[j] + q
    if odd:
        for j in range(len(out)):
            out[j] = gate[j] * a[j] * rho[j] + sine[j] * b[j]
    else:
        for j in range(len(out)):
            out[j] = gate[j] * a[j] + sine[j] * b[j] * rho[j]


class RectifiedMonomial(CompiledDual):
    """The dual of φ(x) = max(x, 0)^degree, whose gaps are free of scale."""

    gap_error = CANCELLATION
    keeps_digits = True
    scale_free = True
    loop = fill_rectified

    def __init__(self, degree: int) -> None:
        self.degree = degree
        self.slope_jumps = degree == 1
        parts = [degree, degree - 1], *_polynomials(degree), *_polynomials(degree - 1)
        self.constants = np.concatenate([np.array(part, np.float64) for part in parts])

    def state(self, deviation: Array) -> State:
        """Return the state of samples, by homogeneity."""
        slope = self.degree * deviation ** (self.degree - 1)
        value = deviation**self.degree * math.sqrt(_parallel_moment(self.degree))
        slope *= math.sqrt(_parallel_moment(self.degree - 1))
        present = np.sign(np.stack([value, slope]))
        return State(deviation, value, slope, present, self.constants)

    def refine(self, x: State, z: State, pairs: Correlation, found: tuple[Gaps, ...]) -> None:  # noqa: ARG002
        """Write small gaps to their own digits."""
        for result, p in zip(found, (self.degree, self.degree - 1), strict=False):
            close = result.near < CLOSE
            result.near[close] = _lost(p, Gaps(*(gap[close] for gap in pairs.gaps)))
            result.far[close] = 2 - result.near[close]


_PAIRS_AT_ONCE = 128


@cache
def _polynomials(p: int) -> tuple[list[float], list[float]]:
    """Return the coefficients of A and B, without those that are 0.

    Of A those of ρ^(p mod 2 + 2k), of B those of ρ^((p + 1) mod 2 + 2k), for k ≤ p/2. They are
    those of M(p, p) = E[u₊^p v₊^p] over M(p, p) at ρ = 1, in whole numbers up to then. By partial
    integration over u (Stein's lemma), for standard deviations of 1,

        M(a, b) = (a − 1) M(a − 2, b) + b ρ M(a − 1, b − 1) for a ≥ 2;

    with a = 1 the boundary term E[δ(u) v₊^b] = sin^b θ E[w₊^b]/√(2π) takes the place of the first
    one, and with b = 0 the gate 1[v > 0] changes at a boundary. M(0, 0) is (1 − θ/π)/2.
    """

    def boundary(b: int) -> Polynomials:
        # sin^b θ = sin θ (1 − ρ²)^((b − 1)/2)
        half = (b - 1) // 2
        power = [
            (-1) ** k * math.comb(half, k) * 2**half * math.factorial(half) for k in range(half + 1)
        ]
        return {}, {2 * k: value for k, value in enumerate(power)}

    @cache
    def moment(a: int, b: int) -> Polynomials:
        if a < b:
            return moment(b, a)
        if a == 0:
            return {0: 1}, {}
        if a == 1:
            return _sum((boundary(1), 1, 0), (moment(0, 0), 1, 1))
        if b == 0:
            return _sum((moment(a - 2, 0), a - 1, 0), (boundary(a - 1), 1, 1))
        return _sum((moment(a - 2, b), a - 1, 0), (moment(a - 1, b - 1), b, 1))

    both = moment(p, p)
    whole = sum(both[0].values())
    terms = range(p // 2 + 1)
    return (
        [both[0].get(p % 2 + 2 * k, 0) / whole for k in terms],
        [both[1].get((p + 1) % 2 + 2 * k, 0) / whole / math.pi for k in terms],
    )


# Coefficients of A and of B by their powers.
Polynomials = tuple[dict[int, int], dict[int, int]]


def _sum(*terms: tuple[Polynomials, int, int]) -> Polynomials:
    """Return the sum of polynomials, each times a number and a power of ρ."""
    result: Polynomials = {}, {}
    for polynomials, factor, shift in terms:
        for total, part in zip(result, polynomials, strict=True):
            for power, value in part.items():
                total[power + shift] = total.get(power + shift, 0) + factor * value
    return result


# Nodes on [0, 1] for an entire function of an angle so small that the expectation is close to 1.
_ANGLES, _ANGLE_WEIGHTS = (
    (points + 1) / 2 if k == 0 else points / 2
    for k, points in enumerate(np.polynomial.legendre.leggauss(10))
)


def _lost(p: int, rho: Gaps) -> Array:
    """Return 1 − c, to the digits of small ones.

    The derivative of M(p, p) by ρ is p² M(p − 1, p − 1) (Price's theorem).
    """
    if p == 0:
        return np.asarray(rho.angle / math.pi)
    total = np.zeros_like(rho.near)
    for node, weight in zip(_ANGLES, _ANGLE_WEIGHTS, strict=True):
        half = node * rho.angle / 2
        gaps = Gaps(2 * np.sin(half) ** 2, 2 * np.cos(half) ** 2)
        total += weight * gaps.sine * _cosine(p - 1, gaps)
    return total * rho.angle * (p**2 / (2 * p - 1))


def _cosine(p: int, gaps: Gaps) -> Array:
    rho, square = gaps.cosine, gaps.cosine**2
    a, b = (polynomial.polyval(square, each) for each in _polynomials(p))
    first, second = (rho, 1.0) if p % 2 else (1.0, rho)
    return (gaps.swapped.angle / math.pi) * a * first + gaps.sine * b * second


def _parallel_moment(p: int) -> float:
    """Return E[u₊^{2p}] = (2p − 1)!!/2."""
    return math.prod(range(1, 2 * p, 2)) / 2
