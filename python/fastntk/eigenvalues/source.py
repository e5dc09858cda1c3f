# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a spectrum asks of a symmetric matrix, wherever it is stored.

Products with blocks of vectors, and a Cholesky factor of ±A + σI, possibly several times. The
largest kernels leave no room for a copy, so each kind of storage says where its factors go.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from fastntk.eigenvalues.measures import Measures, Quotient, rayleigh_quotient
from fastntk.symmetric.arrays import on_host
from fastntk.symmetric.block_lanczos import GUARD_VECTORS
from fastntk.symmetric.cholesky import NotPositiveDefinite

if TYPE_CHECKING:
    from fastntk._support.progress import Progress
    from fastntk.symmetric.block_lanczos import Vectors


class Factor(Protocol):
    """A Cholesky factor L of a matrix."""

    def solve(self, vectors: Any) -> Any:
        """Return (L Lᵀ)⁻¹ V of the vectors V (n, k)."""


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


class Source(Measures, ABC):
    """A symmetric matrix A in float64, and what can be asked of it.

    Attributes
    ----------
    survives_factoring : bool
        Whether A can be read, and factored, again after a first factor was computed.
    guard_vectors : int
        How many vectors beyond those wanted products and solutions are asked for at once.
    xp : module
        Whose arrays vectors are: NumPy, or CuPy for a matrix on a GPU.
    device : context manager
        What makes the GPU that the matrix is on the current one.
    """

    survives_factoring = True
    guard_vectors = GUARD_VECTORS
    xp: Any = np
    device: Any = nullcontext()

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
