# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Layers that set the size of what they are given, sample by sample, to 1."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from fastntk._support import arguments
from fastntk.layers.layer import Layer, store
from fastntk.layers.trained import Trained, checked_trained, rates_of


@dataclass(frozen=True, repr=False)
class Normalization(Layer):
    """What both normalizations have in common: see `LayerNorm`."""

    gain: bool = field(default=False, kw_only=True)
    shift: bool = field(default=False, kw_only=True)
    epsilon: float = field(default=0.0, kw_only=True)
    trained: Trained = field(default=True, kw_only=True)

    # Whether the mean over the neurons is subtracted.
    centered: ClassVar[bool]

    def __post_init__(self) -> None:
        """Check all parameters and bring them into one form."""
        store(self, "gain", arguments.flag(self.gain, "gain"))
        store(self, "shift", arguments.flag(self.shift, "shift"))
        largest = arguments.LARGEST_SCALE
        epsilon = arguments.real(self.epsilon, "epsilon", minimum=0.0, maximum=largest)
        store(self, "epsilon", epsilon)
        store(self, "trained", checked_trained(self.trained, "gain and the shift"))

    @property
    def rates(self) -> tuple[float, float]:
        """The learning rates ω of the gain and of the shift."""
        return rates_of(self.trained)


def emptiness(layer: Normalization, width: int) -> str | None:
    """Return what is wrong with a normalization of so many neurons, and what was expected.

    None if nothing is: then it leaves more than one value, or its sign. The mean takes one of the
    values away: what is left of two neurons are a number and its opposite.
    """
    values, fixed = width - layer.centered, layer.epsilon == 0
    if values > fixed:
        return None
    left, way = ("a sign", ", or epsilon > 0") if values else ("0", "")
    return (
        f"a normalization of width {width} leaves nothing but {left}: expected at least "
        f"{1 + layer.centered + fixed} neurons before it{way}"
    )


@dataclass(frozen=True, repr=False)
class LayerNorm(Normalization):
    r"""Layer normalization: the mean over the n neurons is subtracted, and the rest divided.

    .. math::

        \hat h = \frac{z - \bar z}{\sqrt{‖z - \bar z‖^2/n + ε}}, \quad h = γ ∘ \hat h + β

    with a gain γ, initially 1, and a shift β, initially 0, if these are asked for.

    Of two neurons, it needs an ``epsilon``: without, ĥ is (1, −1) or (−1, 1), nothing but a sign,
    whose derivative is 0.

    Parameters
    ----------
    gain, shift : bool
        Whether there is a gain, and a shift.
    epsilon : float
        ε, from 0 to 1e100, which PyTorch's modules have as ``eps``; without it, what is 0 has no
        normalization.
    trained : bool, float or pair of float
        Whether the gain and the shift are trained; or their learning rates ω ≥ 0, by which their
        parts of the tangent kernel are multiplied.

    Examples
    --------
    >>> from fastntk.layers import LayerNorm
    >>> LayerNorm(gain=True, shift=True)
    LayerNorm(gain=True, shift=True)
    """

    centered: ClassVar[bool] = True


@dataclass(frozen=True, repr=False)
class RMSNorm(Normalization):
    r"""Normalization by the root mean square: as `LayerNorm`, and no mean is subtracted.

    .. math:: \hat h = \frac{z}{\sqrt{‖z‖^2/n + ε}}, \quad h = γ ∘ \hat h + β

    Of a single neuron, it needs an ``epsilon``: without, nothing but the sign is left of it.

    Parameters
    ----------
    gain, shift, epsilon, trained
        As for `LayerNorm`.

    Examples
    --------
    >>> from fastntk.layers import RMSNorm
    >>> RMSNorm(gain=True)
    RMSNorm(gain=True)
    """

    centered: ClassVar[bool] = False
