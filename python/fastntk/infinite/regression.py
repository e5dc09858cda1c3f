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
from fastntk.infinite.architecture import Architecture
from fastntk.infinite.kernel_matrices import kernel_matrices, kernel_matrix
from fastntk.infinite.layer_factors import KINDS
from fastntk.linearity.kernel_descent import Spectrum, schedule

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastntk.activations import Activation
    from fastntk.linearity.kernel_descent import Schedule

    Array = NDArray[np.float64]


class Prediction(NamedTuple):
    """Mean and covariance of the outputs of a trained network of infinite width.

    Attributes
    ----------
    mean : ndarray (m,) or (m, C)
        The mean, with as many axes as the targets have.
    covariance : ndarray (m, m), or None
        The covariance of each output; different outputs are independent.
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
    depth : int, optional
        Number of hidden layers, as for `Network`.
    activation, weight_std, bias_std, activation_scale
        As for `Network`.
    parametrization, width, layer_weights, tolerance
        As for `Network`.

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
        depth: int | None = None,
        activation: str | Activation | Sequence[str | Activation] = "relu",
        weight_std: float | Sequence[float] = 1.0,
        bias_std: float | Sequence[float] = 0.0,
        activation_scale: float | Sequence[float | None] | None = None,
        parametrization: str = "ntk",
        width: int | None = None,
        layer_weights: ArrayLike | None = None,
        tolerance: float = 1e-10,
    ) -> None:
        self._samples = matrices.samples(X, "X", np.dtype(np.float64))
        self._kind = arguments.choice(kernel, "kernel", ("ntk", "nngp"))
        self._ridge = arguments.real(ridge, "ridge", minimum=0.0)
        self._network = Architecture(
            depth,
            activation,
            weight_std,
            bias_std,
            activation_scale=activation_scale,
            parametrization=parametrization,
            width=width,
            layer_weights=layer_weights,
            tolerance=tolerance,
        )
        self._network.require_one_depth()
        n = len(self._samples)
        require_memory(
            16 * n * n, f"regression on {n} samples, with a factorization,", "take fewer samples"
        )
        self._kernel: Array = np.asarray(kernel_matrix(self._network, self._kind, self._samples))

    @cached_property
    def _prior(self) -> Array:
        if self._kind == "nngp":
            return self._kernel
        return np.asarray(kernel_matrix(self._network, "nngp", self._samples))

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
            Steps of gradient descent and their size, in place of `time`. It diverges for learning
            rates above 2n/(λ_max + λ).
        covariance : bool
            Whether to return the covariance over initializations, too: with "nngp" and at the end
            of training, the posterior covariance.

        Returns
        -------
        Prediction
        """
        covariance = arguments.flag(covariance, "covariance")
        given = None
        if steps is not None or learning_rate is not None or time != math.inf:
            until = None if time == math.inf else arguments.real(time, "time", minimum=0.0)
            count = None if steps is None else arguments.integer(steps, "steps", minimum=0)
            given = schedule(until, count, learning_rate)
        targets = _targets(y, len(self._samples))
        points = matrices.samples(Z, "Z", np.dtype(np.float64), columns=self._samples.shape[1])
        kinds = KINDS if covariance and self._kind == "ntk" else (self._kind,)
        both = kernel_matrices(self._network, points, self._samples, kinds=kinds)
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
        spread += kernel_matrix(self._network, "nngp", points)
        return Prediction(mean, (spread + spread.T) / 2)


def _targets(y: ArrayLike, samples: int) -> Array:
    targets = matrices.host_array(y, "y")
    if targets.ndim not in (1, 2) or len(targets) != samples:
        raise ValueError(
            f"y has shape {targets.shape}: expected ({samples},) or ({samples}, C), targets for "
            f"each of the {samples} rows of X"
        )
    columns = matrices.matrix(targets.reshape(samples, -1), "y", np.dtype(np.float64))
    return np.asarray(columns.reshape(targets.shape), dtype=np.float64)
