# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The functions that the logistic distribution makes: sigmoid, tanh, softplus, SiLU; at any scale.

The distribution is replaced by a mixture of normal ones, which is another activation φ̂, with
E[(φ̂(u) − φ(u))²] ≤ ε² E[φ(u)²] for normal u of every standard deviation. As vectors of length 1
in the space of these random numbers, φ̂(u) and φ(u) are then less than 1.2 ε apart, so that no gap,
of samples at whatever norms and angle, is off by more than 2.4 ε. Of φ̂ itself all expectations are
known in closed form (see `pairs`): for nearly parallel large samples as a sum over pairs of
normal distributions, for all others as a power series in ρ² with coefficients of one sign, which
is cut where proved to be exact enough (see `series`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from fastntk._support.memory import require_memory
from fastntk.infinite.duals.base import CANCELLATION, State
from fastntk.infinite.duals.compiled import CompiledDual
from fastntk.infinite.duals.logistic.mixture import logistic_mixture
from fastntk.infinite.duals.logistic.pairs import (
    DENSITY,
    GATED,
    GATED_SLOPE,
    ODD,
    RAMP,
    STEP,
    coefficients,
    squares,
)
from fastntk.infinite.duals.logistic.sums import (
    Expansion,
    fill_logistic,
    loop_constants,
    sample_numbers,
)
from fastntk.infinite.duals.series import Series

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array

_FEWEST_TERMS, _MOST_TERMS = 32, 256

# Of a sum of squares that is 1.
_ROUNDING = 2.0**-48

# Squares of its reciprocal are still normal numbers.
_LARGEST = 1e153


class Part(NamedTuple):
    """One of the functions φ and φ', as `pairs` knows it.

    Attributes
    ----------
    function : int
        Which one: `STEP`, `DENSITY`, `RAMP`, `GATED` or `GATED_SLOPE`.
    factor : float
        By what it is multiplied.
    lead : bool
        Whether its lead is a part of φ: 1/2, or half of the argument beside an even function.
    """

    function: int
    factor: float
    lead: bool


class Logistic(CompiledDual):
    """The dual of one of these functions.

    Parameters
    ----------
    tolerance : float
        By how much gaps may be off.
    scale : float
        By what the argument is multiplied before it.
    """

    parts: ClassVar[tuple[Part, Part]]  # of φ and of φ', for a scale of 1

    loop = fill_logistic

    def __init__(self, tolerance: float, scale: float = 1.0) -> None:
        self.scale = scale
        self.gap_error = self.size_error = max(tolerance, CANCELLATION)
        # Less than a third of the tolerance is for the mixture, and next to nothing for the series:
        # the number of its terms may then depend on the neighbours of a pair.
        self.mixture = logistic_mixture(self.gap_error / 8)
        self.missing = max(self.gap_error / 4096, 2.0**-49)

    def state(self, deviation: Array) -> State:
        """Return the state of samples, with coefficients up to the largest that any pair needs."""
        distinct, back = np.unique(self.scale * deviation, return_inverse=True)
        if len(distinct) and distinct[-1] > _LARGEST:
            raise OverflowError(
                f"samples have standard deviations up to {distinct[-1] / self.scale:.3g} before an "
                f"activation; expected at most {_LARGEST / self.scale:.1g}, from smaller samples, "
                "weight_std or bias_std"
            )
        norms, expansions = [], []
        for part in self.parts:
            norm, expansion = self._expand(part, distinct)
            norms.append((part.factor * norm)[back])
            expansions.append(expansion)
        norms[0] /= self.scale if self.parts[0].function in (RAMP, GATED) else 1.0
        samples = sample_numbers(distinct, expansions)[:, back]
        constants = loop_constants(expansions, self.missing, self.mixture)
        return State(deviation, norms[0], norms[1], samples, constants)

    def _expand(self, part: Part, s: Array) -> tuple[Array, Expansion]:
        """Return √E[f(u)²] and the expansion of samples."""
        # The largest samples have the longest series.
        terms = _FEWEST_TERMS
        while terms < _MOST_TERMS:
            _, _, series = self._relative_to_largest(part, s[-1:], terms)
            if (self._tail(series, s[-1:]) <= self.missing).all():
                break
            terms *= 2
        inverse, lead, series = self._relative_to_largest(part, s, terms)
        found = lead**2 + np.einsum("nk,nk->n", series, series)
        tail = self._tail(series, s)
        long = tail > self.missing * found
        whole = found + tail
        closed = squares(part.function, s[long], self.mixture) * inverse[long] ** 2
        whole[long] = lead[long] ** 2 + closed
        tail[long] = np.minimum(tail[long], np.maximum(whole - found, 0.0)[long] + _ROUNDING)
        unit = np.divide(1.0, whole, out=np.zeros_like(s), where=whole > 0)
        norm = np.divide(np.sqrt(whole), inverse, out=np.zeros_like(s), where=inverse > 0)
        root = np.sqrt(unit)
        series *= root[:, np.newaxis]
        kept = Series.of(series.T, tail * unit, self.missing)
        return norm, Expansion(part.function, inverse * root, lead * root, kept)

    def _relative_to_largest(self, part: Part, s: Array, terms: int) -> tuple[Array, Array, Array]:
        """Return 1 over the largest of lead and coefficients, and both of them times it.

        The squares of small numbers have no digits, and those of large ones no room.
        """
        lead = np.zeros_like(s)
        if part.lead:
            lead = np.full_like(s, 0.5) if ODD[part.function] else s / 2
        require_memory(
            2 * 8 * terms * len(s),
            f"X: a series of {terms} terms for {len(s)} samples",
            "take fewer samples, or a larger tolerance",
        )
        series = coefficients(part.function, s, self.mixture, terms)
        largest = np.maximum(lead, series[:, 0])
        inverse = np.divide(1.0, largest, out=np.zeros_like(s), where=largest > 0)
        return inverse, lead * inverse, series * inverse[:, np.newaxis]

    def _tail(self, series: Array, s: Array) -> Array:
        """Return a bound of the squares of all terms that follow, to the digits of small ones.

        From a term to the next the sums over the mixture fall by A² at least, with that of its
        narrowest distribution, and what stands before them grows by less than 1 + 1/m.
        """
        largest = s / np.hypot(s, self.mixture.deviations[0])
        ratio = largest**4 * (1 + 1 / series.shape[1]) ** 2
        bounded = np.maximum(1 - ratio, 2.0**-52)
        return np.where(ratio < 1, series[:, -1] ** 2 * ratio / bounded, np.inf)


class Tanh(Logistic):
    """The dual of φ(x) = tanh x = 2 P(2x) − 1."""

    parts = Part(STEP, 2.0, lead=False), Part(DENSITY, 4.0, lead=False)

    def __init__(self, tolerance: float) -> None:
        super().__init__(tolerance, 2.0)


class Sigmoid(Logistic):
    """The dual of φ(x) = P(x)."""

    parts = Part(STEP, 1.0, lead=True), Part(DENSITY, 1.0, lead=False)


class Softplus(Logistic):
    """The dual of φ(x) = log(1 + exp(βx))/β, with β for the scale."""

    parts = Part(RAMP, 1.0, lead=True), Part(STEP, 1.0, lead=True)


class Silu(Logistic):
    """The dual of φ(x) = x P(x)."""

    parts = Part(GATED, 1.0, lead=True), Part(GATED_SLOPE, 1.0, lead=True)
