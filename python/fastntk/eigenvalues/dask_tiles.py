# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Lower tiles of a matrix that Dask keeps: in memory, or in files where they do not fit."""

from __future__ import annotations

import importlib
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fastntk._support.dask_workers import current_client, naming_a_lost_scheduler
from fastntk._support.filed_arrays import FiledArray

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TypeAlias

    from fastntk._support.progress import Monitor

    Place: TypeAlias = tuple[int, int]


@dataclass(frozen=True)
class Tiles:
    """The lower tiles of a matrix.

    Attributes
    ----------
    tiles : dict of (int, int) to Delayed
        Tasks that make tiles, or tiles that Dask keeps.
    cuts : tuple of int
        Their rows.
    filed : bool
        Whether they lie in files.
    """

    tiles: dict[Place, Any]
    cuts: tuple[int, ...]
    filed: bool

    @property
    def sources(self) -> list[Any]:
        """What tasks depend on that read them."""
        return list(self.tiles.values())

    def of_same_kind(self, tiles: dict[Place, Any]) -> Tiles:
        """Return other tiles of these sizes."""
        return replace(self, tiles=tiles)

    def kept_by(self, task: Any) -> Any:
        """Return the task that makes a tile of this kind of what a task returns."""
        return (_filed, task) if self.filed else task


def lower_places(count: int) -> Iterator[Place]:
    """Yield the places of the lower tiles, column by column."""
    for j in range(count):
        for i in range(j, count):
            yield i, j


def delayed(
    name: str,
    layer: dict[Any, Any],
    places: Sequence[tuple[Any, ...]],
    sources: list[Any],
    layer_name: str | None = None,
) -> list[Any]:
    """Return tasks of a layer, by what follows a name in their keys: its own, if no other."""
    layer_name = layer_name or name
    graphs = importlib.import_module("dask.highlevelgraph").HighLevelGraph
    graph = graphs.from_collections(layer_name, layer, dependencies=sources)
    one = importlib.import_module("dask.delayed").Delayed
    return [one((name, *place), graph, layer=layer_name) for place in places]


def persisted(
    layer_name: str,
    layer: dict[Any, Any],
    name: str,
    places: Sequence[Any],
    sources: list[Any],
    monitor: Monitor | None = None,
) -> dict[Any, Any]:
    """Compute the tiles of a layer, which Dask keeps, and wait for them.

    Their keys have a name of their own before their places. Where one fails, none is kept: what
    Dask knows of an exception would keep them all, and a later call would meet the same exception.
    """
    dask = importlib.import_module("dask")
    tasks = delayed(name, layer, places, sources, layer_name)
    client = current_client()
    if client is None:
        return dict(zip(places, dask.persist(*tasks), strict=True))
    library = importlib.import_module("distributed")
    with naming_a_lost_scheduler():
        kept = dask.persist(*tasks)
        futures = library.futures_of(kept)
        try:
            for done, future in enumerate(library.as_completed(futures), start=1):
                if future.status != "finished":
                    future.result()
                if monitor is not None:
                    monitor("decomposition", done, len(futures))
        except BaseException:
            with suppress(Exception):  # the scheduler may be lost
                client.cancel(futures)
            raise
    return dict(zip(places, kept, strict=True))


def computed(tasks: list[Any]) -> list[Any]:
    """Return what tasks return."""
    with naming_a_lost_scheduler():
        return list(importlib.import_module("dask").compute(*tasks))


def _filed(tile: Any) -> FiledArray | None:
    return None if tile is None else FiledArray(tile)
