# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The one place that chooses how a given matrix is read and factored."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

from fastntk.devices import gpu_arrays
from fastntk.eigenvalues.host_sources import source_of_full, source_of_packed
from fastntk.symmetric.matrix import SymmetricMatrix
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.eigenvalues.source import Source


def source_of(K: npt.ArrayLike | PackedKernel, *, overwrite: bool) -> Source:
    """Return the given matrix, checked, and in place if it may be overwritten.

    Raises
    ------
    ValueError, TypeError, MemoryError
        What `fastntk.conditioning` says.
    """
    source: Source
    if overwrite:
        _require_writable(K)
    if gpu_arrays.on_gpu(K):
        from fastntk.eigenvalues.gpu_source import source_on_gpu  # rarely needed

        source = source_on_gpu(K, overwrite=overwrite)
    elif is_dask_array(K):
        from fastntk.eigenvalues.dask_source import source_of_dask  # rarely needed

        source = source_of_dask(K, overwrite=overwrite)
    elif isinstance(K, PackedKernel):
        source = source_of_packed(K, overwrite=overwrite)
    else:
        matrix = SymmetricMatrix.of(K, "K")
        source = source_of_full(matrix, overwrite=overwrite and matrix.array is K)
    source.require_moderate_scale()
    return source


def is_dask_array(K: object) -> bool:
    """Return whether K is an array of Dask; what makes one has imported that."""
    module = sys.modules.get("dask.array")
    return module is not None and isinstance(K, module.Array)


def _require_writable(K: npt.ArrayLike | PackedKernel) -> None:
    """Raise ValueError if K is to be overwritten where it lies, and may not be."""
    data = K.data if isinstance(K, PackedKernel) else K
    if not isinstance(data, np.ndarray) or data.dtype != np.float64 or data.flags.writeable:
        return
    if isinstance(K, PackedKernel) and isinstance(data, np.memmap):
        return  # is read into memory
    raise ValueError("overwrite=True: K is read-only: expected a writable K, or overwrite=False")
