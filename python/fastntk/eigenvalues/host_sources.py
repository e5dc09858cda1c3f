# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Symmetric matrices in the memory of the host, or packed in a file, and where their factors go.

============== ====================================== =====================================
Source         holds                                  a factor goes
============== ====================================== =====================================
Full           an array                               into a packed copy
FullInPlace    an array that may be overwritten       into its lower triangle
Packed         a packed kernel                        into a packed copy
PackedInPlace  a packed kernel that may be            where it was, once
               overwritten
PackedFile     a packed kernel in a file, and a copy  into the copy, which is read again when
               in memory                              the matrix is needed
============== ====================================== =====================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import fastntk._core as _core
from fastntk._support.memory import is_always_there, require_memory
from fastntk._support.threads import core_threads, in_own_thread
from fastntk.eigenvalues.measures import Quotient
from fastntk.eigenvalues.source import End, Source, random_vector
from fastntk.symmetric import lapack
from fastntk.symmetric.cholesky import Cholesky
from fastntk.symmetric.packed import PackedKernel
from fastntk.symmetric.products import symmetric_product

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.symmetric.block_lanczos import Vectors
    from fastntk.symmetric.matrix import SymmetricMatrix

    Matrix = npt.NDArray[np.float64]

# LAPACK is done with so many rows before anybody would notice, and before a thread is worth it.
_SHORT = 300

# Elements of a packed kernel that are looked at together.
_ELEMENTS = 2**22


class Full(Source):
    """A full array, which stays as it is."""

    def __init__(self, matrix: Matrix, norm: float, epsilon: float) -> None:
        super().__init__(matrix.diagonal(), norm, epsilon)
        self._matrix = matrix

    @property
    def matrix(self) -> Matrix:
        """The array."""
        return self._readable()

    def product(self, vectors: Vectors) -> Vectors:
        """Return A V."""
        return symmetric_product(self._readable(), self.n, vectors)

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        """Return the Cholesky factor of sign · A + shift · I."""
        return Cholesky.of(self._matrix, shift=shift, sign=sign, progress=progress)

    def end(self, shift: float, *, sign: int = 1, iterations: int) -> End | None:
        """Look at an end of the spectrum by a decomposition of sign · A + shift · I."""
        return _end(self, self._matrix, shift, sign, iterations)

    def extreme_eigenvalues(self, k: int) -> tuple[Vectors, Vectors]:
        """Return the k smallest eigenvalues, ascending, and the k largest, descending."""
        return _extreme_eigenvalues(self._readable(), self.n, k)

    def eigenpairs(self) -> tuple[Vectors, Vectors]:
        """Return all eigenvalues, ascending, and their eigenvectors."""
        return _eigenpairs(self._readable())

    def rank(self, floor: float) -> int:
        """Return how many steps a pivoted decomposition takes down to `floor`."""
        return self._rank(floor, overwrite=False)

    def _rank(self, floor: float, *, overwrite: bool) -> int:
        return lapack.pivoted_rank(self._readable(), floor, overwrite=overwrite)

    def _readable(self) -> Matrix:
        return self._matrix


class FullInPlace(Full):
    """A full array whose lower triangle is overwritten; the upper one keeps the matrix."""

    end = Source.end  # without a copy

    def __init__(self, matrix: Matrix, norm: float, epsilon: float) -> None:
        super().__init__(matrix, norm, epsilon)
        self._diagonal = matrix.diagonal().copy()
        self._mirror("lower")  # what is lost below is found above
        self._intact = True

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        """Return the Cholesky factor of sign · A + shift · I; it replaces the one before."""
        matrix = self._readable()
        self._intact = False
        return Cholesky.of(matrix, shift=shift, sign=sign, overwrite=True, progress=progress)

    def rank(self, floor: float) -> int:
        """Return how many steps a pivoted decomposition takes; it overwrites the matrix."""
        return self._rank(floor, overwrite=True)

    def _readable(self) -> Matrix:
        if not self._intact:
            self._mirror("upper")
            np.fill_diagonal(self._matrix, self._diagonal)
            self._intact = True
        return self._matrix

    def _mirror(self, kept: str) -> None:
        with core_threads() as threads:
            _core.mirror(self._matrix, kept, threads, None)


class Packed(Source):
    """A packed kernel, which stays as it is."""

    def __init__(self, kernel: PackedKernel, epsilon: float) -> None:
        with np.errstate(over="ignore"):  # reported as a matter of scale
            super().__init__(kernel.diagonal(), kernel.frobenius_norm(), epsilon)
        self._kernel = kernel

    def product(self, vectors: Vectors) -> Vectors:
        """Return A V."""
        return self._readable() @ vectors

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        """Return the Cholesky factor of sign · A + shift · I."""
        return Cholesky.of(self._kernel, shift=shift, sign=sign, progress=progress)

    def end(self, shift: float, *, sign: int = 1, iterations: int) -> End | None:
        """Look at an end of the spectrum by a decomposition of sign · A + shift · I."""
        return _end(self, self._kernel.data, shift, sign, iterations)

    def extreme_eigenvalues(self, k: int) -> tuple[Vectors, Vectors]:
        """Return the k smallest eigenvalues, ascending, and the k largest, descending."""
        return _extreme_eigenvalues(self._readable().data, self.n, k)

    def eigenpairs(self) -> tuple[Vectors, Vectors]:
        """Return all eigenvalues, ascending, and their eigenvectors."""
        return _eigenpairs(self._readable().to_dense())

    def rank(self, floor: float) -> None:
        """Return None: LAPACK has no pivoted decomposition of a packed matrix."""

    def _readable(self) -> PackedKernel:
        return self._kernel


