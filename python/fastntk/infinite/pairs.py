# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""All pairs of samples: a tile of them from the samples, through the layers, to the results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk.infinite import general_recursion, recursion
from fastntk.infinite.architecture import Architecture
from fastntk.infinite.compiled_recursion import CompiledNetwork
from fastntk.infinite.gaps import fill_gaps
from fastntk.infinite.layer_factors import LayerFactors
from fastntk.infinite.layered_architecture import LayeredArchitecture
from fastntk.infinite.layered_compiled import CompiledLayers
from fastntk.infinite.layered_factors import LayeredFactors
from fastntk.infinite.recursion import Position, Target, TileLayers
from fastntk.infinite.sample_norms import Norms
from fastntk.infinite.tiles import Tile, tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk.infinite.sample_norms import Samples
    from fastntk.infinite.several_depths import SeveralDepths

# Rows and columns of a tile: enough rows for matrix products at full speed, and few enough for the
# thirty arrays of a tile that the general recursion holds to stay in the cache, and small beside
# the result. It is only recursions that follow nothing but cosines that keep a row in near caches.
_COSINES, _COMPILED, _GENERAL = (128, 1024), (40, 2048), (12, 1024)


class Results(NamedTuple):
    """Where both kernels go; the scales of a `Target` are here those of all samples."""

    nngp: Target
    ntk: Target
    one: float

    @classmethod
    def of_kernels(cls, nngp: Target, ntk: Target) -> Results:
        """Return results that are kernels; the scales are the roots of their diagonals."""
        return cls(nngp, ntk, 1.0)

    @classmethod
    def of_gaps(cls, out: FloatArray, n: int, m: int, *, gradient: bool) -> Results:
        """Return results that are gaps of the gradients, or of the last hidden layer.

        Parameters
        ----------
        out : ndarray (depths, …, …)
            Where they go.
        n, m : int
            The numbers of samples.
        gradient : bool
            Whether those of the gradients are wanted.
        """
        depths = len(out)
        target = Target(out, np.full((depths, n), -1.0), np.ones((depths, m)))
        unwanted = Target(*(array[:0] for array in target))
        return cls(unwanted, target, 0.0) if gradient else cls(target, unwanted, 0.0)


