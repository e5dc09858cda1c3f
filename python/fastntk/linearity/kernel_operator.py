# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The tangent kernel as a linear operator, K = F diag(ω) Fᵀ, which multiplies unformed."""

from __future__ import annotations

import copy
import operator
import pickle
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.kernels.block_sizes import row_slices
from fastntk.linearity.kernel_rows import KernelRows, pair_columns, pair_diagonal, tree_sum
from fastntk.linearity.operators import KernelOperator, operator_of
from fastntk.linearity.ranges import require_kernel_products
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.devices.place import Place
    from fastntk.networks.any_network import AnyNetwork

# The share of the memory that the features of blocks may take; those of the others are computed
# anew for each pass.
_KEPT_SHARE = 0.5


def kernel_operator(
    network: PlacedNetwork,
    X: Any,
    outputs: range,
    dtype: FloatDType,
    *,
    all_pairs: bool,
    block_rows: int | None = None,
) -> KernelOperator:
    """Return the kernel of some samples.

    Parameters
    ----------
    network : PlacedNetwork
        With the ω of its layers.
    X, outputs, dtype
        Of the features, see `Features`.
    all_pairs : bool
        Whether a row stands for a sample and an output, in the order of the samples; otherwise it
        stands for a sample, and the kernels of the outputs are added up.
    block_rows : int, optional
        The samples of a block, by default all.

    Returns
    -------
    KernelOperator or DeviceOperator
        The latter for features on a GPU that come from arrays of CuPy, which SciPy's operator would
        convert to NumPy.
    """
    products = _LocalProducts(
        network, X, outputs, dtype, all_pairs=all_pairs, block_rows=block_rows
    )
    found: Any = operator_of(products, KernelOperator)
    return found  # type: ignore[no-any-return]


