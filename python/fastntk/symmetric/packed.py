# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Symmetric kernels in half the memory: LAPACK's rectangular full packed format."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk._support.dtypes import FLOAT_DTYPES, epsilon_of
from fastntk._support.files import require_own
from fastntk._support.memory import require_memory
from fastntk._support.threads import core_threads
from fastntk.devices import matrices
from fastntk.symmetric.packed_files import holds_packed, read_packed, write_packed
from fastntk.symmetric.products import symmetric_product

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType

# Rows of the blocks in which a diagonal is read.
_ROWS = 1024


class PackedKernel:
    """A symmetric matrix K (n, n) of which only one half is stored: n(n + 1)/2 numbers.

    They lie in LAPACK's rectangular full packed format with ``transr='T'`` and ``uplo='L'``, so
    that ``scipy.linalg.lapack.dpftrf(n, K.data, transr='T', uplo='L')`` and its kin can take them.

    Parameters
    ----------
    data : ndarray (n(n + 1)/2,)
        float32 or float64, contiguous; kept, not copied. Usually a packed kernel comes from
        ``net.ntk(X, out="packed")``, `from_dense` or `load`.

    Attributes
    ----------
    data : ndarray (n(n + 1)/2,)
    n : int
        The number of rows.
    epsilon : float
        The distance from 1 to the next number, in the precision that the elements came in: that of
        `data`, unless `from_dense` took them in less. Files keep it.

    Examples
    --------
    >>> import numpy as np
    >>> K = PackedKernel.from_dense(np.array([[2.0, 1.0], [1.0, 3.0]]))
    >>> K.shape, K.nbytes, K.row(1), K @ np.ones(2)
    ((2, 2), 24, array([1., 3.]), array([3., 4.]))
    """

    __slots__ = ("data", "epsilon", "n")

    data: FloatArray
    n: int
    epsilon: float

    # NumPy hands `array @ packed` to __rmatmul__ instead of looking at elements.
    __array_ufunc__ = None

    def __init__(self, data: FloatArray) -> None:
        if not isinstance(data, np.ndarray) or data.ndim != 1 or not data.flags.c_contiguous:
            shape = getattr(data, "shape", None)
            raise ValueError(
                f"data has shape {shape}: expected a contiguous array of one dimension"
            )
        if data.dtype not in FLOAT_DTYPES:
            raise ValueError(f"data has dtype {data.dtype}: expected float32 or float64")
        n = (math.isqrt(8 * data.size + 1) - 1) // 2
        if n < 1 or n * (n + 1) // 2 != data.size:
            raise ValueError(f"data has {data.size} elements: expected n(n + 1)/2 of them")
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "n", n)
        object.__setattr__(self, "epsilon", epsilon_of(data.dtype))

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a PackedKernel has no attribute {name!r} that can be set")

    def __repr__(self) -> str:
        return f"PackedKernel(n={self.n}, dtype={self.dtype})"

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns, (n, n)."""
        return (self.n, self.n)

    @property
    def dtype(self) -> FloatDType:
        """The precision of the elements, float32 or float64."""
        dtype: FloatDType = self.data.dtype
        return dtype

    @property
    def nbytes(self) -> int:
        """The memory that the numbers take."""
        return self.data.nbytes

    @classmethod
    def empty(cls, n: int, dtype: npt.DTypeLike = np.float64) -> PackedKernel:
        """Return a kernel of n rows whose elements are not set.

        Raises
        ------
        MemoryError
            If it does not fit in the memory that is available.
        """
        rows = arguments.integer(n, "n", minimum=1)
        precision = arguments.float_dtype(dtype)
        size = rows * (rows + 1) // 2
        require_memory(
            size * precision.itemsize,
            f"n={rows}: a packed kernel of {rows} × {rows} in {precision}",
            "take fewer rows" + (" or dtype='float32'" if precision == np.float64 else ""),
        )
        return cls(np.empty(size, dtype=precision))

    @classmethod
    def from_dense(cls, K: FloatArray) -> PackedKernel:
        """Return the packed kernel with the lower triangle of K (n, n)."""
        matrix = matrices.host_array(K, "K")
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.size == 0:
            raise ValueError(f"K has shape {matrix.shape}: expected a square matrix")
        if matrix.dtype.kind not in "biuf":
            raise TypeError(f"K has dtype {matrix.dtype}: expected real numbers")
        native = matrix.dtype.newbyteorder("=")
        dtype = native if native in FLOAT_DTYPES else np.dtype(np.float64)
        result = _restored(cls, cls.empty(len(matrix), dtype).data, epsilon_of(matrix.dtype))
        with core_threads() as threads:
            source = np.ascontiguousarray(matrix, dtype=dtype)
            _core.scale_and_shift(source, 1.0, 0.0, result.data, threads, None)
        return result

    def to_dense(self) -> FloatArray:
        """Return K as an array (n, n).

        Raises
        ------
        MemoryError
            If it does not fit in the memory that is available.
        """
        require_memory(
            self.n**2 * self.dtype.itemsize,
            f"an array of {self.n} × {self.n} in {self.dtype}",
            "take some of the rows, with rows() or submatrix()",
        )
        result: FloatArray = np.empty(self.shape, dtype=self.dtype)
        with core_threads() as threads:
            _core.scale_and_shift(self.data, 1.0, 0.0, result, threads, None)
            _core.mirror(result, "lower", threads, None)
        return result

    def diagonal(self) -> FloatArray:
        """Return the diagonal (n,)."""
        result: FloatArray = np.empty(self.n, dtype=self.dtype)
        for rows in self.blocks(_ROWS):
            result[rows] = self.tile(rows, rows).diagonal()
        return result

    def trace(self) -> float:
        """Return the sum of the diagonal, in float64."""
        return float(self.diagonal().sum(dtype=np.float64))

    def frobenius_norm(self) -> float:
        """Return √(Σ_ij K_ij²), in float64; infinite, if that is beyond it."""
        # Of elements of about 1, whose squares neither overflow nor vanish; the power is exact.
        power = math.frexp(max(float(self.data.max()), -float(self.data.min())))[1]

        def squares(elements: FloatArray) -> float:
            return float(np.square(np.ldexp(elements.astype(np.float64), -power)).sum())

        step = 2**20
        starts = range(0, self.data.size, step)
        twice = 2.0 * math.fsum(squares(self.data[first : first + step]) for first in starts)
        with np.errstate(over="ignore"):
            return float(np.ldexp(math.sqrt(twice - squares(self.diagonal())), power))

    def row(self, i: int) -> FloatArray:
        """Return row i, 0 ≤ i < n, as an array (n,)."""
        index = arguments.integer(i, "i", minimum=0, maximum=self.n - 1)
        result: FloatArray = np.empty(self.n, dtype=self.dtype)
        half, here = self._split, slice(index, index + 1)
        # Left of the diagonal the row lies in memory; right of it, the column below it.
        result[index:] = self.tile(slice(index, self.n), here)[:, 0]
        if index < half:
            result[: index + 1] = self.tile(here, slice(0, index + 1))[0]
        else:
            result[:half] = self.tile(here, slice(0, half))[0]
            result[half : index + 1] = self.tile(here, slice(half, index + 1))[0]
        return result

    def rows(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> FloatArray:
        """Return the rows of these indices, as an array (len(indices), n)."""
        chosen = self._chosen(indices)
        result = self._rows_for(len(chosen), self.n)
        for k, i in enumerate(chosen):
            result[k] = self.row(i)
        return result

    def submatrix(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> FloatArray:
        """Return the rows and columns of these indices, as an array."""
        chosen = self._chosen(indices)
        result = self._rows_for(len(chosen), len(chosen))
        for k, i in enumerate(chosen):
            result[k] = self.row(i)[list(chosen)]
        return result

    def _rows_for(self, rows: int, columns: int) -> FloatArray:
        what = f"indices: {rows} × {columns} elements in {self.dtype}"
        require_memory(rows * columns * self.dtype.itemsize, what, "take fewer rows")
        result: FloatArray = np.empty((rows, columns), self.dtype)
        return result

    def _chosen(self, indices: Sequence[int] | npt.NDArray[np.integer[Any]]) -> tuple[int, ...]:
        return arguments.integers(indices, "indices", minimum=0, maximum=self.n - 1, in_order=True)

    def copy(self) -> PackedKernel:
        """Return a kernel with numbers of its own.

        Raises
        ------
        MemoryError
            If it does not fit in the memory that is available.
        """
        what = f"a copy of a packed kernel of {self.n} × {self.n} in {self.dtype}"
        require_memory(self.nbytes, what, "go on with the kernel itself")
        return _restored(type(self), np.array(self.data), self.epsilon)

    def __copy__(self) -> PackedKernel:
        return self.copy()

    def __deepcopy__(self, memo: dict[int, Any]) -> PackedKernel:
        return self.copy()

    def __reduce__(self) -> tuple[Any, ...]:
        # The numbers themselves also where they lie in a file, which may be gone elsewhere.
        return _restored, (type(self), np.asarray(self.data), self.epsilon)

    def __matmul__(self, vectors: npt.ArrayLike) -> FloatArray:
        return symmetric_product(self.data, self.n, vectors)

    def __rmatmul__(self, vectors: npt.ArrayLike) -> FloatArray:
        return (self @ matrices.operand(vectors, "vectors").T).T  # K is its own transpose

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        description: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        """Write the kernel to a ``.npy`` file, completely or not at all.

        The file holds `data`, of one dimension: n follows from its length, and `numpy.load` reads
        it. Behind the array are checksums, which `load` verifies, and `description`.

        Parameters
        ----------
        path : path-like
        description : mapping, optional
            What the kernel is of, in words and numbers that JSON knows.
        overwrite : bool
            Whether any file that is there may be lost. Otherwise a packed kernel of as many samples
            and with the same description is replaced, or, where there is none, of the same numbers.

        Raises
        ------
        FileExistsError
            If something else is there.
        """
        name, described = arguments.path(path, "path", ".npy"), _as_json(description)
        require_own(
            name,
            own=lambda: holds_packed(name, self.data, described),
            what="a packed kernel of as many samples with this description"
            if described is not None
            else "this packed kernel (without a description, one of the same numbers)",
            overwrite=arguments.flag(overwrite, "overwrite"),
        )
        write_packed(name, self.data, self.epsilon, described)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        mmap: bool = False,
        verify: bool = True,
        description: Mapping[str, Any] | None = None,
    ) -> PackedKernel:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path-like
        mmap : bool
            Leave the numbers in the file, from which they are read as they are used.
        verify : bool
            Compare all numbers with the checksums in the file. With `mmap`, they are read once for
            that. Files of earlier versions, and those that NumPy wrote, have no checksums, and are
            taken as they are.
        description : mapping, optional
            What the file must say that the kernel is of.

        Raises
        ------
        ValueError
            If the file is damaged, not a packed kernel, or has another description.
        MemoryError
            If the kernel does not fit in the memory that is available.
        """
        mmap, verify = arguments.flag(mmap, "mmap"), arguments.flag(verify, "verify")
        expected, name = _as_json(description), arguments.path(path, "path")
        try:
            data, epsilon = read_packed(name, mmap=mmap, verify=verify, description=expected)
            return _restored(cls, data, epsilon)
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise ValueError(f"path={name!r}: not a packed kernel: {error}") from error

    @property
    def _split(self) -> int:
        """Rows, and columns, before and from this one on lie in different parts of the memory."""
        return (self.n + 1) // 2

    def _range(self, indices: slice, name: str) -> tuple[int, int]:
        """Return the first of the indices and that behind the last, counted from 0."""
        expected = f"expected a slice of step 1 with at least one of the {self.n} rows and columns"
        if not isinstance(indices, slice):
            raise TypeError(f"{name}={shown(indices)}: {expected}")
        try:
            start, stop, step = indices.indices(self.n)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{name}={shown(indices)}: {expected}") from error
        if step != 1 or stop <= start:
            raise ValueError(f"{name}={shown(indices)}: {expected}")
        return start, stop

    def tile(self, rows: slice, cols: slice) -> FloatArray:
        """Return a view of some elements on and below the diagonal.

        The columns must lie on one side of ⌈n/2⌉. Rows and columns are the same, and what such a
        view holds above the diagonal of K has no meaning and must not be written; or no column
        lies right of the first of the rows.
        """
        (top, bottom), (left, right) = self._range(rows, "rows"), self._range(cols, "cols")
        half, odd = self._split, self.n % 2
        if left < half < right:
            raise ValueError(
                f"cols={cols!r}: expected columns on one side of {half}, the middle of the kernel"
            )
        if right > top + 1 and (top, bottom) != (left, right):
            raise ValueError(
                f"rows={rows!r} and cols={cols!r}: expected the same rows and columns, or none "
                "above the diagonal"
            )
        plane = self.data.reshape(-1, half)
        if left < half:
            return plane[top + 1 - odd : bottom + 1 - odd, left:right]
        return plane[left - half : right - half, top - half + odd : bottom - half + odd].T

    def put(self, rows: slice, cols: slice, block: npt.ArrayLike) -> None:
        """Write a block of K where `tile` shows it; nothing of it above the diagonal of K."""
        target, values = self.tile(rows, cols), matrices.host_array(block, "block")
        matrices.require_real(values, "block")
        if values.shape != target.shape:
            raise ValueError(f"block has shape {values.shape}: expected {target.shape}")
        if self._range(rows, "rows") != self._range(cols, "cols"):
            target[...] = values
            return
        for i in range(len(values)):
            target[i, : i + 1] = values[i, : i + 1]

    def blocks(self, size: int) -> list[slice]:
        """Cut the rows into slices of at most `size` that `tile` takes."""
        size = arguments.integer(size, "size", minimum=1)
        half, n = self._split, self.n
        upper = [slice(s, min(s + size, half)) for s in range(0, half, size)]
        return upper + [slice(s, min(s + size, n)) for s in range(half, n, size)]


def _as_json(description: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a description as it is read from a file."""
    if description is None:
        return None
    if not isinstance(description, Mapping):
        raise TypeError(f"description={shown(description)}: expected a dict, or None")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(description), allow_nan=False))
    except Exception as error:  # TypeError, ValueError; RecursionError; that of somebody's own
        raise ValueError(
            f"description={shown(description)}: expected a dict of what JSON knows: {error}"
        ) from error
    return plain


def _restored(kind: type[PackedKernel], data: FloatArray, epsilon: float) -> PackedKernel:
    """Return a kernel of these numbers that came in a precision of this epsilon."""
    result = kind(data)
    object.__setattr__(result, "epsilon", epsilon)
    return result
