# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Symmetric matrices in the memory of a GPU, from whichever library, as arrays of CuPy.

Nothing is copied to the host but what an error says. All functions but `as_cupy` work on the
current device.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dtypes import FLOAT_DTYPES
from fastntk._support.memory import require_of
from fastntk.devices import gpu_arrays, matrices
from fastntk.symmetric.matrix import SYMMETRY_ROUNDINGS

if TYPE_CHECKING:
    from collections.abc import Iterator

# Elements of the rows that are looked at together: what is made of them takes some of these.
_ELEMENTS = 2**26


def as_cupy(K: Any, *, writable: bool) -> tuple[Any, Any]:
    """Return an array of CuPy in the memory of K, and the device to make current."""
    try:
        import cupy
        import cupyx.scipy.linalg  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"K is a {type(K).__module__}.{type(K).__qualname__} in the memory of a GPU, whose "
            f"eigenvalues CuPy would compute there, but it cannot be imported ({error}): pip "
            "install 'cupy-cuda13x[ctk]'. Or hand over a copy in the memory of the host, such as "
            "K.cpu() of PyTorch"
        ) from error
    if isinstance(K, cupy.ndarray):
        return K, K.device
    # CuPy copies what lies on another GPU than the current one, and writes what is read-only.
    with cupy.cuda.Device(gpu_arrays.gpu_number(K)):
        gpu_arrays.device_matrix(K, "K", writable=writable)
        by_interface = hasattr(K, "__cuda_array_interface__")
        array = cupy.asarray(K) if by_interface else cupy.from_dlpack(K)
    return array, array.device


def require_square_matrix(array: Any) -> None:
    """Raise TypeError or ValueError if an array is no square matrix of real numbers."""
    matrices.require_real_matrix(array, "K")
    matrices.require_square(array, "K")


def symmetric_floats(given: Any) -> tuple[Any, bool]:
    """Return a symmetric matrix as floats, and whether it is symmetric to the last bit.

    It is copied only if it has to be converted.

    Raises
    ------
    ValueError
        With the first element that is not finite, or that differs most from its mirror image.
    """
    floats = given.astype(given.dtype if given.dtype in FLOAT_DTYPES else np.float64, copy=False)
    largest = _largest(floats)
    difference, (i, j) = _asymmetry(floats)
    if difference > SYMMETRY_ROUNDINGS * float(np.finfo(floats.dtype).eps) * largest:
        raise ValueError(
            f"K is not symmetric: K[{i}, {j}]={floats[i, j].get()[()]} but "
            f"K[{j}, {i}]={floats[j, i].get()[()]}"
        )
    return floats, difference == 0


def _largest(floats: Any) -> float:
    """Return the largest absolute value; refuse what is not finite."""
    import cupy

    largest, bad, first = 0.0, 0, None
    for rows in row_strips(len(floats)):
        finite = cupy.isfinite(floats[rows])
        if bool(finite.all()):
            largest = max(largest, float(abs(floats[rows]).max()))
            continue
        bad += int((~finite).sum())
        if first is None:
            i, j = (int(index) for index in cupy.argwhere(~finite)[0].get())
            first = rows.start + i, j
    if first is not None:
        raise ValueError(
            f"K[{first[0]}, {first[1]}]={floats[first].get()[()]}: expected numbers that are "
            f"finite in {floats.dtype} ({bad} of {floats.size} are not)"
        )
    return largest


def frobenius_norm(matrix: Any) -> float:
    """Return √(Σ_ij K_ij²) of a matrix of float64; inf where the squares overflow."""
    import cupy

    strips = row_strips(len(matrix))
    return math.hypot(*(float(cupy.linalg.norm(matrix[rows].reshape(-1))) for rows in strips))


def _asymmetry(floats: Any) -> tuple[float, tuple[int, int]]:
    """Return the largest difference of an element to its mirror image, and where it is."""
    worst, at = 0.0, (0, 0)
    for rows in row_strips(len(floats)):
        difference = abs(floats[rows] - floats[:, rows].T)
        most = float(difference.max())
        if most > worst:
            i, j = divmod(int(difference.argmax()), len(floats))
            worst, at = most, (rows.start + i, j)
    return worst, at


def row_strips(n: int) -> Iterator[slice]:
    """Yield strips of rows that are few enough for copies of them."""
    return row_blocks(n, max(1, _ELEMENTS // n))


def row_blocks(n: int, size: int, first: int = 0) -> Iterator[slice]:
    """Yield blocks of at most `size` rows, from `first` on."""
    return (slice(start, min(start + size, n)) for start in range(first, n, size))


def require_gpu_memory(needed: int, what: str, instead: str) -> None:
    """Raise MemoryError, before any work, if so much of the GPU's memory is not to be had."""
    import cupy

    pool = cupy.get_default_memory_pool()
    if cupy.cuda.get_allocator() != pool.malloc:
        return  # another library has what is free, and cannot be asked: CuPy will say when it ends
    available, _ = cupy.cuda.Device().mem_info
    available += pool.free_bytes()
    if pool.get_limit() > 0:
        available = min(available, pool.get_limit() - pool.used_bytes())
    require_of(available, needed, what, instead, "the GPU's ")
