# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels as arrays of Dask: one task for each tile of one half, the other half is its mirror."""

from __future__ import annotations

import itertools
import math
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.dask_workers import checked_client, current_client
from fastntk._support.digests import sha256
from fastntk.distributed.networks import require_some_network
from fastntk.distributed.normalization import require_normalized_blocks
from fastntk.distributed.requirements import dask_array, high_level_graph
from fastntk.distributed.samples import BlocksOfSamples
from fastntk.distributed.tiled_kernels import (
    OUTPUTS,
    FiniteKernel,
    InfiniteKernel,
    TiledKernel,
    TilePlace,
)
from fastntk.infinite.methods import LimitMethods
from fastntk.kernels.block_sizes import row_slices

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk.networks.base import FiniteNetworkBase

# Tiles so large that the overhead of a task, about a millisecond, is below a hundredth of its work.
# At infinite width tiles across the border are computed for both sides, and so they are larger.
_FINITE_ROWS, _INFINITE_ROWS = 2048, 4096
_LARGEST_TILE = 2**28

# So many blocks a side, if they have so many rows, leave no worker of a few without work for long
# while others end theirs. It depends on the samples alone, as stores go on with any workers.
_BLOCKS, _FEWEST_ROWS = 8, 512

# Blocks of which pairs are taken: so many, if they have so many rows, and never more than the last.
_SPREAD, _FEWEST_SPREAD, _MOST_SPREAD = 32, 1024, 128

# A block of so many rows and columns lies in the first cache, as it is and transposed.
_TRANSPOSED_ROWS = 32


