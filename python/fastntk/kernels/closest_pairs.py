# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The pairs of samples with the smallest angles between their gradients, and these angles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import fastntk._core as _core
from fastntk._support.threads import core_threads
from fastntk.kernels.angles import AnglePair
from fastntk.kernels.block_loop import BlockLoop, Destination
from fastntk.kernels.block_sizes import samples_that_fit
from fastntk.kernels.features import Features

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Monitor, Progress
    from fastntk.kernels.block_loop import KernelBlock
    from fastntk.kernels.request import KernelRequest
    from fastntk.networks.network import Network


class ClosestPairs(Destination):
    """The pairs with the largest cosines, of all blocks that were looked at.

    A block off the diagonal is taken with the two on the diagonal that it lies beside and below:
    the core looks at all pairs of a set of samples. Blocks on the diagonal are then seen more than
    once, which costs twice the time.
    """

    def __init__(self, request: KernelRequest, count: int) -> None:
        self._request, self._count = request, count
        self._cosines: dict[tuple[int, int], float] = {}

    def put(self, block: KernelBlock, monitor: Monitor | None) -> None:
        """Look at the samples of the rows and the columns, all together."""
        if not block.mirrored:
            return
        request = self._request
        samples = np.r_[block.cols, block.rows]
        features = Features(
            request.network, request.place.take(request.X, samples), request.outputs, request.dtype
        )
        pairs = features.closest_pairs(self._count, progress=monitor or False)
        found = {(int(samples[i]), int(samples[j])): cosine for cosine, i, j in pairs}
        self._cosines = dict(
            sorted((self._cosines | found).items(), key=lambda item: (-item[1], item[0]))[
                : self._count
            ]
        )

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """The pairs (i, j), i < j, by their cosines."""
        return list(self._cosines)


def closest_pairs(request: KernelRequest, count: int, progress: Progress) -> list[tuple[int, int]]:
    """Return the pairs (i, j) of samples with the largest cosines, of those with a gradient."""
    fit = samples_that_fit(request)
    if fit == request.samples:
        features = Features(request.network, request.X, request.outputs, request.dtype, progress)
        return [(i, j) for _, i, j in features.closest_pairs(count, progress)]
    closest = ClosestPairs(request, count)
    BlockLoop.of_size(request, max(1, fit // 2)).run(closest, progress, "closest pairs")
    return closest.pairs


def pair_angles(
    network: Network, X: FloatArray, pairs: Sequence[tuple[int, int]]
) -> list[AnglePair]:
    """Return the angles between the gradients at pairs of samples, in float64, however small."""
    exact = network.with_dtype(np.dtype(np.float64))
    samples = X.astype(np.float64, copy=False)
    outputs = (0, network.n_outputs)
    with core_threads() as threads:
        angles = _core.pair_angles(exact.handle(), outputs, samples, list(pairs), threads, None)
    return [
        AnglePair(angle, i, j, resolved=True) for angle, (i, j) in zip(angles, pairs, strict=True)
    ]
