# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a symmetric matrix is stored, and where its Cholesky factor goes.

The largest kernels leave no room for a copy. What a spectrum asks of a matrix is the same wherever
it is: products with blocks of vectors, and a Cholesky factor of ±A + σI, possibly several times.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import lapack

from fastntk import _validation
from fastntk._cholesky import Cholesky, symmetric_product
from fastntk._memory import require_memory
from fastntk.packed import PackedKernel

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._progress import Progress
    from fastntk.eigenvalues.block_lanczos import Vectors

    Matrix = npt.NDArray[np.float64]

# Within these, squares and products of entries neither overflow nor vanish.
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-120, 1e120


class Source(ABC):
    """A symmetric matrix A in float64, and at most one Cholesky factor at a time.

    Attributes
    ----------
    n : int
    epsilon : float
        Of the precision that the matrix came in.
    trace, largest_diagonal : float
    frobenius_norm : float
        Rounded up.
    product_error : float
        Bound of ‖fl(A v) − A v‖ for ‖v‖ = 1.
    lasting : bool
        Whether the matrix is still to be had after the first factor.
    """

    lasting = True

    def __init__(self, diagonal: Matrix, norm: float, epsilon: float) -> None:
        self.n = n = len(diagonal)
        self.epsilon = epsilon
        self.trace = math.fsum(diagonal)
        self.largest_diagonal = float(np.abs(diagonal).max())
        # A sum of n² squares in any order.
        self.frobenius_norm = norm * (1 + (n * n + 8) * 2.0**-53)
        self.product_error = (n + 8) * 2.0**-53 * self.frobenius_norm

    @abstractmethod
    def product(self, vectors: Vectors) -> Vectors:
        """Return A V."""

    @abstractmethod
    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        """Return the Cholesky factor of sign · A + shift · I.

        Raises
        ------
        NotPositiveDefinite
        """

    @abstractmethod
    def dense(self) -> Matrix:
        """Return A as a full array, which is not to be written to."""

    def rank(self, floor: float) -> int | None:  # noqa: ARG002
        """Return how many steps a pivoted decomposition takes down to `floor`; the last request.

        None for a packed matrix.
        """
        return None


class _Borrowed(Source):
    """A full array that stays as it is; factors are packed copies."""

    def __init__(self, matrix: Matrix, epsilon: float) -> None:
        with np.errstate(over="ignore"):  # reported by open_source
            norm = float(np.linalg.norm(matrix))
        super().__init__(np.diagonal(matrix), norm, epsilon)
        self._matrix = matrix

    def product(self, vectors: Vectors) -> Vectors:
        return symmetric_product(self._matrix, vectors)

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        return Cholesky.of(self._matrix, shift=shift, sign=sign, progress=progress)

    def dense(self) -> Matrix:
        return self._matrix

    def rank(self, floor: float) -> int:
        return _pivoted_rank(self._matrix, floor, overwrite=False)


class _FullInPlace(_Borrowed):
    """A full array whose lower triangle is overwritten; the upper one keeps the matrix."""

    def __init__(self, matrix: Matrix, epsilon: float) -> None:
        super().__init__(matrix, epsilon)
        self._diagonal = np.diagonal(matrix).copy()
        _mirror_lower(matrix)  # what is lost below is found above
        self._intact = True

    def product(self, vectors: Vectors) -> Vectors:
        return symmetric_product(self.dense(), vectors)

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        matrix = self.dense()
        self._intact = False
        return Cholesky.of(matrix, shift=shift, sign=sign, overwrite=True, progress=progress)

    def dense(self) -> Matrix:
        if not self._intact:
            _mirror_lower(self._matrix.T)
            np.fill_diagonal(self._matrix, self._diagonal)
            self._intact = True
        return self._matrix

    def rank(self, floor: float) -> int:
        return _pivoted_rank(self.dense(), floor, overwrite=True)


class _PackedBorrowed(Source):
    """A packed kernel that stays as it is; factors are copies."""

    def __init__(self, matrix: PackedKernel, epsilon: float) -> None:
        super().__init__(matrix.diagonal(), matrix.frobenius_norm(), epsilon)
        self._matrix = matrix

    def product(self, vectors: Vectors) -> Vectors:
        return symmetric_product(self._matrix, vectors)

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        return Cholesky.of(self._matrix, shift=shift, sign=sign, progress=progress)

    def dense(self) -> Matrix:
        return self._matrix.to_dense()


