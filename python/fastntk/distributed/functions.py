# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of many samples, as arrays of Dask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from fastntk._support import arguments
from fastntk.distributed.arrays import finite_tiles, infinite_tiles, tiles_of
from fastntk.distributed.planning import plan_tiles, stated_workers
from fastntk.infinite.methods import LimitMethods
from fastntk.networks.base import require_finite_network

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.distributed.planning import TilePlan
    from fastntk.networks.base import FiniteNetworkBase


def ntk(
    net: FiniteNetworkBase | LimitMethods,
    X: Any,
    Z: Any = None,
    *,
    chunks: int | Literal["auto"] = "auto",
    outputs: Literal["trace", "diagonal", "full"] | int = "trace",
    layer_weights: npt.ArrayLike | None = None,
    dtype: npt.DTypeLike | None = None,
    normalize: bool = False,
) -> Any:
    """Return the tangent kernel as an array of Dask, whose tiles are computed when they are needed.

    Wherever the computations of Dask take place: in this process, or on a cluster if there is a
    `distributed.Client`.

    Parameters
    ----------
    net : MLP, FiniteNetwork, infinite.Network or infinite.LayeredNetwork
        The network. It travels once to each worker.
    X : array_like (n, d), dask.array.Array or zarr.Array
        Samples, one a row. They are looked at once, block by block, in this call; what is not in
        the memory of this process never is, and no worker has more than some blocks of it.
    Z : the same (m, d), optional
        Other samples. Without them the kernel is K(X, X), of which half of the tiles are computed,
        and the others are their mirror images.
    chunks : int or "auto"
        The number of rows and columns of a tile; it need not divide the number of samples. By
        default 2048, fewer for less than 16 384 samples, or 4096 at infinite width, if the tiles
        have 256 MiB at most.
    outputs, layer_weights
        As for `MLP.ntk`, for networks of finite width.
    dtype : {"float32", "float64"}, optional
        As for `MLP.ntk` or `infinite.Network.ntk`.
    normalize : bool
        As for `infinite.Network.ntk`, for networks of infinite width; one of several depths, or of
        several numbers of blocks, has a first axis for these.

    Returns
    -------
    dask.array.Array
        (n, m) and so on, as `MLP.ntk` or `infinite.Network.ntk` return it, with the same numbers to
        the last bit, for any chunks and any number of workers.

    Raises
    ------
    ModuleNotFoundError
        If Dask is not installed: ``pip install 'fastntk[distributed]'``.
    ValueError, TypeError
        For arguments that make no sense. If a sample is not finite, with its place.
    OverflowError
        If the kernel of the largest samples leaves the range of its numbers.

    Notes
    -----
    A worker keeps the features of as many blocks of samples as fit in a quarter of its memory, so
    that they are computed once as a rule. At infinite width, parts of a kernel are made of whole
    tiles of the library's own, which have 1024 columns and begin on the diagonal: those across the
    border of two chunks are computed for both, which costs about 1024 in so many columns as a chunk
    has.

    A worker that runs one task at a time in a process of its own uses as many threads as its
    environment allows to BLAS (Dask allows one); all other tasks use one thread.

    Samples that are in memory here are part of the array, so that any client and any scheduler
    computes it, after the loss of workers too. They travel with each computation, and above 10 MB
    Dask warns of a large graph. ``dask.array.from_array(X, (2048, -1)).persist()`` is sent ahead,
    once; given in place of X, it leaves the array small, and bound to the client. What a lost
    worker had of it is sent again by the scheduler, which scattered samples would not be.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((300, 5))
    >>> net = fastntk.MLP([5, 64, 64, 1])
    >>> K = fastntk.distributed.ntk(net, X, chunks=128)
    >>> K.numblocks, bool((K.compute() == net.ntk(X)).all())
    ((3, 3), True)
    """
    return tiles_of(
        net,
        X,
        Z,
        chunks=chunks,
        outputs=outputs,
        layer_weights=layer_weights,
        dtype=dtype,
        normalize=normalize,
    ).array()


def ntk_by_layer(
    net: FiniteNetworkBase,
    X: Any,
    Z: Any = None,
    *,
    chunks: int | Literal["auto"] = "auto",
    outputs: Literal["trace"] | int = "trace",
    dtype: npt.DTypeLike | None = None,
) -> Any:
    """Return what each layer contributes to the tangent kernel, as `MLP.ntk_by_layer` does.

    Parameters
    ----------
    net : MLP or FiniteNetwork
        The network.
    X, Z, chunks, outputs, dtype
        As for `ntk`.

    Returns
    -------
    dask.array.Array (L + 1, n, m)
    """
    require_finite_network(net)
    return finite_tiles(
        net, X, Z, chunks=chunks, outputs=outputs, layer_weights=None, dtype=dtype, split="layers"
    ).array()


def nngp(
    net: LimitMethods,
    X: Any,
    Z: Any = None,
    *,
    chunks: int | Literal["auto"] = "auto",
    normalize: bool = False,
) -> Any:
    """Return the covariance of the outputs of a network of infinite width at initialization.

    Parameters
    ----------
    net : infinite.Network or infinite.LayeredNetwork
        The network.
    X, Z, chunks
        As for `ntk`.
    normalize : bool
        As for `infinite.Network.nngp`.

    Returns
    -------
    dask.array.Array (n, m), or (depths, n, m) for a sequence of depths
    """
    if not isinstance(net, LimitMethods):
        raise TypeError(
            f"net={arguments.shown(net)}: expected a fastntk.infinite.Network or LayeredNetwork"
        )
    return infinite_tiles(net, "nngp", X, Z, chunks=chunks, normalize=normalize).array()


def plan(
    net: FiniteNetworkBase | LimitMethods,
    X: Any,
    Z: Any = None,
    *,
    workers: int | None = None,
    threads: int | None = None,
    memory: int | None = None,
    chunks: int | Literal["auto"] = "auto",
    outputs: Literal["trace", "diagonal", "full"] | int = "trace",
    layer_weights: npt.ArrayLike | None = None,
    dtype: npt.DTypeLike | None = None,
) -> TilePlan:
    """Return what `ntk` or `store` would cost: tiles, time, memory, and bytes moved and on disk.

    What `ntk_depths` would: `plan_depths`. A network of infinite width may have several depths.

    Parameters
    ----------
    net, X, Z, chunks, outputs, layer_weights, dtype
        As for `ntk`.
    workers, threads, memory : int, optional
        How many workers, the threads of each, and its memory in bytes. By default those of the
        `distributed.Client` there is, or else this process, which does one tile after the other.

    Returns
    -------
    TilePlan

    Raises
    ------
    MemoryError
        If a worker has no memory for the tiles in hand; with the chunks that fit.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((300, 5))
    >>> plan = fastntk.distributed.plan(fastntk.MLP([5, 64, 1]), X, workers=2, chunks=100)
    >>> plan.tiles, plan.disk_bytes
    (6, 720000)
    """
    found = stated_workers(workers, threads, memory)
    tiles = tiles_of(
        net,
        X,
        Z,
        chunks=chunks,
        outputs=outputs,
        layer_weights=layer_weights,
        dtype=dtype,
        normalize=False,
    )
    return plan_tiles(tiles, found)
