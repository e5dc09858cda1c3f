# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The smallest eigenvalues of a positive semidefinite operator that is too large to store.

LOBPCG, preconditioned with what a randomized Nyström approximation knows of the large eigenvalues:
these are what makes plain iterations for the small ones slow.

A. Knyazev, "Toward the optimal preconditioned eigensolver", SIAM J. Sci. Comput. 23 (2001);
Z. Frangella, J. Tropp, M. Udell, "Randomized Nyström preconditioning", SIAM J. Matrix Anal. Appl.
44 (2023), algorithm 2.1.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import cholesky, solve_triangular, svd
from scipy.sparse.linalg import LinearOperator, lobpcg

from fastntk._support.memory import require_memory
from fastntk.symmetric.block_lanczos import RitzPairs

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk.symmetric.block_lanczos import Vectors

# The rank of the Nyström approximation, if the operator has four times as many rows.
_NYSTROM_RANK = 200

# Vectors beyond those wanted: they separate the last wanted one from its neighbours.
_GUARD_VECTORS = 3

# Products before the residuals are computed anew.
_PASSES_A_ROUND = 40

# LOBPCG has no operator to divide by: a residual of this times λ_min is what it can be asked for.
_TOLERANCE = 1e-5

# How SciPy's warning that it has not converged begins, and the entry of a filter for it.
_WARNING = "Exited (at iteration|postprocessing)|The problem size"
_IS_OF_A_ROUND = re.compile(_WARNING, re.IGNORECASE)


def smallest_eigenpairs(
    multiply: Callable[[Vectors], Vectors],
    n: int,
    k: int,
    *,
    floor: float,
    most_passes: int = 1000,
) -> RitzPairs:
    """Return the k smallest eigenvalues, ascending, of the operator `multiply`, (n, p) → (n, p).

    Parameters
    ----------
    multiply : callable
        The operator, positive semidefinite.
    n, k : int
        The size of the operator; the number of eigenpairs.
    floor : float
        An eigenvalue below it need not be told from 0.
    most_passes : int
        After so many products the pairs are returned as they are, `converged` or not.

    Raises
    ------
    LinAlgError
        If the operator is plainly indefinite.
    """
    random = np.random.Generator(np.random.Philox(0))
    operator = LinearOperator((n, n), matvec=multiply, matmat=multiply, dtype=np.float64)
    preconditioner = _nystrom(multiply, n, floor, random)
    vectors: Vectors = random.standard_normal((n, min(n, k + _GUARD_VECTORS)))
    tolerance = 0.0
    for _ in range(0, most_passes, _PASSES_A_ROUND):
        _ignore_ends_of_rounds()
        found = lobpcg(
            operator,
            vectors,
            M=preconditioner,
            tol=tolerance or None,
            maxiter=_PASSES_A_ROUND,
            largest=False,
        )
        values, vectors = np.asarray(found[0], np.float64), np.asarray(found[1], np.float64)
        residuals = np.linalg.norm(multiply(vectors) - vectors * values, axis=0)
        tolerance = _TOLERANCE * max(float(values[0]), floor)
        converged = bool((residuals[:k] <= tolerance).all())
        if converged or float(values[k - 1]) <= floor:
            break
    return RitzPairs(values[:k], vectors[:, :k], residuals[:k], converged)


def _ignore_ends_of_rounds() -> None:
    """Have Python ignore that a round ends before it has converged, or needs none: no news.

    A block of `warnings.catch_warnings` would not do: where several threads are in such blocks,
    one takes the filters of others away.
    """
    if not any(_IS_OF_A_ROUND in entry for entry in warnings.filters):
        warnings.filterwarnings("ignore", _WARNING, UserWarning, re.escape(__name__))


def _nystrom(
    multiply: Callable[[Vectors], Vectors], n: int, floor: float, random: np.random.Generator
) -> LinearOperator:
    """Return an approximate inverse: exact for the large eigenvalues, a multiple of I elsewhere."""
    rank = max(1, min(_NYSTROM_RANK, n // 4))
    # Test vectors, their products, and the two factors of these.
    what = f"{rank} vectors of {n} elements, and their products,"
    require_memory(32 * n * rank, what, "take fewer samples")
    test, _ = np.linalg.qr(random.standard_normal((n, rank)))
    sketch = multiply(test)
    shift = floor + np.finfo(np.float64).eps * float(np.linalg.norm(sketch))
    sketch = sketch + shift * test
    core = test.T @ sketch
    core = (core + core.T) / 2
    factor = cholesky(core, lower=True)
    basis, singular, _ = svd(solve_triangular(factor, sketch.T, lower=True).T, full_matrices=False)
    values = np.maximum(singular**2 - shift, shift)
    gains = values[-1] / values - 1.0

    def solve(vectors: Vectors) -> Vectors:
        weights = gains.reshape(-1, *[1] * (vectors.ndim - 1))
        result: Vectors = vectors + basis @ (weights * (basis.T @ vectors))
        return result

    return LinearOperator((n, n), matvec=solve, matmat=solve, dtype=np.float64)
