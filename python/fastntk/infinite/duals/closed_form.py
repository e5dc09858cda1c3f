# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals of which both expectations have a closed form."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fastntk.infinite.duals.base import CANCELLATION, State
from fastntk.infinite.duals.compiled import CompiledDual
from fastntk.infinite.duals.expectation import CLOSE

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Correlation, Gaps
    from fastntk.infinite.duals.compiled import Loop
    from fastntk.infinite.duals.expectation import Expectation


class ClosedForm(CompiledDual):
    """A dual that consists of the expectations of φ and of φ'.

    Parameters
    ----------
    value, slope : Expectation
        The expectations.
    loop : Loop
        Writes both, right in absolute terms.
    constants : tuple of float
        Numbers of the loop.
    """

    gap_error = CANCELLATION
    keeps_digits = True

    def __init__(
        self,
        value: Expectation,
        slope: Expectation,
        loop: Loop,
        constants: tuple[float, ...] = (),
    ) -> None:
        self.value, self.slope, self.loop = value, slope, loop
        self.constants = np.array(constants)

    @abstractmethod
    def samples(self, s: Array, norms: tuple[Array, Array]) -> Array:
        """Return what the loop needs of each sample (k, n).

        Parameters
        ----------
        s : ndarray (n,)
            Standard deviations.
        norms : tuple of ndarray (n,)
            1/√E[φ(su)²] and 1/√E[φ'(su)²]; 0 where these are 0.
        """

    def state(self, deviation: Array) -> State:
        """Return the state of samples."""
        norms = self.value.root_mean_square(deviation), self.slope.root_mean_square(deviation)
        inverse = tuple(np.divide(1, x, out=np.zeros_like(x), where=x > 0) for x in norms)
        samples = self.samples(deviation, (inverse[0], inverse[1]))
        return State(deviation, *norms, samples, self.constants)

    def refine(self, x: State, z: State, pairs: Correlation, found: tuple[Gaps, ...]) -> None:
        """Write small gaps to their own digits, by the formulas of the expectations."""
        for expectation, result in zip((self.value, self.slope), found, strict=False):
            refine_small(expectation, result, (x.deviation, z.deviation), pairs)


def refine_small(
    expectation: Expectation, result: Gaps, deviations: tuple[Array, Array], pairs: Correlation
) -> None:
    """Write small gaps of an expectation to their own digits.

    Parameters
    ----------
    expectation : Expectation
        The expectation.
    result : Gaps
        Its gaps, right in absolute terms.
    deviations : tuple of ndarray (rows,), (columns,)
        Standard deviations.
    pairs : Correlation
        The pairs.
    """
    if _settle_rows((pairs.gaps.near, pairs.difference), (result.near, result.far)):
        equal = (pairs.gaps.near == 0) & (pairs.difference == 0) & (result.near == 0)
        small = (np.minimum(*result) < CLOSE) & ~equal
        expectation.refine(result, small, deviations, pairs)


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def put(out: tuple[Array, Array, Array, Array], j: int, c: float, d: float) -> int:
    """Write 1 ∓ c and 1 ∓ d, with c and d of φ and φ'; return whether one of them is small."""
    out[0][j], out[1][j] = 1.0 - c, 1.0 + c
    out[2][j], out[3][j] = 1.0 - d, 1.0 + d
    return int(max(abs(c), abs(d)) > 1.0 - CLOSE)


# Pairs that are looked at one by one where there are equal samples among them.
_PAIRS_AT_ONCE = 64


@njit(nogil=True, cache=True)
def settle_equal(
    pairs: tuple[Array, Array],
    values: tuple[Array, Array],
    slopes: tuple[Array, Array],
    tangent: bool,
) -> int:
    """Write the gaps 0 and 2 of pairs of equal samples; return how many others have small gaps.

    Parameters
    ----------
    pairs : tuple of ndarray (m,)
        1 − ρ, and s − t.
    values, slopes : tuple of ndarray (m,)
        The gaps of φ and of φ'.
    tangent : bool
        Whether there are those of φ'.
    """
    others = _settle_equal(pairs, values)
    return others + _settle_equal(pairs, slopes) if tangent else others


@njit(nogil=True, cache=True)
def _settle_equal(pairs: tuple[Array, Array], gaps: tuple[Array, Array]) -> int:
    before, difference = pairs
    near, far = gaps
    others = 0
    for start in range(0, len(near), _PAIRS_AT_ONCE):
        stop = min(start + _PAIRS_AT_ONCE, len(near))
        # Counted first, without a branch: there are few.
        small, equal = 0, 0
        for j in range(start, stop):
            small += min(near[j], far[j]) < CLOSE
            equal += (before[j] == 0.0) & (difference[j] == 0.0) & (near[j] < CLOSE)
        others += small - equal
        if equal > 0:
            for j in range(start, stop):
                if before[j] == 0.0 and difference[j] == 0.0 and near[j] < CLOSE:
                    near[j], far[j] = 0.0, 2.0
    return others


@njit(nogil=True, cache=True)
def _settle_rows(pairs: tuple[Array, Array], gaps: tuple[Array, Array]) -> int:
    others = 0
    for i in range(len(pairs[0])):
        others += _settle_equal((pairs[0][i], pairs[1][i]), (gaps[0][i], gaps[1][i]))
    return others
