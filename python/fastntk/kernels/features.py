# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations H and backward signals Δ of some samples, kept for several questions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.progress import monitored
from fastntk.devices.places import PROCESSOR, Place

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk._support.progress import Monitor, Progress
    from fastntk.networks.network import Network


class Features:
    """H and Δ of some samples, in the precision `dtype`, for several questions.

    On a GPU, features with the same `handle` of the network share its copy of the weights.
    """

    def __init__(
        self,
        network: Network,
        X: Any,
        outputs: range,
        dtype: FloatDType,
        progress: Progress = False,
        place: Place = PROCESSOR,
        handle: Any = None,
    ) -> None:
        place.require_memory(
            network.feature_bytes(len(X), len(outputs), dtype),
            f"the features of {len(X)} samples in {dtype}",
            "take fewer samples" + (" or dtype='float32'" if dtype == np.float64 else ""),
        )
        self.outputs = outputs
        self.dtype = dtype
        self.n_parameters = network.n_parameters
        self.place = place
        core = getattr(place.core, f"Features{8 * dtype.itemsize}Of{8 * network.dtype.itemsize}")
        with place.working() as where, monitored(progress, "features") as monitor:
            self._core: Any = core(
                network.handle(place) if handle is None else handle,
                (outputs.start, len(outputs)),
                X,
                where,
                monitor,
            )

    def __len__(self) -> int:
        return int(self._core.rows)

    def kernel(self, other: Features, rows: slice, cols: slice, progress: Progress = False) -> Any:
        """Return K (rows, cols), summed over the outputs."""
        out = self.place.empty((rows.stop - rows.start, cols.stop - cols.start), self.dtype)
        self.fill_kernel(other, rows, cols, out, progress)
        return out

    def fill_kernel(
        self, other: Features, rows: slice, cols: slice, out: Any, progress: Progress = False
    ) -> None:
        """Fill a matrix with K (rows, cols), summed over the outputs."""
        spans = [(s.start, s.stop - s.start) for s in (rows, cols)]
        with monitored(progress, "kernel") as monitor:
            self.place.fill(
                [out],
                lambda outs, where: self._core.kernel(other._core, *spans, outs[0], where, monitor),
            )

    def kernel_on_host(
        self, other: Features, rows: slice, cols: slice, out: FloatArray, monitor: Monitor | None
    ) -> None:
        """Fill a matrix of NumPy with K (rows, cols), summed over the outputs."""
        spans = [(s.start, s.stop - s.start) for s in (rows, cols)]
        self.place.fill_on_host(
            out, lambda block, where: self._core.kernel(other._core, *spans, block, where, monitor)
        )

    def packed_kernel(self, out: FloatArray, progress: Progress) -> None:
        """Fill the data of a packed kernel with K of all samples, summed over the outputs."""
        with monitored(progress, "kernel") as monitor:
            self.place.fill_on_host(
                out, lambda data, where: self._core.packed_kernel(data, where, monitor)
            )

    def closest_pairs(self, k: int, progress: Progress) -> list[tuple[float, int, int]]:
        """Return (cosine, i, j) of the k closest pairs of samples that have a gradient."""
        with (
            self.place.working() as where,
            monitored(progress, "closest pairs") as monitor,
        ):
            pairs: list[tuple[float, int, int]] = self._core.closest_pairs(k, where, monitor)
        return pairs

    def transposed_products(self, output: int, vectors: Any) -> Any:
        """Return Fᵀ u (k, P) for the rows u of `vectors` (k, n); `output` counts from the first."""
        given = self.place.given(vectors)
        out = self.place.empty((len(vectors), self.n_parameters), self.dtype)
        self.place.fill(
            [out],
            lambda outs, where: self._core.transposed_products(output, given, outs[0], where, None),
        )
        return out

    def products(self, output: int, vectors: Any, *, weighted: bool = False) -> Any:
        """Return F v (k, n), or F diag(ω) v, for the rows v of `vectors` (k, P)."""
        given = self.place.given(vectors)
        out = self.place.empty((len(vectors), len(self)), self.dtype)
        self.place.fill(
            [out],
            lambda outs, where: self._core.products(output, weighted, given, outs[0], where, None),
        )
        return out
