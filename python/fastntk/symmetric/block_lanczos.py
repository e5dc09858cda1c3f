# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Largest eigenvalues of a symmetric operator that multiplies two vectors at the cost of one.

Products with a stored matrix, and solutions with its Cholesky factor, are limited by memory: two
vectors at once take hardly longer than one. The block Lanczos method turns that into fewer passes
over the matrix, finds eigenvalues of any multiplicity up to its block, and looks at its residuals
after each pass, whereas ARPACK has one vector and looks when it restarts. With all the basis at
hand, every new block is made orthogonal to all of it, so that no eigenvalue appears twice.

G. H. Golub, R. Underwood, "The block Lanczos method for computing eigenvalues", in Mathematical
Software III, 1977; restarts as in K. Wu, H. Simon, "Thick-restart Lanczos method for large
symmetric eigenvalue problems", SIAM J. Matrix Anal. Appl. 22 (2000).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.symmetric.arrays import on_host

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    Vectors = npt.NDArray[np.float64]

# Vectors beyond those wanted: they separate the last wanted one from its neighbours. Three take a
# quarter fewer passes, each of which takes twice as long.
GUARD_VECTORS = 1

# Columns of the basis before it is cut down to the best Ritz vectors: two copies of so many
# vectors are small beside any matrix that is worth it.
_LARGEST_BASIS = 160

# Within a tight cluster residuals are small from the start: values must also have stopped growing.
# As a rule, the last change is of the order of the square of the residual before it.
_SETTLED = 1e-3

# A block is made orthogonal to the basis until it stays as it is: two or three times as a rule.
_MOST_ORTHOGONALIZATIONS = 10

# A block whose projection on the basis is smaller than this is orthogonal to it once that is
# subtracted, and orthonormal as before: the square is below rounding.
_ORTHOGONAL = 1e-8

# To look at the projected matrix takes as long as a product with one of n rows for each n²/4 of the
# cube of its own rows. Where products are cheap, some are made before the next look, but at most a
# tenth of those before.
_LOOKS = 4
_EXTRA = 10

# A column that keeps less than this of its length, when what the basis holds of it is subtracted,
# is nothing but rounding.
_NOISE = 1e-13


# Values within this factor of the largest have enough digits, at a tolerance relative to that.
_SAME_SIZE = 1e-2


@dataclass(frozen=True)
class RitzPairs:
    """Approximate eigenpairs of a symmetric operator A.

    Attributes
    ----------
    values : ndarray (k,)
        Eigenvalues from one end of the spectrum inwards.
    vectors : ndarray (n, k)
        Their eigenvectors, orthonormal; an array of CuPy for a matrix on a GPU.
    residuals : ndarray (k,)
        ‖A v − θ v‖: an eigenvalue of A is that close to θ.
    converged : bool
        Whether all residuals are below the tolerance that was asked for.
    following : float or None
        The next Ritz value inwards, if there is one.
    """

    values: npt.NDArray[np.float64]
    vectors: Vectors
    residuals: npt.NDArray[np.float64]
    converged: bool = True
    following: float | None = None


