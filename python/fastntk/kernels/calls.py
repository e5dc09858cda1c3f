# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Calls of the core for kernels, outputs and angles of pairs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import fastntk._core as _core
from fastntk._support.progress import monitored
from fastntk._support.threads import core_threads
from fastntk.devices.places import PROCESSOR, Place
from fastntk.kernels.blocks import row_slices, rows_at_once

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk._support.progress import Monitor, Progress
    from fastntk.networks.network import Network


def evaluate(network: Network, X: Any, place: Place = PROCESSOR, handle: Any = None) -> Any:
    """Return f (n, C) of the network's first readout."""
    handle = network.handle(place) if handle is None else handle
    out = place.empty((len(X), network.n_outputs), network.dtype)
    place.fill([out], lambda outs, where: place.core.evaluate(handle, X, outs[0], where, None))
    return out


def kernels_of(
    network: Network,
    X: Any,
    Z: Any,
    *,
    outputs: range,
    dtype: FloatDType,
    progress: Progress,
    split: str = "none",
    count: int = 1,
    place: Place = PROCESSOR,
) -> Any:
    """Return the `count` kernels (n, m) that `split` makes of K(X, Z).

    "none": a list, one for each readout, summed over `outputs`. An array (count, n, m) for the
    first readout with "layers": one for each layer, "outputs": one for each output, "output_pairs":
    one for each ordered pair of outputs.

    Kernels for the host that do not fit into the memory of a GPU are computed there block by block.
    """
    rows, cols = len(X), len(X) if Z is None else len(Z)
    of_kernels = count * rows * cols * dtype.itemsize
    of_features = network.feature_bytes(rows + (0 if Z is None else cols), len(outputs), dtype)
    what, instead = kernel_advice((rows, cols), dtype, count, Z is None)
    if place.results_elsewhere:
        PROCESSOR.require_memory(of_kernels, what, instead)
    else:
        place.require_memory(of_kernels + of_features, f"{what} and the features", instead)
    # Kernels of different readouts are arrays of their own, which can be let go one by one.
    out: Any = (
        [place.empty((rows, cols), dtype) for _ in range(count)]
        if split == "none"
        else place.empty((count, rows, cols), dtype)
    )
    ask = _Kernels(network, outputs, split, place)
    with monitored(progress, "kernel") as monitor:
        size = max(rows, cols)
        if place.results_elsewhere:
            each = network.feature_bytes(1, len(outputs), dtype)
            size = rows_at_once(size, 2 * each, count * dtype.itemsize, place.available_memory())
        if size >= max(rows, cols):
            ask.fill(X, Z, list(out), monitor)
        else:
            ask.fill_in_blocks(X, Z, list(out), size, monitor)
    return out


def kernel_advice(
    shape: tuple[int, int], dtype: FloatDType, count: int, symmetric: bool
) -> tuple[str, str]:
    """Return the names of kernels that need memory, and what to do where there is not enough."""
    what = f"{count} kernels" if count > 1 else "the kernel"
    return (
        f"{what} of {shape[0]} × {shape[1]} in {dtype}",
        "take fewer samples"
        + (" or dtype='float32'" if dtype == np.float64 else "")
        + (", keep half of it (out='packed')" if symmetric and count == 1 else "")
        + ", write to a file (out=…) or use ntk_operator, ntk_tiles or smallest_angle",
    )


class _Kernels:
    """Kernels of one network, all at once or in blocks."""

    def __init__(self, network: Network, outputs: range, split: str, place: Place) -> None:
        self._handle = network.handle(place)
        self._outputs, self._split, self._place = outputs, split, place

    def fill(self, X: Any, Z: Any, outs: Sequence[Any], monitor: Monitor | None) -> None:
        self._place.fill(
            outs,
            lambda matrices, where: self._place.core.ntk(
                self._handle,
                (self._outputs.start, len(self._outputs)),
                self._split,
                X,
                Z,
                matrices,
                where,
                monitor,
            ),
        )

    def fill_in_blocks(
        self, X: Any, Z: Any, outs: Sequence[Any], size: int, monitor: Monitor | None
    ) -> None:
        """Fill kernels from blocks; without Z, the mirror images of those below the diagonal."""
        others = X if Z is None else Z
        blocks = [
            (rows, cols)
            for rows in row_slices(len(X), size)
            for cols in row_slices(len(others), size)
            if Z is not None or cols.start <= rows.start
        ]
        for done, (rows, cols) in enumerate(blocks, start=1):
            diagonal = Z is None and rows == cols
            parts = [out[rows, cols] for out in outs]
            self.fill(X[rows], None if diagonal else others[cols], parts, None)
            if Z is None and not diagonal:
                for k, part in enumerate(parts):
                    outs[self._mirror(k)][cols, rows] = part.T
            if monitor is not None:
                monitor("blocks", done, len(blocks))

    def _mirror(self, k: int) -> int:
        """Return which kernel is the transpose of kernel k: of a pair of outputs the other pair."""
        if self._split != "output_pairs":
            return k
        first, second = divmod(k, len(self._outputs))
        return second * len(self._outputs) + first


def pair_angles(
    network: Network, X: FloatArray, pairs: Sequence[tuple[int, int]], outputs: range
) -> list[float]:
    """Return the angles between the gradients at pairs of samples, in float64, however small."""
    exact = network.with_dtype(np.dtype(np.float64))
    samples = X.astype(np.float64, copy=False)
    with core_threads() as threads:
        return _core.pair_angles(
            exact.handle(), (outputs.start, len(outputs)), samples, list(pairs), threads, None
        )
