# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The networks of make_layers_reference.py, which has them by neural-tangents."""

from __future__ import annotations

from typing import Any

import fastntk
from fastntk import layers
from fastntk.layers import LayerNorm, Residual


def dense(width: int = 64, bias_std: float = 0.4) -> layers.Dense:
    return layers.Dense(width, weight_std=1.3, bias_std=bias_std)


def network(*made: Any) -> fastntk.Network:
    return fastntk.Network([dense(), *made, dense(1)], inputs=4)


RELU, ERF, GELU = (make(scale=1.0) for make in (layers.ReLU, layers.Erf, layers.GELU))

NEURAL_TANGENTS = {
    "residual": network(*[Residual([dense(), RELU, dense()])] * 2),
    "prenorm": network(*[Residual([LayerNorm(), dense(), RELU, dense()])] * 3, LayerNorm(), RELU),
    "postnorm": network(*[Residual([dense(), ERF, dense(bias_std=0.0)]), LayerNorm()] * 2),
    "nested": network(Residual([dense(), Residual([GELU, dense()]), GELU, dense()])),
}
