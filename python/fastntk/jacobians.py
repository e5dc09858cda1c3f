# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Jacobians of a finite network, explicit or as products, and the kernel as a linear operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from scipy.sparse.linalg import LinearOperator

from fastntk import _core, _network, _progress, _validation
from fastntk._memory import require_memory
from fastntk._network_base import NetworkBase
from fastntk._threads import core_threads

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._progress import Progress
    from fastntk._typing import FloatArray


class JacobianMethods(NetworkBase):
    """Derivatives of the outputs with respect to parameters and inputs."""

    def gradient_features(
        self, X: npt.ArrayLike, output: int = 0, *, progress: Progress = False
    ) -> FloatArray:
        """Return the gradient of one output with respect to all parameters, for each sample.

        Meant for small networks: the result has n · P entries. Kernels do not need it.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        output : int
            Which of the C outputs.
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
        return self._gradients(self._samples(X, "X"), self._outputs(output, ()), progress)[:, 0]

    def jacobian(self, X: npt.ArrayLike, *, progress: Progress = False) -> FloatArray:
        """Return the gradients of all outputs with respect to all parameters.

        Parameters
        ----------
        X, progress
            As in `gradient_features`.

        Returns
        -------
        ndarray (n, C, P)

        Raises
        ------
        MemoryError
            If the result does not fit in the memory that is available.
        """
        return self._gradients(self._samples(X, "X"), range(self.n_outputs), progress)

    def _gradients(self, X: FloatArray, outputs: range, progress: Progress) -> FloatArray:
        shape = (len(outputs), len(X), self.n_parameters)
        require_memory(
            int(np.prod(shape)) * self.dtype.itemsize,
            f"the {len(X) * len(outputs)} × {self.n_parameters} matrix of gradient features",
            "take fewer samples, or ask for the kernel (ntk) or for products (jvp, vjp, "
            "ntk_operator), which do not form it",
        )
        out: FloatArray = np.empty(shape, dtype=self.dtype)
        with (
            core_threads() as threads,
            _progress.monitor(progress, "gradient features") as monitor,
        ):
            handle = self._network.handle()
            for features, output in zip(out, outputs, strict=True):
                _core.gradient_features(handle, output, X, features, threads, monitor)
        return out.transpose(1, 0, 2)

    def input_jacobian(self, X: npt.ArrayLike) -> FloatArray:
        """Return the derivatives of the outputs with respect to the inputs.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.

        Returns
        -------
        ndarray (n, C, d)
        """
        samples = self._samples(X, "X")
        require_memory(self.n_outputs * samples.nbytes, "the input Jacobian", "take fewer samples")
        out: FloatArray = np.empty((self.n_outputs, *samples.shape), dtype=self.dtype)
        with core_threads() as threads:
            _core.input_jacobians(self._network.handle(), samples, list(out), threads, None)
        return out.transpose(1, 0, 2)

    def jvp(self, X: npt.ArrayLike, v: npt.ArrayLike) -> FloatArray:
        """Return F v: the change of the outputs along a direction in parameter space.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        v : array_like (P,) or (P, k)
            One direction, or k of them, in the order of `gradient_features`.

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
        features = self._features(X)
        directions = self._vectors(v, "v", self.n_parameters, "parameter")
        products = [features.products(c, directions) for c in range(self.n_outputs)]
        result = np.stack(products).transpose(2, 0, 1)  # from (C, k, n)
        return result if np.ndim(v) == 2 else result[:, :, 0]

    def vjp(self, X: npt.ArrayLike, u: npt.ArrayLike) -> FloatArray:
        """Return Fᵀ u: the gradient of Σ u · f(X) with respect to the parameters.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        u : array_like (n, C) or (n, C, k)
            Weights of the outputs, or k of them; (n,) where C = 1.

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
        features = self._features(X)
        n, outputs = len(features), self.n_outputs
        weights = _validation.host_array(u, "u")
        if outputs == 1 and weights.ndim == 1:
            weights = weights[:, np.newaxis]
        if weights.ndim not in {2, 3} or weights.shape[:2] != (n, outputs):
            raise ValueError(f"u has shape {np.shape(u)}: expected ({n}, {outputs}[, k])")
        single = weights.ndim == 2
        flat = _validation.matrix(weights.reshape(n * outputs, -1), "u", self.dtype)
        cotangents = flat.reshape(n, outputs, -1)
        result: Any = 0.0
        for c in range(outputs):
            result = result + features.transposed_products(
                c, np.ascontiguousarray(cotangents[:, c].T)
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
    ) -> LinearOperator:
        """Return the tangent kernel as an operator, which multiplies without being formed.

        A product costs 4 n P operations; memory is that of the features and of one vector of P
        parameters (k of them for a product with k vectors at once).

        Parameters
        ----------
        X, outputs, layer_weights, dtype
            As in `ntk`.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator (n, n), or (n C, n C) for "full"
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
        samples = self._samples(X, "X")
        network = self._weighted(layer_weights)
        chosen, precision = self._outputs(outputs, ("trace", "full")), self._precision(dtype)
        features = _network.Features(network, samples, chosen, precision)
        return _FullNTKOperator(features) if outputs == "full" else _NTKOperator(features)

    def _features(self, X: npt.ArrayLike) -> _network.Features:
        return _network.Features(
            self._network, self._samples(X, "X"), range(self.n_outputs), self.dtype
        )

    def _vectors(self, values: npt.ArrayLike, name: str, length: int, each: str) -> FloatArray:
        """Return one vector, or the columns of a matrix, as rows."""
        array = _validation.host_array(values, name)
        if array.ndim not in {1, 2} or len(array) != length:
            raise ValueError(
                f"{name} has shape {array.shape}: expected ({length},) or ({length}, k), one entry "
                f"for each {each}"
            )
        columns = array[:, np.newaxis] if array.ndim == 1 else array
        return _validation.matrix(columns.T, name, self.dtype)


