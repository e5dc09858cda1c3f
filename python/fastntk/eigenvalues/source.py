# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a spectrum asks of a symmetric matrix, wherever it is stored.

Products with blocks of vectors, and a Cholesky factor of ±A + σI, possibly several times. The
largest kernels leave no room for a copy, so each kind of storage says where its factors go.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from fastntk._support.rounding import UNIT, cholesky_error
from fastntk.symmetric.arrays import on_host
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    from fastntk._support.progress import Progress
    from fastntk.symmetric.block_lanczos import Vectors

# Within these, squares and products of entries neither overflow nor vanish.
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-120, 1e120


class Factor(Protocol):
    """A Cholesky factor L of a matrix."""

    def solve(self, vectors: Any) -> Any:
        """Return (L Lᵀ)⁻¹ V of the vectors V (n, k)."""


class Quotient(NamedTuple):
    """The Rayleigh quotient vᵀA v/vᵀv of a vector, and the length ‖A v‖/‖v‖, as computed."""

    value: float
    length: float


def rayleigh_quotient(vector: Vectors, image: Vectors) -> Quotient:
    """Return the quotient of a vector (n,), whose image is A v."""
    square = float(vector @ vector)
    return Quotient(float(vector @ image) / square, math.sqrt(float(image @ image) / square))


class End(NamedTuple):
    """What a decomposition that ran to its end tells of an end of the spectrum.

    Attributes
    ----------
    error : float
        Bound of ‖L Lᵀ − (sign · A + shift · I)‖.
    quotient : Quotient
        Of the vector that inverse iteration finds.
    """

    error: float
    quotient: Quotient


@lru_cache(maxsize=4)
def random_vector(n: int) -> Vectors:
    """Return a vector (n, 1) that is not orthogonal to any other, always the same.

    Making a generator takes as long as the eigenvalues of a small matrix.
    """
    vector = np.random.default_rng(0).standard_normal((n, 1))
    vector.flags.writeable = False
    return vector


class Source(ABC):
    """A symmetric matrix A in float64, and what can be asked of it.

    Attributes
    ----------
    n : int
        The number of rows.
    epsilon : float
        The distance from 1 to the next number, in the precision that the matrix came in.
    trace, largest_diagonal : float
        The sum of the diagonal, and its largest absolute value.
    frobenius_norm : float
        Rounded up.
    product_error : float
        Bound of ‖fl(A v) − A v‖ for ‖v‖ = 1.
    survives_factoring : bool
        Whether A can be read, and factored, again after a first factor was computed.
    xp : module
        Whose arrays vectors are: NumPy, or CuPy for a matrix on a GPU.
    device : context manager
        What makes the GPU that the matrix is on the current one.
    """

    survives_factoring = True
    xp: Any = np
    device: Any = nullcontext()

    def __init__(self, diagonal: Vectors, norm: float, epsilon: float) -> None:
        self.n = n = len(diagonal)
        self.epsilon = epsilon
        elements: list[float] = diagonal.tolist()
        self.trace = math.fsum(elements)
        self.largest_diagonal = max(map(abs, elements))
        # What rounding may have taken from a sum of n² squares, added in any order.
        self.frobenius_norm = norm * (1 + (n * n + 8) * UNIT)
        self.product_error = (n + 8) * UNIT * self.frobenius_norm

    @abstractmethod
    def product(self, vectors: Any) -> Any:
        """Return A V of vectors where the matrix is."""

    def product_on_host(self, vectors: Vectors) -> Vectors:
        """Return A V of vectors in the memory of the host."""
        result: Vectors = self.product(vectors)
        return result

    @abstractmethod
    def factor(self, shift: float, *, sign: int = 1, progress: Progress = False) -> Factor:
        """Return the Cholesky factor of sign · A + shift · I; it replaces the one before.

        Raises
        ------
        NotPositiveDefinite
        """

    def decomposition_error(
        self,
        shift: float,
        *,
        sign: int = 1,
        factor: Any = None,  # noqa: ARG002
    ) -> float:
        """Bound ‖L Lᵀ − (sign · A + shift · I)‖ for a decomposition that ran to its end.

        By a theorem, whatever the factor is; on a GPU by looking at the factor.
        """
        rounding = 4 * UNIT * (self.largest_diagonal + abs(shift))  # of the shifted diagonal
        return cholesky_error(self.n, sign * self.trace + self.n * shift) + rounding

    def end(self, shift: float, *, sign: int = 1, iterations: int) -> End | None:
        """Look at an end of the spectrum by a decomposition of sign · A + shift · I.

        None if it does not run to its end. The shift is off by little more than rounding, so that a
        step or two of inverse iteration are enough.
        """
        try:
            factor = self.factor(shift, sign=sign)
        except NotPositiveDefinite:
            return None
        error = self.decomposition_error(shift, sign=sign, factor=factor)
        vector: Vectors = self.xp.asarray(random_vector(self.n))
        for _ in range(iterations):
            vector = factor.solve(vector)
            vector = vector / abs(vector).max()
        del factor  # the product may need its memory
        image = on_host(self.product(vector))
        return End(error, rayleigh_quotient(on_host(vector)[:, 0], image[:, 0]))

    @abstractmethod
    def extreme_eigenvalues(self, k: int) -> tuple[Vectors, Vectors]:
        """Return the k smallest eigenvalues, ascending, and the k largest, descending, on the host.

        All at once, without vectors.
        """

    @abstractmethod
    def eigenpairs(self) -> tuple[Vectors, Any]:
        """Return all eigenvalues, ascending, on the host, and their eigenvectors."""

    @abstractmethod
    def rank(self, floor: float) -> int | None:
        """Return how many steps a pivoted decomposition takes down to `floor`.

        None for a packed matrix. It is the last that can be asked for.
        """

    def require_proofs(self) -> None:
        """Raise ValueError if the bounds that rounding allows cannot be proved."""
        if not self.survives_factoring:
            raise ValueError(
                "overwrite=True: bounds need a packed kernel twice; give a memory map of its file "
                "(PackedKernel.load), or bounds=False"
            )

    def require_moderate_scale(self) -> None:
        """Raise ValueError if squares of the entries overflow or vanish."""
        scale = max(self.frobenius_norm, self.largest_diagonal)
        if scale != 0 and not _SMALLEST_SCALE < scale < _LARGEST_SCALE:
            size = f"entries as large as {scale:.3g}"
            if not math.isfinite(scale):
                size = "entries whose squares add up to more than a float64 can hold"
            raise ValueError(
                f"K has {size}: expected between {_SMALLEST_SCALE:g} and {_LARGEST_SCALE:g}; "
                "multiply it by a power of two"
            )
