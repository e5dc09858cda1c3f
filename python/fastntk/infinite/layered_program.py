# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The steps of a described network as a program: a few kinds of instructions on registers.

A register holds 1 − cos and 1 + cos of pairs. The sizes of nodes and gradients belong to single
samples: they are taken through the steps once, in double-double arithmetic, and no pair follows
them. What activations make of sizes counts as exact, although it has been rounded once: to what is
behind, this is what sizes that are a little different there would be. A direct sum a u ⊕ b v ⊕ c of
two samples has the factors A, B, C of `layered_factors`, entries of unit vectors, and

    1 − cos = A A' (1 − cos of u) + B B' (1 − cos of v) + ½[(A − A')² + (B − B')² + (C − C')²]
    1 + cos = A A' (1 + cos of u) + B B' (1 + cos of v) + ½[(A − A')² + (B − B')² + (C − C')²]
              + 2 C C'

with nothing below 0 in it. Differences of factors have all digits, as sizes have twice as many.
Each part adds terms of its own, also those of parts that are sums themselves, and of those that are
to be multiplied with the cosines of φ'. So sums are left open until an activation, a second product
or a result needs them: a usual block is an activation, and a sum each for its nodes and their
gradients.

Where activations are linear on both sides of 0, and all that a sum adds grows with the same power
of ‖x‖, as in residual networks of ReLU without biases, all samples share the factors, and no
differences are left.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from fastntk.infinite.double_double import Scaled, lengths, product
from fastntk.infinite.duals import PiecewiseLinear
from fastntk.infinite.wiring import follow
from fastntk.layers.steps import Add

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.infinite.layered_architecture import LayeredArchitecture
    from fastntk.infinite.layered_factors import Activated
    from fastntk.infinite.sample_norms import Norms
    from fastntk.infinite.wiring import Place
    from fastntk.layers.steps import Steps

    Array = NDArray[np.float64]

# The kinds of instructions.
SUM, ACTIVATE, WRITE = range(3)

# What stands where in an instruction: its kind, which of the activations or depths it belongs to,
# the registers that it reads, those that it writes, and whether a sum has a product, or whether the
# cosines of φ' are wanted. A sum is that of U and V, and of the product of that of X and Y with the
# slopes.
KIND, INDEX, U, V, X, Y, SLOPES, OUT, SLOPES_OUT, FLAG = range(10)
_TERMS = 2

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
    registers : int
        How many there are.
    factors : list of ndarray (2, n)
        Those of all samples, or a single one that all share, in double-double arithmetic. The first
        is 0.
    """

    instructions: NDArray[np.int64]
    places: NDArray[np.int64]
    registers: int
    factors: list[Array]


def is_homogeneous(network: LayeredArchitecture) -> bool:
    """Return whether the factors of each sum are the same for all samples.

    After any number of blocks, not only those that are asked for: the kernel of a depth has the
    same bits alone and among others.
    """
    powers = _Powers()
    for _ in follow(_steps_of_all(network), powers, frozenset({1}), tangent=True):
        pass
    return powers.of_one_kind


def _steps_of_all(network: LayeredArchitecture) -> Steps:
    """Return the steps with outputs after any number of blocks.

    A normalization behind the blocks may have too few neurons before it where fewer blocks leave
    the width of an earlier layer: after so many there is no network.
    """
    counts = range(network.n_blocks + 1)
    try:
        return replace(network, blocks=tuple(counts)).steps
    except ValueError:
        return replace(network, blocks=tuple(filter(partial(_exists, network), counts))).steps


def _exists(network: LayeredArchitecture, blocks: int) -> bool:
    try:
        return bool(replace(network, blocks=(blocks,)).steps)
    except ValueError:
        return False


def program_of(
    network: LayeredArchitecture,
    norms: Norms,
    activated: dict[int, Activated],
    *,
    shared: bool,
) -> Program:
    """Return the program for both kernels.

    Parameters
    ----------
    network : LayeredArchitecture
        The network.
    norms : Norms
        Those of all samples, or of any one where they share the factors.
    activated : dict
        The same samples at activations, see `LayeredFactors`.
    shared : bool
        Whether they share the factors.
    """
    parts = np.stack([norms.significands, norms.rests])
    sizes = Scaled.of(parts, norms.exponents).times(1.0 / float(np.sqrt(norms.dimension)))
    recorder = _Recorder(network, len(norms), activated, shared=shared)
    inputs = _Open(sizes, ((INPUTS, recorder.one),))
    for k, each in enumerate(follow(network.steps, recorder, inputs, tangent=True)):
        registers = [recorder.register(part) for part in each if part is not None]
        recorder.add((WRITE, k), (registers[0], registers[-1]), ())
    return recorder.program()


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


def together(program: Program, piecewise: NDArray[np.bool_], *, shared: bool) -> NDArray[np.int64]:
    """Return how many instructions, from each on, one loop takes, see `run_block`.

    They are the usual ones of a residual block with nodes h and gradients g: the sums h ⊕ e and
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
    return counts


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


class _Powers:
    """The calculus of the powers of ‖x‖ with which the parts of a node grow.

    Attributes
    ----------
    of_one_kind : bool
        Whether no sum has had parts of several kinds so far.
    """

    def __init__(self) -> None:
        self.of_one_kind = True

    def combined(
        self,
        place: Place,  # noqa: ARG002
        first: tuple[frozenset[int] | None, float],
        second: tuple[frozenset[int] | None, float],
        c: float,
    ) -> frozenset[int]:
        powers = frozenset({0} if c != 0 else ())
        for part, factor in (first, second):
            if part is not None and factor != 0:
                powers |= part
        self.of_one_kind &= len(powers) <= 1
        return powers

    def activated(
        self,
        step: int,  # noqa: ARG002
        hidden: frozenset[int],
        gradients: frozenset[int] | None,
    ) -> tuple[frozenset[int], frozenset[int] | None]:
        return hidden, gradients

    def normalized(
        self,
        step: int,  # noqa: ARG002
        hidden: frozenset[int],
        gradients: frozenset[int] | None,
        epsilon: float,
    ) -> tuple[frozenset[int], frozenset[int] | None]:
        # ε is added to the square of what grows with ‖x‖.
        self.of_one_kind &= epsilon == 0 or hidden <= {0}
        if gradients is None:
            return frozenset({0}), None
        return frozenset({0}), frozenset(one - other for one in gradients for other in hidden)


Terms: TypeAlias = tuple[tuple[int, "Array"], ...]


class _Open(NamedTuple):
    """A sum that is not computed yet: of multiples of registers, and of others with slopes.

    Attributes
    ----------
    sizes : Scaled
        Of all samples.
    terms, turned : tuple of tuple of int, ndarray (2, n)
        Registers, and the factors of all samples. Constants are multiples of `NOTHING`.
    slopes : int
        The register of the cosines that those of the `turned` are to be multiplied with.
    """

    sizes: Scaled
    terms: Terms = ()
    turned: Terms = ()
    slopes: int = NOTHING


class _Recorder:
    """The calculus that writes the steps of a network down, with the factors of all samples.

    Attributes
    ----------
    one : ndarray (2, n)
        The factor 1.
    """

    def __init__(
        self,
        network: LayeredArchitecture,
        n: int,
        activated: dict[int, Activated],
        *,
        shared: bool,
    ) -> None:
        self._network, self._n, self._activated, self._shared = network, n, activated, shared
        self._used = INPUTS + 1
        self._instructions: list[list[int]] = []
        self._places: list[list[int]] = []
        self._factors = [np.zeros((2, n))]
        self._activations = {step: k for k, step in enumerate(network.duals)}
        self.one = np.stack([np.ones(n), np.zeros(n)])

    def program(self) -> Program:
        """Return the program, with few registers."""
        instructions = np.array(self._instructions, dtype=np.int64)
        registers = _in_few_registers(instructions, self._used)
        return Program(instructions, np.array(self._places), registers, self._factors)

    def add(
        self,
        what: tuple[int, int],
        read: tuple[int, ...],
        written: tuple[int, ...],
        factors: tuple[Array | None, ...] = (),
        *,
        flag: bool = False,
    ) -> None:
        """Write an instruction down, of a kind and an index, with its registers and factors."""
        read += (NOTHING,) * (OUT - U - len(read))
        written += (NOTHING,) * (FLAG - OUT - len(written))
        factors += (None,) * (TURNED_CONSTANT + 1 - len(factors))
        self._instructions.append([*what, *read, *written, int(flag)])
        self._places.append([self._place(factor) for factor in factors])

    def _new(self) -> int:
        """Return the number of a register that nothing was written to."""
        self._used += 1
        return self._used - 1

    def register(self, part: _Open) -> int:
        """Return the register of a sum, which is computed if it is not a register yet."""
        if not part.turned and len(part.terms) <= 1:
            return part.terms[0][0] if part.terms else NOTHING
        (terms, constant), (turned, other) = self._few(part.terms), self._few(part.turned)
        registers = *(register for register, _ in (*terms, *turned)), part.slopes
        factors = *(factor for _, factor in (*terms, *turned)), constant, other
        made = self._new()
        self.add((SUM, 0), registers, (made,), factors, flag=bool(part.turned))
        return made

    def _place(self, factor: Array | None) -> int:
        if factor is None:
            return 0
        self._factors.append(factor)
        return len(self._factors) - 1

    def _few(self, terms: Terms) -> tuple[tuple[tuple[int, Array | None], ...], Array | None]:
        """Return the same sum with as many terms as an instruction has, and perhaps a constant."""
        constant = next((factor for register, factor in terms if register == NOTHING), None)
        left = tuple(term for term in terms if term[1] is not constant)
        while len(left) > _TERMS:
            made, first = self._new(), left[:_TERMS]
            registers, factors = zip(*first, strict=True)
            self.add((SUM, 0), registers, (made,), factors)
            left = (made, self.one), *left[_TERMS:]
        if constant is not None and len(left) < _TERMS:
            left, constant = (*left, (NOTHING, constant)), None
        return (*left, *[(NOTHING, None)] * (_TERMS - len(left))), constant

    def combined(
        self,
        place: Place,
        first: tuple[_Open | None, float],
        second: tuple[_Open | None, float],
        c: float,
    ) -> _Open:
        parts = [(part, a) for part, a in (first, second) if part is not None and a != 0]
        sizes = [part.sizes.times(a) for part, a in parts]
        if c == 0 and len(parts) < 2:
            nothing = _Open(Scaled.filled(0.0, self._n))
            return parts[0][0]._replace(sizes=sizes[0]) if parts else nothing
        constants = [_Open(Scaled.filled(c, self._n), ((NOTHING, self.one),))] if c != 0 else []
        length, entries = lengths(sizes + [each.sizes for each in constants])
        slopes = {part.slopes for part, _ in parts if part.turned}
        opened = [part for part, _ in parts] + constants
        if len(slopes) > 1:
            opened = [_Open(part.sizes, ((self.register(part), self.one),)) for part in opened]
        made = _Open(
            length,
            self._multiplied(entries, [part.terms for part in opened]),
            self._multiplied(entries, [part.turned for part in opened]),
            slopes.pop() if len(slopes) == 1 else NOTHING,
        )
        # What comes after a block is needed twice, by the next one and by the skip around it.
        after_block = isinstance(self._network.steps.steps[place.step], Add) and place.part == 0
        if not after_block:
            return made
        return _Open(length, ((self.register(made), self.one),))

    def _multiplied(self, entries: list[Array], parts: list[Terms]) -> Terms:
        """Return the terms of parts, times an entry each."""
        terms = [
            (register, entry if factor is self.one else product(entry, factor))
            for entry, part in zip(entries, parts, strict=True)
            for register, factor in part
        ]
        if not self._shared:
            return tuple(terms)
        # Two multiples of a vector are one of it, unless each sample has others.
        found: dict[int, list[Scaled]] = {}
        for register, factor in terms:
            found.setdefault(register, []).append(Scaled.of(factor, np.zeros(1, dtype=np.int64)))
        return tuple((register, lengths(each)[0].value) for register, each in found.items())

    def activated(
        self, step: int, hidden: _Open, gradients: _Open | None
    ) -> tuple[_Open, _Open | None]:
        before = self.register(hidden)
        made, slopes = self._new(), self._new()
        if gradients is not None and (gradients.turned or _parts(gradients.terms) > _TERMS):
            gradients = _Open(gradients.sizes, ((self.register(gradients), self.one),))
        what, gain = (ACTIVATE, self._activations[step]), self._network.factor(step)
        dual = self._network.duals[step]
        if isinstance(dual, PiecewiseLinear):  # sees nothing of a node but its direction
            size: tuple[Array, ...] = ()
            growth = gain * dual.root_mean_square
            activations = hidden.sizes.times(growth)
            turned = None if gradients is None else gradients.sizes.times(growth)
        else:
            size, state = (hidden.sizes.value,), self._activated[step].state
            activations = Scaled.rounded(state.activation).times(gain)
            turns = Scaled.rounded(state.derivative).times(gain)
            turned = None if gradients is None else gradients.sizes.by(turns)
        self.add(what, (before,), (made, slopes), size, flag=gradients is not None)
        after = _Open(activations, ((made, self.one),))
        if gradients is None or turned is None:
            return after, None
        return after, _Open(turned, (), gradients.terms, slopes)

    def normalized(
        self,
        step: int,  # noqa: ARG002
        hidden: _Open,
        gradients: _Open | None,
        epsilon: float,
    ) -> tuple[_Open, _Open | None]:
        divisors = hidden.sizes
        if epsilon > 0:
            divisors, _ = lengths([divisors, Scaled.filled(math.sqrt(epsilon), self._n)])
        after = hidden._replace(sizes=hidden.sizes.over(divisors))
        if gradients is None:
            return after, None
        return after, gradients._replace(sizes=gradients.sizes.over(divisors))


def _parts(terms: Terms) -> int:
    """Return how many terms there are without one constant."""
    return len(terms) - any(register == NOTHING for register, _ in terms)


def _in_few_registers(instructions: NDArray[np.int64], used: int) -> int:
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
    reads, writes, fixed = slice(U, OUT), slice(OUT, FLAG), INPUTS + 1
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
    for part in (reads, writes):
        instructions[:, part] = places[instructions[:, part]]
    return registers
