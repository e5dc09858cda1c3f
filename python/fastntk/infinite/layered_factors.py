# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the steps of a described network need of single samples: the sizes of all nodes.

With the sizes s = √Σ(x, x) of nodes and √Θ(x, x) of gradients, a sum a u ⊕ b v ⊕ c has the size S,
S² = a² s_u² + b² s_v² + c², and the parts A = a s_u/S, B = b s_v/S, C = c/S of a unit vector: what
`layer_factors` has for the weights and biases of a layer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fastntk._support.memory import require_memory
from fastntk._support.threads import core_threads
from fastntk.infinite.layer_factors import (
    A,
    B,
    C,
    P,
    R,
    require_digits,
    require_squares,
    state_in_range,
)
from fastntk.infinite.pair_layers import stack_sizes
from fastntk.infinite.wiring import Place, follow
from fastntk.layers.steps import label

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    from fastntk.infinite.duals import State
    from fastntk.infinite.layered_architecture import LayeredArchitecture
    from fastntk.infinite.sample_norms import Norms

    Array: TypeAlias = NDArray[np.float64]


class Sum(NamedTuple):
    """A direct sum, of all samples: what only bounds need of it is made when they ask.

    Attributes
    ----------
    first, second : ndarray (n,) or None
        a s_u and b s_v, of the parts that are there.
    constant : float
        c.
    size : ndarray (n,)
        S.
    """

    first: Array | None
    second: Array | None
    constant: float
    size: Array

    @property
    def factors(self) -> Array:
        """A, B, C (5, n); before them A and C again, as R and P."""
        inverse = np.divide(1.0, self.size, out=np.zeros_like(self.size), where=self.size > 0)
        factors = np.zeros((5, len(self.size)))
        factors[A] = 0.0 if self.first is None else self.first * inverse
        factors[B] = 0.0 if self.second is None else self.second * inverse
        factors[C] = self.constant * inverse
        factors[R], factors[P] = factors[A], factors[C]
        return factors

    @property
    def sizes(self) -> Array:
        """S twice, and 1/S (3, n)."""
        return stack_sizes(self.size, self.size)

    def take(self, samples: slice) -> Sum:
        """Return the sum of some of the samples."""
        first, second = (
            None if part is None else part[samples] for part in (self.first, self.second)
        )
        return Sum(first, second, self.constant, self.size[samples])


class Activated(NamedTuple):
    """Samples at an activation: what its dual needs, and √Θ(x, x) before it."""

    state: State
    gradients: Array


class Normalized(NamedTuple):
    """Samples at a normalization: s, q = √(s² + ε), and √Θ(x, x) before it."""

    size: Array
    divisor: Array
    gradients: Array


@dataclass(frozen=True)
class LayeredFactors:
    """What one set of samples brings into the steps.

    Attributes
    ----------
    norms : ndarray (2, n)
        Norms of the samples, each the sum of two numbers.
    gain : float
        1/√d, by which inputs are multiplied.
    sums, activated, normalized : dict
        What was computed, by its place, or by the number of the step.
    scales : ndarray (2, depths, n)
        Square roots of the diagonals of the two kernels.
    zero : ndarray of bool (2, depths, n)
        Where they are 0.
    """

    norms: Array
    gain: float
    sums: dict[Place, Sum]
    activated: dict[int, Activated]
    normalized: dict[int, Normalized]
    scales: Array
    zero: NDArray[np.bool_]

    # No two samples share them, see `LayerFactors`.
    shared = False

    @classmethod
    def of(
        cls, samples: Norms, network: LayeredArchitecture, rows: int | None = None
    ) -> LayeredFactors:
        """Take samples through all steps.

        Parameters
        ----------
        samples : Norms
            Those of X, and after them those of Z where that is another set.
        network : LayeredArchitecture
            The network.
        rows : int, optional
            How many samples X has; by default all of them are of X.

        Raises
        ------
        OverflowError
            If a size leaves the range in which it has all digits.
        ValueError
            If a sample that is 0 would have to be normalized.
        """
        n, steps = len(samples), network.steps
        require_memory(
            8 * n * (16 * len(steps.steps) + 4 * len(network.depths)),
            f"blocks={network.depths[-1]}: {n} samples at all layers",
            "take fewer samples or layers",
        )
        with np.errstate(over="ignore"):  # looked at below
            norms = np.ldexp(np.stack([samples.significands, samples.rests]), samples.exponents)
        gain = 1.0 / float(np.sqrt(samples.dimension))
        sizes = _Sizes(network, n, n if rows is None else rows)
        scales = np.zeros((2, len(network.depths), n))
        # Quadratures of many samples are products of matrices, with other bits in more threads.
        # Sizes that overflow are looked at in each step, and gradients where scales are used.
        with core_threads(), np.errstate(over="ignore"):
            found = follow(steps, sizes, norms[0] * gain, tangent=True)
            for k, (hidden, gradients) in enumerate(found):
                scales[0, k] = hidden
                if gradients is not None:
                    scales[1, k] = gradients
        return cls(
            norms,
            gain,
            sizes.sums,
            sizes.at_activations,
            sizes.at_normalizations,
            scales,
            scales == 0,
        )

    def take(self, samples: slice) -> LayeredFactors:
        """Return the factors of some of the samples."""
        return LayeredFactors(
            self.norms[:, samples],
            self.gain,
            {place: each.take(samples) for place, each in self.sums.items()},
            {
                step: Activated(each.state.take(samples), each.gradients[samples])
                for step, each in self.activated.items()
            },
            {
                step: Normalized(*(part[samples] for part in each))
                for step, each in self.normalized.items()
            },
            self.scales[..., samples],
            self.zero[..., samples],
        )


