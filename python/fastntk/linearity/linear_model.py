# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The linear model around a network's weights, and what it is to be trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Literal, TypeVar, overload

import numpy as np

from fastntk._support import arguments
from fastntk._support.progress import require_progress
from fastntk.devices.places import place_of
from fastntk.kernels.existence import outputs_vanished
from fastntk.kernels.ranges import is_small
from fastntk.linearity.jacobians import jacobian_products
from fastntk.linearity.kernel_descent import Spectrum
from fastntk.linearity.linear_training import LinearizedTraining
from fastntk.linearity.output_kernels import AllPairs, EachOutput
from fastntk.linearity.parameter_space import directions
from fastntk.linearity.ranges import require_products
from fastntk.linearity.vanished import products_vanished
from fastntk.networks.base import FiniteNetworkBase, require_finite_network
from fastntk.networks.placed import PlacedNetwork
from fastntk.networks.targets import targets

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.linearity.linear_regression import LinearizedRegression
    from fastntk.linearity.output_kernels import OutputKernels

Net = TypeVar("Net", bound=FiniteNetworkBase)

_KERNELS: dict[str, type[OutputKernels]] = {"full": AllPairs, "diagonal": EachOutput}


class LinearizedMLP(Generic[Net]):
    """f₀(x) + F(x) Δw: the network to first order in the change of its parameters.

    A wide network follows it during training: its kernel is that of the network at its present
    weights, for any Δw.

    Parameters
    ----------
    net : MLP or FiniteNetwork
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

    def __init__(self, net: Net) -> None:
        require_finite_network(net)
        self.net = net

    def __repr__(self) -> str:
        return f"<LinearizedMLP: around {self.net!r}>"

    @property
    def n_parameters(self) -> int:
        """P, the length of Δw."""
        return self.net.n_parameters

    def __call__(
        self, X: npt.ArrayLike, change: npt.ArrayLike, *, device: str | None = None
    ) -> FloatArray:
        """Return f₀(X) + F(X) Δw.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        change : array_like (P,)
            Δw, in the order of `MLP.gradient_features`.
        device : str, optional
            Where to compute, as in `MLP.ntk`.

        Returns
        -------
        ndarray (n, C)
        """
        network = self.net.network
        place = place_of(device, {"X": X, "change": change})
        samples = network.samples(X, "X", place)
        along, single = directions(network, change, "change", place)
        if not single:
            raise ValueError(
                f"change is a matrix of {len(along)} columns: expected a vector ({along.shape[1]},)"
            )
        placed = PlacedNetwork(network, place)
        moved: FloatArray = jacobian_products(placed, samples, along, may_vanish=True)[:, :, 0]
        initial: FloatArray = placed.evaluate(samples)
        with np.errstate(over="ignore", invalid="ignore"):  # found out below
            outputs: FloatArray = initial + moved

        def vanished() -> bool:
            # Of a sum that is small, either both are or neither is.
            return is_small(moved, place.xp) and (
                outputs_vanished(network, place.on_host(samples), initial)
                or products_vanished(placed, samples, along, moved)
            )

        require_products(placed, samples, outputs, vanished, change=along)
        return outputs

    @overload
    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        outputs: str = "full",
        layer_weights: npt.ArrayLike | None = None,
        solver: Literal["eigh"] = "eigh",
    ) -> LinearizedTraining: ...

    @overload
    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        outputs: str = "full",
        layer_weights: npt.ArrayLike | None = None,
        solver: Literal["cg"],
        ridge: float = 0.0,
        preconditioner_rank: int = 256,
        tolerance: float = 1e-8,
        max_iterations: int = 1000,
        block_rows: int | None = None,
        progress: Progress = False,
    ) -> LinearizedRegression: ...

    def fit(
        self,
        X: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        outputs: str = "full",
        layer_weights: npt.ArrayLike | None = None,
        solver: str = "eigh",
        ridge: float = 0.0,
        preconditioner_rank: int = 256,
        tolerance: float = 1e-8,
        max_iterations: int = 1000,
        block_rows: int | None = None,
        progress: Progress = False,
    ) -> LinearizedTraining | LinearizedRegression:
        """Return the training of this model on the square loss: at any time, or its end.

        It keeps copies of the samples, the targets and the weights.

        Parameters
        ----------
        X : array_like (n, d)
            Training samples, one a row.
        y : array_like (n,) or (n, C)
            Their targets; (n,) where C = 1.
        outputs : {"full", "diagonal"}
            "full": the kernel of all pairs of outputs, a matrix of n C rows; exact. "diagonal":
            each output by its own kernel K^cc, C matrices of n rows; exact for one output, at depth
            0 (but of a softmax) and at infinite width, where different outputs have no kernel in
            common.
        layer_weights : array_like (L + 1,) or (L + 1, 2), optional
            Learning rates of the layers relative to that of the whole, as in `MLP.ntk`; 0 for what
            is not trained.
        solver : {"eigh", "cg"}
            "eigh": all eigenvectors of the kernel, n² numbers; any time is in closed form. "cg":
            the end of training by conjugate gradients, without the kernel, for very many samples.
        ridge : float
            λ ≥ 0, for "cg": weight decay towards the initial weights, as ½ λ ‖w − w_0‖² beside
            ½ ‖f − y‖² (each weight divided by √ω, if there are layer_weights).
        preconditioner_rank, tolerance, max_iterations, progress
            As for `conjugate_gradients`, for "cg".
        block_rows : int, optional
            As for `MLP.ntk_operator`, for "cg".

        Returns
        -------
        LinearizedTraining, or for "cg" LinearizedRegression
            With "cg" RuntimeWarning tells of equations that have not been solved to the tolerance.

        Raises
        ------
        MemoryError
            If the kernel and its eigenvectors, or for "cg" the features and the preconditioner, do
            not fit in the memory that is available.
        """
        # What takes a while to import, and is not always needed.
        from fastntk.linearity.linear_regression import LinearizedRegression
        from fastntk.symmetric.conjugate_gradients import Iterations

        arguments.choice(outputs, "outputs", tuple(_KERNELS))
        by_iteration = arguments.choice(solver, "solver", ("eigh", "cg")) == "cg"
        how = Iterations.checked(preconditioner_rank, tolerance, max_iterations)
        size = None
        if block_rows is not None:
            size = arguments.integer(block_rows, "block_rows", minimum=1)
        require_progress(progress)
        decay = arguments.real(ridge, "ridge", minimum=0.0)
        if not by_iteration and decay > 0:
            raise ValueError(
                f"ridge={arguments.shown(ridge)}: expected 0 with solver='eigh', or solver='cg'"
            )
        network = self.net.network
        # Copies: what is fitted stays, whatever becomes of the samples and of the weights.
        samples = network.samples(X, "X").copy()
        double = np.dtype(np.float64)
        wanted = targets(y, "y", "mse", len(samples), network.n_outputs, double).copy()
        kernels = _KERNELS[outputs](network.weighted(layer_weights).copy())
        if by_iteration:
            return LinearizedRegression(
                kernels,
                samples,
                wanted,
                ridge=decay,
                how=how,
                block_rows=size,
                progress=progress,
            )
        kernels.require_memory(len(samples))
        spectra = [Spectrum.of(kernel, overwrite=True) for kernel in kernels.of(samples)]
        return LinearizedTraining(kernels, samples, wanted, spectra)
