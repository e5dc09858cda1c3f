# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The steps of a network at infinite width, whatever is followed through them.

The limits are those of `fastntk.layers`, with Σ the covariance of a node and Θ the kernel of all
parameters before it:

    Linear       Σ⁺ = σ_w² Σ + σ_b²,          Θ⁺ = σ_w² (ω^W Σ + Θ) + ω^b σ_b²
    Activate     Σ⁺ = c² E[φ(u)φ(v)],         Θ⁺ = Θ ∘ c² E[φ'(u)φ'(v)]
    Add          Σ⁺ = Σ_skip + α² Σ_branch,   Θ⁺ = Θ_skip + α² Θ_branch
    Normalize    Σ⁺ = Σ/(q qᵀ),               Θ⁺ = Θ/(q qᵀ),    q² = Σ(x, x) + ε
    GainShift    Σ⁺ = Σ,                      Θ⁺ = Θ + ω^γ Σ + ω^β

The cross terms of a sum vanish because the branch ends with weights of its own, which are
independent of all before them and have mean zero; what a normalization takes from a gradient along
its own direction is one of n directions, and vanishes too. So does the mean that a LayerNorm
subtracts, of neurons and of gradients: what it takes has mean 0, as weights and odd functions of
Gaussian neurons make it, so that the mean over n neurons is of the size 1/√n, and its square, which
is what comes to the kernels, of the size 1/n.

The gradient by a gain γ_i is the neuron ĥ_i itself. It is no number that all neurons share until
weights take the mean over them, and before that an activation multiplies it by φ'(ĥ_i), which is
not independent of it: E[u φ'(u) v φ'(v)] comes of it, for a φ that is linear on both sides of 0
E[φ(u)φ(v)] again. So the part ω^γ Σ is kept apart, as a multiple of Σ, until weights or a sum come.

Σ and Θ are inner products of vectors; all but the activation makes direct sums of multiples of such
vectors, and of a constant: a u ⊕ b v ⊕ c. So three operations are all that a calculus has to know.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar

from fastntk.layers.steps import Activate, Add, GainShift, Linear, Normalize

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastntk.layers.steps import Steps

T = TypeVar("T")


class Place(NamedTuple):
    """Where something is computed.

    Attributes
    ----------
    step : int
        The number of the step.
    gradient : bool
        Whether it is that of gradients.
    part : int
        Of a sum, 0; of its parts before that, from 1 on.
    """

    step: int
    gradient: bool
    part: int = 0


class Calculus(Protocol[T]):
    """What is done to what is followed of a node: of its vectors h, or of gradients."""

    def combined(
        self, place: Place, first: tuple[T | None, float], second: tuple[T | None, float], c: float
    ) -> T:
        """Return that of a u ⊕ b v ⊕ c, of (u, a) and (v, b), of which one may be missing."""

    def activated(self, step: int, hidden: T, gradients: T | None) -> tuple[T, T | None]:
        """Return those after the activation of a step."""

    def normalized(
        self, step: int, hidden: T, gradients: T | None, epsilon: float
    ) -> tuple[T, T | None]:
        """Return those after a normalization."""


def follow(
    steps: Steps, calculus: Calculus[T], inputs: T, *, tangent: bool
) -> Iterator[tuple[T, T | None]]:
    """Take the inputs through all steps; yield what the calculus makes of each of the outputs.

    Parameters
    ----------
    steps : Steps
        The steps.
    calculus : Calculus
        What is followed.
    inputs : T
        That of the inputs.
    tangent : bool
        Whether gradients are followed beside the nodes. They are None where nothing is trained.
    """
    nodes = {0: _Node(inputs, None)}
    last_uses = steps.last_uses
    for number, step in enumerate(steps.steps):
        place = Place(number, gradient=False)
        if isinstance(step, Add):
            skip, branch = nodes[step.skip], nodes[step.branch]
            hidden = calculus.combined(place, (skip.hidden, 1.0), (branch.hidden, step.scale), 0.0)
            first, second = (
                _with_gains(calculus, place, k, node) for k, node in enumerate((skip, branch))
            )
            gradients = _sum(calculus, place, (first, 1.0), (second, step.scale), 0.0)
            made = _Node(hidden, gradients)
        else:
            made = nodes[step.source]
            if isinstance(step, Linear):
                made = _weighed(calculus, place, step, made, tangent=tangent)
            elif isinstance(step, Activate):
                made = _Node(*calculus.activated(number, *made[:2]), made.gain)
            elif isinstance(step, Normalize):
                epsilon = step.layer.epsilon
                made = _Node(*calculus.normalized(number, *made[:2], epsilon), made.gain)
            elif tangent:
                made = _shifted(calculus, place, step, made)
        nodes[step.target] = made
        for node in step.sources:
            if last_uses[node] <= number:
                nodes.pop(node, None)
        if step.target in steps.outputs:
            yield made.hidden, made.gradients


class _Node(NamedTuple, Generic[T]):
    """What is followed of a node; ω^γ Σ comes to its gradients, with √ω^γ as `gain`."""

    hidden: T
    gradients: T | None
    gain: float = 0.0


def _weighed(
    calculus: Calculus[T], place: Place, step: Linear, node: _Node[T], *, tangent: bool
) -> _Node[T]:
    layer = step.layer
    weights, bias = layer.weight_std, layer.bias_std
    hidden = calculus.combined(place, (node.hidden, weights), (None, 0.0), bias)
    if not tangent:
        return _Node(hidden, None)
    first, second = (math.sqrt(rate) for rate in layer.rates)
    own = node.hidden, weights * math.hypot(first, node.gain)
    gradients = _sum(calculus, place, own, (node.gradients, weights), second * bias)
    return _Node(hidden, gradients)


def _shifted(calculus: Calculus[T], place: Place, step: GainShift, node: _Node[T]) -> _Node[T]:
    layer = step.layer
    gain, shift = (
        math.sqrt(rate) * there
        for rate, there in zip(layer.rates, (layer.gain, layer.shift), strict=True)
    )
    gradients = _sum(calculus, place, (node.hidden, 0.0), (node.gradients, 1.0), shift)
    return _Node(node.hidden, gradients, math.hypot(node.gain, gain))


def _with_gains(calculus: Calculus[T], place: Place, part: int, node: _Node[T]) -> T | None:
    """Return the gradients of a part of a sum, with those by gains."""
    if node.gain == 0:
        return node.gradients
    own = place._replace(part=part + 1)
    return _sum(calculus, own, (node.hidden, node.gain), (node.gradients, 1.0), 0.0)


def _sum(
    calculus: Calculus[T],
    place: Place,
    first: tuple[T | None, float],
    second: tuple[T | None, float],
    c: float,
) -> T | None:
    """Return the gradients that are a sum; None where all of its parts are missing or 0."""
    if all(part is None or factor == 0 for part, factor in (first, second)) and c == 0:
        return None
    return calculus.combined(place._replace(gradient=True), first, second, c)
