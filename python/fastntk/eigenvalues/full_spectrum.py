# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""All eigenvalues of a symmetric matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.memory import require_memory
from fastntk._support.threads import in_own_thread
from fastntk.devices import gpu_arrays, matrices
from fastntk.eigenvalues.measures import Measures
from fastntk.symmetric.matrix import SymmetricMatrix
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.symmetric.block_lanczos import Vectors

_IN_LESS_MEMORY = "fastntk.conditioning finds the extreme ones in less"


def spectrum(K: npt.ArrayLike | PackedKernel) -> Vectors:
    """Return all eigenvalues of a symmetric matrix, ascending.

    Parameters
    ----------
    K : array_like (n, n) or PackedKernel
        A kernel; worked on in float64, and on the GPU if it is in the memory of one, as by
        `conditioning`.

    Returns
    -------
    ndarray (n,)
        In the memory of the host. Each is off by a small multiple of n ε λ_max: those below it are
        noise. The same, bit for bit, for any number of threads, since LAPACK is given one.

    Raises
    ------
    ValueError
        If K is not symmetric, or its Frobenius norm is not 0 and not between 1e-120 and 1e120.
    MemoryError
        If two copies of K do not fit in the memory that is available.
    ImportError
        If K is in the memory of a GPU and CuPy is not installed.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> fastntk.spectrum(np.diag([3.0, 1.0, 2.0]))
    array([1., 2., 3.])
    """
    if gpu_arrays.on_gpu(K):
        return _on_gpu(K)
    n = K.n if isinstance(K, PackedKernel) else len(matrices.real_matrix(K, "K"))
    require_memory(
        2 * 8 * n * n,
        f"K: all eigenvalues of a kernel of {n} × {n}",
        _IN_LESS_MEMORY,
    )
    full = K.to_dense() if isinstance(K, PackedKernel) else K
    kernel = SymmetricMatrix.of(full, "K")
    floats = kernel.array.astype(np.float64, copy=False)
    _require_moderate_scale(floats.diagonal(), kernel.frobenius_norm)
    # NumPy's lets go of the interpreter lock, SciPy's does not.
    return np.asarray(in_own_thread(lambda: np.linalg.eigvalsh(floats)), np.float64)


def _on_gpu(K: Any) -> Vectors:
    from fastntk.symmetric import gpu_matrix

    given, device = gpu_matrix.as_cupy(K, writable=False)
    import cupy
    import cupyx

    with device, cupyx.errstate(linalg="raise"):
        gpu_matrix.require_square_matrix(given)
        n = len(given)
        gpu_matrix.require_gpu_memory(
            (2 if given.dtype == np.float64 else 3) * 8 * n * n,
            f"K: all eigenvalues of a kernel of {n} × {n}",
            _IN_LESS_MEMORY,
        )
        floats, _ = gpu_matrix.symmetric_floats(given)
        floats = floats.astype(np.float64, copy=False)
        _require_moderate_scale(floats.diagonal().get(), gpu_matrix.frobenius_norm(floats))
        values: Vectors = cupy.linalg.eigvalsh(floats).get()
    return values


def _require_moderate_scale(diagonal: Vectors, norm: float) -> None:
    """Raise ValueError for sizes that `conditioning` refuses, among them all that overflow."""
    Measures(diagonal, norm, float(np.finfo(np.float64).eps)).require_moderate_scale()
