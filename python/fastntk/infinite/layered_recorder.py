# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The steps of a described network, written down as a program for the pairs of some samples.

Each part of a sum adds terms of its own, also those of parts that are sums themselves, and of those
that are to be multiplied with the cosines of φ'. So sums are left open until an activation, a
second product or a result needs them: a usual block is an activation, and a sum each for its nodes
and their gradients.

Where activations are linear on both sides of 0, and all that a sum adds grows with the same power
of ‖x‖, as in residual networks of ReLU without biases, all samples share the factors, and no
differences are left.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from fastntk.infinite.double_double import Scaled, lengths, product
from fastntk.infinite.duals import PiecewiseLinear
from fastntk.infinite.layered_program import (
    ACTIVATE,
    FLAG,
    INPUTS,
    NOTHING,
    OUT,
    SUM,
    TERMS,
    TURNED_CONSTANT,
    WRITE,
    Program,
    U,
    in_blocks,
    in_few_registers,
    without_gradients,
)
from fastntk.infinite.sample_norms import Norms
from fastntk.infinite.wiring import follow
from fastntk.layers.steps import Add

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fastntk.infinite.duals import Dual, State
    from fastntk.infinite.wiring import Place
    from fastntk.layers.steps import Steps

    Array = NDArray[np.float64]


def shared_programs(
    steps: Steps, duals: Mapping[int, Dual], inputs: int
) -> tuple[Program, Program]:
    """Return the programs that all samples share: those of a sample of norm 1.

    No tile then depends on who else is there. The parameters are those of `programs_of`, and the
    number of inputs.
    """
    one = Norms(inputs, np.array([0.5]), np.array([1]), np.zeros(1))
    return _Recorder(steps, duals, 1, {}, shared=True).programs(one)


def programs_of(
    steps: Steps, duals: Mapping[int, Dual], norms: Norms, states: Mapping[int, State]
) -> tuple[Program, Program]:
    """Return the programs for the NNGP alone, and with the tangent kernel.

    Parameters
    ----------
    steps : Steps
        The steps of the network.
    duals : mapping
        The duals of its activations, by the numbers of their steps.
    norms : Norms
        Those of all samples.
    states : mapping
        The same samples at these activations.
    """
    return _Recorder(steps, duals, len(norms), states, shared=False).programs(norms)


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
        steps: Steps,
        duals: Mapping[int, Dual],
        n: int,
        states: Mapping[int, State],
        *,
        shared: bool,
    ) -> None:
        self._steps, self._duals, self._n, self._shared = steps, duals, n, shared
        self._states = states
        self._used = INPUTS + 1
        self._instructions: list[list[int]] = []
        self._places: list[list[int]] = []
        self._factors = [np.zeros((2, n))]
        self._activations = {step: k for k, step in enumerate(duals)}
        self.one = np.stack([np.ones(n), np.zeros(n)])

    def programs(self, norms: Norms) -> tuple[Program, Program]:
        """Return the programs of samples with these norms, see `programs_of`."""
        parts = np.stack([norms.significands, norms.rests])
        sizes = Scaled.of(parts, norms.exponents).times(1.0 / float(np.sqrt(norms.dimension)))
        inputs = _Open(sizes, ((INPUTS, self.one),))
        for k, each in enumerate(follow(self._steps, self, inputs, tangent=True)):
            ends = [self.register(part) for part in each if part is not None]
            self.add((WRITE, k), (ends[0], ends[-1]), ())
        instructions = np.array(self._instructions, dtype=np.int64)
        registers = in_few_registers(instructions, self._used)
        single = np.ones(len(instructions), dtype=np.int64)
        both = Program(instructions, np.array(self._places), single, registers, self._factors)
        piecewise = np.array([isinstance(dual, PiecewiseLinear) for dual in self._duals.values()])
        nngp, both = (
            in_blocks(each, piecewise, shared=self._shared)
            for each in (without_gradients(both), both)
        )
        return nngp, both

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
        while len(left) > TERMS:
            made, first = self._new(), left[:TERMS]
            registers, factors = zip(*first, strict=True)
            self.add((SUM, 0), registers, (made,), factors)
            left = (made, self.one), *left[TERMS:]
        if constant is not None and len(left) < TERMS:
            left, constant = (*left, (NOTHING, constant)), None
        return (*left, *[(NOTHING, None)] * (TERMS - len(left))), constant

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
        after_block = isinstance(self._steps.steps[place.step], Add) and place.part == 0
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
        if gradients is not None and (gradients.turned or _parts(gradients.terms) > TERMS):
            gradients = _Open(gradients.sizes, ((self.register(gradients), self.one),))
        what, gain = (ACTIVATE, self._activations[step]), self._steps.factor(step)
        dual = self._duals[step]
        if isinstance(dual, PiecewiseLinear):  # sees nothing of a node but its direction
            size: tuple[Array, ...] = ()
            growth = gain * dual.root_mean_square
            activations = hidden.sizes.times(growth)
            turned = None if gradients is None else gradients.sizes.times(growth)
        else:
            size, state = (hidden.sizes.value,), self._states[step]
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
