# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels in stores of zarr: each tile is written once, and found again by whoever goes on.

A tile is a chunk of the store, which zarr writes under another name first, so that it is whole or
not there, and which ends with a CRC-32C. The other half of a symmetric kernel is written by the
same task, so that every reader of zarr finds all of it; a tile counts as done when it and its
mirror image are whole and equal. The store's attributes say which kernel it is.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.dask_workers import current_client, workers_with_room
from fastntk._support.display import counted
from fastntk._support.files import make_folder
from fastntk._support.progress import monitored, require_progress
from fastntk.distributed.arrays import Tiles, compute_tile, half_read, tiles_of, transposed
from fastntk.distributed.planning import plan_tiles
from fastntk.distributed.requirements import dask_array, zarr
from fastntk.distributed.tasks import results

if TYPE_CHECKING:
    from collections.abc import Generator

    import numpy.typing as npt

    from fastntk._support.progress import Progress
    from fastntk.distributed.planning import TilePlan
    from fastntk.distributed.tiled_kernels import TiledKernel, TilePlace

_FORMAT = 1

# What a task found: nothing to do, a tile to compute, or a damaged one to compute again.
_FOUND, _MISSING, _DAMAGED = range(3)

_NAMES = {
    "kernel": "kind of kernel",
    "network": "network",
    "samples": "samples X",
    "columns": "samples Z",
    "dtype": "precision",
    "chunks": "size of tiles",
    "fastntk": "version of fastntk",
}


@dataclass(frozen=True)
class StoredKernel:
    """A kernel in a store, complete.

    Attributes
    ----------
    path : str
        The store, from the root of the file system on.
    plan : TilePlan
        What was planned before the work began.
    found, computed, damaged : int
        How many tiles of those that are computed, in half of a symmetric kernel, were there and
        whole; were computed; and how many of the latter had been damaged.
    """

    path: str
    plan: TilePlan
    found: int
    computed: int
    damaged: int

    def array(self) -> Any:
        """Return the kernel as an array of Dask that is read from the store."""
        return load(self.path)

    def __str__(self) -> str:
        damaged = f", {self.damaged} of them damaged" if self.damaged else ""
        computed = counted(self.computed, "tile")
        return f"{self.path}: {computed} computed{damaged}, {self.found} found there"


def store(
    path: Any,
    net: Any,
    X: Any,
    Z: Any = None,
    *,
    chunks: int | str = "auto",
    outputs: str | int = "trace",
    layer_weights: npt.ArrayLike | None = None,
    dtype: npt.DTypeLike | None = None,
    normalize: bool = False,
    progress: Progress = False,
) -> StoredKernel:
    """Compute a tangent kernel into a store of zarr, tile by tile, or what is missing of it.

    On the workers of the `distributed.Client` if there is one, otherwise in this process with all
    its threads. Started again after a crash of a worker, the scheduler or this process, it goes on:
    tiles that were written are read and not computed, those that are damaged are computed again.

    Parameters
    ----------
    path : path-like
        The store, a folder that ends in ``.zarr``, at the same place for all workers.
    net, X, Z, chunks, outputs, layer_weights, dtype, normalize
        As for `ntk`.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each tile.

    Returns
    -------
    StoredKernel

    Raises
    ------
    ValueError, TypeError
        For arguments that make no sense; if the store is that of another kernel, samples, precision
        or size of tiles, or no store.
    MemoryError
        If a worker has no memory for the tiles in hand.
    OSError
        If the store cannot be written, or the scheduler is lost; tiles that were finished are
        there.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((300, 5))
    >>> net = fastntk.MLP([5, 64, 64, 1])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = fastntk.distributed.store(f"{folder}/K.zarr", net, X, chunks=128)
    ...     again = fastntk.distributed.store(f"{folder}/K.zarr", net, X, chunks=128)
    >>> first.computed, again.computed, again.found
    (6, 0, 6)
    """
    name = arguments.path(path, "path", ".zarr")
    require_progress(progress)
    zarr()
    tiles = tiles_of(
        net,
        X,
        Z,
        chunks=chunks,
        outputs=outputs,
        layer_weights=layer_weights,
        dtype=dtype,
        normalize=normalize,
    )
    plan = plan_tiles(tiles, workers_with_room(current_client()))
    absolute = str(Path(name).absolute())
    with _naming_the_path(absolute):
        opened = _opened(absolute, tiles)
        opened.attrs["fastntk"] = {**opened.attrs["fastntk"], "complete": False}
    began = time.time()
    states = _filled(absolute, tiles, progress)
    with _naming_the_path(absolute):
        opened.attrs["fastntk"] = {**opened.attrs["fastntk"], "complete": True}
    _remove_unfinished(absolute, began)
    found = states.count(_FOUND)
    return StoredKernel(absolute, plan, found, len(states) - found, states.count(_DAMAGED))


