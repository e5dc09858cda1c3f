# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The pairs of samples with the largest cosines, of all that are offered in whatever order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray

# What stands in the place of a cosine if its pair is not to be taken; and a number between this and
# all cosines, rounding included.
LEFT_OUT = -2.0
_BELOW_ALL = -1.5


class LargestCosines:
    """The first pairs of all that were offered, those with the largest cosines.

    Of equal cosines the first pairs (i, j) count: a strict order, so that the pairs that are kept
    do not depend on the order in which they are offered.

    Attributes
    ----------
    count : int
        How many are kept at most.
    cosines, i, j : ndarray (k,)
        The cosines in descending order, and the samples i < j of each.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.cosines: NDArray[np.float64] = np.empty(0)
        self.i: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self.j: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    def offer(self, cosines: FloatArray, rows: slice, columns: slice) -> None:
        """Take what is large enough of a matrix; where it lies says which samples these are."""
        full = len(self.cosines) == self.count
        least = self.cosines[-1] if full else _BELOW_ALL
        if cosines.max() < least:
            return
        row, column = np.nonzero(cosines >= least)
        values = cosines[row, column]
        if len(values) > self.count:
            # What is less than the last of so many is sorted out before anything is sorted.
            enough = values >= np.partition(values, -self.count)[-self.count]
            row, column, values = row[enough], column[enough], values[enough]
        one, other = row + rows.start, column + columns.start
        self.take(values, np.minimum(one, other), np.maximum(one, other))

    def merge(self, found: LargestCosines) -> None:
        """Take the pairs that were found among others."""
        self.take(found.cosines, found.i, found.j)

    def take(self, cosines: FloatArray, i: NDArray[np.intp], j: NDArray[np.intp]) -> None:
        """Take the first of some pairs, i < j, and of those that were offered before."""
        every = np.concatenate([self.cosines, cosines])
        first, second = np.concatenate([self.i, i]), np.concatenate([self.j, j])
        order = np.lexsort((second, first, -every))[: self.count]
        self.cosines, self.i, self.j = every[order], first[order], second[order]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The pairs (i, j)."""
        return [(int(i), int(j)) for i, j in zip(self.i, self.j, strict=True)]