def largest_eigenpairs(
    multiply: Callable[[Vectors], Vectors],
    n: int,
    k: int,
    *,
    tolerance: float,
    most_passes: int = 1000,
    guard_vectors: int = GUARD_VECTORS,
    xp: Any = np,
) -> RitzPairs:
    """Return the k largest eigenvalues of the operator `multiply`, (n, p) → (n, p).

    Parameters
    ----------
    multiply : callable
        Its largest eigenvalue should be positive.
    n, k : int
        Size of the operator; number of eigenpairs, at most n.
    tolerance : float
        A residual is small enough when it is below this times the largest |θ|, and a value when it
        changed by a thousandth of that.
    most_passes : int
        After so many calls of `multiply` the pairs are returned as they are, `converged` or not.
    guard_vectors : int
        How many more than k vectors `multiply` is given.
    xp : module
        NumPy or CuPy, whose arrays `multiply` takes and returns. All that is n long stays there.

    Notes
    -----
    For an operator of few rows the basis soon spans the whole space, and the values are exact.

    Examples
    --------
    >>> pairs = largest_eigenpairs(lambda V: [[1.0], [3.0]] * V, 2, 1, tolerance=1e-3)
    >>> pairs.values.round(6)
    array([3.])
    """
    block = min(n, k + guard_vectors)
    largest_basis = min(n, max(_LARGEST_BASIS, 4 * block))
    if xp is np:
        # The basis and its images, and half as many columns of both where they are cut down.
        what = f"a basis of {largest_basis} vectors of {n} elements, and its images,"
        require_memory(24 * n * largest_basis, what, "take fewer samples")
    # Always the same start, for the same result; random, because the vector of ones is an
    # eigenvector of many a kernel.
    random = np.random.Generator(np.random.Philox(0))
    space = _Space(n, largest_basis, xp)
    start = xp.asarray(random.standard_normal((n, block)))
    new = space.complement(start, space.basis.T @ start, random)
    before = np.full(k, np.inf)
    look = 1
    for done in range(1, most_passes + 1):
        images = multiply(new)
        space.append(new, images)
        full = largest_basis < n and space.size + block > largest_basis
        if done >= look or full or space.size == n or done == most_passes:
            values, coordinates = np.linalg.eigh(space.projected)
            theta, best = values[::-1][:k], coordinates[:, ::-1][:, :k]
            scale = max(abs(float(values[0])), abs(float(values[-1])))
            settled = bool((np.abs(theta - before) <= _SETTLED * tolerance * scale).all())
            before = theta
            last = space.size == n or done == most_passes
            if settled or last:
                vectors, images_of_best = space.combinations(best)
                difference = images_of_best - vectors * xp.asarray(theta)
                residuals = on_host(xp.linalg.norm(difference, axis=0))
                converged = settled and bool((residuals <= tolerance * scale).all())
                if converged or last:
                    break
            look = done + max(1, min(done // _EXTRA, _LOOKS * space.size**3 // n**2))
        # The Krylov space grows by what A makes of its newest block; a restart does not change
        # what that adds.
        new = space.beyond(images, random)
        if full:
            space.shrink(values, coordinates, largest_basis // 2)
        new = new[:, : n - space.size]
    following = float(values[::-1][k]) if len(values) > k else None
    return RitzPairs(theta, vectors, residuals, converged or space.size == n, following)


def graded_eigenpairs(
    multiply: Callable[[Vectors], Vectors],
    n: int,
    k: int,
    *,
    tolerance: float,
    most_passes: int = 1000,
    guard_vectors: int = GUARD_VECTORS,
    xp: Any = np,
) -> RitzPairs:
    """Return the k largest eigenvalues of a positive operator, each to digits of its own.

    Errors of `largest_eigenpairs` are relative to the largest one, beside which others may be
    nothing, as they are for the inverse of a matrix with one small eigenvalue. So only those of its
    size are taken, and the others found on the complement of their vectors, where the largest is
    another one.

    Parameters
    ----------
    multiply, n, k, tolerance, most_passes, guard_vectors, xp
        As for `largest_eigenpairs`. More than `most_passes` may be taken to find others than those
        of the size of the largest, which alone `converged` is said of.

    Examples
    --------
    >>> sizes = np.array([[1e3], [1e-14], [2e-14]])
    >>> graded_eigenpairs(lambda V: sizes * V, 3, 2, tolerance=1e-5).values
    array([1.e+03, 2.e-14])
    """
    how: Any = {"tolerance": tolerance, "guard_vectors": guard_vectors, "xp": xp}
    found = largest_eigenpairs(multiply, n, k, most_passes=most_passes, **how)
    taken = _of_largest_size(found)
    converged = found.converged
    while taken < k:
        basis = found.vectors[:, :taken]

        def beside(vectors: Vectors, basis: Any = basis) -> Vectors:
            projected: Vectors = vectors - basis @ (basis.T @ vectors)
            return projected

        def multiply_beside(vectors: Vectors, beside: Any = beside) -> Vectors:
            image: Vectors = beside(multiply(beside(vectors)))
            return image

        rest = largest_eigenpairs(multiply_beside, n, k - taken, **how)
        # What Ritz vectors have of the basis is of the order of their residuals.
        vectors = beside(rest.vectors)
        vectors = vectors / xp.linalg.norm(vectors, axis=0)
        found = RitzPairs(
            np.concatenate([found.values[:taken], rest.values]),
            xp.concatenate([basis, vectors], axis=1),
            np.concatenate([found.residuals[:taken], rest.residuals]),
            converged,
        )
        taken += _of_largest_size(rest)
    # One of a cluster that is larger than a block may be found after smaller ones.
    order = np.argsort(-found.values, kind="stable")
    if (order[1:] > order[:-1]).all():
        return found
    vectors = found.vectors[:, xp.asarray(order)]
    return RitzPairs(found.values[order], vectors, found.residuals[order], converged)


def _of_largest_size(pairs: RitzPairs) -> int:
    small = pairs.values[1:] < _SAME_SIZE * pairs.values[0]
    return 1 + (int(small.argmax()) if small.any() else len(small))


class _Space:
    """An orthonormal basis V, its images A V, and, on the host, Vᵀ A V."""

    def __init__(self, n: int, most: int, xp: Any) -> None:
        self._xp = xp
        self._basis = xp.empty((n, most), order="F")
        self._images = xp.empty((n, most), order="F")
        self._projected = np.empty((most, most))
        self._newest = 0  # columns
        self.size = 0

    @property
    def basis(self) -> Any:
        return self._basis[:, : self.size]

    @property
    def images(self) -> Any:
        return self._images[:, : self.size]

    @property
    def projected(self) -> Vectors:
        return self._projected[: self.size, : self.size]

    def combinations(self, coordinates: Vectors) -> tuple[Any, Any]:
        """Return V C and A V C."""
        small = self._xp.asarray(coordinates)
        return self.basis @ small, self.images @ small

    def append(self, block: Any, images: Any) -> None:
        self._newest = block.shape[1]
        new = slice(self.size, self.size + self._newest)
        self._basis[:, new], self._images[:, new] = block, images
        self.size = new.stop
        added = on_host(self.basis.T @ images)
        self.projected[:, new] = added
        self.projected[new] = added.T
        square = added[new]
        self.projected[new, new] = (square + square.T) / 2

    def shrink(self, values: Vectors, coordinates: Vectors, count: int) -> None:
        """Keep the Ritz vectors of the `count` largest Ritz values."""
        basis, images = self.combinations(np.ascontiguousarray(coordinates[:, -count:]))
        self.size = count
        self.basis[:], self.images[:] = basis, images
        self.projected[:] = np.diag(values[-count:])

    def beyond(self, images: Any, random: np.random.Generator) -> Any:
        """Return an orthonormal basis of what the newest images add to the space."""
        within = self._xp.asarray(self.projected[:, self.size - self._newest :])
        return self.complement(images, within, random)

    def complement(self, block: Any, within: Any, random: np.random.Generator) -> Any:
        """Return an orthonormal basis of what the columns of `block` add to the space.

        `within` is the projection of the block on the basis. A column that adds nothing, because
        the space is invariant, is replaced by a random one.
        """
        xp = self._xp
        scale = float(xp.linalg.norm(block))
        for _ in range(_MOST_ORTHOGONALIZATIONS):
            block, triangle = xp.linalg.qr(block - self.basis @ within)
            lengths = np.abs(on_host(triangle.diagonal()))
            noise = np.flatnonzero(lengths <= _NOISE * scale)
            if noise.size > 0:
                others = random.standard_normal((len(block), noise.size))
                block[:, xp.asarray(noise)] = xp.asarray(others)
            scale = 1.0
            within = self.basis.T @ block
            if noise.size == 0 and np.abs(on_host(within)).max(initial=0.0) < _ORTHOGONAL:
                return block - self.basis @ within
        return block
