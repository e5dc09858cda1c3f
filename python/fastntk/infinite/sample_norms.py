# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Norms of the input samples, at any scale.

Rows far from the size of 1 are scaled by powers of two, which changes no digit, so that no sum of
squares over- or underflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fastntk.infinite.double_double import square

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray


# Up to which exponents samples are taken as they are: a copy of a part of them for each tile would
# take as long as all else that makes gaps of its products.
_PLAIN = 64


@dataclass(frozen=True)
class Norms:
    """Norms of samples, ‖x‖ = (significand + rest) · 2^exponent.

    Attributes
    ----------
    dimension : int
        Number of inputs d.
    significands : ndarray (n,)
        At least 1/2, or 0 for a zero row.
    exponents : ndarray (n,)
        Such that the largest entry of a row is between 1/2 and 1 times 2^exponent.
    rests : ndarray (n,)
        What rounding took from the significands, so that differences of norms keep their digits.
    """

    dimension: int
    significands: NDArray[np.float64]
    exponents: NDArray[np.int64]
    rests: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.significands)

    def take(self, samples: NDArray[np.intp]) -> Norms:
        """Return the norms of some of the samples."""
        return Norms(
            self.dimension,
            self.significands[samples],
            self.exponents[samples],
            self.rests[samples],
        )

    @classmethod
    def joined(cls, sets: Sequence[Norms]) -> Norms:
        """Return the norms of several sets of samples, one after the other."""
        return cls(
            sets[0].dimension,
            np.concatenate([norms.significands for norms in sets]),
            np.concatenate([norms.exponents for norms in sets]),
            np.concatenate([norms.rests for norms in sets]),
        )


@dataclass(frozen=True)
class Samples:
    """Samples as they were given, one a row in float32 or float64, and their norms.

    Attributes
    ----------
    rows : ndarray (n, d)
        The samples, or those of a range of them that are looked at.
    norms : Norms
        Those of all samples.
    first : int
        The sample that `rows` begin with.
    """

    rows: FloatArray
    norms: Norms
    first: int = 0

    @classmethod
    def unseen(cls, norms: Norms) -> Samples:
        """Return samples of which only the norms are at hand."""
        return cls(np.empty((0, norms.dimension)), norms)

    def with_rows(self, rows: FloatArray, first: int) -> Samples:
        """Return the same samples, of which a range that begins with `first` is at hand."""
        return Samples(rows, self.norms, first)

    @classmethod
    def of(cls, X: FloatArray) -> Samples:
        """Measure the rows of X."""
        n = len(X)
        significands, rests, exponents = np.empty(n), np.empty(n), np.empty(n, dtype=np.int64)
        step = max(1, 2**18 // X.shape[1])
        for first in range(0, n, step):
            rows = slice(first, first + step)
            largest = np.maximum(X[rows].max(axis=1), -X[rows].min(axis=1)).astype(np.float64)
            # 2^1024 and the reciprocals of subnormal numbers are not representable.
            exponents[rows] = np.clip(np.frexp(largest)[1], -1022, 1023)
            scaled = _scaled(X[rows], exponents[rows])
            rough = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
            rest = _rests(scaled, rough)
            # Many squares that are rounded to the same side take many roundings with them: what is
            # missing of their sum is more than a rest.
            significands[rows] = rough + rest
            rests[rows] = rest - (significands[rows] - rough)
        return cls(X, Norms(X.shape[1], significands, exponents, rests))

    def __len__(self) -> int:
        return len(self.norms)

    @cached_property
    def _plain(self) -> bool:
        """Whether no sum of products would leave the range of numbers without scaling."""
        near = self.norms.exponents.min() >= -_PLAIN and self.norms.exponents.max() <= _PLAIN
        return self.rows.dtype == np.float64 and bool(near)

    def scaled(self, rows: slice, columns: slice) -> NDArray[np.float64]:
        """Return a panel of the rows, scaled by powers of two where there is a need."""
        panel = self.rows[rows.start - self.first : rows.stop - self.first, columns]
        if self._plain:
            return panel.astype(np.float64, copy=False)
        return _scaled(panel, self.norms.exponents[rows])

    def inverse_norms(self, rows: slice) -> NDArray[np.float64]:
        """Return 1 / norm of the rows as they were scaled, and 0 for zero rows."""
        values = self.norms.significands[rows]
        inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
        return np.ldexp(inverse, -self.norms.exponents[rows]) if self._plain else inverse


def _scaled(X: FloatArray, exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.multiply(X, np.ldexp(1.0, -exponents)[:, np.newaxis], dtype=np.float64)


@njit(nogil=True, cache=True)
def _rests(rows: NDArray[np.float64], norms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what is missing of the norms of rows: (Σ x_k² − norm²) / (2 norm).

    The sum is one of exact squares and of errors of additions (Dekker, Knuth), which makes it right
    to about twice as many digits as a number has.
    """
    result = np.zeros(len(norms))
    for i in range(len(norms)):
        if norms[i] == 0.0:
            continue
        high, low = square(norms[i])
        total, rest = -high, -low
        for k in range(rows.shape[1]):
            high, low = square(rows[i, k])
            new = total + high
            part = new - total
            rest += ((total - (new - part)) + (high - part)) + low
            total = new
        result[i] = (total + rest) / (2.0 * norms[i])
    return result
