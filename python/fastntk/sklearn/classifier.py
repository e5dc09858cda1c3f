# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Classification by regression with the kernels of networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from fastntk.sklearn.estimator import KernelEstimator, fitted_kernel

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]


class NTKClassifier(ClassifierMixin, KernelEstimator):  # type: ignore[misc]
    """Least-squares classification with the kernel of a wide network.

    `NTKRegressor` on targets of 1 for the class of a sample and −1 for all others; the class with
    the largest output is predicted.

    Parameters
    ----------
    kernel, depth, activation, weight_std, bias_std
        As for `NTKRegressor`.
    ridge, solution, width, random_state
        As for `NTKRegressor`.
    activation_scale, parametrization, layer_weights, tolerance, network
        As for `NTKRegressor`.

    Attributes
    ----------
    classes_ : ndarray (C,)
        The labels, in ascending order.
    dual_coef_ : ndarray (n,) for two classes, or (n, C)
        As for `NTKRegressor`, as are ``ridge_``, ``network_``, ``X_fit_``, ``n_features_in_`` and
        ``feature_names_in_``.

    See Also
    --------
    sklearn.calibration.CalibratedClassifierCV : Probabilities that are calibrated.

    Notes
    -----
    Of several labels a sample, `sklearn.multioutput.MultiOutputClassifier` makes one classifier
    each, for which the kernel is computed once, see `fastntk.sklearn.kernel_cache`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk.sklearn import NTKClassifier
    >>> X = np.random.default_rng(0).standard_normal((60, 2))
    >>> y = np.where(X[:, 0] * X[:, 1] > 0, "same", "different")
    >>> model = NTKClassifier(depth=2, bias_std=0.1).fit(X, y)
    >>> model.predict([[1.0, 1.0], [-1.0, 1.0]])
    array(['same', 'different'], dtype='<U9')
    >>> model.predict_proba(X).shape
    (60, 2)
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> NTKClassifier:
        """Fit the labels of training samples.

        Parameters
        ----------
        X : array_like (n, d)
            Samples, one a row.
        y : array_like (n,)
            Labels, numbers or text, of at least two classes.

        Returns
        -------
        NTKClassifier
            This one.

        Raises
        ------
        numpy.linalg.LinAlgError
            As for `NTKRegressor.fit`.
        """
        # A copy, as these samples are needed again when something is predicted.
        samples, labels = validate_data(self, X, y, dtype=np.float64, order="C", copy=True)
        check_classification_targets(labels)
        classes, which = np.unique(labels, return_inverse=True)
        count = len(classes)
        if count < 2:
            raise ValueError(
                f"y has one class only, {classes.tolist()[0]!r}: expected at least two classes"
            )
        targets = np.where(which[:, np.newaxis] == np.arange(count), 1.0, -1.0)
        self._fitted = fitted_kernel(self, samples, targets[:, 1] if count == 2 else targets)
        self.classes_ = classes
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Return the outputs.

        Parameters
        ----------
        X : array_like (m, d)
            Samples, one a row.

        Returns
        -------
        ndarray (m,) for two classes, above 0 for the second one; or (m, C)
        """
        check_is_fitted(self)
        points = validate_data(self, X, reset=False, dtype=np.float64, order="C")
        return self._fitted.outputs(points)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class with the largest output, the first of several.

        Parameters
        ----------
        X : array_like (m, d)
            Samples, one a row.

        Returns
        -------
        ndarray (m,)
            Of `classes_`.
        """
        outputs = self.decision_function(X)
        which = (outputs > 0).astype(int) if outputs.ndim == 1 else outputs.argmax(axis=1)
        labels: NDArray[Any] = self.classes_[which]
        return labels

    def predict_proba(self, X: ArrayLike) -> Array:
        """Return least-squares estimates of the probabilities of the classes.

        Regression on targets of 0 and 1 estimates the probability of each class by least squares.
        These estimates, (1 + f)/2 of the outputs f, need not be probabilities: what is returned is
        the vector of probabilities nearest to them, by their Euclidean distance. For two classes
        that is (1 ± f)/2, cut off at 0 and 1; that targets are −1 instead of 0 makes no difference.
        The largest one is that of the predicted class.

        They are not calibrated, and not those of a Bayesian posterior over labels. Many are 0 or 1,
        at the training samples without a ridge all of them: take logarithms of calibrated ones
        (`sklearn.calibration.CalibratedClassifierCV`).

        Parameters
        ----------
        X : array_like (m, d)
            Samples, one a row.

        Returns
        -------
        ndarray (m, C)
            Rows of sum 1, in the order of `classes_`.
        """
        outputs = self.decision_function(X)
        if outputs.ndim == 1:
            second = np.clip((1 + outputs) / 2, 0.0, 1.0)
            return np.stack([1 - second, second], axis=1)
        return nearest_probabilities((1 + outputs) / 2)


def nearest_probabilities(values: Array) -> Array:
    """Return for each row (m, C) the nearest vector of non-negative numbers of sum 1.

    Which is max(v − τ, 0) with the τ that makes the sum 1: of the largest values v_1 ≥ … ≥ v_k with
    v_k > τ_k = (v_1 + … + v_k − 1)/k, for the largest such k (Held, Wolfe, Crowder, "Validation of
    subgradient optimization", 1974).
    """
    ordered = -np.sort(-values, axis=1)
    shifts = (np.cumsum(ordered, axis=1) - 1) / np.arange(1, values.shape[1] + 1)
    last = np.count_nonzero(ordered > shifts, axis=1) - 1
    positive = np.maximum(values - np.take_along_axis(shifts, last[:, np.newaxis], axis=1), 0.0)
    return np.asarray(positive / positive.sum(axis=1, keepdims=True))
