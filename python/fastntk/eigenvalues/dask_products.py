# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Products of tiles of Dask with few vectors, each where its tile is.

To begin a task takes a scheduler milliseconds, and for each tile that it depends on some more,
whereas a product of a tile with a vector takes hardly one. So workers are asked for the products of
the tiles that they hold without tasks, and find the tiles by their names. If one does not find a
tile, or is lost, tasks depend on its tiles and have Dask bring or make them. Products come back
tile by tile, and are added here in the order of the tiles, with the same bits for any number of
workers.
"""

from __future__ import annotations

import asyncio
import importlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fastntk._support.dask_workers import (
    aligned,
    answers_of_workers,
    current_client,
    results_of,
    share_of_threads,
)
from fastntk.symmetric import tiles

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import TypeAlias

    from fastntk.eigenvalues.dask_tiles import Place, Tiles
    from fastntk.symmetric.block_lanczos import Vectors

    # What a tile is to be multiplied with, and whether its mirror image is.
    Given: TypeAlias = tuple[tuple[Vectors, bool], ...]
    Products: TypeAlias = list[Vectors]


class TileProducts:
    """Products with some tiles, asked for again and again.

    Parameters
    ----------
    lower : Tiles
        Tiles that the workers of the client hold, or that tasks make.
    """

    def __init__(self, lower: Tiles) -> None:
        self._tiles = lower.tiles
        self._client = current_client()
        self._futures: dict[Place, Any] = {}
        self._holders: dict[Place, list[str]] = {}
        if self._client is not None:
            library = importlib.import_module("distributed")
            held = {place: library.futures_of(tile) for place, tile in lower.tiles.items()}
            if all(len(each) == 1 for each in held.values()):
                self._futures = {place: each[0] for place, each in held.items()}

    def __call__(self, given: Mapping[Place, Given]) -> dict[Place, Products]:
        """Return the products of some tiles.

        Parameters
        ----------
        given : dict of (int, int) to tuple of (ndarray, bool)
            What each is multiplied with, and whether its mirror image is.

        Returns
        -------
        dict of (int, int) to list of ndarray
            In the order of what was given.
        """
        if self._futures:
            return self._where_they_are(given)
        dask = importlib.import_module("dask")
        task = dask.delayed(_products, pure=False)
        found = dask.compute(*[task(self._tiles[place], given[place]) for place in given])
        return dict(zip(given, found, strict=True))

    def _where_they_are(self, given: Mapping[Place, Given]) -> dict[Place, Products]:
        if not self._holders:
            holders = self._client.who_has(list(self._futures.values()))
            self._holders = {
                place: sorted(holders.get(future.key) or ())
                for place, future in self._futures.items()
            }
        held, lost = self._shared_out(given)
        keys = {place: self._futures[place].key for place in given}
        answers = answers_of_workers(
            self._client, _products_of_held, list(held), held=held, keys=keys, given=given
        )
        found: dict[Place, Products] = {}
        for holder, places in held.items():
            if answers[holder] is None:
                lost += places
            else:
                found.update(zip(places, answers[holder], strict=True))
        if lost:
            self._holders.clear()
            tasks = [
                self._client.submit(_products, self._futures[place], given[place], pure=False)
                for place in lost
            ]
            found.update(zip(lost, results_of(self._client, tasks), strict=True))
        return {place: found[place] for place in given}

    def _shared_out(self, places: Iterable[Place]) -> tuple[dict[str, list[Place]], list[Place]]:
        """Return which tiles each worker is asked for, and those that none has.

        Of a tile that a task has read elsewhere there are several copies: the worker with less to
        do takes it.
        """
        held: dict[str, list[Place]] = {}
        for place in sorted(places, key=lambda place: len(self._holders[place])):
            holders = self._holders[place]
            if holders:
                holder = min(holders, key=lambda holder: len(held.get(holder, ())))
                held.setdefault(holder, []).append(place)
        asked = {place for some in held.values() for place in some}
        return held, [place for place in places if place not in asked]


async def _products_of_held(
    dask_worker: Any,
    held: Mapping[str, Sequence[Place]],
    keys: Mapping[Place, Any],
    given: Mapping[Place, Given],
) -> list[Products] | None:
    """Return the products of the tiles that this worker should hold, or None if it does not."""
    tiles_here = dask_worker.data

    def products(place: Place) -> Products:
        return _products(tiles_here[keys[place]], given[place])

    def all_products() -> list[Products] | None:
        places, threads = held[dask_worker.address], dask_worker.state.nthreads
        try:
            if threads == 1:  # a pool takes as long as a product
                return list(map(products, places))
            with ThreadPoolExecutor(threads) as pool:
                return list(pool.map(products, places))
        except KeyError:
            return None

    # Meanwhile the worker has to answer others.
    return await asyncio.to_thread(all_products)


def _products(tile: Any, given: Given) -> Products:
    """Return the products of a tile. A task."""
    array = aligned(tile)
    with share_of_threads():
        return [
            tiles.product(array, aligned(vectors), transposed=transposed)
            for vectors, transposed in given
        ]
