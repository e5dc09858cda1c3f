# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The tangent kernel as a linear operator, K = F diag(ω) Fᵀ, which multiplies unformed."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.kernels.features import Features
from fastntk.linearity.operators import operator_of
from fastntk.linearity.ranges import require_kernel_products
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.devices.place import Place
    from fastntk.networks.network import Network


def kernel_operator(
    network: PlacedNetwork, X: Any, outputs: range, dtype: FloatDType, *, all_pairs: bool
) -> LinearOperator:
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

    Returns
    -------
    LinearOperator or DeviceOperator
        The latter for features on a GPU that come from arrays of CuPy, which SciPy's operator would
        convert to NumPy.
    """
    return operator_of(_KernelProducts(network, X, outputs, dtype, all_pairs=all_pairs))


class _KernelProducts:
    """The products K v = F diag(ω) Fᵀ v."""

    def __init__(
        self, network: PlacedNetwork, X: Any, outputs: range, dtype: FloatDType, *, all_pairs: bool
    ) -> None:
        self._network, self._samples = network, X
        self._features = features = Features(network, X, outputs, dtype, for_products=True)
        self._all_pairs = all_pairs
        self.place = network.place
        self.dtype = dtype
        self.rows = len(features) * (len(outputs) if all_pairs else 1)

    def __copy__(self) -> _KernelProducts:
        return self  # which nothing changes

    def __deepcopy__(self, memo: dict[int, Any]) -> _KernelProducts:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """Return what the features are computed from, which is much less than they are.

        Raises
        ------
        pickle.PicklingError
            If that has been changed since, so that the kernel would be another one.
        """
        place, network = self.place, self._network.network
        outputs = self._features.outputs
        made = (network, place.on_host(self._samples), place, outputs, self.dtype, self._all_pairs)
        probe = np.random.Generator(np.random.Philox(0)).standard_normal((self.rows, 1))
        V = place.xp.asarray(probe, dtype=self.dtype)
        if not place.xp.array_equal(self(V), _restored_products(*made)(V)):
            raise pickle.PicklingError(
                "the weights of the network, or the samples, have been changed since this operator "
                "was made: make it anew"
            )
        return _restored_products, made

    def __call__(self, V: Any) -> Any:
        """Return K V for a matrix of columns."""
        with np.errstate(over="ignore", invalid="ignore"):
            rows = self._pairs_of_outputs(V) if self._all_pairs else self._sum_of_outputs(V)
        outputs = self._features.outputs
        require_kernel_products(self._network, self._samples, outputs, rows, V)
        return rows.T

    def _sum_of_outputs(self, V: Any) -> Any:
        vectors = self._contiguous(V.T)
        result: Any = 0.0
        for c in range(len(self._features.outputs)):
            parameters = self._features.transposed_products(c, vectors)
            result = result + self._features.products(c, parameters, weighted=True)
        return result

    def _pairs_of_outputs(self, V: Any) -> Any:
        outputs = range(len(self._features.outputs))
        count = V.shape[1]
        vectors = V.T.reshape(count, len(self._features), len(outputs))
        parameters: Any = 0.0
        for c in outputs:
            cotangents = self._contiguous(vectors[:, :, c])
            parameters = parameters + self._features.transposed_products(c, cotangents)
        products = [self._features.products(c, parameters, weighted=True) for c in outputs]
        return self.place.xp.stack(products, axis=-1).reshape(count, -1)

    def _contiguous(self, vectors: Any) -> Any:
        return self.place.xp.ascontiguousarray(vectors, dtype=self.dtype)


def _restored_products(
    network: Network,
    X: FloatArray,
    place: Place,
    outputs: range,
    dtype: FloatDType,
    all_pairs: bool,
) -> _KernelProducts:
    there = place.empty(X.shape, X.dtype)
    there[...] = place.xp.asarray(X)
    samples = network.samples(there, "X", place)
    return _KernelProducts(
        PlacedNetwork(network, place), samples, outputs, dtype, all_pairs=all_pairs
    )
