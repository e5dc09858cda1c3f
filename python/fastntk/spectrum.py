# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How well a kernel is conditioned: λ_min, λ_max and κ, or that λ_min cannot be told from 0."""

from __future__ import annotations

import decimal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import blas, eigvalsh, lapack
from scipy.sparse.linalg import LinearOperator, eigsh

from fastntk import _validation
from fastntk._memory import require_memory

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._typing import FloatArray

    _Matrix = npt.NDArray[np.float64]

# Up to this size all eigenvalues cost less than the machinery that avoids them.
_DENSE_LIMIT = 256

# ARPACK stops when a residual is below this times the eigenvalue. The error of the eigenvalue is
# at most the residual, and of the order of its square where the eigenvalue is not in a cluster.
_RITZ_TOLERANCE = 1e-9

# Rounding makes a positive semidefinite kernel indefinite by about the noise floor. What is below
# zero by this many floors was never a kernel.
_INDEFINITE_FLOORS = 1e3


@dataclass(frozen=True)
class Conditioning:
    """Extreme eigenvalues and condition number of a kernel.

    Attributes
    ----------
    eigenvalue_min, eigenvalue_max : float
        λ_min and λ_max; λ_min is NaN when it is not resolved.
    condition_number : float
        κ = λ_max/λ_min; NaN when λ_min is not resolved. Then κ is at least λ_max/noise_floor.
    resolved : bool
        Whether λ_min is above the noise floor.
    noise_floor : float
        n ε λ_max + δ² tr K, with the ε of the precision that the kernel came in and the given error
        δ of the features: what rounding can add to, or take from, an eigenvalue.
    rank : int
        The numerical rank: n when resolved, otherwise the number of steps that a Cholesky
        decomposition with diagonal pivoting takes before all that is left is below the noise floor.
    n : int
        The number of samples.
    """

    eigenvalue_min: float
    eigenvalue_max: float
    condition_number: float
    resolved: bool
    noise_floor: float
    rank: int
    n: int

    def __str__(self) -> str:
        largest = f"λ_max = {self.eigenvalue_max:.6g}"
        if not self.resolved:
            bound = self.eigenvalue_max / self.noise_floor if self.noise_floor > 0 else np.inf
            return (
                f"{largest}, λ_min unresolved (rank {self.rank} of {self.n}), "
                f"κ ≥ {rounded_down(bound, 2)}"
            )
        return f"{largest}, λ_min = {self.eigenvalue_min:.6g}, κ = {self.condition_number:.6g}"


def rounded_down(value: float, digits: int) -> str:
    """Return a positive bound with so many digits, none of which is rounded up."""
    context = decimal.Context(prec=digits, rounding=decimal.ROUND_FLOOR)
    return f"{float(context.create_decimal_from_float(value)):.{digits}g}"


