# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Approximate inverses of kernels, made of a few of their columns.

A randomly pivoted Cholesky decomposition takes r columns of a kernel K: each pivot is a row chosen
with the probability of its share in the trace of what is left, K − F Fᵀ. That trace is as small, up
to a factor, as that of the best approximation of nearly the same rank [1]_. Columns are computed
some at a time; of the rows that are proposed for these, those are taken that a decomposition with
one column at a time would have taken, with the same probability, by rejection [2]_.

P = F Fᵀ + μ is inverted with F = Q R, where the columns of Q are orthonormal:

    P⁻¹ v = Q (R Rᵀ + μ)⁻¹ Qᵀ v + (v − Q Qᵀ v)/μ.

Woodbury's identity with (Fᵀ F + μ)⁻¹ is the same in exact arithmetic. It would lose the digits of
P⁻¹ v along the columns of F, whose eigenvalues are large beside μ, in the difference of two numbers
that are larger than it by that ratio. Here the difference is made orthogonal to Q a second time,
which leaves its rounding in proportion to what there is beside Q.

The shift is μ = λ + tr(K − F Fᵀ)/n for the system (K + λ) a = y. With the remainder E = K − F Fᵀ,
which is positive semidefinite, P⁻¹ (K + λ) has no eigenvalue above 1 + ‖E‖/μ and none below λ/μ:
its condition number is at most (μ + ‖E‖)/λ ≤ (λ + 2 ‖E‖)/λ, whereas μ = λ would give
(λ + ‖E‖)/λ [3]_. The mean costs at most a factor of two in the bound, and is much better where the
eigenvalues of E are close to their mean and λ is small or 0, as for kernels of deep networks.

References
----------
.. [1] Y. Chen, E. N. Epperly, J. A. Tropp, R. J. Webber, "Randomly pivoted Cholesky: practical
   approximation of a kernel matrix with few entry evaluations", Comm. Pure Appl. Math. 78 (2025).
.. [2] E. N. Epperly, J. A. Tropp, R. J. Webber, "Embrace rejection: kernel matrix approximation by
   accelerated randomly pivoted Cholesky", arXiv 2410.03969.
.. [3] M. Díaz, E. N. Epperly, Z. Frangella, J. A. Tropp, R. J. Webber, "Robust, randomized
   preconditioning for kernel ridge regression", arXiv 2304.12465.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from scipy.linalg import solve_triangular

from fastntk._support.threads import in_own_thread
from fastntk.symmetric import lapack

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Array = npt.NDArray[np.float64]

# So many columns are asked for at a time: enough for products of matrices, and few beside the rank.
COLUMNS_AT_ONCE = 32


class UnformedKernel(Protocol):
    """A symmetric positive semidefinite matrix that is not formed.

    `fastntk.MLP.ntk_operator` makes one.
    """

    @property
    def shape(self) -> Any:
        """(n, n)."""

    @property
    def dtype(self) -> Any:
        """The precision of products and elements."""

    def matmat(self, X: Any) -> Any:
        """Return the product with a matrix (n, k)."""

    def diagonal(self) -> Any:
        """Return the diagonal (n,)."""

    def columns(self, indices: Any) -> Any:
        """Return the columns of these indices, (n, len(indices))."""


class LowRankPreconditioner:
    """The inverse of F Fᵀ + μ, close to that of a kernel with the ridge λ.

    Made by `of`; n r numbers for the rank r.

    Attributes
    ----------
    rank : int
        The number of columns of F: fewer than were asked for if nothing but rounding was left.
    shift : float
        μ.
    """

    def __init__(self, factor: Array, shift: float) -> None:
        self.rank, self.shift = factor.shape[1], shift
        self._basis, values, vectors = factor, np.empty(0), np.empty((0, 0))
        if self.rank > 0:
            self._basis, triangle = lapack.orthonormal_factor(factor)
            # Rounding moves these eigenvalues by about ε times the largest, n ε times the largest
            # element of the diagonal at most, below which no shift is.
            values, vectors = lapack.eigenpairs(in_own_thread(lambda: triangle @ triangle.T))
        self._inverse_values = 1.0 / (np.maximum(values, 0.0) + shift)
        self._vectors = vectors

    @classmethod
    def of(
        cls,
        kernel: UnformedKernel,
        ridge: float,
        rank: int,
        seed: int,
        report: Callable[[int], None] | None = None,
    ) -> LowRankPreconditioner:
        """Return that of K + ridge, of some rank at most.

        Parameters
        ----------
        kernel : UnformedKernel
        ridge : float
        rank : int
            From 0, for no more than a multiple of the identity, to n.
        seed : int
            Of the pivots. The same ones give the same bits for any number of threads.
        report : callable, optional
            Told the number of columns that there are, again and again.
        """
        n = int(kernel.shape[0])
        diagonal = np.maximum(np.asarray(kernel.diagonal(), dtype=np.float64), 0.0)
        _require_finite(diagonal)
        factor, remainder = _pivoted_cholesky(kernel, diagonal, rank, seed, report)
        # Rounding leaves no remainder smaller than this, and the shift has an inverse.
        least = n * np.finfo(np.float64).eps * float(diagonal.max())
        shift = max(ridge + float(remainder.mean()), least)
        return cls(factor, shift if shift > 0 else 1.0)

    def solve(self, vectors: Array) -> Array:
        """Return P⁻¹ V for a matrix V (n, k)."""
        if self.rank == 0:
            return np.asarray(vectors / self.shift)

        def solved() -> Array:
            basis = self._basis
            inside = basis.T @ vectors
            outside = vectors - basis @ inside
            again = basis.T @ outside
            outside -= basis @ again
            outside /= self.shift
            inside += again
            weighted = self._inverse_values[:, np.newaxis] * (self._vectors.T @ inside)
            outside += basis @ (self._vectors @ weighted)
            return np.asarray(outside)

        return in_own_thread(solved)


