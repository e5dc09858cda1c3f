# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The linear model around a network's weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._typing import FloatArray
    from fastntk.mlp import MLP


class LinearizedMLP:
    """f₀(x) + F(x) Δw: the network to first order in the change of its parameters.

    A wide network follows it during training: its kernel is that of the network at its present
    weights, for any Δw.

    Parameters
    ----------
    net : MLP
        The network around whose weights the model is linear.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> net = fastntk.MLP([3, 32, 1])
    >>> model = net.linearize()
    >>> change = np.full(model.n_parameters, 1e-6)
    >>> bool(np.allclose(model(np.eye(3), 0 * change), net(np.eye(3))))
    True
    """

    def __init__(self, net: MLP) -> None:
        self.net = net

    @property
    def n_parameters(self) -> int:
        """P, the length of Δw."""
        return self.net.n_parameters

    def __call__(self, X: npt.ArrayLike, change: npt.ArrayLike) -> FloatArray:
        """Return f₀(X) + F(X) Δw.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        change : array_like (P,)
            Δw, in the order of `MLP.gradient_features`.

        Returns
        -------
        ndarray (n, C)
        """
        return self.net(X) + self.net.jvp(X, change)
