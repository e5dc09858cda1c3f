# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernel regression by conjugate gradients: (K + λ) A = Y with products K V alone.

SciPy's `cg` solves for one right-hand side. A product of a kernel that is not formed with several
vectors takes one pass over the samples, which costs little more than that with one; so all
right-hand sides go through the same passes here, each with steps of its own, and those that have
converged take no further part.

A recursion's residual goes on to fall when rounding no longer lets the true one. So the residual is
computed anew, by a product, when the recursion is at its end, and where it is larger than was asked
for the recursion begins again from there, until that no longer helps.

M. R. Hestenes, E. Stiefel, "Methods of conjugate gradients for solving linear systems", J. Res.
Natl. Bur. Stand. 49 (1952); Y. Saad, "Iterative methods for sparse linear systems", 2nd ed., SIAM
2003, algorithm 9.1; A. Greenbaum, "Estimating the attainable accuracy of recursively computed
residual methods", SIAM J. Matrix Anal. Appl. 18 (1997).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.memory import require_memory
from fastntk._support.progress import monitored
from fastntk.devices import matrices
from fastntk.symmetric.preconditioners import (
    COLUMNS_AT_ONCE,
    LowRankPreconditioner,
    UnformedKernel,
)

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.progress import Monitor, Progress

    Array = npt.NDArray[np.float64]

# A recursion that begins again has to halve the residual, or it has reached what rounding allows.
_PROGRESS = 0.5

# Residuals rise on the way, by no more than the root of the condition number that the
# preconditioner leaves. Beyond this there is no digit to be had, as where K + λ is singular and Y
# is not in its range.
_LOST = 1e8

# 2⁻¹⁰⁰⁰ has an inverse, which smaller numbers need not have.
_LEAST_EXPONENT = -1000

# A recursion ends a little below what is asked for, so that the residual computed anew is too.
_MARGIN = 0.9


@dataclass(frozen=True)
class Iterations:
    """How conjugate gradients are to run.

    Attributes
    ----------
    rank : int
        The rank of the preconditioner; 0 for none.
    tolerance : float
        Of ‖Y − (K + λ) A‖/‖Y‖.
    most : int
        The largest number of iterations.
    seed : int
        Of the pivots of the preconditioner.
    name : str
        That of the argument that is the tolerance.
    """

    rank: int
    tolerance: float
    most: int
    seed: int
    name: str

    @classmethod
    def checked(
        cls, rank: Any, tolerance: Any, most: Any, seed: Any = 0, *, name: str = "tolerance"
    ) -> Iterations:
        """Return what a user gave."""
        return cls(
            arguments.integer(rank, "preconditioner_rank", minimum=0),
            arguments.real(tolerance, name, minimum=0.0, exclusive=True, maximum=1.0),
            arguments.integer(most, "max_iterations", minimum=1),
            arguments.seed(seed),
            name,
        )


@dataclass(frozen=True, eq=False)
class KernelSolution:
    """The solution of (K + λ) A = Y, and how good it is; the result of `conjugate_gradients`.

    Attributes
    ----------
    coefficients : ndarray (n,) or (n, k)
        A.
    residuals : ndarray () or (k,)
        ‖y − (K + λ) a‖/‖y‖ of each right-hand side, computed at the end with a product of its own;
        0 where y is 0.
    iterations : ndarray () or (k,)
        The number of iterations for each right-hand side.
    converged : ndarray () or (k,)
        Whether the residual is at most the tolerance.
    preconditioner_rank : int
        The rank in use: at most the one that was given.
    """

    coefficients: Array
    residuals: Array
    iterations: npt.NDArray[np.intp]
    converged: npt.NDArray[np.bool_]
    preconditioner_rank: int

    def __repr__(self) -> str:
        from fastntk._support.display import short_repr

        return short_repr(self, **vars(self))


