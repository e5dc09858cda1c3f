# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of a random network as features."""

from __future__ import annotations

import itertools
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fastntk._support.arguments import shown
from fastntk._support.memory import require_memory
from fastntk.architectures.finite import FiniteNetwork
from fastntk.architectures.network import Network
from fastntk.infinite.scikit_learn import require_defaults
from fastntk.linearity.parameter_space import kernel_weights
from fastntk.mlp import MLP
from fastntk.networks.network import Layer
from fastntk.sklearn.estimator import require_columns, seed_of, widths_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastntk.activations import Activation


class NTKFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The gradient of the output of a random network by its parameters, for each sample.

    A linear model of these features is the network linearized at its initialization; products of
    two of them are its tangent kernel. So of parameters with a learning rate of their own, that is
    ω times that of others, they are √ω times the gradients, and 0 of those that are frozen.

    With w hidden units a layer there are about d w + (L − 1) w² of them: for wide networks take the
    kernel, with `NTKRegressor` or `NTKClassifier`.

    Parameters
    ----------
    depth : int
        L, the number of hidden layers.
    width : int
        w, their width.
    activation : str or Activation
        As for `fastntk.MLP`.
    weight_std, bias_std : float
        As for `fastntk.MLP`.
    activation_scale : float, optional
        As for `fastntk.MLP`.
    parametrization : {"ntk", "standard"}
        As for `fastntk.MLP`.
    random_state : int, RandomState or None
        The ``seed`` of `fastntk.MLP`, or what a seed is drawn from.
    network : fastntk.Network, fastntk.MLP or fastntk.FiniteNetwork, optional
        Of one output, in place of all parameters that describe one: a description, of which
        `random_state` makes a draw; or a network with the weights that it has.

    Attributes
    ----------
    network_ : fastntk.MLP or fastntk.FiniteNetwork
        The network.
    n_features_in_ : int
        d.
    feature_names_in_ : ndarray (d,)
        Names of the columns of the training samples, if they have names that are text.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.sklearn import NTKFeatures
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> features = NTKFeatures(width=16, random_state=0).fit(X)
    >>> F = features.transform(X)
    >>> F.shape
    (50, 64)
    >>> bool(np.allclose(F @ F.T, features.network_.ntk(X)))
    True
    >>> features.get_feature_names_out()[[0, 63]]
    array(['W1[0,0]', 'W2[0,15]'], dtype=object)
    """

    def __init__(
        self,
        depth: int = 1,
        width: int = 128,
        activation: str | Activation = "relu",
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        *,
        activation_scale: float | None = None,
        parametrization: str = "ntk",
        random_state: int | np.random.RandomState | None = None,
        network: Network | MLP | FiniteNetwork | None = None,
    ) -> None:
        # scikit-learn wants parameters to be stored as they were given, and checked when used.
        self.depth = depth
        self.width = width
        self.activation = activation
        self.weight_std = weight_std
        self.bias_std = bias_std
        self.activation_scale = activation_scale
        self.parametrization = parametrization
        self.random_state = random_state
        self.network = network

    def fit(self, X: ArrayLike, y: Any = None) -> NTKFeatures:  # noqa: ARG002
        """Make the network; of the samples only their size matters.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        y : ignored

        Returns
        -------
        NTKFeatures
            This one.

        Raises
        ------
        MemoryError
            If the features of these samples would not fit in the memory that is available.
        """
        samples = validate_data(self, X, dtype=np.float64)
        n, inputs = samples.shape
        if self.network is not None:
            network = self._given_network(inputs)
            _require_memory(n, network.n_parameters, "network")
            self.network_ = network
            return self
        widths = widths_of(inputs, self.width, self.depth)
        parameters = sum(a * b for a, b in itertools.pairwise(widths))
        _require_memory(n, parameters, f"width={self.width}")
        self.network_ = MLP(
            widths,
            activation=self.activation,
            weight_std=self.weight_std,
            bias_std=self.bias_std,
            activation_scale=self.activation_scale,
            parametrization=self.parametrization,
            seed=seed_of(self.random_state),
        )
        return self

    def _given_network(self, inputs: int) -> MLP | FiniteNetwork:
        """Return a copy of the network that was given, or a draw of a description."""
        given = self.network
        if not isinstance(given, (Network, MLP, FiniteNetwork)):
            raise TypeError(
                f"network={shown(given)}: expected a fastntk.Network, MLP or FiniteNetwork"
            )
        require_defaults(self, kept=("random_state", "network"))
        if isinstance(given, Network):
            given = given.sample(seed_of(self.random_state))
        elif self.random_state is not None:
            raise ValueError(
                f"random_state={shown(self.random_state)}: expected None, as the network has its "
                "weights"
            )
        require_columns(given.network.input_width, inputs)
        if given.n_outputs != 1:
            raise ValueError(f"network has {given.n_outputs} outputs: expected one")
        return deepcopy(given)

    def transform(self, X: ArrayLike) -> Any:
        """Return the gradients.

        Parameters
        ----------
        X : array_like (m, d)
            Samples, one a row.

        Returns
        -------
        ndarray (m, P)
            In the order of `fastntk.MLP.gradient_features`; or what `set_output` asks for.
        """
        check_is_fitted(self)
        samples = validate_data(self, X, reset=False, dtype=np.float64)
        features = self.network_.gradient_features(samples)
        network = self.network_.network
        if network.kernel_weights is not None:
            features *= np.sqrt(kernel_weights(network)).astype(features.dtype)
        return features

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return the names of the features: W1[i,j] and b1[i] of the first layer, and so on.

        Gains and shifts are called gain2[i] and shift2[i].

        Parameters
        ----------
        input_features : ignored
            Each feature is of all inputs.

        Returns
        -------
        ndarray of str (P,)
        """
        check_is_fitted(self)
        names: list[str] = []
        for number, layer in enumerate(self.network_.network.layers, start=1):
            if isinstance(layer, Layer):
                parts = {"W": layer.weights, "b": layer.bias}
            else:
                parts = {"gain": layer.gain, "shift": layer.shift}
            for what, array in parts.items():
                if array is not None:
                    names += [
                        f"{what}{number}[{','.join(map(str, index))}]"
                        for index in np.ndindex(array.shape)
                    ]
        return np.array(names, dtype=object)


def _require_memory(samples: int, parameters: int, what: str) -> None:
    require_memory(
        8 * samples * parameters,
        f"{what}: the gradients of {samples} samples by {parameters} weights,",
        "take a smaller width, or NTKRegressor or NTKClassifier, which need the kernel alone",
    )
