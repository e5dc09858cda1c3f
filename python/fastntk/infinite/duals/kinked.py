# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Functions with kinks: Hermite series, and something else where the kinks make these too long.

Of a function whose slope jumps, n coefficients leave a part of 1/√n out of the square of the slope.
That does not matter to pairs that are neither nearly parallel nor nearly opposite, as the terms of
their sums fall with the powers of the correlation; the others are left to each dual.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.infinite.duals.base import State
from fastntk.infinite.duals.compiled import CompiledDual, Loop
from fastntk.infinite.duals.expectation import CLOSE
from fastntk.infinite.duals.hermite import fill_terms
from fastntk.infinite.duals.series import Series
from fastntk.infinite.duals.vectorized import correlation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.duals.base import Array
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs

# So many terms of Hermite series are enough for most angles.
TERMS = 256

# What a series leaves out of a cosine, and by how much its coefficients may be off.
_MISSING, OFF = 2.0**-52, 2.0**-48


@Loop
def fill_kinked(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,
    tangent: bool,
    out: RowGaps,
) -> int:
    """Write 1 ∓ c by series, see `Loop`, or 0 and 0 where these are too long.

    Samples have 1 where there are series of them, and 0 elsewhere; and what `fill_series` takes.
    """
    near, far = pairs[0], pairs[1]
    fill_terms((near, far), row[1:], columns[1:], first, constants, tangent, out)
    close = 0
    own, others = row[0], columns[0, first:]
    at = 0
    for part in range(2 if tangent else 1):
        terms = int(constants[at])
        largest = constants[at + 1 + terms]
        at += 2 + terms
        new_near, new_far = out[2 * part], out[2 * part + 1]
        for j in range(len(near)):
            long = abs(correlation(near[j], far[j])) > largest or own * others[j] == 0.0
            new_near[j] = 0.0 if long else new_near[j]
            new_far[j] = 0.0 if long else new_far[j]
            close += min(new_near[j], new_far[j]) < CLOSE
    return close


class Kinked(CompiledDual):
    """A dual by series, but for pairs that are left to `refine`: their gaps are 0 and 0."""

    loop = fill_kinked

    @abstractmethod
    def norms(self, s: Array) -> tuple[Array, Array]:
        """Return √E[φ(u)²] and √E[φ'(u)²] for standard deviations (n,)."""

    @abstractmethod
    def has_series(self, s: Array) -> NDArray[np.bool_]:
        """Return for which standard deviations there are series (n,)."""

    @abstractmethod
    def coefficients(self, s: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        """Return the coefficients of φ and of φ', each with what they leave out.

        Parameters
        ----------
        s : ndarray (n,)
            Standard deviations that have series, ascending.

        Returns
        -------
        tuple of pairs of ndarray (TERMS, n), (n,)
            See `hermite_coefficients`.
        """

    def state(self, deviation: Array) -> State:
        """Return the state of samples."""
        # The series of φ and of φ', of those that differ and then of all samples.
        require_memory(
            2 * 2 * 8 * TERMS * len(deviation),
            f"X: series of an activation with kinks for {len(deviation)} samples",
            "take fewer samples",
        )
        norms = self.norms(deviation)
        distinct, back = np.unique(deviation, return_inverse=True)
        short = self.has_series(distinct)
        numbers, constants = [short[np.newaxis].astype(np.float64)], [np.empty(0)]
        found = self.coefficients(distinct[short]) if short.any() else None
        for part in range(2):
            coefficients, rest = np.zeros((TERMS, len(distinct))), np.zeros(len(distinct))
            if found is not None:
                coefficients[:, short], rest[short] = found[part]
            series = Series.of(coefficients, rest, _MISSING)
            numbers.append(series.coefficients)
            constants.append(np.append(len(series.coefficients), series.limits))
        samples = np.concatenate(numbers)[:, back]
        return State(deviation, norms[0], norms[1], samples, np.concatenate(constants))
