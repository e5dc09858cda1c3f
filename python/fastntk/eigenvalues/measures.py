# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is known of a symmetric matrix without looking at it again, and what follows for errors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from fastntk._support.rounding import UNIT, cholesky_error, gamma

if TYPE_CHECKING:
    from fastntk.symmetric.block_lanczos import Vectors

# Within these, squares and products of entries neither overflow nor vanish.
_SMALLEST_SCALE, _LARGEST_SCALE = 1e-120, 1e120


class Quotient(NamedTuple):
    """The Rayleigh quotient vᵀA v/vᵀv of a vector, and the length ‖A v‖/‖v‖, as computed."""

    value: float
    length: float


def rayleigh_quotient(vector: Vectors, image: Vectors) -> Quotient:
    """Return the quotient of a vector (n,), whose image is A v."""
    square = float(vector @ vector)
    return Quotient(float(vector @ image) / square, math.sqrt(float(image @ image) / square))


class Measures:
    """The sizes of a symmetric matrix A in float64.

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
    """

    def __init__(self, diagonal: Vectors, norm: float, epsilon: float) -> None:
        self.n = n = len(diagonal)
        self.epsilon = epsilon
        elements: list[float] = diagonal.tolist()
        # A larger matrix is refused, and the sum might overflow.
        self.trace = math.fsum(elements) if norm < _LARGEST_SCALE else math.nan
        self.largest_diagonal = max(map(abs, elements))
        # What rounding may have taken from a sum of n² squares, added in any order.
        self.frobenius_norm = norm * (1 + (n * n + 8) * UNIT)
        self.product_error = (n + 8) * UNIT * self.frobenius_norm

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

    def at_most(self, quotient: Quotient) -> float:
        """Return what the Rayleigh quotient of a vector is at most, in spite of rounding."""
        return quotient.value + self._rounding(quotient)

    def at_least(self, quotient: Quotient) -> float:
        """Return what it is at least."""
        return quotient.value - self._rounding(quotient)

    def _rounding(self, quotient: Quotient) -> float:
        """Return by how much rounding may move a quotient: in the product, and in its two sums."""
        return self.product_error + gamma(self.n) * (quotient.length + abs(quotient.value))

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
