# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A kernel at infinite width as a linear operator, whose tiles are computed anew for each product.

**Rounding.** Each element is that of the kernel to the last bit. A product multiplies tiles by
BLAS, in the precision of the operator, and adds up what these give in float64, in the order of the
tiles: the same bits for any number of threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.devices.processor import PROCESSOR
from fastntk.infinite.layer_factors import KINDS
from fastntk.infinite.tiles import fold_tiles, for_each_tile, tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.infinite.request import KernelRequest
    from fastntk.infinite.tiles import Tile

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
        n, count = V.shape
        require_memory(
            n * count * (8 + 2 * self.dtype.itemsize),
            f"products with {count} vectors of {n}",
            "take fewer vectors at a time",
        )
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(V, dtype=self.dtype)
        sums = np.zeros((n, count))

        def work(tile: Tile) -> tuple[FloatArray, FloatArray]:
            with np.errstate(over="ignore", invalid="ignore"):
                (kernel,) = self._parts.values(tile)
                beside = kernel[:, tile.beside_diagonal.start - tile.columns.start :]
                return kernel @ vectors[tile.columns], beside.T @ vectors[tile.rows]

        def add(tile: Tile, found: tuple[FloatArray, FloatArray]) -> None:
            sums[tile.rows] += found[0]
            sums[tile.beside_diagonal] += found[1]

        with np.errstate(over="ignore", invalid="ignore"):
            fold_tiles(work, add, self._parts.tiles(), progress=False, description="product")
            result: FloatArray = sums.astype(self.dtype, copy=False)
        if not np.isfinite(result).all() and np.isfinite(V).all():
            raise OverflowError(
                f"products with vectors up to {float(np.abs(V).max()):.3g} leave the range of "
                f"{self.dtype}: expected smaller vectors"
            )
        return result

    def diagonal(self) -> FloatArray:
        """Return the diagonal."""
        scales = self._parts.scales[KINDS.index(self._request.kinds[0])]
        result: FloatArray = np.square(scales[0]).astype(self.dtype)
        return result

    def columns(self, indices: NDArray[np.intp]) -> FloatArray:
        """Return some columns; each costs as many pairs as there are samples."""
        n, chosen = self.rows, indices.tolist()
        require_memory(
            n * len(chosen) * self.dtype.itemsize,
            f"indices: {n} × {len(chosen)} elements in {self.dtype}",
            "take fewer columns",
        )
        out: FloatArray = np.empty((n, len(chosen)), self.dtype)

        def work(tile: Tile) -> None:
            (some,) = self._parts.rows_of(chosen[tile.rows], tile.columns)
            out[tile.columns, tile.rows] = some.T

        layers = self._request.network.layer_count
        every = list(tiles(len(chosen), n, layers, symmetric=False, shape=_COLUMNS))
        for_each_tile(work, every, progress=False, description="columns")
        return out
