# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Jacobians of a finite network, explicit or as products, and the kernel as a linear operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.sparse.linalg import LinearOperator

from fastntk._support.progress import monitored
from fastntk.devices.places import place_of
from fastntk.kernels.features import Features
from fastntk.networks.base import NetworkBase
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.devices.place import Place


class JacobianMethods(NetworkBase):
    """Derivatives of the outputs with respect to parameters and inputs."""

    def gradient_features(
        self,
        X: npt.ArrayLike,
        output: int = 0,
        *,
        device: str | None = None,
        progress: Progress = False,
    ) -> FloatArray:
        """Return the gradient of one output with respect to all parameters, for each sample.

        Meant for small networks: the result has n · P entries. Kernels do not need it.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        output : int
            Which of the C outputs.
        device : str, optional
            Where to compute, as in `MLP.ntk`.
        progress : bool or callable
            Show a bar, or call ``progress(stage, done, total)`` about ten times a second.

        Returns
        -------
        ndarray (n, P)
            In the order W^1 row-major, b^1, W^2, b^2, …; the biases only where there are any.

        Raises
        ------
        MemoryError
            If the result does not fit in the memory that is available.
        """
        return self._gradients(X, self.network.chosen_outputs(output, ()), device, progress)[:, 0]

    def jacobian(
        self, X: npt.ArrayLike, *, device: str | None = None, progress: Progress = False
    ) -> FloatArray:
        """Return the gradients of all outputs with respect to all parameters.

        Parameters
        ----------
        X, device, progress
            As in `gradient_features`.

        Returns
        -------
        ndarray (n, C, P)

        Raises
        ------
        MemoryError
            If the result does not fit in the memory that is available.
        """
        return self._gradients(X, range(self.n_outputs), device, progress)

    def _gradients(
        self, X: npt.ArrayLike, outputs: range, device: str | None, progress: Progress
    ) -> FloatArray:
        place = place_of(device, {"X": X})
        samples = self.network.samples(X, "X", place)
        shape = (len(outputs), len(samples), self.n_parameters)
        place.require_memory(
            int(np.prod(shape)) * self.dtype.itemsize,
            f"the {shape[0] * shape[1]} × {self.n_parameters} matrix of gradient features",
            "take fewer samples, or ask for the kernel (ntk) or for products (jvp, vjp, "
            "ntk_operator), which do not form it",
        )
        out: FloatArray = place.empty(shape, self.dtype)
        handle = self.network.handle(place)
        with monitored(progress, "gradient features") as monitor:

            def fill(matrices: list[Any], where: Any) -> None:
                for features, output in zip(matrices, outputs, strict=True):
                    place.core.gradient_features(handle, output, samples, features, where, monitor)

            place.fill(list(out), fill)
        return out.transpose(1, 0, 2)

    def input_jacobian(self, X: npt.ArrayLike, *, device: str | None = None) -> FloatArray:
        """Return the derivatives of the outputs with respect to the inputs.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        device : str, optional
            Where to compute, as in `MLP.ntk`.

        Returns
        -------
        ndarray (n, C, d)
        """
        place = place_of(device, {"X": X})
        samples = self.network.samples(X, "X", place)
        shape = (self.n_outputs, *samples.shape)
        place.require_memory(
            int(np.prod(shape)) * self.dtype.itemsize, "the input Jacobian", "take fewer samples"
        )
        out: FloatArray = place.empty(shape, self.dtype)
        handle = self.network.handle(place)
        place.fill(
            list(out),
            lambda outs, where: place.core.input_jacobians(handle, samples, outs, where, None),
        )
        return out.transpose(1, 0, 2)

    def jvp(self, X: npt.ArrayLike, v: npt.ArrayLike, *, device: str | None = None) -> FloatArray:
        """Return F v: the change of the outputs along a direction in parameter space.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        v : array_like (P,) or (P, k)
            One direction, or k of them, in the order of `gradient_features`.
        device : str, optional
            Where to compute, as in `MLP.ntk`.

        Returns
        -------
        ndarray (n, C) or (n, C, k)

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> net, X = fastntk.MLP([3, 16, 2]), np.eye(3)
        >>> v = np.ones(net.n_parameters)
        >>> bool(np.allclose(net.jvp(X, v), net.jacobian(X) @ v))
        True
        """
        place = place_of(device, {"X": X, "v": v})
        features = self._features(X, place)
        directions, single = self.network.directions(v, place)
        products = [features.products(c, directions) for c in range(self.n_outputs)]
        result: FloatArray = place.xp.stack(products).transpose(2, 0, 1)  # from (C, k, n)
        return result[:, :, 0] if single else result

    def vjp(self, X: npt.ArrayLike, u: npt.ArrayLike, *, device: str | None = None) -> FloatArray:
        """Return Fᵀ u: the gradient of Σ u · f(X) with respect to the parameters.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        u : array_like (n, C) or (n, C, k)
            Weights of the outputs, or k of them; (n,) where C = 1.
        device : str, optional
            Where to compute, as in `MLP.ntk`.

        Returns
        -------
        ndarray (P,) or (P, k)
            In the order of `gradient_features`.

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> net, X = fastntk.MLP([3, 16, 1]), np.eye(3)
        >>> u = np.ones(3)
        >>> bool(np.allclose(net.vjp(X, u), net.gradient_features(X).T @ u))
        True
        """
        place = place_of(device, {"X": X, "u": u})
        features = self._features(X, place)
        n, outputs = len(features), self.n_outputs
        weights = place.array(u, "u")
        if outputs == 1 and weights.ndim == 1:
            weights = weights[:, np.newaxis]
        if weights.ndim not in {2, 3} or weights.shape[:2] != (n, outputs):
            raise ValueError(f"u has shape {weights.shape}: expected ({n}, {outputs}[, k])")
        single = weights.ndim == 2
        flat = place.matrix(weights.reshape(n * outputs, -1), "u", self.dtype)
        cotangents = flat.reshape(n, outputs, -1)
        result: Any = 0.0
        for c in range(outputs):
            result = result + features.transposed_products(
                c, place.xp.ascontiguousarray(cotangents[:, c].T)
            )
        product: FloatArray = result[0] if single else result.T
        return product

    def ntk_operator(
        self,
        X: npt.ArrayLike,
        *,
        outputs: Literal["trace", "full"] | int = "trace",
        layer_weights: npt.ArrayLike | None = None,
        dtype: npt.DTypeLike | None = None,
        device: str | None = None,
    ) -> LinearOperator:
        """Return the tangent kernel as an operator, which multiplies without being formed.

        A product costs 4 n P operations; memory is that of the features and of one vector of P
        parameters (k of them for a product with k vectors at once).

        Parameters
        ----------
        X, outputs, layer_weights, dtype, device
            As in `ntk`.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator (n, n), or (n C, n C) for "full"
            (Of samples that lie on a GPU a `DeviceOperator`, which multiplies arrays of CuPy.)
            Symmetric; for ``scipy.sparse.linalg.eigsh``, ``cg``, ``lobpcg``, …. The rows of "full"
            are sample-major: of all outputs of the first sample, then of the next.

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> net, X = fastntk.MLP([3, 64, 1]), np.eye(3)
        >>> bool(np.allclose(net.ntk_operator(X) @ np.ones(3), net.ntk(X) @ np.ones(3)))
        True
        """
        place = place_of(device, {"X": X})
        samples = self.network.samples(X, "X", place)
        network = self.network.weighted(layer_weights)
        chosen, precision = (
            self.network.chosen_outputs(outputs, ("trace", "full")),
            self.network.precision(dtype),
        )
        features = Features(PlacedNetwork(network, place), samples, chosen, precision)
        products = _KernelProducts(features, "full" if outputs == "full" else "trace")
        # That of CuPy multiplies alike; SciPy's own would convert its operands to NumPy.
        operator: Any = _NTKOperator(products) if place.xp is np else DeviceOperator(products)
        return operator  # type: ignore[no-any-return]

    def _features(self, X: npt.ArrayLike, place: Place) -> Features:
        samples = self.network.samples(X, "X", place)
        outputs = range(self.n_outputs)
        return Features(PlacedNetwork(self.network, place), samples, outputs, self.dtype)


