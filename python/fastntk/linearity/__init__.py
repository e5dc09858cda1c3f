# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A network to first and second order in its parameters."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fastntk.linearity.curvature import HessianNorms, hessian_norm, hessian_vector_product

if TYPE_CHECKING:
    from fastntk.linearity.drift import KernelDrift, kernel_drift
    from fastntk.linearity.hessian_operators import hessian_operator, loss_hessian
    from fastntk.linearity.linear_model import LinearizedMLP
    from fastntk.linearity.segments import KernelChange, kernel_change

__all__ = [
    "HessianNorms",
    "KernelChange",
    "KernelDrift",
    "LinearizedMLP",
    "hessian_norm",
    "hessian_operator",
    "hessian_vector_product",
    "kernel_change",
    "kernel_drift",
    "loss_hessian",
]

# What few programs call is imported when it is asked for.
_LAZY_NAMES = {
    "KernelChange": "segments",
    "KernelDrift": "drift",
    "LinearizedMLP": "linear_model",
    "hessian_operator": "hessian_operators",
    "kernel_change": "segments",
    "kernel_drift": "drift",
    "loss_hessian": "hessian_operators",
}


def __getattr__(name: str) -> Any:
    """Import what is not imported with the package; the next time it is there."""
    if name not in _LAZY_NAMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(f"fastntk.linearity.{_LAZY_NAMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """Return all public names, those that are not imported yet included."""
    return sorted(__all__)
