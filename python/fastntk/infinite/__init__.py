# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of infinite width: kernels, angles, limits, predictions."""

from fastntk.infinite.angles import (
    angle_map,
    conditioning,
    embedding_angle,
    gradient_angle,
    limit_angle,
    limit_condition_number,
    limit_kernel,
    smallest_angle,
)
from fastntk.infinite.kernels import Kernels, kernels, nngp, ntk

__all__ = [
    "Kernels",
    "angle_map",
    "conditioning",
    "embedding_angle",
    "gradient_angle",
    "kernels",
    "limit_angle",
    "limit_condition_number",
    "limit_kernel",
    "nngp",
    "ntk",
    "smallest_angle",
]