def conjugate_gradients(
    K: UnformedKernel,
    y: npt.ArrayLike,
    *,
    ridge: float = 0.0,
    preconditioner_rank: int = 256,
    tolerance: float = 1e-8,
    max_iterations: int = 1000,
    seed: int = 0,
    progress: Progress = False,
) -> KernelSolution:
    """Solve (K + λ) A = Y for a kernel that is not formed, by conjugate gradients.

    All right-hand sides share their passes over the samples.

    Parameters
    ----------
    K : MLP.ntk_operator, or the like
        A symmetric positive semidefinite kernel: an object with `shape`, `dtype`, and the methods
        ``matmat(V)``, ``diagonal()`` and ``columns(indices)``, for arrays of NumPy.
    y : array_like (n,) or (n, k)
        The right-hand sides.
    ridge : float
        λ ≥ 0.
    preconditioner_rank : int
        The rank r of a randomly pivoted Cholesky decomposition, whose inverse makes iterations few.
        It takes r columns of the kernel, 2 n r² operations and n r numbers of memory. 0 for none.
    tolerance : float
        Of the residual ‖y − (K + λ) a‖/‖y‖ of each right-hand side y. Products in float32 are
        rounded to 7 digits: with them no residual below about 1e-6 is to be had, or certain.
    max_iterations : int
        Iterations, each with a product, after which the solution is returned as it is.
    seed : int
        Of the pivots. The result is the same, bit for bit, for any number of threads.
    progress : bool or callable
        Show a bar, or call ``progress(stage, done, total)`` after each iteration.

    Returns
    -------
    KernelSolution
        RuntimeWarning tells of right-hand sides that have not converged, as where K + λ is singular
        and y not in its range; their coefficients are those with the smallest residual on the way.

    Raises
    ------
    MemoryError
        If the preconditioner and the vectors do not fit in the memory that is available.
    OverflowError
        If the solution is not finite in float64, or so small that it has less than all digits, or a
        product of the kernel is not finite.

    Examples
    --------
    >>> import numpy as np
    >>> import fastntk
    >>> X = np.random.default_rng(0).standard_normal((300, 10))
    >>> K = fastntk.MLP([10, 64, 64, 1]).ntk_operator(X)
    >>> Y = np.stack([X[:, 0], X[:, 1] * X[:, 2]], axis=1)
    >>> found = fastntk.conjugate_gradients(K, Y, ridge=0.1)
    >>> found.coefficients.shape, found.converged.tolist()
    ((300, 2), [True, True])
    >>> bool(np.allclose(K @ found.coefficients + 0.1 * found.coefficients, Y, atol=1e-6))
    True
    """
    expected = "an operator with matmat, diagonal and columns, such as MLP.ntk_operator returns"
    arguments.like(K, "K", UnformedKernel, expected)
    if len(K.shape) != 2 or K.shape[0] != K.shape[1]:
        raise ValueError(f"K has shape {K.shape}: expected a symmetric kernel, with a square shape")
    right = _right_hand_sides(y, int(K.shape[0]))
    shift = arguments.real(ridge, "ridge", minimum=0.0)
    how = Iterations.checked(preconditioner_rank, tolerance, max_iterations, seed)
    found = solution_of(K, right.reshape(len(right), -1), shift, how, progress)
    warn_of_residuals(found, how, shift, stacklevel=3)
    return shaped(found, right.shape)


def shaped(found: KernelSolution, shape: tuple[int, ...]) -> KernelSolution:
    """Return a solution for columns (n, k) with the axes of what was given, (n,) or (n, k)."""
    axes = shape[1:]
    return replace(
        found,
        coefficients=found.coefficients.reshape(shape),
        residuals=found.residuals.reshape(axes),
        iterations=found.iterations.reshape(axes),
        converged=found.converged.reshape(axes),
    )


def _right_hand_sides(y: npt.ArrayLike, n: int) -> Array:
    given = matrices.host_array(y, "y")
    if given.ndim not in {1, 2} or len(given) != n:
        raise ValueError(
            f"y has shape {given.shape}: expected ({n},) or ({n}, k), an element for each row of K"
        )
    columns = matrices.matrix(given.reshape(n, -1), "y", np.dtype(np.float64), given=given)
    return np.asarray(columns.reshape(given.shape), dtype=np.float64)


