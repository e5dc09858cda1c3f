# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gradients of a random network as features."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fastntk._support.memory import require_memory
from fastntk.mlp import MLP
from fastntk.sklearn.estimator import seed_of, widths_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastntk.activations import Activation


class NTKFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """The gradient of the output of a random network by its parameters, for each sample.

    A linear model of these features is the network linearized at its initialization; products of
    two of them are its tangent kernel. With w hidden units a layer there are about d w + (L − 1) w²
    of them: for wide networks take the kernel, with `NTKRegressor` or `NTKClassifier`.

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

    Attributes
    ----------
    network_ : fastntk.MLP
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
        widths = widths_of(inputs, self.width, self.depth)
        parameters = sum(a * b for a, b in itertools.pairwise(widths))
        require_memory(
            8 * n * parameters,
            f"width={self.width}: the gradients of {n} samples by {parameters} weights,",
            "take a smaller width, or NTKRegressor or NTKClassifier, which need the kernel alone",
        )
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
        return self.network_.gradient_features(samples)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[np.object_]:  # noqa: ARG002
        """Return the names of the features: W1[i,j] and b1[i] of the first layer, and so on.

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
        layers = enumerate(itertools.pairwise(self.network_.widths), start=1)
        for number, (inputs, outputs) in layers:
            names += [f"W{number}[{i},{j}]" for i in range(outputs) for j in range(inputs)]
            if self.network_.biases is not None:
                names += [f"b{number}[{i}]" for i in range(outputs)]
        return np.array(names, dtype=object)
