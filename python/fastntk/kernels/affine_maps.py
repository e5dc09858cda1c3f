# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The map of a layer where what is 0 in exact arithmetic has to be 0."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fastntk.networks.network import Layer

    Rows = NDArray[Any]

# Errors of sums of n terms are about √n roundings; so many times as much is taken for nothing.
_ROUNDINGS = 8


def applied(layer: Layer, h: Rows) -> Rows:
    """Return z, and 0 where its terms add up to nothing but rounding in the layer's precision.

    Whether that is above the kink of ReLU no two orders of additions need agree on.
    """
    z = layer.weight_scale * (h @ layer.weights.T)
    terms = abs(layer.weight_scale) * (np.abs(h) @ np.abs(layer.weights.T))
    if layer.bias is not None:
        bias = layer.bias_scale * layer.bias
        z, terms = z + bias, terms + np.abs(bias)
    rounding = _ROUNDINGS * np.finfo(layer.weights.dtype).eps * math.sqrt(1 + h.shape[1])
    # Terms that overflow say nothing of what they add up to.
    return np.where((np.abs(z) <= rounding * terms) & np.isfinite(terms), 0.0, z)
