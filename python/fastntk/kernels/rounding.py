# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What rounding does to the features of a network, and so to its kernel, as a rule."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypedDict

import numpy as np

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatDType
    from fastntk.networks.any_network import AnyNetwork


class KernelErrors(TypedDict):
    """The errors of a kernel, as `fastntk.conditioning` takes them."""

    feature_error: float
    kernel_error: float


def feature_error(depth: int, dtype: FloatDType) -> float:
    """Return about the relative error of the gradient features of passes in this precision.

    Roundings of the layers add up like independent ones, to √(depth + 1) ε. On linear networks,
    where the rank of the features is known, at most √(0.3 depth) ε was measured; on others up to 30
    times as much as this, where a gate of a ReLU is open in one computation and shut in another
    more. `error_bounds` has what is proved.
    """
    return math.sqrt(depth + 1) * float(np.finfo(dtype).eps)


def network_error(network: AnyNetwork, dtype: FloatDType) -> float:
    """Return that of a network in this precision, with the margin of its layers."""
    return network.rounding_margin * feature_error(len(network.layers) - 1, dtype)
