# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far a kernel has moved from where it was, and how well it is conditioned there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk._support.angles import angle_from_chord
from fastntk.eigenvalues import conditioning
from fastntk.eigenvalues.result import ExtremeEigenvalues
from fastntk.kernels.methods import KernelMethods
from fastntk.kernels.rounding import network_error
from fastntk.symmetric.matrix import SymmetricMatrix

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray
    from fastntk.networks.any_network import AnyNetwork


@dataclass(frozen=True, kw_only=True)
class KernelState(ExtremeEigenvalues):
    """A kernel K beside the one K_0 at the start.

    Attributes
    ----------
    eigenvalue_min, eigenvalue_max, condition_number, resolved
        λ_min, λ_max and κ of K, and whether λ_min is resolved, as in `fastntk.Conditioning`.
    relative_change : float
        ‖K − K_0‖_F/‖K_0‖_F; NaN if K_0 is 0.
    angle : float
        Between K and K_0 as vectors, in radians: 0 if the kernel has only been scaled, NaN if one
        of them is 0.
    """

    resolved: bool
    relative_change: float
    angle: float


class ScaledKernel(NamedTuple):
    """A kernel as 2^power · values, with values of order one: its squares stay in range.

    A power of two changes no digit of what is computed from the values.
    """

    values: FloatArray
    power: int
    norm: float  # that of the values

    @classmethod
    def of(cls, kernel: FloatArray) -> ScaledKernel:
        """Return a kernel so; training may take it to any size."""
        power = math.frexp(float(np.abs(kernel).max()))[1]
        values = np.ldexp(kernel, -power)
        return cls(values, power, float(np.linalg.norm(values)))

    def distance(self, initial: ScaledKernel) -> tuple[float, float]:
        """Return ‖K − K_0‖_F/‖K_0‖_F and the angle between K and K_0; NaN as in `KernelState`."""
        if initial.norm == 0:
            return math.nan, math.nan
        grown = max(0, self.power - initial.power)
        now = np.ldexp(self.values, self.power - initial.power - grown)
        difference = now - np.ldexp(initial.values, -grown)
        change = float(np.ldexp(np.linalg.norm(difference) / initial.norm, grown))
        if self.norm == 0:
            return change, math.nan
        apart = self.values / self.norm - initial.values / initial.norm
        return change, angle_from_chord(float(np.linalg.norm(apart)))


class FollowedKernel:
    """The kernel of some samples, summed over the outputs, in float64, at several weights.

    Parameters
    ----------
    network : AnyNetwork
        Those at the start.
    X : array (n, d)
        Samples of the host, checked.
    device : str or None
        Where kernels are formed, as in `MLP.ntk`.
    layer_weights : array_like, optional
        ω, as in `MLP.ntk`.

    Raises
    ------
    OverflowError
        If a kernel is not finite: here, and where others are compared with it.
    """

    def __init__(
        self,
        network: AnyNetwork,
        X: FloatArray,
        device: str | None = None,
        layer_weights: npt.ArrayLike | None = None,
    ) -> None:
        self._samples = X
        self._options: dict[str, Any] = {"device": device, "layer_weights": layer_weights}
        self._initial = self._kernel(network)

    def distance(self, network: AnyNetwork) -> tuple[float, float]:
        """Return how far the kernel is from the first one, and at which angle to it."""
        return self._kernel(network).distance(self._initial)

    def state(self, network: AnyNetwork) -> KernelState:
        """Return all that is known of the kernel."""
        kernel = self._kernel(network)
        change, angle = kernel.distance(self._initial)
        # That of a kernel in float64, whatever the precision of the network.
        error = network_error(network, np.dtype(np.float64))
        made = SymmetricMatrix.made(kernel.values)
        spectrum = conditioning(made, bounds=False, feature_error=error)
        return KernelState(
            eigenvalue_min=float(np.ldexp(spectrum.eigenvalue_min, kernel.power)),
            eigenvalue_max=float(np.ldexp(spectrum.eigenvalue_max, kernel.power)),
            condition_number=spectrum.condition_number,
            resolved=spectrum.resolved,
            relative_change=change,
            angle=angle,
        )

    def _kernel(self, network: AnyNetwork) -> ScaledKernel:
        kernel = KernelMethods(network).ntk(self._samples, dtype="float64", **self._options)
        return ScaledKernel.of(kernel)