class _PackedInPlace(_PackedBorrowed):
    """A packed kernel that its first factor overwrites."""

    lasting = False

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        return Cholesky.of(self._matrix, shift=shift, sign=sign, overwrite=True, progress=progress)


class _PackedFile(_PackedBorrowed):
    """A packed kernel in a file: a copy in memory is overwritten, and read again when needed."""

    def __init__(self, file: PackedKernel, epsilon: float) -> None:
        super().__init__(file.copy(), epsilon)
        self._file = file
        self._intact = True

    def product(self, vectors: Vectors) -> Vectors:
        return symmetric_product(self._matrix if self._intact else self._file, vectors)

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        if not self._intact:
            self._matrix.data[:] = self._file.data
        self._intact = False
        return Cholesky.of(self._matrix, shift=shift, sign=sign, overwrite=True, progress=progress)


def open_source(K: npt.ArrayLike | PackedKernel, *, overwrite: bool) -> Source:
    """Return the given matrix, checked, wherever it may be overwritten.

    Raises
    ------
    ValueError, TypeError, MemoryError
        What `fastntk.conditioning` says.
    """
    given = _checked(K) if isinstance(K, PackedKernel) else _validation.symmetric_matrix(K, "K")
    n = given.shape[0]
    epsilon = float(np.finfo(given.dtype).eps)
    copy = given.dtype != np.float64
    if isinstance(given, PackedKernel):
        mapped = isinstance(given.data, np.memmap)
        in_place = copy or (overwrite and not mapped)
        _require_memory(n, converted=4 * n * (n + 1) * copy, factor=not in_place)
        if mapped and not copy:
            source: Source = _PackedFile(given, epsilon)
        elif copy:
            source = _PackedBorrowed(PackedKernel(given.data.astype(np.float64)), epsilon)
        else:
            source = (_PackedInPlace if in_place else _PackedBorrowed)(given, epsilon)
    else:
        in_place = copy or (overwrite and given is K)
        _require_memory(n, converted=8 * n * n * copy, factor=not in_place)
        source = (_FullInPlace if in_place else _Borrowed)(
            given.astype(np.float64, copy=False), epsilon
        )
    _check_scale(source)
    return source


def _checked(kernel: PackedKernel) -> PackedKernel:
    step = 2**22
    for first in range(0, kernel.data.size, step):
        bad = ~np.isfinite(kernel.data[first : first + step])
        if bad.any():
            at = first + int(bad.argmax())
            raise ValueError(f"K.data[{at}]={kernel.data[at]!r}: expected finite numbers")
    return kernel


def _require_memory(n: int, *, converted: int, factor: bool) -> None:
    require_memory(
        converted + (4 * n * (n + 1) if factor else 0),
        f"factorizing a kernel of {n} × {n}",
        "give a packed kernel (net.ntk(X, out='packed')), overwrite=True, or fewer samples",
    )


def _check_scale(source: Source) -> None:
    scale = max(source.frobenius_norm, source.largest_diagonal)
    if scale != 0 and not _SMALLEST_SCALE < scale < _LARGEST_SCALE:
        raise ValueError(
            f"K has entries as large as {scale:.3g}: expected between {_SMALLEST_SCALE:g} and "
            f"{_LARGEST_SCALE:g}; multiply it by a power of two"
        )


def _mirror_lower(matrix: Matrix) -> None:
    """Overwrite the strict upper triangle with the mirror image of the lower one."""
    n, step = len(matrix), 256
    for first in range(0, n, step):
        rows = slice(first, min(first + step, n))
        matrix[: rows.start, rows] = matrix[rows, : rows.start].T
        corner = matrix[rows, rows]
        i, j = np.tril_indices(len(corner), -1)
        corner[j, i] = corner[i, j]


def _pivoted_rank(matrix: Matrix, floor: float, *, overwrite: bool) -> int:
    # The transpose is the same matrix, in the order that Fortran wants.
    _, _, rank, _ = lapack.dpstrf(matrix.T, lower=1, tol=floor, overwrite_a=overwrite)
    return int(rank)
