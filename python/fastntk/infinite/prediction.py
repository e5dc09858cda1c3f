# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a network of infinite width predicts after training: Gaussian processes in closed form.

The square loss 1/(2n) ‖f − y‖² under gradient flow moves the outputs at the training samples by
df/dt = −(1/n) Θ (f − y). With the spectral filter A_t = Θ_* (Θ + λ)⁻¹ (1 − exp(−(Θ + λ) t/n)) the
outputs at other samples are f_* = f_*(0) + A_t (y − f(0)), and f(0) has the covariance Σ.

Lee et al., "Wide neural networks of any depth evolve as linear models under gradient descent",
NeurIPS 2019.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from fastntk._support import arguments
from fastntk._support.memory import require_memory
from fastntk.devices import matrices
from fastntk.infinite.kernels import kernels, nngp, ntk
from fastntk.linearity.kernel_descent import Spectrum, schedule

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from fastntk.activations import Activation
    from fastntk.linearity.kernel_descent import Schedule

    Array = NDArray[np.float64]


class Prediction(NamedTuple):
    """Mean and covariance of the outputs of a trained network of infinite width.

    Attributes
    ----------
    mean : ndarray (m,) or (m, C)
        Of the same number of axes as the targets.
    covariance : ndarray (m, m), or None
        Of each output; different outputs are independent.
    """

    mean: Array
    covariance: Array | None


class Regression:
    """Regression on training samples, factorized once for any targets, samples and times.

    Parameters
    ----------
    X : array_like (n, d)
        Training samples, one a row.
    kernel : {"ntk", "nngp"}
        "ntk": all layers are trained. "nngp": only the last one is, which is Bayesian inference
        with the network as the prior.
    ridge : float
        λ ≥ 0: weight decay towards the initial weights, as ½ λ ‖w − w_0‖² beside ½ ‖f − y‖². With
        "nngp" it is the variance of the noise of the targets.
    depth, activation, weight_std, bias_std
        Of the network, see `ntk`.

    Notes
    -----
    Predictions at the end of training take a Cholesky decomposition, n³/3 multiply-adds, those at
    other times all eigenvectors; each is computed when first needed, and kept.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> X = np.random.default_rng(0).standard_normal((50, 3))
    >>> regression = infinite.Regression(X, depth=2)
    >>> y = X[:, 0] * X[:, 1]
    >>> trained = regression.predict(X, y).mean
    >>> bool(np.allclose(trained, y))
    True
    >>> early = regression.predict(X, y, time=10.0).mean
    >>> bool(np.linalg.norm(early) < np.linalg.norm(y))
    True
    """

    def __init__(
        self,
        X: ArrayLike,
        *,
        kernel: str = "ntk",
        ridge: float = 0.0,
        depth: int = 3,
        activation: str | Activation = "relu",
        weight_std: float = 1.0,
        bias_std: float = 0.0,
    ) -> None:
        self._samples = matrices.samples(X, "X", np.dtype(np.float64))
        self._kind = arguments.choice(kernel, "kernel", ("ntk", "nngp"))
        self._ridge = arguments.real(ridge, "ridge", minimum=0.0)
        self._network: dict[str, Any] = {
            "depth": arguments.integer(depth, "depth", minimum=0),
            "activation": activation,
            "weight_std": weight_std,
            "bias_std": bias_std,
        }
        n = len(self._samples)
        require_memory(
            16 * n * n, f"regression on {n} samples, with a factorization,", "take fewer samples"
        )
        function = ntk if self._kind == "ntk" else nngp
        self._kernel: Array = np.asarray(function(self._samples, **self._network), np.float64)

    @cached_property
    def _prior(self) -> Array:
        if self._kind == "nngp":
            return self._kernel
        return np.asarray(nngp(self._samples, **self._network), np.float64)

    @cached_property
    def _cholesky(self) -> tuple[Array, bool]:
        matrix = self._kernel.copy()
        matrix.flat[:: len(matrix) + 1] += self._ridge
        try:
            return cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            raise LinAlgError(
                f"ridge={self._ridge!r}: the kernel of X is singular to working precision, as it "
                "is when samples repeat or are parallel; expected a larger ridge, or a finite time"
            ) from None

    @cached_property
    def _spectrum(self) -> Spectrum:
        return Spectrum.of(self._kernel)

    def _filtered(self, right: Array, given: Schedule | None) -> Array:
        """Return (Θ + λ)⁻¹ (1 − q(Θ + λ)) times the columns of `right`; None: q = 0."""
        if given is None:
            return np.asarray(cho_solve(self._cholesky, right, check_finite=False))
        spectrum = self._spectrum
        gain = given.gain(spectrum.eigenvalues + self._ridge, len(self._samples))
        return spectrum.apply(gain, right)

    def predict(
        self,
        Z: ArrayLike,
        y: ArrayLike,
        *,
        time: float = math.inf,
        steps: int | None = None,
        learning_rate: float | None = None,
        covariance: bool = False,
    ) -> Prediction:
        """Return the outputs of the trained network at other samples.

        Parameters
        ----------
        Z : array_like (m, d)
            Samples, one a row.
        y : array_like (n,) or (n, C)
            Targets of the training samples.
        time : float
            How long gradient flow on the loss 1/(2n) ‖f − y‖² has run; gradient descent with a
            small step η is at ηk after k steps.
        steps, learning_rate : int and float, optional
            Of gradient descent, in place of `time`. It diverges above 2n/(λ_max + λ).
        covariance : bool
            Whether to return the covariance over initializations, too: with "nngp" and at the end
            of training, the posterior covariance.

        Returns
        -------
        Prediction
        """
        given = None
        if steps is not None or learning_rate is not None or time != math.inf:
            until = None if time == math.inf else arguments.real(time, "time", minimum=0.0)
            count = None if steps is None else arguments.integer(steps, "steps", minimum=0)
            given = schedule(until, count, learning_rate)
        targets = _targets(y, len(self._samples))
        points = matrices.samples(Z, "Z", np.dtype(np.float64), columns=self._samples.shape[1])
        if not covariance and self._kind == "ntk":
            cross = prior_cross = np.asarray(ntk(points, self._samples, **self._network))
        else:
            both = kernels(points, self._samples, **self._network)
            cross, prior_cross = np.asarray(getattr(both, self._kind)), np.asarray(both.nngp)
        columns = targets.reshape(len(targets), -1)
        mean = (cross @ self._filtered(columns, given)).reshape(len(points), *targets.shape[1:])
        if not covariance:
            return Prediction(mean, None)
        weights = self._filtered(cross.T, given).T  # A_t
        mixed = weights @ prior_cross.T
        spread = weights @ self._prior @ weights.T - mixed - mixed.T
        if self._kind == "nngp":  # the noise of the targets
            spread += self._ridge * (weights @ weights.T)
        spread += nngp(points, **self._network)
        return Prediction(mean, (spread + spread.T) / 2)