def _pivoted_cholesky(
    kernel: UnformedKernel,
    diagonal: Array,
    rank: int,
    seed: int,
    report: Callable[[int], None] | None,
) -> tuple[Array, Array]:
    """Return F (n, r) in Fortran's order, r ≤ rank, and the diagonal of K − F Fᵀ."""
    random = np.random.Generator(np.random.Philox(seed))
    factor = np.empty((len(diagonal), rank), order="F")
    remainder = diagonal.copy()
    # What r subtractions leave of an element of the diagonal by rounding.
    noise = max(rank, 1) * float(np.finfo(np.dtype(kernel.dtype)).eps)
    done = 0
    while done < rank:
        remainder[remainder <= noise * diagonal] = 0.0
        shares = np.cumsum(remainder)
        if shares[-1] == 0:
            break
        count = min(COLUMNS_AT_ONCE, rank - done)
        drawn = np.searchsorted(shares, random.random(count) * shares[-1], side="right")
        # A row that is proposed again would be rejected: it is 0 once its column is taken.
        first = np.sort(np.unique(drawn, return_index=True)[1])
        proposed = np.minimum(drawn[first], len(diagonal) - 1)
        columns = np.asarray(kernel.columns(proposed), dtype=np.float64)
        _require_finite(columns)
        before = factor[:, :done]

        def residual(columns: Array = columns, before: Any = before, rows: Any = proposed) -> Array:
            return np.asarray(columns - before @ before[rows].T)

        columns = in_own_thread(residual)
        taken, triangle = _accepted(
            columns[proposed], random.random(len(proposed)), noise * diagonal[proposed]
        )
        if not taken:  # the remainder of the diagonal was rounding
            remainder[proposed] = 0.0
            continue

        def added(columns: Array = columns[:, taken], triangle: Array = triangle) -> Array:
            solved = solve_triangular(triangle, columns.T, lower=True, check_finite=False)
            return np.asarray(solved.T)

        new = factor[:, done : done + len(taken)]
        new[:] = in_own_thread(added)
        remainder -= np.square(new).sum(axis=1)
        # Pivots have nothing left, in exact arithmetic.
        remainder[proposed[taken]] = 0.0
        np.maximum(remainder, 0.0, out=remainder)
        done += len(taken)
        if report is not None:
            report(done)
    return factor[:, :done], remainder


def _require_finite(elements: Array) -> None:
    """Raise OverflowError for elements of a kernel that are not finite."""
    if not np.isfinite(elements).all():
        raise OverflowError("K: expected finite elements; some are not finite")


def _accepted(core: Array, draws: Array, least: Array) -> tuple[list[int], Array]:
    """Return which of some proposed rows become pivots, and the Cholesky factor of these.

    Parameters
    ----------
    core : ndarray (b, b)
        What is left of the kernel at the proposed rows.
    draws : ndarray (b,)
        Numbers from [0, 1), one for each.
    least : ndarray (b,)
        Pivots that are not above these are rounding.
    """
    remaining = core.copy()
    factor = np.zeros(core.shape)
    taken: list[int] = []
    for i, draw in enumerate(draws):
        pivot = remaining[i, i]
        # It was proposed with a probability in proportion to core[i, i], and would have been with
        # one in proportion to the pivot, had those before it been known.
        if pivot <= max(draw * core[i, i], least[i]):
            continue
        column = remaining[:, i] / np.sqrt(pivot)
        remaining -= np.outer(column, column)
        factor[:, len(taken)] = column
        taken.append(i)
    return taken, factor[taken, : len(taken)]