class _NTKOperator(LinearOperator):
    """K v = F diag(ω) Fᵀ v, added up over the outputs."""

    def __init__(self, features: _network.Features, rows: int | None = None) -> None:
        self._features = features
        count = len(features) if rows is None else rows
        # SciPy's stubs do not show the constructor to subclasses.
        super().__init__(features.dtype, (count, count))  # type: ignore[call-arg]

    def _matmat(self, X: npt.NDArray[Any]) -> FloatArray:
        vectors = np.ascontiguousarray(X.T, dtype=self.dtype)
        result: Any = 0.0
        for c in range(len(self._features.outputs)):
            parameters = self._features.transposed_products(c, vectors)
            result = result + self._features.products(c, parameters, weighted=True)
        return np.asarray(result.T)

    def _matvec(self, x: npt.NDArray[Any]) -> FloatArray:
        return self._matmat(x.reshape(-1, 1))[:, 0]

    def _adjoint(self) -> LinearOperator:
        return self


class _FullNTKOperator(_NTKOperator):
    """K u = F diag(ω) Fᵀ u, with a row of F for each sample and output."""

    def __init__(self, features: _network.Features) -> None:
        super().__init__(features, len(features) * len(features.outputs))

    def _matmat(self, X: npt.NDArray[Any]) -> FloatArray:
        outputs = range(len(self._features.outputs))
        vectors = X.T.reshape(X.shape[1], len(self._features), len(outputs))
        parameters: Any = 0.0
        for c in outputs:
            cotangents = np.ascontiguousarray(vectors[:, :, c], dtype=self.dtype)
            parameters = parameters + self._features.transposed_products(c, cotangents)
        products = [self._features.products(c, parameters, weighted=True) for c in outputs]
        return np.asarray(np.stack(products, axis=-1).reshape(X.shape[1], -1).T)
