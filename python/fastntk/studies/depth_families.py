# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The networks of a depth study: families that differ in depth only, one pass for their kernels.

Kernels do not depend, to the last bit, on which depths a pass has: a study may be cut into passes
by the memory that there is, or go on where another run was stopped. Plain networks are here; those
that are described by their layers are in `described_families`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.activations.identities import activation_identity
from fastntk.kernels.depth_passes import depth_groups, pass_bytes
from fastntk.kernels.depth_sweep import ntk_depths
from fastntk.kernels.rounding import KernelErrors, feature_error
from fastntk.mlp import MLP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk._support.dtypes import FloatArray
    from fastntk.activations import Activation
    from fastntk.kernels.angles import AnglePair
    from fastntk.studies.store import Values
    from fastntk.symmetric.matrix import SymmetricMatrix

# Share of the available memory that the kernels of one pass may take; the rest is for factorizing
# them, and for others.
_MEMORY_SHARE = 0.4

# That of `fastntk.infinite.Network`, whose import takes long.
DEFAULT_TOLERANCE = 1e-10


@dataclass(frozen=True, kw_only=True)
class Family(ABC):
    """Networks of all depths with one activation.

    Attributes
    ----------
    label : str
        The activation, as the user called it.
    width : int or inf
        Width of the hidden layers; inf at infinite width.
    seed : int
        Seed of the weights; −1 at infinite width.
    """

    label: str
    width: float
    seed: int

    @property
    def architecture(self) -> str:
        """What tables call the kind of networks."""
        return "plain"

    def residual_scale(self, depth: int) -> float:  # noqa: ARG002
        """Return α of the blocks at a depth; NaN if there are none, or not one for all."""
        return math.nan

    @property
    @abstractmethod
    def name(self) -> str:
        """What a progress bar calls it."""

    @abstractmethod
    def settings(self, depth: int) -> Values:
        """Return all that decides the kernel of a depth, besides this and samples, for JSON."""

    @abstractmethod
    def kernels(self, X: FloatArray, depths: Sequence[int]) -> dict[int, FloatArray]:
        """Return the kernels of some depths, in float64, from one pass."""

    @abstractmethod
    def closest(self, X: FloatArray, depth: int, candidates: Sequence[AnglePair]) -> AnglePair:
        """Return the closest of some pairs of samples, with all digits of their angle."""

    @abstractmethod
    def errors(self, X: FloatArray, depth: int, kernel: SymmetricMatrix) -> KernelErrors:
        """Return the errors of a kernel as a rule, as `conditioning` takes them."""

    @abstractmethod
    def further_errors(self, X: FloatArray, depth: int) -> KernelErrors:
        """Return what has to be added to these for bounds that are proved."""

    @abstractmethod
    def work(self, X: FloatArray, depth: int) -> float:
        """Return the operations of a kernel by itself, up to a factor: to share out a pass."""

    @abstractmethod
    def pass_bytes(self, X: FloatArray, depths: Sequence[int]) -> int:
        """Return the memory of a pass: its features and kernels."""

    @abstractmethod
    def passes(
        self, X: FloatArray, depths: Sequence[int], memory: int | None
    ) -> list[tuple[int, ...]]:
        """Cut depths into passes that fit in the memory of who computes them, if it is known."""


def pass_share(memory: int | None) -> int | None:
    """Return how much of the memory that there is a pass may take, if that is known."""
    return None if memory is None else int(_MEMORY_SHARE * memory)


@dataclass(frozen=True, kw_only=True)
class _PlainFamily(Family):
    """Plain networks.

    Attributes
    ----------
    activation : Activation
    activation_scale : float or None
        c_φ; None stands for that of the activation.
    weight_std, bias_std : float
        σ_w and σ_b.
    """

    activation: Activation
    activation_scale: float | None
    weight_std: float
    bias_std: float

    @abstractmethod
    def _shape(self, X: FloatArray) -> dict[str, int]:
        """Return what decides how much memory a pass takes."""

    def pass_bytes(self, X: FloatArray, depths: Sequence[int]) -> int:
        """Return the memory of a pass: its features and kernels."""
        return pass_bytes(depths, **self._shape(X))

    def passes(
        self, X: FloatArray, depths: Sequence[int], memory: int | None
    ) -> list[tuple[int, ...]]:
        """Cut depths into passes that fit in the memory of who computes them, if it is known."""
        return depth_groups(depths, lambda some: self.pass_bytes(X, some), pass_share(memory))

    def _common_settings(self) -> Values:
        common = {
            "activation": activation_identity(self.activation),
            "weight_std": self.weight_std,
            "bias_std": self.bias_std,
        }
        # Left out by default, so that the cells of stores of older versions are found.
        if self.activation_scale is not None:
            common["activation_scale"] = self.activation_scale
        return common


