# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dual activations: closed forms where they are known, Hermite series for everything else."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastntk.infinite.duals import closed_forms
from fastntk.infinite.duals.base import Correlation, Dual, Gaps, State
from fastntk.infinite.duals.compiled import CompiledDual
from fastntk.infinite.duals.hermite import Quadrature
from fastntk.infinite.duals.piecewise import PiecewiseLinear

if TYPE_CHECKING:
    from fastntk.activations import Activation

__all__ = [
    "CompiledDual",
    "Correlation",
    "Dual",
    "Gaps",
    "PiecewiseLinear",
    "Quadrature",
    "State",
    "dual_of",
]


def dual_of(activation: Activation, tolerance: float = 1e-10) -> Dual:
    """Return the dual of an activation; the tolerance is for those without a closed form."""
    if activation.dual is None:
        return Quadrature(activation, tolerance)
    dual: Dual = activation.dual(closed_forms, tolerance)
    return dual
