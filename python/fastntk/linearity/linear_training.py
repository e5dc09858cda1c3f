# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training of the linear model around a network's weights on the square loss, in closed form."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk._support.memory import require_memory
from fastntk.devices import matrices
from fastntk.linearity.kernel_descent import Spectrum, schedule
from fastntk.networks.targets import targets

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk.mlp import MLP

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
        Of the kernel, in rising order: (n C,) with ``outputs="full"``, (C, n) with "diagonal".

    Notes
    -----
    All eigenvectors are computed at once, about 9 N³ operations for a matrix of N = n C ("full") or
    C of N = n rows ("diagonal"); times and step counts are then cheap.

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
        self,
        net: MLP,
        X: ArrayLike,
        y: ArrayLike,
        *,
        outputs: str = "full",
        layer_weights: ArrayLike | None = None,
    ) -> None:
        arguments.choice(outputs, "outputs", ("full", "diagonal"))
        self._full = outputs == "full"
        self._net = net
        self._weights = layer_weights
        self._samples = matrices.samples(X, "X", net.dtype, columns=net.widths[0])
        self.n = len(self._samples)
        double = np.dtype(np.float64)
        self._targets = targets(y, "y", "mse", self.n, net.n_outputs, double)
        rows = self.n * (net.n_outputs if self._full else 1)
        count = 1 if self._full else net.n_outputs
        require_memory(
            8 * rows * rows * (2 * count + 2),
            f"{count} kernels of {rows} rows and their eigenvectors",
            "take fewer samples" + (" or outputs='diagonal'" if self._full else ""),
        )
        self._spectra = [
            Spectrum.of(kernel, overwrite=True) for kernel in self._kernels(self._samples)
        ]
        # y − f(0): a column for each spectrum
        error = self._targets - net(self._samples)
        self._error = [error.reshape(-1, 1)] if self._full else [c[:, np.newaxis] for c in error.T]
        values = [spectrum.eigenvalues for spectrum in self._spectra]
        self.eigenvalues = values[0] if self._full else np.stack(values)

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
            Of gradient flow: t ≥ 0, of any shape.
        steps, learning_rate : int or array_like, and float
            Of gradient descent, in place of `time`: so many steps w ← w − η ∂L/∂w. With a learning
            rate above `largest_learning_rate` the outputs grow until they are not finite.

        Returns
        -------
        ndarray (…, m, C)
            With the axes of `time` or `steps` first.
        """
        given = schedule(time, steps, learning_rate)
        if Z is None:
            return self._targets - self._join(self._apply(given.remaining), self.n)
        points = matrices.samples(Z, "Z", self._net.dtype, columns=self._net.widths[0])
        coefficients = self._apply(given.gain)
        per_row = self.n * self._net.n_outputs * (self._net.n_outputs if self._full else 1)
        size = max(1, _CROSS_KERNEL_ENTRIES // per_row)
        parts = []
        for first in range(0, len(points), size):
            block = points[first : first + size]
            moved = [
                kernel @ a
                for kernel, a in zip(self._kernels(block, self._samples), coefficients, strict=True)
            ]
            parts.append(self._net(block) + self._join(moved, len(block)))
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
            Of the shape of `time` or `steps`; with the digits that differences of outputs and
            targets would lose.
        """
        given = schedule(time, steps, learning_rate)
        squares: Array = np.zeros(())
        for spectrum, error in zip(self._spectra, self._error, strict=True):
            along = spectrum.vectors.T @ error[:, 0]
            with np.errstate(over="ignore"):
                left = given.remaining(spectrum.eigenvalues, self.n) * along
                squares = squares + np.square(left).sum(axis=-1)
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
            With the axes of `time` or `steps` first. With ``outputs="diagonal"`` what would move
            the outputs so if they had no parameters in common: an approximation.

        Raises
        ------
        OverflowError
            If descent has diverged so far that Δw is not finite.
        """
        given = schedule(time, steps, learning_rate)
        coefficients = self._join(self._apply(given.gain), self.n)  # (…, n, C)
        if not np.isfinite(coefficients).all():
            raise OverflowError(
                f"steps={steps!r}, learning_rate={learning_rate!r}: descent diverges, as it does "
                f"above {self.largest_learning_rate:.6g}: expected fewer steps, or a smaller rate"
            )
        shape = coefficients.shape[:-2]
        cotangents = np.moveaxis(coefficients.reshape(-1, *coefficients.shape[-2:]), 0, -1)
        change = np.asarray(self._net.vjp(self._samples, cotangents).T, dtype=np.float64)
        return (change * self._parameter_weights).reshape(*shape, -1)

    @cached_property
    def _parameter_weights(self) -> Array:
        """ω of each parameter."""
        parts: list[Array] = []
        for layer in self._net.network.weighted(self._weights).layers:
            of_weights, of_bias = layer.kernel_weights
            parts.append(np.full(layer.weights.size, of_weights))
            if layer.bias is not None:
                parts.append(np.full(layer.bias.size, of_bias))
        return np.concatenate(parts)

    def _apply(self, factors: Callable[[Array, int], Array]) -> list[Array]:
        """Return a function of each kernel times y − f(0)."""
        return [
            spectrum.apply(factors(spectrum.eigenvalues, self.n), error)
            for spectrum, error in zip(self._spectra, self._error, strict=True)
        ]

    def _kernels(self, X: FloatArray, Z: FloatArray | None = None) -> list[Array]:
        """Return the kernel of all outputs together, or that of each one."""
        kernel = self._net.ntk(
            X,
            Z,
            outputs="full" if self._full else "diagonal",
            layer_weights=self._weights,
            dtype=np.float64,
        )
        if not self._full:
            return [np.ascontiguousarray(kernel[:, :, c]) for c in range(self._net.n_outputs)]
        n, m, outputs, _ = kernel.shape
        return [kernel.transpose(0, 2, 1, 3).reshape(n * outputs, m * outputs)]

    def _join(self, columns: list[Array], rows: int) -> Array:
        """Return (…, rows, C), of (…, rows C, 1) or C of (…, rows, 1)."""
        if not self._full:
            return np.concatenate(columns, axis=-1)
        (column,) = columns
        return column.reshape(*column.shape[:-2], rows, self._net.n_outputs)
