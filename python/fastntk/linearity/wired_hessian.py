# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
r"""The Hessian of one output at one sample of a network of steps, in the coordinates that count.

Those of a map are the ones of `sample_hessian`; gains and shifts, whose gradients are no outer
products, are coordinates themselves. The R-operator of each step is that of
`wired/hessian_products.hpp` of the core, where its mathematics is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.kernels.wired_passes import WiredPasses
from fastntk.layers.steps import Activate, Add, Linear, Normalize, Step
from fastntk.linearity.sample_hessian import HessianInCoordinates, LayerSpace, is_not_0
from fastntk.networks.wired import WiredNetwork

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.networks.any_network import AnyNetwork
    from fastntk.networks.wired import GainAndShift

    Vectors = npt.NDArray[np.float64]


class WiredSampleHessian(HessianInCoordinates):
    """That of a network of steps; parameters and errors are those of `SampleHessian`."""

    def __init__(self, network: AnyNetwork, x: Vectors, output: int) -> None:
        super().__init__(x)
        assert isinstance(network, WiredNetwork)
        self._inputs = network.input_width
        self._steps = network.steps.steps
        passes = WiredPasses(network, x)
        with np.errstate(all="ignore"):
            deltas = [delta.T for delta in passes.deltas(output)]
            nodes = [values.T for values in passes.nodes]
            self._parts = [
                None
                if isinstance(step, Add)
                else _part(step, own, nodes, deltas[step.target], kept)
                for (step, own), kept in zip(network.parts, passes.kept, strict=True)
            ]
        self.require_finite(np.concatenate([*nodes, *deltas]))
        self.vanishes = any(
            part is not None and part.vanishes for part in self._parts
        ) or self._values_vanish(network, nodes)
        self.sizes = [0 if part is None else part.size for part in self._parts]

    def _values_vanish(self, network: WiredNetwork, nodes: list[Vectors]) -> bool:
        """Return whether an activation has nothing left where neither φ' nor z is 0."""
        layers: dict[int, Any] = {
            step.target: (own, step) for step, own in network.parts if own is not None
        }
        for step, part in zip(self._steps, self._parts, strict=True):
            if not isinstance(part, _Activation) or nodes[step.target].any():
                continue
            assert isinstance(step, Activate)
            layer, made_by = layers.get(step.source, (None, None))
            exists = (
                is_not_0(layer, nodes[made_by.source])
                if isinstance(made_by, Linear)
                else bool(nodes[step.source].any())
            )
            if part.slope.any() and exists:
                return True
        return False

    def products(self, parts: list[Vectors]) -> Vectors:
        """Return the products with columns that have been cut by `sizes`, whatever they are."""
        steps = self._steps
        tangents: list[Any] = [np.zeros((self._inputs, parts[0].shape[1]))] * (len(steps) + 1)
        backward: list[Any] = [0.0] * (len(steps) + 1)
        for step, part, own in zip(steps, self._parts, parts, strict=True):
            if isinstance(step, Add):
                tangent = tangents[step.skip] + step.scale * tangents[step.branch]
            else:
                assert part is not None
                tangent = part.forward(tangents[step.source], own)
            tangents[step.target] = tangent
        backward[-1] = np.zeros_like(tangents[-1])
        results = []
        for step, part, own in list(zip(steps, self._parts, parts, strict=True))[::-1]:
            delta_tangent = backward[step.target]
            if isinstance(step, Add):
                backward[step.skip] = backward[step.skip] + delta_tangent
                backward[step.branch] = backward[step.branch] + step.scale * delta_tangent
                results.append(own)  # which has no rows
                continue
            assert part is not None
            source, target = tangents[step.source], tangents[step.target]
            results.append(part.result(delta_tangent, source))
            backward[step.source] = backward[step.source] + part.back(
                delta_tangent, own, source, target
            )
        return np.concatenate(results[::-1])


class _Part(ABC):
    """A step at a sample, whose node below has the tangent R and whose own Δ has RΔ.

    Columns stand for directions.
    """

    size = 0  # the number of its coordinates
    vanishes = False

    @abstractmethod
    def forward(self, tangent: Vectors, along: Vectors) -> Vectors:
        """Return R of the node that the step makes, along a direction in its own coordinates."""

    @abstractmethod
    def back(
        self, delta_tangent: Vectors, along: Vectors, tangent: Vectors, made: Vectors
    ) -> Vectors:
        """Return what comes back to RΔ of the node below; `made` is what `forward` returned."""

    def result(self, delta_tangent: Vectors, tangent: Vectors) -> Vectors:  # noqa: ARG002
        """Return the coordinates of the product."""
        return np.zeros((0, delta_tangent.shape[1]))


