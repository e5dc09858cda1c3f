# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Regression with a kernel at infinite width that is never formed, by conjugate gradients.

Its elements are computed anew for each product, whatever the number of targets: these share the
passes over all pairs of samples.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.threads import in_own_thread
from fastntk.infinite.kernel_matrices import kernel_matrix
from fastntk.infinite.kernel_operator import TileProducts
from fastntk.infinite.request import KernelRequest
from fastntk.kernels.block_sizes import row_slices
from fastntk.linearity.operators import KernelOperator
from fastntk.symmetric.conjugate_gradients import solution_of, warn_of_residuals

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk.infinite.several_depths import SeveralDepths
    from fastntk.symmetric.conjugate_gradients import Iterations, KernelSolution

    Array = NDArray[np.float64]

# Entries of the kernel between other samples and those of training that are formed at a time.
_CROSS_KERNEL_ENTRIES = 2**24


class IterativeRegression:
    """(Θ + λ) a = y for the kernel of training samples, which is not formed.

    Parameters
    ----------
    network : SeveralDepths
        Of one depth.
    kind : str
        "nngp" or "ntk".
    samples : ndarray (n, d)
        The training samples.
    ridge : float
        λ.
    how : Iterations

    Attributes
    ----------
    ridge, given_ridge : float
        λ.
    """

    def __init__(
        self, network: SeveralDepths, kind: str, samples: Array, ridge: float, how: Iterations
    ) -> None:
        self.ridge = self.given_ridge = ridge
        self._network, self._kind, self._samples, self._how = network, kind, samples, how
        request = KernelRequest.checked(network, (kind,), samples)
        self._operator = KernelOperator(TileProducts(request))
        self._last: tuple[Array, KernelSolution] | None = None

    def solution(self, columns: Array) -> KernelSolution:
        """Return a for the columns of y (n, k), with a warning if it has not converged.

        That of the last ones is kept, for other samples to be predicted.
        """
        if self._last is None or not np.array_equal(self._last[0], columns):
            found = solution_of(self._operator, columns, self.ridge, self._how)
            self._last = columns.copy(), found
        found = self._last[1]
        warn_of_residuals(found, self._how, self.ridge, stacklevel=5)
        return found

    def mean(self, points: Array, found: KernelSolution) -> Array:
        """Return the outputs (m, k) at other samples, some rows at a time."""
        size = max(1, _CROSS_KERNEL_ENTRIES // len(self._samples))
        outputs = np.empty((len(points), found.coefficients.shape[1]))
        for rows in row_slices(len(points), size):
            cross = np.asarray(
                kernel_matrix(self._network, self._kind, points[rows], self._samples)
            )

            def product(cross: FloatArray = cross) -> Array:
                return np.asarray(cross @ found.coefficients)

            outputs[rows] = in_own_thread(product)
        return outputs
