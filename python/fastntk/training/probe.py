# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The kernel on a few samples during training: its condition and how far it has moved."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastntk.linearity.kernel_states import FollowedKernel, KernelState

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray
    from fastntk.architectures.finite import FiniteNetwork
    from fastntk.mlp import MLP


@dataclass(frozen=True, kw_only=True)
class ProbeResult(KernelState):
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


class KernelProbe:
    """Compares kernels on the samples X with that of the network at the start."""

    def __init__(self, net: MLP | FiniteNetwork, X: FloatArray, device: str | None = None) -> None:
        try:
            self._kernel = FollowedKernel(net.network, X, device)
        except OverflowError as error:
            raise OverflowError(f"probe: {error}") from None

    def measure(self, step: int, net: MLP | FiniteNetwork) -> ProbeResult:
        """Return the state of the kernel of `net` after `step` steps.

        Raises OverflowError if it is not finite.
        """
        try:
            state = self._kernel.state(net.network)
        except OverflowError as error:
            raise OverflowError(f"probe: {error}") from None
        return ProbeResult(step=step, **vars(state))
