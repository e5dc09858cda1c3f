# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Neural tangent kernels of wide fully connected networks, and how well they are conditioned."""

from importlib import import_module
from threading import RLock
from typing import TYPE_CHECKING, Any

# Before anything else is in memory: what this import takes for a while lies below it then, and need
# not be given back to the system and taken again, which is a tenth of its time.
import scipy.linalg.cython_blas as _linear_algebra  # noqa: F401

from fastntk import activations, amx, linearity
from fastntk.eigenvalues import Bounds, Conditioning, Interval, conditioning, spectrum
from fastntk.kernels.angles import (
    AnglePair,
    angle_bound,
    closest_pairs,
    gradient_angles,
    smallest_angle,
)
from fastntk.mlp import MLP
from fastntk.symmetric.packed import PackedKernel

if TYPE_CHECKING:
    from fastntk import (
        architectures,
        cuda,
        datasets,
        distributed,
        figures,
        infinite,
        layers,
        paper,
        sklearn,
    )
    from fastntk.architectures.finite import FiniteNetwork
    from fastntk.architectures.from_torch import from_torch
    from fastntk.architectures.network import Network
    from fastntk.eigenvalues.minibatches import BatchConditioning, batch_conditioning
    from fastntk.kernels.depth_sweep import ntk_depths
    from fastntk.studies.angle_curves import AngleCurves, angle_curves
    from fastntk.studies.constancy import constancy_study
    from fastntk.studies.constancy_results import ConstancyResult, ConstancyStudy
    from fastntk.studies.convergence import convergence_study
    from fastntk.studies.convergence_results import ConvergenceResult, ConvergenceStudy
    from fastntk.studies.depth import depth_study
    from fastntk.studies.depth_results import DepthResult, DepthStudy
    from fastntk.studies.large_kernel import KernelReport, kernel_report
    from fastntk.studies.linearization import LinearizationStudy, linearization_error
    from fastntk.studies.rates import ConvergenceRate, convergence_rate
    from fastntk.studies.width import MonteCarlo, monte_carlo_ntk
    from fastntk.symmetric.conjugate_gradients import KernelSolution, conjugate_gradients
    from fastntk.training.history import History
    from fastntk.training.learning_rate_bound import learning_rate_bound
    from fastntk.training.learning_rate_search import LearningRateSearch, find_learning_rate
    from fastntk.training.run import train

    __version__: str

__all__ = [
    "MLP",
    "AngleCurves",
    "AnglePair",
    "BatchConditioning",
    "Bounds",
    "Conditioning",
    "ConstancyResult",
    "ConstancyStudy",
    "ConvergenceRate",
    "ConvergenceResult",
    "ConvergenceStudy",
    "DepthResult",
    "DepthStudy",
    "FiniteNetwork",
    "History",
    "Interval",
    "KernelReport",
    "KernelSolution",
    "LearningRateSearch",
    "LinearizationStudy",
    "MonteCarlo",
    "Network",
    "PackedKernel",
    "__version__",
    "activations",
    "amx",
    "angle_bound",
    "angle_curves",
    "architectures",
    "batch_conditioning",
    "closest_pairs",
    "conditioning",
    "conjugate_gradients",
    "constancy_study",
    "convergence_rate",
    "convergence_study",
    "cuda",
    "datasets",
    "depth_study",
    "distributed",
    "figures",
    "find_learning_rate",
    "from_torch",
    "gradient_angles",
    "infinite",
    "kernel_report",
    "layers",
    "learning_rate_bound",
    "linearity",
    "linearization_error",
    "monte_carlo_ntk",
    "ntk_depths",
    "paper",
    "sklearn",
    "smallest_angle",
    "spectrum",
    "train",
]

# What is not needed for a kernel and its condition is imported when it is asked for: studies and
# training, GPUs, networks of infinite width with Numba, figures with Matplotlib.
_LAZY_MODULES = {
    "architectures": "fastntk.architectures",
    "cuda": "fastntk.cuda",
    "datasets": "fastntk.datasets",
    "depth_sweep": "fastntk.depth_sweep",
    "distributed": "fastntk.distributed",
    "figures": "fastntk.figures",
    "infinite": "fastntk.infinite",
    "info": "fastntk.info",
    "layers": "fastntk.layers",
    "paper": "fastntk.paper",
    "sklearn": "fastntk.sklearn",
    "studies": "fastntk.studies",
    "training": "fastntk.training",
}
_LAZY_NAMES = {
    "AngleCurves": "studies.angle_curves",
    "BatchConditioning": "eigenvalues.minibatches",
    "ConstancyResult": "studies.constancy_results",
    "ConstancyStudy": "studies.constancy_results",
    "ConvergenceRate": "studies.rates",
    "ConvergenceResult": "studies.convergence_results",
    "ConvergenceStudy": "studies.convergence_results",
    "DepthResult": "studies.depth_results",
    "DepthStudy": "studies.depth_results",
    "History": "training.history",
    "KernelReport": "studies.large_kernel",
    "KernelSolution": "symmetric.conjugate_gradients",
    "LearningRateSearch": "training.learning_rate_search",
    "LinearizationStudy": "studies.linearization",
    "MonteCarlo": "studies.width",
    "FiniteNetwork": "architectures.finite",
    "Network": "architectures.network",
    "angle_curves": "studies.angle_curves",
    "batch_conditioning": "eigenvalues.minibatches",
    "conjugate_gradients": "symmetric.conjugate_gradients",
    "constancy_study": "studies.constancy",
    "convergence_rate": "studies.rates",
    "convergence_study": "studies.convergence",
    "depth_study": "studies.depth",
    "find_learning_rate": "training.learning_rate_search",
    "from_torch": "architectures.from_torch",
    "kernel_report": "studies.large_kernel",
    "learning_rate_bound": "training.learning_rate_bound",
    "linearization_error": "studies.linearization",
    "monte_carlo_ntk": "studies.width",
    "ntk_depths": "kernels.depth_sweep",
    "train": "training.run",
}

# One thread at a time imports: two that came into a package from different sides would each wait
# for what the other has locked.
_importing = RLock()


def __getattr__(name: str) -> Any:
    """Import what is not imported with the package; the next time it is there."""
    with _importing:
        if name in _LAZY_MODULES:
            return import_module(_LAZY_MODULES[name])
        if name in _LAZY_NAMES:
            found = getattr(import_module(f"fastntk.{_LAZY_NAMES[name]}"), name)
            globals()[name] = found
            return found
        if name == "__version__":
            from importlib.metadata import version

            return version("fastntk")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all public names, those that are not imported yet included."""
    return sorted(__all__)
