# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Programs for pairs of samples in a described network: a few kinds of instructions on registers.

A register holds 1 − cos and 1 + cos of pairs. The sizes of nodes and gradients belong to single
samples: they are taken through the steps once, in double-double arithmetic, and no pair follows
them. What activations make of sizes counts as exact, although it has been rounded once: to what is
behind, this is what sizes that are a little different there would be. A direct sum a u ⊕ b v ⊕ c of
two samples has the factors A, B, C of `layered_factors`, entries of unit vectors, and

    1 − cos = A A' (1 − cos of u) + B B' (1 − cos of v) + ½[(A − A')² + (B − B')² + (C − C')²]
    1 + cos = A A' (1 + cos of u) + B B' (1 + cos of v) + ½[(A − A')² + (B − B')² + (C − C')²]
              + 2 C C'

with nothing below 0 in it. Differences of factors have all digits, as sizes have twice as many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

# The kinds of instructions.
SUM, ACTIVATE, WRITE = range(3)

# What stands where in an instruction: its kind, which of the activations or depths it belongs to,
# the registers that it reads, those that it writes, and whether a sum has a product, or whether the
# cosines of φ' are wanted. A sum is that of U and V, and of the product of that of X and Y with the
# slopes.
KIND, INDEX, U, V, X, Y, SLOPES, OUT, SLOPES_OUT, FLAG = range(10)
TERMS = 2

# Which factors a sum has: of its terms, of those with slopes, and of constants among both. An
# activation has the sizes before it as the first of them.
OF_U, OF_V, OF_X, OF_Y, CONSTANT, TURNED_CONSTANT = range(6)

# Registers that always hold the same: the cosines of what is 0, and those of the inputs.
NOTHING, INPUTS = range(2)


class Program(NamedTuple):
    """The instructions.

    Attributes
    ----------
    instructions : ndarray of int (instructions, 10)
    places : ndarray of int (instructions, 6)
        Where the factors of each instruction lie; 0 for what it does not have.
    together : ndarray of int (instructions,)
        How many instructions, from each on, one loop takes, see `run_block`.
    registers : int
        How many there are.
    factors : list of ndarray (2, n)
        Those of all samples, or a single one that all share, in double-double arithmetic. The first
        is 0.
    """

    instructions: NDArray[np.int64]
    places: NDArray[np.int64]
    together: NDArray[np.int64]
    registers: int
    factors: list[Array]


def without_gradients(program: Program) -> Program:
    """Return what a program does for the NNGP alone."""
    instructions, kept = program.instructions.copy(), []
    needed: set[int] = set()
    instructions[instructions[:, KIND] == WRITE, V] = NOTHING
    for number in range(len(instructions))[::-1]:
        each = instructions[number]
        read, written = _registers(each)
        if each[KIND] != WRITE and not written & needed:
            continue
        if each[KIND] == ACTIVATE:
            each[FLAG] = each[SLOPES_OUT] in needed
        needed = (needed - written) | read
        kept.append(number)
    order = np.array(kept[::-1], dtype=np.intp)
    return program._replace(instructions=instructions[order], places=program.places[order])


def in_blocks(program: Program, piecewise: NDArray[np.bool_], *, shared: bool) -> Program:
    """Return a program that knows what is taken together.

    Those are the usual ones of a residual block with nodes h and gradients g: the sums h ⊕ e and
    g ⊕ e ⊕ (h ⊕ g) ∘ φ'; before them the activation with the cosines e and φ', where it is linear
    on both sides of 0; and before it the bias of what is activated.

    Parameters
    ----------
    program : Program
        The instructions.
    piecewise : ndarray of bool (activations,)
        Which activations are linear on both sides of 0.
    shared : bool
        Whether all samples share the factors.
    """
    counts = np.ones(len(program.instructions), dtype=np.int64)
    constant = program.places[:, [CONSTANT, TURNED_CONSTANT]].max(axis=1) > 0
    needed: set[int] = set()
    for last in range(len(counts))[::-1]:
        for count in range(2, min(last + 1, 4) + 1):
            part = slice(last + 1 - count, last + 1)
            ops = program.instructions[part]
            if _is_block(ops, constant[part], needed, piecewise, shared=shared):
                counts[part.start] = count
        read, written = _registers(program.instructions[last])
        needed = (needed - written) | read
    return program._replace(together=counts)


def _is_block(
    ops: NDArray[np.int64],
    constant: NDArray[np.bool_],
    needed: set[int],
    piecewise: NDArray[np.bool_],
    *,
    shared: bool,
) -> bool:
    """Return whether there is a loop for instructions, after which registers are `needed`."""
    nodes, gradients = ops[-2:]
    biased = constant[-2:].any()
    sums = nodes[KIND] == gradients[KIND] == SUM and gradients[FLAG] and not nodes[FLAG]
    same = (nodes[U], nodes[V], gradients[U]) == (gradients[X], gradients[V], gradients[Y])
    if not sums or not same:
        return False
    if len(ops) == 2:
        return not shared
    activation = ops[-3]
    made = activation[OUT], activation[SLOPES_OUT]
    if activation[KIND] != ACTIVATE or made != (nodes[V], gradients[SLOPES]):
        return False
    if not piecewise[activation[INDEX]]:
        return False
    if len(ops) == 3:
        has_loop = bool(shared or not biased)
    else:
        bias = ops[0]
        is_bias = bias[KIND] == SUM and not bias[FLAG] and bias[V] == NOTHING and not constant[0]
        has_loop = bool(biased and not shared and is_bias and bias[OUT] == activation[U])
    # What the loop leaves in no register, nothing else in it and no later instruction may read.
    left_out = {int(each[OUT]) for each in ops[:-2]} | {int(activation[SLOPES_OUT])}
    read = needed - {int(each[OUT]) for each in ops[-2:]} | {int(nodes[U]), int(gradients[U])}
    return has_loop and not left_out & read


def _registers(op: NDArray[np.int64]) -> tuple[set[int], set[int]]:
    """Return which registers an instruction reads, and which it writes."""
    return set(op[U:OUT].tolist()), set(op[OUT:FLAG].tolist()) - {NOTHING}


def in_few_registers(instructions: NDArray[np.int64], used: int) -> int:
    """Give instructions registers that are used again when nothing needs what is in them.

    Parameters
    ----------
    instructions : ndarray of int (instructions, 10)
        Those in which each result has a register of its own; overwritten.
    used : int
        How many registers there are.

    Returns
    -------
    int
        How many are needed.
    """
    last = [0] * used
    registers_of = [_registers(each) for each in instructions]
    for number, (read, _) in enumerate(registers_of):
        for register in read:
            last[register] = number
    places = np.arange(used)
    free: list[int] = []
    registers = INPUTS + 1
    for number, (read, written) in enumerate(registers_of):
        # No loop writes what it reads: registers come free after the instruction.
        for register in sorted(written):
            if not free:
                free.append(registers)
                registers += 1
            places[register] = free.pop()
        ended = {each for each in read if last[each] == number and each > INPUTS}
        ended |= {each for each in written if last[each] <= number}
        free += sorted(int(places[register]) for register in ended)
    instructions[:, U:FLAG] = places[instructions[:, U:FLAG]]
    return registers
