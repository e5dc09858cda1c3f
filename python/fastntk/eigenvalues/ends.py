# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Both ends of a spectrum, in three ways: all eigenvalues, Cholesky and Lanczos, products only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk.eigenvalues.enclosures import (
    MOST_ITERATIONS,
    around_largest,
    around_smallest,
    cholesky_bound,
    largest_interval,
    largest_lower,
    smallest_lower,
    smallest_upper,
)
from fastntk.eigenvalues.result import Bounds, Interval
from fastntk.symmetric.block_lanczos import RitzPairs, graded_eigenpairs, largest_eigenpairs
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk._support.progress import Monitor
    from fastntk.eigenvalues.noise import Noise
    from fastntk.eigenvalues.source import Factor, Source
    from fastntk.symmetric.block_lanczos import Vectors

# The error of a Ritz value is at most its residual, and of the order of its square where it is not
# in a cluster; within a cluster it is that of a value that has settled, a thousandth of the
# tolerance. Products are cheap; solutions are not, and 1e-10 is enough for λ_min.
_PRODUCT_TOLERANCE = 1e-7
_SOLUTION_TOLERANCE = 1e-5
_MOST_PASSES = 1000

# A shift by so little of the noise floor changes nothing that is resolved, and keeps the inverse of
# a singular matrix finite.
_LEAST_SHIFT = 1e-6

# Passes for the bottom of a singular matrix, which only serves as an upper bound of λ_min.
_PASSES_IN_NOISE = 6


# A decomposition, and the solution with each of its two factors, are off by as much each.
_ERRORS_OF_A_SOLUTION = 3


@dataclass(frozen=True)
class Ends:
    """Both ends of a spectrum, from the outside in.

    Attributes
    ----------
    smallest, largest : RitzPairs
        What was computed.
    around_smallest : Interval
        What λ_min may be: the computed one with the error of the method.
    below_largest : float
        What λ_max is at least.
    bounds : Bounds or None
        What is proved, if it was asked for.
    """

    smallest: RitzPairs
    largest: RitzPairs
    around_smallest: Interval
    below_largest: float
    bounds: Bounds | None = None

    @classmethod
    def proved(cls, smallest: RitzPairs, largest: RitzPairs, bounds: Bounds) -> Ends:
        """Return the ends that lie within these bounds."""
        around, below = bounds.eigenvalue_min, bounds.eigenvalue_max.lower
        return cls(smallest, largest, around, below, bounds)


def ends_of_zero(source: Source, k: int) -> Ends:
    """Return the ends of a matrix of zeros."""
    zeros, vectors = np.zeros(k), source.xp.eye(source.n, k)
    nothing = RitzPairs(zeros, vectors, zeros)
    return Ends.proved(nothing, nothing, Bounds(Interval(0.0, 0.0), Interval(0.0, 0.0)))


def ends_of_eigenvalues(source: Source, k: int, noise: Noise, *, bounds: bool) -> Ends | None:
    """Compute k eigenvalues at each end, by a reduction of the matrix, without their vectors.

    What is known of the errors of such reductions, p(n) ε ‖A‖ with a "modestly growing" p, is no
    number. So even without bounds a Cholesky decomposition has to confirm λ_min. Its factor also
    gives the vector whose Rayleigh quotient bounds λ_min from above, for much less than all vectors
    cost.

    Returns
    -------
    Ends or None
        None if no decomposition ran to its end; the vectors are empty.
    """
    low, high = source.extreme_eigenvalues(k)
    exact, none = np.zeros(k), source.xp.empty((source.n, 0))
    smallest, largest = RitzPairs(low, none, exact), RitzPairs(high, none, exact)
    bottom, top = float(low[0]), float(high[0])
    # Without bounds nobody will ask how sharp this is where λ_min is resolved: a first vector is
    # enough as a rule, and no element of the diagonal is above λ_max.
    roughly = not bounds and bottom > noise.floor(top)
    around = around_smallest(source, bottom, 1 if roughly else MOST_ITERATIONS)
    if around is None:
        return None
    if roughly:
        if not noise.allows(around):
            around = around_smallest(source, bottom, MOST_ITERATIONS) or around
        return Ends(smallest, largest, around, source.largest_diagonal)
    around_top = around_largest(source, top)
    if around_top is None:
        return None
    if not bounds:
        return Ends(smallest, largest, around, around_top.lower)
    return Ends.proved(smallest, largest, Bounds(around, around_top))


def ends_of_all_eigenpairs(source: Source, k: int, noise: Noise, *, bounds: bool) -> Ends:
    """Compute all eigenvalues and eigenvectors, and keep k at each end.

    Here too a Cholesky decomposition has to confirm a λ_min that is above the noise.
    """
    values, vectors = source.eigenpairs()
    exact = np.zeros(k)
    smallest = RitzPairs(values[:k], vectors[:, :k], exact)
    largest = RitzPairs(values[: -k - 1 : -1], vectors[:, : -k - 1 : -1], exact)
    upper = smallest_upper(source, smallest.vectors)
    if bounds:
        top = largest_interval(source, largest)
        lower = smallest_lower(source, float(values[0]), source.product_error, -np.inf)
        return Ends.proved(smallest, largest, Bounds(Interval(lower, upper), top))
    below = largest_lower(source, largest.vectors)
    lower = -np.inf
    if float(values[0]) > noise.floor(float(largest.values[0])):
        lower = smallest_lower(source, float(values[0]), source.product_error, lower)
    return Ends(smallest, largest, Interval(lower, upper), below)