def warn_of_residuals(
    found: KernelSolution, how: Iterations, ridge: float, *, stacklevel: int
) -> None:
    """Warn of right-hand sides that have not converged."""
    missing = np.flatnonzero(~found.converged)
    if missing.size == 0:
        return
    worst = float(found.residuals[missing].max())
    warnings.warn(
        f"{how.name}={how.tolerance:g}: {missing.size} of {found.converged.size} right-hand sides "
        f"have not converged, with a relative residual of up to {worst:.2g} after "
        f"{int(found.iterations.max())} iterations: expected a ridge above {ridge:g}, a larger "
        f"preconditioner_rank, max_iterations or {how.name}, or a kernel in float64",
        RuntimeWarning,
        stacklevel=stacklevel,
    )


def solution_of(
    kernel: UnformedKernel, right: Array, ridge: float, how: Iterations, progress: Progress = False
) -> KernelSolution:
    """Return the solution for the columns of `right` (n, k), everything checked; no warning.

    Raises
    ------
    MemoryError
    OverflowError
        If it is not finite, or has lost digits at the lower end of the range.
    """
    n, k = right.shape
    rank = min(how.rank, n)
    require_memory(
        _memory(n, k, rank),
        f"preconditioner_rank={how.rank}: a preconditioner for {n} rows, and the vectors of {k} "
        "right-hand sides,",
        "take a smaller rank, or fewer right-hand sides at a time",
    )
    with monitored(progress, "conjugate gradients") as monitor:

        def report(done: int) -> None:
            if monitor is not None:
                monitor("columns", done, rank)

        inverse = LowRankPreconditioner.of(kernel, ridge, rank, how.seed, report)
        system = _System(kernel, ridge, inverse, right, how)
        system.run(monitor)
    if not np.isfinite(system.solution).all():
        raise OverflowError(
            f"right-hand sides with elements of at most {np.abs(right).max():.3g}: the "
            "coefficients of the kernel are not finite in float64: expected smaller ones, or a "
            "larger ridge"
        )
    if system.has_lost_digits:
        raise OverflowError(
            f"right-hand sides with elements of at most {np.abs(right).max():.3g}: the "
            f"coefficients of the kernel are below {np.finfo(np.float64).tiny:.3g}, where float64 "
            "has less than all digits: expected larger ones"
        )
    return KernelSolution(
        system.solution, system.residuals, system.iterations, system.converged, inverse.rank
    )


def _memory(n: int, k: int, rank: int) -> int:
    """Return the bytes that a solution for k right-hand sides takes beside these at most.

    First the preconditioner is made, from some columns at a time with three more matrices of their
    size and a few vectors. Then there are ten matrices as large as the right-hand sides: solution,
    best and present iterate, residuals, directions, what the preconditioner makes of the residuals,
    products, and what is on the way to three of them; and what is as wide as the preconditioner is
    high.
    """
    making = 4 * min(rank, COLUMNS_AT_ONCE) + 6
    return 8 * (n * (rank + max(making, 10 * k + 2)) + rank * (rank + 5 * k))


