# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that go to a given array or file, larger than memory if need be, or in half of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import _network, _progress
from fastntk._atomic import replacing
from fastntk._memory import available_memory
from fastntk.packed import PackedKernel

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from fastntk._progress import Progress
    from fastntk._typing import FloatArray, FloatDType

# Share of the available memory for the features of two blocks of rows and a block of the kernel.
_MEMORY_SHARE = 0.5
_SMALLEST_BLOCK = 256


def write_kernel(
    network: _network.Network,
    X: FloatArray,
    Z: FloatArray | None,
    outputs: range,
    dtype: FloatDType,
    out: FloatArray | str | os.PathLike[str],
    progress: Progress,
) -> FloatArray:
    """Fill `out`, or the file of that name, with K(X, Z) and return it (a file as a memory map).

    Features that do not fit in memory are computed anew for each block of rows. A file appears
    under its name when it is complete.
    """
    shape = (len(X), len(X) if Z is None else len(Z))
    if isinstance(out, np.ndarray):
        if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
            raise ValueError(
                f"out has shape {out.shape} and dtype {out.dtype}"
                f"{'' if out.flags.writeable else ', and is read-only'}: expected a writable array "
                f"of shape {shape} and dtype {dtype}"
            )
        _fill(network, X, Z, outputs, dtype, out, progress)
        return out
    name = str(out)
    if not name.endswith(".npy"):
        raise ValueError(f"out={name!r}: expected an array, or the name of a file ending in .npy")
    with replacing(name) as temporary:
        _write(network, X, Z, outputs, dtype, temporary, shape, progress)
    result: FloatArray = np.load(name, mmap_mode="r+", allow_pickle=False)
    return result


def _write(
    network: _network.Network,
    X: FloatArray,
    Z: FloatArray | None,
    outputs: range,
    dtype: FloatDType,
    path: Path,
    shape: tuple[int, int],
    progress: Progress,
) -> None:
    target: Any = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    _fill(network, X, Z, outputs, dtype, target, progress)
    target.flush()


def block_rows(
    network: _network.Network, samples: int, outputs: int, dtype: FloatDType, kept: int = 0
) -> int:
    """Return how many rows go at once: all, or as many as leave room for two sets of features.

    `kept` bytes of the available memory are to be used for something else.
    """
    memory = available_memory()
    if memory is None:
        return samples
    room = _MEMORY_SHARE * (memory - kept)
    each = network.feature_bytes(1, outputs, dtype)
    rows = samples
    while rows > _SMALLEST_BLOCK and rows * (2 * each + rows * dtype.itemsize) > room:
        rows = (rows + 1) // 2
    return rows


def _fill(
    network: _network.Network,
    X: FloatArray,
    Z: FloatArray | None,
    outputs: range,
    dtype: FloatDType,
    target: FloatArray,
    progress: Progress,
) -> None:
    others = X if Z is None else Z
    size = block_rows(network, max(len(X), len(others)), len(outputs), dtype)
    row_blocks = row_slices(len(X), size)
    col_blocks = row_slices(len(others), size)
    total = sum(
        len([c for c in col_blocks if Z is not None or c.start <= r.start]) for r in row_blocks
    )
    done = 0
    with _progress.monitor(progress, "kernel") as monitor:
        for rows in row_blocks:
            x = _network.Features(network, X[rows], outputs, dtype)
            for cols in col_blocks:
                if Z is None and cols.start > rows.start:
                    break
                diagonal = Z is None and cols == rows
                z = x if diagonal else _network.Features(network, others[cols], outputs, dtype)
                block = x.kernel(z, slice(0, len(x)), slice(0, len(z)))
                target[rows, cols] = block
                if Z is None and not diagonal:
                    target[cols, rows] = block.T
                done += 1
                if monitor is not None:
                    monitor("blocks", done, total)


def packed_kernel(
    network: _network.Network,
    X: FloatArray,
    outputs: range,
    dtype: FloatDType,
    progress: Progress,
) -> PackedKernel:
    """Return K(X, X) packed; features that do not fit beside it are computed block by block."""
    kernel = PackedKernel.empty(len(X), dtype)  # its pages are not in use yet
    memory = available_memory()
    needed = kernel.nbytes + network.feature_bytes(len(X), len(outputs), dtype)
    if memory is None or needed <= memory:
        features = _network.Features(network, X, outputs, dtype, progress)
        features.packed_kernel(kernel.data, progress)
        return kernel
    size = block_rows(network, len(X), len(outputs), dtype, kernel.nbytes)
    blocks = kernel.blocks(size)
    done, total = 0, len(blocks) * (len(blocks) + 1) // 2
    with _progress.monitor(progress, "kernel") as monitor:
        for i, rows in enumerate(blocks):
            x = _network.Features(network, X[rows], outputs, dtype)
            for cols in blocks[: i + 1]:
                z = x if cols == rows else _network.Features(network, X[cols], outputs, dtype)
                kernel.put(rows, cols, x.kernel(z, slice(0, len(x)), slice(0, len(z))))
                done += 1
                if monitor is not None:
                    monitor("blocks", done, total)
    return kernel


def row_slices(count: int, size: int) -> list[slice]:
    """Cut 0 … count − 1 into slices of `size`, the last of which may be shorter."""
    return [slice(first, min(first + size, count)) for first in range(0, count, size)]
