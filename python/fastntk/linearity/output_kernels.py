# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The kernels by which outputs move together: of all pairs of outputs, or of each one by itself.

Training on the square loss is a linear equation with such a kernel. For all pairs of C outputs it
is a single matrix, whose rows stand for a sample and an output, in the order of the samples; for
outputs that are taken to have no kernel in common it falls into C matrices with a row for each
sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.devices.processor import PROCESSOR
from fastntk.kernels.destinations import new_kernels
from fastntk.kernels.request import KernelRequest
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk.kernels.request import Split
    from fastntk.networks.any_network import AnyNetwork

    Array = NDArray[np.float64]


class OutputKernels(ABC):
    """What the equations of training are made of, for a network with the ω of its layers.

    Attributes
    ----------
    network : AnyNetwork
    placed : PlacedNetwork
        The network on the processor, where all of this is computed.
    """

    # What else than fewer samples would take less memory, for errors.
    _less_memory: ClassVar[str] = ""

    def __init__(self, network: AnyNetwork) -> None:
        self.network = network
        self.placed = PlacedNetwork(network, PROCESSOR)

    @property
    @abstractmethod
    def count(self) -> int:
        """How many equations there are, each with a kernel of its own."""

    @property
    @abstractmethod
    def outputs_of_equations(self) -> list[range]:
        """The outputs that each equation is about."""

    @property
    @abstractmethod
    def rows_a_sample(self) -> int:
        """How many rows of a kernel stand for a sample."""

    @abstractmethod
    def of(self, X: FloatArray, Z: FloatArray | None = None) -> list[Array]:
        """Return the kernels K(X, Z), or K(X, X), in float64."""

    @abstractmethod
    def split(self, values: Array) -> list[Array]:
        """Return numbers (n, C) for samples and outputs as a column for each equation."""

    @abstractmethod
    def join(self, columns: Sequence[Array], samples: int) -> Array:
        """Return the columns (…, rows, 1) of all equations as an array (…, samples, C)."""

    @abstractmethod
    def eigenvalues(self, of_kernels: Sequence[Array]) -> Array:
        """Return the eigenvalues of all kernels as one array."""

    def require_memory(self, samples: int) -> None:
        """Raise MemoryError if the kernels and their eigenvectors are not to be had."""
        rows = samples * self.rows_a_sample
        require_memory(
            8 * rows * rows * (2 * self.count + 2),
            f"{self.count} kernels of {rows} rows and their eigenvectors",
            "take fewer samples" + self._less_memory,
        )

    def _formed(self, X: FloatArray, Z: FloatArray | None, split: Split) -> Array:
        outputs, dtype = range(self.network.n_outputs), np.dtype(np.float64)
        request = KernelRequest(self.placed, X, Z, outputs, split, dtype)
        kernels: Array = new_kernels(request, progress=False)
        return kernels


class AllPairs(OutputKernels):
    """The kernel of all pairs of outputs, a matrix of n C rows."""

    count = 1
    _less_memory = " or outputs='diagonal'"

    @property
    def outputs_of_equations(self) -> list[range]:
        """All outputs, which the only equation is about."""
        return [range(self.network.n_outputs)]

    @property
    def rows_a_sample(self) -> int:
        """How many rows of a kernel stand for a sample."""
        return self.network.n_outputs

    def of(self, X: FloatArray, Z: FloatArray | None = None) -> list[Array]:
        """Return the kernel K(X, Z), or K(X, X), in float64."""
        outputs = self.network.n_outputs
        pairs = self._formed(X, Z, "output_pairs")
        n, m = pairs.shape[1:]
        by_sample = pairs.reshape(outputs, outputs, n, m).transpose(2, 0, 3, 1)
        return [by_sample.reshape(n * outputs, m * outputs)]

    def split(self, values: Array) -> list[Array]:
        """Return numbers (n, C) for samples and outputs as a single column."""
        return [values.reshape(-1, 1)]

    def join(self, columns: Sequence[Array], samples: int) -> Array:
        """Return the column (…, n C, 1) as an array (…, n, C)."""
        (column,) = columns
        return column.reshape(*column.shape[:-2], samples, self.network.n_outputs)

    def eigenvalues(self, of_kernels: Sequence[Array]) -> Array:
        """Return those of the only kernel, (n C,)."""
        return of_kernels[0]


class EachOutput(OutputKernels):
    """The kernel K^cc of each output by itself, a matrix of n rows."""

    rows_a_sample = 1

    @property
    def count(self) -> int:
        """How many outputs there are."""
        return self.network.n_outputs

    @property
    def outputs_of_equations(self) -> list[range]:
        """Each output by itself."""
        return [range(c, c + 1) for c in range(self.count)]

    def of(self, X: FloatArray, Z: FloatArray | None = None) -> list[Array]:
        """Return the kernels K^cc(X, Z), or K^cc(X, X), in float64."""
        return list(self._formed(X, Z, "outputs"))

    def split(self, values: Array) -> list[Array]:
        """Return numbers (n, C) for samples and outputs as a column for each output."""
        return [column[:, np.newaxis] for column in values.T]

    def join(self, columns: Sequence[Array], samples: int) -> Array:  # noqa: ARG002
        """Return columns (…, n, 1) as an array (…, n, C)."""
        return np.concatenate(columns, axis=-1)

    def eigenvalues(self, of_kernels: Sequence[Array]) -> Array:
        """Return those of each kernel as a row, (C, n)."""
        return np.stack(of_kernels)
