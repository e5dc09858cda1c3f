# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A gain and a shift of each neuron, without a normalization before them."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from fastntk._support import arguments
from fastntk.layers.layer import Layer, store
from fastntk.layers.trained import Trained, checked_trained, rates_of


@dataclass(frozen=True, repr=False)
class Rescale(Layer):
    r"""A gain γ, initially 1, and a shift β, initially 0, of each neuron: h = γ ∘ z + β.

    `LayerNorm` and `RMSNorm` may have a gain and a shift of their own. This layer is there without
    a normalization; with ``trained=False`` it is the part of a batch normalization in evaluation
    mode that the statistics make, see `fastntk.from_torch`.

    Parameters
    ----------
    gain, shift : bool
        Whether there is a gain, and a shift; at least one of them.
    trained : bool, float or pair of float
        Whether they are trained; or their learning rates ω ≥ 0, by which their parts of the tangent
        kernel are multiplied.

    Examples
    --------
    >>> from fastntk.layers import Rescale
    >>> Rescale(shift=False, trained=0.5)
    Rescale(shift=False, trained=0.5)
    """

    _: KW_ONLY
    gain: bool = True
    shift: bool = True
    trained: Trained = True

    def __post_init__(self) -> None:
        """Check all parameters and bring them into one form."""
        store(self, "gain", arguments.flag(self.gain, "gain"))
        store(self, "shift", arguments.flag(self.shift, "shift"))
        if not (self.gain or self.shift):
            raise ValueError("gain=False, shift=False: expected at least one of them")
        store(self, "trained", checked_trained(self.trained, "gain and the shift"))

    @property
    def rates(self) -> tuple[float, float]:
        """The learning rates ω of the gain and of the shift."""
        return rates_of(self.trained)
