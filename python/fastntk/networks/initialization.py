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
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk import activations
from fastntk._support import arguments
from fastntk._support.dtypes import FLOAT_DTYPES
from fastntk._support.memory import require_memory
from fastntk.networks.network import Layer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk._support.dtypes import FloatArray, FloatDType
    from fastntk.activations import Activation

PARAMETRIZATIONS = ("ntk", "standard")


class _Kind(enum.IntEnum):
    """Which arrays of a layer a stream of random numbers is for."""

    WEIGHTS = 0
    BIAS = 1


def _normal(
    seed: int, key: tuple[int, ...], shape: tuple[int, ...], dtype: FloatDType, scale: float
) -> FloatArray:
    stream = np.random.Philox(np.random.SeedSequence(seed, spawn_key=key))
    # They are always drawn in float64: a float32 network is the rounded float64 network.
    numbers = np.random.Generator(stream).standard_normal(shape)
    if scale != 1.0:
        numbers *= scale
    return numbers.astype(dtype, copy=False)


def activation_and_scale(
    activation: str | Activation, activation_scale: float | None
) -> tuple[Activation, float]:
    """Return φ and c_φ, which is by default what keeps the size of the activations."""
    phi = activations.get(activation)
    scale = checked_scale(activation_scale)
    return phi, phi.scale if scale is None else scale


# No standard normal number that is ever drawn is as large.
_LARGEST_NORMAL = 100.0

# What numbers of each type may be multiplied by.
_LARGEST_SIZES = {dtype: float(np.finfo(dtype).max) / _LARGEST_NORMAL for dtype in FLOAT_DTYPES}


def checked_scale(activation_scale: float | None) -> float | None:
    """Return c_φ, checked; None stands for that of each activation."""
    if activation_scale is None:
        return None
    return arguments.scale(activation_scale, "activation_scale")


def scales(
    parametrization: str, n_in: int, weight_std: float, bias_std: float
) -> tuple[float, float]:
    """Return by what weights and biases are multiplied in the forward pass."""
    if parametrization == "ntk":
        return weight_std / math.sqrt(n_in), bias_std
    return 1.0, 1.0


@dataclass(frozen=True)
class Initialization:
    """How weights are drawn and what they are multiplied by."""

    seed: int
    weight_std: float
    bias_std: float
    parametrization: str
    dtype: FloatDType

    @classmethod
    def checked(
        cls,
        seed: int,
        weight_std: float,
        bias_std: float,
        parametrization: str,
        dtype: FloatDType,
    ) -> Initialization:
        """Check what a user gave, but for the precision, which has been checked."""
        return cls(
            seed=arguments.seed(seed),
            weight_std=arguments.real(weight_std, "weight_std", minimum=0.0, exclusive=True),
            bias_std=arguments.real(bias_std, "bias_std", minimum=0.0),
            parametrization=arguments.choice(parametrization, "parametrization", PARAMETRIZATIONS),
            dtype=dtype,
        )

    def layer(self, index: int, n_in: int, n_out: int, init_scale: float = 1.0) -> Layer:
        """Return layer `index` (from 1); it has a bias if σ_b > 0."""
        key = (index, n_out, n_in)
        forward = scales(self.parametrization, n_in, self.weight_std, self.bias_std)
        # What the forward pass does not multiply by, the weights carry themselves.
        standard = self.parametrization == "standard"
        weight_size = init_scale * (self.weight_std / math.sqrt(n_in) if standard else 1.0)
        bias_size = self.bias_std if standard else 1.0
        if not max(weight_size, bias_size) <= _LARGEST_SIZES[self.dtype]:
            raise OverflowError(
                f"weight_std={self.weight_std}, bias_std={self.bias_std}, init_scale={init_scale}: "
                f"expected smaller ones, with weights that are finite in {self.dtype}"
            )
        require_memory(
            n_in * n_out * self.dtype.itemsize,
            f"a layer between widths of {n_in} and {n_out}",
            "take a smaller width",
        )
        weights = _normal(self.seed, (*key, _Kind.WEIGHTS), (n_out, n_in), self.dtype, weight_size)
        bias = None
        if self.bias_std > 0:
            bias = _normal(self.seed, (*key, _Kind.BIAS), (n_out,), self.dtype, bias_size)
        return Layer(weights, bias, *forward)

    def layers(
        self, widths: Sequence[int], init_scales: Sequence[float] | None = None
    ) -> tuple[Layer, ...]:
        """Return layers 1, 2, … between the given widths n_0, n_1, …."""
        if init_scales is None:
            init_scales = [1.0] * (len(widths) - 1)
        return tuple(
            self.layer(index, n_in, n_out, init_scale)
            for index, ((n_in, n_out), init_scale) in enumerate(
                zip(itertools.pairwise(widths), init_scales, strict=True), start=1
            )
        )
