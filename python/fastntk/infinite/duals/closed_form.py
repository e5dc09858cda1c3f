# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals of which both expectations have a closed form."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np
from numba import njit

from fastntk.infinite.duals.base import CANCELLATION, Dual, Gaps, State
from fastntk.infinite.duals.expectation import CLOSE

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk.infinite.duals.base import Array, Correlation
    from fastntk.infinite.duals.expectation import Expectation

# A `Correlation` as plain tuples, which compiled functions take faster.
Plain = tuple[tuple["Array", "Array"], "Array"]

# What is written for each pair: 1 − c and 1 + c of φ and of φ'.
Out = tuple["Array", "Array", "Array", "Array"]

# Of which kind the compiled formulas of a dual are.
STEP, BELL, GELU, WAVE, GABOR = range(5)


class ClosedForm(Dual):
    """A dual that consists of the expectations of φ and of φ'."""

    gap_error = CANCELLATION
    keeps_digits = True

    def __init__(self, value: Expectation, slope: Expectation) -> None:
        self.value, self.slope = value, slope

    @abstractmethod
    def samples(self, s: Array, norms: tuple[Array, Array]) -> Array:
        """Return what `fill` needs of each sample (k, n).

        Parameters
        ----------
        s : ndarray (n,)
            Standard deviations.
        norms : tuple of ndarray (n,)
            1/√E[φ(su)²] and 1/√E[φ'(su)²]; 0 where these are 0.
        """

    @abstractmethod
    def fill(self, pairs: Plain, sides: tuple[Array, Array], out: Out, *, tangent: bool) -> bool:
        """Write 1 ∓ c, right in absolute terms; return whether some are close to 0.

        Parameters
        ----------
        pairs : tuple
            The pairs.
        sides : tuple of ndarray (rows, k), (k, columns)
            The `samples`.
        out : tuple of ndarray
            What is written; that of φ' only where it is wanted.
        tangent : bool
            Whether it is wanted.
        """

    def state(self, deviation: Array) -> State:
        """Return the state of samples."""
        norms = self.value.root_mean_square(deviation), self.slope.root_mean_square(deviation)
        inverse = tuple(np.divide(1, x, out=np.zeros_like(x), where=x > 0) for x in norms)
        return State(deviation, *norms, samples=self.samples(deviation, (inverse[0], inverse[1])))

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ(u)φ(v)], all samples of x against all of z."""
        return self.both_gaps(x, z, pairs, tangent=False)[0]

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ'(u)φ'(v)], all samples of x against all of z."""
        slopes = self.both_gaps(x, z, pairs, tangent=True)[1]
        assert slopes is not None
        return slopes

    def both_gaps(
        self, x: State, z: State, pairs: Correlation, *, tangent: bool
    ) -> tuple[Gaps, Gaps | None]:
        """Return both in one pass."""
        shape = pairs.difference.shape
        near, far, slope_near, slope_far = (np.empty(shape) for _ in range(4))
        assert x.samples is not None
        assert z.samples is not None
        sides = np.ascontiguousarray(x.samples.T), np.ascontiguousarray(z.samples)
        plain = (pairs.gaps.near, pairs.gaps.far), pairs.difference
        close = self.fill(plain, sides, (near, far, slope_near, slope_far), tangent=tangent)
        results = Gaps(near, far), Gaps(slope_near, slope_far)
        if close:
            parts = (self.value, self.slope)[: 1 + tangent]
            for expectation, result in zip(parts, results, strict=False):
                if settle_equal(plain, (result.near, result.far)):
                    equal = (pairs.gaps.near == 0) & (pairs.difference == 0) & (result.near == 0)
                    small = (np.minimum(*result) < CLOSE) & ~equal
                    expectation.refine(result, small, (x.deviation, z.deviation), pairs)
        return results[0], results[1] if tangent else None


class CompiledForm(ClosedForm):
    """One of which a compiled loop writes both expectations, whichever is wanted.

    Attributes
    ----------
    kind : int
        Which loop it is, for loops over layers that are compiled as well: `STEP`, ….
    constants : ndarray (3,)
        Numbers of the loop.
    """

    def __init__(
        self,
        value: Expectation,
        slope: Expectation,
        kind: int,
        loop: Callable[[Plain, tuple[Array, Array], Array, Out], int],
        constants: tuple[float, float, float] = (0.0, 0.0, 0.0),
    ) -> None:
        super().__init__(value, slope)
        self.kind, self.constants = kind, np.array(constants)
        self._loop = loop

    def fill(
        self,
        pairs: Plain,
        sides: tuple[Array, Array],
        out: Out,
        *,
        tangent: bool,  # noqa: ARG002
    ) -> bool:
        """Write 1 ∓ c."""
        return bool(self._loop(pairs, sides, self.constants, out))


@njit(nogil=True, cache=True)
def settle_equal(pairs: Plain, out: tuple[Array, Array]) -> int:
    """Write 0 and 2 for pairs of equal samples; return how many others have small gaps."""
    others = 0
    for i in range(out[0].shape[0]):
        for j in range(out[0].shape[1]):
            if min(out[0][i, j], out[1][i, j]) < CLOSE:
                if pairs[0][0][i, j] == 0.0 and pairs[1][i, j] == 0.0 and out[0][i, j] < CLOSE:
                    out[0][i, j] = 0.0
                    out[1][i, j] = 2.0
                else:
                    others += 1
    return others
