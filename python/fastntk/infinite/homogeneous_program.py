# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The steps of a described network of which all samples share the factors of sums, as a program.

Where all that a sum adds grows with the same power of ‖x‖, as in residual networks of ReLU without
biases, A and B of `layered_factors` are those of any sample, and differences of sizes never come
into a cosine. With 1 ∓ cos of the parts as they are followed, a direct sum is then linear,

    1 ∓ cos = A² (1 ∓ cos of u) + B² (1 ∓ cos of v),

and so are sums of sums, and their product with the cosines of φ'. They are left open until an
activation, a second product or a result needs them: a usual block is an activation, and a sum each
for its nodes and their gradients.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from fastntk.infinite.duals import PiecewiseLinear
from fastntk.infinite.layer_factors import A, B, C
from fastntk.infinite.layered_program import Instructions, Program
from fastntk.infinite.wiring import follow
from fastntk.layers.steps import Add

if TYPE_CHECKING:
    from fastntk.infinite.layered_architecture import LayeredArchitecture
    from fastntk.infinite.layered_factors import LayeredFactors
    from fastntk.infinite.wiring import Place

# The kinds of instructions.
SUM, ACTIVATE, WRITE = range(3)

# What stands where in an instruction: its kind, which of the activations or depths it belongs to,
# the registers that it reads, those that it writes, and whether a sum has a product, or whether the
# cosines of φ' are wanted. A sum is that of U and V, and of the product of that of X and Y with the
# slopes, each with a number of its own.
KIND, INDEX, U, V, X, Y, SLOPES, OUT, SLOPES_OUT, FLAG = range(10)
_TERMS = 2

# Registers that always hold the same: the cosines of what is 0, and those of the inputs.
NOTHING, INPUTS = range(2)


def is_homogeneous(network: LayeredArchitecture) -> bool:
    """Return whether the factors of each sum are the same for all samples.

    After any number of blocks, not only those that are asked for: the kernel of a depth has the
    same bits alone and among others.
    """
    # Others see more of a node than its direction.
    if not all(isinstance(dual, PiecewiseLinear) for dual in network.duals.values()):
        return False
    every = replace(network, blocks=tuple(range(network.n_blocks + 1)))
    powers = _Powers(every)
    for _ in follow(every.steps, powers, frozenset({1}), tangent=True):
        pass
    return powers.of_one_kind


def program_of(network: LayeredArchitecture, factors: LayeredFactors, *, tangent: bool) -> Program:
    """Return the program, for kernels with or without the tangent kernel.

    The factors may be those of any sample.
    """
    recorder = _Recorder(network, factors)
    inputs = _Open({INPUTS: 1.0})
    for k, each in enumerate(follow(network.steps, recorder, inputs, tangent=tangent)):
        registers = [recorder.register(part) for part in each if part is not None]
        recorder.add((WRITE, k), (registers[0], registers[-1]), ())
    return recorder.program()


class _Powers:
    """The calculus of the powers of ‖x‖ with which the parts of a node grow.

    Attributes
    ----------
    of_one_kind : bool
        Whether no sum has had parts of several kinds so far.
    """

    def __init__(self, network: LayeredArchitecture) -> None:
        self._network = network
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
        self, step: int, hidden: frozenset[int], gradients: frozenset[int] | None
    ) -> tuple[frozenset[int], frozenset[int] | None]:
        self.of_one_kind &= isinstance(self._network.duals[step], PiecewiseLinear)
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


class _Open(NamedTuple):
    """A sum that is not computed yet: of multiples of registers, and of others with slopes.

    Attributes
    ----------
    terms, turned : dict
        The multiples, by registers.
    slopes : int
        The register of the cosines that those of the `turned` are to be multiplied with.
    """

    terms: dict[int, float]
    turned: dict[int, float] = {}  # noqa: RUF012
    slopes: int = NOTHING


