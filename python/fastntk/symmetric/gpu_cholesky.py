# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Cholesky decompositions of large matrices in the memory of a GPU, with CuPy.

By blocks of columns from left to right: cuSOLVER decomposes those on the diagonal, cuBLAS does the
rest, products of which most of the work consists. CuPy's own decomposition takes two copies of the
matrix; this one takes none but what it writes, can be interrupted after each block, and no call
has more elements than an int can count.

How cuSOLVER and cuBLAS solve with a block is not published (by substitution, or with inverses of
small blocks), and theorems about rounding do not hold for all ways. So the error of a factor is not
taken from one, but measured: |A − L Lᵀ| is what a product finds, and what its own rounding can be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.progress import monitored
from fastntk.symmetric.cholesky import NotPositiveDefinite
from fastntk.symmetric.gpu_matrix import row_blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastntk._support.progress import Progress

# Rows and columns of a block: enough for cuBLAS to run at its full speed, and 32 MB.
BLOCK = 2048

# Columns of a factor with pivoting that are collected before they are subtracted from the rest.
_PIVOTS = 256


@dataclass(frozen=True)
class UpperTriangle:
    """A symmetric matrix of which only the upper triangle is read.

    Attributes
    ----------
    array : cupy.ndarray (n, n)
        In C's order. Its diagonal and what is below it belong to a factor.
    diagonal : cupy.ndarray (n,)
    """

    array: Any
    diagonal: Any

    def block(self, rows: slice, cols: slice, sign: int = 1, shift: float = 0.0) -> Any:
        """Return a block of sign · A + shift · I on the diagonal or below it."""
        import cupy

        if rows != cols:
            return sign * self.array[cols, rows].T
        above = sign * cupy.triu(self.array[rows, rows], 1)
        return above + above.T + cupy.diag(sign * self.diagonal[rows] + shift)

    def mirror(self) -> None:
        """Write the diagonal and the lower triangle, too."""
        for rows in _blocks(len(self.array)):
            before = slice(0, rows.start)
            self.array[rows, before] = self.array[before, rows].T
            self.array[rows, rows] = self.block(rows, rows)


class GpuCholesky:
    """The factor L of sign · A + shift · I = L Lᵀ.

    Attributes
    ----------
    shift : float
    sign : int
    """

    def __init__(
        self,
        matrix: UpperTriangle,
        target: Any,
        *,
        shift: float,
        sign: int = 1,
        progress: Progress = False,
    ) -> None:
        """Compute the factor in the lower triangle and the diagonal of `target`.

        Parameters
        ----------
        matrix : UpperTriangle
        target : cupy.ndarray (n, n)
            In C's order; may be the array of `matrix`.

        Raises
        ------
        NotPositiveDefinite
            With the first row of the block in which the pivot is.
        """
        self._matrix, self._target = matrix, target
        self.shift, self.sign = shift, sign
        with monitored(progress, "Cholesky") as monitor:
            for cols in _blocks(len(target)):
                if monitor is not None:
                    monitor("cholesky", cols.start, len(target))
                self._decompose(cols)

    def _decompose(self, cols: slice) -> None:
        import cupy
        import cupyx
        from cupyx.scipy.linalg import solve_triangular

        target = self._target
        left = cupy.ascontiguousarray(target[cols, : cols.start])
        corner = _less(self._wanted(cols, cols), left, left)
        try:
            # Without this CuPy does not look at what cuSOLVER reports.
            with cupyx.errstate(linalg="raise"):
                factor = cupy.linalg.cholesky(corner)
        except np.linalg.LinAlgError:
            raise NotPositiveDefinite(cols.start) from None
        target[cols, cols] = factor + cupy.triu(target[cols, cols], 1)
        for rows in _blocks(len(target), cols.stop):
            block = _less(self._wanted(rows, cols), target[rows, : cols.start], left)
            # X Lᵀ = B as L Xᵀ = Bᵀ; transposed arrays are in the order that cuBLAS reads.
            solution = solve_triangular(factor.T, block.T, trans="T", lower=False, overwrite_b=True)
            target[rows, cols] = solution.T

    def _wanted(self, rows: slice, cols: slice) -> Any:
        return self._matrix.block(rows, cols, self.sign, self.shift)

    def solve(self, vectors: Any) -> Any:
        """Return (L Lᵀ)⁻¹ V of the vectors V (n, k)."""
        from cupyx.scipy.linalg import solve_triangular

        transposed = self._target.T  # not copied; Lᵀ is above
        middle = solve_triangular(transposed, vectors, trans="T", lower=False)
        return solve_triangular(transposed, middle, trans="N", lower=False, overwrite_b=True)

    def residual_norm(self) -> float:
        """Return ‖sign · A + shift · I − L Lᵀ‖_F as computed.

        Each element takes a sum of at most n products, and one difference.
        """
        import cupy

        target, squares = self._target, 0.0
        for cols in _blocks(len(target)):
            right = target[cols, : cols.stop].copy()
            right[:, cols] = cupy.tril(right[:, cols])
            corner = self._wanted(cols, cols) - right @ right.T
            squares += float((corner * corner).sum())
            for rows in _blocks(len(target), cols.stop):
                block = self._wanted(rows, cols) - target[rows, : cols.stop] @ right.T
                squares += 2 * float((block * block).sum())
        return math.sqrt(squares)


def rank(work: Any, floor: float) -> int:
    """Return how many steps a decomposition with diagonal pivoting takes down to `floor`.

    It takes the steps of `dpstrf` of LAPACK without moving rows: those that have been pivots are
    never read again.

    Parameters
    ----------
    work : cupy.ndarray (n, n)
        Both triangles of the matrix; overwritten.
    floor : float
    """
    import cupy

    n = len(work)
    remaining = work.diagonal().copy()
    panel = cupy.zeros((n, min(n, _PIVOTS)), order="F")
    for count in range(n):
        column = count % _PIVOTS
        if column == 0 and count > 0:
            for rows in _blocks(n):
                work[rows] -= panel[rows] @ panel.T
        pivot = int(remaining.argmax())
        largest = float(remaining[pivot])
        if not largest > max(floor, 0.0):
            return count
        new = work[pivot].copy()
        if column > 0:
            new -= panel[:, :column] @ panel[pivot, :column]
        new /= math.sqrt(largest)
        panel[:, column] = new
        remaining -= new * new
        remaining[pivot] = -math.inf
    return n


def _blocks(n: int, first: int = 0) -> Iterator[slice]:
    """Yield the blocks of rows, or of columns, from `first` on."""
    return row_blocks(n, BLOCK, first)


def _less(block: Any, left: Any, right: Any) -> Any:
    """Return block − left · rightᵀ, in C's order."""
    return block - left @ right.T if left.shape[1] else block.copy()
