# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where kernels go: new arrays, given ones, files, packed storage; also larger than memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.devices import gpu_arrays
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.block_loop import BlockLoop, Destination
from fastntk.kernels.features import Features
from fastntk.kernels.given_places import asks_for_packed, written_to
from fastntk.kernels.ranges import KernelRanges
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Monitor, Progress
    from fastntk.kernels.block_loop import KernelBlock
    from fastntk.kernels.request import KernelRequest


class Arrays(Destination):
    """One array for each kernel: of NumPy, in memory or mapped from a file, or of CuPy."""

    def __init__(self, request: KernelRequest, arrays: Sequence[Any]) -> None:
        self._request = request
        self._arrays = arrays

    def put(self, block: KernelBlock, monitor: Monitor | None) -> None:
        """Fill the block, and copy its mirror image where it has one."""
        parts = [array[block.rows, block.cols] for array in self._arrays]
        block.fill(parts, monitor)
        if block.mirrored:
            request = self._request
            mirrors = request.network.kernel_mirror(request.outputs, request.split)
            for part, mirror in zip(parts, mirrors, strict=True):
                self._arrays[mirror][block.cols, block.rows] = part.T


class GpuMatrix(Destination):
    """A matrix on the GPU that the samples lie on, whoever made it."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix

    def put(self, block: KernelBlock, monitor: Monitor | None) -> None:
        """Fill the matrix with the only block that there is."""
        block.fill([self._matrix], monitor)


class Packed(Destination):
    """The storage of one half of a kernel K(X, X)."""

    def __init__(self, kernel: PackedKernel) -> None:
        self._kernel = kernel

    def put(self, block: KernelBlock, monitor: Monitor | None) -> None:
        """Fill the block, and copy it to where its elements are stored."""
        values: FloatArray = np.empty(block.shape, dtype=self._kernel.dtype)
        block.fill([values], monitor)
        self._kernel.put(block.rows, block.cols, values)


def new_kernels(request: KernelRequest, progress: Progress) -> Any:
    """Return the kernels in new arrays of the place.

    Without a split a list of arrays, which can be let go one by one; with it, one array (k, n, m).
    Kernels for the host that do not fit into the memory of a GPU are computed there in blocks.

    Raises
    ------
    MemoryError
        If kernels and features do not fit in the memory that is available.
    """
    place = request.place
    if place.copies_results:
        PROCESSOR.require_memory(request.kernel_bytes, request.description, request.advice)
    else:
        needed = request.kernel_bytes + request.pass_bytes
        if not place.is_always_there(needed):
            what = f"{request.description} and the features"
            place.require_memory(needed, what, request.advice)
    count = request.count
    out: Any = (
        [place.empty(request.shape, request.dtype) for _ in range(count)]
        if request.split == "none"
        else place.empty((count, *request.shape), request.dtype)
    )
    loop = BlockLoop.within_memory(request) if place.copies_results else BlockLoop.whole(request)
    loop.run(Arrays(request, out), progress)
    return out


def kernel_to(
    request: KernelRequest,
    out: FloatArray | str | os.PathLike[str],
    progress: Progress,
    *,
    overwrite: bool,
) -> FloatArray | PackedKernel:
    """Fill `out`, an array or the name of a file, and return it; or return a packed kernel.

    A file is returned as a memory map; one that is there is replaced only with `overwrite`.
    Features that do not fit in memory are computed anew for each block of rows.
    """
    if not request.place.copies_results and request.place.on_gpu and gpu_arrays.on_gpu(out):
        return _kernel_to_gpu(request, out, progress)
    if asks_for_packed(out):
        return _packed_kernel(request, progress)

    def write(array: FloatArray) -> None:
        BlockLoop.within_memory(request).run(Arrays(request, [array]), progress)

    return written_to(out, request.shape, request.dtype, write, overwrite=overwrite)


def _kernel_to_gpu(request: KernelRequest, out: Any, progress: Progress) -> FloatArray:
    matrix = gpu_arrays.device_matrix(out, "out", request.dtype, writable=True)
    if matrix.shape != request.shape:
        raise ValueError(f"out has shape {matrix.shape}: expected {request.shape}")
    request.require_feature_memory()
    BlockLoop.whole(request).run(GpuMatrix(matrix), progress)
    filled: FloatArray = out
    return filled


def _packed_kernel(request: KernelRequest, progress: Progress) -> PackedKernel:
    """Return K(X, X) packed: in a call of the core, or in blocks where the features do not fit."""
    if not request.symmetric:
        raise ValueError(f"Z of shape {request.Z.shape}: expected None with out='packed'")
    kernel = PackedKernel.empty(len(request.X), request.dtype)  # its pages are not in use yet
    memory = request.place.available_memory()
    needed = kernel.nbytes + request.pass_bytes
    if memory is None or needed <= memory:
        features = Features(request.network, request.X, request.outputs, request.dtype, progress)
        features.fill_packed_kernel(kernel.data, progress)
        KernelRanges(request).look_at_diagonals(range(len(request.X)), [kernel.diagonal()])
        return kernel
    loop = BlockLoop.within_memory(
        request,
        kept=0 if request.place.on_gpu else kernel.nbytes,
        cut=lambda _, size: kernel.blocks(size),
    )
    loop.run(Packed(kernel), progress)
    return kernel
