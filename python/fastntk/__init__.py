# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Neural tangent kernels of wide fully connected networks, and how well they are conditioned."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastntk import activations, amx, cuda, datasets
from fastntk.eigenvalues import Bounds, Conditioning, Interval, conditioning, spectrum
from fastntk.eigenvalues.minibatches import BatchConditioning, batch_conditioning
from fastntk.kernels.angles import (
    AnglePair,
    angle_bound,
    closest_pairs,
    gradient_angles,
    smallest_angle,
)
from fastntk.kernels.depth_sweep import ntk_depths
from fastntk.mlp import MLP
from fastntk.studies.convergence import convergence_study
from fastntk.studies.convergence_results import ConvergenceResult, ConvergenceStudy
from fastntk.studies.depth import depth_study
from fastntk.studies.depth_results import DepthResult, DepthStudy
from fastntk.studies.large_kernel import KernelReport, kernel_report
from fastntk.studies.linearization import LinearizationStudy, linearization_error
from fastntk.studies.rates import ConvergenceRate, convergence_rate
from fastntk.symmetric.packed import PackedKernel
from fastntk.training.history import History
from fastntk.training.learning_rate_bound import learning_rate_bound
from fastntk.training.learning_rate_search import LearningRateSearch, find_learning_rate
from fastntk.training.run import train

if TYPE_CHECKING:
    from fastntk import infinite
    from fastntk.studies.angle_curves import AngleCurves, angle_curves
    from fastntk.studies.width import MonteCarlo, monte_carlo_ntk

__version__ = version("fastntk")

__all__ = [
    "MLP",
    "AngleCurves",
    "AnglePair",
    "BatchConditioning",
    "Bounds",
    "Conditioning",
    "ConvergenceRate",
    "ConvergenceResult",
    "ConvergenceStudy",
    "DepthResult",
    "DepthStudy",
    "History",
    "Interval",
    "KernelReport",
    "LearningRateSearch",
    "LinearizationStudy",
    "MonteCarlo",
    "PackedKernel",
    "__version__",
    "activations",
    "amx",
    "angle_bound",
    "angle_curves",
    "batch_conditioning",
    "closest_pairs",
    "conditioning",
    "convergence_rate",
    "convergence_study",
    "cuda",
    "datasets",
    "depth_study",
    "find_learning_rate",
    "gradient_angles",
    "infinite",
    "kernel_report",
    "learning_rate_bound",
    "linearity",
    "linearization_error",
    "monte_carlo_ntk",
    "ntk_depths",
    "smallest_angle",
    "spectrum",
    "train",
]

# What stands on networks of infinite width needs Numba, which takes a while to import.
_LAZY = {
    "AngleCurves": "fastntk.studies.angle_curves",
    "MonteCarlo": "fastntk.studies.width",
    "angle_curves": "fastntk.studies.angle_curves",
    "monte_carlo_ntk": "fastntk.studies.width",
}


def __getattr__(name: str) -> Any:
    """Import what needs Numba when it is asked for."""
    if name == "infinite":
        return import_module("fastntk.infinite")
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
