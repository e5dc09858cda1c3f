# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A symmetric matrix in tiles of Dask, on whatever machines its computations take place.

Products are those of `dask_products`, a factor is that of `dask_factor`: sums in an order that the
tiles decide on, with the same bits for any number of workers.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.dask_workers import current_client, workers_of
from fastntk._support.dtypes import epsilon_of
from fastntk._support.memory import human_bytes, require_memory
from fastntk._support.progress import monitored
from fastntk._support.rounding import UNIT, gamma
from fastntk.eigenvalues.dask_factor import DaskFactor, ShiftedTiles
from fastntk.eigenvalues.dask_products import tile_products
from fastntk.eigenvalues.dask_tiles import Tiles, lower_places
from fastntk.eigenvalues.host_sources import source_of_full
from fastntk.eigenvalues.source import Source
from fastntk.symmetric.matrix import SYMMETRY_ROUNDINGS, SymmetricMatrix

if TYPE_CHECKING:
    from fastntk._support.progress import Progress
    from fastntk.symmetric.block_lanczos import Vectors

# Up to so many rows a matrix is looked at where it is asked for: there it takes a second.
_SMALL = 2048

# The share of the memory that the matrix may take, beside its factor, to be kept there.
_KEPT_SHARE = 0.3

# So many tiles a task has at most: two pairs whose products it adds, each perhaps as it has come
# from another worker and in a copy that is aligned; the sum so far, the next one and a product; and
# one that is on its way to the next task.
_TILES_IN_HAND = 12


def _dask_array() -> Any:
    """Return the module dask.array, which what made the matrix has imported."""
    return importlib.import_module("dask.array")


class DaskSource(Source):
    """A matrix in square tiles, which stays as it is.

    Parameters
    ----------
    array : dask.array.Array
    lower : Tiles
        Its lower ones.
    diagonal : ndarray (n,)
    norm, epsilon : float
    """

    def __init__(
        self, array: Any, lower: Tiles, diagonal: Vectors, norm: float, epsilon: float
    ) -> None:
        super().__init__(diagonal, norm, epsilon)
        self._array = array
        self._lower = lower
        self._diagonal = diagonal

    def product(self, vectors: Vectors) -> Vectors:
        """Return A V, of the lower tiles and their mirror images."""
        parts = np.split(np.ascontiguousarray(vectors), np.cumsum(self._lower.cuts)[:-1])
        given: dict[tuple[int, int], Any] = {
            (i, j): ((parts[j], False),) if i == j else ((parts[j], False), (parts[i], True))
            for i, j in self._lower.tiles
        }
        images = [np.zeros(part.shape) for part in parts]
        for (i, j), products in tile_products(self._lower, given).items():
            for place, product in zip((i, j), products, strict=False):  # one, on the diagonal
                images[place] += product
        return np.concatenate(images)

    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> DaskFactor:
        """Return the Cholesky factor of sign · A + shift · I, which Dask keeps on its workers."""
        with monitored(progress, "Cholesky") as monitor:
            return DaskFactor.of(self._shifted(shift, sign), monitor)

    def decomposition_error(self, shift: float, *, sign: int = 1, factor: Any = None) -> float:
        """Bound ‖L Lᵀ − (sign · A + shift · I)‖; without the factor, a guess of it.

        Triangular solutions of a BLAS need not obey the theorem on Cholesky decompositions, so the
        factor is looked at. An element of L Lᵀ is a sum of n products, in whichever order: it is
        off by γ_n of the same of absolute values, the norm of which is at most ‖L‖_F². That is the
        trace of L Lᵀ, at most (Σ|d| + √n ‖E‖_F)/(1 − γ_n) with the shifted diagonal d and the
        difference E (N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2002, §3.5).
        """
        if factor is None:
            return super().decomposition_error(shift, sign=sign)
        n = self.n
        # Rounded up like the norm of the matrix.
        residual = factor.distance(self._shifted(shift, sign)) * (1 + (n * n + 8) * UNIT)
        diagonal = math.fsum(abs(sign * entry + shift) for entry in self._diagonal.tolist())
        squares = (diagonal + math.sqrt(n) * residual) / (1 - gamma(n)) * (1 + 8 * UNIT)
        rounding = 4 * UNIT * (self.largest_diagonal + abs(shift))
        error = residual + gamma(n) * squares + rounding
        return error if math.isfinite(error) else math.inf

    def extreme_eigenvalues(self, k: int) -> tuple[Vectors, Vectors]:
        """Return the k smallest eigenvalues, ascending, and the k largest, descending."""
        return self._gathered().extreme_eigenvalues(k)

    def eigenpairs(self) -> tuple[Vectors, Any]:
        """Return all eigenvalues, ascending, and their eigenvectors."""
        return self._gathered().eigenpairs()

    def rank(self, floor: float) -> None:
        """Return None: Dask has no pivoted decomposition."""

    def _shifted(self, shift: float, sign: int) -> ShiftedTiles:
        return ShiftedTiles(self._lower, shift, sign)

    def _gathered(self) -> Source:
        require_memory(8 * self.n**2, f"K of shape {self._array.shape}", "method='cholesky'")
        return source_of_full(SymmetricMatrix.of(self._array.compute(), "K"), overwrite=True)


