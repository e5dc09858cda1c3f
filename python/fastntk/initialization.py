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
import itertools
from typing import TYPE_CHECKING

import numpy as np

from fastntk._network import Layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk._typing import FloatArray, FloatDType


class _Kind(enum.IntEnum):
    WEIGHTS = 0
    BIAS = 1


def _normal(
    seed: int, key: tuple[int, ...], shape: tuple[int, ...], dtype: FloatDType
) -> FloatArray:
    stream = np.random.Philox(np.random.SeedSequence(seed, spawn_key=key))
    # Always drawn in float64: a float32 network is the rounded float64 network.
    return np.random.Generator(stream).standard_normal(shape).astype(dtype, copy=False)


def layer(
    seed: int,
    index: int,
    n_in: int,
    n_out: int,
    weight_std: float,
    bias_std: float,
    dtype: FloatDType,
) -> Layer:
    """Return layer `index` (from 1), from n_in to n_out; it has a bias if σ_b > 0."""
    key = (index, n_out, n_in)
    weights = _normal(seed, (*key, _Kind.WEIGHTS), (n_out, n_in), dtype)
    bias = _normal(seed, (*key, _Kind.BIAS), (n_out,), dtype) if bias_std > 0 else None
    return Layer(weights, bias, weight_std, bias_std)


def layers(
    seed: int, widths: Sequence[int], weight_std: float, bias_std: float, dtype: FloatDType
) -> tuple[Layer, ...]:
    """Return layers 1, 2, … between the given widths n_0, n_1, …."""
    return tuple(
        layer(seed, index, n_in, n_out, weight_std, bias_std, dtype)
        for index, (n_in, n_out) in enumerate(itertools.pairwise(widths), start=1)
    )
