# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Bounds of the extreme eigenvalues of a stored symmetric matrix A that hold despite rounding.

Four inequalities, with u = 2⁻⁵³ and γ_k = k u/(1 − k u):

- **λ_min from below.** If a floating-point Cholesky decomposition of A − σI runs to its end, it is
  the exact one of a matrix that differs by at most γ_{n+1}/(1 − γ_{n+1}) · tr(A − σI) in norm, so
  that λ_min(A) is above σ less that [1]_. It holds for any order of the sums and for blocks [2]_.
  On a GPU, whose library does not say how it solves with a block, the difference is measured.
- **λ_min from above.** Any Rayleigh quotient vᵀA v/vᵀv, less what its rounding can be.
- **λ_max from below.** Likewise.
- **λ_max from above.** With an orthonormal Q, M = QᵀA Q, R = A Q − Q M and B the rest of A on the
  complement of Q, λ_max(A) is at most that of [[λ_max(M), ‖R‖], [‖R‖, ‖B‖]], and
  ‖B‖² ≤ ‖A‖_F² − ‖M‖_F² − 2‖R‖_F². It costs no factorization, and is sharp when few eigenvalues
  stand out, as they do in tangent kernels. Where it is not, a Cholesky decomposition of σI − A.

What rounding does to products is bounded by |fl(A v) − A v| ≤ γ_n |A| |v|, hence by γ_n ‖A‖_F ‖v‖;
8 more in the index of γ cover reciprocals of pivots, shifted diagonals, and norms.

.. [1] S. M. Rump, "Verification of positive definiteness", BIT 46 (2006), Theorem 2.3.
.. [2] N. J. Higham, "Accuracy and stability of numerical algorithms", 2nd ed., Theorem 10.3.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.rounding import cholesky_error, gamma
from fastntk.eigenvalues.measures import rayleigh_quotient
from fastntk.eigenvalues.result import Interval
from fastntk.symmetric.arrays import on_host
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastntk._support.progress import Progress
    from fastntk.eigenvalues.measures import Quotient
    from fastntk.eigenvalues.source import Source
    from fastntk.symmetric.block_lanczos import RitzPairs, Vectors

# A first shift that fails was too near to λ_min: the gap grows by this factor.
_GROWTH = 16.0
_MOST_SHIFTS = 3

# Above this relative width of the interval of λ_max, a factorization more is worth it.
_WIDE = 1e-6


# The first step of inverse iteration turns a random vector to an end of the spectrum, the others
# sharpen its quotient.
MOST_ITERATIONS = 3


def smallest_upper(source: Source, vectors: Vectors) -> float:
    """Return an upper bound of λ_min: the least Rayleigh quotient, with its rounding error."""
    return min(source.at_most(quotient) for quotient in _rayleigh_quotients(source, vectors))


def largest_lower(source: Source, vectors: Vectors) -> float:
    """Return a lower bound of λ_max: the largest Rayleigh quotient, less its rounding error."""
    return max(source.at_least(quotient) for quotient in _rayleigh_quotients(source, vectors))


def _rayleigh_quotients(source: Source, vectors: Vectors) -> Iterator[Quotient]:
    images, vectors = on_host(source.product(vectors)), on_host(vectors)
    for vector, image in zip(vectors.T, images.T, strict=True):
        yield rayleigh_quotient(vector, image)


def cholesky_bound(source: Source, shift: float, factor: Any = None) -> float:
    """Return what a completed Cholesky decomposition of A + shift · I proves: λ_min(A) is above.

    On a GPU it is the factor that proves it; without one the result is a guess.
    """
    return -shift - source.decomposition_error(shift, factor=factor)


def around_smallest(source: Source, estimate: float, iterations: int) -> Interval | None:
    """Return an interval of λ_min near its estimate, or None if no decomposition ran to its end."""
    for gap in _gaps(_gap_below(source, source.product_error)):
        shift = gap - estimate
        end = source.end(shift, iterations=iterations)
        if end is not None:
            return Interval(-shift - end.error, source.at_most(end.quotient))
    return None


