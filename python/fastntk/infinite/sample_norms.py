# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Norms of the input samples, at any scale.

Rows are scaled by powers of two, which changes no digit, so that no sum of squares over- or
underflows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray


@dataclass(frozen=True)
class Norms:
    """Norms of samples, ‖x‖ = significand · 2^exponent.

    Attributes
    ----------
    dimension : int
        Number of inputs d.
    significands : ndarray (n,)
        At least 1/2, or 0 for a zero row.
    exponents : ndarray (n,)
        Such that the largest entry of a row is between 1/2 and 1 times 2^exponent.
    """

    dimension: int
    significands: NDArray[np.float64]
    exponents: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.significands)

    def followed_by(self, others: Norms) -> Norms:
        """Return the norms of both sets of samples, one after the other."""
        return Norms(
            self.dimension,
            np.concatenate([self.significands, others.significands]),
            np.concatenate([self.exponents, others.exponents]),
        )


@dataclass(frozen=True)
class Samples:
    """Samples as they were given, one a row in float32 or float64, and their norms."""

    rows: FloatArray
    norms: Norms

    @classmethod
    def of(cls, X: FloatArray) -> Samples:
        """Measure the rows of X."""
        n = len(X)
        significands, exponents = np.empty(n), np.empty(n, dtype=np.int64)
        step = max(1, 2**18 // X.shape[1])
        for first in range(0, n, step):
            rows = slice(first, first + step)
            largest = np.maximum(X[rows].max(axis=1), -X[rows].min(axis=1)).astype(np.float64)
            # 2^1024 and the reciprocals of subnormal numbers are not representable.
            exponents[rows] = np.clip(np.frexp(largest)[1], -1022, 1023)
            scaled = _scaled(X[rows], exponents[rows])
            significands[rows] = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
        return cls(X, Norms(X.shape[1], significands, exponents))

    def __len__(self) -> int:
        return len(self.rows)

    def scaled(self, rows: slice, columns: slice) -> NDArray[np.float64]:
        """Return a panel of the rows, scaled by powers of two."""
        return _scaled(self.rows[rows, columns], self.norms.exponents[rows])

    def inverse_significands(self, rows: slice) -> NDArray[np.float64]:
        """Return 1 / significand, and 0 for zero rows."""
        values = self.norms.significands[rows]
        return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


def _scaled(X: FloatArray, exponents: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.multiply(X, np.ldexp(1.0, -exponents)[:, np.newaxis], dtype=np.float64)
