# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Passes of a few samples through a network of steps, in NumPy, for what kernels do not show.

They say whether a kernel of which nothing is left is 0 in exact arithmetic, and which layer makes a
sample no number. As for chains (`kernels.existence`), samples are brought to size 1 for the first,
and sums of which rounding alone is left are 0.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.kernels.affine_maps import applied
from fastntk.layers.steps import Activate, Add, GainShift, Linear, Normalize, label
from fastntk.networks.wired import WiredNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fastntk._support.dtypes import FloatArray
    from fastntk.activations.activation import Activation
    from fastntk.networks.any_network import AnyNetwork

    Rows = NDArray[Any]


class WiredPasses:
    """The passes of some samples X (n, d), in float64.

    Attributes
    ----------
    nodes : list of ndarray
        The values of all nodes.
    kept : list
        Of each step what the way back needs: slopes (n, width) of an activation, rates (n, 1) of a
        normalization, None of others.
    """

    def __init__(self, network: WiredNetwork, X: Rows) -> None:
        self.nodes: list[Rows] = [X.astype(np.float64)]
        self.kept: list[Any] = []
        # Steps and parameters, of kinds that belong together.
        self._parts: list[tuple[Any, Any]] = list(network.parts)
        with np.errstate(all="ignore"):
            for step, own in self._parts:
                made, kept = self._made(step, own)
                self.nodes.append(made)
                self.kept.append(kept)

    def _made(self, step: Any, own: Any) -> tuple[Rows, Any]:
        if isinstance(step, Linear):
            return applied(own, self.nodes[step.source]), None
        if isinstance(step, Add):
            return self.nodes[step.skip] + step.scale * self.nodes[step.branch], None
        z = self.nodes[step.source]
        if isinstance(step, Activate):
            phi, c = step.layer.phi, step.layer.factor
            assert phi.function is not None
            assert phi.derivative is not None
            return c * phi.function(z), c * phi.derivative(z)
        if isinstance(step, Normalize):
            return normalized(z, centered=step.layer.centered, epsilon=step.layer.epsilon)
        y = z if own.gain is None else own.gain * z
        return y if own.shift is None else y + own.shift, None

    @property
    def outputs(self) -> Rows:
        """The outputs f (n, C)."""
        return self.nodes[-1]

    def deltas(self, output: int) -> list[Rows]:
        """Return Δ of all nodes: the derivatives of an output by them."""
        deltas: list[Any] = [0.0] * len(self.nodes)
        deltas[-1] = np.zeros_like(self.outputs)
        deltas[-1][:, output] = 1.0
        with np.errstate(all="ignore"):
            for (step, own), kept in zip(self._parts[::-1], self.kept[::-1], strict=True):
                delta = deltas[step.target]
                if isinstance(step, Add):
                    deltas[step.skip] = deltas[step.skip] + delta
                    deltas[step.branch] = deltas[step.branch] + step.scale * delta
                    continue
                if isinstance(step, Linear):
                    back = own.weight_scale * (delta @ own.weights)
                elif isinstance(step, GainShift):
                    back = delta if own.gain is None else own.gain * delta
                elif isinstance(step, Normalize):
                    unit = self.nodes[step.target]
                    mean = delta.mean(axis=1, keepdims=True) if step.layer.centered else 0.0
                    along = (unit * delta).mean(axis=1, keepdims=True)
                    back = kept * (delta - mean - unit * along)
                else:
                    back = kept * delta
                deltas[step.source] = deltas[step.source] + back
        return deltas

    def gradients(self, output: int) -> tuple[list[list[tuple[Rows, Rows | None]]], Rows]:
        """Return the factors of the gradients of an output, and its derivatives by the inputs.

        For each layer, and each of its arrays, Δ and h; or what is the gradient itself, and None.
        """
        deltas = self.deltas(output)
        found: list[list[tuple[Rows, Rows | None]]] = []
        for step, own in self._parts:
            if own is None:
                continue
            delta, h = deltas[step.target], self.nodes[step.source]
            if isinstance(step, Linear):
                found.append([(delta, h), (delta, None)][: len(own.arrays)])
                continue
            parts: list[tuple[Rows, Rows | None]] = []
            with np.errstate(all="ignore"):
                parts += [] if own.gain is None else [(delta * h, None)]
            parts += [] if own.shift is None else [(delta, None)]
            found.append(parts)
        return found, deltas[0]


def _has_kink(phi: Activation) -> bool:
    """Return whether φ has two slopes at 0."""
    assert phi.derivative is not None
    left, right = phi.derivative(np.array([-1.0, 1.0]) * np.finfo(np.float64).tiny)
    return bool(left != right)


