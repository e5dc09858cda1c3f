# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training of the linear model around a network's weights on the square loss, in closed form."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.threads import core_threads
from fastntk.linearity.jacobians import transposed_jacobian_products
from fastntk.linearity.kernel_descent import Descent, schedule
from fastntk.linearity.parameter_space import kernel_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk.linearity.kernel_descent import Schedule, Spectrum
    from fastntk.linearity.output_kernels import OutputKernels

    Array = NDArray[np.float64]

# Entries of the kernel between other samples and those of training that are formed at a time.
_CROSS_KERNEL_ENTRIES = 2**24


class LinearizedTraining:
    """Gradient flow and gradient descent of f₀ + F Δw on L = 1/(2n) ‖f − y‖², at any time.

    Made by `LinearizedMLP.fit`. Times are those of the flow ẇ = −∂L/∂w, with t = η k after k steps
    of gradient descent with a small learning rate η. Everything is in float64, with the features of
    the network in its own precision.

    Attributes
    ----------
    n : int
        The number of training samples.
    eigenvalues : ndarray
        Those of the kernel, in rising order: (n C,) with ``outputs="full"``, and a row for each
        output, (C, n), with "diagonal".

    Notes
    -----
    All eigenvectors are computed at once, about 9 N³ operations for a matrix of N = n C ("full") or
    C of N = n rows ("diagonal"); times and step counts are then cheap. Results are the same, bit
    for bit, for any number of threads.

    ``time=np.inf`` is the limit t → ∞: least squares with the Δw of least norm. A direction whose
    eigenvalue is below the noise floor N ε λ_max stays where it was, because rounding may be all
    that is in it: repeated samples with different targets end at their mean. So it does from the
    finite time t, or t = η k, on at which floor · t/n is above 2⁻²⁶; before, moving it at the rate
    of an eigenvalue of 0 is right to that accuracy.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((20, 3))
    >>> y = X[:, 0] * X[:, 1]
    >>> training = fastntk.MLP([3, 64, 64, 1]).linearize().fit(X, y)
    >>> rate = training.best_learning_rate
    >>> loss = training.loss(learning_rate=rate, steps=[0, 10, 1000])
    >>> bool(np.all(np.diff(loss) < 0))
    True
    >>> training.outputs([[1.0, 1.0, 0.0]], time=5.0).shape
    (1, 1)
    """

    def __init__(
        self, kernels: OutputKernels, X: FloatArray, y: Array, spectra: Sequence[Spectrum]
    ) -> None:
        self.n = len(X)
        self.network = kernels.network
        self._kernels = kernels
        self._samples = X  # (n, d)
        self._targets = y  # (n, C)
        self._spectra = spectra  # those of the kernels of these samples
        self._error = kernels.split(y - kernels.placed.evaluate(X))  # y − f(0)
        self.eigenvalues = kernels.eigenvalues([spectrum.eigenvalues for spectrum in spectra])

    def __repr__(self) -> str:
        from fastntk._support.display import short_repr

        return short_repr(self, n=self.n, eigenvalues=self.eigenvalues)

    @property
    def largest_learning_rate(self) -> float:
        """2n/λ_max: gradient descent converges below it, and diverges above."""
        return 2 * self.n / float(self.eigenvalues.max())

    @property
    def best_learning_rate(self) -> float:
        """2n/(λ_max + λ_min): the slowest and the fastest error fall at the same rate."""
        return 2 * self.n / float(self.eigenvalues.max() + self.eigenvalues.min())

    def outputs(
        self,
        Z: ArrayLike | None = None,
        *,
        time: ArrayLike | None = None,
        steps: ArrayLike | None = None,
        learning_rate: float | None = None,
    ) -> Array:
        """Return the outputs after some time of gradient flow, or some steps of descent.

        Parameters
        ----------
        Z : array_like (m, d), optional
            Samples, one a row; by default those of training.
        time : float or array_like
            The time t ≥ 0 of gradient flow, of any shape; `numpy.inf` is the end of training.
        steps, learning_rate : int or array_like, and float
            For gradient descent, in place of `time`: so many steps w ← w − η ∂L/∂w. With a learning
            rate above `largest_learning_rate` the outputs grow until they are not finite, and so
            does the loss.

        Returns
        -------
        ndarray (…, m, C)
            With the axes of `time` or `steps` first.

        Raises
        ------
        OverflowError
            If outputs are not finite where descent does not diverge: the targets are too large.
        """
        given = schedule(time, steps, learning_rate)
        with np.errstate(over="ignore", invalid="ignore"):  # found out below
            outputs = self._outputs(Z, given)
        self._require_finite(outputs, given)
        return outputs

    def _outputs(self, Z: ArrayLike | None, given: Schedule) -> Array:
        if Z is None:
            return self._targets - self._kernels.join(self._apply(given.remaining), self.n)
        points = self.network.samples(Z, "Z")
        coefficients = self._apply(given.gain)
        per_sample = self.n * self._kernels.count * self._kernels.rows_a_sample**2
        size = max(1, _CROSS_KERNEL_ENTRIES // per_sample)
        parts = []
        for first in range(0, len(points), size):
            block = points[first : first + size]
            kernels = self._kernels.of(block, self._samples)
            with core_threads():
                moved = [kernel @ a for kernel, a in zip(kernels, coefficients, strict=True)]
            f = self._kernels.placed.evaluate(block)
            parts.append(f + self._kernels.join(moved, len(block)))
        return np.concatenate(parts, axis=-2)

    def loss(
        self,
        *,
        time: ArrayLike | None = None,
        steps: ArrayLike | None = None,
        learning_rate: float | None = None,
    ) -> Array:
        """Return the loss 1/(2n) ‖f − y‖² on the training samples.

        Parameters
        ----------
        time, steps, learning_rate
            As for `outputs`.

        Returns
        -------
        ndarray
            Has the shape of `time` or `steps`, and the digits that differences of outputs and
            targets would lose.

        Raises
        ------
        OverflowError
            As for `outputs`.
        """
        given = schedule(time, steps, learning_rate)
        squares: Array = np.zeros(())
        for spectrum, error in zip(self._spectra, self._error, strict=True):
            with np.errstate(over="ignore", invalid="ignore"):
                along = spectrum.coefficients(error)[:, 0]
                left = given.remaining(spectrum.eigenvalues, self.n, spectrum.floor) * along
                squares = squares + np.square(left).sum(axis=-1)
        self._require_finite(squares, given)
        return squares / (2 * self.n)

    def parameter_change(
        self,
        *,
        time: ArrayLike | None = None,
        steps: ArrayLike | None = None,
        learning_rate: float | None = None,
    ) -> Array:
        """Return Δw, in the order of `MLP.gradient_features`.

        Parameters
        ----------
        time, steps, learning_rate
            As for `outputs`.

        Returns
        -------
        ndarray (…, P)
            With the axes of `time` or `steps` first. With ``outputs="diagonal"`` it is the change
            that would move the outputs so if they had no parameters in common: an approximation.

        Raises
        ------
        OverflowError
            If descent has diverged so far that Δw is not finite, or it is not for these targets.
        """
        given = schedule(time, steps, learning_rate)
        coefficients = self._kernels.join(self._apply(given.gain), self.n)  # (…, n, C)
        with np.errstate(over="ignore"):
            cotangents = coefficients.astype(self.network.dtype, copy=False)
        if not np.isfinite(cotangents).all():
            raise self._overflow(given)
        change = transposed_jacobian_products(
            self._kernels.placed,
            self._samples,
            np.moveaxis(cotangents.reshape(-1, *cotangents.shape[-2:]), 0, -1),
        )
        return (change * self._kernel_weights).reshape(*coefficients.shape[:-2], -1)

    def _require_finite(self, values: Array, given: Schedule) -> None:
        """Raise OverflowError for what is not finite although descent does not diverge."""
        if not (self._diverges(given) or np.isfinite(values).all()):
            raise self._overflow(given)

    def _diverges(self, given: Schedule) -> bool:
        return isinstance(given, Descent) and given.learning_rate > self.largest_learning_rate

    def _overflow(self, given: Schedule) -> OverflowError:
        """Return the error for what is not finite."""
        if isinstance(given, Descent) and self._diverges(given):
            return given.diverged(self.largest_learning_rate)
        return OverflowError(
            f"y: what training does is not finite in {self.network.dtype}: expected smaller targets"
        )

    @cached_property
    def _kernel_weights(self) -> Array:
        """ω (P,), by which the parameters' rates of change differ from their gradients."""
        return kernel_weights(self.network)

    def _apply(self, factors: Callable[[Array, int, float], Array]) -> list[Array]:
        """Return a function of each kernel times y − f(0)."""
        return [
            spectrum.apply(factors(spectrum.eigenvalues, self.n, spectrum.floor), error)
            for spectrum, error in zip(self._spectra, self._error, strict=True)
        ]
