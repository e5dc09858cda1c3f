# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The rows of some samples in the tangent kernel: their products, columns and diagonal.

K v = F diag(ω) Fᵀ v takes two passes, Fᵀ to the parameters and F back from them. Both are sums over
samples, or hold one row a sample; so the samples may be cut into blocks of rows, wherever these
lie. What goes from block to block is a vector with an entry for each parameter, and blocks are
added up in a fixed tree: first neighbours, then neighbouring pairs of these, and so on. The result
depends on the blocks, and not on who computes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from fastntk.kernels.block_sizes import row_slices
from fastntk.kernels.features import Features
from fastntk.kernels.parts import kernel_part
from fastntk.kernels.ranges import KernelRanges
from fastntk.kernels.request import KernelRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.networks.placed import PlacedNetwork

_Value = TypeVar("_Value")

# Rows of the blocks on the diagonal whose own diagonals are wanted: small, for what is computed
# beside these.
_DIAGONAL_ROWS = 64

# Rows of a block of the kernels of all pairs of outputs, of which a few columns are wanted.
_PAIR_ROWS = 512


def tree_sum(values: Iterable[_Value], add: Callable[[_Value, _Value], _Value]) -> _Value:
    """Return the sum in the fixed tree: (v₀ + v₁) + (v₂ + v₃) and so on.

    Values are added up as they come, so that there are no more at a time than the tree has levels.
    """
    waiting: list[tuple[int, _Value]] = []  # complete parts of the tree, with their sizes
    for value in values:
        size, part = 1, value
        while waiting and waiting[-1][0] == size:
            part = add(waiting.pop()[1], part)
            size *= 2
        waiting.append((size, part))
    _, total = waiting.pop()
    while waiting:
        total = add(waiting.pop()[1], total)
    return total


class KernelRows:
    """The gradients of some samples, by whose products a kernel multiplies.

    Parameters
    ----------
    network : PlacedNetwork
        With the ω of its layers.
    X, outputs, dtype
        Of the features, see `Features`.
    """

    def __init__(self, network: PlacedNetwork, X: Any, outputs: range, dtype: FloatDType) -> None:
        self._network, self._samples = network, X
        self._features = Features(network, X, outputs, dtype, for_products=True)

    def __len__(self) -> int:
        return len(self._features)

    def transposed(self, output: int, vectors: Any) -> Any:
        """Return Fᵀ u (k, P) for the rows u of `vectors` (k, n); `output` counts from the first."""
        return self._features.transposed_products(output, vectors)

    def products(self, output: int, parameters: Any) -> Any:
        """Return F diag(ω) v (k, n) for the rows v of `parameters` (k, P)."""
        return self._features.products(output, parameters, weighted=True)

    def columns(self, others: Any) -> FloatArray:
        """Return the kernel (n, m) with other samples, summed over the outputs.

        Features lie in memory as products want them, and are multiplied in another order than those
        of kernels: elements differ by rounding.
        """
        outputs, dtype = self._features.outputs, self._features.dtype
        request = KernelRequest(self._network, self._samples, others, outputs, "none", dtype)
        beside = Features(self._network, others, outputs, dtype, for_products=True)
        (kernel,) = kernel_part(request, (self._features, beside))
        return np.asarray(kernel)

    def diagonal(self) -> FloatArray:
        """Return the diagonal (n,) of the kernel of these samples, summed over the outputs."""
        outputs, dtype = self._features.outputs, self._features.dtype
        request = KernelRequest(self._network, self._samples, None, outputs, "none", dtype)
        ranges = KernelRanges(request, part=True)
        found: FloatArray = np.empty(len(self), dtype)
        for rows in row_slices(len(self), _DIAGONAL_ROWS):
            block: FloatArray = np.empty((rows.stop - rows.start,) * 2, dtype)
            self._features.fill_kernel(self._features, rows, rows, block, None)
            ranges.look_at(rows, rows, [block])
            found[rows] = np.diagonal(block)
        return found


def pair_columns(
    network: PlacedNetwork, X: Any, outputs: range, dtype: FloatDType, others: Any
) -> FloatArray:
    """Return the kernel (n, C, m, C) of all pairs of C outputs with other samples."""
    count = len(outputs)
    found: FloatArray = np.empty((len(X), count, len(others), count), dtype)
    for rows in row_slices(len(X), _PAIR_ROWS):
        request = KernelRequest.precise(
            network.network,
            network.place,
            network.place.take(X, rows),
            others,
            outputs=outputs,
            split="output_pairs",
            dtype=dtype,
        )
        pairs = kernel_part(request, None).reshape(count, count, *request.shape)
        found[rows] = pairs.transpose(2, 0, 3, 1)
    return found


def pair_diagonal(network: PlacedNetwork, X: Any, outputs: range, dtype: FloatDType) -> FloatArray:
    """Return the diagonal (n, C) of the kernel of all pairs of outputs."""
    found: FloatArray = np.empty((len(X), len(outputs)), dtype)
    for rows in row_slices(len(X), _DIAGONAL_ROWS):
        request = KernelRequest.precise(
            network.network,
            network.place,
            network.place.take(X, rows),
            outputs=outputs,
            split="outputs",
            dtype=dtype,
        )
        kernels = kernel_part(request, None)
        found[rows] = np.diagonal(kernels, axis1=1, axis2=2).T
    return found
