# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The layer of weights and biases."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from fastntk._support import arguments
from fastntk.layers.layer import Layer, store
from fastntk.layers.trained import Trained, checked_trained, rates_of


@dataclass(frozen=True, repr=False)
class Dense(Layer):
    r"""Weights and biases, in the NTK parametrization: z = (σ_w/√n) W h + σ_b b.

    Parameters
    ----------
    width : int
        The number of outputs of the layer.
    weight_std, bias_std : float
        σ_w > 0 and σ_b ≥ 0. With σ_b = 0 there is no bias.
    trained : bool, float or pair of float
        Whether the layer is trained; or its learning rate ω ≥ 0, by which its part of the tangent
        kernel is multiplied, or those of its weights and its bias.

    Examples
    --------
    >>> from fastntk.layers import Dense
    >>> Dense(512, bias_std=0.1, trained=(1, 0))
    Dense(512, bias_std=0.1, trained=(1.0, 0.0))
    """

    width: int
    _: KW_ONLY
    weight_std: float = 1.0
    bias_std: float = 0.0
    trained: Trained = True

    def __post_init__(self) -> None:
        """Check all parameters and bring them into one form."""
        store(self, "width", arguments.integer(self.width, "width", minimum=1))
        weights = arguments.real(self.weight_std, "weight_std", minimum=0.0, exclusive=True)
        store(self, "weight_std", weights)
        store(self, "bias_std", arguments.real(self.bias_std, "bias_std", minimum=0.0))
        store(self, "trained", checked_trained(self.trained, "weights and the bias"))

    @property
    def rates(self) -> tuple[float, float]:
        """The learning rates ω of the weights and of the bias."""
        return rates_of(self.trained)
