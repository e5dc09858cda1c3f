# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Activations H and backward signals Δ of some samples, kept for several questions."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from fastntk._support.progress import monitored

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk._support.progress import Monitor, Progress
    from fastntk.networks.placed import PlacedNetwork


class Features:
    """H and Δ of some samples at some outputs, in the precision `dtype`, for several questions.

    They lie in memory as kernels want them or, with `for_products`, as products with the Jacobian
    do; a kernel may be asked of these too.
    """

    def __init__(
        self,
        network: PlacedNetwork,
        X: Any,
        outputs: range,
        dtype: FloatDType,
        progress: Progress = False,
        *,
        for_products: bool = False,
    ) -> None:
        self.outputs = outputs
        self.dtype = dtype
        self.place = network.place
        self.n_parameters = network.network.n_parameters
        network.require_feature_memory(len(X), len(outputs), dtype, for_products=for_products)
        own = network.network.dtype
        core = getattr(self.place.core, f"Features{8 * dtype.itemsize}Of{8 * own.itemsize}")
        with self.place.working() as where, monitored(progress, "features") as monitor:
            chosen = (outputs.start, len(outputs))
            self._core: Any = core(network.handle, chosen, X, for_products, where, monitor)

    def __len__(self) -> int:
        return int(self._core.rows)

    def fill_kernel(
        self, other: Features, rows: slice, cols: slice, out: Any, monitor: Monitor | None
    ) -> None:
        """Fill a matrix with K of these rows and those of `other`, summed over the outputs."""
        spans = [(s.start, s.stop - s.start) for s in (rows, cols)]
        self.place.fill(
            [out],
            lambda outs, where: self._core.kernel(other._core, *spans, outs[0], where, monitor),
        )

    def fill_packed_kernel(self, out: FloatArray, progress: Progress) -> None:
        """Fill the data of a packed kernel with K of all samples, summed over the outputs."""
        with monitored(progress, "kernel") as monitor:
            self.place.fill(
                [out], lambda outs, where: self._core.packed_kernel(outs[0], where, monitor)
            )

    @cached_property
    def inverse_norms(self) -> list[float]:
        """1/√K(x, x) of each sample, and 0 where the gradient is zero or not finite."""
        with self.place.working() as where:
            norms: list[float] = self._core.inverse_norms(where, None)
        return norms

    def closest_pairs(
        self, k: int, progress: Progress, others: Features | None = None
    ) -> list[tuple[float, int, int]]:
        """Return (cosine, i, j) of the k closest pairs of samples that have a gradient.

        Of these samples, i < j, or of all samples i of the others with all j of these.
        """
        norms = self.inverse_norms
        other = None if others is None else others._core
        of_others = norms if others is None else others.inverse_norms
        with (
            self.place.working() as where,
            monitored(progress, "closest pairs") as monitor,
        ):
            pairs: list[tuple[float, int, int]] = self._core.closest_pairs(
                other, norms, of_others, k, where, monitor
            )
        return pairs

    def transposed_products(self, output: int, vectors: Any) -> Any:
        """Return Fᵀ u (k, P) for the rows u of `vectors` (k, n); `output` counts from the first."""
        given = self.place.for_core(vectors)
        out = self.place.empty((len(vectors), self.n_parameters), self.dtype)
        self.place.fill(
            [out],
            lambda outs, where: self._core.transposed_products(output, given, outs[0], where, None),
        )
        return out

    def products(self, output: int, vectors: Any, *, weighted: bool = False) -> Any:
        """Return F v (k, n), or F diag(ω) v, for the rows v of `vectors` (k, P)."""
        given = self.place.for_core(vectors)
        out = self.place.empty((len(vectors), len(self)), self.dtype)
        self.place.fill(
            [out],
            lambda outs, where: self._core.products(output, weighted, given, outs[0], where, None),
        )
        return out
