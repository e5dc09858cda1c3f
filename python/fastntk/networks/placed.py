# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A network where it is computed with: what every question to the core begins with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatDType
    from fastntk.devices.place import Place
    from fastntk.networks.any_network import AnyNetwork


class PlacedNetwork:
    """A network at a place, with the core's view of it there.

    On a GPU, whatever is asked of the same placed network shares its copy of the weights.

    Attributes
    ----------
    network : AnyNetwork
    place : Place
    handle : object
        What the functions of `place.core` take for the network.
    """

    def __init__(self, network: AnyNetwork, place: Place) -> None:
        self.network = network
        self.place = place
        self.handle = network.handle(place)

    def __reduce__(self) -> tuple[Any, ...]:
        return PlacedNetwork, (self.network, self.place)

    def evaluate(self, X: Any) -> Any:
        """Return f (n, C) of the network's first readout, for samples as the place has them."""
        place = self.place
        shape = (len(X), self.network.n_outputs)
        needed = shape[0] * shape[1] * self.network.dtype.itemsize
        if not place.is_always_there(needed):
            what = f"{shape[1]} outputs of {shape[0]} samples in {self.network.dtype}"
            place.require_memory(needed, what, "take fewer samples")
        out = place.empty(shape, self.network.dtype)
        place.fill(
            [out], lambda outs, where: place.core.evaluate(self.handle, X, outs[0], where, None)
        )
        return out

    def feature_bytes(self, samples: int, outputs: int, dtype: FloatDType) -> int:
        """Return the memory that the features H and Δ of so many samples and outputs take."""
        needed: int = self.handle.feature_bytes(samples, outputs, dtype.itemsize)
        return needed

    def pass_bytes(
        self, samples: int, outputs: int, dtype: FloatDType, *, for_products: bool = False
    ) -> int:
        """Return the memory of features and of the weights that are packed to compute them.

        Those for products lie in rows, which other blocks of samples make.
        """
        packed: int = 0
        if not self.place.on_gpu:  # the number of threads makes no difference
            packed = self.handle.packed_weight_bytes(samples, dtype.itemsize, for_products, 1)
        return self.feature_bytes(samples, outputs, dtype) + packed

    def require_feature_memory(
        self, samples: int, outputs: int, dtype: FloatDType, *, for_products: bool = False
    ) -> None:
        """Raise MemoryError, before any work, if so many features cannot be computed in memory."""
        needed = self.pass_bytes(samples, outputs, dtype, for_products=for_products)
        if self.place.is_always_there(needed):
            return
        self.place.require_memory(
            needed,
            f"the features of {samples} samples in {dtype}",
            "take fewer samples" + (" or dtype='float32'" if dtype == np.float64 else ""),
        )

    def kernel_count(self, outputs: range, split: str) -> int:
        """Return how many kernels `split` makes of these outputs."""
        count: int = self.handle.kernel_count((outputs.start, len(outputs)), split)
        return count

    def kernel_mirror(self, outputs: range, split: str) -> list[int]:
        """Return, for each of the kernels K(X, X), which of them is its transpose."""
        mirror: list[int] = self.handle.kernel_mirror((outputs.start, len(outputs)), split)
        return mirror
