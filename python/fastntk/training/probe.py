# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel on a few samples during training: its condition and how far it has moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support.angles import angle_from_chord
from fastntk.eigenvalues import conditioning
from fastntk.eigenvalues.result import ExtremeEigenvalues
from fastntk.symmetric.matrix import SymmetricMatrix

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray
    from fastntk.mlp import MLP


@dataclass(frozen=True, kw_only=True)
class ProbeResult(ExtremeEigenvalues):
    """The kernel K_t on the probe samples after so many steps.

    Attributes
    ----------
    step : int
        The number of steps; 0 is the initial network.
    eigenvalue_min, eigenvalue_max, condition_number, resolved
        λ_min, λ_max and κ of K_t, and whether λ_min is resolved, as in `fastntk.Conditioning`.
    relative_change : float
        ‖K_t − K_0‖_F/‖K_0‖_F.
    angle : float
        Between K_t and K_0 as vectors, in radians: 0 if the kernel has only been scaled.
    """

    step: int
    resolved: bool
    relative_change: float
    angle: float


class KernelProbe:
    """Compares kernels on the samples X with that of the network at the start."""

    def __init__(self, net: MLP, X: FloatArray, device: str | None = None) -> None:
        self._samples = X
        self._device = device
        self._initial = self._kernel(net)

    def _kernel(self, net: MLP) -> FloatArray:
        try:
            return net.ntk(self._samples, dtype="float64", device=self._device)
        except OverflowError as error:
            raise OverflowError(f"probe: {error}") from None

    def measure(self, step: int, net: MLP) -> ProbeResult:
        """Return the state of the kernel of `net` after `step` steps."""
        kernel = self._kernel(net)
        error = net.astype("float64").feature_error  # that of a kernel in float64
        spectrum = conditioning(SymmetricMatrix.made(kernel), bounds=False, feature_error=error)
        norm, initial_norm = (float(np.linalg.norm(k)) for k in (kernel, self._initial))
        apart = float(np.linalg.norm(kernel / norm - self._initial / initial_norm))
        return ProbeResult(
            step=step,
            eigenvalue_min=spectrum.eigenvalue_min,
            eigenvalue_max=spectrum.eigenvalue_max,
            condition_number=spectrum.condition_number,
            resolved=spectrum.resolved,
            relative_change=float(np.linalg.norm(kernel - self._initial) / initial_norm),
            angle=angle_from_chord(apart),
        )