class _Sizes:
    """The calculus of sizes, which keeps what it computes."""

    def __init__(self, network: LayeredArchitecture, samples: int, rows: int) -> None:
        self._network, self._samples, self._rows = network, samples, rows
        self.sums: dict[Place, Sum] = {}
        self.at_activations: dict[int, Activated] = {}
        self.at_normalizations: dict[int, Normalized] = {}

    def combined(
        self,
        place: Place,
        first: tuple[Array | None, float],
        second: tuple[Array | None, float],
        c: float,
    ) -> Array:
        u, v = (None if size is None or a == 0 else a * size for size, a in (first, second))
        given = [part for part in (u, v) if part is not None]
        if c == 0 and len(given) < 2:
            size = given[0] if given else np.zeros(self._samples)
        else:
            size = np.full(self._samples, float(c))
            for part in given:
                size = np.hypot(size, part)
            self.sums[place] = Sum(u, v, c, size)
        self._require_finite(size, place.step)
        if place in self.sums and v is not None:
            require_squares(size, partial(self._label, place.step))
        elif not place.gradient:
            require_digits(size)
        return size

    def activated(
        self, step: int, hidden: Array, gradients: Array | None
    ) -> tuple[Array, Array | None]:
        state = state_in_range(self._network.duals[step], hidden)
        kept = np.zeros_like(hidden) if gradients is None else gradients
        self.at_activations[step] = Activated(state, kept)
        gain = self._network.steps.factor(step)
        turned = None if gradients is None else gradients * (gain * state.derivative)
        size = gain * state.activation
        self._require_finite(size, step)
        return size, turned

    def normalized(
        self, step: int, hidden: Array, gradients: Array | None, epsilon: float
    ) -> tuple[Array, Array | None]:
        divisor = hidden if epsilon == 0 else np.hypot(hidden, math.sqrt(epsilon))
        zero = np.flatnonzero(divisor == 0)
        if zero.size:
            raise ValueError(
                f"{self._label(step)}: {self._named(int(zero[0]))} is 0 "
                "there, as a row of zeros is without biases, and what is 0 has no normalization: "
                "expected other samples, or an epsilon above 0"
            )
        kept = np.zeros_like(hidden) if gradients is None else gradients
        self.at_normalizations[step] = Normalized(hidden, divisor, kept)
        size = np.ones_like(hidden) if epsilon == 0 else hidden / divisor
        return size, None if gradients is None else gradients / divisor

    def _require_finite(self, size: Array, step: int) -> None:
        """Raise OverflowError if sizes after a step are not numbers."""
        if not np.isfinite(size).all():
            raise OverflowError(
                f"{self._label(step)}: samples grow beyond {np.finfo(float).max:.1g}; "
                "expected smaller samples, weight_std or scale"
            )

    def _label(self, step: int) -> str:
        return label(self._network.steps.steps[step])

    def _named(self, sample: int) -> str:
        """Return what errors call a sample."""
        return f"X[{sample}]" if sample < self._rows else f"Z[{sample - self._rows}]"
