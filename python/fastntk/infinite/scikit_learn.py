# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels of infinite width for scikit-learn."""

from __future__ import annotations

import warnings
from dataclasses import fields
from inspect import signature
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from sklearn.gaussian_process.kernels import Hyperparameter, Kernel

from fastntk._support import arguments
from fastntk.devices import matrices
from fastntk.infinite.kernel_matrices import kernel_diagonal, kernel_matrix
from fastntk.infinite.layered_network import LayeredNetwork
from fastntk.infinite.network import Network

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastntk.activations import Activation

    Array = NDArray[np.float64]

# Parameters that are given by name only are not shown where they are at their default.
_NOT_SHOWN = {each.name: repr(each.default) for each in fields(Network) if each.kw_only}
_NOT_SHOWN |= dict.fromkeys(("weight_std_bounds", "bias_std_bounds"), repr("fixed"))
_NOT_SHOWN["network"] = repr(None)

# The relative error of kernels whose duals are closed forms, see `Network`.
_CLOSED_FORMS = 2.0**-46


class NeuralKernel(Kernel):  # type: ignore[misc]
    """A kernel of a network of infinite width, as scikit-learn wants it.

    For `GaussianProcessRegressor`, and as the callable ``kernel`` of `KernelRidge` and `SVC`. By
    default its parameters are fixed; σ_w and σ_b are hyperparameters, over which the likelihood is
    maximized, where they are given bounds. The scale of the outputs and the noise of the targets
    are those of kernels that it is combined with:
    ``ConstantKernel() * NeuralKernel() + WhiteKernel()``.

    Parameters
    ----------
    kernel : {"nngp", "ntk"}
        The covariance of the outputs, the prior of a Bayesian network; or the tangent kernel.
    depth : int, optional
        Number of hidden layers, as for `fastntk.infinite.Network`.
    activation, weight_std, bias_std, activation_scale
        As for `fastntk.infinite.Network`.
    parametrization, width, layer_weights, tolerance
        As for `fastntk.infinite.Network`.
    weight_std_bounds, bias_std_bounds : "fixed", (float, float), or sequence of pairs (L + 1,)
        Between which numbers σ_w, or σ_b, is searched for; with pairs, those of each layer. A σ
        that is given once is one hyperparameter for all layers, a sequence one for each. σ_b = 0
        has no logarithm, and must be fixed.
    kind : str, optional
        What `kernel` was called.

        .. deprecated:: 0.2
           Use `kernel`, as with `fastntk.infinite.Regression`; `kind` takes its place.
    network : fastntk.Network, fastntk.infinite.Network or LayeredNetwork, optional
        The network, of one depth, in place of all parameters but `kernel`; of a `fastntk.Network`
        its limit.

    Notes
    -----
    `theta` are the natural logarithms of the hyperparameters that are not fixed, σ_b before σ_w,
    and gradients are with respect to these. Of piecewise linear activations without biases the
    kernel is a power of σ_w, and its gradient a number times the kernel. In all other cases it is a
    central difference, of two more kernels for each hyperparameter: with the relative error u of
    the kernel, 2⁻⁴⁶ for closed forms and at most the `tolerance` for other duals, and steps of
    (3u)^⅓/q, where the kernel is about of the degree q in σ, twice the number of its layers, it is
    off by about u^⅔ times q times the kernel: 6e-10 of it for closed forms. Chaotic networks have
    larger third derivatives, and errors.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.infinite import NeuralKernel
    >>> from sklearn.gaussian_process import GaussianProcessRegressor
    >>> X = np.random.default_rng(0).standard_normal((30, 3))
    >>> model = GaussianProcessRegressor(NeuralKernel(depth=2), alpha=1e-6).fit(X, X[:, 0])
    >>> bool(np.allclose(model.predict(X), X[:, 0], atol=1e-3))
    True

    With σ_w to be found:

    >>> kernel = NeuralKernel(depth=2, bias_std=0.1, weight_std_bounds=(0.1, 10.0))
    >>> kernel.theta
    array([0.])
    >>> model = GaussianProcessRegressor(kernel, alpha=1e-6).fit(X, X[:, 0])
    >>> bool(model.kernel_.weight_std != 1.0)
    True
    """

    def __init__(
        self,
        kernel: str = "nngp",
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
        weight_std_bounds: str | ArrayLike = "fixed",
        bias_std_bounds: str | ArrayLike = "fixed",
        kind: str | None = None,
        network: Described | LayeredNetwork | Network | None = None,
    ) -> None:
        # scikit-learn wants parameters to be stored as they were given, and checked when used.
        self.kernel = kernel
        self.depth = depth
        self.activation = activation
        self.weight_std = weight_std
        self.bias_std = bias_std
        self.activation_scale = activation_scale
        self.parametrization = parametrization
        self.width = width
        self.layer_weights = layer_weights
        self.tolerance = tolerance
        self.weight_std_bounds = weight_std_bounds
        self.bias_std_bounds = bias_std_bounds
        self.network = network
        if kind is not None:
            _warn_of_kind()
            self.kernel = kind

    @property
    def kind(self) -> str:
        """What `kernel` was called; deprecated."""
        _warn_of_kind()
        return self.kernel

    @kind.setter
    def kind(self, value: str) -> None:
        _warn_of_kind()
        self.kernel = value

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002
        """Return the parameters by name, without the deprecated one.

        Parameters
        ----------
        deep : bool
            Not used: no parameter has parameters of its own.

        Returns
        -------
        dict
        """
        names = signature(type(self)).parameters
        return {name: getattr(self, name) for name in names if name != "kind"}

    def set_params(self, **params: Any) -> NeuralKernel:
        """Set parameters.

        Parameters
        ----------
        **params
            By name; the deprecated ``kind`` is one.

        Returns
        -------
        NeuralKernel
            This one.
        """
        if "kind" in params:
            _warn_of_kind()
            self.kernel = params.pop("kind")
        super().set_params(**params)
        return self

    def __repr__(self) -> str:
        """Return the call that makes this kernel, without what is as it is by default."""
        shown = [
            f"{name}={text}"
            for name, text in (
                (name, repr(value.tolist() if isinstance(value, _OF_NUMPY) else value))
                for name, value in self.get_params().items()
            )
            if text != _NOT_SHOWN.get(name)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def hyperparameter_weight_std(self) -> Hyperparameter:
        """σ_w as a hyperparameter, for scikit-learn."""
        return self._hyperparameter("weight_std")

    @property
    def hyperparameter_bias_std(self) -> Hyperparameter:
        """σ_b as a hyperparameter, for scikit-learn."""
        return self._hyperparameter("bias_std")

    def _hyperparameter(self, name: str) -> Hyperparameter:
        value, bounds = getattr(self, name), getattr(self, f"{name}_bounds")
        if isinstance(bounds, str) and bounds == "fixed":
            return Hyperparameter(name, "numeric", bounds)
        several = arguments.has_items(value)
        items = arguments.items(value, name, "values, one for each layer") if several else [value]
        if several and len(items) == 1:
            raise ValueError(
                f"{name}={arguments.shown(value)}: expected a number, where there is one layer"
            )
        for item in items:
            if arguments.real(item, name, minimum=0.0) == 0:
                raise ValueError(
                    f"{name}={arguments.shown(value)}: expected above 0, or {name}_bounds='fixed', "
                    "because a hyperparameter is searched for by its logarithm"
                )
        checked = _checked_bounds(bounds, name, len(items))
        return Hyperparameter(name, "numeric", checked, len(items))

    def _network(self, **changes: Any) -> Network | LayeredNetwork:
        if self.network is not None:
            limit = limit_of(self.network, "fastntk.Network, infinite.Network or LayeredNetwork")
            require_defaults(self, kept=("kernel", "kind", "network"))
            return limit
        parameters = {name: getattr(self, name) for name in _OF_NETWORK} | changes
        network = Network(**parameters)
        network.require_one_depth()
        return network

    def _checked_kernel(self) -> str:
        return arguments.choice(self.kernel, "kernel", ("nngp", "ntk"))

    def __call__(
        self,
        X: ArrayLike,
        Y: ArrayLike | None = None,  # noqa: N803  (scikit-learn's name)
        eval_gradient: bool = False,
    ) -> Any:
        """Return the kernel of X with Y; with `eval_gradient`, also its gradient.

        Parameters
        ----------
        X, Y : array_like (n, d), (m, d)
            Samples, one a row.
        eval_gradient : bool
            Whether to return the derivatives by `theta`.

        Returns
        -------
        ndarray (n, m), and ndarray (n, n, len(theta))
        """
        self._checked_kernel()
        if Y is not None:
            rows = matrices.samples(X, "X")
            Y = matrices.samples(  # noqa: N806
                Y, "Y", columns=rows.shape[1], why="as many as X has"
            )
        network = self._network()
        kernel = self._matrix(network, X, Y)
        if not arguments.flag(eval_gradient, "eval_gradient"):
            return kernel
        if Y is not None:
            raise ValueError("eval_gradient=True: expected Y=None")
        free = [
            (each.name, element)
            for each in self.hyperparameters
            if not each.fixed
            for element in range(each.n_elements)
        ]
        gradient = np.empty((*kernel.shape, len(free)))
        for place, (name, element) in enumerate(free):
            assert isinstance(network, Network)  # others have no hyperparameters
            gradient[..., place] = self._derivative(network, X, kernel, name, element)
        return kernel, gradient

    def _matrix(
        self,
        network: Network | LayeredNetwork,
        X: ArrayLike,
        Y: ArrayLike | None = None,  # noqa: N803
    ) -> Array:
        try:
            return np.asarray(kernel_matrix(network, self.kernel, X, Y), dtype=np.float64)
        except OverflowError as error:
            raise OverflowError(f"X or Y: {error}") from None

    def _derivative(
        self,
        network: Network,
        X: ArrayLike,
        kernel: Array,
        name: str,
        element: int,
    ) -> Array:
        """Return the derivative of the kernel of X by the logarithm of a hyperparameter."""
        value = np.asarray(getattr(self, name), dtype=np.float64)
        degree = 2.0 * (1 if value.ndim else len(network.layers.weight_std))
        biased = any(network.layers.bias_std)
        unscaled = self.kernel == "nngp" or network.parametrization == "ntk"
        if name == "weight_std" and network.piecewise_linear and not biased and unscaled:
            return degree * kernel
        # So that the error of the quotient, by the step and by those of the kernels, is least.
        error = max((_CLOSED_FORMS, *(dual.gap_error for dual in network.layers.duals)))
        step = (3 * error) ** (1 / 3) / degree

        def moved(by: float) -> Array:
            log = np.zeros(value.shape)
            log[element if value.ndim else ()] = by
            return self._matrix(self._network(**{name: (value * np.exp(log)).tolist()}), X)

        return np.asarray((moved(step) - moved(-step)) / (2 * step))

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
        return kernel_diagonal(self._network(), self._checked_kernel(), X)

    def is_stationary(self) -> bool:
        """Return False: the kernel depends on more than the difference of two samples."""
        return False


def require_defaults(estimator: object, kept: Sequence[str]) -> None:
    """Raise ValueError for parameters, but some, that a network has already and that were given."""
    for name, parameter in signature(type(estimator)).parameters.items():
        if name in kept:
            continue
        value, default = getattr(estimator, name), parameter.default
        if not (value is default or (type(value) is type(default) and value == default)):
            raise ValueError(
                f"{name}={arguments.shown(value)}: expected {default!r}, as with a network nothing "
                "else says what it is"
            )


class Described(Protocol):
    """The description of a network, which knows its limit: `fastntk.Network`."""

    def infinite(self) -> Network | LayeredNetwork:
        """Return the limit of infinite width."""


def limit_of(network: Any, expected: str) -> Network | LayeredNetwork:
    """Return the network of infinite width, of one depth, that a parameter `network` stands for.

    Parameters
    ----------
    network : object
        What was given.
    expected : str
        What is, in messages.
    """
    if not isinstance(network, (Network, LayeredNetwork)):
        arguments.like(network, "network", Described, f"a {expected}")
        network = network.infinite()
    network.require_one_depth()
    limit: Network | LayeredNetwork = network
    return limit


# What is written as lists and numbers of Python.
_OF_NUMPY = (np.ndarray, np.generic)

_OF_NETWORK = [each.name for each in fields(Network)]


def _warn_of_kind() -> None:
    warnings.warn(
        "kind: NeuralKernel calls it kernel now, as infinite.Regression does; the old name will go",
        DeprecationWarning,
        stacklevel=3,
    )


def _checked_bounds(bounds: Any, name: str, count: int) -> Array:
    """Return bounds (1, 2) or (count, 2)."""
    array = np.atleast_2d(matrices.host_array(bounds, f"{name}_bounds"))
    if (
        array.dtype.kind not in "iuf"
        or array.shape not in {(1, 2), (count, 2)}
        or not np.isfinite(array.astype(np.float64)).all()
        or not (array[:, 0] > 0).all()
        or not (array[:, 0] <= array[:, 1]).all()
    ):
        raise ValueError(
            f"{name}_bounds={arguments.shown(bounds)}: expected 'fixed', or finite numbers (low, "
            f"high) with 0 < low <= high, or a pair of these for each of the {count} values of "
            f"{name}"
        )
    return array.astype(np.float64)
