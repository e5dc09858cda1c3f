# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What regression and classification with the kernels of a network have in common."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state

from fastntk._support import arguments
from fastntk._support.threads import in_own_thread
from fastntk.architectures.finite import FiniteNetwork
from fastntk.architectures.network import Network
from fastntk.infinite.kernel_regression import (
    KernelRegression,
    Prior,
    checked_ridge,
    checked_solution,
    require_regression_memory,
)
from fastntk.infinite.scikit_learn import limit_of, require_defaults
from fastntk.linearity.kernel_descent import Flow
from fastntk.mlp import MLP
from fastntk.sklearn.kernel_cache import kernel_cache
from fastntk.sklearn.kernel_sources import FiniteKernels, LimitKernels

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from numpy.typing import ArrayLike, NDArray

    from fastntk.activations import Activation
    from fastntk.infinite.layered_network import LayeredNetwork
    from fastntk.infinite.network import Network as InfiniteNetwork
    from fastntk.sklearn.kernel_sources import KernelSource

    AnyNetwork: TypeAlias = Network | LayeredNetwork | InfiniteNetwork | MLP | FiniteNetwork
    Array = NDArray[np.float64]

_DEFAULT_DEPTH = 3

# Networks that have weights.
FINITE = (MLP, FiniteNetwork)

AT_THE_END = Flow(np.array(np.inf))


class KernelEstimator(BaseEstimator):  # type: ignore[misc]
    """An estimator that regresses on the kernel of a network; see `NTKRegressor`."""

    def __init__(
        self,
        kernel: str = "ntk",
        depth: int | None = None,
        activation: str | Activation | Sequence[str | Activation] = "relu",
        weight_std: float | Sequence[float] = 1.0,
        bias_std: float | Sequence[float] = 0.0,
        *,
        ridge: float | str = "auto",
        solution: str = "unique",
        width: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        activation_scale: float | Sequence[float | None] | None = None,
        parametrization: str = "ntk",
        layer_weights: ArrayLike | None = None,
        tolerance: float = 1e-10,
        network: AnyNetwork | None = None,
    ) -> None:
        # scikit-learn wants parameters to be stored as they were given, and checked when used.
        self.kernel = kernel
        self.depth = depth
        self.activation = activation
        self.weight_std = weight_std
        self.bias_std = bias_std
        self.ridge = ridge
        self.solution = solution
        self.width = width
        self.random_state = random_state
        self.activation_scale = activation_scale
        self.parametrization = parametrization
        self.layer_weights = layer_weights
        self.tolerance = tolerance
        self.network = network


@dataclass(frozen=True)
class FittedKernel:
    """What training samples have made of an estimator.

    Attributes
    ----------
    kind : str
        "nngp" or "ntk".
    source : KernelSource
        Where kernels come from.
    samples : ndarray (n, d)
        The training samples.
    regression : KernelRegression
        The system of equations of these, factorized.
    coefficients : ndarray (n,) or (n, C)
        Its solution for the targets.
    """

    kind: str
    source: KernelSource
    samples: Array
    regression: KernelRegression
    coefficients: Array

    def outputs(self, points: Array) -> Array:
        """Return the means (m,) or (m, C) at samples, which have been checked."""
        return self._outputs(self._cross(points, (self.kind,))[self.kind])

    def _outputs(self, cross: Array) -> Array:
        return in_own_thread(lambda: np.asarray(cross @ self.coefficients))

    def outputs_with_variances(self, points: Array) -> tuple[Array, Array]:
        """Return the means and the variances (m,) of each output."""
        cross, here, prior_cross = self._prior(points)
        prior = Prior(here, prior_cross, self.source.prior_variances(points))
        filtered = self.regression.filtered(cross.T, AT_THE_END)
        return self._outputs(cross), self.regression.variances(filtered, prior)

    def outputs_with_covariance(self, points: Array) -> tuple[Array, Array]:
        """Return the means and the covariance (m, m) of each output."""
        cross, here, prior_cross = self._prior(points)
        there = self.source.matrices(("nngp",), points)["nngp"]
        filtered = self.regression.filtered(cross.T, AT_THE_END)
        covariance = self.regression.covariance(filtered, Prior(here, prior_cross, there))
        return self._outputs(cross), covariance

    def _prior(self, points: Array) -> tuple[Array, Array | None, Array]:
        """Return the kernel with the training samples, and Σ of these and with these."""
        if self.kind == "nngp":
            cross = self._cross(points, ("nngp",))["nngp"]
            return cross, None, cross
        both = self._cross(points, ("ntk", "nngp"))
        here = kernel_cache.matrices(self.source, ("nngp",), self.samples)["nngp"]
        return both["ntk"], here, both["nngp"]

    def _cross(self, points: Array, kinds: tuple[str, ...]) -> dict[str, Array]:
        return kernel_cache.matrices(self.source, kinds, points, self.samples)


