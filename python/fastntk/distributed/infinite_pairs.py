# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The closest pairs of very many samples at infinite width, as a reduction over tiles.

A task looks at the tiles that begin in the rows of one block of samples and in the columns of
another, each of which is in one task, and returns the first pairs of them. These are merged in a
strict order, so that it does not matter who looked at which, nor when.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastntk._support.dask_workers import current_client, share_of_threads, workers_with_room
from fastntk._support.digests import sha256
from fastntk._support.progress import monitored
from fastntk._support.worker_memory import KEPT
from fastntk.distributed.arrays import spread_rows
from fastntk.distributed.networks import infinite_identity
from fastntk.distributed.planning import require_memory_of_workers
from fastntk.distributed.samples import BlocksOfSamples
from fastntk.distributed.tasks import results
from fastntk.distributed.tiled_kernels import factor_bytes, joined
from fastntk.infinite.closest_gradients import GapSearch
from fastntk.infinite.sample_norms import Samples
from fastntk.infinite.tiles import begin_in, fold_tiles, reach

if TYPE_CHECKING:
    from fastntk._support.progress import Progress
    from fastntk.infinite.closest_gradients import Candidates, Closest
    from fastntk.infinite.methods import LimitMethods
    from fastntk.infinite.sample_norms import Norms
    from fastntk.kernels.angles import AnglePair


def infinite_closest_pairs(
    net: LimitMethods, X: Any, count: int, *, chunks: int | str, progress: Progress
) -> list[AnglePair]:
    """Return the closest pairs of a network of infinite width; see `closest_pairs`."""
    net.require_one_depth()
    size = spread_rows(chunks, X)
    samples = BlocksOfSamples.of(X, "X", size, None, columns=net.dimension)
    search = _Search(net, samples.norms, count, sha256(f"{infinite_identity(net)}{samples.digest}"))
    require_memory_of_workers(
        2 * search.bytes,
        f"the factors of {len(samples)} samples",
        workers_with_room(current_client()),
    )
    gaps = search.gaps()  # which says what cannot succeed
    found = _found(search, samples, progress)
    return gaps.angles(found.found, samples.__getitem__)


@dataclass(frozen=True)
class _Search:
    """The search, as all tasks share it.

    Attributes
    ----------
    network : LimitMethods
    norms : Norms
        Of all samples.
    count : int
        How many pairs are wanted.
    digest : str
        That of the network and the samples.
    """

    network: LimitMethods
    norms: Norms
    count: int
    digest: str

    @property
    def bytes(self) -> int:
        """What a worker keeps of it."""
        return factor_bytes(self.network, len(self.norms))

    def gaps(self) -> GapSearch:
        """Return what looks at tiles, which this worker keeps; no sample is at hand in it."""
        found: GapSearch = KEPT.get(
            (self.digest, self.count),
            self.bytes,
            lambda: GapSearch.of(self.network, Samples.unseen(self.norms), self.count),
        )
        return found


def _found(search: _Search, samples: BlocksOfSamples, progress: Progress) -> Closest:
    """Return the closest pairs of all tiles."""
    name = f"fastntk-gaps-{search.digest[:32]}-{search.count}"
    shared, array, slices = f"{name}-shared", samples.array.name, samples.slices
    layer: dict[Any, Any] = {shared: search}
    gaps = search.gaps()
    first = gaps.pairs.tiles(slice(0, 1))[0]
    work: dict[Any, int] = {}
    for i, rows in enumerate(slices):
        for columns in slices[i:]:
            given: list[Any] = []
            for reached in reach(first, rows, columns, len(samples)):
                blocks = samples.blocks(reached)
                given += [slices[blocks[0]].start, [(array, block, 0) for block in blocks]]
            key = name, len(work)
            layer[key] = (_closest, shared, rows, columns, *given)
            work[key] = 1 if rows == columns else 2
    found, count = gaps.nothing_yet(), len(work)
    every = results(name, layer, work, [samples.array])
    with monitored(progress, "closest pairs") as monitor, closing(every):
        for done, candidates in enumerate(every, start=1):
            found.take(None, candidates)
            if monitor is not None:
                monitor("tiles", done, count)
    return found


def _closest(
    search: _Search,
    rows: slice,
    columns: slice,
    first_row: int,
    X: list[Any],
    first_column: int,
    Z: list[Any],
) -> Candidates:
    """Return the closest pairs of the tiles that begin in a square. A task."""
    gaps = search.gaps()
    pairs = replace(
        gaps.pairs,
        X=gaps.pairs.X.with_rows(joined(X), first_row),
        Z=gaps.pairs.Z.with_rows(joined(Z), first_column),
    )
    given, closest = replace(gaps, pairs=pairs), gaps.nothing_yet()
    every = begin_in(pairs.tiles(rows), rows, columns)
    with share_of_threads():
        fold_tiles(
            lambda tile: given.candidates(tile, closest),
            closest.take,
            every,
            progress=False,
            description="closest pairs",
        )
    return closest.found
