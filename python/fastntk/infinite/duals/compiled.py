# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals of which a compiled loop writes both expectations, a row of pairs at a time.

Each kind of dual has its loop, which is compiled when a network needs it, and is called at its
address: so the recursion over layers, which is compiled as well, is the same for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import cfunc, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from fastntk.infinite.duals.base import Dual, Gaps, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk.infinite.duals.base import Array, Correlation

# 1 − ρ, 1 + ρ and s − t of a row of pairs.
RowPairs = tuple["Array", "Array", "Array"]

# What is written for each of them: 1 − c and 1 + c of φ and of φ'.
RowGaps = tuple["Array", "Array", "Array", "Array"]

_VECTOR: Any = types.float64[::1]
_tuple: Any = types.Tuple
_unpacked: Any = cgutils.unpack_tuple
_SIGNATURE: Any = types.int64(
    _tuple((_VECTOR,) * 3),
    _VECTOR,
    types.float64[:, ::1],
    types.int64,
    _VECTOR,
    types.boolean,
    _tuple((_VECTOR,) * 4),
)


class Loop:
    """A loop over the pairs of one sample with some others.

    Parameters
    ----------
    function : callable
        Writes gaps and returns how many of them are small and lack digits. Its arguments are the
        pairs, the numbers of the sample (k,), those of others (k, n), the first of these, the
        constants of both (see `State`), whether those of φ' are wanted as well, and where the gaps
        go.
    """

    def __init__(
        self, function: Callable[[RowPairs, Array, Array, int, Array, bool, RowGaps], int]
    ) -> None:
        self.function = function

    @cached_property
    def address(self) -> int:
        """Where the compiled loop lies."""
        return int(self._compiled.address)

    @cached_property
    def _compiled(self) -> Any:
        compiled = cfunc(_SIGNATURE, cache=True, fastmath={"contract"}, error_model="numpy")
        return compiled(self.function)


def _generate_call(context: Any, address: Any, given: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        parts = [context.get_value_type(each) for each in _SIGNATURE.args]
        function = ir.FunctionType(context.get_value_type(_SIGNATURE.return_type), parts)
        loop = builder.inttoptr(arguments[0], function.as_pointer())
        return builder.call(loop, _unpacked(builder, arguments[1]))

    return _SIGNATURE.return_type(address, _tuple(_SIGNATURE.args)), generate


# Calls the loop at an address with a tuple of its arguments.
call_loop: Any = intrinsic(_generate_call)


class CompiledDual(Dual):
    """One with a compiled loop.

    Attributes
    ----------
    loop : Loop
        The loop.
    """

    loop: Loop

    @abstractmethod
    def state(self, deviation: Array) -> State:
        """Return the state of samples, with the numbers and constants that the loop takes."""

    def gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ(u)φ(v)], all samples of x against all of z."""
        return self.both_gaps(x, z, pairs, tangent=False)[0]

    def derivative_gap(self, x: State, z: State, pairs: Correlation) -> Gaps:
        """Return the gaps of E[φ'(u)φ'(v)], all samples of x against all of z."""
        slopes = self.both_gaps(x, z, pairs, tangent=True)[1]
        if slopes is None:
            raise ValueError(self.no_derivative)
        return slopes

    def both_gaps(
        self, x: State, z: State, pairs: Correlation, *, tangent: bool
    ) -> tuple[Gaps, Gaps | None]:
        """Return both in one pass."""
        assert x.constants is z.constants  # of one call of `state`
        assert x.constants is not None
        assert x.samples is not None
        assert z.samples is not None
        tangent = tangent and self.no_derivative is None
        value, slope = (Gaps(*np.empty((2, *pairs.difference.shape))) for _ in range(2))
        sides = np.ascontiguousarray(x.samples.T), np.ascontiguousarray(z.samples)
        plain = (pairs.gaps.near, pairs.gaps.far, pairs.difference)
        out = (*value, *slope)
        if _fill(self.loop.address, plain, sides, x.constants, tangent, out) > 0:
            self.refine(x, z, pairs, (value, slope)[: 1 + tangent])
        return value, slope if tangent else None

    def refine(self, x: State, z: State, pairs: Correlation, found: tuple[Gaps, ...]) -> None:
        """Write small gaps, of φ and perhaps of φ', to their own digits."""
        raise NotImplementedError


@njit(nogil=True, cache=True)
def _fill(
    address: int,
    pairs: tuple[Array, Array, Array],
    sides: tuple[Array, Array],
    constants: Array,
    tangent: bool,
    out: tuple[Array, Array, Array, Array],
) -> int:
    close = 0
    for i in range(len(sides[0])):
        row = pairs[0][i], pairs[1][i], pairs[2][i]
        gaps = out[0][i], out[1][i], out[2][i], out[3][i]
        given = row, sides[0][i], sides[1], 0, constants, tangent, gaps
        close += call_loop(address, given)
    return close
