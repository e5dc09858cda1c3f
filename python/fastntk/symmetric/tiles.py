# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is done with single tiles of a symmetric matrix, where not all of them are in one place.

All is in float64, by the core: the same to the last bit for any number of threads. The order of
sums is one of those that the theorem on Cholesky decompositions allows, see
`fastntk.eigenvalues.enclosures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import fastntk._core as _core
from fastntk._support.threads import core_threads
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    import numpy.typing as npt

    Tile = npt.NDArray[np.float64]


def downdate(tile: Tile, left: Tile, right: Tile) -> None:
    """Subtract left · rightᵀ from a tile; of a tile with itself the lower triangle alone."""
    with core_threads() as threads:
        _core.downdate_tile(left, right, tile, threads, None)


def root(tile: Tile) -> None:
    """Put the Cholesky factor of a tile on the diagonal in the place of its lower triangle.

    What lies above is not touched.

    Raises
    ------
    NotPositiveDefinite
    """
    with core_threads() as threads:
        pivot = _core.cholesky(tile, threads, None)
    if pivot < len(tile):
        raise NotPositiveDefinite(pivot)


def solve_below(tile: Tile, triangle: Tile) -> None:
    """Put tile · L⁻ᵀ in the place of a tile, with the lower triangle L of another one."""
    with core_threads() as threads:
        _core.solve_tile_below(triangle, tile, threads, None)


def product(tile: Tile, vectors: Tile, *, transposed: bool) -> Tile:
    """Return A V, or Aᵀ V, of a tile A and vectors V, one in each column."""
    rows = tile.shape[1 if transposed else 0]
    with core_threads() as threads:
        if vectors.shape[1] > _core.few_vectors:
            many: Tile = (tile.T if transposed else tile) @ vectors
            return many
        few = np.empty((rows, vectors.shape[1]))
        _core.few_products(tile, transposed, vectors, few, threads, None)
    return few
