# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of infinite width: kernels, angles, limits, predictions."""

from typing import TYPE_CHECKING, Any

from fastntk.infinite.edge_of_chaos import Edge, edge_of_chaos
from fastntk.infinite.functions import (
    angle_map,
    conditioning,
    embedding_angle,
    gradient_angle,
    kernels,
    nngp,
    ntk,
    ntk_operator,
    ntk_tiles,
    predict,
    smallest_angle,
)
from fastntk.infinite.kernel_matrices import Kernels
from fastntk.infinite.layered_network import LayeredNetwork
from fastntk.infinite.limits import limit_angle, limit_condition_number, limit_kernel
from fastntk.infinite.network import Network
from fastntk.infinite.regression import Prediction, Regression

if TYPE_CHECKING:
    from fastntk.infinite.scikit_learn import NeuralKernel

__all__ = [
    "Edge",
    "Kernels",
    "LayeredNetwork",
    "Network",
    "NeuralKernel",
    "Prediction",
    "Regression",
    "angle_map",
    "conditioning",
    "edge_of_chaos",
    "embedding_angle",
    "gradient_angle",
    "kernels",
    "limit_angle",
    "limit_condition_number",
    "limit_kernel",
    "nngp",
    "ntk",
    "ntk_operator",
    "ntk_tiles",
    "predict",
    "smallest_angle",
]


def __getattr__(name: str) -> Any:
    """Import what needs scikit-learn when it is asked for."""
    if name == "NeuralKernel":
        from fastntk.infinite.scikit_learn import NeuralKernel

        return NeuralKernel
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return all public names, the one that is not imported yet included."""
    return sorted(__all__)
