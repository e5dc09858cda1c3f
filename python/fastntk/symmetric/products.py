# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Products of a stored symmetric matrix with vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk._support.threads import core_threads
from fastntk.devices import matrices

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray


def symmetric_product(stored: FloatArray, n: int, vectors: npt.ArrayLike) -> FloatArray:
    """Return K V of the vectors V (n,) or (n, k), real or complex, in the precision of K.

    Only the lower triangle of K is read, each element once. The same to the last bit for any number
    of threads.

    Parameters
    ----------
    stored : ndarray (n, n) or (n(n + 1)/2,)
        K, C-contiguous, in float32 or float64; of one dimension it is packed, see `PackedKernel`.
    n : int
        The number of rows.
    vectors : array_like (n,) or (n, k)

    Examples
    --------
    >>> import numpy as np
    >>> symmetric_product(np.array([[2.0, np.nan], [1.0, 2.0]]), 2, np.array([1.0, 0.0]))
    array([2., 1.])
    """

    def product(real: npt.NDArray[Any]) -> FloatArray:
        columns: FloatArray = np.ascontiguousarray(as_columns(real, n), dtype=stored.dtype)
        out: FloatArray = np.empty(columns.shape, dtype=stored.dtype)
        with core_threads() as threads:
            _core.symmetric_product(stored, columns, out, threads, None)
        return out.reshape(real.shape)

    given = matrices.operand(vectors, "vectors")
    as_columns(given, n)
    result: FloatArray = matrices.of_parts(product, given)
    return result


def as_columns(vectors: npt.NDArray[Any], n: int) -> npt.NDArray[Any]:
    """Return vectors (n,) or (n, k) as a view (n, k); raise ValueError for other shapes."""
    if vectors.ndim not in {1, 2} or len(vectors) != n:
        raise ValueError(f"vectors have shape {vectors.shape}: expected ({n},) or ({n}, k)")
    return vectors if vectors.ndim == 2 else vectors.reshape(n, 1)
