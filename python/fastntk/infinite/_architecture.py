# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The infinitely wide network that a call asks for, its arguments checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk import activations
from fastntk._support import arguments
from fastntk.infinite.duals import dual_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fastntk.activations import Activation
    from fastntk.infinite.duals import Dual


@dataclass(frozen=True)
class Architecture:
    """A fully connected network of infinite width, at one or several depths.

    Attributes
    ----------
    depths : tuple of int
        Numbers of hidden layers, ascending and different.
    dual : Dual
        Of the activation.
    weight_std, bias_std, activation_scale : float
        σ_w, σ_b and c_φ.
    rates : ndarray (layers, 2)
        ω^W and ω^b of each layer, the inputs' first.
    unit_norms : bool
        Whether samples of norm √d keep it through all layers, as they do with the default scales;
        rounding must not set off the growth of what is only an unstable fixed point.
    """

    depths: tuple[int, ...]
    dual: Dual
    weight_std: float
    bias_std: float
    activation_scale: float
    rates: NDArray[np.float64]
    unit_norms: bool

    @classmethod
    def checked(
        cls,
        depth: int | Sequence[int],
        dimension: int,
        *,
        activation: str | Activation = "relu",
        weight_std: float = 1.0,
        bias_std: float = 0.0,
        activation_scale: float | None = None,
        parametrization: str = "ntk",
        width: int | None = None,
        layer_weights: ArrayLike | None = None,
        tangent: bool = True,
        unit_norms: bool = False,
        tolerance: float = 1e-10,
    ) -> Architecture:
        """Check all arguments; with `tangent`, also that the tangent kernel exists."""
        depths = tuple(sorted(set(checked_depths(depth))))
        phi = activations.get(activation)
        tolerance = arguments.real(tolerance, "tolerance", minimum=0.0, exclusive=True)
        weight_std = arguments.real(weight_std, "weight_std", minimum=0.0, exclusive=True)
        bias_std = arguments.real(bias_std, "bias_std", minimum=0.0)
        if activation_scale is None:
            activation_scale = phi.scale
        else:
            activation_scale = arguments.real(
                activation_scale, "activation_scale", minimum=0.0, exclusive=True
            )
        arguments.choice(parametrization, "parametrization", ("ntk", "standard"))
        layers = depths[-1] + 1
        if layer_weights is not None:
            if parametrization != "ntk" or width is not None:
                raise ValueError(
                    f"layer_weights={layer_weights!r}: expected None with parametrization="
                    f"{parametrization!r} and width={width!r}, which set them"
                )
            rates = arguments.layer_weights(layer_weights, layers)
        elif parametrization == "standard":
            rates = _standard(depths, dimension, width, weight_std, bias_std)
        elif width is not None:
            raise ValueError(
                f"width={width!r}: expected None in the NTK parametrization, whose kernel has a "
                "limit that is free of the width"
            )
        else:
            rates = np.ones((layers, 2))
        dual = dual_of(phi, tolerance)
        if tangent and rates[:-1].any() and dual.no_derivative is not None:
            raise ValueError(
                f"activation={phi.name!r}: no tangent kernel exists for it at depth "
                f"{depths[-1]}, because {dual.no_derivative}; expected another activation, the "
                "NNGP kernel, or layer_weights that train the last layer only"
            )
        return cls(depths, dual, weight_std, bias_std, activation_scale, rates, unit_norms)


def checked_depths(depth: int | Sequence[int]) -> tuple[int, ...]:
    """Return one or several depths as a tuple."""
    if np.ndim(depth) == 0:
        return (arguments.integer(depth, "depth", minimum=0),)
    return arguments.integers(depth, "depth", minimum=0)  # type: ignore[arg-type]


def _standard(
    depths: tuple[int, ...],
    dimension: int,
    width: int | None,
    weight_std: float,
    bias_std: float,
) -> NDArray[np.float64]:
    if width is None and depths[-1] > 0:
        raise ValueError(
            "width=None: expected the width of the hidden layers, because the kernel of the "
            "standard parametrization grows in proportion to it"
        )
    inner = 1 if width is None else arguments.integer(width, "width", minimum=1)
    rates = np.empty((depths[-1] + 1, 2))
    rates[:, 0] = inner / weight_std**2
    rates[0, 0] = dimension / weight_std**2
    rates[:, 1] = 1 / bias_std**2 if bias_std > 0 else 0.0
    return rates
