# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Initial weights: independent standard normal numbers from counter-based streams.

Each array has a Philox stream of its own, keyed by the seed, the layer and the shape. So the
weights of a layer do not depend on which other layers a network has: networks of different depth
share those of their common layers, and still every network by itself is distributed as it should
be. The stream is the same on every platform.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastntk._typing import FloatArray, FloatDType


class _Kind(enum.IntEnum):
    WEIGHTS = 0
    BIAS = 1


def _normal(
    seed: int, layer: int, n_out: int, n_in: int, kind: _Kind, dtype: FloatDType
) -> FloatArray:
    key = np.random.SeedSequence(seed, spawn_key=(layer, n_out, n_in, int(kind)))
    shape = (n_out, n_in) if kind is _Kind.WEIGHTS else (n_out,)
    # Always drawn in float64: a float32 network is the rounded float64 network.
    numbers = np.random.Generator(np.random.Philox(key)).standard_normal(shape)
    return numbers.astype(dtype, copy=False)


def layer_weights(seed: int, layer: int, n_out: int, n_in: int, dtype: FloatDType) -> FloatArray:
    """Return W of layer `layer` (from 1): (n_out, n_in) standard normal numbers."""
    return _normal(seed, layer, n_out, n_in, _Kind.WEIGHTS, dtype)


def layer_bias(seed: int, layer: int, n_out: int, n_in: int, dtype: FloatDType) -> FloatArray:
    """Return b of layer `layer` (from 1): n_out standard normal numbers."""
    return _normal(seed, layer, n_out, n_in, _Kind.BIAS, dtype)
