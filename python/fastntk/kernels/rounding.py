# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What rounding does to the features of a network, and so to its kernel."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatDType


def feature_error(depth: int, dtype: FloatDType) -> float:
    """Return the relative error of the gradient features of a network in this precision.

    Roundings of the layers add up like independent ones, √(depth + 1) ε. Measured on linear
    networks, where the rank of the features is known: √(0.3 depth) ε at most.
    """
    return math.sqrt(depth + 1) * float(np.finfo(dtype).eps)
