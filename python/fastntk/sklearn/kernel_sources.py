# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the kernels of estimators come from: networks of infinite and of finite width.

Sources compare equal where their kernels are the same.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from fastntk._support import arguments
from fastntk.architectures.finite import FiniteNetwork
from fastntk.infinite.kernel_errors import dual_error
from fastntk.infinite.kernel_matrices import kernel_diagonal, kernel_matrices
from fastntk.infinite.layered_network import LayeredNetwork
from fastntk.infinite.network import Network
from fastntk.infinite.sample_norms import Samples
from fastntk.mlp import MLP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

_ROWS_AT_ONCE = 256


class KernelSource(Protocol):
    """What gives kernels of samples.

    Attributes
    ----------
    network : Network, LayeredNetwork, MLP or FiniteNetwork
        The network whose kernels they are.
    """

    @property
    def network(self) -> Network | LayeredNetwork | MLP | FiniteNetwork:
        """The network whose kernels they are."""

    def matrices(
        self, kinds: tuple[str, ...], X: Array, Z: Array | None = None
    ) -> dict[str, Array]:
        """Return kernels of X with Z, or with itself: "nngp", "ntk", or both from one pass."""

    def prior_variances(self, X: Array) -> Array:
        """Return the diagonal of the kernel "nngp"."""

    def error(self, kind: str, X: Array) -> float:
        """Return the error of the kernel relative to √(K_ii K_jj), beside rounding."""


@dataclass(frozen=True)
class LimitKernels:
    """Kernels of a network of infinite width."""

    network: Network | LayeredNetwork

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> LimitKernels:
        """Return those of a network with these parameters, of one depth."""
        network = Network(**parameters)
        network.require_one_depth()
        return cls(network)

    def matrices(
        self, kinds: tuple[str, ...], X: Array, Z: Array | None = None
    ) -> dict[str, Array]:
        """See `KernelSource`."""
        both = kernel_matrices(self.network, X, Z, kinds=kinds)
        return {kind: np.asarray(getattr(both, kind), dtype=np.float64) for kind in kinds}

    def prior_variances(self, X: Array) -> Array:
        """See `KernelSource`."""
        return kernel_diagonal(self.network, "nngp", X)

    def error(self, kind: str, X: Array) -> float:
        """See `KernelSource`."""
        return dual_error(self.network, Samples.of(X).norms, tangent=kind == "ntk")


@dataclass(frozen=True)
class FiniteKernels:
    """Kernels of a network of finite width; of several outputs, their sum.

    Attributes
    ----------
    settings : tuple
        All that makes the kernels what they are.
    network : MLP or FiniteNetwork
        The network.
    layer_weights : array_like or None
        ω of its tangent kernel.
    """

    settings: tuple[Any, ...]
    network: MLP | FiniteNetwork = field(compare=False)
    layer_weights: Any = field(compare=False, default=None)

    @classmethod
    def of(cls, parameters: Mapping[str, Any], layer_weights: Any = None) -> FiniteKernels:
        """Return those of a network at its initialization with these parameters, and ω."""
        network = MLP(**parameters)
        made_of = {"activation": network.activation, "activation_scale": network.activation_scale}
        settings = tuple(sorted({**parameters, **made_of}.items()))
        return cls((settings, _checked_rates(network, layer_weights)), network, layer_weights)

    @classmethod
    def of_network(cls, network: MLP | FiniteNetwork, layer_weights: Any = None) -> FiniteKernels:
        """Return those of a network that there is, and ω.

        The network is copied, as its weights may change.
        """
        rates = _checked_rates(network, layer_weights)
        copied = deepcopy(network)
        try:
            known: object = copied.digest()
        except ValueError:  # a custom activation: no other network is known to be the same
            known = object()
        return cls((known, rates), copied, layer_weights)

    def matrices(
        self, kinds: tuple[str, ...], X: Array, Z: Array | None = None
    ) -> dict[str, Array]:
        """See `KernelSource`."""
        found = {}
        if "nngp" in kinds:
            found["nngp"] = self.network.conjugate_kernel(X, Z)
        if "ntk" in kinds:
            found["ntk"] = self.network.ntk(X, Z, layer_weights=self.layer_weights)
        return {kind: np.asarray(kernel, dtype=np.float64) for kind, kernel in found.items()}

    def prior_variances(self, X: Array) -> Array:
        """See `KernelSource`."""
        blocks = [X[first : first + _ROWS_AT_ONCE] for first in range(0, len(X), _ROWS_AT_ONCE)]
        found = [np.diagonal(self.matrices(("nngp",), block)["nngp"]) for block in blocks]
        return np.concatenate(found)

    def error(self, kind: str, X: Array) -> float:  # noqa: ARG002
        """Return 0: what rounding does to features leaves kernels of features."""
        return 0.0


def _checked_rates(network: MLP | FiniteNetwork, layer_weights: Any) -> tuple[float, ...]:
    """Return ω as something that compares; nothing where none is given."""
    if layer_weights is None:
        return ()
    rates = arguments.layer_weights(layer_weights, len(network.network.layers))
    return tuple(rates.ravel().tolist())