class PackedInPlace(Packed):
    """A packed kernel that its first factor overwrites."""

    survives_factoring = False
    end = Source.end  # without a copy

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        """Return the Cholesky factor of sign · A + shift · I, which takes the place of A."""
        return Cholesky.of(self._kernel, shift=shift, sign=sign, overwrite=True, progress=progress)


class PackedFile(Packed):
    """A packed kernel in a file: a copy in memory is overwritten, and read again when needed."""

    end = Source.end  # without another copy

    def __init__(self, file: PackedKernel, epsilon: float) -> None:
        super().__init__(file.copy(), epsilon)
        self._file = file
        self._intact = True

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Cholesky:
        """Return the Cholesky factor of sign · A + shift · I; it replaces the one before."""
        if not self._intact:
            self._kernel.data[:] = self._file.data
        self._intact = False
        return Cholesky.of(self._kernel, shift=shift, sign=sign, overwrite=True, progress=progress)

    def _readable(self) -> PackedKernel:
        return self._kernel if self._intact else self._file


def _end(
    source: Source, stored: FloatArray, shift: float, sign: int, iterations: int
) -> End | None:
    with core_threads() as threads:
        found = _core.shifted_end(
            stored, sign, shift, random_vector(source.n), iterations, threads, None
        )
    if found is None:
        return None
    return End(source.decomposition_error(shift, sign=sign), Quotient(*found))


def _extreme_eigenvalues(stored: FloatArray, n: int, k: int) -> tuple[Vectors, Vectors]:
    _require_copies(n, 1)
    with core_threads() as threads:
        smallest, largest = _core.extreme_eigenvalues(stored, k, threads, None)
    return np.array(smallest), np.array(largest)


def _eigenpairs(matrix: Matrix) -> tuple[Vectors, Vectors]:
    _require_copies(len(matrix), 4)  # that which LAPACK overwrites, its workspace and the result
    # NumPy's function lets go of the interpreter lock, SciPy's does not.
    if len(matrix) <= _SHORT:
        values, vectors = np.linalg.eigh(matrix)
    else:
        values, vectors = in_own_thread(lambda: np.linalg.eigh(matrix))
    return values, vectors


def _require_copies(n: int, count: int) -> None:
    if not is_always_there(8 * n * n * count):
        require_memory(
            8 * n * n * count,
            f"K: all of the spectrum of a kernel of {n} × {n}",
            "give method='cholesky', or fewer samples",
        )


def source_of_full(given: SymmetricMatrix, *, overwrite: bool) -> Source:
    """Return a full matrix, in a copy if it has to be converted to float64.

    Raises
    ------
    MemoryError
    """
    n, epsilon = given.n, given.epsilon
    converted = given.dtype != np.float64
    # A copy has to serve twice where memory may be short.
    in_place = overwrite or (converted and not is_always_there(8 * n * n))
    _require_memory(n, converted=8 * n * n * converted, factor=not in_place)
    matrix = given.array.astype(np.float64, copy=False)
    return (FullInPlace if in_place else Full)(matrix, given.frobenius_norm, epsilon)


def source_of_packed(given: PackedKernel, *, overwrite: bool) -> Source:
    """Return a packed kernel, in a copy if it has to be converted to float64.

    Raises
    ------
    ValueError
        If an element is not finite.
    MemoryError
    """
    _require_finite(given)
    n, epsilon = given.n, given.epsilon
    converted = given.dtype != np.float64
    mapped = isinstance(given.data, np.memmap)
    in_place = overwrite and not mapped and not converted
    _require_memory(n, converted=4 * n * (n + 1) * converted, factor=not in_place)
    if converted:
        return Packed(PackedKernel(given.data.astype(np.float64)), epsilon)
    return (PackedFile if mapped else PackedInPlace if in_place else Packed)(given, epsilon)


def _require_finite(kernel: PackedKernel) -> None:
    for first in range(0, kernel.data.size, _ELEMENTS):
        bad = ~np.isfinite(kernel.data[first : first + _ELEMENTS])
        if bad.any():
            at = first + int(bad.argmax())
            raise ValueError(f"K.data[{at}]={kernel.data[at]}: expected finite numbers")


def _require_memory(n: int, *, converted: int, factor: bool) -> None:
    require_memory(
        converted + (4 * n * (n + 1) if factor else 0),
        f"factorizing a kernel of {n} × {n}",
        "give a packed kernel (net.ntk(X, out='packed')), overwrite=True, or fewer samples",
    )