@dataclass(frozen=True)
class WiredQuestions:
    """What is asked of a network that is no chain, and of some samples on the host."""

    network: WiredNetwork

    @classmethod
    def of(cls, network: AnyNetwork) -> WiredQuestions:
        """Return the questions to a network."""
        assert isinstance(network, WiredNetwork)
        return cls(network)

    def outputs_exist(self, X: Rows) -> bool:
        """Return whether an output is not 0."""
        return bool(WiredPasses(self.network, X).outputs.any())

    def input_gradients_exist(self, X: Rows) -> bool:
        """Return whether an output depends on the inputs."""
        passes = WiredPasses(self.network, X)
        return any(passes.gradients(output)[1].any() for output in range(self.network.n_outputs))

    def kernels_exist(self, outputs: Sequence[int], sides: Sequence[Rows]) -> list[bool]:
        """Return whether the kernel of each network has an element that is not 0."""
        return [
            WiredQuestions(each).kernel_exists(outputs, sides) for each in self.network.networks
        ]

    def kernel_exists(self, outputs: Sequence[int], sides: Sequence[Rows]) -> bool:
        """Return whether the kernel of some samples has an element that is not 0."""
        passes = [WiredPasses(self.network, X) for X in sides]
        for output in outputs:
            first, last = passes[0].gradients(output)[0], passes[-1].gradients(output)[0]
            for layer, parts, others in zip(self.network.layers, first, last, strict=True):
                arrays = layer.arrays
                for (_, omega), (delta, h), (other, g) in zip(arrays, parts, others, strict=True):
                    common = (delta @ other.T) != 0
                    if h is not None and g is not None:
                        common &= (h @ g.T) != 0
                    if omega > 0 and common.any():
                        return True
        return False

    def gradient_has_terms(
        self, outputs: Sequence[int], X: FloatArray, where: NDArray[np.bool_]
    ) -> bool:
        """Return whether a gradient of some samples has an entry that is not 0 at `where` (P,)."""
        passes = WiredPasses(self.network, X)
        sizes = [array.size for layer in self.network.layers for array, _ in layer.arrays]
        wanted = np.split(where, np.cumsum(sizes)[:-1])
        for output in outputs:
            parts = [part for layer in passes.gradients(output)[0] for part in layer]
            for (delta, h), some in zip(parts, wanted, strict=True):
                active = delta != 0
                if h is None:
                    if (active @ some).any():
                        return True
                elif ((active @ some.reshape(delta.shape[1], h.shape[1])) & (h != 0)).any():
                    return True
        return False

    @property
    def degree(self) -> int:
        """The product of the powers of a sample that activations take; 1 without any."""
        activations = (step for step in self.network.steps.steps if isinstance(step, Activate))
        return math.prod(max(step.layer.phi.power or 1, 1) for step in activations)

    def lost_sign(self, X: FloatArray, least: float) -> str | None:
        """Return an activation that a power has left 0, and which has two slopes there, or None.

        Where nothing above `least` is left of a power of a sample, the values behind it are 0, and
        an activation with a kink no longer knows on which side of it they are.
        """
        # Weights make a sample smaller by far less than 2⁶⁴.
        sizes = np.abs(X).max(axis=1)
        tiny = X[(sizes > 0) & (sizes < 2.0 ** ((math.log2(least) + 64) / self.degree))]
        if len(tiny) == 0:
            return None
        passes = WiredPasses(self.network, tiny)
        lost = [np.zeros(len(tiny), dtype=bool)]
        for step in self.network.steps.steps:
            before = np.logical_or.reduce([lost[node] for node in step.sources])
            z = passes.nodes[step.sources[0]]
            if isinstance(step, Activate):
                phi = step.layer.phi
                if before.any() and _has_kink(phi):
                    return label(step)
                if (phi.power or 1) > 1:
                    assert phi.function is not None
                    before |= phi.function(np.sign(z)).any(axis=1)
            lost.append(before & (np.abs(passes.nodes[step.target]) < least).all(axis=1))
        return None

    def cancellation(self, both: FloatArray) -> FloatArray:
        """Return by how much normalizations let the differences of pairs (k, 2, d) grow.

        A `LayerNorm` of values that are much larger than their differences from the mean makes
        these of size 1, with the rounding of the values.
        """
        passes = WiredPasses(self.network, both.reshape(-1, both.shape[2]))
        grown: FloatArray = np.ones(len(passes.outputs))
        for step, kept in zip(self.network.steps.steps, passes.kept, strict=True):
            if isinstance(step, Normalize):
                z = passes.nodes[step.source]
                with np.errstate(all="ignore"):
                    size = np.linalg.norm(kept * z, axis=1) / math.sqrt(z.shape[1])
                grown *= np.maximum(size, 1.0)
        largest: FloatArray = grown.reshape(both.shape[:2]).max(axis=1)
        return largest

    def without_direction(self, x: FloatArray) -> str | None:
        """Return which layer cannot normalize a sample x (d,), and why; None if all can."""
        passes = WiredPasses(self.network, x[np.newaxis])
        for step in self.network.steps.steps:
            if not isinstance(step, Normalize) or np.isfinite(passes.nodes[step.target]).all():
                continue
            if not np.isfinite(passes.nodes[step.source]).all():
                return None
            what = "all equal" if step.layer.centered else "all 0"
            return (
                f"the values before {label(step)} are {what} and have no direction: expected "
                "others, or epsilon above 0"
            )
        return None

    def first_beyond(self, x: FloatArray, largest: float) -> str | None:
        """Return the first layer with values beyond `largest` of a sample x (d,); None if none."""
        passes = WiredPasses(self.network, x[np.newaxis])
        for step in self.network.steps.steps:
            if not (np.abs(passes.nodes[step.target]) <= largest).all():
                return label(step)
        return None


def normalized(z: Rows, *, centered: bool, epsilon: float) -> tuple[Rows, Rows]:
    """Return ĥ, and the rate at which it changes with z."""
    floor = math.sqrt(epsilon)
    exponents = np.frexp(np.maximum(np.abs(z).max(axis=1, keepdims=True), floor))[1]
    scaled = np.ldexp(z, -exponents)
    if centered:
        scaled = scaled - scaled.mean(axis=1, keepdims=True)
    squares = (scaled**2).mean(axis=1, keepdims=True) + np.ldexp(floor, -exponents) ** 2
    size = np.sqrt(squares)
    return scaled / size, np.ldexp(1 / size, -exponents)