class _KernelProducts:
    """K v = F diag(ω) Fᵀ v, with a row of F for each sample.

    "trace": added up over the outputs; "full": with a row of F for each sample and output.
    """

    def __init__(self, features: Features, outputs: str) -> None:
        self._features = features
        self.place = features.place
        self._full = outputs == "full"
        self.dtype = features.dtype
        self.rows = len(features) * (len(features.outputs) if self._full else 1)

    def __call__(self, V: Any) -> Any:
        """Return K V for a matrix of columns."""
        return (self._full_products(V) if self._full else self._products(V)).T

    def _products(self, V: Any) -> Any:
        vectors = self._rows(V.T)
        result: Any = 0.0
        for c in range(len(self._features.outputs)):
            parameters = self._features.transposed_products(c, vectors)
            result = result + self._features.products(c, parameters, weighted=True)
        return result

    def _full_products(self, V: Any) -> Any:
        outputs = range(len(self._features.outputs))
        count = V.shape[1]
        vectors = V.T.reshape(count, len(self._features), len(outputs))
        parameters: Any = 0.0
        for c in outputs:
            cotangents = self._rows(vectors[:, :, c])
            parameters = parameters + self._features.transposed_products(c, cotangents)
        products = [self._features.products(c, parameters, weighted=True) for c in outputs]
        return self.place.xp.stack(products, axis=-1).reshape(count, -1)

    def _rows(self, vectors: Any) -> Any:
        return self.place.xp.ascontiguousarray(vectors, dtype=self.dtype)


class _NTKOperator(LinearOperator):
    """The products for arrays of NumPy, wherever they are computed."""

    def __init__(self, products: _KernelProducts) -> None:
        self._products = products
        # SciPy's stubs do not show the constructor to subclasses.
        super().__init__(products.dtype, (products.rows, products.rows))  # type: ignore[call-arg]

    def _matmat(self, X: npt.NDArray[Any]) -> FloatArray:
        return np.asarray(self._products(X))

    def _matvec(self, x: npt.NDArray[Any]) -> FloatArray:
        return self._matmat(x.reshape(-1, 1))[:, 0]

    def _adjoint(self) -> LinearOperator:
        return self


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

    def matmat(self, V: Any) -> Any:
        """Return K V for an array of CuPy (n, k)."""
        place = self._products.place
        array = place.array(V, "V")
        if array.ndim != 2 or len(array) != self.shape[0]:
            raise ValueError(f"V has shape {array.shape}: expected ({self.shape[0]}, k)")
        return self._products(array)

    def matvec(self, v: Any) -> Any:
        """Return K v for an array of CuPy (n,) or (n, 1)."""
        array = self._products.place.array(v, "v")
        return self.matmat(array.reshape(-1, 1)).reshape(array.shape)

    rmatvec = matvec
    rmatmat = matmat

    def __matmul__(self, V: Any) -> Any:
        array = self._products.place.array(V, "V")
        return self.matvec(array) if array.ndim == 1 else self.matmat(array)
