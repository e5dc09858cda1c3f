# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of all pairs of samples, tile by tile: whole, or parts with the bits of the whole.

Matrix products have other last bits in other shapes, and duals without a closed form are
interpolated between nodes that all samples decide on. So a part is made of the very tiles that the
whole kernel would be made of, all that lie in it or across its border, and of what all samples
bring into the recursion: their norms, 24 bytes each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from fastntk.infinite.angle_series import PairsOfOneNorm
from fastntk.infinite.architecture import Architecture
from fastntk.infinite.gaps import fill_gaps
from fastntk.infinite.layer_factors import KINDS, check_range, require_nonzero
from fastntk.infinite.pairs import Pairs, Results
from fastntk.infinite.recursion import Target, mirror
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.tiles import Tile, for_each_tile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.infinite.several_depths import SeveralDepths

Way: TypeAlias = Pairs | PairsOfOneNorm


@dataclass(frozen=True)
class KernelParts:
    """Kernels of X with Z, or with itself, of which tiles are asked for.

    Attributes
    ----------
    network : SeveralDepths
    ways : list
        What writes tiles, one after the other. Where samples have one norm, the kernels that are
        series are written by these: at each depth without a look at the others, so that no kernel
        depends on which ones are asked for beside it.
    kinds : tuple of str
        Which kernels, "nngp" or "ntk" or both.
    scales : tuple of ndarray (depths, samples)
        What both kernels are multiplied with: of X and, after these, of another set Z.
    dtype : dtype
        That of the kernels.
    """

    network: SeveralDepths
    ways: list[Way]
    kinds: tuple[str, ...]
    scales: tuple[NDArray[np.float64], NDArray[np.float64]]
    dtype: FloatDType

    @classmethod
    def of(
        cls,
        network: SeveralDepths,
        kinds: tuple[str, ...],
        X: Samples,
        Z: Samples | None,
        dtype: FloatDType,
        *,
        normalize: bool,
    ) -> Self:
        """Return the kernels of samples, of which only the norms are looked at here.

        Raises
        ------
        ValueError, OverflowError
            If the network has no such kernel, or the kernel leaves the range of its numbers.
        """
        if "ntk" in kinds:
            network.require_tangent_kernel()
        ways, every_scale, every_zero = _ways_of_pairs(X, Z, network, kinds)
        scales = []
        for name, raw, zero in zip(KINDS, every_scale, every_zero, strict=True):
            if name in kinds and normalize:
                for samples, part in (("X", zero[:, : len(X)]), ("Z", zero[:, len(X) :])):
                    require_nonzero(part, samples, network, tangent=name == "ntk")
                scales.append(np.ones(zero.shape))
                continue
            if name in kinds:
                check_range(raw, dtype, network, zero=zero)
            scales.append(raw)
        return cls(network, ways, kinds, (scales[0], scales[1]), dtype)

    @property
    def symmetric(self) -> bool:
        """Whether they are kernels of X with itself."""
        return self.ways[0].symmetric

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns."""
        return len(self.ways[0].X), len(self.ways[0].Z)

    def tiles(self, wanted: slice | None = None) -> list[Tile]:
        """Return tiles that cover all pairs, or those of `wanted` rows.

        Each pair once where X and Z are the same.
        """
        return self.ways[0].tiles(wanted)

    @property
    def first_tile(self) -> Tile:
        """The first of all tiles, than which no other is larger."""
        return self.ways[0].tiles(slice(0, 1))[0]

    def tiles_of(self, rows: slice, columns: slice) -> list[Tile]:
        """Return the tiles of a part."""
        return [
            tile
            for tile in self.tiles(rows)
            if tile.columns.start < columns.stop and columns.start < tile.columns.stop
        ]

    def fill(self, outs: Sequence[FloatArray], tile: Tile, origin: tuple[int, int]) -> None:
        """Write a tile of the kernels.

        Parameters
        ----------
        outs : sequence of ndarray (depths, …, …)
            One contiguous array for each of the `kinds`, with the depths in ascending order.
        tile : Tile
            One of `tiles`. What lies left of the diagonal in it is not written.
        origin : (int, int)
            Where it begins in the arrays.
        """
        results = self._results(outs)
        for way in self.ways:
            way.propagate(tile, results, origin)

    def values(self, tile: Tile) -> FloatArray:
        """Return a tile (depths, rows, columns) of the only kernel, complete at the diagonal."""
        height, width = (part.stop - part.start for part in (tile.rows, tile.columns))
        out = np.empty((len(self.network.depths), height, width), self.dtype)
        self.fill([out], tile, (0, 0))
        if tile.diagonal:
            for kernel in out:
                mirror(kernel, 0, height, 0, height)
        return out

    def rows_of(self, chosen: Sequence[int], rows: FloatArray, columns: slice) -> FloatArray:
        """Return some rows (depths, k, columns) of the only kernel, that of X with itself.

        Rows that do not lie together are no part of tiles, whose bits they do not have: they are
        the same but for rounding.

        Parameters
        ----------
        chosen : sequence of int (k,)
            Which ones.
        rows : ndarray (k, d)
            Their samples.
        columns : slice
            Whose samples are at hand.
        """
        X = self.ways[0].Z
        picked = Samples(rows, X.norms.take(np.asarray(chosen)))
        gaps = np.empty((len(chosen), columns.stop - columns.start))
        fill_gaps(picked, X, slice(0, len(chosen)), columns, gaps, same=False)
        out = np.empty((len(self.network.depths), *gaps.shape), self.dtype)
        results = self._results([out])
        for k, i in enumerate(chosen):
            if columns.start <= i < columns.stop:
                gaps[k, i - columns.start] = 0.0  # of a sample with itself, a row of zeros too
            tile = Tile(slice(i, i + 1), columns, diagonal=False)
            for way in self.ways:
                way.propagate_gaps(gaps[k : k + 1].copy(), tile, results, (k, 0))
        return out

    def _results(self, outs: Sequence[FloatArray]) -> Results:
        n, m = self.shape
        targets = []
        for name, scales in zip(KINDS, self.scales, strict=True):
            wanted = name in self.kinds
            out = outs[self.kinds.index(name)] if wanted else outs[0][:0]
            targets.append(Target(out, scales[:, :n], scales[:, -m:]))
        return Results.of_kernels(*targets)

    def with_samples(self, X: tuple[FloatArray, int], Z: tuple[FloatArray, int]) -> Self:
        """Return the same kernels with samples at hand for their rows and for their columns.

        Both are ranges of all samples, each with the number of its first one.
        """
        there, beside = self.ways[0].X.with_rows(*X), self.ways[0].Z.with_rows(*Z)
        return replace(self, ways=[replace(way, X=there, Z=beside) for way in self.ways])

    def needed(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return the samples of X and of Z that a part needs: whole tiles."""
        return _covered(self.tiles_of(rows, columns))

    def part(self, rows: slice, columns: slice, X: FloatArray, Z: FloatArray) -> FloatArray:
        """Return the kernel of these rows and columns, from the samples that `needed` says.

        Parameters
        ----------
        rows, columns : slice
            Where the part lies. Without another set Z, on the diagonal or right of it.
        X, Z : ndarray
            The samples of the rows and of the columns.

        Returns
        -------
        ndarray (rows, columns), or (depths, rows, columns) for a sequence of depths
        """
        tiles = self.tiles_of(rows, columns)
        high, wide = _covered(tiles)
        given = self.with_samples((X, high.start), (Z, wide.start))
        size = rows.stop - rows.start, columns.stop - columns.start
        out = np.empty((len(self.network.depths), *size), self.dtype)

        def work(tile: Tile) -> None:
            put_part(given.values(tile), tile, rows, columns, out)

        for_each_tile(work, tiles, progress=False, description="kernel")
        if self.symmetric and rows == columns:
            for kernel in out:
                mirror(kernel, 0, size[0], 0, size[1])
        return np.ascontiguousarray(as_asked(out, self.network))


