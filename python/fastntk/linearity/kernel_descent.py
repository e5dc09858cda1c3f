# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training on the square loss as its kernel sees it, in closed form from one eigendecomposition.

Where a model is linear in its parameters, training on 1/(2n) ‖f − y‖² moves its outputs at the n
training samples by −(1/n) K (f − y): gradient flow leaves exp(−K t/n) (f(0) − y) of the residual at
time t, gradient descent (1 − η K/n)^k (f(0) − y) after k steps. Let q(λ) be that share. With the
coefficients a = K⁻¹ (1 − q(K)) (y − f(0)) the outputs at any sample are f(0) + K(·, X) a, and the
parameters have moved by Fᵀ a.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import eigh

from fastntk._support import arguments
from fastntk.devices import matrices

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

# From here on 1 − (1 − x)^k is computed as it stands; below, through log1p and expm1, which keep
# its digits where k x is small. Only x < 1 has a logarithm.
_DIRECT_FROM = 0.5


@dataclass(frozen=True)
class Flow:
    """Gradient flow for some time, or for each of several times."""

    time: Array  # any shape, not negative

    def remaining(self, eigenvalues: Array, n: int) -> Array:
        """Return q(λ) = exp(−λ t/n): an axis for the eigenvalues after those of `time`."""
        return np.exp(-self._exponents(eigenvalues, n))

    def gain(self, eigenvalues: Array, n: int) -> Array:
        """Return (1 − q(λ))/λ, which tends to t/n as λ → 0."""
        exponents = self._exponents(eigenvalues, n)
        limit = self.time[..., np.newaxis] / n
        return _gain(-np.expm1(-exponents), eigenvalues, exponents, limit)

    def _exponents(self, eigenvalues: Array, n: int) -> Array:
        return eigenvalues * (self.time[..., np.newaxis] / n)


@dataclass(frozen=True)
class Descent:
    """Gradient descent with a constant learning rate, after some number of steps or several.

    It diverges, and what it leaves of the residual grows beyond all bounds, where ηλ/n > 2.
    """

    learning_rate: float
    steps: Array  # any shape, whole numbers, not negative

    def remaining(self, eigenvalues: Array, n: int) -> Array:
        """Return q(λ) = (1 − ηλ/n)^k: an axis for the eigenvalues after those of `steps`."""
        x = self.learning_rate * eigenvalues / n
        with np.errstate(over="ignore"):
            return np.asarray(np.power(1.0 - x, self.steps[..., np.newaxis]))

    def gain(self, eigenvalues: Array, n: int) -> Array:
        """Return (1 − q(λ))/λ, which tends to kη/n as λ → 0."""
        x = self.learning_rate * eigenvalues / n
        k = self.steps[..., np.newaxis]
        below = np.minimum(x, _DIRECT_FROM)
        with np.errstate(over="ignore"):
            lost = np.where(x < _DIRECT_FROM, -np.expm1(k * np.log1p(-below)), 1 - (1 - x) ** k)
        return _gain(lost, eigenvalues, k * x, k * self.learning_rate / n)


def _gain(lost: Array, eigenvalues: Array, exponents: Array, limit: Array) -> Array:
    """Return lost/λ, or its limit where that is the same to rounding: λ may be 0 or subnormal."""
    out = np.broadcast_to(limit, lost.shape).copy()
    return np.divide(lost, eigenvalues, out=out, where=exponents > np.finfo(np.float64).eps)


if TYPE_CHECKING:
    Schedule: TypeAlias = Flow | Descent


def schedule(
    time: ArrayLike | None, steps: ArrayLike | None, learning_rate: float | None
) -> Schedule:
    """Return what a time, or a number of steps and their learning rate, stand for; arrays, too."""
    if (time is None) == (steps is None) or (steps is None) != (learning_rate is None):
        raise TypeError(
            f"time={time!r}, steps={steps!r}, learning_rate={learning_rate!r}: expected a time, or "
            "steps and their learning rate"
        )
    if time is not None:
        return Flow(_not_negative(time, "time"))
    counts = _not_negative(steps, "steps")
    if (counts != np.rint(counts)).any():
        raise ValueError(f"steps={steps!r}: expected whole numbers")
    rate = arguments.real(learning_rate, "learning_rate", minimum=0.0, exclusive=True)
    return Descent(rate, counts)


def _not_negative(values: ArrayLike | None, name: str) -> Array:
    array = matrices.host_array(values, name)
    expected = "expected finite numbers of at least 0"
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name}={values!r}: {expected}")
    if not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"{name}={values!r}: {expected}")
    return array.astype(np.float64)


@dataclass(frozen=True)
class Spectrum:
    """All eigenvalues of a kernel, in rising order and none below 0, and its eigenvectors."""

    eigenvalues: Array  # (n,)
    vectors: Array  # (n, n), one a column

    @classmethod
    def of(cls, kernel: Array, *, overwrite: bool = False) -> Spectrum:
        """Return the spectrum of a symmetric positive semidefinite matrix."""
        # "evd" needs n² more memory than others, and half of the time.
        values, vectors = eigh(kernel, overwrite_a=overwrite, check_finite=False, driver="evd")
        return cls(np.maximum(values, 0.0), vectors)

    def apply(self, factors: Array, right: Array) -> Array:
        """Return V diag(factors) Vᵀ for the factors (…, n), times the columns of `right` (n, k).

        Returns
        -------
        ndarray (…, n, k)
            Not finite where the factors have overflowed.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = factors[..., np.newaxis] * (self.vectors.T @ right)
            return np.asarray(self.vectors @ scaled)