def fitted_kernel(estimator: KernelEstimator, X: Array, targets: Array) -> FittedKernel:
    """Regress targets (n,) or (n, C) on samples, which have been checked.

    The attributes that a fitted estimator has are set.
    """
    kind = arguments.choice(estimator.kernel, "kernel", ("ntk", "nngp"))
    ridge, solution = checked_ridge(estimator.ridge), checked_solution(estimator.solution)
    source = _source(estimator, X.shape[1])
    n = len(X)
    require_regression_memory(n)
    kernel = kernel_cache.matrices(source, (kind,), X)[kind]
    error = source.error(kind, X)
    regression = KernelRegression(kernel, X, ridge=ridge, solution=solution, error=error)
    with np.errstate(over="ignore", invalid="ignore"):
        coefficients = regression.filtered(targets.reshape(n, -1), AT_THE_END)
    coefficients = coefficients.reshape(targets.shape)
    estimator.dual_coef_ = coefficients
    estimator.ridge_ = regression.ridge
    # A copy: the weights of a network of finite width are the user's to change, and kernels that
    # are kept are of those that it was drawn with.
    estimator.network_ = deepcopy(source.network)
    estimator.X_fit_ = X
    return FittedKernel(kind, source, X, regression, coefficients)


def _source(estimator: KernelEstimator, inputs: int) -> KernelSource:
    """Return the kernels of the network that the parameters describe."""
    parametrization = arguments.choice(
        estimator.parametrization, "parametrization", ("ntk", "standard")
    )
    tolerance = arguments.tolerance(estimator.tolerance)
    require_random_state(estimator.random_state)
    if estimator.network is not None:
        return _source_of_network(estimator, inputs)
    parameters = {
        "activation": estimator.activation,
        "weight_std": estimator.weight_std,
        "bias_std": estimator.bias_std,
        "activation_scale": estimator.activation_scale,
    }
    if estimator.width is None:
        if parametrization == "standard":
            raise ValueError(
                "parametrization='standard': expected 'ntk' with width=None, because its kernel "
                "grows with the width; layer_weights say how fast each layer learns"
            )
        return LimitKernels.of(
            {
                **parameters,
                "depth": estimator.depth,
                "layer_weights": estimator.layer_weights,
                "tolerance": tolerance,
            }
        )
    # What the readout alone is a prior of is the same function in both parametrizations.
    made = "ntk" if estimator.kernel == "nngp" else parametrization
    parameters |= {"parametrization": made, "seed": seed_of(estimator.random_state)}
    depth = _DEFAULT_DEPTH if estimator.depth is None else estimator.depth
    widths = widths_of(inputs, estimator.width, depth)
    return FiniteKernels.of({**parameters, "widths": widths}, estimator.layer_weights)


def _source_of_network(estimator: KernelEstimator, inputs: int) -> KernelSource:
    """Return the kernels of a network that was given."""
    kept = "kernel", "ridge", "solution", "layer_weights", "network"
    given = estimator.network
    if isinstance(given, FINITE):
        require_defaults(estimator, kept)
        require_columns(given.network.input_width, inputs)
        return FiniteKernels.of_network(given, estimator.layer_weights)
    limit = limit_of(
        given, "fastntk.Network, infinite.Network, LayeredNetwork, MLP or FiniteNetwork"
    )
    require_defaults(estimator, kept)
    if estimator.layer_weights is not None:
        raise ValueError(
            f"layer_weights={arguments.shown(estimator.layer_weights)}: expected None with a "
            "network of infinite width, whose layers have their own"
        )
    # The limit of a chain of layers takes any samples, a description those of its inputs.
    expected = given.inputs if isinstance(given, Network) else limit.dimension
    if expected is not None:
        require_columns(expected, inputs)
    return LimitKernels(limit)


def require_columns(expected: int, inputs: int) -> None:
    """Raise ValueError if samples have another number of columns than a network has inputs."""
    if inputs != expected:
        raise ValueError(
            f"X has {inputs} columns: expected {expected}, the number of inputs of the network"
        )


def widths_of(inputs: int, width: Any, depth: Any) -> tuple[int, ...]:
    """Return the widths of a network of finite width, of one output."""
    hidden = arguments.depth(depth)
    return inputs, *(arguments.integer(width, "width", minimum=1),) * hidden, 1


def require_random_state(random_state: Any) -> None:
    """Raise TypeError or ValueError for what is no seed, and gives none."""
    if random_state is not None and not isinstance(random_state, np.random.RandomState):
        arguments.seed(random_state, "random_state")


def seed_of(random_state: Any) -> int:
    """Return the seed of `MLP` that a ``random_state`` stands for: an integer for itself."""
    require_random_state(random_state)
    if random_state is None or isinstance(random_state, np.random.RandomState):
        return int(check_random_state(random_state).randint(2**31 - 1))
    return int(random_state)
