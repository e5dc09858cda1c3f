# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The tangent kernel as an operator whose rows are spread over workers.

At finite width a product K v = F diag(ω) Fᵀ v takes two passes over the blocks of samples, which
stay where they are: each makes its part of Fᵀ v, a vector of all parameters; these are added up in
a fixed tree, neighbours first, on the workers; and each block takes the sum back to its rows. Only
v, the result and a few vectors of parameters travel. At infinite width: `infinite_operators`.
"""

from __future__ import annotations

from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fastntk._support.dask_workers import (
    checked_client,
    current_client,
    share_of_threads,
)
from fastntk._support.digests import sha256
from fastntk._support.worker_memory import KEPT
from fastntk.devices.processor import PROCESSOR
from fastntk.distributed.arrays import finite_tiles, require_not_normalized, require_usual
from fastntk.distributed.blocks import BlocksHere, blocks_of, take
from fastntk.distributed.infinite_operators import infinite_operator
from fastntk.distributed.networks import finite_identity, require_some_network
from fastntk.infinite.methods import LimitMethods
from fastntk.kernels.ranges import all_finite, products_are_lost, size_of
from fastntk.linearity.kernel_operator import KernelProducts
from fastntk.linearity.kernel_rows import KernelRows, pair_columns, pair_diagonal, tree_sum
from fastntk.linearity.operators import KernelOperator
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.distributed.samples import BlocksOfSamples
    from fastntk.networks.any_network import AnyNetwork
    from fastntk.networks.base import FiniteNetworkBase


def ntk_operator(
    net: FiniteNetworkBase | LimitMethods,
    X: Any,
    *,
    client: Any = None,
    chunks: int | Literal["auto"] = "auto",
    outputs: Literal["trace", "full"] | int = "trace",
    layer_weights: npt.ArrayLike | None = None,
    dtype: npt.DTypeLike | None = None,
    normalize: bool = False,
) -> KernelOperator:
    """Return the tangent kernel as an operator, with the rows of X in blocks on workers.

    Parameters
    ----------
    net : MLP, FiniteNetwork, infinite.Network or infinite.LayeredNetwork
        The network, at infinite width of a single depth. It travels once to each worker.
    X : array_like (n, d), dask.array.Array or zarr.Array
        Samples, one a row. They are looked at once, block by block, in this call; what is not in
        the memory of this process never is. They must not change while the operator is in use.
    client : distributed.Client, optional
        Whose workers compute; by default the current one. Where there is none, this process does,
        one block after the other.
    chunks : int or "auto"
        The number of rows of a block, by default at most 2048; at infinite width a 32nd of the
        samples, from 1024 to 4096, and more for very many.
    outputs, layer_weights
        As for `MLP.ntk_operator`, for networks of finite width.
    dtype : {"float32", "float64"}, optional
        As for `MLP.ntk_operator` or `infinite.Network.ntk_operator`.
    normalize : bool
        As for `infinite.Network.ntk_operator`, for networks of infinite width.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator (n, n), or (n C, n C) for "full"
        As `MLP.ntk_operator` returns it, with its methods ``diagonal()`` and ``columns(indices)``;
        for `fastntk.conjugate_gradients`. The same, bit for bit, for any number of workers and
        threads, and at finite width as that of ``net.ntk_operator(X, block_rows=chunks)``. Other
        chunks change last bits, because sums have another order.

    Raises
    ------
    ModuleNotFoundError
        If Dask is not installed: ``pip install 'fastntk[distributed]'``.
    ValueError, TypeError
        For arguments that make no sense. If a sample is not finite, with its place.
    OverflowError
        If the kernel of the largest samples leaves the range of its numbers.
    ConnectionError
        If the scheduler of the client does not answer, or is lost.

    Notes
    -----
    Of a product with k vectors, each worker receives k vectors of all parameters, and sends as many
    for each of its parts of the tree that its neighbours need. It keeps the features of as many
    blocks as fit in a quarter of its memory, and computes the others anew in each pass. A block
    goes to the same worker each time; what a lost worker had is computed by others.

    At infinite width the tiles of the kernel are computed anew for each product, each for its
    mirror image as well. A task does those that begin in the rows of one block and the columns of
    another, with vectors that go to each worker once; this process adds up what it returns, two
    vectors as long as a block for each of the k, in the order of the tasks.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((300, 5))
    >>> net = fastntk.MLP([5, 64, 64, 1])
    >>> K = fastntk.distributed.ntk_operator(net, X, chunks=100)
    >>> v = np.ones(300)
    >>> bool(np.array_equal(K @ v, net.ntk_operator(X, block_rows=100) @ v))
    True
    """
    require_some_network(net)
    working = current_client() if client is None else checked_client(client)
    with nullcontext() if working is None else working.as_current():
        if isinstance(net, LimitMethods):
            require_usual(outputs=outputs, layer_weights=layer_weights)
            return infinite_operator(
                net, X, working, chunks=chunks, dtype=dtype, normalize=normalize
            )
        require_not_normalized(normalize)
        chosen = net.network.chosen_outputs(outputs, ("trace", "full"))
        tiles = finite_tiles(
            net,
            X,
            None,
            chunks=chunks,
            outputs=outputs,
            layer_weights=layer_weights,
            dtype=dtype,
        )
        # Weights may be changed later, X must not be: of these there may be more than memory.
        network = deepcopy(net.network.weighted(layer_weights))
        kernel = _Kernel(network, chosen, tiles.kernel.dtype)
        # Before any work, as a network may have none: it travels with the kernel.
        _ = kernel.digest
        blocks = blocks_of(kernel, tiles.X, working)
        products = _SpreadProducts(kernel, tiles.X, blocks, all_pairs=outputs == "full")
    return KernelOperator(products)


@dataclass(frozen=True)
class _Kernel:
    """What all blocks share; it can be pickled."""

    network: AnyNetwork
    outputs: range
    dtype: FloatDType

    @cached_property
    def placed(self) -> PlacedNetwork:
        return PlacedNetwork(self.network, PROCESSOR)

    @cached_property
    def digest(self) -> str:
        described = f"{finite_identity(self.network)} {self.outputs} {self.dtype.name} products"
        return sha256(described)

    def rows(self, key: str, samples: Any) -> KernelRows:
        """Return the rows of a block of samples, from before if they are kept."""
        found: KernelRows = KEPT.get(
            (self.digest, key),
            self.placed.feature_bytes(len(samples), len(self.outputs), self.dtype),
            lambda: KernelRows(
                self.placed, np.ascontiguousarray(samples), self.outputs, self.dtype
            ),
        )
        return found


class _SpreadProducts(KernelProducts):
    """The products of a kernel, from blocks of samples wherever they are."""

    place = PROCESSOR

    def __init__(
        self, kernel: _Kernel, samples: BlocksOfSamples, blocks: BlocksHere, *, all_pairs: bool
    ) -> None:
        super().__init__(len(samples), kernel.outputs, kernel.dtype, all_pairs=all_pairs)
        self._slices, self._blocks = samples.slices, blocks
        self._largest = size_of(samples.largest)

    def transposed(self, output: int, vectors: Any) -> Any:
        """Return what stands for Fᵀ u (k, P), a sum over the blocks."""
        given = (
            (block, (output, np.ascontiguousarray(vectors[:, rows])))
            for block, rows in enumerate(self._slices)
        )
        return tree_sum(self._blocks.each(_transposed, given), self.add)

    def products(self, output: int, parameters: Any) -> Any:
        """Return F diag(ω) v (k, n)."""
        return np.concatenate(self._of_all(_products, output, parameters), axis=1)

    def add(self, one: Any, other: Any) -> Any:
        """Return what stands for a sum."""
        return self._blocks.add(one, other)

    def look_at(self, rows: Any, vectors: Any) -> None:
        """Raise OverflowError if products left the range of their numbers."""
        if not all_finite(rows) and all_finite(vectors):
            found, expected = "the result is not finite in", "smaller"
        elif products_are_lost(rows.T, vectors, self.diagonal):
            found, expected = "the largest element of the result is too small for", "larger"
        else:
            return
        raise OverflowError(
            f"X with elements of at most {self._largest:.3g} and vectors with elements of at most "
            f"{size_of(vectors):.3g}: {found} {self.dtype}: expected {expected} vectors"
        )

    def diagonal(self) -> FloatArray:
        """Return the diagonal (rows,)."""
        return np.concatenate(self._of_all(_diagonal, self.all_pairs))

    def with_samples(self, places: Any) -> FloatArray:
        """Return the kernel with some of the samples."""
        there = [
            (block, (places[(places >= rows.start) & (places < rows.stop)] - rows.start,))
            for block, rows in enumerate(self._slices)
        ]
        wanted = [(block, given) for block, given in there if len(given[0])]
        others = np.concatenate([*self._blocks.results(self._blocks.each(take, wanted))])
        return np.concatenate(self._of_all(_columns, others, self.all_pairs))

    def _of_all(self, function: Callable[..., Any], *given: Any) -> list[Any]:
        blocks = ((block, given) for block in range(len(self._slices)))
        return [*self._blocks.results(self._blocks.each(function, blocks))]


# Tasks of Dask: the first three arguments are the kernel, and a block's digest and samples.


def _transposed(kernel: _Kernel, key: str, X: Any, output: int, vectors: Any) -> Any:
    with share_of_threads():
        return kernel.rows(key, X).transposed(output, vectors)


def _products(kernel: _Kernel, key: str, X: Any, output: int, parameters: Any) -> Any:
    with share_of_threads():
        return kernel.rows(key, X).products(output, parameters)


def _diagonal(kernel: _Kernel, key: str, X: Any, all_pairs: bool) -> Any:
    with share_of_threads():
        if all_pairs:
            samples = np.ascontiguousarray(X)
            return pair_diagonal(kernel.placed, samples, kernel.outputs, kernel.dtype).reshape(-1)
        return kernel.rows(key, X).diagonal()


def _columns(kernel: _Kernel, key: str, X: Any, others: Any, all_pairs: bool) -> Any:
    with share_of_threads():
        if all_pairs:
            samples = np.ascontiguousarray(X)
            return pair_columns(kernel.placed, samples, kernel.outputs, kernel.dtype, others)
        return kernel.rows(key, X).columns(others)
