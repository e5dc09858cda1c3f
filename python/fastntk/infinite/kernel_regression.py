# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Regression with a kernel matrix of training samples, wherever that comes from.

The square loss 1/(2n) ‖f − y‖² under gradient flow moves the outputs at the training samples by
df/dt = −(1/n) Θ (f − y). With the spectral filter A_t = Θ_* (Θ + λ)⁻¹ (1 − exp(−(Θ + λ) t/n)) the
outputs at other samples are f_* = f_*(0) + A_t (y − f(0)), and f(0) has the covariance Σ.

Lee et al., "Wide neural networks of any depth evolve as linear models under gradient descent",
NeurIPS 2019.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk._support import arguments
from fastntk._support.memory import require_memory
from fastntk._support.threads import in_own_thread
from fastntk.infinite.kernel_system import KernelSystem
from fastntk.linearity.kernel_descent import Descent, Flow, Spectrum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.linearity.kernel_descent import Schedule

    Array = NDArray[np.float64]


class Prior(NamedTuple):
    """The covariance Σ of the outputs before training.

    Attributes
    ----------
    here : ndarray (n, n), or None
        Of the training samples. None: it is the kernel of the regression, and targets have noise
        of the variance λ.
    cross : ndarray (m, n)
        Of other samples with these.
    there : ndarray (m, m), or (m,)
        Of the other samples; where only variances are wanted, its diagonal.
    """

    here: Array | None
    cross: Array
    there: Array


class KernelRegression:
    """Regression on training samples with the kernel Θ of these, factorized once.

    Parameters
    ----------
    kernel : ndarray (n, n)
        Θ, which is not written to.
    samples : ndarray (n, d)
        The training samples, which errors speak of.
    ridge, solution
        As for `fastntk.infinite.Regression`.
    error : float
        The error of Θ_ij relative to √(Θ_ii Θ_jj), beside rounding.

    Attributes
    ----------
    given_ridge : float or None
        The one that was given; None stands for "auto".
    ridge : float
        The λ in use: the one that was given, or what "auto" stands for.
    """

    def __init__(
        self, kernel: Array, samples: Array, *, ridge: float | None, solution: str, error: float
    ) -> None:
        self._kernel, self._samples = kernel, samples
        self.given_ridge, self._solution, self._error = ridge, solution, error

    @cached_property
    def ridge(self) -> float:
        """The λ in use."""
        if self.given_ridge is not None:
            return self.given_ridge
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

    def filtered(self, right: Array, given: Schedule) -> Array:
        """Return (Θ + λ)⁻¹ (1 − q(Θ + λ)) times the columns of `right` (n, k): (…, n, k).

        Raises
        ------
        OverflowError
            If it is not finite.
        """
        ends = (
            np.isinf(given.time) if isinstance(given, Flow) else np.zeros(given.steps.shape, bool)
        )
        by_cholesky = ends & (self._solution == "unique")
        if by_cholesky.all():
            solution = self._solve(right)
            self.require_finite(solution, given)
            return np.broadcast_to(solution, (*ends.shape, *solution.shape))
        spectrum = self._spectrum
        eigenvalues = spectrum.eigenvalues + self.ridge
        floor = spectrum.floor + self._error * float(np.diagonal(self._kernel).max())
        gain = given.gain(eigenvalues, len(self._samples), floor)
        filtered = spectrum.apply(gain, right)
        if by_cholesky.any():
            filtered[by_cholesky] = self._solve(right)
        self.require_finite(filtered, given)
        return filtered

    def _solve(self, right: Array) -> Array:
        if not self._system.resolved:
            raise self._system.singular(self._samples)
        return self._system.solve(right)

    def require_finite(self, values: Array, given: Schedule) -> None:
        """Raise OverflowError if what is computed for a schedule is not finite."""
        if np.isfinite(values).all():
            return
        if isinstance(given, Descent):
            most = float(self._spectrum.eigenvalues[-1]) + self.ridge
            if given.learning_rate * most > 2 * len(self._samples):
                raise given.diverged(2 * len(self._samples) / most)
        raise OverflowError(
            "y: predictions are not finite in float64: expected smaller targets, or a larger ridge"
        )

    def covariance(self, filtered: Array, prior: Prior) -> Array:
        """Return the covariance of the outputs at other samples: A Σ Aᵀ − A Σ_*ᵀ − Σ_* Aᵀ + Σ_**.

        Parameters
        ----------
        filtered : ndarray (…, n, m)
            Aᵀ, the kernel of the training samples with the others, filtered.
        prior : Prior
            Σ.

        Returns
        -------
        ndarray (…, m, m)
        """
        weights = np.swapaxes(filtered, -1, -2)

        def spread_of_filtered() -> Array:
            mixed = weights @ prior.cross.T
            here = self._kernel if prior.here is None else prior.here
            spread = weights @ here @ filtered - mixed - np.swapaxes(mixed, -1, -2)
            if prior.here is None:
                spread += self.ridge * (weights @ filtered)
            return np.asarray(spread)

        spread = in_own_thread(spread_of_filtered) + prior.there
        return np.asarray((spread + np.swapaxes(spread, -1, -2)) / 2)

    def variances(self, filtered: Array, prior: Prior) -> Array:
        """Return the diagonal of `covariance` at the end of training, without the rest of it.

        Where targets have noise of the variance λ, (Θ + λ) Aᵀ = Σ_*ᵀ at the end of training, so
        that one product is enough. What rounding makes negative is 0.

        Parameters
        ----------
        filtered : ndarray (n, m)
            Aᵀ.
        prior : Prior
            Σ, of the other samples the diagonal.

        Returns
        -------
        ndarray (m,)
        """

        def spread_of_filtered() -> Array:
            mixed = np.einsum("mn,nm->m", prior.cross, filtered)
            if prior.here is None:
                return np.asarray(-mixed)
            return np.asarray(np.einsum("nm,nm->m", filtered, prior.here @ filtered) - 2.0 * mixed)

        return np.maximum(in_own_thread(spread_of_filtered) + prior.there, 0.0)


def require_regression_memory(n: int) -> None:
    """Raise MemoryError if the kernel of n training samples and its factor do not fit.

    To be asked before the kernel is computed.
    """
    require_memory(
        16 * n * n, f"regression on {n} samples, with a factorization,", "take fewer samples"
    )


def checked_ridge(value: float | str) -> float | None:
    """Return a ridge as it was given, or None for "auto"."""
    if isinstance(value, str):
        if value != "auto":
            raise ValueError(
                f"ridge={arguments.shown(value)}: expected a finite number of at least 0, or 'auto'"
            )
        return None
    return arguments.real(value, "ridge", minimum=0.0)


def checked_solution(value: str) -> str:
    """Return what the end of training is for a singular kernel."""
    return arguments.choice(value, "solution", ("unique", "least_squares"))
