# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of one kind, of which every depth is described."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING

from fastntk._support import arguments
from fastntk._support.arguments import shown
from fastntk.architectures.network import Network
from fastntk.layers.activation import Activation
from fastntk.layers.dense import Dense
from fastntk.layers.kinds import KINDS
from fastntk.layers.layer import written
from fastntk.layers.normalization import LayerNorm
from fastntk.layers.residual import Residual
from fastntk.networks.initialization import checked_scale

if TYPE_CHECKING:
    from fastntk import activations
    from fastntk.layers.layer import Layer

# The scale of residual branches that depends on the number of blocks L.
BY_DEPTH = "1/sqrt(L)"


@dataclass(frozen=True)
class Architecture:
    r"""Networks of one kind, for every depth L.

    With n the width, and all of these `Dense` of the same σ_w and σ_b:

    .. math::

        \text{plain:} \quad & (\text{Dense}(n),\ φ)^L,\ \text{Dense}(1) \\
        \text{residual:} \quad & \text{Dense}(n),\ \text{Residual}(\text{Dense}(n),\ φ,\
        \text{Dense}(n))^L,\ \text{Dense}(1) \\
        \text{prenorm:} \quad & \text{Dense}(n),\ \text{Residual}(\text{LayerNorm},\
        \text{Dense}(n),\ φ,\ \text{Dense}(n))^L,\ \text{LayerNorm},\ \text{Dense}(1) \\
        \text{postnorm:} \quad & \text{Dense}(n),\ (\text{Residual}(\text{Dense}(n),\ φ,\
        \text{Dense}(n)),\ \text{LayerNorm})^L,\ \text{Dense}(1)

    The branches of blocks are multiplied by a scale α before they are added. Normalizations have no
    gain and no shift. Depth 0 of the plain network is the linear model.

    Parameters
    ----------
    kind : {"plain", "residual", "prenorm", "postnorm"}
        Which of these.
    residual_scale : float or "1/sqrt(L)"
        α ≥ 0: a number, or 1/√L for a network of L blocks. 1 for plain networks, which have none.

    See Also
    --------
    fastntk.depth_study : Smallest angle and κ of these networks against depth.
    fastntk.infinite.edge_of_chaos : With which σ_w close samples stay as close as they are.

    Examples
    --------
    >>> from fastntk.architectures import Architecture
    >>> Architecture("residual", residual_scale="1/sqrt(L)").network(4, 20, width=64).layers[:2]
    (Dense(64), Residual([Dense(64), ReLU(), Dense(64)], scale=0.5))
    """

    kind: str
    _: KW_ONLY
    residual_scale: float | str = 1.0

    def __post_init__(self) -> None:
        """Check both and bring them into one form."""
        object.__setattr__(self, "kind", arguments.choice(self.kind, "kind", KINDS))
        object.__setattr__(self, "residual_scale", checked_residual_scale(self.residual_scale))
        if not self.has_blocks and self.residual_scale != 1:
            raise ValueError(
                f"residual_scale={shown(self.residual_scale)}: expected 1, because a plain network "
                "has no blocks"
            )

    @property
    def has_blocks(self) -> bool:
        """Whether there are blocks with skip connections."""
        return self.kind != "plain"

    @property
    def label(self) -> str:
        """What tables and figures call it: the kind, and α where that is not 1.

        Examples
        --------
        >>> from fastntk.architectures import Architecture
        >>> Architecture("prenorm").label, Architecture("prenorm", residual_scale=0.5).label
        ('prenorm', 'prenorm(0.5)')
        """
        if self.residual_scale == 1:
            return self.kind
        scale = self.residual_scale
        return f"{self.kind}({scale if isinstance(scale, str) else written(scale)})"

    def scale_at(self, depth: int) -> float:
        """Return α of the blocks of a network; NaN if it has none.

        Parameters
        ----------
        depth : int
            L, the number of blocks.

        Returns
        -------
        float

        Examples
        --------
        >>> from fastntk.architectures import Architecture
        >>> Architecture("residual", residual_scale="1/sqrt(L)").scale_at(4)
        0.5
        """
        blocks = arguments.depth(depth) if self.has_blocks else 0
        if blocks == 0:
            return math.nan
        scale = self.residual_scale
        return 1 / math.sqrt(blocks) if isinstance(scale, str) else scale

    def network(
        self,
        depth: int,
        inputs: int,
        *,
        width: int = 512,
        outputs: int = 1,
        activation: str | activations.Activation = "relu",
        activation_scale: float | None = None,
        weight_std: float = 1.0,
        bias_std: float = 0.0,
    ) -> Network:
        """Return the description of the network of one depth.

        Parameters
        ----------
        depth : int
            L, the number of blocks; of plain networks that of hidden layers.
        inputs : int
            d, the number of inputs.
        width : int
            n, of every layer but that of the outputs.
        outputs : int
            The number of outputs.
        activation : str or fastntk.activations.Activation
            φ.
        activation_scale : float, optional
            c_φ; by default that of the activation.
        weight_std, bias_std : float
            σ_w > 0 and σ_b ≥ 0 of every `fastntk.layers.Dense`.

        Returns
        -------
        fastntk.Network

        Examples
        --------
        >>> from fastntk.architectures import Architecture
        >>> Architecture("postnorm").network(2, 20, width=64).widths
        (20, 64, 64, 64, 64, 64, 1)
        """
        count = arguments.depth(depth)
        scale = checked_scale(activation_scale)
        settings = {"weight_std": weight_std, "bias_std": bias_std}
        dense = Dense(arguments.integer(width, "width", minimum=1), **settings)
        phi = Activation(activation, scale=scale)
        last = Dense(arguments.integer(outputs, "outputs", minimum=1), **settings)
        layers: list[Layer]
        if self.kind == "plain":
            layers = [*[dense, phi] * count, last]
        else:
            alpha = self.scale_at(count) if count else 1.0
            before = [LayerNorm()] if self.kind == "prenorm" else []
            block = Residual([*before, dense, phi, dense], scale=alpha)
            after = [LayerNorm()] if self.kind == "postnorm" else []
            layers = [dense, *[block, *after] * count, *before, last]
        return Network(layers, inputs=inputs)


def checked_residual_scale(value: float | str, name: str = "residual_scale") -> float | str:
    """Return α as a number, or as the rule that makes one of the number of blocks."""
    if isinstance(value, str):
        if value != BY_DEPTH:
            raise ValueError(f"{name}={shown(value)}: expected a number, or {BY_DEPTH!r}")
        return BY_DEPTH
    return arguments.real(value, name, minimum=0.0, maximum=arguments.LARGEST_SCALE)