def load(path: Any) -> Any:
    """Return a kernel that `store` completed, as an array of Dask.

    Parameters
    ----------
    path : path-like
        The store.

    Returns
    -------
    dask.array.Array

    Raises
    ------
    ValueError
        If it is no store of a kernel, or not complete. A tile that is damaged raises an error of
        zarr when it is read; `store` computes it again. A whole tile of another place, or of
        another store, is not told from the right one. Of a symmetric kernel the tiles on and
        right of the diagonal are read, and the others are their mirror images.
    OSError
        If it cannot be read.
    """
    name = arguments.path(path, "path", ".zarr")
    with _naming_the_path(name):
        there = _described(name)
        array = _array_of(name, "r", there["identity"])
        # zarr reads a tile that is not there as one of NaN.
        whole = there["complete"] and _tiles_there(name, array.ndim) == array.nchunks
    if not whole:
        raise ValueError(
            f"path={name!r} is not complete: expected a store with all tiles; call "
            "fastntk.distributed.store again, which computes those that are missing"
        )
    stored = dask_array().from_zarr(str(Path(name).absolute()))
    # Tiles are half of the store, and their mirror images the other; of several kernels each has.
    symmetric = there["identity"]["columns"] is None and stored.ndim == 2
    return half_read(stored) if symmetric else stored


def _identity(tiles: Tiles) -> dict[str, Any]:
    """Return all that decides the numbers of a store, and how they are cut."""
    return {
        **tiles.kernel.settings,
        "samples": tiles.X.digest,
        "columns": None if tiles.symmetric else tiles.Z.digest,
        "shape": list(tiles.shape),
        "chunks": tiles.chunks,
        "fastntk": version("fastntk"),
    }


def _opened(path: str, tiles: Tiles) -> Any:
    """Return the array of a store, made if there is none."""
    identity = _identity(tiles)
    if Path(path).exists():
        there = _described(path)["identity"]
        different = [key for key in identity if there.get(key) != identity[key]]
        if "chunks" in different:
            # The digests of samples are those of blocks of this size, and tell nothing of others.
            different = [key for key in different if key not in {"samples", "columns"}]
        if different:
            # Digests are as long as they are unreadable; what differs is enough of them.
            shown = ", ".join(
                f"{_NAMES.get(key, key)} ({there.get(key)!s:.12}, not {identity[key]!s:.12})"
                for key in different
            )
            raise ValueError(
                f"path={path!r} is the store of another kernel, which differs in: {shown}; it was "
                "left as it is: expected the store of this one, or a name that is free"
            )
        array = _array_of(path, "r+", there)
        _tiles_there(path, array.ndim)
        return array
    make_folder(Path(path).parent, "path")
    before, after = tiles.kernel.before, tiles.kernel.after
    return zarr().create_array(
        path,
        shape=tiles.shape,
        chunks=(*before, *(side.slices[0].stop for side in (tiles.X, tiles.Z)), *after),
        dtype=tiles.kernel.dtype,
        fill_value=np.nan,  # which no kernel has: what is not written cannot be taken for one
        compressors=zarr().codecs.Crc32cCodec(),
        attributes={
            "fastntk": {
                "format": _FORMAT,
                "identity": identity,
                "versions": {each: version(each) for each in ("numpy", "zarr", "dask")},
                "complete": False,
            }
        },
    )


def _described(path: str) -> dict[str, Any]:
    """Return what the attributes of a store say, which has to be one of fastntk."""
    try:
        text = (Path(path) / "zarr.json").read_text(encoding="utf-8")
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, UnicodeDecodeError):
        text = "null"
    with contextlib.suppress(ValueError, TypeError, KeyError):
        there: dict[str, Any] = json.loads(text)["attributes"]["fastntk"]
        if there["format"] == _FORMAT and isinstance(there["identity"], dict):
            return {"complete": False, **there}
    raise _no_store(path)


def _array_of(path: str, mode: str, identity: dict[str, Any]) -> Any:
    """Return the array of a store, of which zarr reads what its attributes say as well."""
    array = zarr().open_array(path, mode=mode)
    whole = list(array.shape) == identity["shape"] and array.dtype == np.dtype(identity["dtype"])
    if not whole or not np.isnan(array.fill_value):
        raise _no_store(path)
    return array