def _part(step: Step, own: Any, nodes: list[Vectors], delta: Vectors, kept: Any) -> _Part:
    (source,) = step.sources
    if isinstance(step, Linear):
        return _Map(LayerSpace(own, nodes[source], delta))
    if isinstance(step, Activate):
        phi, c = step.layer.phi, step.layer.factor
        assert phi.curvature is not None
        return _Activation(kept.T, c * phi.curvature(nodes[source]) * delta)
    if isinstance(step, Normalize):
        return _Normalization(step.layer.centered, nodes[step.target], float(kept[0, 0]), delta)
    return _GainShift(own, nodes[source], delta)


@dataclass(frozen=True)
class _Map(_Part):
    space: LayerSpace

    @property
    def size(self) -> int:  # type: ignore[override]
        return len(self.space.delta) + len(self.space.unit_h)

    @property
    def vanishes(self) -> bool:  # type: ignore[override]
        return self.space.vanishes

    def _split(self, along: Vectors) -> tuple[Vectors, Vectors]:
        count = len(self.space.delta)
        return along[:count], along[count:]

    def forward(self, tangent: Vectors, along: Vectors) -> Vectors:
        space = self.space
        moved = space.scale * (space.weights @ tangent)
        result: Vectors = space.norm_h * self._split(along)[0] + moved
        return result

    def back(
        self,
        delta_tangent: Vectors,
        along: Vectors,
        tangent: Vectors,  # noqa: ARG002
        made: Vectors,  # noqa: ARG002
    ) -> Vectors:
        space = self.space
        turned = space.turned(*self._split(along))
        result: Vectors = space.scale * (space.weights.T @ delta_tangent + turned)
        return result

    def result(self, delta_tangent: Vectors, tangent: Vectors) -> Vectors:
        return self.space.coordinates(delta_tangent, tangent)


@dataclass(frozen=True)
class _Activation(_Part):
    slope: Vectors
    bend: Vectors  # c φ''(z) ∘ Δ_h

    def forward(self, tangent: Vectors, along: Vectors) -> Vectors:  # noqa: ARG002
        return self.slope * tangent

    def back(
        self,
        delta_tangent: Vectors,
        along: Vectors,  # noqa: ARG002
        tangent: Vectors,
        made: Vectors,  # noqa: ARG002
    ) -> Vectors:
        return self.bend * tangent + self.slope * delta_tangent


@dataclass(frozen=True)
class _Normalization(_Part):
    centered: bool
    unit: Vectors  # ĥ
    rate: float  # r
    delta: Vectors  # of ĥ

    def _falling(self, tangent: Vectors) -> tuple[Vectors, Vectors]:
        """Return r C Rz, and the relative rate t at which r falls."""
        moved = self._centred(self.rate * tangent)
        return moved, self._mean(self.unit * moved)

    def forward(self, tangent: Vectors, along: Vectors) -> Vectors:  # noqa: ARG002
        moved, fall = self._falling(tangent)
        return moved - self.unit * fall

    def back(
        self,
        delta_tangent: Vectors,
        along: Vectors,  # noqa: ARG002
        tangent: Vectors,
        made: Vectors,
    ) -> Vectors:
        fall = self._falling(tangent)[1]
        a = self._mean(self.unit * self.delta)
        a_tangent = self._mean(made * self.delta + self.unit * delta_tangent)
        across = self._centred(delta_tangent - fall * self.delta)
        return self.rate * (across - a * made - (a_tangent - fall * a) * self.unit)

    def _centred(self, columns: Vectors) -> Vectors:
        return columns - self._mean(columns) if self.centered else columns

    def _mean(self, columns: Vectors) -> Vectors:
        mean: Vectors = columns.mean(axis=0, keepdims=True)
        return mean


@dataclass(frozen=True)
class _GainShift(_Part):
    own: GainAndShift
    unit: Vectors
    delta: Vectors

    @property
    def size(self) -> int:  # type: ignore[override]
        return self.own.n_parameters

    def _of_gain(self, along: Vectors) -> Vectors | float:
        return 0.0 if self.own.gain is None else along[: self.own.gain.size]

    @property
    def _gain(self) -> Vectors | float:
        return 1.0 if self.own.gain is None else self.own.gain[:, np.newaxis]

    def forward(self, tangent: Vectors, along: Vectors) -> Vectors:
        of_shift = 0.0 if self.own.shift is None else along[-self.own.shift.size :]
        result: Vectors = self._gain * tangent + self._of_gain(along) * self.unit + of_shift
        return result

    def back(
        self,
        delta_tangent: Vectors,
        along: Vectors,
        tangent: Vectors,  # noqa: ARG002
        made: Vectors,  # noqa: ARG002
    ) -> Vectors:
        result: Vectors = self._gain * delta_tangent + self._of_gain(along) * self.delta
        return result

    def result(self, delta_tangent: Vectors, tangent: Vectors) -> Vectors:
        parts = []
        if self.own.gain is not None:
            parts.append(delta_tangent * self.unit + self.delta * tangent)
        if self.own.shift is not None:
            parts.append(delta_tangent)
        return np.concatenate(parts)
