# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The networks of a depth study that are described by their layers, at every depth.

The depths that begin with the same layers come from one pass.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fastntk.activations.activation import activation_label
from fastntk.kernels.depth_passes import depth_groups, feature_columns, pass_bytes
from fastntk.kernels.rounding import feature_error
from fastntk.layers.activation import Activation
from fastntk.layers.blocks import block_places, with_blocks
from fastntk.layers.residual import Residual
from fastntk.layers.steps import GainShift, Linear, steps_of
from fastntk.networks.wired import margin_of, require_finite_steps
from fastntk.studies.depth_families import DEFAULT_TOLERANCE, Family, pass_share
from fastntk.studies.identities import description_identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fastntk import activations, infinite
    from fastntk._support.dtypes import FloatArray
    from fastntk.architectures.finite import FiniteNetwork
    from fastntk.architectures.network import Network
    from fastntk.kernels.angles import AnglePair
    from fastntk.kernels.rounding import KernelErrors
    from fastntk.layers.layer import Layer
    from fastntk.studies.store import Values
    from fastntk.symmetric.matrix import SymmetricMatrix


@dataclass(frozen=True, kw_only=True)
class _DescribedFamily(Family):
    """Networks that are described by their layers.

    Attributes
    ----------
    called : str
        What tables call the kind of networks.
    networks : dict of int to Network
        The descriptions by their depths.
    """

    called: str
    networks: Mapping[int, Network]

    @property
    def architecture(self) -> str:
        """What tables call the kind of networks."""
        return self.called

    def residual_scale(self, depth: int) -> float:
        """Return α of the blocks at a depth; NaN if there are none, or not one for all."""
        layers = self.networks[depth].layers
        scales = {layer.scale for layer in layers if isinstance(layer, Residual)}
        return scales.pop() if len(scales) == 1 else math.nan

    def passes(
        self, X: FloatArray, depths: Sequence[int], memory: int | None
    ) -> list[tuple[int, ...]]:
        """Cut depths into passes, of neighbours that begin with the same layers as the deepest."""
        groups = []
        for alike, its in itertools.groupby(depths, self._is_part_of_deepest):
            run, share = list(its), pass_share(memory)
            if alike:
                groups += depth_groups(run, lambda some: self.pass_bytes(X, some), share)
            else:
                groups += [(depth,) for depth in run]
        return groups

    @cached_property
    def _deepest(self) -> Network:
        return self.networks[max(self.networks)]

    @cached_property
    def _n_blocks(self) -> dict[int, int]:
        return {depth: len(block_places(net.layers)) for depth, net in self.networks.items()}

    def _blocks(self, depths: Sequence[int]) -> list[int]:
        return [self._n_blocks[depth] for depth in depths]

    def _is_part_of_deepest(self, depth: int) -> bool:
        """Return whether `Network.infinite` of the deepest makes this one of its blocks.

        Without blocks it is a chain, whose limit by itself has other last bits.
        """
        layers, count = self._deepest.layers, self._n_blocks[depth]
        if not 0 < count <= len(block_places(layers)):
            return False
        return with_blocks(layers, count) == tuple(self.networks[depth].layers)


@dataclass(frozen=True, kw_only=True)
class FiniteDescribedFamily(_DescribedFamily):
    """Random networks of one seed."""

    width: int
    dtype: str

    def __post_init__(self) -> None:
        """Raise ValueError, before any work, for activations that finite networks cannot have."""
        for depth, network in self.networks.items():
            try:
                require_finite_steps(network.steps)
            except ValueError as error:
                raise ValueError(f"architecture={self.called}, at depth {depth}: {error}") from None

    @property
    def name(self) -> str:
        """Architecture, activation and seed."""
        return f"{self.called}, {self.label}, seed {self.seed}"

    def settings(self, depth: int) -> Values:
        """Return all that decides the kernel of a depth, besides this and samples, for JSON."""
        return {
            "layers": description_identity(self.networks[depth]),
            "seed": self.seed,
            "dtype": self.dtype,
        }

    def kernels(self, X: FloatArray, depths: Sequence[int]) -> dict[int, FloatArray]:
        """Return the kernels of some depths, on shared layers where there are several."""
        if len(depths) == 1:
            return {depths[0]: self._single(depths[0]).ntk(X, dtype="float64")}
        blocks = self._blocks(depths)
        found = self._deepest.ntk_at_blocks(
            X, blocks, seed=self.seed, network_dtype=self.dtype, dtype="float64"
        )
        return {depth: found[count] for depth, count in zip(depths, blocks, strict=True)}

    def closest(self, X: FloatArray, depth: int, candidates: Sequence[AnglePair]) -> AnglePair:
        """Return the closest of the candidates, with all digits of its angle."""
        pairs = [(pair.i, pair.j) for pair in candidates]
        return min(self._single(depth).pair_angles(X, pairs))

    def errors(
        self,
        X: FloatArray,  # noqa: ARG002
        depth: int,
        kernel: SymmetricMatrix,  # noqa: ARG002
    ) -> KernelErrors:
        """Return what rounding does to the features as a rule: samples pass in float64."""
        network = self.networks[depth]
        counted = [step for step in network.steps.steps if isinstance(step, (Linear, GainShift))]
        error = margin_of(network.layers) * feature_error(len(counted) - 1, np.dtype(np.float64))
        return {"feature_error": error, "kernel_error": 0.0}

    def further_errors(self, X: FloatArray, depth: int) -> KernelErrors:
        """Return what rounding can have done."""
        return self._single(depth).ntk_errors(X, dtype="float64")

    def work(self, X: FloatArray, depth: int) -> float:  # noqa: ARG002
        """Return the columns of H and Δ, which are multiply-adds for each pair of samples."""
        return float(feature_columns(self.networks[depth].steps))

    def pass_bytes(self, X: FloatArray, depths: Sequence[int]) -> int:
        """Return the memory of a pass: its features and kernels."""
        steps = self.networks[depths[0]].steps
        if len(depths) > 1:
            deepest = self._deepest
            steps = steps_of(deepest.layers, deepest.inputs, self._blocks(depths))
        columns = feature_columns(steps) + len(X) * len(depths)
        return len(X) * columns * np.float64().itemsize

    def _single(self, depth: int) -> FiniteNetwork:
        return self.networks[depth].sample(self.seed, self.dtype)


