# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel on a few samples during training: its condition and how far it has moved."""

from __future__ import annotations

import math
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
        ‖K_t − K_0‖_F/‖K_0‖_F; NaN if K_0 is 0.
    angle : float
        Between K_t and K_0 as vectors, in radians: 0 if the kernel has only been scaled, NaN if one
        of them is 0.
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
        self._initial = _of_order_one(self._kernel(net))

    def _kernel(self, net: MLP) -> FloatArray:
        try:
            return net.ntk(self._samples, dtype="float64", device=self._device)
        except OverflowError as error:
            raise OverflowError(f"probe: {error}") from None

    def measure(self, step: int, net: MLP) -> ProbeResult:
        """Return the state of the kernel of `net` after `step` steps.

        Raises OverflowError if it is not finite.
        """
        kernel, power = _of_order_one(self._kernel(net))
        initial, initial_power = self._initial
        error = net.astype("float64").feature_error  # that of a kernel in float64
        spectrum = conditioning(SymmetricMatrix.made(kernel), bounds=False, feature_error=error)
        norm, initial_norm = (float(np.linalg.norm(k)) for k in (kernel, initial))
        grown = max(0, power - initial_power)
        change, angle = math.nan, math.nan
        if initial_norm > 0:
            difference = np.ldexp(kernel, power - initial_power - grown) - np.ldexp(initial, -grown)
            change = float(np.ldexp(np.linalg.norm(difference) / initial_norm, grown))
            if norm > 0:
                apart = float(np.linalg.norm(kernel / norm - initial / initial_norm))
                angle = angle_from_chord(apart)
        return ProbeResult(
            step=step,
            eigenvalue_min=float(np.ldexp(spectrum.eigenvalue_min, power)),
            eigenvalue_max=float(np.ldexp(spectrum.eigenvalue_max, power)),
            condition_number=spectrum.condition_number,
            resolved=spectrum.resolved,
            relative_change=change,
            angle=angle,
        )


def _of_order_one(kernel: FloatArray) -> tuple[FloatArray, int]:
    """Return A and p with kernel = 2ᵖ A: training may take kernels where squares leave the range.

    A power of two changes no digit of what is computed from A.
    """
    power = math.frexp(float(np.abs(kernel).max()))[1]
    return np.ldexp(kernel, -power), power