def conditioning(K: npt.ArrayLike, *, feature_error: float = 0.0) -> Conditioning:
    """Return λ_min, λ_max and κ of a symmetric positive semidefinite matrix.

    Small matrices: all eigenvalues. Others: λ_max by the Lanczos method, λ_min by the Lanczos
    method for the inverse, after a Cholesky decomposition in float64: n³/3 multiply-adds.

    Parameters
    ----------
    K : array_like (n, n)
        A kernel. What comes in float32 is worked on in float64, but keeps the noise floor of its
        own precision: float32 rounding has already decided what of it is lost.
    feature_error : float
        Relative error δ of the features F of which K = F Fᵀ. Rounded features have full rank: where
        the true λ_min is 0 they make it about δ² tr K, which counts as noise. For a float64 kernel
        of a float32 network of depth L about √(L + 1) ε = √(L + 1) · 1.2e-7.

    Returns
    -------
    Conditioning

    Raises
    ------
    ValueError
        If K is not symmetric, or has an eigenvalue so negative that rounding cannot explain it.
    MemoryError
        If a copy of K in float64 does not fit in the memory that is available.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> print(fastntk.conditioning(np.diag([1.0, 2.0, 8.0])))
    λ_max = 8, λ_min = 1, κ = 8
    >>> print(fastntk.conditioning(np.ones((5, 5))))
    λ_max = 5, λ_min unresolved (rank 1 of 5), κ ≥ 9e+14
    """
    kernel = _validation.symmetric_matrix(K, "K")
    delta = _validation.real(feature_error, "feature_error", minimum=0.0)
    n = len(kernel)
    # The copy that Cholesky overwrites; another, where the kernel is not in float64 yet.
    copies = 1 if kernel.dtype == np.float64 else 2
    require_memory(copies * 8 * n * n, f"factorizing a kernel of {n} × {n}", "take fewer samples")
    epsilon = float(np.finfo(kernel.dtype).eps)
    matrix: _Matrix = kernel.astype(np.float64, copy=False)

    smallest: float | None
    if n <= _DENSE_LIMIT:
        eigenvalues = eigvalsh(matrix)
        smallest, largest = float(eigenvalues[0]), float(eigenvalues[-1])
    else:
        largest = _largest_eigenvalue(matrix)
        smallest = _smallest_eigenvalue(matrix)
    floor = n * epsilon * max(largest, 0.0) + delta**2 * max(float(np.trace(matrix)), 0.0)
    if smallest is not None and smallest > floor:
        return Conditioning(smallest, largest, largest / smallest, True, floor, n, n)
    rank = _numerical_rank(matrix, floor)
    return Conditioning(np.nan, largest, np.nan, False, floor, rank, n)


def _start_vector(n: int) -> _Matrix:
    # A fixed one, for results that do not change from call to call; a random one, because the
    # vector of ones is an eigenvector of many a kernel.
    return np.random.Generator(np.random.Philox(0)).standard_normal(n)


def _largest_eigenvalue(matrix: _Matrix) -> float:
    if not matrix.any():
        return 0.0  # the Lanczos method has nowhere to start
    # The transpose is the same matrix, in the order that Fortran wants.
    operator = LinearOperator(
        matrix.shape, matvec=lambda v: blas.dsymv(1.0, matrix.T, v), dtype=np.float64
    )
    return _top_of(operator)


def _smallest_eigenvalue(matrix: _Matrix) -> float | None:
    """Return λ_min, or None if the matrix is not numerically positive definite."""
    factor, info = lapack.dpotrf(matrix.T, lower=1, clean=0)
    if info != 0:
        return None

    def solve(v: FloatArray) -> FloatArray:
        half = blas.dtrsv(factor, v, lower=1)
        return blas.dtrsv(factor, half, lower=1, trans=1, overwrite_x=1)

    inverse = LinearOperator(matrix.shape, matvec=solve, dtype=np.float64)
    return 1.0 / _top_of(inverse)


def _top_of(operator: LinearOperator) -> float:
    (value,) = eigsh(
        operator,
        k=1,
        which="LA",
        v0=_start_vector(operator.shape[0]),
        tol=_RITZ_TOLERANCE,
        return_eigenvectors=False,
    )
    return float(value)


def _numerical_rank(matrix: _Matrix, floor: float) -> int:
    """Return the rank down to the noise floor; refuse a matrix that is plainly indefinite."""
    factor, pivots, rank, _ = lapack.dpstrf(matrix.T, lower=1, tol=floor)
    columns = np.tril(factor[:, :rank])
    order = pivots - 1
    scale = floor if floor > 0 else np.finfo(np.float64).eps * float(np.abs(matrix).max())
    step = max(1, 2**22 // len(matrix))
    for first in range(0, len(matrix), step):
        rows = slice(first, first + step)
        remainder = matrix[order[rows]][:, order] - columns[rows] @ columns.T
        if float(np.abs(remainder).max()) > _INDEFINITE_FLOORS * scale:
            raise ValueError(
                f"K of shape {matrix.shape} has a negative eigenvalue far beyond rounding: "
                "expected a positive semidefinite matrix"
            )
    return int(rank)
