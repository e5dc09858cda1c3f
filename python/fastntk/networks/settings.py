# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Settings of networks as tables have them: columns with the names of the arguments of `MLP`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.activations.activation import activation_label
from fastntk.activations.outputs import output_label
from fastntk.networks.network import Drawn, Network
from fastntk.networks.wired import WiredNetwork

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk.networks.any_network import AnyNetwork
    from fastntk.networks.network import Layer

# What studies hand to their networks where they do not ask for it, and say in their tables.
USUAL: dict[str, Any] = {"weight_std": 1.0, "bias_std": 0.0, "parametrization": "ntk"}

# Layers keep σ_w/√n: σ_w is that product again, up to rounding in the last of its digits.
_DIGITS = 12


def scale_settings(layers: Sequence[Layer]) -> dict[str, Any]:
    """Return σ_w, σ_b and the parametrization, as far as the layers know them.

    In the NTK parametrization σ_w/√n and σ_b are numbers of the layers. In the standard one they
    have gone into the weights, which training moves: only that they have is known.
    """
    scales = [layer.weight_scale for layer in layers]
    bias_scales = [layer.bias_scale for layer in layers]
    weight_stds = [
        scale * math.sqrt(layer.weights.shape[1])
        for scale, layer in zip(scales, layers, strict=True)
    ]
    if scales == bias_scales == [1.0] * len(layers):
        return {"parametrization": "standard"}
    # Layers that were set up one by one may have different ones.
    if len(set(bias_scales)) > 1 or not np.allclose(weight_stds, weight_stds[0], 1e-12, 0.0):
        return {}
    return {
        "weight_std": float(f"{weight_stds[0]:.{_DIGITS}g}"),
        "bias_std": bias_scales[0],
        "parametrization": "ntk",
    }


def drawn_settings(drawn: Drawn | None) -> dict[str, Any]:
    """Return how weights were drawn, as far as that is known.

    ``init_seed`` is the `seed` of the network: that of a training is another one. ``init_scale`` is
    a text where layers have different ones.
    """
    if drawn is None:
        return {}
    scales = [f"{scale:g}" for scale in drawn.init_scales]
    of_all = drawn.init_scales[0] if len(set(drawn.init_scales)) == 1 else "; ".join(scales)
    return {"init_seed": drawn.seed, "init_scale": of_all}


def network_settings(network: AnyNetwork) -> dict[str, Any]:
    """Return the settings of a network, by the columns of tables.

    ``width`` is that of all hidden layers, 0 without any, and a text where they differ. σ_w and σ_b
    are NaN where they have gone into the weights, and ``parametrization`` is "mixed" where layers
    have different ones. How weights were drawn is left out where they came from elsewhere. Of a
    network that was described by ``layers``, these say all but the inputs.
    """
    if isinstance(network, WiredNetwork):
        return {
            "layers": "; ".join(map(repr, network.description)),
            "inputs": network.input_width,
            "dtype": network.dtype.name,
            # There is no other `init_scale` of these.
            **drawn_settings(None if network.seed is None else Drawn(network.seed, (1.0,))),
        }
    assert isinstance(network, Network)
    hidden = [len(layer.weights) for layer in network.hidden]
    unknown = {"weight_std": math.nan, "bias_std": math.nan, "parametrization": "mixed"}
    return {
        "width": "-".join(map(str, hidden)) if len(set(hidden)) > 1 else max(hidden, default=0),
        "depth": len(hidden),
        "activation": activation_label(network.activation),
        "activation_scale": network.activation_scale,
        "output_activation": output_label(network.output_activation),
        **(unknown | scale_settings(network.layers)),
        "dtype": network.dtype.name,
        **drawn_settings(network.drawn),
    }
