# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Arrays in files, as results of tasks of Dask, where they would not all fit into memory.

Dask writes to disk what it holds beyond a share of a worker's memory. But what is read from there
takes its place in memory again, and something else is written: whoever reads all arrays over and
over writes them over and over. These are written once, by the task that makes them, and mapped into
memory by the tasks that read them: without a copy, and for no longer than that takes.
"""

from __future__ import annotations

import importlib
import math
import mmap
import os
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.worker_memory import this_worker

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray

# Of its size Dask is told this part: much beside vectors, so that what reads both is done where the
# array is, but next to nothing beside what there is memory for.
_STATED_PART = 64

# The workers of this process.
WORKERS: weakref.WeakSet[Any] = weakref.WeakSet()

# Files whose arrays are gone, and the keys that these had: Dask may have written to its disk where
# such a file lies, until it forgets the key.
_orphans: dict[str, Any] = {}


class FiledArray:
    """An array in a file: one of NumPy while anybody looks at it. The file goes when this does.

    Parameters
    ----------
    array : array_like
    key : object
        The task of a worker whose result it is, by default the one that this thread is at.
    """

    def __init__(self, array: Any, key: Any = None) -> None:
        given: FloatArray = np.require(array, requirements=("C",))
        worker = this_worker()
        key = worker.get_current_task() if worker is not None and key is None else key
        descriptor, path = tempfile.mkstemp(suffix=".array", dir=_folder(worker))
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(given.data.cast("B"))
        except OSError as error:
            _remove(path)
            raise OSError(error.errno, error.strerror, path) from error
        self._own(path, key, given.shape, given.dtype)

    def _own(self, path: str, key: Any, shape: tuple[int, ...], dtype: Any) -> None:
        self.key, self._path, self._shape, self._dtype = key, path, shape, dtype
        weakref.finalize(self, _let_go, path, key)

    @property
    def where(self) -> tuple[str, Any, tuple[int, ...], Any]:
        """What finds it again."""
        return self._path, self.key, self._shape, self._dtype

    @classmethod
    def found(cls, where: tuple[str, Any, tuple[int, ...], Any]) -> FiledArray:
        """Return what Dask has written to disk, by what finds it."""
        _orphans.pop(where[0], None)
        array = cls.__new__(cls)
        array._own(*where)
        return array

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> FloatArray:
        with Path(self._path).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        array: FloatArray = np.frombuffer(mapped, self._dtype).reshape(self._shape)
        return array

    def __reduce__(self) -> tuple[Any, ...]:
        return np.asarray, (np.asarray(self),)

    def __sizeof__(self) -> int:
        size: int = self._dtype.itemsize * math.prod(self._shape)
        return size // _STATED_PART


def _folder(worker: Any) -> str | None:
    """Return where this process may write: for a worker its own folder, which Dask clears."""
    worker = worker or next(iter(WORKERS), None)
    if worker is not None:
        return str(worker.local_directory)
    folder: str | None = importlib.import_module("dask").config.get("temporary-directory", None)
    return folder


def _let_go(path: str, key: Any) -> None:
    if key is None:
        _remove(path)
    else:
        _orphans[path] = key


def remove_orphans() -> None:
    """Remove the files of arrays that no worker of this process knows of any more."""
    for path, key in list(_orphans.items()):
        if not any(key in worker.data for worker in list(WORKERS)):
            _orphans.pop(path, None)
            _remove(path)


def _remove(path: str) -> None:
    with suppress(OSError):  # Dask may have cleared its folder
        Path(path).unlink()