@dataclass(frozen=True)
class Pairs:
    """All pairs of two sets of samples, in one network.

    Attributes
    ----------
    network : SeveralDepths
        The network.
    X, Z : Samples
        The samples; the same object where pairs of one set are wanted.
    factors : LayerFactors or LayeredFactors
        What X brings into the recursion, and after it Z where that is another set.
    offset : int
        The position of the first sample of Z in the factors.
    compiled : CompiledNetwork, CompiledLayers or None
        The same for the compiled recursion, where it can be taken.
    """

    network: SeveralDepths
    X: Samples
    Z: Samples
    factors: LayerFactors | LayeredFactors
    offset: int
    compiled: CompiledNetwork | CompiledLayers | None

    @classmethod
    def of(
        cls, X: Samples, Z: Samples | None, network: SeveralDepths, *, unit_norms: bool = False
    ) -> Pairs:
        """Return the pairs of X with Z, or with itself; for `unit_norms` see `LayerFactors.of`."""
        norms = X.norms if Z is None else Norms.joined([X.norms, Z.norms])
        factors = factors_of(norms, network, len(X), unit_norms=unit_norms)
        compiled: CompiledNetwork | CompiledLayers | None
        if isinstance(factors, LayeredFactors):
            assert isinstance(network, LayeredArchitecture)
            compiled = CompiledLayers.of(network, norms, factors)
        else:
            assert isinstance(network, Architecture)
            compiled = CompiledNetwork.of(network, factors)
        if compiled is not None:
            factors = compiled.factors
        if Z is None:
            return cls(network, X, X, factors, 0, compiled)
        return cls(network, X, Z, factors, len(X), compiled)

    @property
    def symmetric(self) -> bool:
        """Whether X and Z are the same samples, of which both may hold other ranges."""
        return self.X.norms is self.Z.norms

    def tiles(self, wanted: slice | None = None) -> list[Tile]:
        """Return tiles that cover all pairs, or those of `wanted` rows.

        Each pair once where X and Z are the same.
        """
        shape = _GENERAL if self.compiled is None else _COMPILED
        if self.network.piecewise_linear or isinstance(self.compiled, CompiledLayers):
            shape = _COSINES
        return list(
            tiles(
                len(self.X),
                len(self.Z),
                self.network.layer_count,
                symmetric=self.symmetric,
                shape=shape,
                wanted=wanted,
            )
        )

    def propagate(self, tile: Tile, results: Results, origin: tuple[int, int]) -> None:
        """Write a tile of the results; `origin` is where the tile begins in them."""
        gaps = np.empty((tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start))
        fill_gaps(self.X, self.Z, tile.rows, tile.columns, gaps, same=self.symmetric)
        self.propagate_gaps(gaps, tile, results, origin)

    def propagate_gaps(
        self, gaps: NDArray[np.float64], tile: Tile, results: Results, origin: tuple[int, int]
    ) -> None:
        """Do the same for pairs at given gaps, with a sign; overwrite these."""
        columns = slice(tile.columns.start + self.offset, tile.columns.stop + self.offset)
        nngp, ntk = (
            Target(target.out, _part(target.rows, tile.rows), _part(target.columns, tile.columns))
            for target in (results.nngp, results.ntk)
        )
        position = Position(*origin, tile.diagonal)
        if self.network.piecewise_linear:
            assert isinstance(self.network, Architecture)
            assert isinstance(self.factors, LayerFactors)
            layers = TileLayers(
                _part(self.factors.factors, tile.rows),
                _part(self.factors.factors, columns),
                self.factors.shared,
                self.network.kinks,
                np.array(self.network.depths),
            )
            recursion.propagate(gaps, layers, nngp, ntk, results.one, position)
        elif self.compiled is not None:
            self._propagate_compiled(gaps, tile, (nngp, ntk), results.one, position)
        else:
            self._propagate_arrays(gaps, (tile.rows, columns), (nngp, ntk), results.one, position)

    def _propagate_arrays(
        self,
        gaps: NDArray[np.float64],
        samples: tuple[slice, slice],
        targets: tuple[Target, Target],
        one: float,
        position: Position,
    ) -> None:
        """Do it array by array, for rows and columns of all samples."""
        if isinstance(self.compiled, CompiledLayers):
            self.compiled.propagate_arrays(gaps, samples, targets, one, position)
            return
        rows, columns = (self.factors.take(part) for part in samples)
        assert isinstance(self.network, Architecture)
        assert isinstance(rows, LayerFactors)
        assert isinstance(columns, LayerFactors)
        general_recursion.propagate(gaps, self.network, (rows, columns), targets, one, position)

    def _propagate_compiled(
        self,
        gaps: NDArray[np.float64],
        tile: Tile,
        targets: tuple[Target, Target],
        one: float,
        position: Position,
    ) -> None:
        assert self.compiled is not None
        columns = slice(tile.columns.start + self.offset, tile.columns.stop + self.offset)
        go_on = self.compiled.tile(tile.rows, columns.start, tangent=len(targets[1].out) > 0)
        height = len(gaps)
        row = 0
        while True:
            row = go_on(gaps, targets, one, position, row)
            if row == height:
                return
            # Some rows with close pairs: those of a diagonal tile begin at their own diagonal.
            stop = min(row + _GENERAL[0], height)
            left = row if position.diagonal else 0
            rows = slice(tile.rows.start + row, tile.rows.start + stop)
            places = tuple(
                Target(
                    target.out,
                    np.ascontiguousarray(target.rows[:, row:stop]),
                    np.ascontiguousarray(target.columns[:, left:]),
                )
                for target in targets
            )
            self._propagate_arrays(
                gaps[row:stop, left:],
                (rows, slice(columns.start + left, columns.stop)),
                (places[0], places[1]),
                one,
                Position(position.row + row, position.column + left, position.diagonal),
            )
            row = stop


def factors_of(
    norms: Norms, network: SeveralDepths, rows: int | None = None, *, unit_norms: bool = False
) -> LayerFactors | LayeredFactors:
    """Return what samples bring into the recursion.

    For `rows` see `LayeredFactors.of`, for `unit_norms` `LayerFactors.of`.
    """
    if isinstance(network, LayeredArchitecture):
        return LayeredFactors.of(norms, network, rows)
    assert isinstance(network, Architecture)
    return LayerFactors.of(norms, network, unit_norms=unit_norms)


def _part(array: NDArray[np.float64], samples: slice) -> NDArray[np.float64]:
    """Return the part of an array over samples that belongs to a tile; all of it if shared."""
    part = array if array.shape[-1] == 1 else array[..., samples]
    return np.ascontiguousarray(part)  # compiled loops are compiled again for other layouts
