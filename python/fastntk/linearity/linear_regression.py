# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The linear model around a network's weights at the end of its training, without its kernel.

The minimum of ½ ‖f₀ + F Δw − y‖² + ½ λ Σ Δw²/ω is at Δw = diag(ω) Fᵀ a with (K + λ) a = y − f₀,
which conjugate gradients solve. Outputs at other samples are products F Δw, so that no kernel of
these with the training samples is needed either.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastntk.kernels.block_sizes import row_slices
from fastntk.linearity.kernel_operator import kernel_operator
from fastntk.linearity.kernel_rows import KernelRows, tree_sum
from fastntk.linearity.parameter_space import kernel_weights
from fastntk.symmetric.conjugate_gradients import solution_of, warn_of_residuals

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk._support.progress import Progress
    from fastntk.linearity.output_kernels import OutputKernels
    from fastntk.symmetric.conjugate_gradients import Iterations, KernelSolution

    Array = NDArray[np.float64]

# Samples whose features are held at a time, for outputs and for Δw.
_ROWS_AT_ONCE = 4096

_DOUBLE = np.dtype(np.float64)


class LinearizedRegression:
    """f₀ + F Δw at the end of training on ½ ‖f − y‖² + ½ λ ‖Δw‖², without its kernel.

    Made by `LinearizedMLP.fit` with ``solver="cg"``. Everything is in float64, with the features of
    the network in its own precision.

    Attributes
    ----------
    n : int
        The number of training samples.
    ridge : float
        λ.
    residuals : ndarray (1,) or (C,)
        ‖y − f₀ − (K + λ) a‖/‖y − f₀‖ of each system of equations, computed at the end with a
        product of its own: one for ``outputs="full"``, one for each output for "diagonal".
    iterations, converged : ndarray (1,) or (C,)
        How many iterations each of them took, and whether its residual is below the tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((200, 5))
    >>> y = X[:, 0] * X[:, 1]
    >>> model = fastntk.MLP([5, 128, 128, 1]).linearize()
    >>> fitted = model.fit(X, y, solver="cg", ridge=1e-3)
    >>> bool(fitted.converged.all()), fitted.outputs(X[:3]).shape
    (True, (3, 1))
    """

    def __init__(
        self,
        kernels: OutputKernels,
        X: FloatArray,
        y: Array,
        *,
        ridge: float,
        how: Iterations,
        block_rows: int | None,
        progress: Progress = False,
    ) -> None:
        self.n, self.ridge = len(X), ridge
        self._kernels, self._samples, self._targets = kernels, X, y
        errors = kernels.split(y - kernels.placed.evaluate(X))
        found: list[KernelSolution] = []
        changes: list[Array] = []
        for outputs, error in zip(kernels.outputs_of_equations, errors, strict=True):
            operator = kernel_operator(
                kernels.placed,
                X,
                outputs,
                _DOUBLE,
                all_pairs=kernels.rows_a_sample > 1,
                block_rows=block_rows,
            )
            solution = solution_of(operator, error, ridge, how, progress)
            del operator  # with its features
            found.append(solution)
            changes.append(self._change(outputs, solution.coefficients.reshape(self.n, -1)))
        self._changes = changes
        self.residuals = np.concatenate([each.residuals for each in found])
        self.iterations = np.concatenate([each.iterations for each in found])
        self.converged = np.concatenate([each.converged for each in found])
        for each in found:
            warn_of_residuals(each, how, ridge, stacklevel=4)

    def __repr__(self) -> str:
        from fastntk._support.display import short_repr

        shown = {"n": self.n, "ridge": self.ridge, "residuals": self.residuals}
        return short_repr(self, **shown, iterations=self.iterations, converged=self.converged)

    def outputs(self, Z: ArrayLike | None = None) -> Array:
        """Return the outputs at the end of training.

        Parameters
        ----------
        Z : array_like (m, d), optional
            Samples, one a row; by default those of training.

        Returns
        -------
        ndarray (m, C)
        """
        points = self._samples
        if Z is not None:
            points = self._kernels.network.samples(Z, "Z")
        found = np.empty((len(points), self._kernels.network.n_outputs))
        for rows in row_slices(len(points), _ROWS_AT_ONCE):
            block = points[rows]
            initial = self._kernels.placed.evaluate(block)
            for outputs, change in zip(
                self._kernels.outputs_of_equations, self._changes, strict=True
            ):
                features = KernelRows(self._kernels.placed, block, outputs, _DOUBLE)
                for c, output in enumerate(outputs):
                    moved = features.products(c, change[np.newaxis])[0]
                    found[rows, output] = initial[:, output] + moved
        return found

    def loss(self) -> float:
        """Return the loss 1/(2n) ‖f − y‖² on the training samples."""
        return float(np.square(self.outputs() - self._targets).sum() / (2 * self.n))

    def parameter_change(self) -> Array:
        """Return Δw (P,), in the order of `MLP.gradient_features`.

        With ``outputs="diagonal"`` it is the change that would move the outputs so if they had no
        parameters in common: an approximation.
        """
        weights = kernel_weights(self._kernels.network)
        return np.asarray(weights * np.sum(self._changes, axis=0))

    def _change(self, outputs: range, coefficients: Array) -> Array:
        """Return Fᵀ a (P,), which products with diag(ω) take to outputs."""

        def of_block(rows: slice) -> Array:
            block = KernelRows(self._kernels.placed, self._samples[rows], outputs, _DOUBLE)
            parts = [
                block.transposed(c, np.ascontiguousarray(coefficients[rows, c][np.newaxis]))[0]
                for c in range(len(outputs))
            ]
            return np.asarray(np.sum(parts, axis=0))

        slices = row_slices(self.n, _ROWS_AT_ONCE)
        return tree_sum(map(of_block, slices), np.add)