@dataclass(frozen=True, kw_only=True)
class FiniteFamily(_PlainFamily):
    """Random networks of one width and seed, which share the weights of their common layers."""

    width: int
    parametrization: str
    dtype: str

    @property
    def name(self) -> str:
        """Activation and seed."""
        return f"{self.label}, seed {self.seed}"

    def settings(self, depth: int) -> Values:  # noqa: ARG002
        """Return all that decides the kernels, at every depth, besides samples, for JSON."""
        return self._common_settings() | {
            "width": self.width,
            "seed": self.seed,
            "parametrization": self.parametrization,
            "dtype": self.dtype,
        }

    def kernels(self, X: FloatArray, depths: Sequence[int]) -> dict[int, FloatArray]:
        """Return the kernels of some depths, on shared layers."""
        return ntk_depths(
            X,
            depths,
            width=self.width,
            network_dtype=self.dtype,
            dtype="float64",
            # Lets Ctrl-C through; the study has a bar of its own.
            progress=False,
            **self._network(),
        )

    def closest(self, X: FloatArray, depth: int, candidates: Sequence[AnglePair]) -> AnglePair:
        """Return the closest of the candidates, from the differences of the samples."""
        net = self._single(X, depth)
        return min(net.pair_angles(X, [(pair.i, pair.j) for pair in candidates]))

    def errors(
        self,
        X: FloatArray,  # noqa: ARG002
        depth: int,
        kernel: SymmetricMatrix,  # noqa: ARG002
    ) -> KernelErrors:
        """Return what rounding does to the features as a rule."""
        return {"feature_error": feature_error(depth, np.dtype(np.float64)), "kernel_error": 0.0}

    def further_errors(self, X: FloatArray, depth: int) -> KernelErrors:
        """Return what rounding can have done."""
        return self._single(X, depth).ntk_errors(X, dtype="float64")

    def work(self, X: FloatArray, depth: int) -> float:
        """Return the columns of H and Δ, which are multiply-adds for each pair of samples."""
        return float(X.shape[1] + 2 * depth * self.width + 1)

    def _shape(self, X: FloatArray) -> dict[str, int]:
        return {"samples": len(X), "input_width": X.shape[1], "width": self.width}

    def _single(self, X: FloatArray, depth: int) -> MLP:
        """Return the network of one depth by itself."""
        widths = [X.shape[1], *[self.width] * depth, 1]
        return MLP(widths, dtype=self.dtype, **self._network())

    def _network(self) -> dict[str, Any]:
        return {
            "activation": self.activation,
            "activation_scale": self.activation_scale,
            "weight_std": self.weight_std,
            "bias_std": self.bias_std,
            "parametrization": self.parametrization,
            "seed": self.seed,
        }


@dataclass(frozen=True, kw_only=True)
class InfiniteFamily(_PlainFamily):
    """The limit of infinite width. Only what is asked of it imports Numba.

    Attributes
    ----------
    tolerance : float
        Relative error allowed to a dual without a closed form.
    """

    tolerance: float
    width: float = math.inf
    seed: int = -1

    def __post_init__(self) -> None:
        """Raise ValueError, before any work, if the activation has no tangent kernel."""
        from fastntk.infinite import ntk

        # A sample of one entry: all checks, and next to no work.
        ntk(np.ones((1, 1)), depth=1, **self._network())

    @property
    def name(self) -> str:
        """Activation and width."""
        return f"{self.label}, infinite width"

    def settings(self, depth: int) -> Values:  # noqa: ARG002
        """Return all that decides the kernels, at every depth, besides samples, for JSON."""
        settings = self._common_settings() | {"width": "infinite"}
        if self.tolerance != DEFAULT_TOLERANCE:  # left out by default, as above
            settings["tolerance"] = self.tolerance
        return settings

    def kernels(self, X: FloatArray, depths: Sequence[int]) -> dict[int, FloatArray]:
        """Return the kernels of some depths, by one recursion."""
        from fastntk.infinite import ntk

        found = ntk(X.astype(np.float64, copy=False), depth=depths, **self._network())
        return dict(zip(depths, found, strict=True))

    def closest(
        self,
        X: FloatArray,
        depth: int,
        candidates: Sequence[AnglePair],  # noqa: ARG002
    ) -> AnglePair:
        """Return the closest of all pairs, which have all digits at infinite width."""
        from fastntk.infinite import smallest_angle

        closest: AnglePair = smallest_angle(X, depth=depth, **self._network())
        return closest

    def errors(self, X: FloatArray, depth: int, kernel: SymmetricMatrix) -> KernelErrors:
        """Return what rounding and the errors of duals can have made of the kernel."""
        from fastntk.infinite import Network

        error = Network(depth, **self._network()).kernel_error(X, kernel)
        return {"feature_error": 0.0, "kernel_error": error}

    def further_errors(self, X: FloatArray, depth: int) -> KernelErrors:  # noqa: ARG002
        """Return none: the errors are proved."""
        return {"feature_error": 0.0, "kernel_error": 0.0}

    def work(self, X: FloatArray, depth: int) -> float:  # noqa: ARG002
        """Return the steps of the recursion."""
        return depth + 1.0

    def _shape(self, X: FloatArray) -> dict[str, int]:
        return {"samples": len(X), "input_width": 0, "width": 0}  # there are no features

    def _network(self) -> dict[str, Any]:
        return {
            "activation": self.activation,
            "activation_scale": self.activation_scale,
            "weight_std": self.weight_std,
            "bias_std": self.bias_std,
            "tolerance": self.tolerance,
        }
