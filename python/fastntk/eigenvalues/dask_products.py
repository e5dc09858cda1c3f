# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Products of tiles of Dask with few vectors, each where its tile is.

To say what a task has to do takes a scheduler milliseconds, and a product of a tile with a vector
hardly one: so each worker gets a task for all tiles that it holds, or several if Dask may have
written these to its disk. Products come back tile by tile, and are added here in the order of the
tiles, with the same bits for any number of workers.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from fastntk._support.dask_workers import (
    aligned,
    current_client,
    results_of,
    share_of_threads,
    workers_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import TypeAlias

    from fastntk.eigenvalues.dask_tiles import Place, Tiles
    from fastntk.symmetric.block_lanczos import Vectors

    # What a tile is to be multiplied with, and whether its mirror image is.
    Given: TypeAlias = tuple[tuple[Vectors, bool], ...]

# The share of the memory of a worker that the tiles of a task may take.
_SHARE = 0.125


def tile_products(lower: Tiles, given: Mapping[Place, Given]) -> dict[Place, list[Vectors]]:
    """Return the products of some tiles.

    Parameters
    ----------
    lower : Tiles
        Tiles that the workers of the client hold, or that tasks make.
    given : dict of (int, int) to tuple of (ndarray, bool)
        What each is multiplied with, and whether its mirror image is.

    Returns
    -------
    dict of (int, int) to list of ndarray
        In the order of what was given.
    """
    places, tiles, client = list(given), lower.tiles, current_client()
    if client is not None:
        library = importlib.import_module("distributed")
        held = {place: library.futures_of(tiles[place]) for place in places}
        if all(len(each) == 1 for each in held.values()):
            # What is in a file is in memory for as long as its own product takes.
            rows = max(lower.cuts)
            some = sys.maxsize if lower.filed else _tiles_of_a_task(client, rows)
            futures = {place: each[0] for place, each in held.items()}
            return _where_they_are(client, futures, given, some)
    dask = importlib.import_module("dask")
    task = dask.delayed(_products, pure=False)
    found = dask.compute(*[task([tiles[place]], [given[place]]) for place in places])
    return {place: products for place, (products,) in zip(places, found, strict=True)}


def _where_they_are(
    client: Any, tiles: Mapping[Place, Any], given: Mapping[Place, Given], some: int
) -> dict[Place, list[Vectors]]:
    """Return the products, of so many tiles a task."""
    holders = client.who_has(list(tiles.values()))
    held: dict[str | None, list[Place]] = {}
    for place, tile in tiles.items():
        # A tile that is lost is made again by whoever comes first.
        holder = min(holders.get(tile.key) or (), default=None)
        held.setdefault(holder, []).append(place)
    groups = [
        (holder, places[first : first + some])
        for holder, places in held.items()
        for first in range(0, len(places), min(some, len(places)))
    ]
    tasks = [
        client.submit(
            _products,
            [tiles[place] for place in places],
            [given[place] for place in places],
            pure=False,
            **({} if holder is None else {"workers": [holder], "allow_other_workers": True}),
        )
        for holder, places in groups
    ]
    found: dict[Place, list[Vectors]] = {}
    for (_, places), products in zip(groups, results_of(client, tasks), strict=True):
        found.update(zip(places, products, strict=True))
    return {place: found[place] for place in tiles}


def _tiles_of_a_task(client: Any, rows: int) -> int:
    """Return how many tiles of so many rows may be in memory at once on each worker."""
    workers = workers_of(client)
    if workers.memory is None:
        return sys.maxsize
    return max(1, int(_SHARE * workers.memory / workers.threads) // (8 * rows * rows))


def _products(tiles: Sequence[Vectors], given: Sequence[Given]) -> list[list[Vectors]]:
    """Return the products of some tiles. A task."""
    with share_of_threads():
        return [
            [(tile.T if transposed else tile) @ vectors for vectors, transposed in each]
            for tile, each in zip(map(aligned, tiles), given, strict=True)
        ]
