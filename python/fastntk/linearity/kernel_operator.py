# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The tangent kernel as a linear operator, K = F diag(ω) Fᵀ, which multiplies unformed."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse.linalg import LinearOperator

from fastntk.devices import matrices
from fastntk.kernels.features import Features
from fastntk.kernels.ranges import require_kernel_products
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    import numpy.typing as npt

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
    products = _KernelProducts(network, X, outputs, dtype, all_pairs=all_pairs)
    if network.place.xp is np:
        return _HostOperator(products)
    operator: Any = DeviceOperator(products)
    return operator  # type: ignore[no-any-return]


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


class _HostOperator(LinearOperator):
    """The products for arrays of NumPy, wherever they are computed.

    Vectors may be complex; what else NumPy would convert to numbers by dropping something, as masks
    and units of time, is refused before SciPy's operator converts it.
    """

    def __init__(self, products: _KernelProducts) -> None:
        self._products = products
        # SciPy's stubs do not show the constructor to subclasses.
        super().__init__(products.dtype, (products.rows, products.rows))  # type: ignore[call-arg]

    def __reduce__(self) -> tuple[Any, ...]:
        return _HostOperator, (self._products,)

    def dot(self, x: Any) -> Any:
        """Return K x for an array, or the product with a number or an operator."""
        return super().dot(_operand(x, "x"))

    def matvec(self, x: Any) -> Any:
        """Return K x for a vector (n,) or (n, 1)."""
        return super().matvec(_operand(x, "x"))

    def matmat(self, X: Any) -> Any:
        """Return K X for a matrix (n, k)."""
        return super().matmat(_operand(X, "X"))

    rmatvec = matvec
    rmatmat = matmat

    def __rmul__(self, x: Any) -> Any:
        return super().__rmul__(_operand(x, "x"))

    def _matmat(self, X: npt.NDArray[Any]) -> FloatArray:
        return np.asarray(matrices.of_parts(self._products, X))

    def _matvec(self, x: npt.NDArray[Any]) -> FloatArray:
        return self._matmat(x.reshape(-1, 1))[:, 0]

    def _adjoint(self) -> LinearOperator:
        return self

    def _transpose(self) -> LinearOperator:
        return self


def _operand(x: Any, name: str) -> Any:
    """Return an array of numbers; numbers and operators, which SciPy composes, as they are."""
    if isinstance(x, LinearOperator) or np.isscalar(x):
        return x
    array = matrices.operand(x, name)
    return array.view(np.matrix) if isinstance(x, np.matrix) else array


class DeviceOperator:
    """A symmetric kernel that multiplies arrays of CuPy without being formed.

    ``cupyx.scipy.sparse.linalg.aslinearoperator`` takes it, and what takes linear operators there.

    Attributes
    ----------
    shape : (int, int)
    dtype : dtype
    """

    def __init__(self, products: _KernelProducts) -> None:
        self._products = products
        self.shape = (products.rows, products.rows)
        self.dtype = products.dtype

    def __reduce__(self) -> tuple[Any, ...]:
        return DeviceOperator, (self._products,)

    def matmat(self, V: Any) -> Any:
        """Return K V for an array of CuPy (n, k)."""
        place = self._products.place
        array = place.array(V, "V")
        if array.ndim != 2 or len(array) != self.shape[0]:
            raise ValueError(f"V has shape {array.shape}: expected ({self.shape[0]}, k)")
        matrices.require_numbers(array, "V")
        return matrices.of_parts(self._products, array, place.xp)

    def matvec(self, v: Any) -> Any:
        """Return K v for an array of CuPy (n,) or (n, 1)."""
        array = self._products.place.array(v, "v")
        return self.matmat(array.reshape(-1, 1)).reshape(array.shape)

    rmatvec = matvec
    rmatmat = matmat

    def __matmul__(self, V: Any) -> Any:
        array = self._products.place.array(V, "V")
        return self.matvec(array) if array.ndim == 1 else self.matmat(array)