def _tiles_there(path: str, dimensions: int) -> int:
    """Return how many tiles there are files of, whatever is in them.

    Raises
    ------
    ValueError
        If what lies in the place of one, or of a folder of some, is something else.
    """
    count = 0
    for depth in range(dimensions + 1):
        for place in Path(path).glob("/".join(["c", *["*"] * depth])):
            if not (place.is_dir() if depth < dimensions else place.is_file()):
                kind = "a folder of tiles" if depth < dimensions else "the file of a tile"
                raise ValueError(
                    f"path={path!r}: {str(place.relative_to(path))!r} is something else than "
                    f"{kind}: expected nothing there, or what fastntk.distributed.store wrote"
                )
            count += depth == dimensions and place.name.isdecimal()
    return count


@contextlib.contextmanager
def _naming_the_path(path: str) -> Generator[None]:
    """Say in errors of the system which argument they are about."""
    try:
        yield
    except OSError as error:
        reason = str(error.strerror or error).removeprefix("path: ")
        # A new error: what is changed in one does not travel from a worker.
        raise OSError(error.errno, f"path: {reason}", error.filename or path) from error


def _no_store(path: str) -> ValueError:
    return ValueError(
        f"path={path!r}: expected a store that fastntk.distributed.store made, which is not "
        "damaged, or a name that is free"
    )


def _filled(path: str, tiles: Tiles, progress: Progress) -> list[int]:
    """Compute all tiles that are not there, and return what was found of each."""
    name = f"fastntk-store-{tiles.digest[:32]}"
    shared = f"fastntk-kernel-{tiles.digest[:32]}"
    layer: dict[Any, Any] = {shared: tiles.kernel}
    every = list(tiles.to_compute())
    work: dict[Any, int] = {}
    for number, (i, j) in enumerate(every):
        place, rows, columns = tiles.place(i, j)
        at = [tiles.index(i, j)]
        if tiles.symmetric and i != j:
            at.append(tiles.index(j, i))
        files = [str(Path(path, "c", *map(str, index))) for index in at]  # as zarr names them
        layer[name, number] = (_ensure_tile, shared, place, rows, columns, path, files)
        work[name, number] = 1 if place.diagonal else 2
    states = results(name, layer, work, tiles.sources)
    found: list[int] = []
    with monitored(progress, "kernel") as monitor, contextlib.closing(states):
        for done, state in enumerate(states, start=1):
            found.append(state)
            if monitor is not None:
                monitor("tiles", done, len(every))
    return found


def _remove_unfinished(path: str, began: float) -> None:
    """Remove what those who were killed had begun to write before the time given."""
    for file in Path(path).rglob("*.partial"):  # as zarr names it
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < began:
                file.unlink()


def _ensure_tile(
    kernel: TiledKernel,
    place: TilePlace,
    X: list[Any],
    Z: list[Any],
    path: str,
    files: list[str],
) -> int:
    """Read a tile, and its mirror image; compute and write them if they are not there. A task.

    Two files are those of a tile and of its mirror image.
    """
    mirrored = len(files) == 2
    with _naming_the_path(path):
        # Otherwise each tile would be compared with one of NaN before it is written.
        stored = zarr().open_array(path, mode="r+", config={"write_empty_chunks": True})
        regions = [_region(kernel, place.rows, place.columns)]
        if mirrored:
            regions.append(_region(kernel, place.columns, place.rows))
        there = all(Path(file).exists() for file in files)
        symmetric = mirrored or place.diagonal
        state = _state(kernel, stored, regions, symmetric) if there else _MISSING
        if state != _FOUND:
            tile = compute_tile(kernel, place, X, Z)
            stored[regions[0]] = tile
            if mirrored:
                stored[regions[1]] = transposed(tile, kernel.mirror)
    return state


def _region(kernel: TiledKernel, rows: slice, columns: slice) -> tuple[slice, ...]:
    return (
        *(slice(0, length) for length in kernel.before),
        rows,
        columns,
        *(slice(0, length) for length in kernel.after),
    )


def _state(
    kernel: TiledKernel, stored: Any, regions: list[tuple[slice, ...]], symmetric: bool
) -> int:
    """Return whether a tile, with its mirror image, is in the store.

    A `symmetric` one has a mirror image, which on the diagonal is itself.
    """
    try:
        found = [stored[region] for region in regions]
    except OSError:  # the file system, not what is in it
        raise
    except Exception:  # zarr raises several kinds for bytes that are not those of an array
        return _DAMAGED
    if any(np.isnan(tile).any() for tile in found):
        return _MISSING
    same = not symmetric or np.array_equal(np.transpose(found[0], kernel.mirror), found[-1])
    return _FOUND if same else _DAMAGED
