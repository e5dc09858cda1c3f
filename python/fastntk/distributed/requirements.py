# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The libraries that work beyond one machine needs, imported when it is asked for."""

from __future__ import annotations

from typing import Any

from fastntk.datasets.optional import library

_INSTALL = "fastntk[distributed]"


def dask() -> Any:
    """Return the package dask."""
    library("dask.array", "fastntk.distributed", _INSTALL)
    return library("dask", "fastntk.distributed", _INSTALL)


def dask_array() -> Any:
    """Return the module dask.array."""
    return library("dask.array", "fastntk.distributed", _INSTALL)


def delayed() -> Any:
    """Return the module dask.delayed."""
    dask()
    return library("dask.delayed", "fastntk.distributed", _INSTALL)


def high_level_graph() -> Any:
    """Return the class of Dask's graphs."""
    return library("dask.highlevelgraph", "fastntk.distributed", _INSTALL).HighLevelGraph


def distributed() -> Any:
    """Return the package distributed, the scheduler of Dask."""
    return library("distributed", "a cluster", _INSTALL)


def zarr() -> Any:
    """Return the package zarr."""
    return library("zarr", "a store of tiles", _INSTALL)
