# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A kernel at infinite width as a linear operator, whose tiles are computed anew for each product.

**Rounding.** Each element is that of the kernel to the last bit. A product multiplies tiles by
BLAS, in the precision of the operator, and adds up what these give in float64, in the order of the
tiles: the same bits for any number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.devices.processor import PROCESSOR
from fastntk.infinite.layer_factors import KINDS
from fastntk.infinite.tiles import fold_tiles, for_each_tile, tiles
from fastntk.kernels.ranges import products_are_lost

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.infinite.kernel_parts import KernelParts
    from fastntk.infinite.request import KernelRequest
    from fastntk.infinite.tiles import Tile
    from fastntk.linearity.operators import KernelElements

# Columns of the kernel that are computed together, and rows of these.
_COLUMNS = 32, 2048


class TileProducts:
    """The products K V of the kernel of X with itself, for one depth."""

    place = PROCESSOR

    def __init__(self, request: KernelRequest) -> None:
        request.network.require_one_depth()
        self._request, self._parts = request, request.parts
        self.dtype: FloatDType = request.dtype
        self.rows = len(request.X)

    def __copy__(self) -> TileProducts:
        return self  # which nothing changes

    def __deepcopy__(self, memo: dict[int, Any]) -> TileProducts:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return TileProducts, (self._request,)

    def __call__(self, V: Any) -> FloatArray:
        """Return K V for a matrix of columns."""
        vectors = vectors_of(V, self.dtype)
        sums = Sums(np.zeros(V.shape), 0)
        add_products(self._parts, self._parts.tiles(), vectors, (sums, sums))
        return products_in_range(sums.values, V, self)

    def diagonal(self) -> FloatArray:
        """Return the diagonal."""
        return diagonal_of(self._parts)

    def columns(self, indices: NDArray[np.intp]) -> FloatArray:
        """Return some columns; each costs as many pairs as there are samples."""
        n, chosen = self.rows, indices.tolist()
        require_column_memory(n, len(chosen), self.dtype)
        return columns_of(self._parts, chosen, self._request.X[indices], slice(0, n))


class Sums(NamedTuple):
    """What products add up: rows (n, k) in float64, and which of all rows the first one is."""

    values: NDArray[np.float64]
    first: int

    def add(self, rows: slice, values: FloatArray) -> None:
        """Add to some of all rows."""
        self.values[rows.start - self.first : rows.stop - self.first] += values


def vectors_of(V: Any, dtype: FloatDType) -> FloatArray:
    """Return a matrix of columns (n, k) in the precision of the products.

    Raises
    ------
    MemoryError
        If these do not fit in the memory that is available.
    """
    n, count = V.shape
    require_memory(
        n * count * (8 + 2 * dtype.itemsize),
        f"products with {count} vectors of {n}",
        "take fewer vectors at a time",
    )
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(V, dtype=dtype)


def add_products(
    parts: KernelParts, every: list[Tile], vectors: FloatArray, sums: tuple[Sums, Sums]
) -> None:
    """Add the products of tiles, and of their mirror images, with vectors (n, k).

    Parameters
    ----------
    parts : KernelParts
        With the samples of the tiles at hand.
    every : list of Tile
        In the order in which they are added up.
    vectors : ndarray (n, k)
        Those of all samples.
    sums : (Sums, Sums)
        Of the rows of the tiles, and of their columns.
    """
    direct, mirrored = sums

    def work(tile: Tile) -> tuple[FloatArray, FloatArray]:
        with np.errstate(over="ignore", invalid="ignore"):
            (kernel,) = parts.values(tile)
            beside = kernel[:, tile.beside_diagonal.start - tile.columns.start :]
            return kernel @ vectors[tile.columns], beside.T @ vectors[tile.rows]

    def add(tile: Tile, found: tuple[FloatArray, FloatArray]) -> None:
        direct.add(tile.rows, found[0])
        mirrored.add(tile.beside_diagonal, found[1])

    with np.errstate(over="ignore", invalid="ignore"):
        fold_tiles(work, add, every, progress=False, description="product")


def products_in_range(sums: NDArray[np.float64], V: Any, kernel: KernelElements) -> FloatArray:
    """Return products in their precision; raise OverflowError if they have left its range."""
    dtype = kernel.dtype
    with np.errstate(over="ignore", invalid="ignore"):
        result: FloatArray = sums.astype(dtype, copy=False)
    overflows = not np.isfinite(result).all() and bool(np.isfinite(V).all())
    if overflows or products_are_lost(result, V, kernel.diagonal):
        raise OverflowError(
            f"products with vectors up to {float(np.abs(V).max()):.3g} leave the range of "
            f"{dtype}: expected {'smaller' if overflows else 'larger'} vectors"
        )
    return result


def diagonal_of(parts: KernelParts) -> FloatArray:
    """Return the diagonal of the only kernel, that of X with itself."""
    scales = parts.scales[KINDS.index(parts.kinds[0])]
    result: FloatArray = np.square(scales[0]).astype(parts.dtype)
    return result


def require_column_memory(n: int, count: int, dtype: FloatDType) -> None:
    """Raise MemoryError if so many columns do not fit in the memory that is available."""
    require_memory(
        n * count * dtype.itemsize,
        f"indices: {n} × {count} elements in {dtype}",
        "take fewer columns",
    )


def columns_of(
    parts: KernelParts, chosen: list[int], rows: FloatArray, within: slice
) -> FloatArray:
    """Return some columns of the only kernel, whose samples are `rows`, within some of its rows.

    The samples of the latter are at hand.
    """
    count = within.stop - within.start
    out: FloatArray = np.empty((count, len(chosen)), parts.dtype)

    def work(tile: Tile) -> None:
        where = slice(tile.columns.start + within.start, tile.columns.stop + within.start)
        (some,) = parts.rows_of(chosen[tile.rows], rows[tile.rows], where)
        out[tile.columns, tile.rows] = some.T

    layers = parts.network.layer_count
    every = list(tiles(len(chosen), count, layers, symmetric=False, shape=_COLUMNS))
    for_each_tile(work, every, progress=False, description="columns")
    return out
