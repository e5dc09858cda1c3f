# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Training on the square loss as its kernel sees it, in closed form from one eigendecomposition.

Where a model is linear in its parameters, training on 1/(2n) ‖f − y‖² moves its outputs at the n
training samples by −(1/n) K (f − y): gradient flow leaves exp(−K t/n) (f(0) − y) of the residual at
time t, gradient descent (1 − η K/n)^k (f(0) − y) after k steps. Let q(λ) be that share. With the
coefficients a = K⁻¹ (1 − q(K)) (y − f(0)) the outputs at any sample are f(0) + K(·, X) a, and the
parameters have moved by Fᵀ a.

Rounding moves every eigenvalue by up to the noise floor, so that one below it may be 0, and the
products K(·, X) v with its eigenvector v may be nothing but rounding. Such a direction does not end
up elsewhere than an eigenvalue of 0 would let it: what is left of the residual along it stays, and
in the limit t → ∞ it adds nothing to a, which is then K⁺ (y − f(0)), the change of least norm.
The same holds from the time on at which its growing share t/n of a would bring rounding in; before,
that share does not depend on the eigenvalue, and it moves as it stands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk._support.threads import in_own_thread
from fastntk.devices import matrices
from fastntk.eigenvalues.noise import Noise
from fastntk.symmetric import lapack

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import ArrayLike, NDArray

    Array = NDArray[np.float64]

# From here on 1 − (1 − x)^k is computed as it stands; below, through log1p and expm1, which keep
# its digits where k x is small. Only x < 1 has a logarithm.
_DIRECT_FROM = 0.5

# An eigenvalue below the noise floor counts as 0 once floor · t/n is above this. The rounding in
# K(·, X) v, at most floor · |v| up to small factors, has by then been multiplied by t/n.
_NEGLIGIBLE = 2.0**-26


@dataclass(frozen=True)
class Flow:
    """Gradient flow for some time, or for each of several times."""

    time: Array  # any shape, not negative; may be infinite

    def remaining(self, eigenvalues: Array, n: int, floor: float = 0.0) -> Array:
        """Return q(λ) = exp(−λ t/n): an axis for the eigenvalues after those of `time`.

        It is 1 for eigenvalues that count as 0, which are at most `floor`.
        """
        share, null = self._share(eigenvalues, n, floor)
        return np.where(null, 1.0, np.exp(-_exponents(eigenvalues, share, null)))

    def gain(self, eigenvalues: Array, n: int, floor: float = 0.0) -> Array:
        """Return (1 − q(λ))/λ, which tends to t/n as λ → 0; 0 where λ counts as 0."""
        share, null = self._share(eigenvalues, n, floor)
        exponents = _exponents(eigenvalues, share, null)
        return _gain(-np.expm1(-exponents), eigenvalues, exponents, np.where(null, 0.0, share))

    def _share(self, eigenvalues: Array, n: int, floor: float) -> tuple[Array, NDArray[np.bool_]]:
        share = self.time[..., np.newaxis] / n
        return share, _null(eigenvalues, share, floor)


@dataclass(frozen=True)
class Descent:
    """Gradient descent with a constant learning rate, after some number of steps or several.

    It diverges, and what it leaves of the residual grows beyond all bounds, where ηλ/n > 2.
    """

    learning_rate: float
    steps: Array  # any shape, whole numbers, not negative

    def remaining(self, eigenvalues: Array, n: int, floor: float = 0.0) -> Array:
        """Return q(λ) = (1 − ηλ/n)^k: an axis for the eigenvalues after those of `steps`.

        It is 1 for eigenvalues that count as 0, which are at most `floor`.
        """
        k = self.steps[..., np.newaxis]
        with np.errstate(over="ignore"):
            x = self.learning_rate * eigenvalues / n
            null = _null(eigenvalues, k * self.learning_rate / n, floor)
            return np.where(null, 1.0, np.power(1.0 - x, k))

    def gain(self, eigenvalues: Array, n: int, floor: float = 0.0) -> Array:
        """Return (1 − q(λ))/λ, which tends to kη/n as λ → 0; 0 where λ counts as 0."""
        k = self.steps[..., np.newaxis]
        with np.errstate(over="ignore"):
            x = self.learning_rate * eigenvalues / n
            share = k * self.learning_rate / n
            null = _null(eigenvalues, share, floor)
            below = np.minimum(x, _DIRECT_FROM)
            lost = np.where(x < _DIRECT_FROM, -np.expm1(k * np.log1p(-below)), 1 - (1 - x) ** k)
        return _gain(lost, eigenvalues, np.where(null, 0.0, k * x), np.where(null, 0.0, share))

    def diverged(self, largest: float) -> OverflowError:
        """Return the error for what is not finite any more at a rate above the largest."""
        steps = np.vectorize(int, otypes=[object])(self.steps).tolist()
        return OverflowError(
            f"steps={shown(steps)}, learning_rate={shown(self.learning_rate)}: descent "
            f"diverges, as it does above {largest:.6g}: expected fewer steps, or a smaller rate"
        )


