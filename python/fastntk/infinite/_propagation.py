# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""From samples to kernels: every tile of pairs through all layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk.infinite import _inputs, _recursion
from fastntk.infinite._layers import LayerFactors
from fastntk.infinite._recursion import A, B, C, P, R
from fastntk.infinite._tiles import Tile, tiles
from fastntk.infinite.duals import PiecewiseLinear

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk.infinite._architecture import Architecture
    from fastntk.infinite._inputs import Samples

# Rows of a tile: enough for matrix products at full speed, and few enough for the dozen arrays of a
# tile that the general recursion holds to stay in the cache, and small beside the result.
_COMPILED_ROWS, _GENERAL_ROWS = 128, 8


@dataclass(frozen=True)
class Target:
    """Where a kernel goes at each depth: rows · columns · (one − gap).

    With one = 1 and the roots of its diagonal for rows and columns, the kernel; with one = 0,
    rows = −1 and columns = 1, the gaps themselves.

    Attributes
    ----------
    out : ndarray (depths, n, m)
        The first size is 0 where the kernel is not wanted.
    rows, columns : ndarray (depths, n), (depths, m)
        Scales.
    """

    out: FloatArray
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """All pairs of two sets of samples, in one network."""

    network: Architecture
    X: Samples
    Z: Samples
    factors: LayerFactors  # of X, and then of Z where it is another set
    offset: int  # of the first column in the factors

    @classmethod
    def of(cls, X: Samples, Z: Samples | None, network: Architecture) -> Pairs:
        """Pairs of X with Z, or with itself."""
        if Z is None:
            return cls(network, X, X, LayerFactors.of(X.norms, network), 0)
        factors = LayerFactors.of(X.norms.followed_by(Z.norms), network)
        return cls(network, X, Z, factors, len(X))

    def tiles(self) -> list[Tile]:
        """Return tiles that cover all pairs, each once where X and Z are the same."""
        compiled = isinstance(self.network.dual, PiecewiseLinear)
        layers = self.network.depths[-1] + 1
        return list(
            tiles(
                len(self.X),
                len(self.Z),
                layers,
                symmetric=self.X is self.Z,
                height=_COMPILED_ROWS if compiled else _GENERAL_ROWS,
            )
        )

    def _shifted(self, columns: slice) -> slice:
        return slice(columns.start + self.offset, columns.stop + self.offset)

    def propagate(
        self, tile: Tile, one: float, nngp: Target, ntk: Target, origin: tuple[int, int]
    ) -> None:
        """Write a tile of the results; `origin` is where the tile begins in them."""
        gaps = np.empty((tile.rows.stop - tile.rows.start, tile.columns.stop - tile.columns.start))
        _inputs.gaps(self.X, self.Z, tile.rows, tile.columns, gaps, same=self.Z is self.X)
        self.propagate_gaps(gaps, tile, one, nngp, ntk, origin)

    def propagate_gaps(
        self,
        gaps: NDArray[np.float64],
        tile: Tile,
        one: float,
        nngp: Target,
        ntk: Target,
        origin: tuple[int, int],
    ) -> None:
        """Do the same for pairs at given gaps, with a sign; overwrite these."""
        if isinstance(self.network.dual, PiecewiseLinear):
            _recursion.propagate(
                gaps,
                _samples(self.factors.factors, tile.rows),
                _samples(self.factors.factors, self._shifted(tile.columns)),
                self.network.dual.kink,
                np.array(self.network.depths),
                one,
                nngp.out,
                _samples(nngp.rows, tile.rows),
                _samples(nngp.columns, tile.columns),
                ntk.out,
                _samples(ntk.rows, tile.rows),
                _samples(ntk.columns, tile.columns),
                origin,
                tile.diagonal,
            )
        else:
            self._propagate_general(tile, gaps, one, nngp, ntk, origin)

    def _propagate_general(
        self,
        tile: Tile,
        gap: NDArray[np.float64],
        one: float,
        nngp: Target,
        ntk: Target,
        origin: tuple[int, int],
    ) -> None:
        """Do as the compiled recursion does, for any dual activation, array by array."""
        dual, depths = self.network.dual, self.network.depths
        columns = self._shifted(tile.columns)
        gap = np.where(gap < 0, 2 + gap, gap)
        eta = np.zeros_like(gap)
        gradient_gap = np.zeros_like(gap)
        for layer in range(depths[-1] + 1):
            if layer > 0:
                x = self.factors.states[layer - 1].take(tile.rows)
                z = self.factors.states[layer - 1].take(columns)
                if len(ntk.out) and dual.no_derivative is None:
                    eta = dual.derivative_gap(x, z, gap)
                gap = dual.gap(x, z, gap)
            left = self.factors.factors[layer][:, tile.rows, np.newaxis]
            right = self.factors.factors[layer][:, columns]
            if len(ntk.out):
                gradient_gap = (
                    left[A] * right[A] * gap
                    + left[B] * right[B] * (gradient_gap + eta - gradient_gap * eta)
                    + _chord(left[A], right[A])
                    + _chord(left[B], right[B])
                    + _chord(left[C], right[C])
                )
            gap = left[R] * right[R] * gap + _chord(left[R], right[R]) + _chord(left[P], right[P])
            if tile.diagonal:  # a truncated series leaves more than rounding there
                np.fill_diagonal(gap, 0.0)
                np.fill_diagonal(gradient_gap, 0.0)
            for k in np.flatnonzero(np.equal(depths, layer)):
                for target, values in ((nngp, gap), (ntk, gradient_gap)):
                    if len(target.out):
                        scale = (
                            target.rows[k, tile.rows, np.newaxis] * target.columns[k, tile.columns]
                        )
                        i, j = origin
                        view = target.out[k, i : i + gap.shape[0], j : j + gap.shape[1]]
                        view[...] = scale * (one - values)


def _samples(array: NDArray[np.float64], part: slice) -> NDArray[np.float64]:
    """Return the part of an array over samples that belongs to a tile; all of it if shared."""
    return array if array.shape[-1] == 1 else np.ascontiguousarray(array[..., part])


def _chord(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray((left - right) ** 2 / 2)