def put_part(values: FloatArray, tile: Tile, rows: slice, columns: slice, out: FloatArray) -> None:
    """Copy what a tile (depths, …, …) has of a part of a kernel to where that is in the part."""
    top, bottom = max(tile.rows.start, rows.start), min(tile.rows.stop, rows.stop)
    left, right = max(tile.columns.start, columns.start), min(tile.columns.stop, columns.stop)
    out[:, top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = (
        values[
            :,
            top - tile.rows.start : bottom - tile.rows.start,
            left - tile.columns.start : right - tile.columns.start,
        ]
    )


def as_asked(out: FloatArray, network: SeveralDepths) -> FloatArray:
    """Return kernels of all depths in the order in which these were asked for."""
    if len(out) == 0:
        return out
    if isinstance(network.depth, int):
        result: FloatArray = out[0]
    elif network.asked == network.depths:
        result = out
    else:
        result = out[[network.depths.index(depth) for depth in network.asked]]
    return result


def _ways_of_pairs(
    X: Samples, Z: Samples | None, network: SeveralDepths, kinds: tuple[str, ...]
) -> tuple[list[Way], NDArray[np.float64], NDArray[np.bool_]]:
    """Return what writes the kernels of each tile, `LayerFactors.scales`, and where these are 0."""
    of_one_norm = None
    if isinstance(network, Architecture):
        of_one_norm = PairsOfOneNorm.of(X, Z, network, kinds)
    if of_one_norm is not None and of_one_norm.complete:
        scales = of_one_norm.scales
        return [of_one_norm], scales, np.zeros(scales.shape, dtype=bool)
    pairs = Pairs.of(X, Z, network)
    ways: list[Way] = [pairs]
    if of_one_norm is not None:
        ways.append(of_one_norm)
    return ways, pairs.factors.scales, pairs.factors.zero


def _covered(tiles: list[Tile]) -> tuple[slice, slice]:
    """Return the rows and the columns from the first to the last tile."""
    return (
        slice(min(t.rows.start for t in tiles), max(t.rows.stop for t in tiles)),
        slice(min(t.columns.start for t in tiles), max(t.columns.stop for t in tiles)),
    )
