# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The closest pairs of very many samples: a reduction over tiles of a kernel that nobody keeps.

A task looks at the tiles of a square of several blocks of rows and columns, whose features it needs
once, and returns the first pairs of them. These are merged in a strict order, so that it does not
matter who looked at which, nor when.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.dask_workers import (
    checked_client,
    current_client,
    share_of_threads,
    using,
    workers_with_room,
)
from fastntk._support.digests import sha256
from fastntk._support.progress import monitored, require_progress
from fastntk._support.worker_memory import KEPT_SHARE
from fastntk.distributed.arrays import finite_rows
from fastntk.distributed.infinite_pairs import infinite_closest_pairs
from fastntk.distributed.networks import require_some_network
from fastntk.distributed.normalization import require_normalized_blocks
from fastntk.distributed.planning import require_room
from fastntk.distributed.requirements import dask
from fastntk.distributed.samples import BlocksOfSamples
from fastntk.distributed.tasks import results
from fastntk.distributed.tiled_kernels import FiniteKernel, numbered
from fastntk.infinite.methods import LimitMethods
from fastntk.kernels.angles import AnglePair
from fastntk.kernels.closest_pairs import CANDIDATES, offer_tile, pair_angles
from fastntk.kernels.largest_cosines import LargestCosines
from fastntk.kernels.ranges import (
    divides_exactly,
    moderating_power,
    require_gradients_in_range,
    rows_of_moderate_size,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Literal

    from fastntk._support.dask_workers import Workers
    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.kernels.features import Features
    from fastntk.kernels.request import KernelRequest
    from fastntk.networks.base import FiniteNetworkBase

# With so many blocks a side, features that are not kept are computed for eight tiles each, which
# take some five times as long as they do.
_MOST_BLOCKS = 8

# Fewer tasks would leave workers without work while others end theirs.
_TASKS_OF_A_WORKER = 16


def closest_pairs(
    net: FiniteNetworkBase | LimitMethods,
    X: Any,
    k: int,
    *,
    chunks: int | Literal["auto"] = "auto",
    client: Any = None,
    progress: Progress = False,
) -> list[AnglePair]:
    """Return the k smallest angles between the gradients at two samples, of very many samples.

    As the method `smallest_angle` of networks does. At finite width the kernel is formed in
    float64, tile by tile, and never kept, and the angles of the pairs that are found come from the
    differences of their samples.

    Parameters
    ----------
    net : MLP, FiniteNetwork, infinite.Network or infinite.LayeredNetwork
        The network, at infinite width of a single depth. It travels once to each worker.
    X : array_like (n, d), dask.array.Array or zarr.Array
        Samples, one a row, as for `ntk`; n ≥ 2. Those of the pairs that are found come to this
        process.
    k : int
        How many pairs.
    chunks : int or "auto"
        The number of rows and columns of a tile; by default as for `ntk`, or at infinite width as
        for `ntk_operator`.
    client : distributed.Client, optional
        Whose workers look for the pairs. By default those of the client there is, or this process.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` when tiles are done.

    Returns
    -------
    list of AnglePair
        The pairs and numbers that ``net.smallest_angle(X, k)`` returns, to the last bit, for any
        chunks and any number of workers.

    Raises
    ------
    ModuleNotFoundError
        If Dask is not installed: ``pip install 'fastntk[distributed]'``.
    ValueError, TypeError
        For arguments that make no sense; if a sample is not finite, with its place; if fewer than
        two samples have a gradient or, at infinite width, one of them has none.
    MemoryError
        If a worker has no memory for the tiles in hand.
    OverflowError
        If the gradients at the largest samples leave the range of numbers.
    ConnectionError
        If the scheduler is lost.

    Notes
    -----
    n²/2 elements of the kernel are computed, which bounds the time; a worker holds the features of
    a few blocks of samples, or at infinite width what the norms of all samples bring into the
    recursion, and this process the pairs.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((300, 5))
    >>> net = fastntk.MLP([5, 64, 64, 1])
    >>> pairs = fastntk.distributed.closest_pairs(net, X, 3, chunks=128)
    >>> pairs == net.smallest_angle(X, 3)
    True
    """
    require_some_network(net)
    count = arguments.integer(k, "k", minimum=1)
    require_progress(progress)
    dask()
    with using(client):
        checked_client(current_client())
        if isinstance(net, LimitMethods):
            return infinite_closest_pairs(net, X, count, chunks=chunks, progress=progress)
        kernel = FiniteKernel(net.network, "trace", None, np.dtype(np.float64))
        size = finite_rows(chunks, kernel.bytes_of_pair, X)
        dtype, inputs = net.network.dtype, net.network.input_width
        samples = BlocksOfSamples.of(X, "X", size, dtype, columns=inputs)
        require_normalized_blocks(net.network, samples, "X")
        workers = workers_with_room(current_client())
        require_room(kernel, samples.slices[0].stop, inputs, workers)
        power = _power(kernel, samples)
        search = _Search(kernel, power, count + CANDIDATES, samples.slices, samples.digests)
        with numbered(samples.places):
            require_gradients_in_range(search.request(samples.largest), [])
        found = _found(search, samples, workers, progress)
        return search.angles(samples, found)[:count]


@dataclass(frozen=True)
class _Search:
    """The search for the closest pairs, as all tasks share it.

    Attributes
    ----------
    kernel : FiniteKernel
    power : int
        The samples are taken over 2^power, before single ones of other sizes are.
    count : int
        How many pairs each task returns.
    slices : list of slice
        Where the blocks of samples lie.
    digests : tuple of str
        Those of the blocks.
    """

    kernel: FiniteKernel
    power: int
    count: int
    slices: list[slice]
    digests: tuple[str, ...]

    def request(self, samples: Any) -> KernelRequest:
        """Return the request for the kernel of some samples, of moderate size."""
        request = self.kernel.request(samples)
        X = np.ldexp(request.X, -self.power) if self.power else request.X
        return replace(request, X=rows_of_moderate_size(self.kernel.network, X))

    def features(self, block: int, samples: Any) -> Features:
        """Return the features of a block of samples."""
        request = self.request(samples)
        key = f"{self.digests[block]} / 2^{self.power}"
        return self.kernel.features(request, request.X, key)

    def angles(self, samples: BlocksOfSamples, found: LargestCosines) -> list[AnglePair]:
        """Return the angles of the pairs that were found, by angle.

        Raises
        ------
        ValueError
            If there are none.
        """
        if not len(found.i):
            raise ValueError(
                f"X of {len(samples)} samples has fewer than two with a gradient that is not zero: "
                "expected at least two"
            )
        places, numbers = np.unique(np.r_[found.i, found.j], return_inverse=True)
        request = self.request(samples[places])
        pairs = [(int(i), int(j)) for i, j in numbers.reshape(2, -1).T]
        with numbered(places):
            require_gradients_in_range(request, pairs)
        angles = pair_angles(self.kernel.network, request.X, pairs)
        return sorted(
            pair._replace(i=int(places[pair.i]), j=int(places[pair.j])) for pair in angles
        )


def _power(kernel: FiniteKernel, samples: BlocksOfSamples) -> int:
    """Return the power of two over which the samples have a moderate size."""
    exponents = samples.norms.exponents[samples.norms.significands > 0]
    power = moderating_power(kernel.network, exponents, kernel.dtype)
    if power == 0:
        return 0
    look = dask().delayed(_divides_exactly)
    exact = dask().compute(*[look(block, power) for block in samples.array.to_delayed()[:, 0]])
    return power if all(exact) else 0


def _divides_exactly(block: FloatArray, power: int) -> bool:
    return divides_exactly(np.asarray(block, dtype=np.float64), power)


def _found(
    search: _Search, samples: BlocksOfSamples, workers: Workers, progress: Progress
) -> LargestCosines:
    """Return the closest pairs of all tiles."""
    side = _blocks_a_side(search, samples, workers)
    shared = f"fastntk-pairs-{sha256(f'{search.kernel.digest}{samples.digest}')[:32]}"
    name, array = f"{shared}-{search.count}-{side}", samples.array.name
    layer: dict[Any, Any] = {shared: search}
    tiles: list[int] = []
    work: dict[Any, int] = {}
    for rows, columns in _squares(len(samples.slices), side):
        blocks = [[(array, block, 0) for block in blocks] for blocks in (rows, columns)]
        key = name, len(tiles)
        layer[key] = (_closest, shared, len(tiles), rows, columns, *blocks)
        every = list(_tiles(rows, columns))
        work[key] = sum(1 if i == j else 2 for i, j in every)
        tiles.append(len(every))
    found = LargestCosines(search.count)
    done, computed = 0, results(name, layer, work, [samples.array])
    with monitored(progress, "closest pairs") as monitor, closing(computed):
        for number, pairs in computed:
            found.merge(pairs)
            done += tiles[number]
            if monitor is not None:
                monitor("tiles", done, sum(tiles))
    return found


def _closest(
    search: _Search, number: int, rows: range, columns: range, X: list[Any], Z: list[Any]
) -> tuple[int, LargestCosines]:
    """Return the number of a square, and the closest pairs of its tiles. A task."""
    found = LargestCosines(search.count)
    with share_of_threads():
        for i, j in _tiles(rows, columns):
            x = search.features(i, X[i - rows.start])
            z = search.features(j, Z[j - columns.start])
            offer_tile(found, x, z, search.slices[i], search.slices[j])
    return number, found


def _tiles(rows: range, columns: range) -> Iterator[tuple[int, int]]:
    """Yield the tiles of a square that lie on and below the diagonal of the kernel."""
    for i in rows:
        for j in columns:
            if j <= i:
                yield i, j


def _squares(blocks: int, side: int) -> Iterator[tuple[range, range]]:
    """Yield the blocks of the rows and of the columns of all squares."""
    for first in range(0, blocks, side):
        rows = range(first, min(first + side, blocks))
        for start in range(0, first + 1, side):
            yield rows, range(start, min(start + side, blocks))


def _blocks_a_side(search: _Search, samples: BlocksOfSamples, workers: Workers) -> int:
    """Return of how many blocks a side squares are: many, but tasks for all, and within memory."""
    kernel, blocks, rows = search.kernel, len(samples.slices), samples.slices[0].stop
    each = kernel.feature_bytes(rows) + 8 * rows * samples.array.shape[1]
    size = _MOST_BLOCKS
    while size > 1:
        groups = -(-blocks // size)
        enough = groups * (groups + 1) // 2 >= _TASKS_OF_A_WORKER * workers.workers
        memory = workers.memory
        fits = memory is None or 2 * size * each * workers.threads <= KEPT_SHARE * memory
        if enough and fits:
            break
        size //= 2
    return size
