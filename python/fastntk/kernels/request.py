# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is asked for when kernels are asked for: one object, checked once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastntk.devices.places import place_of
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatDType
    from fastntk.devices.place import Place
    from fastntk.networks.any_network import AnyNetwork

Split = Literal["none", "layers", "outputs", "output_pairs"]

# The kernels that the names for `outputs` mean.
_SPLIT_OF_OUTPUTS: dict[str, Split] = {"diagonal": "outputs", "full": "output_pairs"}


@dataclass(frozen=True)
class KernelRequest:
    """Kernels K(X, Z) of a network: which, for which samples, how precise and where.

    Attributes
    ----------
    network : PlacedNetwork
        The network, with the ω of its layers, at the place where the kernels are computed. Its
        precision is that of the passes: that of `dtype`, should it be more than the weights have.
    X, Z : object
        Samples as that place has them, in the precision of the passes; Z is None for K(X, X).
    outputs : range
        The outputs over which a kernel is summed, or which `split` tells apart.
    split : str
        "none": one kernel for each readout, summed over the outputs. Of the first readout:
        "layers", one for each layer; "outputs", one for each output; "output_pairs", one for each
        ordered pair of outputs.
    dtype : dtype
        The precision of the Gram matrices and of the kernels.
    """

    network: PlacedNetwork
    X: Any
    Z: Any
    outputs: range
    split: Split
    dtype: FloatDType

    @classmethod
    def checked(
        cls,
        network: AnyNetwork,
        X: npt.ArrayLike,
        Z: npt.ArrayLike | None,
        *,
        outputs: str | int = "trace",
        names: Sequence[str] = ("trace",),
        split: Split | None = None,
        dtype: npt.DTypeLike | None = None,
        device: str | None = None,
    ) -> KernelRequest:
        """Check what a user gave; `names` are those that `outputs` may be, besides an index.

        Without `split`, `outputs` says which kernels are meant.
        """
        chosen = network.chosen_outputs(outputs, names)
        place = place_of(device, {"X": X, "Z": Z})
        rows = network.samples(X, "X", place)
        cols = None if Z is None else network.samples(Z, "Z", place)
        precision = network.precision(dtype)
        by = _SPLIT_OF_OUTPUTS.get(str(outputs), "none") if split is None else split
        return cls.precise(network, place, rows, cols, outputs=chosen, split=by, dtype=precision)

    @classmethod
    def precise(
        cls,
        network: AnyNetwork,
        place: Place,
        X: Any,
        Z: Any = None,
        *,
        outputs: range,
        split: Split,
        dtype: FloatDType,
    ) -> KernelRequest:
        """Return a request whose passes are at least as precise as its Gram matrices.

        The features of a kernel in float64 have all digits, also those of a network of float32:
        the passes cost little beside the Gram matrices, and λ_min would show the difference.
        """
        if dtype.itemsize > network.dtype.itemsize:
            network = network.with_dtype(dtype)
            X, Z = (None if given is None else place.with_dtype(given, dtype) for given in (X, Z))
        return cls(PlacedNetwork(network, place), X, Z, outputs, split, dtype)

    @property
    def place(self) -> Place:
        """Where the kernels are computed."""
        return self.network.place

    @property
    def symmetric(self) -> bool:
        """Whether it is K(X, X)."""
        return self.Z is None

    @property
    def columns(self) -> Any:
        """The samples of the columns: Z, or X again."""
        return self.X if self.Z is None else self.Z

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns of each kernel."""
        return len(self.X), len(self.columns)

    @property
    def samples(self) -> int:
        """The number of samples whose features the kernels are formed from."""
        return len(self.X) + (0 if self.Z is None else len(self.Z))

    @cached_property
    def count(self) -> int:
        """The number of kernels."""
        return self.network.kernel_count(self.outputs, self.split)

    @property
    def single(self) -> bool:
        """Whether it is one kernel summed over the outputs, which features that are kept give."""
        return self.split == "none" and self.count == 1

    @property
    def kernel_bytes(self) -> int:
        """The memory that all kernels take."""
        rows, cols = self.shape
        return self.count * rows * cols * self.dtype.itemsize

    def feature_bytes(self, samples: int) -> int:
        """Return the memory that the features of so many samples take."""
        return self.network.feature_bytes(samples, len(self.outputs), self.dtype)

    @property
    def pass_bytes(self) -> int:
        """The memory that the features of all samples take, and what it takes to compute them."""
        return self.network.pass_bytes(self.samples, len(self.outputs), self.dtype)

    def require_feature_memory(self) -> None:
        """Raise MemoryError, before any work, if the features of all samples do not fit."""
        self.network.require_feature_memory(self.samples, len(self.outputs), self.dtype)

    @property
    def description(self) -> str:
        """The kernels, for errors: "the kernel of 100 × 100 in float64"."""
        what = f"{self.count} kernels" if self.count > 1 else "the kernel"
        return f"{what} of {self.shape[0]} × {self.shape[1]} in {self.dtype}"

    @property
    def advice(self) -> str:
        """What to do where there is not enough memory for the kernels."""
        return (
            "take fewer samples"
            + (" or dtype='float32'" if self.dtype == np.float64 else "")
            + (", keep half of it (out='packed')" if self.symmetric and self.count == 1 else "")
            + ", write to a file (out=…) or use ntk_operator, ntk_tiles or smallest_angle"
        )