def ends_by_cholesky(
    source: Source, k: int, noise: Noise, monitor: Monitor | None, *, bounds: bool
) -> Ends:
    """Find λ_max by the block Lanczos method, and λ_min likewise for the inverse.

    Raises
    ------
    ValueError
        If the matrix is plainly indefinite.
    """
    n = source.n
    largest = largest_eigenpairs(
        _counted(monitor, "λ_max", source.product),
        n,
        k,
        tolerance=_PRODUCT_TOLERANCE,
        guard_vectors=source.guard_vectors,
        xp=source.xp,
    )
    # Now, before the factor that λ_min needs takes the place of the matrix.
    top = largest_interval(source, largest) if bounds else None
    below = largest_lower(source, largest.vectors)
    floor = noise.floor(float(largest.values[0]))
    factor, shift, regular = _factor(source, floor, noise, monitor)
    known = cholesky_bound(source, shift, factor) if bounds else -np.inf
    inverse = graded_eigenpairs(
        _counted(monitor, "λ_min", factor.solve),
        n,
        k,
        tolerance=_SOLUTION_TOLERANCE,
        most_passes=_MOST_PASSES if regular else _PASSES_IN_NOISE,
        guard_vectors=source.guard_vectors,
        xp=source.xp,
    )
    lowest = inverse.vectors
    if not regular:
        # One more solution takes out what they still have of large eigenvalues, up to rounding.
        lowest = factor.solve(lowest)
        lowest = lowest / source.xp.linalg.norm(lowest, axis=0)
    del factor  # its memory is needed again
    values = 1 / inverse.values - shift
    smallest = RitzPairs(
        values, inverse.vectors, inverse.residuals / inverse.values**2, inverse.converged
    )
    if top is None:
        error = _ERRORS_OF_A_SOLUTION * source.decomposition_error(shift)
        lower, upper = float(values[0]) - float(smallest.residuals[0]) - error, error
        if source.survives_factoring:
            upper = smallest_upper(source, lowest)
        else:
            upper += float(values[0])
        return Ends(smallest, largest, Interval(lower, upper), below)
    upper = smallest_upper(source, lowest)
    lower = smallest_lower(
        source,
        min(float(values[0]), upper),
        _likely_error(inverse) / float(inverse.values[0]) ** 2,
        known,
        monitor or False,
    )
    return Ends.proved(smallest, largest, Bounds(Interval(lower, upper), top))


def _likely_error(pairs: RitzPairs) -> float:
    """Return how far beyond its first Ritz value a spectrum may well reach.

    The residual, or its square over the distance to the next value, with a margin: a guess, which
    saves most of the width of the bounds, and which a Cholesky decomposition has to confirm.
    """
    residual = float(pairs.residuals[0])
    following = float(pairs.values[1]) if len(pairs.values) > 1 else pairs.following
    distance = 0.0 if following is None else float(pairs.values[0]) - following
    return 100 * residual**2 / distance if distance > 100 * residual else residual


def _factor(
    source: Source, floor: float, noise: Noise, monitor: Monitor | None
) -> tuple[Factor, float, bool]:
    """Return the Cholesky factor of the matrix plus a shift, the shift, and if it was the least.

    The least one changes nothing, unless rounding makes zero eigenvalues negative.
    """
    least = shift = _LEAST_SHIFT * floor
    while True:
        try:
            return source.factor(shift, progress=monitor or False), shift, shift == least
        except NotPositiveDefinite:
            if not source.survives_factoring:
                raise ValueError(
                    "overwrite=True: a packed kernel that is singular up to rounding is factored "
                    "several times, and the first attempt has overwritten it; give a memory map "
                    "of its file (PackedKernel.load), or overwrite=False"
                ) from None
            if shift > noise.below_zero(floor):
                raise noise.indefinite() from None
            shift = max(8 * shift, floor, -4 * cholesky_bound(source, 0.0))


def ends_by_products(
    multiply: Callable[[Vectors], Vectors],
    k: int,
    noise: Noise,
    monitor: Monitor | None,
    *,
    product_error: float = 0.0,
) -> Ends:
    """Find λ_max by the block Lanczos method, and λ_min by LOBPCG, from products alone.

    The Ritz values are Rayleigh quotients, which `product_error` is the error of.

    Raises
    ------
    ValueError
        If the matrix is plainly indefinite.
    """
    from fastntk.symmetric import lobpcg  # rarely needed

    largest = largest_eigenpairs(
        _counted(monitor, "λ_max", multiply), noise.n, k, tolerance=_PRODUCT_TOLERANCE
    )
    try:
        smallest = lobpcg.smallest_eigenpairs(
            _counted(monitor, "λ_min", multiply),
            noise.n,
            k,
            floor=noise.floor(float(largest.values[0])),
        )
    except np.linalg.LinAlgError:
        raise noise.indefinite() from None
    value, error = float(smallest.values[0]), product_error
    around = Interval(value - float(smallest.residuals[0]) - error, value + error)
    return Ends(smallest, largest, around, float(largest.values[0]) - error)


def _counted(
    monitor: Monitor | None, stage: str, multiply: Callable[[Vectors], Vectors]
) -> Callable[[Vectors], Vectors]:
    """Return `multiply` with a report to the monitor, which may also interrupt it, before each."""
    if monitor is None:
        return multiply
    passes = 0

    def watched(vectors: Vectors) -> Vectors:
        nonlocal passes
        # How many there will be is not known.
        monitor(stage, passes, passes + 1)
        passes += 1
        return multiply(vectors)

    return watched