class _System:
    """(K + λ) A = Y on its way to a solution."""

    def __init__(
        self,
        kernel: UnformedKernel,
        ridge: float,
        inverse: LowRankPreconditioner,
        right: Array,
        how: Iterations,
    ) -> None:
        self._kernel, self._ridge, self._inverse = kernel, ridge, inverse
        self._right, self._most = right, how.most
        k = right.shape[1]
        # A power of two, which costs no digit, keeps squares in the range of float64.
        exponents = np.maximum(np.frexp(np.abs(right).max(axis=0))[1], _LEAST_EXPONENT)
        self._scales = np.ldexp(1.0, -exponents)
        self._norms = np.sqrt(_dots(right * self._scales, right * self._scales))
        self._tolerance = how.tolerance
        self._limits = how.tolerance * self._norms
        self.solution = np.zeros(right.shape)  # of the scaled right-hand sides until the end
        self.residuals = np.ones(k)
        self.iterations = np.zeros(k, dtype=np.intp)
        self.has_lost_digits = False
        self._passes = 0

    @property
    def converged(self) -> npt.NDArray[np.bool_]:
        """Which right-hand sides have a small residual, computed anew."""
        return self.residuals <= self._tolerance

    def run(self, monitor: Monitor | None) -> None:
        """Iterate until all have converged, or iterations no longer help."""
        active = np.flatnonzero(self._norms > 0)
        self.residuals[self._norms == 0] = 0.0
        left = self._right[:, active] * self._scales[active]
        while active.size:
            # What overflows where there is no solution is not taken.
            with np.errstate(over="ignore", invalid="ignore"):
                found = self._recursion(active, left, monitor)[:, active]
            left = self._right[:, active] * self._scales[active] - self._product(found)
            before = self.residuals[active]
            after = np.sqrt(_dots(left, left)) / self._norms[active]
            worse = ~(after <= before)  # by rounding
            self.solution[:, active[~worse]] = found[:, ~worse]
            self.residuals[active] = after = np.where(worse, before, after)
            again = (after > self._tolerance) & (after <= _PROGRESS * before)
            if self._passes >= self._most:
                break
            active, left = active[again], left[:, again]
        sizes = np.abs(self.solution).max(axis=0)
        with np.errstate(over="ignore", under="ignore"):
            self.solution /= self._scales
            # Subnormal elements are rounded by less than ε times the largest, if that is normal.
            small = sizes / self._scales < np.finfo(np.float64).tiny
        self.has_lost_digits = bool((small & (sizes > 0)).any())

    def _product(self, vectors: Array) -> Array:
        product = np.asarray(self._kernel.matmat(vectors), dtype=np.float64)
        if self._passes == 0 and not np.isfinite(product).all():
            raise OverflowError(
                "K: expected finite products with finite vectors; some elements are not finite"
            )
        return product + self._ridge * vectors

    def _recursion(
        self, active: npt.NDArray[np.intp], left: Array, monitor: Monitor | None
    ) -> Array:
        """Return better solutions for some columns, whose residuals are `left` at present.

        Of all iterates, those with the smallest residuals.
        """
        limits = _MARGIN * self._limits
        least = np.full(len(limits), np.inf)
        least[active] = np.sqrt(_dots(left, left))
        iterate, best = self.solution.copy(), self.solution.copy()
        improved = self._inverse.solve(left)
        directions = improved
        products = _dots(left, improved)
        while active.size and self._passes < self._most:
            images = self._product(directions)
            self._passes += 1
            curvature = _dots(directions, images)
            # K + λ has no curvature along a vector of its null space, and rounding may make it
            # negative: no step leads further there.
            sound = (curvature > 0) & (products > 0)
            sound &= np.isfinite(curvature) & np.isfinite(products)
            steps = np.divide(products, curvature, out=np.zeros_like(products), where=sound)
            iterate[:, active] += steps * directions
            left = left - steps * images
            self.iterations[active] += 1
            if monitor is not None:
                monitor("iterations", self._passes, self._most)
            sizes = np.sqrt(_dots(left, left))
            better = sizes < least[active]
            least[active[better]] = sizes[better]
            best[:, active[better]] = iterate[:, active[better]]
            on = sound & (sizes > limits[active]) & (sizes < _LOST * least[active])
            active, left, directions = active[on], left[:, on], directions[:, on]
            if active.size == 0:
                break
            improved = self._inverse.solve(left)
            before, products = products[on], _dots(left, improved)
            directions = improved + (products / before) * directions
        return best


def _dots(left: Array, right: Array) -> Array:
    """Return the inner products of columns: the same bits for any number of threads."""
    return np.asarray(np.einsum("ij,ij->j", left, right))
