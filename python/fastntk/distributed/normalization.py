# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples that a layer cannot normalize, found in all blocks before the work begins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.dask_workers import large_graphs, share_of_threads
from fastntk.devices.processor import PROCESSOR
from fastntk.distributed.requirements import dask
from fastntk.distributed.tiled_kernels import numbered
from fastntk.kernels.ranges import require_normalized
from fastntk.layers.steps import Normalize
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.wired import WiredNetwork

if TYPE_CHECKING:
    from fastntk.distributed.samples import BlocksOfSamples
    from fastntk.networks.any_network import AnyNetwork


def require_normalized_blocks(network: AnyNetwork, samples: BlocksOfSamples, name: str) -> None:
    """Raise ValueError if a layer of the network divides by the size of what is 0 of a sample.

    One pass of all samples, where the computations of Dask take place; the error names the first
    such sample by its place among all.
    """
    if not isinstance(network, WiredNetwork) or not any(
        isinstance(step, Normalize) and step.layer.epsilon == 0 for step in network.steps.steps
    ):
        return
    shared = dask().delayed(network, pure=False, traverse=False)
    look = dask().delayed(_look_at)
    blocks = samples.array.to_delayed()[:, 0]
    with large_graphs():
        found = dask().compute(
            *[
                look(shared, block, rows.start, name)
                for block, rows in zip(blocks, samples.slices, strict=True)
            ]
        )
    for error in found:
        if error is not None:
            raise error


def _look_at(network: WiredNetwork, block: Any, first: int, name: str) -> Exception | None:
    """Return what is wrong with the samples of a block, of which this is the first; on a worker.

    It is returned, as the first error that a worker raises need not be that of the first block.
    """
    given = np.ascontiguousarray(block)
    try:
        with share_of_threads(), numbered(range(first, first + len(given)), name):
            require_normalized(PlacedNetwork(network, PROCESSOR), given, name)
    except ValueError as error:
        return error.with_traceback(None)
    return None
