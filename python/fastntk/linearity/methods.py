# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What can be asked of a finite network about its first derivatives, as methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

import numpy as np

from fastntk._support import arguments
from fastntk.devices.places import place_of
from fastntk.linearity.jacobians import (
    gradients,
    input_jacobians,
    jacobian_products,
    transposed_jacobian_products,
)
from fastntk.linearity.parameter_space import directions
from fastntk.networks.base import FiniteNetworkBase
from fastntk.networks.placed import PlacedNetwork

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.linearity.linear_model import LinearizedMLP
    from fastntk.linearity.operators import KernelOperator


class JacobianMethods(FiniteNetworkBase):
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
        place = place_of(device, {"X": X})
        chosen = arguments.integer(output, "output", minimum=0, maximum=self.n_outputs - 1)
        samples = self.network.samples(X, "X", place)
        outputs = range(chosen, chosen + 1)
        return gradients(PlacedNetwork(self.network, place), samples, outputs, progress)[:, 0]

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
        place = place_of(device, {"X": X})
        samples = self.network.samples(X, "X", place)
        return gradients(
            PlacedNetwork(self.network, place), samples, range(self.n_outputs), progress
        )

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
        return input_jacobians(PlacedNetwork(self.network, place), samples)

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
        samples = self.network.samples(X, "X", place)
        along, single = directions(self.network, v, "v", place)
        products = jacobian_products(PlacedNetwork(self.network, place), samples, along)
        return products[:, :, 0] if single else products

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
        samples = self.network.samples(X, "X", place)
        n, outputs = len(samples), self.n_outputs
        given = weights = place.array(u, "u")
        if outputs == 1 and weights.ndim == 1:
            weights = weights[:, np.newaxis]
        if weights.ndim not in {2, 3} or weights.shape[:2] != (n, outputs):
            raise ValueError(f"u has shape {weights.shape}: expected ({n}, {outputs}[, k])")
        flat = place.matrix(weights.reshape(n * outputs, -1), "u", self.dtype, given=given)
        cotangents = flat.reshape(n, outputs, -1)
        products = transposed_jacobian_products(
            PlacedNetwork(self.network, place), samples, cotangents
        )
        return products[0] if weights.ndim == 2 else products.T

    def linearize(self) -> LinearizedMLP[Self]:
        """Return the linear model f₀(x) + F(x) Δw around these weights."""
        # With the training of such models, which few programs need.
        from fastntk.linearity.linear_model import LinearizedMLP

        return LinearizedMLP(self)

    def ntk_operator(
        self,
        X: npt.ArrayLike,
        *,
        outputs: Literal["trace", "full"] | int = "trace",
        layer_weights: npt.ArrayLike | None = None,
        dtype: npt.DTypeLike | None = None,
        device: str | None = None,
        block_rows: int | None = None,
    ) -> KernelOperator:
        """Return the tangent kernel as an operator, which multiplies without being formed.

        A product costs 4 n P operations; memory is that of the features and of one vector of P
        parameters (k of them for a product with k vectors at once).

        Parameters
        ----------
        X, outputs, layer_weights, dtype, device
            As in `ntk`.
        block_rows : int, optional
            How many samples make a block. The features of as many blocks are kept as fit in half of
            the memory that is available; those of the others are computed anew in each of the two
            passes of a product, which then takes up to three times as long. Blocks are added up in
            a fixed tree: the numbers depend on `block_rows`, in their last bits, and not on the
            memory. By default there is one block, whose features must fit.

        Returns
        -------
        scipy.sparse.linalg.LinearOperator (n, n), or (n C, n C) for "full"
            (Of samples that lie on a GPU a `DeviceOperator`, which multiplies arrays of CuPy.)
            Symmetric; for `conjugate_gradients`, ``scipy.sparse.linalg.eigsh``, ``lobpcg``, …. Its
            methods ``diagonal()`` and ``columns(indices)`` return elements, those of `ntk` but for
            rounding. The rows of "full" are sample-major: of all outputs of the first sample, then
            of the next.

        Examples
        --------
        >>> import numpy as np
        >>> import fastntk
        >>> net, X = fastntk.MLP([3, 64, 1]), np.eye(3)
        >>> bool(np.allclose(net.ntk_operator(X) @ np.ones(3), net.ntk(X) @ np.ones(3)))
        True
        """
        # SciPy's operators take a while to import, and are not always needed.
        from fastntk.linearity.kernel_operator import kernel_operator

        place = place_of(device, {"X": X})
        samples = self.network.samples(X, "X", place)
        network = PlacedNetwork(self.network.weighted(layer_weights), place)
        chosen = self.network.chosen_outputs(outputs, ("trace", "full"))
        precision = self.network.precision(dtype)
        size = None
        if block_rows is not None:
            size = arguments.integer(block_rows, "block_rows", minimum=1)
        return kernel_operator(
            network, samples, chosen, precision, all_pairs=outputs == "full", block_rows=size
        )
