# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Neural tangent kernels of wide fully connected networks, and how well they are conditioned."""

from importlib.metadata import version

from fastntk import datasets
from fastntk.angles import AnglePair, closest_pairs, gradient_angles, smallest_angle
from fastntk.depth_sweep import ntk_depths
from fastntk.mlp import MLP
from fastntk.spectrum import Conditioning, conditioning
from fastntk.studies.depth import DepthResult, DepthStudy, depth_study

__version__ = version("fastntk")

__all__ = [
    "MLP",
    "AnglePair",
    "Conditioning",
    "DepthResult",
    "DepthStudy",
    "__version__",
    "closest_pairs",
    "conditioning",
    "datasets",
    "depth_study",
    "gradient_angles",
    "ntk_depths",
    "smallest_angle",
]
