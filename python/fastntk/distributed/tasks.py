# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Tasks whose results are few numbers, wherever the computations of Dask take place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from fastntk._support.dask_workers import current_client, large_graphs, result_of
from fastntk.distributed.requirements import dask, delayed, distributed, high_level_graph

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence


def results(
    name: str, layer: Mapping[Any, Any], work: Mapping[Any, int], sources: Sequence[Any]
) -> Generator[Any]:
    """Yield what tasks return, as they are done; when it is closed, no other is begun.

    On the workers of the client there is, which forget each result when it has come; without one
    in this process, one after the other, each with all threads.

    Parameters
    ----------
    name : str
        Of the layer.
    layer : dict
        Tasks by their keys.
    work : dict
        How much there is to do in those whose results are wanted, by their keys: what takes longer
        begins first, so that no worker is without work for long while another ends its last task.
    sources : sequence of dask.array.Array
        What they depend on.
    """
    most = max(work.values(), default=0)  # what these depend on is not to wait for them
    with dask().annotate(priority=partial(_priority, dict(work), most)):
        graph = high_level_graph().from_collections(name, layer, dependencies=sources)
    tasks = [delayed().Delayed(key, graph, layer=name) for key in work]
    client = current_client()
    if client is None:
        for task in tasks:
            yield task.compute(scheduler="synchronous")
        return
    library = distributed()
    with large_graphs():
        futures = library.futures_of(client.persist(tasks))
    try:
        for future in library.as_completed(futures):
            yield result_of(future)
            future.release()
    finally:
        client.cancel(futures)


def _priority(work: Mapping[Any, int], most: int, key: Any) -> int:
    return work.get(key, most)
