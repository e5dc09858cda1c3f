# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What rounding can add to, or take from, an eigenvalue of a kernel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastntk.eigenvalues.result import Interval

# Even in the smallest matrices so many roundings of λ_max add up.
_FEWEST_ROUNDINGS = 16

# λ_min is told from 0 when it is known up to this factor: with a correct order of magnitude at
# least, and as a rule with many digits, because few eigenvalues are so near to the noise.
_KNOWN_UP_TO = 2.0

# Rounding makes a positive semidefinite kernel indefinite by about the noise floor. What is below
# zero by this many floors was never a kernel.
_INDEFINITE_FLOORS = 1e3


@dataclass(frozen=True)
class Noise:
    """The errors with which a kernel was formed.

    Attributes
    ----------
    n : int
        The number of its rows.
    epsilon : float
        The distance from 1 to the next number, in the precision that the kernel came in.
    trace : float
        Its trace; NaN for an operator, whose features are taken as exact.
    feature_error, kernel_error : float
        See `fastntk.conditioning`; they may be infinite.
    """

    n: int
    epsilon: float
    trace: float
    feature_error: float
    kernel_error: float

    def floor(self, largest: float) -> float:
        """Return the noise floor for this λ_max: eigenvalues below it mean nothing.

        It is at most λ_max: where the errors are larger than the kernel, nothing means anything.
        """
        of_features = 0.0
        if self.feature_error > 0 and self.trace > 0:
            of_features = self.feature_error * self.feature_error * self.trace
        floor = (
            max(self.n, _FEWEST_ROUNDINGS) * self.epsilon * max(largest, 0.0)
            + of_features
            + self.kernel_error
        )
        return min(floor, largest) if largest > 0 else floor

    @staticmethod
    def allows(around: Interval) -> bool:
        """Return whether a λ_min in this interval is told from 0, and has a digit."""
        return around.lower > 0 and around.upper <= _KNOWN_UP_TO * around.lower

    def below_zero(self, floor: float) -> float:
        """Return how far below zero rounding may take an eigenvalue, with a margin."""
        return _INDEFINITE_FLOORS * floor

    def indefinite(self) -> ValueError:
        """Return the error that says that the matrix is no kernel."""
        return ValueError(
            f"K of shape ({self.n}, {self.n}) has a negative eigenvalue far beyond rounding: "
            "expected a positive semidefinite matrix"
        )
