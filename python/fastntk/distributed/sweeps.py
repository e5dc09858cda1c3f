# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of networks of several depths that share their layers, as an array of Dask."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from fastntk._support import arguments
from fastntk._support.dask_workers import checked_client, current_client
from fastntk.distributed.arrays import Tiles, finite_rows
from fastntk.distributed.planning import plan_tiles, stated_workers
from fastntk.distributed.samples import BlocksOfSamples
from fastntk.distributed.tiled_kernels import FiniteKernel
from fastntk.kernels.depth_sweep import Family
from fastntk.networks.initialization import Initialization

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatDType
    from fastntk.activations import Activation
    from fastntk.distributed.planning import TilePlan


def ntk_depths(
    X: Any,
    depths: Sequence[int],
    *,
    chunks: int | Literal["auto"] = "auto",
    width: int = 512,
    activation: str | Activation = "relu",
    activation_scale: float | None = None,
    weight_std: float = 1.0,
    bias_std: float = 0.0,
    parametrization: str = "ntk",
    seed: int = 0,
    network_dtype: npt.DTypeLike = "float64",
    dtype: npt.DTypeLike | None = None,
) -> Any:
    """Return the tangent kernels of networks of several depths, from one pass for each tile.

    Parameters
    ----------
    X : array_like (n, d), dask.array.Array or zarr.Array
        Samples, one a row, as for `ntk`.
    depths : sequence of int
        Numbers of hidden layers.
    chunks : int or "auto"
        The number of rows and columns of a tile; by default as for `ntk`.
    width, activation, activation_scale, weight_std, bias_std, parametrization, seed
        As for `fastntk.ntk_depths`, with shared layers.
    network_dtype, dtype
        As for `fastntk.ntk_depths`.

    Returns
    -------
    dask.array.Array (depths, n, n)
        The kernels of `fastntk.ntk_depths`, to the last bit, in the order of `depths`, of which one
        that is there twice has two. A tile has those of all depths.

    Raises
    ------
    ModuleNotFoundError
        If Dask is not installed: ``pip install 'fastntk[distributed]'``.
    ValueError, TypeError
        For arguments that make no sense. If a sample is not finite, with its place.
    OverflowError
        If a kernel of the largest samples leaves the range of its numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((300, 5))
    >>> K = fastntk.distributed.ntk_depths(X, [0, 2], width=64, chunks=128)
    >>> K.shape, bool((K[1].compute() == fastntk.ntk_depths(X, [0, 2], width=64)[2]).all())
    ((2, 300, 300), True)
    """
    precision = arguments.float_dtype(network_dtype, "network_dtype")
    initial = Initialization.checked(seed, weight_std, bias_std, parametrization, precision)
    family = Family.of(1, width, activation, activation_scale, initial)
    kernel_dtype = precision if dtype is None else arguments.float_dtype(dtype)
    kernels = _tiles(X, family, depths, chunks, kernel_dtype).array()
    return kernels if kernels.ndim == 3 else kernels[None]


def plan_depths(
    X: Any,
    depths: Sequence[int],
    *,
    workers: int | None = None,
    threads: int | None = None,
    memory: int | None = None,
    chunks: int | Literal["auto"] = "auto",
    width: int = 512,
    dtype: npt.DTypeLike = "float64",
) -> TilePlan:
    """Return what `ntk_depths` would cost.

    Parameters
    ----------
    X, depths, chunks, width
        As for `ntk_depths`.
    workers, threads, memory
        As for `plan`.
    dtype : {"float64", "float32"}
        Of the networks and of the kernels.

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
    >>> plan = fastntk.distributed.plan_depths(X, [1, 2, 4], width=64, workers=2, chunks=100)
    >>> plan.tiles, plan.disk_bytes
    (6, 2160000)
    """
    found = stated_workers(workers, threads, memory)
    precision = arguments.float_dtype(dtype)
    initial = Initialization.checked(0, 1.0, 0.0, "ntk", precision)
    family = Family.of(1, width, "relu", None, initial)
    return plan_tiles(_tiles(X, family, depths, chunks, precision), found)


def _tiles(
    X: Any, family: Family, depths: Sequence[int], chunks: int | str, dtype: FloatDType
) -> Tiles:
    """Return the tiles of the kernels of a family, whatever the number of inputs that it has."""
    levels = arguments.depths(depths)
    size = finite_rows(chunks, len(levels) * dtype.itemsize, X)
    checked_client(current_client())
    samples = BlocksOfSamples.of(X, "X", size, family.initial.dtype)
    network = replace(family, input_width=samples.array.shape[1]).network(levels)
    kernel = FiniteKernel(network, "trace", None, dtype)
    kernel.require_in_range(samples, None)
    return Tiles(kernel, samples, samples)
