# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Regression with the kernels of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from fastntk._support import arguments
from fastntk.sklearn.estimator import FINITE, KernelEstimator, fitted_kernel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]


class NTKRegressor(RegressorMixin, MultiOutputMixin, KernelEstimator):  # type: ignore[misc]
    """What a wide network predicts after training on the square loss, without training it.

    Kernel regression with the neural tangent kernel, or the covariance of the outputs (NNGP), of a
    network of infinite width, or of a random network of finite width; see
    `fastntk.infinite.Regression`. Predictions are f(x) = Σ_i K(x, x_i) a_i with (K + λ) a = y: what
    gradient flow makes of the linear model of the network when f(x) = 0 at the start.

    Parameters
    ----------
    kernel : {"ntk", "nngp"}
        "ntk": all layers are trained. "nngp": only the last one is, which is Bayesian inference
        with the network as the prior.
    depth : int, optional
        Number of hidden layers, as for `fastntk.infinite.Network`; by default 3, or what sequences
        of other parameters say.
    activation, weight_std, bias_std, activation_scale
        As for `fastntk.infinite.Network`; with a `width`, as for `fastntk.MLP`, where they are the
        same for all layers.
    ridge : float or "auto"
        λ ≥ 0: weight decay, with "nngp" the variance of the noise of the targets. "auto" is 0 where
        rounding allows that, and otherwise as little as lets rounding decide nothing. 0 is an error
        where samples repeat, or where a network of finite width has fewer parameters that are
        trained than there are samples.
    solution : {"unique", "least_squares"}
        With ``ridge=0``, "least_squares" is the limit λ → 0 where "unique" is an error: for
        networks of fewer parameters than samples it is more accurate than "auto", which leaves
        predictions an error of up to about a thousandth over n of what is left of the targets.
    width : int, optional
        None is the limit of infinite width. Otherwise the width of the hidden layers of a random
        network, whose kernel at initialization is taken.
    random_state : int, RandomState or None
        Where there is a `width`: the ``seed`` of `fastntk.MLP`, or what a seed is drawn from.
    parametrization : {"ntk", "standard"}
        As for `fastntk.MLP`; "standard" with a `width` only.
    layer_weights : array_like (L + 1,) or (L + 1, 2), optional
        Learning rates of the layers, in the tangent kernel.
    tolerance : float
        As for `fastntk.infinite.Network`.
    network : network, optional
        In place of all parameters that describe one: a `fastntk.Network`, of which it is the limit,
        a `fastntk.infinite.Network` or `fastntk.infinite.LayeredNetwork` of one depth; or an
        `fastntk.MLP` or `fastntk.FiniteNetwork` with the weights that it has, such as a draw of
        ``fastntk.Network.sample``, for which `layer_weights` may be given. Of several outputs of
        these, the kernel is the sum.

    Attributes
    ----------
    dual_coef_ : ndarray (n,) or (n, C)
        a.
    ridge_ : float
        The λ in use.
    network_ : fastntk.infinite.Network, LayeredNetwork, fastntk.MLP or FiniteNetwork
        The network whose kernel it is.
    X_fit_ : ndarray (n, d)
        The training samples.
    n_features_in_ : int
        d.
    feature_names_in_ : ndarray (d,)
        Names of the columns of the training samples, if they have names that are text.

    See Also
    --------
    fastntk.infinite.Regression : The same at finite times of training, too.
    NTKClassifier : For class labels, which a regressor takes for numbers.

    Notes
    -----
    Samples are taken as they are: scale them before, as with a `StandardScaler` in a pipeline.
    Several targets have the same kernel. The kernels are kept for other fits in
    `fastntk.sklearn.kernel_cache`; a fitted estimator holds two n × n matrices, the kernel and its
    decomposition.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.sklearn import NTKRegressor
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X = np.random.default_rng(0).uniform(-5, 5, (100, 3))
    >>> y = np.sin(X[:, 0])
    >>> model = make_pipeline(StandardScaler(), NTKRegressor(depth=2, bias_std=0.5))
    >>> round(model.fit(X[:80], y[:80]).score(X[:80], y[:80]), 6)
    1.0
    >>> mean, std = model.predict(X[80:], return_std=True)
    >>> mean.shape, std.shape
    ((20,), (20,))

    A network of finite width:

    >>> model = NTKRegressor(width=64, random_state=0).fit(X, y)
    >>> model.network_.widths
    (3, 64, 64, 64, 1)
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> NTKRegressor:
        """Fit the targets of training samples.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        y : array_like (n,) or (n, C)
            Targets; integers are numbers.

        Returns
        -------
        NTKRegressor
            This one.

        Raises
        ------
        numpy.linalg.LinAlgError
            If the kernel is singular to working precision, with ``ridge=0`` and
            ``solution="unique"``.
        """
        # A copy, as these samples are needed again when something is predicted.
        samples, targets = validate_data(
            self, X, y, dtype=np.float64, order="C", copy=True, multi_output=True, y_numeric=True
        )
        self._fitted = fitted_kernel(self, samples, np.asarray(targets, dtype=np.float64))
        return self

    def predict(self, X: ArrayLike, return_std: bool = False, return_cov: bool = False) -> Any:
        """Return the mean of the outputs, and how they vary.

        With "nngp" they vary as the posterior says, without the noise of new targets. With "ntk"
        and at infinite width, as they do from one initialization of the network to another (Lee et
        al., 2019), which is not a posterior. The tangent kernel of a single network of finite
        width says nothing of that.

        Parameters
        ----------
        X : array_like (m, d)
            Samples, one a row.
        return_std : bool
            Whether to return the standard deviations, too.
        return_cov : bool
            Whether to return the covariance, too; not both.

        Returns
        -------
        ndarray (m,) or (m, C)
            And with `return_std` another one of this shape, with `return_cov` one of (m, m) or
            (m, m, C), which are the same for all outputs.
        """
        check_is_fitted(self)
        std = arguments.flag(return_std, "return_std")
        covariance = arguments.flag(return_cov, "return_cov")
        if std and covariance:
            raise ValueError("return_std=True, return_cov=True: expected one of them at most")
        fitted = self._fitted
        if (std or covariance) and fitted.kind == "ntk" and isinstance(self.network_, FINITE):
            name = "width" if self.network is None else "network"
            raise ValueError(
                f"return_{'std' if std else 'cov'}=True: expected False with kernel='ntk' and "
                f"{name}={arguments.shown(getattr(self, name))}, because one network does not "
                "say how outputs vary"
            )
        points = validate_data(self, X, reset=False, dtype=np.float64, order="C")
        if std:
            mean, variances = fitted.outputs_with_variances(points)
            return mean, _for_outputs(np.sqrt(variances), mean)
        if covariance:
            mean, matrix = fitted.outputs_with_covariance(points)
            return mean, _for_outputs(matrix, mean)
        return fitted.outputs(points)


def _for_outputs(values: Array, mean: Array) -> Array:
    """Return what is the same for each of the outputs, with a last axis if these have one."""
    if mean.ndim == 1:
        return values
    return np.repeat(values[..., np.newaxis], mean.shape[1], axis=-1)
