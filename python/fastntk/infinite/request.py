# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is asked for when kernels of a network of infinite width are: one object, checked once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk._support.memory import require_memory
from fastntk.devices import matrices
from fastntk.infinite.kernel_parts import KernelParts
from fastntk.infinite.sample_norms import Samples

if TYPE_CHECKING:
    from typing import Any, Self

    from numpy.typing import ArrayLike, DTypeLike

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.infinite.several_depths import SeveralDepths


@dataclass(frozen=True)
class KernelRequest:
    """Kernels of X with Z, or with itself, of which nothing is computed yet.

    Attributes
    ----------
    network : SeveralDepths
    kinds : tuple of str
        Which kernels, "nngp" or "ntk" or both.
    X, Z : ndarray
        Samples, one a row; Z is None for kernels of X with itself.
    dtype : dtype
        That of the kernels, which are computed in float64.
    normalize : bool
        Whether they are divided by the roots of their diagonals.
    """

    network: SeveralDepths
    kinds: tuple[str, ...]
    X: FloatArray
    Z: FloatArray | None
    dtype: FloatDType
    normalize: bool

    @classmethod
    def checked(
        cls,
        network: SeveralDepths,
        kinds: tuple[str, ...],
        X: ArrayLike,
        Z: ArrayLike | None = None,
        *,
        dtype: DTypeLike | None = None,
        normalize: bool = False,
    ) -> Self:
        """Check what a user gave; the kernels have by default the precision of the samples."""
        normalize = arguments.flag(normalize, "normalize")
        wanted = None if dtype is None else arguments.float_dtype(dtype)
        # A kernel in float64 is that of samples in float64; one in float32 is rounded once.
        exact = wanted if wanted == np.float64 else None
        rows = matrices.samples(X, "X", exact)
        columns = None
        if Z is not None:
            columns = matrices.samples(Z, "Z", exact, columns=rows.shape[1], why="as many as X has")
        if wanted is None:
            wanted = rows.dtype if columns is None else np.result_type(rows, columns)
        network.require_inputs(rows.shape[1], "X")
        if "ntk" in kinds:
            network.require_tangent_kernel()
        return cls(network, kinds, rows, columns, wanted, normalize)

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of rows and columns of each kernel."""
        return len(self.X), len(self.X if self.Z is None else self.Z)

    @property
    def description(self) -> str:
        """The kernels, for errors: "1 kernel(s) of 100 × 100 in float64"."""
        rows, cols = self.shape
        count = len(self.kinds) * len(self.network.depths)
        return f"{count} kernel(s) of {rows} × {cols} in {self.dtype}"

    @property
    def kernel_bytes(self) -> int:
        """The memory that all kernels take."""
        rows, cols = self.shape
        return len(self.kinds) * len(self.network.depths) * rows * cols * self.dtype.itemsize

    @property
    def advice(self) -> str:
        """What to do where there is not enough memory for the kernels."""
        return (
            "take fewer depths or samples at a time, write one kernel to a file (out=…) or use "
            "ntk_operator, ntk_tiles or smallest_angle"
        )

    @cached_property
    def parts(self) -> KernelParts:
        """What tiles are made by.

        Raises
        ------
        ValueError, OverflowError
            If the kernels leave the range of their numbers, or cannot be normalized.
        """
        X, Z = Samples.of(self.X), None if self.Z is None else Samples.of(self.Z)
        return KernelParts.of(self.network, self.kinds, X, Z, self.dtype, normalize=self.normalize)

    def with_samples_of_its_own(self) -> Self:
        """Return the same request for copies of the samples, which nobody else can change."""
        require_memory(self.X.nbytes, f"a copy of X of {self.X.shape}", "take fewer samples")
        return replace(self, X=self.X.copy(), Z=None if self.Z is None else self.Z.copy())

    def __getstate__(self) -> dict[str, Any]:
        # What was computed holds addresses of compiled loops, and is computed anew elsewhere.
        return {name: value for name, value in vars(self).items() if name != "parts"}
