# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The tangent kernel at infinite width as an operator whose tiles workers compute anew.

A task does the tiles that begin in the rows of one block of samples and in the columns of another,
on and right of the diagonal. The library's own tiles do not end where blocks do, so that a task
needs some samples of the next blocks too; but no tile is computed twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dask_workers import aligned, share_of_threads
from fastntk.devices.processor import PROCESSOR
from fastntk.distributed.arrays import infinite_tiles, spread_rows
from fastntk.distributed.blocks import blocks_of, take
from fastntk.distributed.tiled_kernels import InfiniteKernel, joined
from fastntk.infinite.kernel_operator import (
    Sums,
    add_products,
    columns_of,
    diagonal_of,
    products_in_range,
    require_column_memory,
    vectors_of,
)
from fastntk.infinite.tiles import begin_in, reach
from fastntk.linearity.operators import KernelOperator

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk.distributed.blocks import BlocksHere
    from fastntk.distributed.samples import BlocksOfSamples
    from fastntk.infinite.methods import LimitMethods


def infinite_operator(
    net: LimitMethods,
    X: Any,
    client: Any,
    *,
    chunks: int | str,
    dtype: npt.DTypeLike | None,
    normalize: bool,
) -> KernelOperator:
    """Return the operator of a network of infinite width; see `ntk_operator`."""
    net.require_one_depth()
    size = spread_rows(chunks, X)
    tiles = infinite_tiles(net, "ntk", X, None, chunks=size, dtype=dtype, normalize=normalize)
    kernel = tiles.kernel
    assert isinstance(kernel, InfiniteKernel)
    return KernelOperator(SpreadTileProducts(kernel, tiles.X, blocks_of(kernel, tiles.X, client)))


class SpreadTileProducts:
    """The products K V of the kernel of X with itself, from blocks of samples wherever they are."""

    place = PROCESSOR

    def __init__(
        self, kernel: InfiniteKernel, samples: BlocksOfSamples, blocks: BlocksHere
    ) -> None:
        self._kernel, self._samples, self._blocks = kernel, samples, blocks
        self.dtype, self.rows = kernel.dtype, len(samples)

    def __call__(self, V: Any) -> FloatArray:
        """Return K V for a matrix of columns."""
        vectors = self._blocks.shared(vectors_of(V, self.dtype))
        sums = np.zeros(V.shape)
        with np.errstate(over="ignore", invalid="ignore"):
            for parts in self._blocks.results(self._squares(vectors)):
                for first, part in parts:
                    sums[first : first + len(part)] += part
        return products_in_range(sums, V, self)

    def _squares(self, vectors: Any) -> Iterator[Any]:
        """Yield what stands for the products of all squares, in their order."""
        slices = self._samples.slices
        first = self._kernel.parts().first_tile
        for i, rows in enumerate(slices):
            for columns in slices[i:]:
                given = []
                for reached in reach(first, rows, columns, self.rows):
                    blocks = self._samples.blocks(reached)
                    start = slices[blocks[0]].start
                    given.append((start, [self._blocks.samples(block) for block in blocks]))
                yield self._blocks.call(_square, rows, columns, *given, vectors)

    def diagonal(self) -> FloatArray:
        """Return the diagonal."""
        return diagonal_of(self._kernel.parts())

    def columns(self, indices: npt.NDArray[np.intp]) -> FloatArray:
        """Return some columns; each costs as many pairs as there are samples."""
        require_column_memory(self.rows, len(indices), self.dtype)
        # In rising order, as the blocks return them.
        places, back = np.unique(indices, return_inverse=True)
        there = [
            (block, (places[(places >= rows.start) & (places < rows.stop)] - rows.start,))
            for block, rows in enumerate(self._samples.slices)
        ]
        wanted = [(block, given) for block, given in there if len(given[0])]
        picked = np.concatenate([*self._blocks.results(self._blocks.each(take, wanted))])
        chosen = indices.tolist(), self._blocks.shared(picked[back])
        every = self._blocks.each(
            _columns, ((block, (rows, *chosen)) for block, rows in enumerate(self._samples.slices))
        )
        return np.concatenate([*self._blocks.results(every)])


# Tasks of Dask.


def _square(
    kernel: InfiniteKernel,
    rows: slice,
    columns: slice,
    X: tuple[int, list[Any]],
    Z: tuple[int, list[Any]],
    vectors: FloatArray,
) -> list[tuple[int, FloatArray]]:
    """Return the products of the tiles that begin in a square, and the first row of each part."""
    whole = kernel.parts()
    every = begin_in(whole.tiles(rows), rows, columns)
    if not every:
        return []
    sides = [(joined(blocks), first) for first, blocks in (X, Z)]
    parts = whole.with_samples(sides[0], sides[1])
    count = vectors.shape[1]
    below = max(tile.rows.stop for tile in every)
    beside = max(tile.columns.stop for tile in every)
    direct = Sums(np.zeros((below - rows.start, count)), rows.start)
    mirrored = Sums(np.zeros((beside - columns.start, count)), columns.start)
    with share_of_threads():
        add_products(parts, every, aligned(vectors), (direct, mirrored))
    return [(part.first, part.values) for part in (direct, mirrored)]


def _columns(
    kernel: InfiniteKernel,
    key: str,  # noqa: ARG001
    X: Any,
    rows: slice,
    chosen: list[int],
    picked: FloatArray,
) -> FloatArray:
    parts, samples = kernel.parts(), (aligned(X), rows.start)
    with share_of_threads():
        return columns_of(parts.with_samples(samples, samples), chosen, aligned(picked), rows)
