# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Products of tiles of Dask with few vectors, each where its tile is.

To begin a task takes a scheduler milliseconds, and for each tile that it depends on some more,
whereas a product of a tile with a vector takes hardly one. So workers are asked for the products of
the tiles that they hold without tasks, and find the tiles by their names. If one does not find a
tile, or is lost, tasks depend on its tiles and have Dask bring or make them. Products come back
tile by tile, and are added in the order of the tiles, with the same bits for any number of workers.

Where one question follows from the answers to another, a worker asks the others: from here each
would go by the scheduler, and those to a worker that holds all tiles need not go anywhere.
"""

from __future__ import annotations

import asyncio
import importlib
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from fastntk._support.dask_workers import (
    aligned,
    answers_of_workers,
    current_client,
    naming_a_lost_scheduler,
    results_of,
    share_of_threads,
)
from fastntk.symmetric import tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from fastntk.eigenvalues.dask_tiles import Place, Tiles
    from fastntk.symmetric.block_lanczos import Vectors

    # What a tile is to be multiplied with, and whether its mirror image is.
    Given: TypeAlias = tuple[tuple[Vectors, bool], ...]
    Products: TypeAlias = list[Vectors]
    Multiply: TypeAlias = Callable[[Mapping[Place, Given]], dict[Place, Products]]


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

    def led(self, function: Callable[..., Vectors], *given: Any) -> Vectors:
        """Return what a function makes of these products, on the worker that holds most tiles.

        Parameters
        ----------
        function : callable
            One that has a name, of a callable as this is and of what else is given.
        """
        if self._futures:
            holders = self._held_by()
            held = [holder for some in holders.values() for holder in some]
            with naming_a_lost_scheduler():
                there = self._client.nthreads()
            if all(holders.values()) and all(holder in there for holder in held):
                leader = max(sorted(set(held)), key=held.count)
                keys = {place: future.key for place, future in self._futures.items()}
                answer = answers_of_workers(
                    self._client, _led, [leader], keys=keys, holders=holders, call=(function, given)
                )[leader]
                if answer is not None:
                    result: Vectors = answer
                    return result
            self._holders.clear()
        return function(self, *given)

    def _held_by(self) -> dict[Place, list[str]]:
        """Return which workers have each tile."""
        if not self._holders:
            with naming_a_lost_scheduler():
                holders = self._client.who_has(list(self._futures.values()))
            self._holders = {
                place: sorted(holders.get(future.key) or ())
                for place, future in self._futures.items()
            }
        return self._holders

    def _where_they_are(self, given: Mapping[Place, Given]) -> dict[Place, Products]:
        held, lost = _shared_out(given, self._held_by())
        asked = {
            holder: [(self._futures[place].key, given[place]) for place in places]
            for holder, places in held.items()
        }
        answers = answers_of_workers(self._client, _products_of_held, list(held), asked=asked)
        found: dict[Place, Products] = {}
        for holder, places in held.items():
            if answers[holder] is None:
                lost += places
            else:
                found.update(zip(places, pickle.loads(answers[holder]), strict=True))
        if lost:
            self._holders.clear()
            tasks = [
                self._client.submit(_products, self._futures[place], given[place], pure=False)
                for place in lost
            ]
            found.update(zip(lost, results_of(self._client, tasks), strict=True))
        return {place: found[place] for place in given}


def _shared_out(
    places: Iterable[Place], holders: Mapping[Place, Sequence[str]]
) -> tuple[dict[str, list[Place]], list[Place]]:
    """Return which tiles each worker is asked for, and those that none has.

    Of a tile that a task has read elsewhere there are several copies: the worker with less to do
    takes it.
    """
    held: dict[str, list[Place]] = {}
    for place in sorted(places, key=lambda place: len(holders[place])):
        if holders[place]:
            holder = min(holders[place], key=lambda holder: len(held.get(holder, ())))
            held.setdefault(holder, []).append(place)
    asked = {place for some in held.values() for place in some}
    return held, [place for place in places if place not in asked]


# On workers


class _Led:
    """Products as a worker finds them, which asks others for those of tiles that it has not.

    It is called in a thread of its own, and raises KeyError where a worker has no longer what it
    should hold, and OSError where one is lost.
    """

    def __init__(
        self, worker: Any, keys: Mapping[Place, Any], holders: Mapping[Place, Sequence[str]]
    ) -> None:
        self._worker = worker
        self._keys = keys
        self._holders = holders

    def __call__(self, given: Mapping[Place, Given]) -> dict[Place, Products]:
        """Return the products of some tiles, as `TileProducts` does."""
        worker, (held, _) = self._worker, _shared_out(given, self._holders)
        asked = {
            holder: [(self._keys[place], given[place]) for place in places]
            for holder, places in held.items()
        }
        others = {
            holder: asyncio.run_coroutine_threadsafe(
                _asked(worker, holder, questions), worker.loop.asyncio_loop
            )
            for holder, questions in asked.items()
            if holder != worker.address
        }
        answers = {worker.address: _all_products(worker, asked.get(worker.address, []))}
        answers |= {holder: answer.result() for holder, answer in others.items()}
        found = {
            place: products
            for holder, places in held.items()
            for place, products in zip(places, answers[holder], strict=True)
        }
        return {place: found[place] for place in given}


async def _led(
    dask_worker: Any,
    keys: Mapping[Place, Any],
    holders: Mapping[Place, Sequence[str]],
    call: tuple[Callable[..., Vectors], tuple[Any, ...]],
) -> Vectors | None:
    """Return what a function makes of products, or None if a worker has lost a tile, or is lost."""
    function, given = call
    try:
        # Meanwhile the worker has to answer others.
        return await asyncio.to_thread(function, _Led(dask_worker, keys, holders), *given)
    except (KeyError, OSError):
        return None


async def _asked(worker: Any, holder: str, asked: Sequence[tuple[Any, Given]]) -> list[Products]:
    """Return the products of tiles that another worker holds."""
    question = {"asked": {holder: asked}}
    answer = await worker.rpc(holder).run(
        function=pickle.dumps(_products_of_held), kwargs=pickle.dumps(question)
    )
    if answer["status"] != "OK":
        raise importlib.import_module("distributed.core").clean_exception(**answer)[1]
    if answer["result"] is None:
        raise KeyError(holder)
    found: list[Products] = pickle.loads(answer["result"])
    return found


async def _products_of_held(
    dask_worker: Any, asked: Mapping[str, Sequence[tuple[Any, Given]]]
) -> bytes | None:
    """Return the products of the tiles that this worker should hold, or None if it does not."""
    try:
        # In one piece: of many arrays each would be sent by itself.
        return pickle.dumps(
            await asyncio.to_thread(_all_products, dask_worker, asked[dask_worker.address])
        )
    except KeyError:
        return None


def _all_products(worker: Any, asked: Sequence[tuple[Any, Given]]) -> list[Products]:
    """Return the products of tiles that a worker holds, by their names, with all its threads."""

    def products(question: tuple[Any, Given]) -> Products:
        return _products(worker.data[question[0]], question[1])

    if worker.state.nthreads == 1:  # a pool takes as long as a product
        return list(map(products, asked))
    with ThreadPoolExecutor(worker.state.nthreads) as pool:
        return list(pool.map(products, asked))


def _products(tile: Any, given: Given) -> Products:
    """Return the products of a tile. A task, or a part of an answer."""
    array = aligned(tile)
    with share_of_threads():
        return [
            tiles.product(array, aligned(vectors), transposed=transposed)
            for vectors, transposed in given
        ]
