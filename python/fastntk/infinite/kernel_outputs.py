# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A kernel at infinite width that goes elsewhere than into a new array, and may exceed memory.

Into an array or a file it is written tile by tile, into packed storage as well; or it is handed out
in blocks that nobody keeps. Beside that there are some tiles in memory, a mebibyte for each thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.infinite.kernel_matrices import fill_kernels
from fastntk.infinite.kernel_parts import put_part
from fastntk.infinite.recursion import mirror
from fastntk.infinite.tiles import for_each_tile, in_squares
from fastntk.kernels.block_sizes import row_slices
from fastntk.kernels.given_places import asks_for_packed, written_to
from fastntk.kernels.methods import KernelTile
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.infinite.kernel_parts import KernelParts
    from fastntk.infinite.request import KernelRequest
    from fastntk.infinite.tiles import Tile


def kernel_to(
    request: KernelRequest,
    out: FloatArray | str | os.PathLike[str],
    progress: Progress,
    *,
    overwrite: bool,
) -> FloatArray | PackedKernel:
    """Fill `out`, an array or the name of a file, and return it; or return a packed kernel.

    A file is returned as a memory map; one that is there is replaced only with `overwrite`.
    """
    request.network.require_one_depth()
    if asks_for_packed(out):
        return _packed_kernel(request, progress)

    def write(array: FloatArray) -> None:
        if array.flags.c_contiguous and array.flags.aligned:
            fill_kernels(request, [np.asarray(array)[np.newaxis]], progress)
        else:  # which compiled loops would have to be compiled for
            symmetric = request.Z is None
            _hand_out(request, lambda *given: _put(array, *given, symmetric=symmetric), progress)

    return written_to(out, request.shape, request.dtype, write, overwrite=overwrite)


def kernel_tiles(request: KernelRequest, size: int) -> Iterator[KernelTile]:
    """Return an iterator over blocks of so many rows and columns; see `Network.ntk_tiles`."""
    request.network.require_one_depth()
    return _tiles(request, request.parts, size)


def _tiles(request: KernelRequest, parts: KernelParts, size: int) -> Iterator[KernelTile]:
    rows_cut, columns_cut = (row_slices(count, size) for count in request.shape)
    own = parts.tiles()[0].columns
    for rows in rows_cut:
        strip, height = _Strip(parts, rows), rows.stop - rows.start
        for columns in columns_cut:
            if parts.symmetric and columns.start < rows.start:
                continue
            width = columns.stop - columns.start
            require_memory(
                height * (width + own.stop - own.start) * request.dtype.itemsize,
                f"a tile of {height} × {width} in {request.dtype}, with what lies beside it,",
                "take a smaller tile",
            )
            if parts.symmetric and rows != columns:  # the mirror image, below the diagonal
                below: FloatArray = np.empty((1, width, height), request.dtype)
                strip.fill(columns, below.transpose(0, 2, 1))
                yield KernelTile(columns, rows, below[0])
                continue
            values: FloatArray = np.empty((1, height, width), request.dtype)
            strip.fill(columns, values)
            if parts.symmetric:
                mirror(values[0], 0, height, 0, height)
            yield KernelTile(rows, columns, values[0])


class _Strip:
    """Some rows of a kernel, part by part from the left to the right.

    What the library's own tiles have right of a part is kept for the next one.
    """

    def __init__(self, parts: KernelParts, rows: slice) -> None:
        self._parts, self._rows = parts, rows
        self._kept: dict[tuple[int, int], FloatArray] = {}

    def fill(self, columns: slice, out: FloatArray) -> None:
        """Fill an array (depths, rows, columns) with a part."""

        def work(tile: Tile) -> FloatArray | None:
            values = self._kept.get((tile.rows.start, tile.columns.start))
            if values is None:
                values = self._parts.values(tile)
            put_part(values, tile, self._rows, columns, out)
            return values if tile.columns.stop > columns.stop else None

        every = self._parts.tiles_of(self._rows, columns)
        found = for_each_tile(work, every, progress=False, description="kernel")
        self._kept = {
            (tile.rows.start, tile.columns.start): values
            for tile, values in zip(every, found, strict=True)
            if values is not None
        }


def _packed_kernel(request: KernelRequest, progress: Progress) -> PackedKernel:
    if request.Z is not None:
        raise ValueError(f"Z of shape {request.Z.shape}: expected None with out='packed'")
    packed = PackedKernel.empty(len(request.X), request.dtype)
    halves = packed.blocks(packed.n)
    _hand_out(request, lambda *given: _put_packed(packed, *given, halves=halves), progress)
    return packed


def _hand_out(
    request: KernelRequest, put: Callable[[Tile, FloatArray], None], progress: Progress
) -> None:
    """Call put(tile, values) for every tile, from several threads."""
    parts = request.parts

    def work(tile: Tile) -> None:
        put(tile, parts.values(tile)[0])

    for_each_tile(work, in_squares(parts.tiles()), progress, "kernel")


def _put(array: FloatArray, tile: Tile, values: FloatArray, *, symmetric: bool) -> None:
    array[tile.rows, tile.columns] = values
    if symmetric:
        beside = tile.beside_diagonal
        array[beside, tile.rows] = values[:, beside.start - tile.columns.start :].T


def _put_packed(
    packed: PackedKernel, tile: Tile, values: FloatArray, *, halves: list[slice]
) -> None:
    """Write the mirror image of a tile, which is stored; a tile may lie in both halves of that."""
    top, left = tile.rows.start, tile.columns.start
    for half in halves:
        columns = slice(max(top, half.start), min(tile.rows.stop, half.stop))
        if columns.start >= columns.stop:
            continue
        some = values[columns.start - top : columns.stop - top]
        below = tile.columns
        if tile.diagonal:
            packed.put(columns, columns, some[:, columns.start - left : columns.stop - left])
            below = slice(columns.stop, tile.columns.stop)
        if below.start < below.stop:
            packed.put(below, columns, some[:, below.start - left :].T)
