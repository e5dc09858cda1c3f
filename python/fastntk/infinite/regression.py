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
import numbers
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk._support import arguments
from fastntk._support.memory import require_memory
from fastntk._support.threads import in_own_thread
from fastntk.devices import matrices
from fastntk.infinite.architecture import Architecture
from fastntk.infinite.kernel_errors import dual_error
from fastntk.infinite.kernel_matrices import kernel_matrices, kernel_matrix
from fastntk.infinite.kernel_system import KernelSystem
from fastntk.infinite.layer_factors import KINDS
from fastntk.infinite.sample_norms import Samples
from fastntk.linearity.kernel_descent import Flow, Spectrum, schedule

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
    mean : ndarray (..., m) or (..., m, C)
        The mean, with as many axes as the targets have, after those of `time` or `steps`.
    covariance : ndarray (..., m, m), or None
        The covariance of each output; different outputs are independent.
    """

    mean: Array
    covariance: Array | None

    def __repr__(self) -> str:
        from fastntk._support.display import short_repr

        return short_repr(self, mean=self.mean, covariance=self.covariance)


class Regression:
    """Regression on training samples, factorized once for any targets, samples and times.

    Parameters
    ----------
    X : array_like (n, d)
        Training samples, one a row.
    kernel : {"ntk", "nngp"}
        "ntk": all layers are trained. "nngp": only the last one is, which is Bayesian inference
        with the network as the prior.
    ridge : float or "auto"
        λ ≥ 0: weight decay towards the initial weights, as ½ λ ‖w − w_0‖² beside ½ ‖f − y‖². With
        "nngp" it is the variance of the noise of the targets. "auto" is 0 where rounding allows
        that, and otherwise so little that rounding moves no eigenvalue of Θ + λ by more than its
        thousandth, about 1000 noise floors.
    solution : {"unique", "least_squares"}
        What the end of training is where Θ + λ is singular to working precision, as it is when
        samples repeat or are parallel. "unique": an error that says which samples do.
        "least_squares": the limit λ → 0, which is that of t → ∞ as well: least squares with the
        smallest change of weights, by the eigenvalues above the noise floor.
    depth : int, optional
        Number of hidden layers, as for `Network`.
    activation, weight_std, bias_std, activation_scale
        As for `Network`.
    parametrization, width, layer_weights, tolerance
        As for `Network`.

    Attributes
    ----------
    ridge : float
        The λ in use.

    Notes
    -----
    Predictions at the end of training take a Cholesky decomposition, n³/3 multiply-adds, those at
    other times, and ``solution="least_squares"``, all eigenvectors; each is computed when first
    needed, and kept. Results are the same, bit for bit, for any number of threads.

    The noise floor is n ε λ_max and, for activations whose dual is not in closed form, the error
    that `tolerance` allows to the kernel. At finite times, directions with eigenvalues below it
    stay where they were at the start from the time t on at which floor · t/n is above 2⁻²⁶: later,
    rounding would move them.

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
        ridge: float | str = 0.0,
        solution: str = "unique",
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
        self._given_ridge = _ridge(ridge)
        self._solution = arguments.choice(solution, "solution", ("unique", "least_squares"))
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
        norms = Samples.of(self._samples).norms
        self._error = dual_error(self._network, norms, tangent=self._kind == "ntk")
        n = len(self._samples)
        require_memory(
            16 * n * n, f"regression on {n} samples, with a factorization,", "take fewer samples"
        )
        self._kernel: Array = np.asarray(kernel_matrix(self._network, self._kind, self._samples))

    def __repr__(self) -> str:
        ridge = "auto" if self._given_ridge is None else f"{self._given_ridge:g}"
        samples = f"{len(self._samples)} samples"
        return f"<Regression: {self._kind}, {samples}, ridge {ridge}, {self._network!r}>"

    @cached_property
    def _prior(self) -> Array:
        if self._kind == "nngp":
            return self._kernel
        return np.asarray(kernel_matrix(self._network, "nngp", self._samples))

    @cached_property
    def ridge(self) -> float:
        """The λ in use: the one that was given, or what "auto" stands for."""
        if self._given_ridge is not None:
            return self._given_ridge
        plain = KernelSystem(self._kernel, 0.0, self._error)
        if not plain.resolved:
            return plain.sufficient_ridge
        self._system = plain
        return 0.0

    @cached_property
    def _system(self) -> KernelSystem:
        return KernelSystem(self._kernel, self.ridge, self._error)

    @cached_property
    def _spectrum(self) -> Spectrum:
        return Spectrum.of(self._kernel)

    def _filtered(self, right: Array, given: Schedule) -> Array:
        """Return (Θ + λ)⁻¹ (1 − q(Θ + λ)) times the columns of `right` (n, k): (…, n, k)."""
        ends = (
            np.isinf(given.time) if isinstance(given, Flow) else np.zeros(given.steps.shape, bool)
        )
        by_cholesky = ends & (self._solution == "unique")
        if by_cholesky.all():
            solution = self._solve(right)
            return np.broadcast_to(solution, (*ends.shape, *solution.shape))
        spectrum = self._spectrum
        eigenvalues = spectrum.eigenvalues + self.ridge
        floor = spectrum.floor + self._error * float(np.diagonal(self._kernel).max())
        gain = given.gain(eigenvalues, len(self._samples), floor)
        filtered = spectrum.apply(gain, right)
        if by_cholesky.any():
            filtered[by_cholesky] = self._solve(right)
        return filtered

    def _solve(self, right: Array) -> Array:
        if not self._system.resolved:
            raise self._system.singular(self._samples)
        return self._system.solve(right)

    def predict(
        self,
        Z: ArrayLike,
        y: ArrayLike,
        *,
        time: ArrayLike = math.inf,
        steps: ArrayLike | None = None,
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
        time : float or array_like
            How long gradient flow on the loss 1/(2n) ‖f − y‖² has run, by default to its end;
            gradient descent with a small step η is at ηk after k steps. Any shape.
        steps, learning_rate : int or array_like, and float, optional
            Steps of gradient descent, of any shape, and their size, in place of `time`. It diverges
            for learning rates above 2n/(λ_max + λ).
        covariance : bool
            Whether to return the covariance over initializations, too: with "nngp" and at the end
            of training, the posterior covariance.

        Returns
        -------
        Prediction
            With the axes of `time` or `steps` first.

        Raises
        ------
        numpy.linalg.LinAlgError
            At the end of training, with ``solution="unique"``, if Θ + λ is singular to working
            precision.
        """
        covariance = arguments.flag(covariance, "covariance")
        descends = steps is not None or learning_rate is not None
        moment: Any = time  # of which mypy does not know that it may be a number of NumPy
        at_the_end = isinstance(moment, numbers.Real) and moment == math.inf
        given = schedule(None if descends and at_the_end else time, steps, learning_rate)
        targets = _targets(y, len(self._samples))
        points = matrices.samples(
            Z,
            "Z",
            np.dtype(np.float64),
            columns=self._samples.shape[1],
            why="as many as X has",
        )
        kinds = KINDS if covariance and self._kind == "ntk" else (self._kind,)
        both = kernel_matrices(self._network, points, self._samples, kinds=kinds)
        cross, prior_cross = np.asarray(getattr(both, self._kind)), np.asarray(both.nngp)
        columns = targets.reshape(len(targets), -1)
        coefficients = self._filtered(columns, given)
        mean = in_own_thread(lambda: cross @ coefficients)
        mean = mean.reshape(*coefficients.shape[:-2], len(points), *targets.shape[1:])
        if not covariance:
            return Prediction(mean, None)
        filtered = self._filtered(cross.T, given)  # A_tᵀ
        weights = np.swapaxes(filtered, -1, -2)
        prior = kernel_matrix(self._network, "nngp", points)
        prior_here = self._prior

        def spread_of_filtered() -> Array:
            mixed = weights @ prior_cross.T
            spread = weights @ prior_here @ filtered - mixed - np.swapaxes(mixed, -1, -2)
            if self._kind == "nngp":  # the noise of the targets
                spread += self.ridge * (weights @ filtered)
            return np.asarray(spread)

        spread = in_own_thread(spread_of_filtered) + prior
        return Prediction(mean, (spread + np.swapaxes(spread, -1, -2)) / 2)


def _ridge(value: float | str) -> float | None:
    """Return a ridge as it was given, or None for "auto"."""
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(
                f"ridge={arguments.shown(value)}: expected a finite number of at least 0, or 'auto'"
            )
        return None
    return arguments.real(value, "ridge", minimum=0.0)


def _targets(y: ArrayLike, samples: int) -> Array:
    targets = matrices.host_array(y, "y")
    if targets.ndim not in (1, 2) or len(targets) != samples:
        raise ValueError(
            f"y has shape {targets.shape}: expected ({samples},) or ({samples}, C), targets for "
            f"each of the {samples} rows of X"
        )
    columns = matrices.matrix(targets.reshape(samples, -1), "y", np.dtype(np.float64))
    return np.asarray(columns.reshape(targets.shape), dtype=np.float64)
