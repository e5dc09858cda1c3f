# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What keeps workers of Dask at work when their memory is short, and says how much they have.

A worker begins no task while its process has more than a share of its limit, 0.8 by default: it
counts what the process has, not what Dask holds. So a worker with nothing to write to disk, but
with memory that was allocated and is free, or with features that it keeps, would pause for ever.
Here it gives these back. Only where a client is at hand is this imported, as it imports Dask.
"""

from __future__ import annotations

import pickle
import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from distributed import WorkerPlugin
from distributed.protocol.serialize import dask_deserialize, dask_serialize
from tornado.ioloop import PeriodicCallback

from fastntk._support.filed_arrays import WORKERS, FiledArray, remove_orphans
from fastntk._support.memory import return_free_memory
from fastntk._support.worker_memory import give_back_memory

if TYPE_CHECKING:
    from distributed import Client, Worker

_NAME = "fastntk-memory"

# A worker whose process has less than this share of its limit is not short of memory.
_AMPLE = 0.5

# What workers of this process had when they had given back what they can.
_resident: weakref.WeakKeyDictionary[Worker, int] = weakref.WeakKeyDictionary()

_watched: weakref.WeakSet[Client] = weakref.WeakSet()


class MemoryWatch(WorkerPlugin):
    """A worker gives back free memory where Dask would write to disk, features where it pauses."""

    name = _NAME

    def setup(self, worker: Worker) -> None:
        """Begin to look, as often as the worker itself does."""
        WORKERS.add(worker)
        seconds = worker.memory_manager.memory_monitor_interval
        look = PeriodicCallback(lambda: _look(worker), 1000 * seconds)
        worker.periodic_callbacks[_NAME] = look
        look.start()

    def teardown(self, worker: Worker) -> None:
        """Look no more."""
        look = worker.periodic_callbacks.pop(_NAME, None)
        if look is not None:
            look.stop()


def _look(worker: Worker) -> None:
    remove_orphans()
    relieve(worker)


def relieve(worker: Worker) -> None:
    """Give back what memory a worker can spare, if it is short."""
    manager = worker.memory_manager
    limit = manager.memory_limit
    if not limit:
        return
    share = worker.monitor.get_process_memory() / limit
    if share > (manager.memory_pause_fraction or 1.0):
        give_back_memory()
    elif share > (manager.memory_spill_fraction or 1.0):
        return_free_memory()


def watch_memory(client: Client) -> None:
    """Have all workers of a client, and those that come, give back memory when it is short."""
    if client not in _watched:
        client.register_plugin(MemoryWatch())
        _watched.add(client)


@dask_serialize.register(FiledArray)  # type: ignore[no-untyped-call,untyped-decorator]
def _dumped(array: FiledArray, context: Any = None) -> tuple[dict[str, Any], list[Any]]:
    """Send an array to another process; without a context, to Dask's own disk, say where it is."""
    if context is None:
        return {"where": pickle.dumps(array.where)}, []
    values = np.asarray(array)
    described = {"key": pickle.dumps(array.key), "shape": values.shape, "dtype": values.dtype.str}
    return described, [values.data.cast("B")]


@dask_deserialize.register(FiledArray)  # type: ignore[no-untyped-call,untyped-decorator]
def _loaded(header: dict[str, Any], frames: list[Any]) -> Any:
    if "where" in header:
        return FiledArray.found(pickle.loads(header["where"]))
    values = np.frombuffer(frames[0], header["dtype"]).reshape(header["shape"])
    # Where there is no worker, nobody would look after a file.
    return FiledArray(values, pickle.loads(header["key"])) if WORKERS else values


class Room(NamedTuple):
    """The memory of the worker that has the least room.

    Attributes
    ----------
    limit, usable, resident : int
        What it may have, what of that before it pauses, and what it has already that neither Dask
        holds nor anybody can give back: Python and its libraries.
    """

    limit: int
    usable: int
    resident: int

    @property
    def free(self) -> int:
        """The bytes for what is to be done."""
        return self.usable - self.resident


def room_of_workers(client: Client) -> Room | None:
    """Return the room that each worker has at least, or None if none has a limit.

    Each gives back what it can first, the first time that it is asked and where its memory is
    short.
    """
    rooms = client.run(_room, on_error="ignore").values()  # of one that is lost just now, none
    found = [room for room in rooms if room is not None]
    return min(found, key=lambda room: room.free, default=None)


def _room(dask_worker: Worker) -> Room | None:
    manager = dask_worker.memory_manager
    limit = manager.memory_limit
    if not limit:
        return None
    resident = _resident.get(dask_worker)
    if resident is None or _not_held(dask_worker) > _AMPLE * limit:
        # What it gives back it would have to make, and to ask the system for, again.
        give_back_memory()
        resident = _resident[dask_worker] = _not_held(dask_worker)
    share = manager.memory_pause_fraction or 1.0
    return Room(limit, int(share * limit), resident)


def _not_held(dask_worker: Worker) -> int:
    """Return the memory of a worker but for what Dask holds, which it can write to disk."""
    spilled = getattr(dask_worker.data, "spilled_total", None)
    held = dask_worker.state.nbytes - (spilled.memory if spilled else 0)
    memory: int = dask_worker.monitor.get_process_memory()
    return memory - held