def source_of_dask(K: Any, *, overwrite: bool) -> Source:
    """Return a matrix in tiles, checked; a small one as if it were in memory.

    Raises
    ------
    ValueError, TypeError
        What `fastntk.conditioning` says.
    """
    da = _dask_array()
    if len(K.shape) != 2 or K.shape[0] != K.shape[1] or K.shape[0] == 0:
        raise ValueError(f"K has shape {K.shape}: expected a square matrix")
    if any(isinstance(length, float) for length in K.shape):
        raise ValueError(f"K has shape {K.shape}: expected known numbers of rows and columns")
    if K.dtype.kind not in "fiub":
        raise TypeError(f"K has dtype {K.dtype}: expected real numbers")
    if overwrite:
        raise ValueError("overwrite=True: expected False for an array of Dask")
    n, epsilon = int(K.shape[0]), epsilon_of(K.dtype)
    if n <= _SMALL:
        return source_of_full(SymmetricMatrix.of(np.asarray(K), "K"), overwrite=False)
    size = min(n, max(K.chunksize))
    array = K.rechunk((size, size)).astype(np.float64)
    kept = _is_kept(array.nbytes, size)
    if kept:
        array = array.persist()
    difference, largest, squares, diagonal = da.compute(
        abs(array - array.T).max(), abs(array).max(), _squares(array), da.diag(array)
    )
    if not math.isfinite(largest):
        bad = n * n - int(da.isfinite(array).sum().compute())
        raise ValueError(f"K of shape {K.shape}: {bad} elements are not finite: expected none")
    if difference > SYMMETRY_ROUNDINGS * epsilon * largest:
        raise ValueError(
            f"K of shape {K.shape} is not symmetric: elements differ from their mirror images by "
            f"up to {arguments.shown(float(difference))}"
        )
    if difference > 0:  # from here on it is what lies on and below the diagonal
        array = da.tril(array) + da.tril(array, -1).T
        squares = _squares(array).compute()
    with np.errstate(over="ignore"):  # reported as a matter of scale
        norm = math.sqrt(float(squares.sum()))
    every = array.to_delayed(optimize_graph=False)
    lower = {(i, j): every[i, j] for i, j in lower_places(len(every))}
    tiles = Tiles(lower, array.chunks[0], filed=False)
    return DaskSource(array, tiles if kept else tiles.in_files(), diagonal, norm, epsilon)


def _squares(array: Any) -> Any:
    return array.map_blocks(_sum_of_squares, chunks=tuple((1,) * len(c) for c in array.chunks))


def _sum_of_squares(tile: Vectors) -> Vectors:
    with np.errstate(over="ignore"):
        return np.full((1, 1), float((tile * tile).sum()))


def _is_kept(size: int, rows: int) -> bool:
    """Return whether workers have memory for a matrix of so many bytes and for a factor of it.

    Raises
    ------
    MemoryError
        If they have not even as much as tasks with tiles of so many rows need.
    """
    client = current_client()
    workers = workers_of(client)

    def in_hand(rows: int) -> int:
        return workers.threads * _TILES_IN_HAND * 8 * rows * rows

    if client is None:
        require_memory(in_hand(rows), f"K in tiles of {rows} rows", "give it in smaller tiles")
        return workers.memory is None or size <= _KEPT_SHARE * workers.memory
    from fastntk._support.worker_plugin import room_of_workers, watch_memory  # imports Dask

    watch_memory(client)
    room = room_of_workers(client)
    if room is None:
        return True
    if in_hand(rows) > room.free:
        fitting = rows
        while fitting > 1 and in_hand(fitting) > room.free:
            fitting //= 2
        raise MemoryError(
            f"K in tiles of {rows} rows: those in hand need {human_bytes(in_hand(rows))} on each "
            f"worker of {workers.threads} thread(s); of its {human_bytes(room.limit)} of memory it "
            f"has {human_bytes(room.usable)} before Dask pauses it, and needs "
            f"{human_bytes(room.resident)} for Python and its libraries: expected tiles of about "
            f"{fitting} rows (K.rechunk({fitting})), fewer threads, or more memory"
        )
    share = size / workers.workers
    with_factor = 1.5 * share + in_hand(rows)
    return share <= _KEPT_SHARE * room.limit and with_factor <= room.free