def predict(
    X: ArrayLike,
    y: ArrayLike,
    Z: ArrayLike,
    *,
    kernel: str = "ntk",
    ridge: float = 0.0,
    time: float = math.inf,
    steps: int | None = None,
    learning_rate: float | None = None,
    covariance: bool = False,
    depth: int = 3,
    activation: str | Activation = "relu",
    weight_std: float = 1.0,
    bias_std: float = 0.0,
) -> Prediction:
    """Return what a network of infinite width predicts at Z after training on X and y.

    For several targets, samples or times, make a `Regression` and keep it.

    Parameters
    ----------
    X, y : array_like (n, d), (n,) or (n, C)
        Training samples and their targets.
    Z : array_like (m, d)
        Samples, one a row.
    kernel, ridge, depth, activation, weight_std, bias_std
        As for `Regression`.
    time, steps, learning_rate, covariance
        As for `Regression.predict`.

    Returns
    -------
    Prediction
        With the arrays `mean` and `covariance`.

    Examples
    --------
    >>> import numpy as np
    >>> from fastntk import infinite
    >>> X = np.array([[1.0, 0.0], [0.0, 1.0]])
    >>> mean, covariance = infinite.predict(X, [1.0, -1.0], [[1.0, 1.0]], covariance=True)
    >>> bool(np.allclose(mean, 0))
    True
    >>> covariance.shape
    (1, 1)
    """
    regression = Regression(
        X,
        kernel=kernel,
        ridge=ridge,
        depth=depth,
        activation=activation,
        weight_std=weight_std,
        bias_std=bias_std,
    )
    return regression.predict(
        Z, y, time=time, steps=steps, learning_rate=learning_rate, covariance=covariance
    )


def _targets(y: ArrayLike, samples: int) -> Array:
    targets = np.asarray(y)
    if targets.ndim not in (1, 2) or len(targets) != samples:
        raise ValueError(
            f"y has shape {targets.shape}: expected ({samples},) or ({samples}, C), targets for "
            f"each of the {samples} rows of X"
        )
    columns = matrices.matrix(targets.reshape(samples, -1), "y", np.dtype(np.float64))
    return np.asarray(columns.reshape(targets.shape), dtype=np.float64)
