# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The steps of a described network as a program: a few kinds of instructions on registers.

What `layered_recursion` does with arrays, step by step, is written down once: which instruction
takes which of the registers, and into which it writes. A register holds two rows of numbers:
1 − cos and 1 + cos of pairs, or differences of sizes, for which one is enough. Those that nothing
needs any more are used again, so that few of them are in the cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk.infinite.wiring import follow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.layered_architecture import LayeredArchitecture
    from fastntk.infinite.layered_factors import LayeredFactors
    from fastntk.infinite.wiring import Place

# The kinds of instructions.
COMBINE, ACTIVATE, MULTIPLY, NORMALIZE, WRITE = range(5)

# What stands where in an instruction: its kind, which of the sums, activations, normalizations or
# depths it belongs to; the registers that it reads, cosines and differences of two parts, and the
# cosines with which the second is to be multiplied; those that it writes; and whether something
# that depends on the kind is the case.
KIND, INDEX, U, U_DIFFERENCE, V, V_DIFFERENCE, SLOPES = range(7)
OUT, DIFFERENCE_OUT, SLOPES_OUT, GRADIENT_OUT, FLAG = range(7, 12)

# The numbers that belong to it: factors of both differences, ε.
FIRST, SECOND, EPSILON = range(3)

# Registers that always hold the same: cosines and differences of what is 0, and of the inputs.
NOTHING, NO_DIFFERENCE, INPUTS, INPUT_DIFFERENCE = range(4)


class Program(NamedTuple):
    """The instructions.

    Attributes
    ----------
    instructions : ndarray of int (instructions, 12)
    numbers : ndarray (instructions, 3)
    registers : int
        How many there are.
    """

    instructions: NDArray[np.int64]
    numbers: NDArray[np.float64]
    registers: int


def program_of(network: LayeredArchitecture, factors: LayeredFactors, *, tangent: bool) -> Program:
    """Return the program of a network, for kernels with or without the tangent kernel."""
    recorder = _Recorder(factors)
    inputs = _Recorded(INPUTS, INPUT_DIFFERENCE)
    for k, (hidden, gradients) in enumerate(
        follow(network.steps, recorder, inputs, tangent=tangent)
    ):
        either = recorder.plain(gradients or hidden)
        recorder.add((WRITE, k), (hidden.gaps, NO_DIFFERENCE, either.gaps), ())
    return recorder.program()


class _Recorded(NamedTuple):
    """What is followed of a node: its registers, and what is still to be done to them.

    The difference is to be multiplied by the factor, the cosines by those of the slopes, if that is
    a register.
    """

    gaps: int
    difference: int
    factor: float = 1.0
    slopes: int = NOTHING


class Instructions:
    """Instructions as they are written down; registers are numbered as they are written.

    Parameters
    ----------
    reads, writes, numbers : int
        How many registers an instruction reads and writes, and how many numbers it has.
    fixed : int
        How many registers always hold the same; the first of them holds nothing.
    """

    def __init__(self, *, reads: int, writes: int, numbers: int, fixed: int) -> None:
        self._counts = reads, writes, numbers
        self._fixed = self._used = fixed
        self._instructions: list[list[int]] = []
        self._numbers: list[tuple[float, ...]] = []

    def add(
        self,
        what: tuple[int, int],
        read: tuple[int, ...],
        written: tuple[int, ...],
        numbers: tuple[float, ...] = (),
        *,
        flag: bool = False,
    ) -> None:
        """Write an instruction down, of a kind and an index, with its registers and numbers."""
        reads, writes, count = self._counts
        read += (0,) * (reads - len(read))
        written += (0,) * (writes - len(written))
        self._instructions.append([*what, *read, *written, int(flag)])
        self._numbers.append(numbers + (0.0,) * (count - len(numbers)))

    def new(self) -> int:
        """Return the number of a register that nothing was written to."""
        self._used += 1
        return self._used - 1

    def program(self) -> Program:
        """Return the program, with few registers."""
        reads, writes, _ = self._counts
        instructions = np.array(self._instructions, dtype=np.int64)
        parts = slice(2, 2 + reads), slice(2 + reads, 2 + reads + writes)
        registers = _in_few_registers(instructions, parts, self._used, self._fixed)
        return Program(instructions, np.array(self._numbers), registers)