@dataclass(frozen=True, kw_only=True)
class InfiniteDescribedFamily(_DescribedFamily):
    """The limits of infinite width. Only what is asked of them imports Numba.

    Attributes
    ----------
    tolerance : float
        Relative error allowed to a dual without a closed form.
    """

    tolerance: float
    width: float = math.inf
    seed: int = -1

    def __post_init__(self) -> None:
        """Raise ValueError, before any work, if a network has no limit or no tangent kernel."""
        for depth in self.networks:
            try:
                self._limit(depth).require_tangent_kernel()
            except ValueError as error:
                raise ValueError(f"architecture={self.called}, at depth {depth}: {error}") from None

    @property
    def name(self) -> str:
        """Architecture, activation and width."""
        return f"{self.called}, {self.label}, infinite width"

    def settings(self, depth: int) -> Values:
        """Return all that decides the kernel of a depth, besides this and samples, for JSON."""
        settings: Values = {
            "layers": description_identity(self.networks[depth]),
            "width": "infinite",
        }
        if self.tolerance != DEFAULT_TOLERANCE:
            settings["tolerance"] = self.tolerance
        return settings

    def kernels(self, X: FloatArray, depths: Sequence[int]) -> dict[int, FloatArray]:
        """Return the kernels of some depths, by one recursion where there are several."""
        samples = X.astype(np.float64, copy=False)
        if not self._is_part_of_deepest(depths[0]):
            return {depths[0]: self._limit(depths[0]).ntk(samples)}
        blocks = self._blocks(depths)  # also of a single depth, for the same bits
        limit = self._deepest.infinite(blocks=blocks, tolerance=self.tolerance)
        return dict(zip(depths, limit.ntk(samples), strict=True))

    def closest(
        self,
        X: FloatArray,
        depth: int,
        candidates: Sequence[AnglePair],  # noqa: ARG002
    ) -> AnglePair:
        """Return the closest of all pairs, which have all digits at infinite width."""
        return self._limit(depth).smallest_angle(X)

    def errors(self, X: FloatArray, depth: int, kernel: SymmetricMatrix) -> KernelErrors:
        """Return what rounding and the errors of duals can have made of the kernel."""
        error = self._limit(depth).kernel_error(X, kernel)
        return {"feature_error": 0.0, "kernel_error": error}

    def further_errors(self, X: FloatArray, depth: int) -> KernelErrors:  # noqa: ARG002
        """Return none: the errors are as certain as those of `LayeredNetwork.kernel_error`."""
        return {"feature_error": 0.0, "kernel_error": 0.0}

    def work(self, X: FloatArray, depth: int) -> float:  # noqa: ARG002
        """Return the steps of the recursion."""
        return float(len(self.networks[depth].steps.steps))

    def pass_bytes(self, X: FloatArray, depths: Sequence[int]) -> int:
        """Return the memory of a pass: its kernels, as there are no features."""
        return pass_bytes(depths, samples=len(X), input_width=0, width=0)

    def _limit(self, depth: int) -> infinite.Network | infinite.LayeredNetwork:
        return self.networks[depth].infinite(tolerance=self.tolerance)


def activations_of(network: Network) -> str:
    """Return what the activations of a description are called, each once."""
    labels = dict.fromkeys(activation_label(phi) for phi in _activations(network.layers))
    return ", ".join(labels) or "identity"


def _activations(layers: Sequence[Layer]) -> Iterator[activations.Activation]:
    for layer in layers:
        if isinstance(layer, Activation):
            yield layer.phi
        elif isinstance(layer, Residual):
            yield from _activations(layer.layers)
