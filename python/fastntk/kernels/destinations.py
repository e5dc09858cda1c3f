# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that go to a given array or file, larger than memory if need be, or in half of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.files import replacing
from fastntk._support.progress import monitored
from fastntk.devices import gpu_arrays
from fastntk.devices.places import PROCESSOR, GpuArrays
from fastntk.kernels.blocks import FeatureBlocks, features_fit_beside, row_slices, rows_at_once
from fastntk.kernels.calls import kernel_advice
from fastntk.kernels.features import Features
from fastntk.networks.network import Network
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    import os
    from pathlib import Path

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk._support.progress import Progress
    from fastntk.devices.places import Place


def write_kernel(
    network: Network,
    X: Any,
    Z: Any,
    outputs: range,
    dtype: FloatDType,
    out: FloatArray | str | os.PathLike[str],
    progress: Progress,
    place: Place,
) -> FloatArray:
    """Fill `out`, or the file of that name, with K(X, Z) and return it (a file as a memory map).

    Features that do not fit in memory are computed anew for each block of rows. A file appears
    under its name when it is complete.
    """
    shape = (len(X), len(X) if Z is None else len(Z))
    if isinstance(place, GpuArrays) and gpu_arrays.on_gpu(out):
        _fill_there(network, X, Z, outputs, dtype, out, progress, place)
        there: Any = out
        return there  # type: ignore[no-any-return]
    if isinstance(out, np.ndarray):
        if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
            raise ValueError(
                f"out has shape {out.shape} and dtype {out.dtype}"
                f"{'' if out.flags.writeable else ', and is read-only'}: expected a writable array "
                f"of shape {shape} and dtype {dtype}"
            )
        fill_kernel(network, X, Z, outputs, dtype, out, progress, place)
        return out
    name = str(out)
    if not name.endswith(".npy"):
        raise ValueError(f"out={name!r}: expected an array, or the name of a file ending in .npy")
    with replacing(name) as temporary:
        _write(network, X, Z, outputs, dtype, temporary, shape, progress, place)
    result: FloatArray = np.load(name, mmap_mode="r+", allow_pickle=False)
    return result


def _fill_there(
    network: Network,
    X: Any,
    Z: Any,
    outputs: range,
    dtype: FloatDType,
    out: Any,
    progress: Progress,
    place: Place,
) -> None:
    """Fill an array on the GPU that the samples lie on."""
    target = gpu_arrays.device_matrix(out, "out", dtype, writable=True)
    shape = (len(X), len(X) if Z is None else len(Z))
    if target.shape != shape:
        raise ValueError(f"out has shape {target.shape}: expected {shape}")
    handle = network.handle(place)
    x = Features(network, X, outputs, dtype, progress, place, handle)
    z = x if Z is None else Features(network, Z, outputs, dtype, progress, place, handle)
    x.fill_kernel(z, slice(0, shape[0]), slice(0, shape[1]), target, progress)


def _write(
    network: Network,
    X: Any,
    Z: Any,
    outputs: range,
    dtype: FloatDType,
    path: Path,
    shape: tuple[int, int],
    progress: Progress,
    place: Place,
) -> None:
    target: Any = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    fill_kernel(network, X, Z, outputs, dtype, target, progress, place)
    target.flush()


def block_rows(
    network: Network,
    samples: int,
    outputs: int,
    dtype: FloatDType,
    kept: int = 0,
    place: Place = PROCESSOR,
) -> int:
    """Return how many rows go at once: all, or as many as leave room for two sets of features.

    `kept` bytes of the available memory are to be used for something else.
    """
    memory = place.available_memory()
    each = 2 * network.feature_bytes(1, outputs, dtype)
    room = None if memory is None else memory - kept
    return rows_at_once(samples, each, dtype.itemsize, room)


def new_kernel(
    network: Network,
    X: Any,
    Z: Any,
    outputs: range,
    dtype: FloatDType,
    progress: Progress,
    place: Place,
) -> FloatArray:
    """Return K(X, Z) of samples on a GPU as an array of NumPy, however large it is for the GPU."""
    shape = (len(X), len(X) if Z is None else len(Z))
    PROCESSOR.require_memory(
        shape[0] * shape[1] * dtype.itemsize, *kernel_advice(shape, dtype, 1, Z is None)
    )
    result: FloatArray = np.empty(shape, dtype=dtype)
    fill_kernel(network, X, Z, outputs, dtype, result, progress, place)
    return result


def fill_kernel(
    network: Network,
    X: Any,
    Z: Any,
    outputs: range,
    dtype: FloatDType,
    target: FloatArray,
    progress: Progress,
    place: Place,
) -> None:
    """Fill an array of NumPy with K(X, Z), of outputs that are summed over, block by block."""
    others = X if Z is None else Z
    size = block_rows(network, max(len(X), len(others)), len(outputs), dtype, 0, place)
    blocks = [
        (rows, cols)
        for rows in row_slices(len(X), size)
        for cols in row_slices(len(others), size)
        if Z is not None or cols.start <= rows.start
    ]

    handle = network.handle(place)

    def compute(samples: Any) -> Features:
        return Features(network, samples, outputs, dtype, place=place, handle=handle)

    count = len(X) + (0 if Z is None else len(Z))
    at_once = features_fit_beside(network, count, outputs, dtype, place)
    x_blocks = FeatureBlocks(compute, X, at_once=at_once)
    z_blocks = x_blocks if Z is None else FeatureBlocks(compute, Z, at_once=at_once)
    with monitored(progress, "kernel") as monitor:
        for done, (rows, cols) in enumerate(blocks, start=1):
            if cols.start == 0:
                x, x_rows = x_blocks[rows]
            diagonal = Z is None and cols == rows
            z, z_rows = (x, x_rows) if diagonal else z_blocks[cols]
            block = target[rows, cols]
            x.kernel_on_host(z, x_rows, z_rows, block, monitor if len(blocks) == 1 else None)
            if Z is None and not diagonal:
                target[cols, rows] = block.T
            if monitor is not None and len(blocks) > 1:
                monitor("blocks", done, len(blocks))


def packed_kernel(
    network: Network,
    X: Any,
    outputs: range,
    dtype: FloatDType,
    progress: Progress,
    place: Place,
) -> PackedKernel:
    """Return K(X, X) packed; features that do not fit beside it are computed block by block."""
    kernel = PackedKernel.empty(len(X), dtype)  # its pages are not in use yet
    memory = place.available_memory()
    needed = kernel.nbytes + network.feature_bytes(len(X), len(outputs), dtype)
    if memory is None or needed <= memory:
        features = Features(network, X, outputs, dtype, progress, place)
        features.packed_kernel(kernel.data, progress)
        return kernel
    kept = 0 if place.on_gpu else kernel.nbytes
    size = block_rows(network, len(X), len(outputs), dtype, kept, place)
    handle = network.handle(place)

    def compute(samples: Any) -> Features:
        return Features(network, samples, outputs, dtype, place=place, handle=handle)

    blocks = kernel.blocks(size)
    done, total = 0, len(blocks) * (len(blocks) + 1) // 2
    with monitored(progress, "kernel") as monitor:
        for i, rows in enumerate(blocks):
            x = compute(X[rows])
            for cols in blocks[: i + 1]:
                z = x if cols == rows else compute(X[cols])
                block: FloatArray = np.empty((len(x), len(z)), dtype=dtype)
                x.kernel_on_host(z, slice(0, len(x)), slice(0, len(z)), block, None)
                kernel.put(rows, cols, block)
                done += 1
                if monitor is not None:
                    monitor("blocks", done, total)
    return kernel