def _null(eigenvalues: Array, share: Array, floor: float) -> NDArray[np.bool_]:
    """Return which eigenvalues count as 0 after η times steps, or a time, of `share` times n."""
    with np.errstate(over="ignore", invalid="ignore"):  # ∞ · 0 where there is no kernel but 0
        late = np.isinf(share) | (share * floor > _NEGLIGIBLE)
    return (eigenvalues <= floor) & late


def _exponents(eigenvalues: Array, share: Array, null: NDArray[np.bool_]) -> Array:
    """Return λ t/n, and 0 where λ counts as 0: t may be infinite."""
    with np.errstate(over="ignore"):
        return eigenvalues * np.where(null, 0.0, share)


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
            f"time={shown(time)}, steps={shown(steps)}, learning_rate={shown(learning_rate)}: "
            "expected a time, or steps and their learning rate"
        )
    if time is not None:
        return Flow(_not_negative(time, "time", "expected numbers of at least 0"))
    expected = "expected whole numbers of at least 0"
    counts = _not_negative(steps, "steps", expected)
    if (counts != np.rint(counts)).any() or np.isinf(counts).any():
        raise ValueError(f"steps={shown(steps)}: {expected}")
    rate = arguments.real(learning_rate, "learning_rate", minimum=0.0, exclusive=True)
    return Descent(rate, counts)


def _not_negative(values: ArrayLike | None, name: str, expected: str) -> Array:
    array = matrices.host_array(values, name)
    if array.dtype.kind not in "iuf":
        raise TypeError(f"{name}={shown(values)}: {expected}")
    floats = matrices.as_floats(array, name, np.dtype(np.float64))
    beyond = np.isinf(floats) & np.isfinite(array)  # of a long double
    if not (floats >= 0).all() or beyond.any():
        raise ValueError(f"{name}={shown(values)}: {expected}")
    return floats


@dataclass(frozen=True)
class Spectrum:
    """All eigenvalues of a kernel, in rising order and none below 0, and its eigenvectors.

    BLAS and LAPACK run in a single thread: more of them would round otherwise.
    """

    eigenvalues: Array  # (n,)
    vectors: Array  # (n, n), one a column

    @classmethod
    def of(cls, kernel: Array, *, overwrite: bool = False) -> Spectrum:
        """Return the spectrum of a symmetric positive semidefinite matrix."""
        values, vectors = lapack.eigenpairs(kernel, overwrite=overwrite)
        return cls(np.maximum(values, 0.0), vectors)

    @property
    def floor(self) -> float:
        """The noise floor, n ε λ_max: what rounding adds to eigenvalues, or takes from them.

        It covers that of a kernel formed in float64 and that of its decomposition.
        """
        noise = Noise(len(self.eigenvalues), np.finfo(np.float64).eps, math.nan, 0.0, 0.0)
        return noise.floor(float(self.eigenvalues[-1]))

    def coefficients(self, right: Array) -> Array:
        """Return Vᵀ times the columns of `right` (n, k): (n, k)."""
        return in_own_thread(lambda: np.asarray(self.vectors.T @ right))

    def apply(self, factors: Array, right: Array) -> Array:
        """Return V diag(factors) Vᵀ for the factors (…, n), times the columns of `right` (n, k).

        Returns
        -------
        ndarray (…, n, k)
            Not finite where the factors have overflowed.
        """
        along = self.coefficients(right)

        def combined() -> Array:
            with np.errstate(over="ignore", invalid="ignore"):
                return np.asarray(self.vectors @ (factors[..., np.newaxis] * along))

        return in_own_thread(combined)
