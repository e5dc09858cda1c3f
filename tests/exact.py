# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Exact facts about eigenvalues, in rational arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import hadamard

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    Matrix = npt.NDArray[np.float64]


class Inertia(NamedTuple):
    """How many eigenvalues are below, at and above a number."""

    below: int
    at: int
    above: int


def inertia(matrix: Matrix, shift: float) -> Inertia:
    """Return where the eigenvalues of a symmetric matrix of floats lie: Sylvester's law, exactly.

    Only the lower triangle is read. For a pivot of zero with something beside it, a 2 × 2 block
    takes its place, whose eigenvalues have opposite signs.
    """
    n = len(matrix)
    rows = [
        [
            Fraction(float(matrix[max(i, j), min(i, j)])) - (Fraction(shift) if i == j else 0)
            for j in range(n)
        ]
        for i in range(n)
    ]
    below = above = 0
    remaining = list(range(n))
    while remaining:
        pivot = next((i for i in remaining if rows[i][i] != 0), None)
        if pivot is None:
            pair = next(((i, j) for i in remaining for j in remaining if rows[i][j] != 0), None)
            if pair is None:
                break
            i, j = pair
            # Adding row and column j to i changes no inertia, and makes a pivot.
            for k in remaining:
                rows[i][k] += rows[j][k]
            for k in remaining:
                rows[k][i] += rows[k][j]
            pivot = i
        value = rows[pivot][pivot]
        below, above = below + (value < 0), above + (value > 0)
        remaining.remove(pivot)
        for i in remaining:
            factor = rows[i][pivot] / value
            if factor != 0:
                for j in remaining:
                    rows[i][j] -= factor * rows[pivot][j]
    return Inertia(below, n - below - above, above)


def with_integer_spectrum(eigenvalues: Sequence[int]) -> Matrix:
    """Return a full matrix of floats with exactly these eigenvalues; their number a power of 2.

    H diag(λ) Hᵀ, with Sylvester's Hadamard matrix H, has the eigenvalues n λ, and entries that are
    sums of integers.
    """
    n = len(eigenvalues)
    if sum(abs(value) for value in eigenvalues) >= 2**53:
        raise ValueError("entries would be rounded")
    signs = hadamard(n).astype(np.float64)
    result: Matrix = (signs * np.array(eigenvalues, dtype=np.float64)) @ signs.T / n
    return result
