# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Parts of a kernel of all pairs of samples, each computed by itself, with the bits of the whole.

Matrix products have other last bits in other shapes, and duals without a closed form are
interpolated between nodes that all samples decide on. So a part is made of the very tiles that the
whole kernel would be made of, all that lie in it or across its border, and of what all samples
bring into the recursion: their norms, 24 bytes each.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite.kernel_matrices import as_asked, scales_of_cosines, ways_of_pairs
from fastntk.infinite.layer_factors import KINDS, check_range
from fastntk.infinite.pairs import Results
from fastntk.infinite.recursion import Target
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.tiles import for_each_tile

if TYPE_CHECKING:
    from typing import Self

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.infinite.angle_series import PairsOfOneNorm
    from fastntk.infinite.architecture import Architecture
    from fastntk.infinite.pairs import Pairs
    from fastntk.infinite.sample_norms import Norms
    from fastntk.infinite.tiles import Tile


@dataclass(frozen=True)
class KernelParts:
    """A kernel "nngp" or "ntk" of X with Z, or with itself, of which parts are asked for.

    Attributes
    ----------
    network : Architecture
    ways : list
        What writes tiles, see `ways_of_pairs`; of the samples only their norms are known.
    kind : str
        Which kernel.
    scales : ndarray (depths, samples)
        What it is multiplied with: of X and, after these, of another set Z.
    dtype : dtype
        That of the kernel.
    """

    network: Architecture
    ways: list[Pairs | PairsOfOneNorm]
    kind: str
    scales: NDArray[np.float64]
    dtype: FloatDType

    @classmethod
    def of(
        cls,
        network: Architecture,
        kind: str,
        X: Norms,
        Z: Norms | None,
        dtype: FloatDType,
        *,
        normalize: bool,
    ) -> Self:
        """Return the kernel of samples with these norms.

        Raises
        ------
        ValueError, OverflowError
            As `kernel_matrices` does.
        """
        if kind == "ntk":
            network.require_tangent_kernel()
        unseen = _unseen(X), None if Z is None else _unseen(Z)
        ways, every_scale, every_zero = ways_of_pairs(*unseen, network, (kind,))
        scales, zero = (each[KINDS.index(kind)] for each in (every_scale, every_zero))
        if normalize:
            scales = scales_of_cosines(zero, len(X), network.depths)
        else:
            check_range(scales, dtype, network.depths, zero=zero)
        return cls(network, ways, kind, scales, dtype)

    def needed(self, rows: slice, columns: slice) -> tuple[slice, slice]:
        """Return the samples of X and of Z that a part needs: whole tiles."""
        return _covered(self._tiles(rows, columns))

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
        tiles = self._tiles(rows, columns)
        high, wide = _covered(tiles)
        first, symmetric = self.ways[0], self.ways[0].symmetric
        there = replace(first.X, rows=X, first=high.start)
        beside = replace(first.Z, rows=Z, first=wide.start)
        ways = [replace(way, X=there, Z=beside) for way in self.ways]
        size = high.stop - high.start, wide.stop - wide.start
        target = Target(
            np.empty((len(self.scales), *size), self.dtype),
            self.scales[:, : len(there)],
            self.scales[:, -len(beside) :],
        )
        unwanted = target._replace(out=target.out[:0])
        both = (target, unwanted) if self.kind == "nngp" else (unwanted, target)
        results = Results.of_kernels(*both)

        def work(tile: Tile) -> None:
            origin = tile.rows.start - high.start, tile.columns.start - wide.start
            for way in ways:
                way.propagate(tile, results, origin)

        for_each_tile(work, tiles, progress=False, description="kernel")
        whole = target.out[
            :,
            rows.start - high.start : rows.stop - high.start,
            columns.start - wide.start : columns.stop - wide.start,
        ]
        if symmetric and rows == columns:
            below = np.tri(rows.stop - rows.start, k=-1, dtype=bool)
            for kernel in whole:
                np.copyto(kernel, kernel.T.copy(), where=below)
        return np.ascontiguousarray(as_asked(whole, self.network))

    def _tiles(self, rows: slice, columns: slice) -> list[Tile]:
        return [
            tile
            for tile in self.ways[0].tiles(rows)
            if tile.columns.start < columns.stop and columns.start < tile.columns.stop
        ]


def _covered(tiles: list[Tile]) -> tuple[slice, slice]:
    """Return the rows and the columns from the first to the last tile."""
    return (
        slice(min(t.rows.start for t in tiles), max(t.rows.stop for t in tiles)),
        slice(min(t.columns.start for t in tiles), max(t.columns.stop for t in tiles)),
    )


def _unseen(norms: Norms) -> Samples:
    return Samples(np.empty((0, norms.dimension)), norms)
