# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Cholesky factors of large kernels, full or packed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

import fastntk._core as _core
from fastntk._support.dtypes import FLOAT_DTYPES
from fastntk._support.memory import is_always_there, require_memory
from fastntk._support.progress import monitored
from fastntk._support.threads import core_threads
from fastntk.symmetric.packed import PackedKernel
from fastntk.symmetric.products import as_columns

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress


class NotPositiveDefinite(np.linalg.LinAlgError):
    """A matrix has no Cholesky factor.

    Attributes
    ----------
    pivot : int
        The row, counted from 0, whose pivot is not positive and finite: the leading rows and
        columns before it are positive definite.
    """

    def __init__(self, pivot: int) -> None:
        super().__init__(f"not positive definite: the pivot of row {pivot} is not positive")
        self.pivot = pivot


class Cholesky:
    """The factor L of sign·K + shift·1 = L Lᵀ.

    Computed tile by tile in the core, in float64: the same to the last bit for any number of
    threads, and Ctrl-C stops it. Made by `of`.

    Attributes
    ----------
    n : int
        The number of rows.
    """

    def __init__(self, factor: FloatArray, n: int) -> None:
        self._factor = factor  # (n, n), or packed; only the lower triangle means anything
        self.n = n

    @classmethod
    def of(
        cls,
        matrix: FloatArray | PackedKernel,
        *,
        shift: float = 0.0,
        sign: float = 1.0,
        overwrite: bool = False,
        progress: Progress = False,
    ) -> Cholesky:
        """Return the factor of sign·K + shift·1.

        Parameters
        ----------
        matrix : ndarray (n, n) or PackedKernel
            K; of an array, which has to be C-contiguous, only the lower triangle is read.
        shift : float
            Finite; what is added to the diagonal.
        sign : {1, -1}
            What K is multiplied by.
        overwrite : bool
            Put the factor where K was, in float64; what lies above the diagonal of an array stays.
            If there is no factor, K is lost all the same. Otherwise the factor is a packed one, in
            half of the memory of an array.
        progress : bool or callable
            Show a bar, or call ``progress(stage, done, total)`` about ten times a second.

        Raises
        ------
        NotPositiveDefinite
            With the pivot that is not positive, or not finite.
        MemoryError
            If the packed copy does not fit in the memory that is available.

        Examples
        --------
        >>> import numpy as np
        >>> factor = Cholesky.of(np.array([[2.0, 1.0], [1.0, 2.0]]), shift=1.0)
        >>> factor.solve(np.array([4.0, 4.0]))
        array([1., 1.])
        """
        source = _stored(matrix)
        n = int(matrix.shape[0])
        if sign not in {1, -1}:
            raise ValueError(f"sign={sign!r}: expected 1 or -1")
        if not math.isfinite(shift):
            raise ValueError(f"shift={shift!r}: expected a finite number")
        if overwrite and not (source.dtype == np.float64 and source.flags.writeable):
            raise ValueError(
                f"matrix has dtype {source.dtype}"
                f"{'' if source.flags.writeable else ' and is read-only'}: expected a writable one "
                "in float64 with overwrite=True"
            )
        target = source
        if not overwrite:
            size = n * (n + 1) // 2
            if not is_always_there(8 * size):
                what = f"the Cholesky factor of a matrix of {n} × {n}"
                require_memory(8 * size, what, "take fewer samples")
            target = np.empty(size)
        with core_threads() as threads, monitored(progress, "Cholesky") as monitor:
            if not overwrite or sign != 1 or shift != 0:
                _core.scale_and_shift(source, float(sign), float(shift), target, threads, monitor)
            pivot = _core.cholesky(target, threads, monitor)
        if pivot < n:
            raise NotPositiveDefinite(pivot)
        return cls(target, n)

    def solve(self, vectors: FloatArray) -> FloatArray:
        """Return (L Lᵀ)⁻¹ V of the vectors V (n,) or (n, k)."""
        result: FloatArray = np.array(vectors, dtype=np.float64, order="C")
        with core_threads() as threads:
            _core.cholesky_solve(self._factor, as_columns(result, self.n), threads, None)
        return result


def _stored(matrix: FloatArray | PackedKernel) -> FloatArray:
    """Return the array in which the core finds the matrix."""
    if isinstance(matrix, PackedKernel):
        return matrix.data
    square = matrix.ndim == 2 and len(matrix) == matrix.shape[1] > 0
    if not (square and matrix.flags.c_contiguous and matrix.dtype in FLOAT_DTYPES):
        raise ValueError(
            f"matrix has shape {matrix.shape} and dtype {matrix.dtype}: expected a square, "
            "C-contiguous array in float32 or float64, or a PackedKernel"
        )
    return matrix