@dataclass(frozen=True)
class Tiles:
    """All tiles of a kernel.

    Attributes
    ----------
    kernel : TiledKernel
    X, Z : BlocksOfSamples
        Z is X for the kernel of X with itself.
    """

    kernel: TiledKernel
    X: BlocksOfSamples
    Z: BlocksOfSamples

    @property
    def symmetric(self) -> bool:
        """Whether it is the kernel of X with itself."""
        return self.X is self.Z

    @property
    def chunks(self) -> int:
        """The rows and columns of all tiles but the last ones."""
        return max(int(side.slices[0].stop) for side in (self.X, self.Z))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the whole array."""
        return (*self.kernel.before, len(self.X), len(self.Z), *self.kernel.after)

    @property
    def digest(self) -> str:
        """What tells it from the arrays of other kernels, samples and tiles."""
        # Other samples that are equal to X have no mirror images, and at infinite width other bits.
        columns = "" if self.symmetric else self.Z.digest
        return sha256("\0".join([self.kernel.digest, self.X.digest, columns]))

    def index(self, i: int, j: int) -> tuple[int, ...]:
        """Return the number of a tile in every axis of the array."""
        return (*(0 for _ in self.kernel.before), i, j, *(0 for _ in self.kernel.after))

    def to_compute(self) -> Iterator[tuple[int, int]]:
        """Yield the tiles that are computed: all, or those on and right of the diagonal."""
        for i in range(len(self.X.slices)):
            for j in range(i if self.symmetric else 0, len(self.Z.slices)):
                yield i, j

    def place(self, i: int, j: int) -> tuple[TilePlace, list[Any], list[Any]]:
        """Return where a tile lies, and the keys of the blocks of samples that it is made of."""
        rows, columns = self.X.slices[i], self.Z.slices[j]
        needed = self.kernel.needed(rows, columns)
        blocks = self.X.blocks(needed[0]), self.Z.blocks(needed[1])
        place = TilePlace(
            rows,
            columns,
            (self.X.slices[blocks[0][0]].start, self.Z.slices[blocks[1][0]].start),
            needed,
            (self.X.digests[i], self.Z.digests[j]),
            self.symmetric and i == j,
        )
        x, z = self.X.array.name, self.Z.array.name
        return place, [(x, b, 0) for b in blocks[0]], [(z, b, 0) for b in blocks[1]]

    @property
    def sources(self) -> list[Any]:
        """The arrays of samples that tasks depend on."""
        return [self.X.array] if self.symmetric else [self.X.array, self.Z.array]

    def array(self) -> Any:
        """Return the array of Dask; nothing is computed."""
        name = f"fastntk-{self.kernel.name}-{self.digest[:32]}"
        shared = f"fastntk-kernel-{self.digest[:32]}"
        layer: dict[Any, Any] = {shared: self.kernel}
        for i, j in self.to_compute():
            place, rows, columns = self.place(i, j)
            key = (name, *self.index(i, j))
            layer[key] = (compute_tile, shared, place, rows, columns)
            if self.symmetric and i != j:
                layer[(name, *self.index(j, i))] = (_mirrored, key, list(self.kernel.mirror))
        chunks = (
            *((length,) for length in self.kernel.before),
            *(tuple(each.stop - each.start for each in side.slices) for side in (self.X, self.Z)),
            *((length,) for length in self.kernel.after),
        )
        return dask_array().Array(
            high_level_graph().from_collections(name, layer, dependencies=self.sources),
            name,
            chunks,
            dtype=self.kernel.dtype,
        )


def compute_tile(kernel: TiledKernel, place: TilePlace, X: list[Any], Z: list[Any]) -> Any:
    """Return a tile; a task of Dask."""
    return kernel.tile(place, X, Z)


def half_read(array: Any) -> Any:
    """Return a symmetric array of Dask whose tiles left of the diagonal are made of the others."""
    name, blocks = f"fastntk-half-{array.name}", range(array.numblocks[0])
    layer = {
        (name, i, j): (array.name, i, j) if i <= j else (_mirrored, (array.name, j, i), [1, 0])
        for i, j in itertools.product(blocks, blocks)
    }
    graph = high_level_graph().from_collections(name, layer, dependencies=[array])
    return dask_array().Array(graph, name, array.chunks, dtype=array.dtype)


def _mirrored(tile: Any, axes: list[int]) -> Any:
    return transposed(np.asarray(tile), axes)


def transposed(tile: FloatArray, axes: Sequence[int]) -> FloatArray:
    """Return a tile with its axes in another order, as an array of its own.

    Block by block: NumPy follows the order of one of both, which takes twice as long.
    """
    mirror = np.transpose(tile, axes)
    copy = np.empty(mirror.shape, mirror.dtype)
    swapped = [k for k, axis in enumerate(axes) if axis != k][:2]
    cuts = [row_slices(mirror.shape[k], _TRANSPOSED_ROWS) for k in swapped]
    for block in itertools.product(*cuts):
        where = [slice(None)] * mirror.ndim
        for k, cut in zip(swapped, block, strict=True):
            where[k] = cut
        copy[tuple(where)] = mirror[tuple(where)]
    return copy


def finite_tiles(
    net: FiniteNetworkBase,
    X: Any,
    Z: Any,
    *,
    chunks: int | str,
    outputs: str | int,
    layer_weights: npt.ArrayLike | None,
    dtype: npt.DTypeLike | None,
    split: Any = None,
) -> Tiles:
    """Return the tiles of kernels of finite width, everything checked."""
    checked_client(current_client())
    network = net.network.weighted(layer_weights)
    network.chosen_outputs(outputs, OUTPUTS if split is None else ("trace",))
    kernel = FiniteKernel(network, outputs, split, network.precision(dtype))
    size = finite_rows(chunks, kernel.bytes_of_pair, X, Z)
    rows = BlocksOfSamples.of(X, "X", size, network.dtype, columns=network.input_width)
    require_normalized_blocks(network, rows, "X")
    columns = rows
    if Z is not None:
        columns = BlocksOfSamples.of(Z, "Z", size, network.dtype, columns=network.input_width)
        require_normalized_blocks(network, columns, "Z")
    kernel.require_in_range(rows, None if Z is None else columns)
    return Tiles(kernel, rows, columns)


def infinite_tiles(
    net: LimitMethods,
    kind: str,
    X: Any,
    Z: Any,
    *,
    chunks: int | str,
    normalize: bool,
    dtype: npt.DTypeLike | None = None,
) -> Tiles:
    """Return the tiles of a kernel of infinite width, everything checked."""
    checked_client(current_client())
    normalize = arguments.flag(normalize, "normalize")
    wanted = None if dtype is None else arguments.float_dtype(dtype)
    # A kernel in float64 is that of samples in float64; one in float32 is rounded once.
    exact = wanted if wanted == np.float64 else None
    size = chunk_rows(chunks, _INFINITE_ROWS, 8 * len(net.asked))
    rows = BlocksOfSamples.of(X, "X", size, exact, columns=net.dimension)
    columns = rows
    if Z is not None:
        columns = BlocksOfSamples.of(
            Z, "Z", size, exact, columns=rows.array.shape[1], why="as many as X has"
        )
    kernel = InfiniteKernel(
        net,
        kind,
        normalize,
        wanted or np.result_type(rows.dtype, columns.dtype),
        rows.norms,
        None if Z is None else columns.norms,
        sha256(rows.digest + ("" if Z is None else columns.digest)),
    )
    kernel.require_in_range(rows, None if Z is None else columns)
    return Tiles(kernel, rows, columns)


def finite_rows(chunks: int | str, bytes_of_pair: int, X: Any, Z: Any = None) -> int:
    """Return the rows and columns of a tile of finite width."""
    longest = max(_length(X), _length(Z))
    usual = min(_FINITE_ROWS, max(_FEWEST_ROWS, -(-longest // _BLOCKS)))
    return chunk_rows(chunks, usual, bytes_of_pair)


def _length(samples: Any) -> int:
    """Return how many samples there are; 0 where that is not known, of which others complain."""
    shape = getattr(samples, "shape", None)
    if isinstance(shape, tuple) and shape and isinstance(shape[0], numbers.Integral):
        return int(shape[0])
    return len(samples) if isinstance(samples, Sequence) else 0


def chunk_rows(chunks: int | str, usual: int, bytes_of_pair: int) -> int:
    """Return the rows and columns of a tile, by default not more than fit in 256 MiB."""
    if isinstance(chunks, str) and chunks == "auto":
        return min(usual, max(1, math.isqrt(_LARGEST_TILE // bytes_of_pair)))
    try:
        size = arguments.integer(chunks, "chunks", minimum=1)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}, or 'auto'") from None
    return size


def spread_rows(chunks: int | str, X: Any) -> int:
    """Return the rows of blocks whose pairs with those of others make a task at infinite width.

    No pair is computed twice, so that blocks may be small; but each task has results for its rows
    and columns, so that there must not be too many.
    """
    count = _length(X)
    usual = max(
        _FEWEST_SPREAD, min(_INFINITE_ROWS, -(-count // _SPREAD)), -(-count // _MOST_SPREAD)
    )
    return chunk_rows(chunks, usual, 1)


def require_usual(*, outputs: object, layer_weights: object) -> None:
    """Raise ValueError for what networks of infinite width have no choice of here."""
    for name, given, usual in (
        ("outputs", outputs, "trace"),
        ("layer_weights", layer_weights, None),
    ):
        if given is not usual and given != usual:
            raise ValueError(
                f"{name}={arguments.shown(given)}: expected {usual!r} for a network of infinite "
                "width"
            )


def require_not_normalized(normalize: Any) -> None:
    """Raise ValueError for what networks of finite width have no choice of here."""
    if arguments.flag(normalize, "normalize"):
        raise ValueError("normalize=True: expected False for a network of finite width")


def tiles_of(net: Any, X: Any, Z: Any, **options: Any) -> Tiles:
    """Return the tiles of a kernel of either kind of network.

    Options that only the other kind has are to be as they are by default.
    """
    require_some_network(net)
    normalize = options.pop("normalize")
    if isinstance(net, LimitMethods):
        require_usual(outputs=options["outputs"], layer_weights=options["layer_weights"])
        precise = {"dtype": options["dtype"], "normalize": normalize}
        return infinite_tiles(net, "ntk", X, Z, chunks=options["chunks"], **precise)
    require_not_normalized(normalize)
    return finite_tiles(net, X, Z, **options)