class _Recorder(Instructions):
    """The calculus that writes the steps of a network down."""

    def __init__(self, factors: LayeredFactors) -> None:
        super().__init__(reads=5, writes=4, numbers=3, fixed=INPUT_DIFFERENCE + 1)
        self.sums = {place: k for k, place in enumerate(factors.sums)}
        self.activations = {step: k for k, step in enumerate(factors.activated)}
        self.normalizations = {step: k for k, step in enumerate(factors.normalized)}

    def plain(self, part: _Recorded) -> _Recorded:
        """Return what has no cosines left to be multiplied with."""
        if part.slopes == NOTHING:
            return part
        made = self.new()
        self.add((MULTIPLY, 0), (part.gaps, NO_DIFFERENCE, part.slopes), (made,))
        return part._replace(gaps=made, slopes=NOTHING)

    def combined(
        self,
        place: Place,
        first: tuple[_Recorded | None, float],
        second: tuple[_Recorded | None, float],
        c: float,
    ) -> _Recorded:
        nothing = _Recorded(NOTHING, NO_DIFFERENCE)
        (u, a), (v, b) = (
            (nothing, 0.0) if part is None or factor == 0 else (part, factor)
            for part, factor in (first, second)
        )
        if place not in self.sums:  # a single part
            part, factor = (u, a) if a != 0 else (v, b)
            return part._replace(factor=part.factor * factor)
        u = self.plain(u)
        made = _Recorded(self.new(), self.new())
        self.add(
            (COMBINE, self.sums[place]),
            (u.gaps, u.difference, v.gaps, v.difference, v.slopes),
            (made.gaps, made.difference),
            (a * u.factor, b * v.factor),
            flag=c != 0,
        )
        return made

    def activated(
        self, step: int, hidden: _Recorded, gradients: _Recorded | None
    ) -> tuple[_Recorded, _Recorded | None]:
        turned = self.plain(gradients or _Recorded(NOTHING, NO_DIFFERENCE))
        made = _Recorded(self.new(), self.new())
        after = _Recorded(turned.gaps, self.new(), 1.0, self.new())
        self.add(
            (ACTIVATE, self.activations[step]),
            (hidden.gaps, hidden.difference, NOTHING, turned.difference),
            (made.gaps, made.difference, after.slopes, after.difference),
            (hidden.factor, turned.factor),
            flag=gradients is not None,
        )
        return made, None if gradients is None else after

    def normalized(
        self, step: int, hidden: _Recorded, gradients: _Recorded | None, epsilon: float
    ) -> tuple[_Recorded, _Recorded | None]:
        turned = gradients or _Recorded(NOTHING, NO_DIFFERENCE)
        difference, after = self.new(), self.new()
        self.add(
            (NORMALIZE, self.normalizations[step]),
            (NOTHING, hidden.difference, NOTHING, turned.difference),
            (NOTHING, difference, NOTHING, after),
            (hidden.factor, turned.factor, epsilon),
        )
        made = _Recorded(hidden.gaps, difference)
        if gradients is None:
            return made, None
        return made, turned._replace(difference=after, factor=1.0)


def _in_few_registers(
    instructions: NDArray[np.int64], parts: tuple[slice, slice], used: int, fixed: int
) -> int:
    """Give instructions registers that are used again when nothing needs what is in them.

    Parameters
    ----------
    instructions : ndarray of int (instructions, …)
        Those in which each result has a register of its own; overwritten.
    parts : tuple of slice
        Where the registers stand that an instruction reads, and those that it writes.
    used : int
        How many registers there are.
    fixed : int
        How many of them always hold the same.

    Returns
    -------
    int
        How many are needed.
    """
    reads, writes = parts
    last = np.zeros(used, dtype=np.int64)
    for number, each in enumerate(instructions):
        last[each[reads]] = number
    places = np.arange(used)
    free: list[int] = []
    registers = fixed
    for number, each in enumerate(instructions):
        read, written = np.unique(each[reads]), np.unique(each[writes])
        # No loop writes what it reads: registers come free after the instruction.
        for register in written[written >= fixed]:
            if not free:
                free.append(registers)
                registers += 1
            places[register] = free.pop()
        ended = [*read[last[read] == number], *written[last[written] <= number]]
        free += sorted({int(places[register]) for register in ended if register >= fixed})
    for part in parts:
        instructions[:, part] = places[instructions[:, part]]
    return registers
