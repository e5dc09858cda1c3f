# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where a symmetric matrix is stored, and where its Cholesky factor goes.

The largest kernels leave no room for a copy. What a spectrum asks of a matrix is the same wherever
it is: products with blocks of vectors, and a Cholesky factor of ±A + σI, possibly several times.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigh, lapack

from fastntk._support.memory import require_memory
from fastntk.devices import gpu_arrays, matrices
from fastntk.eigenvalues.enclosures import cholesky_error
from fastntk.symmetric.cholesky import Cholesky, symmetric_product
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.symmetric.block_lanczos import Vectors

    Matrix = npt.NDArray[np.float64]

# Within these, squares and products of entries neither overflow nor vanish.
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-120, 1e120


class Source:
    """A symmetric matrix A in float64, which stays as it is: factors are packed copies.

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
    xp : module
        Whose arrays vectors are: NumPy, or CuPy for a matrix on a GPU.
    device : context manager
        What makes the GPU that the matrix is on the current one.
    """

    lasting = True
    xp: Any = np
    device: Any = nullcontext()
    _overwritten = False  # by its factor

    def __init__(self, matrix: Matrix | PackedKernel, epsilon: float, norm: float) -> None:
        self._matrix = matrix
        self._describe(matrix.diagonal(), norm, epsilon)

    def _describe(self, diagonal: Vectors, norm: float, epsilon: float) -> None:
        self.n = n = len(diagonal)
        self.epsilon = epsilon
        self.trace = math.fsum(diagonal)
        self.largest_diagonal = float(np.abs(diagonal).max())
        # A sum of n² squares in any order.
        self.frobenius_norm = norm * (1 + (n * n + 8) * 2.0**-53)
        self.product_error = (n + 8) * 2.0**-53 * self.frobenius_norm

    def product(self, vectors: Vectors) -> Vectors:
        """Return A V."""
        return symmetric_product(self._readable(), vectors)

    def product_on_host(self, vectors: Vectors) -> Vectors:
        """Return A V of vectors in the memory of the host."""
        return self.product(vectors)

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        """Return the Cholesky factor of sign · A + shift · I; it replaces the one before.

        Raises
        ------
        NotPositiveDefinite
        """
        return Cholesky.of(
            self._to_be_factored(),
            shift=shift,
            sign=sign,
            overwrite=self._overwritten,
            progress=progress,
        )

    def decomposition_error(
        self,
        shift: float,
        *,
        sign: int = 1,
        factor: Any = None,  # noqa: ARG002
    ) -> float:
        """Bound ‖L Lᵀ − (sign · A + shift · I)‖ for a decomposition that ran to its end.

        By a theorem, whatever the factor is; on a GPU by looking at the factor.
        """
        rounding = 4 * 2.0**-53 * (self.largest_diagonal + abs(shift))  # of the shifted diagonal
        return cholesky_error(self.n, sign * self.trace + self.n * shift) + rounding

    def eigenpairs(self) -> tuple[Vectors, Vectors]:
        """Return all eigenvalues, ascending, on the host, and their eigenvectors."""
        matrix = self._readable()
        values, vectors = eigh(matrix.to_dense() if isinstance(matrix, PackedKernel) else matrix)
        return values, vectors

    def rank(self, floor: float) -> int | None:
        """Return how many steps a pivoted decomposition takes down to `floor`.

        None for a packed matrix. It is the last that can be asked for.
        """
        matrix = self._readable()
        if isinstance(matrix, PackedKernel):
            return None
        # The transpose is the same matrix, in the order that Fortran wants.
        _, _, rank, _ = lapack.dpstrf(matrix.T, lower=1, tol=floor, overwrite_a=self._overwritten)
        return int(rank)

    def require_proofs(self) -> None:
        """Raise ValueError if rounding is not what the bounds count on."""

    def _readable(self) -> Matrix | PackedKernel:
        return self._matrix

    def _to_be_factored(self) -> Matrix | PackedKernel:
        return self._matrix


class _FullInPlace(Source):
    """A full array whose lower triangle is overwritten; the upper one keeps the matrix."""

    _overwritten = True

    def __init__(self, matrix: Matrix, epsilon: float, norm: float) -> None:
        super().__init__(matrix, epsilon, norm)
        self._full = matrix
        self._diagonal = matrix.diagonal().copy()
        _mirror_lower(matrix)  # what is lost below is found above
        self._intact = True

    def _readable(self) -> Matrix:
        if not self._intact:
            _mirror_lower(self._full.T)
            np.fill_diagonal(self._full, self._diagonal)
            self._intact = True
        return self._full

    def _to_be_factored(self) -> Matrix:
        matrix = self._readable()
        self._intact = False
        return matrix


class _PackedInPlace(Source):
    """A packed kernel that its first factor overwrites."""

    lasting = False
    _overwritten = True


class _PackedFile(Source):
    """A packed kernel in a file: a copy in memory is overwritten, and read again when needed."""

    _overwritten = True

    def __init__(self, file: PackedKernel, epsilon: float, norm: float) -> None:
        self._copy = file.copy()
        super().__init__(self._copy, epsilon, norm)
        self._file = file
        self._intact = True

    def _readable(self) -> PackedKernel:
        return self._copy if self._intact else self._file

    def _to_be_factored(self) -> PackedKernel:
        if not self._intact:
            self._copy.data[:] = self._file.data
        self._intact = False
        return self._copy


def open_source(K: npt.ArrayLike | PackedKernel, *, overwrite: bool) -> Source:
    """Return the given matrix, checked, wherever it may be overwritten.

    Raises
    ------
    ValueError, TypeError, MemoryError
        What `fastntk.conditioning` says.
    """
    if gpu_arrays.on_gpu(K):
        from fastntk.eigenvalues import gpu

        return gpu.open_source(K, overwrite=overwrite)
    source: Source
    if isinstance(K, PackedKernel):
        source = _of_packed(_checked(K), overwrite=overwrite)
    else:
        matrix, norm = matrices.symmetric_matrix_and_norm(K, "K")
        source = _of_full(matrix, norm, overwrite=overwrite and matrix is K)
    check_scale(source)
    return source


def _of_packed(given: PackedKernel, *, overwrite: bool) -> Source:
    n, epsilon = given.n, float(np.finfo(given.dtype).eps)
    copy = given.dtype != np.float64
    mapped = isinstance(given.data, np.memmap)
    in_place = overwrite and not mapped and not copy
    _require_memory(n, converted=4 * n * (n + 1) * copy, factor=not in_place)
    kernel = PackedKernel(given.data.astype(np.float64)) if copy else given
    kind = _PackedFile if mapped and not copy else _PackedInPlace if in_place else Source
    with np.errstate(over="ignore"):  # reported by open_source
        return kind(kernel, epsilon, kernel.frobenius_norm())


def _of_full(given: FloatArray, norm: float, *, overwrite: bool) -> Source:
    n, epsilon = len(given), float(np.finfo(given.dtype).eps)
    copy = given.dtype != np.float64
    in_place = copy or overwrite
    _require_memory(n, converted=8 * n * n * copy, factor=not in_place)
    matrix = given.astype(np.float64, copy=False)
    return (_FullInPlace if in_place else Source)(matrix, epsilon, norm)


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


def check_scale(source: Source) -> None:
    """Raise ValueError if squares of the entries overflow or vanish."""
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
