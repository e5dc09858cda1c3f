# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Beyond one machine: kernels as arrays of Dask, in stores of zarr, and as operators.

``pip install 'fastntk[distributed]'``.
"""

from fastntk.distributed.functions import nngp, ntk, ntk_by_layer, plan
from fastntk.distributed.operators import ntk_operator
from fastntk.distributed.pairs import closest_pairs
from fastntk.distributed.planning import TilePlan
from fastntk.distributed.stores import StoredKernel, load, store
from fastntk.distributed.sweeps import ntk_depths, plan_depths

__all__ = [
    "StoredKernel",
    "TilePlan",
    "closest_pairs",
    "load",
    "nngp",
    "ntk",
    "ntk_by_layer",
    "ntk_depths",
    "ntk_operator",
    "plan",
    "plan_depths",
    "store",
]


def __dir__() -> list[str]:
    """Return the public names, and not those of the files that they come from."""
    return sorted(__all__)
