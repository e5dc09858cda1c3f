# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How many rows of a kernel go at once, and of how many samples the features, in what memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastntk.kernels.request import KernelRequest

# The share of the memory for what is computed at a time, and the rows that are not cut further.
_MEMORY_SHARE = 0.5
_SMALLEST_BLOCK = 256

# The share of the memory that features may take where no kernel is kept, and beside blocks of one.
_FEATURES_SHARE = 0.8
_FEATURES_BESIDE_SHARE = 0.4


def row_slices(count: int, size: int) -> list[slice]:
    """Cut 0 … count − 1 into slices of `size`, the last of which may be shorter."""
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def block_rows(request: KernelRequest, memory: int | None) -> int:
    """Return how many rows and columns go at once: all, or as many as there is room for.

    The room is for two sets of features and for the block of all kernels.
    """
    rows = max(request.shape)
    if memory is None:
        return rows
    each = 2 * request.feature_bytes(1)
    each_pair = request.count * request.dtype.itemsize
    while rows > _SMALLEST_BLOCK and rows * (each + rows * each_pair) > _MEMORY_SHARE * memory:
        rows = (rows + 1) // 2
    return rows


def features_fit_beside_blocks(request: KernelRequest, memory: int | None) -> bool:
    """Return whether all features may be held beside blocks of `block_rows`."""
    needed = request.feature_bytes(request.samples)
    return memory is None or needed <= _FEATURES_BESIDE_SHARE * memory


def samples_that_fit(request: KernelRequest) -> int:
    """Return of how many samples the features may be held where no kernel is kept."""
    memory = request.place.available_memory()
    each = request.feature_bytes(1)
    if memory is None or request.samples * each <= _FEATURES_SHARE * memory:
        return request.samples
    return max(2, int(_FEATURES_SHARE * memory / each))
