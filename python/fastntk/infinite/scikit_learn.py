# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of infinite width for scikit-learn."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.gaussian_process.kernels import Kernel

from fastntk._support import arguments
from fastntk.devices import matrices
from fastntk.infinite.kernel_matrices import kernel_diagonal, kernel_matrix
from fastntk.infinite.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastntk.activations import Activation

    Array = NDArray[np.float64]

# Parameters that are given by name only are not shown where they are at their default.
_NOT_SHOWN = {each.name: repr(each.default) for each in fields(Network) if each.kw_only}


class NeuralKernel(Kernel):  # type: ignore[misc]
    """A kernel of a network of infinite width, as scikit-learn wants it.

    For `GaussianProcessRegressor`, and as the callable ``kernel`` of `KernelRidge` and `SVC`. Its
    parameters are fixed: what the likelihood is maximized over are those of kernels that it is
    combined with, ``ConstantKernel() * NeuralKernel() + WhiteKernel()``.

    Parameters
    ----------
    kind : {"nngp", "ntk"}
        The covariance of the outputs, the prior of a Bayesian network; or the tangent kernel.
    depth : int, optional
        Number of hidden layers, as for `fastntk.infinite.Network`.
    activation, weight_std, bias_std, activation_scale
        As for `fastntk.infinite.Network`.
    parametrization, width, layer_weights, tolerance
        As for `fastntk.infinite.Network`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.infinite import NeuralKernel
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> X = np.random.default_rng(0).standard_normal((30, 3))
    >>> model = GaussianProcessRegressor(NeuralKernel(depth=2), alpha=1e-6).fit(X, X[:, 0])
    >>> bool(np.allclose(model.predict(X), X[:, 0], atol=1e-3))
    True
    """

    def __init__(
        self,
        kind: str = "nngp",
        depth: int | None = None,
        activation: str | Activation | Sequence[str | Activation] = "relu",
        weight_std: float | Sequence[float] = 1.0,
        bias_std: float | Sequence[float] = 0.0,
        *,
        activation_scale: float | Sequence[float | None] | None = None,
        parametrization: str = "ntk",
        width: int | None = None,
        layer_weights: ArrayLike | None = None,
        tolerance: float = 1e-10,
    ) -> None:
        # scikit-learn wants parameters to be stored as they were given, and checked when used.
        self.kind = kind
        self.depth = depth
        self.activation = activation
        self.weight_std = weight_std
        self.bias_std = bias_std
        self.activation_scale = activation_scale
        self.parametrization = parametrization
        self.width = width
        self.layer_weights = layer_weights
        self.tolerance = tolerance

    def __repr__(self) -> str:
        """Return the call that makes this kernel, without what is as it is by default."""
        shown = [
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if repr(value) != _NOT_SHOWN.get(name)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def _network(self) -> Network:
        parameters = self.get_params()
        del parameters["kind"]
        network = Network(**parameters)
        network.require_one_depth()
        return network

    def _checked_kind(self) -> str:
        return arguments.choice(self.kind, "kind", ("nngp", "ntk"))

    def __call__(
        self,
        X: ArrayLike,
        Y: ArrayLike | None = None,  # noqa: N803  (scikit-learn's name)
        eval_gradient: bool = False,
    ) -> Any:
        """Return the kernel of X with Y; with `eval_gradient`, also an empty gradient.

        Parameters
        ----------
        X, Y : array_like (n, d), (m, d)
            Samples, one a row.
        eval_gradient : bool
            Whether to return the derivative by the hyperparameters, of which there are none.

        Returns
        -------
        ndarray (n, m), and ndarray (n, n, 0)
        """
        kind = self._checked_kind()
        if Y is not None:
            rows = matrices.samples(X, "X")
            Y = matrices.samples(  # noqa: N806
                Y, "Y", columns=rows.shape[1], why="as many as X has"
            )
        try:
            kernel = np.asarray(kernel_matrix(self._network(), kind, X, Y), dtype=np.float64)
        except OverflowError as error:
            raise OverflowError(f"X or Y: {error}") from None
        if not arguments.flag(eval_gradient, "eval_gradient"):
            return kernel
        if Y is not None:
            raise ValueError("eval_gradient=True: expected Y=None")
        return kernel, np.empty((*kernel.shape, 0))

    def diag(self, X: ArrayLike) -> Array:
        """Return the diagonal of the kernel of X.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.

        Returns
        -------
        ndarray (n,)
        """
        return kernel_diagonal(self._network(), self._checked_kind(), X)

    def is_stationary(self) -> bool:
        """Return False: the kernel depends on more than the difference of two samples."""
        return False
