# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of infinite width for scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.gaussian_process.kernels import Kernel

from fastntk._support import arguments
from fastntk.infinite.kernels import diagonal, nngp, ntk

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastntk.activations import Activation

    Array = NDArray[np.float64]


class NeuralKernel(Kernel):  # type: ignore[misc]
    """A kernel of a network of infinite width, as scikit-learn wants it.

    For `GaussianProcessRegressor`, and as the callable ``kernel`` of `KernelRidge` and `SVC`. Its
    parameters are fixed: what the likelihood is maximized over are those of kernels that it is
    combined with, ``ConstantKernel() * NeuralKernel() + WhiteKernel()``.

    Parameters
    ----------
    kind : {"nngp", "ntk"}
        The covariance of the outputs, the prior of a Bayesian network; or the tangent kernel.
    depth, activation, weight_std, bias_std
        Of the network, see `fastntk.infinite.ntk`.

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
        depth: int = 3,
        activation: str | Activation = "relu",
        weight_std: float = 1.0,
        bias_std: float = 0.0,
    ) -> None:
        self.kind = kind
        self.depth = depth
        self.activation = activation
        self.weight_std = weight_std
        self.bias_std = bias_std

    def __repr__(self) -> str:
        """Return the call that makes this kernel."""
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_params().items())
        return f"{type(self).__name__}({arguments})"

    @property
    def _network(self) -> tuple[int, str | Activation, float, float]:
        return self.depth, self.activation, self.weight_std, self.bias_std

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
        function = ntk if self._checked_kind() == "ntk" else nngp
        kernel = np.asarray(function(X, Y, *self._network), dtype=np.float64)
        if not eval_gradient:
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
        return diagonal(X, self._checked_kind(), *self._network)

    def is_stationary(self) -> bool:
        """Return False: the kernel depends on more than the difference of two samples."""
        return False