class KernelProducts(ABC):
    """How a kernel of n samples and C outputs multiplies: K v = F diag(ω) Fᵀ v.

    Parameters
    ----------
    samples, outputs, dtype
        n, those of the C outputs that are meant, and the precision.
    all_pairs : bool
        Whether a row stands for a sample and an output.
    """

    place: Place

    def __init__(self, samples: int, outputs: range, dtype: FloatDType, *, all_pairs: bool) -> None:
        self.samples, self.outputs, self.dtype, self.all_pairs = samples, outputs, dtype, all_pairs
        self.rows = samples * (len(outputs) if all_pairs else 1)

    @abstractmethod
    def transposed(self, output: int, vectors: Any) -> Any:
        """Return Fᵀ u, for the rows u of `vectors` (k, n); `output` counts from the first."""

    @abstractmethod
    def products(self, output: int, parameters: Any) -> Any:
        """Return F diag(ω) v (k, n), for what `transposed` returned or a sum of these."""

    def add(self, one: Any, other: Any) -> Any:
        """Return the sum of two of what `transposed` returns."""
        return one + other

    @abstractmethod
    def look_at(self, rows: Any, vectors: Any) -> None:
        """Raise OverflowError if products (k, rows) with `vectors` (rows, k) left the range."""

    @abstractmethod
    def diagonal(self) -> FloatArray:
        """Return the diagonal (rows,)."""

    @abstractmethod
    def with_samples(self, places: Any) -> FloatArray:
        """Return the kernel with some of the samples, by their places in rising order.

        (n, m), or (n, C, m, C) of all pairs of outputs.
        """

    def columns(self, indices: Any) -> FloatArray:
        """Return some columns (rows, m)."""
        count = len(self.outputs) if self.all_pairs else 1
        used, which = np.unique(indices // count, return_inverse=True)
        found = self.with_samples(used)
        columns: FloatArray = (
            found[:, :, which, indices % count] if self.all_pairs else found[:, which]
        )
        return columns.reshape(self.rows, len(indices))

    def __call__(self, V: Any) -> Any:
        """Return K V for a matrix of columns."""
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self._pairs_of_outputs(V) if self.all_pairs else self._sum_of_outputs(V)
        self.look_at(rows, V)
        return rows.T

    def _sum_of_outputs(self, V: Any) -> Any:
        vectors = self._contiguous(V.T)
        result: Any = 0.0
        for c in range(len(self.outputs)):
            result = result + self.products(c, self.transposed(c, vectors))
        return result

    def _pairs_of_outputs(self, V: Any) -> Any:
        outputs = range(len(self.outputs))
        count = V.shape[1]
        vectors = V.T.reshape(count, self.samples, len(outputs))
        parameters: Any = None
        for c in outputs:
            of_output = self.transposed(c, self._contiguous(vectors[:, :, c]))
            parameters = of_output if c == 0 else self.add(parameters, of_output)
        products = [self.products(c, parameters) for c in outputs]
        return self.place.xp.stack(products, axis=-1).reshape(count, self.rows)

    def _contiguous(self, vectors: Any) -> Any:
        return self.place.xp.ascontiguousarray(vectors, dtype=self.dtype)


class _LocalProducts(KernelProducts):
    """The products of a kernel in this process, from blocks of samples."""

    def __init__(
        self,
        network: PlacedNetwork,
        X: Any,
        outputs: range,
        dtype: FloatDType,
        *,
        all_pairs: bool,
        block_rows: int | None,
    ) -> None:
        super().__init__(len(X), outputs, dtype, all_pairs=all_pairs)
        self.place = network.place
        self._network, self._samples, self._block_rows = network, X, block_rows
        self._slices = row_slices(len(X), block_rows or len(X))
        kept = len(self._slices)
        if kept > 1:
            kept = self._blocks_that_fit()
            if kept < len(self._slices):
                # What is computed from again and again must not be changed by others.
                self._network = PlacedNetwork(copy.deepcopy(network.network), self.place)
                self._samples = self.place.take(X, np.arange(len(X)))
        self._kept = [self._block(rows) for rows in self._slices[:kept]]

    def _blocks_that_fit(self) -> int:
        network, size = self._network, self._slices[0].stop
        needed = network.pass_bytes(size, len(self.outputs), self.dtype, for_products=True)
        available = self.place.available_memory()
        if available is None:
            return len(self._slices)
        return min(len(self._slices), int(_KEPT_SHARE * available / needed))

    def _block(self, rows: slice) -> KernelRows:
        whole = len(self._slices) == 1
        samples = self._samples if whole else self.place.take(self._samples, rows)
        return KernelRows(self._network, samples, self.outputs, self.dtype)

    def _blocks(self) -> Iterator[tuple[slice, KernelRows]]:
        for number, rows in enumerate(self._slices):
            kept = number < len(self._kept)
            yield rows, self._kept[number] if kept else self._block(rows)

    def __copy__(self) -> _LocalProducts:
        return self  # which nothing changes

    def __deepcopy__(self, memo: dict[int, Any]) -> _LocalProducts:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what the features are computed from, which is much less than they are.

        Raises
        ------
        pickle.PicklingError
            If that has been changed since, so that the kernel would be another one.
        """
        place, network = self.place, self._network.network
        features = (place, self.outputs, self.dtype, self.all_pairs, self._block_rows)
        made = (network, place.on_host(self._samples), *features)
        probe = np.random.Generator(np.random.Philox(0)).standard_normal((self.rows, 1))
        V = place.xp.asarray(probe, dtype=self.dtype)
        if not place.xp.array_equal(self(V), _restored_products(*made)(V)):
            raise pickle.PicklingError(
                "the weights of the network, or the samples, have been changed since this operator "
                "was made: make it anew"
            )
        return _restored_products, made

    def transposed(self, output: int, vectors: Any) -> Any:
        """Return Fᵀ u (k, P), a sum over the blocks."""
        parts = (
            block.transposed(output, self._contiguous(vectors[:, rows]))
            for rows, block in self._blocks()
        )
        return tree_sum(parts, operator.add)

    def products(self, output: int, parameters: Any) -> Any:
        """Return F diag(ω) v (k, n)."""
        found = [block.products(output, parameters) for _, block in self._blocks()]
        return found[0] if len(found) == 1 else self.place.xp.concatenate(found, axis=1)

    def look_at(self, rows: Any, vectors: Any) -> None:
        """Raise OverflowError if products left the range of their numbers."""
        require_kernel_products(self._network, self._samples, self.outputs, rows, vectors)

    def diagonal(self) -> FloatArray:
        """Return the diagonal (rows,)."""
        if self.all_pairs:
            of = self._network, self._samples, self.outputs, self.dtype
            return pair_diagonal(*of).reshape(-1)
        return np.concatenate([block.diagonal() for _, block in self._blocks()])

    def with_samples(self, places: Any) -> FloatArray:
        """Return the kernel with some of the samples."""
        others = self.place.take(self._samples, places)
        if self.all_pairs:
            return pair_columns(self._network, self._samples, self.outputs, self.dtype, others)
        return np.concatenate([block.columns(others) for _, block in self._blocks()])


def _restored_products(
    network: AnyNetwork,
    X: FloatArray,
    place: Place,
    outputs: range,
    dtype: FloatDType,
    all_pairs: bool,
    block_rows: int | None,
) -> _LocalProducts:
    there = place.empty(X.shape, X.dtype)
    there[...] = place.xp.asarray(X)
    samples = network.samples(there, "X", place)
    return _LocalProducts(
        PlacedNetwork(network, place),
        samples,
        outputs,
        dtype,
        all_pairs=all_pairs,
        block_rows=block_rows,
    )
