# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
r"""Hessians with respect to all parameters as linear operators, of outputs and of losses.

The loss of a training, L = (1/n) Σ_i ℓ(f(x_i), y_i), has the Hessian

.. math::

    ∇^2 L = \frac1n \sum_i J_i^T ℓ''_i J_i + \frac1n \sum_i \sum_c ℓ'_{ic} ∇^2 f_c(x_i),

with the Jacobians J_i of the outputs: its Gauss–Newton part [1]_, which is never negative, and one
that vanishes with the errors and with the Hessians of the outputs.

.. [1] N. Schraudolph, "Fast curvature matrix-vector products for second-order gradient descent",
   Neural Computation 14 (2002).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk.devices.places import place_of
from fastntk.kernels.ranges import is_small
from fastntk.linearity.curvature import checked_coefficients, require_second_derivative
from fastntk.linearity.hessians import hessian_products
from fastntk.linearity.jacobians import jacobian_products, transposed_jacobian_products
from fastntk.linearity.operators import operator_of
from fastntk.linearity.ranges import require_products
from fastntk.linearity.vanished import (
    hessian_products_vanished,
    products_vanished,
    transposed_products_vanished,
)
from fastntk.networks.base import require_finite_network
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.targets import LOSSES, require_fitting, targets

if TYPE_CHECKING:
    import numpy.typing as npt
    from scipy.sparse.linalg import LinearOperator

    from fastntk._support.dtypes import FloatDType
    from fastntk.devices.place import Place
    from fastntk.networks.base import FiniteNetworkBase

_PARTS = ("full", "gauss_newton")


def hessian_operator(
    net: FiniteNetworkBase,
    X: npt.ArrayLike,
    *,
    output: int = 0,
    coefficients: npt.ArrayLike | None = None,
    device: str | None = None,
) -> LinearOperator:
    """Return Σ_i u_i ∇²f_c(x_i), by all parameters, as an operator that is never formed.

    With a single sample it is the Hessian of an output there. A product is that of
    `hessian_vector_product`, for several vectors at once, and with the weights that the network has
    when it is computed.

    Parameters
    ----------
    net : MLP or FiniteNetwork
        The network. Its activation is one that the core has; a custom one has no second derivative.
    X : array_like (n, d)
        Samples, one a row.
    output, coefficients
        c and u, as in `hessian_vector_product`.
    device : str, optional
        Where to compute, as in `MLP.ntk`.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator (P, P)
        (Of samples that lie on a GPU a `DeviceOperator`, which multiplies arrays of CuPy.)
        Symmetric, in the precision of the network; vectors are in the order of
        `MLP.gradient_features`.

    Raises
    ------
    ValueError
        If the activation has no second derivative in the core.

    Examples
    --------
    The ends of the spectrum:

    >>> import numpy as np
    >>> import fastntk
    >>> from scipy.sparse.linalg import eigsh
    >>> net, x = fastntk.MLP([3, 50, 1], activation="tanh"), np.ones((1, 3))
    >>> H = fastntk.linearity.hessian_operator(net, x)
    >>> ends = eigsh(H, k=2, which="BE", return_eigenvectors=False)
    >>> norm = fastntk.linearity.hessian_norm(net, x).values[0]
    >>> bool(np.isclose(np.abs(ends).max(), norm))
    True
    """
    require_finite_network(net)
    require_second_derivative(net.network)
    place = place_of(device, {"X": X, "coefficients": coefficients})
    samples = net.network.samples(X, "X", place)
    weights = checked_coefficients(net.network, place, len(samples), output, coefficients)
    placed = PlacedNetwork(net.network, place)
    return operator_of(_OutputHessian(placed, samples, place.from_host(weights)))


def loss_hessian(
    net: FiniteNetworkBase,
    X: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    loss: str = "cross_entropy",
    part: str = "full",
    device: str | None = None,
) -> LinearOperator:
    """Return the Hessian of the loss of a training, by all parameters, as an operator.

    Products are with the weights that the network has when they are computed.

    Parameters
    ----------
    net : MLP or FiniteNetwork
        The network. Its activation is one that the core has, but for the Gauss–Newton part.
    X : array_like (n, d)
        Samples, one a row.
    y : array_like
        Their targets, as in `fastntk.train`.
    loss : {"cross_entropy", "mse"}
        As in `fastntk.train`: means over the samples.
    part : {"full", "gauss_newton"}
        "gauss_newton": (1/n) Σ_i J_iᵀ ℓ'' J_i alone, which is positive semidefinite. For the square
        loss its eigenvalues, but for 0, are those of the kernel of all outputs, over n, if all
        parameters are trained at the same rate: derivatives are by the parameters as they are.
    device : str, optional
        Where to compute, as in `MLP.ntk`.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator (P, P)
        As of `hessian_operator`.

    Raises
    ------
    ValueError
        If the activation has no second derivative in the core, and more than the Gauss–Newton part
        is wanted; or if the loss is none of these outputs, as in `fastntk.train`.

    Notes
    -----
    The Gauss–Newton part takes the time and the memory of `MLP.jvp` and of `MLP.vjp`, which have a
    backward pass for each output; the rest that of `hessian_vector_product`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((20, 3))
    >>> net = fastntk.MLP([3, 30, 1], activation="tanh")
    >>> G = fastntk.linearity.loss_hessian(net, X, X[:, 0], loss="mse", part="gauss_newton")
    >>> largest = fastntk.conditioning(G).eigenvalue_max
    >>> bool(np.isclose(largest, fastntk.conditioning(net.ntk(X)).eigenvalue_max / 20))
    True
    """
    require_finite_network(net)
    network = net.network
    kind = arguments.choice(loss, "loss", LOSSES)
    whole = arguments.choice(part, "part", _PARTS) == "full"
    require_fitting(kind, network)
    if whole:
        require_second_derivative(network)
    place = place_of(device, {"X": X, "y": y})
    samples = network.samples(X, "X", place)
    given = place.host_array(y, "y")
    wanted = targets(given, "y", kind, len(samples), network.n_outputs, network.dtype)
    placed = PlacedNetwork(network, place)
    return operator_of(_LossHessian(placed, samples, place.xp.asarray(wanted), kind, whole))


@dataclass(frozen=True, eq=False)
class _Hessian:
    """A matrix with a row for each parameter of a network, at samples."""

    network: PlacedNetwork
    X: Any

    @property
    def place(self) -> Place:
        return self.network.place

    @property
    def dtype(self) -> FloatDType:
        return self.network.network.dtype

    @property
    def rows(self) -> int:
        return self.network.network.n_parameters

    def along(self, V: Any) -> Any:
        """Return the columns of V as the rows of a matrix that the core takes."""
        return self.place.xp.ascontiguousarray(V.T, dtype=self.dtype)


@dataclass(frozen=True, eq=False)
class _OutputHessian(_Hessian):
    """Σ_i Σ_c u_ic ∇²f_c(x_i), with the coefficients u (n, C)."""

    coefficients: Any

    def __call__(self, V: Any) -> Any:
        products = hessian_products(
            self.network, self.X, self.coefficients, self.along(V), progress=False
        )
        return products.T


@dataclass(frozen=True, eq=False)
class _LossHessian(_Hessian):
    """The Hessian of a loss with the targets y (n, C), or the Gauss–Newton part of it.

    The targets are an array of the library in which the place returns outputs.
    """

    y: Any
    loss: str
    whole: bool

    def __call__(self, V: Any) -> Any:
        xp, directions = self.place.xp, self.along(V)
        f = self.network.evaluate(self.X)
        predicted = f if self.loss == "mse" else _softmax(f, xp)
        # Of a sum each term may be small; the Gauss–Newton part alone may not.
        along = jacobian_products(self.network, self.X, directions, may_vanish=self.whole)
        moved = along  # (n, C, k)
        with np.errstate(over="ignore", invalid="ignore"):  # found out below
            if self.loss == "cross_entropy":  # ℓ'' = diag(p) − p pᵀ
                p = predicted[:, :, np.newaxis]
                moved = p * (moved - (p * moved).sum(axis=1, keepdims=True))
            moved = moved / len(self.X)
        gauss_newton = transposed_jacobian_products(
            self.network, self.X, moved, may_vanish=self.whole
        )
        if not self.whole:
            return gauss_newton.T
        errors = xp.ascontiguousarray((predicted - self.y) / len(self.X), dtype=self.dtype)
        coefficients = self.place.for_core(errors)
        bent = hessian_products(
            self.network, self.X, coefficients, directions, progress=False, may_vanish=True
        )
        products = gauss_newton + bent

        def vanished() -> bool:
            network, X = self.network, self.X
            return (
                (is_small(along, xp) and products_vanished(network, X, directions, along))
                or transposed_products_vanished(network, X, moved, gauss_newton)
                or hessian_products_vanished(network, X, coefficients, directions, bent)
            )

        require_products(self.network, self.X, products, vanished, vectors=directions)
        return products.T


def _softmax(f: Any, xp: Any) -> Any:
    """Return the probabilities p (n, C)."""
    grown = xp.exp(f - f.max(axis=1, keepdims=True))
    return grown / grown.sum(axis=1, keepdims=True)