class _Recorder(Instructions):
    """The calculus that writes the steps of a network down."""

    def __init__(self, network: LayeredArchitecture, factors: LayeredFactors) -> None:
        super().__init__(reads=2 * _TERMS + 1, writes=2, numbers=2 * _TERMS, fixed=INPUTS + 1)
        self._network, self._factors = network, factors
        self._activations = {step: k for k, step in enumerate(factors.activated)}

    def register(self, part: _Open) -> int:
        """Return the register of a sum, which is computed if it is not a register yet."""
        if not part.turned and len(part.terms) == 1:
            return next(iter(part.terms))
        terms, turned = self._few(part.terms), self._few(part.turned)
        pairs = [*self._filled(terms), *self._filled(turned)]
        registers, numbers = zip(*pairs, strict=True)
        made = self.new()
        self.add((SUM, 0), (*registers, part.slopes), (made,), numbers, flag=bool(turned))
        return made

    def _few(self, terms: dict[int, float]) -> dict[int, float]:
        """Return the same sum with as many terms as an instruction has."""
        left = dict(terms)
        while len(left) > _TERMS:
            first = dict(list(left.items())[:_TERMS])
            made = self.new()
            registers, numbers = zip(*first.items(), strict=True)
            self.add((SUM, 0), registers, (made,), numbers)
            left = {made: 1.0, **{each: left[each] for each in left if each not in first}}
        return left

    @staticmethod
    def _filled(terms: dict[int, float]) -> list[tuple[int, float]]:
        return [*terms.items(), *[(NOTHING, 0.0)] * (_TERMS - len(terms))]

    def combined(
        self,
        place: Place,
        first: tuple[_Open | None, float],
        second: tuple[_Open | None, float],
        c: float,  # noqa: ARG002
    ) -> _Open:
        parts = [
            (part, square)
            for (part, factor), square in zip((first, second), self._squares(place), strict=True)
            if part is not None and factor != 0
        ]
        if place not in self._factors.sums:  # a single part
            return parts[0][0] if parts else _Open({NOTHING: 1.0})
        slopes = {part.slopes for part, _ in parts if part.turned}
        if len(slopes) > 1:
            parts = [(_Open({self.register(part): 1.0}), square) for part, square in parts]
        terms: dict[int, float] = {}
        turned: dict[int, float] = {}
        for part, square in parts:
            for every, given in ((terms, part.terms), (turned, part.turned)):
                for register, number in given.items():
                    every[register] = every.get(register, 0.0) + square * number
        constant = self._squares(place, C)[0]
        if constant != 0:
            terms[NOTHING] = terms.get(NOTHING, 0.0) + constant
        made = _Open(terms, turned, next(iter(slopes), NOTHING) if turned else NOTHING)
        # What comes after a block is needed twice, by the next one and by the skip around it.
        after_block = isinstance(self._network.steps.steps[place.step], Add) and place.part == 0
        return _Open({self.register(made): 1.0}) if after_block else made

    def _squares(self, place: Place, *kinds: int) -> tuple[float, ...]:
        """Return A² and B², or others, of a sum; 1 for one that has a single part."""
        found = self._factors.sums.get(place)
        kinds = kinds or (A, B)
        if found is None:
            return (1.0,) * len(kinds)
        return tuple(float(found.factors[kind, 0]) ** 2 for kind in kinds)

    def activated(
        self, step: int, hidden: _Open, gradients: _Open | None
    ) -> tuple[_Open, _Open | None]:
        before = self.register(hidden)
        made, slopes = self.new(), self.new()
        turned: dict[int, float] = {}
        if gradients is not None:
            turned = gradients.terms
            if gradients.turned or len(turned) > _TERMS:
                turned = {self.register(gradients): 1.0}
        what = ACTIVATE, self._activations[step]
        self.add(what, (before,), (made, slopes), flag=gradients is not None)
        after = _Open({made: 1.0})
        return after, None if gradients is None else _Open({}, turned, slopes)

    def normalized(
        self,
        step: int,  # noqa: ARG002
        hidden: _Open,
        gradients: _Open | None,
        epsilon: float,  # noqa: ARG002
    ) -> tuple[_Open, _Open | None]:
        return hidden, gradients
