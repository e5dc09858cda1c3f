# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals of which both expectations have a closed form."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastntk.infinite.duals.base import CANCELLATION, Dual, State

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Correlation, Gaps
    from fastntk.infinite.duals.expectation import Expectation


class ClosedForm(Dual):
    """A dual that consists of the expectations of φ and of φ'."""

    gap_error = CANCELLATION
    keeps_digits = True

    def __init__(self, value: Expectation, slope: Expectation) -> None:
        self.value, self.slope = value, slope

    def state(self, deviation: Array) -> State:
        """Return the state of samples."""
        norms = (part.root_mean_square(deviation) for part in (self.value, self.slope))
        return State(deviation, *norms)

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ(u)φ(v)], all samples of x against all of z."""
        return self.value.gaps(x.deviation, z.deviation, (x.activation, z.activation), pairs)

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ'(u)φ'(v)], all samples of x against all of z."""
        return self.slope.gaps(x.deviation, z.deviation, (x.derivative, z.derivative), pairs)