def around_largest(source: Source, estimate: float) -> Interval | None:
    """Return an interval of λ_max near its estimate, or None if no decomposition ran to its end."""
    for gap in _gaps(_gap_above(source, estimate, source.product_error)):
        shift = estimate + gap
        end = source.end(shift, sign=-1, iterations=MOST_ITERATIONS)
        if end is not None:
            return Interval(source.at_least(end.quotient), shift + end.error)
    return None


def _gaps(first: float) -> Iterator[float]:
    """Yield how far from an estimate decompositions are tried."""
    for attempt in range(_MOST_SHIFTS):
        yield first * _GROWTH**attempt


def _gap_below(source: Source, uncertainty: float) -> float:
    return uncertainty - 2 * cholesky_bound(source, 0.0)


def _gap_above(source: Source, estimate: float, uncertainty: float) -> float:
    n, trace = source.n, source.trace
    return uncertainty + 2 * cholesky_error(n, n * estimate - trace) + 16 * source.product_error


def smallest_lower(
    source: Source,
    estimate: float,
    uncertainty: float,
    known: float,
    progress: Progress = False,
) -> float:
    """Return a lower bound of λ_min, close below its estimate if a decomposition proves it.

    Parameters
    ----------
    estimate, uncertainty : float
        λ_min, and how far below it the true value may well be.
    known : float
        A lower bound that is known already.
    """
    for gap in _gaps(_gap_below(source, uncertainty)):
        shift = gap - estimate
        if known > -math.inf and cholesky_bound(source, shift) <= known:
            break
        try:
            factor = source.factor(shift, progress=progress)
        except NotPositiveDefinite:
            if not source.survives_factoring:
                break
        else:
            return max(known, cholesky_bound(source, shift, factor))
    return known


def largest_interval(source: Source, pairs: RitzPairs) -> Interval:
    """Return an interval that contains λ_max, from Ritz pairs of its end of the spectrum."""
    n, norm = source.n, source.frobenius_norm
    lower, upper = -math.inf, math.inf
    images, vectors = on_host(source.product(pairs.vectors)), on_host(pairs.vectors)
    for count in range(1, vectors.shape[1] + 1):
        basis, image = vectors[:, :count], images[:, :count]
        small = basis.T @ image
        small = (small + small.T) / 2
        defect = float(np.linalg.norm(basis.T @ basis - np.eye(count))) + count * gamma(n)
        # The nearest orthonormal basis is within the defect; M and R move by a few times that,
        # and by the rounding of the products.
        error = 8 * math.sqrt(count) * ((defect + gamma(n)) * norm + source.product_error)
        top = float(np.linalg.eigvalsh(small)[-1])
        lower = max(lower, top - error)
        residual = float(np.linalg.norm(image - basis @ small))
        within = max(0.0, float(np.linalg.norm(small)) - error)
        across = max(0.0, residual - error)
        rest = math.sqrt(max(0.0, norm**2 * (1 + gamma(4)) - within**2 - 2 * across**2))
        middle, half = (top + error + rest) / 2, (top + error - rest) / 2
        upper = min(upper, (middle + math.hypot(half, residual + error)) * (1 + gamma(8)))
    if upper - lower > _WIDE * abs(upper):
        upper = min(upper, largest_upper(source, lower, float(pairs.residuals[0])))
    return Interval(lower, upper)


def largest_upper(source: Source, estimate: float, residual: float) -> float:
    """Return an upper bound of λ_max that a Cholesky decomposition of σI − A proves.

    It is ∞ where none does.
    """
    for gap in _gaps(_gap_above(source, estimate, residual)):
        shift = estimate + gap
        try:
            factor = source.factor(shift, sign=-1)
        except NotPositiveDefinite:
            continue
        return shift + source.decomposition_error(shift, sign=-1, factor=factor)
    return math.inf
