# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Rows in blocks, and features of blocks of samples, for what does not fit into memory at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk._support.dtypes import FloatDType
    from fastntk.devices.places import Place
    from fastntk.kernels.features import Features
    from fastntk.networks.network import Network

# Share of the memory for what is computed at a time, and the rows that are not cut further.
_MEMORY_SHARE = 0.5
_SMALLEST_BLOCK = 256

# Share of the memory that features may take when no kernel is kept, and beside such blocks.
_FEATURES_SHARE = 0.8
_FEATURES_BESIDE_SHARE = 0.4


def row_slices(count: int, size: int) -> list[slice]:
    """Cut 0 … count − 1 into slices of `size`, the last of which may be shorter."""
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]


def rows_at_once(rows: int, each: int, each_pair: int, memory: int | None) -> int:
    """Return how many rows go at once: all, or as many as there is room for.

    A row takes `each` bytes and a pair of rows `each_pair`.
    """
    if memory is None:
        return rows
    while rows > _SMALLEST_BLOCK and rows * (each + rows * each_pair) > _MEMORY_SHARE * memory:
        rows = (rows + 1) // 2
    return rows


def rows_that_fit(
    network: Network, samples: int, outputs: range, dtype: FloatDType, place: Place
) -> int:
    """Return of how many samples the features may be held: of all, or of what there is room for."""
    memory = place.available_memory()
    each = network.feature_bytes(1, len(outputs), dtype)
    if memory is None or samples * each <= _FEATURES_SHARE * memory:
        return samples
    return max(2, int(_FEATURES_SHARE * memory / each))


def features_fit_beside(
    network: Network, samples: int, outputs: range, dtype: FloatDType, place: Place
) -> bool:
    """Return whether all features may be held beside blocks of `rows_at_once`."""
    memory = place.available_memory()
    needed = network.feature_bytes(samples, len(outputs), dtype)
    return memory is None or needed <= _FEATURES_BESIDE_SHARE * memory


class FeatureBlocks:
    """Features of blocks of samples: computed all at once, or when they are asked for."""

    def __init__(self, compute: Callable[[Any], Features], X: Any, *, at_once: bool) -> None:
        self._compute, self._X = compute, X
        self._whole = compute(X) if at_once else None

    def __getitem__(self, block: slice) -> tuple[Features, slice]:
        """Return features that hold the block, and where in them it is."""
        if self._whole is not None:
            return self._whole, block
        return self._compute(self._X[block]), slice(0, block.stop - block.start)
