# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Dual activations: closed forms where they are known, Hermite series for everything else."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from numpy.polynomial.hermite_e import herme2poly

from fastntk.infinite.duals._base import ClosedForm, Dual, State
from fastntk.infinite.duals._elu import Elu
from fastntk.infinite.duals._hermite import Polynomial, Quadrature
from fastntk.infinite.duals._piecewise import PiecewiseLinear, RectifiedMonomial, Sign
from fastntk.infinite.duals._smooth import (
    ErrorFunction,
    ExpNormalized,
    Exponential,
    Gabor,
    Gaussian,
    Gelu,
    Sinusoid,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk.activations import Activation

__all__ = ["ClosedForm", "Dual", "PiecewiseLinear", "Quadrature", "State", "dual_of"]


def _hermite_polynomial(degree: int) -> Polynomial:
    series = [0.0] * degree + [math.factorial(degree) ** -0.5]
    return Polynomial(tuple(herme2poly(series)))


_CLOSED_FORMS: dict[str, Callable[..., Dual]] = {
    "identity": lambda: PiecewiseLinear(1.0, 1.0),
    "relu": lambda: PiecewiseLinear(0.0, 1.0),
    "leaky_relu": lambda alpha: PiecewiseLinear(alpha, 1.0),
    "abrelu": PiecewiseLinear,
    "abs": lambda: PiecewiseLinear(-1.0, 1.0),
    "sign": Sign,
    "rectified_monomial": RectifiedMonomial,
    "monomial": lambda degree: Polynomial((0.0,) * degree + (1.0,)),
    "polynomial": lambda *coefficients: Polynomial(coefficients),
    "hermite": _hermite_polynomial,
    "erf": ErrorFunction,
    "gelu": Gelu,
    "sin": Sinusoid,
    "cos": lambda frequency, phase: Sinusoid(frequency, phase + math.pi / 2),
    "rbf": lambda gamma: Sinusoid(math.sqrt(2 * gamma), math.pi / 4, math.sqrt(2)),
    "exp": Exponential,
    "gaussian": Gaussian,
    "gabor": Gabor,
    "exp_normalized": ExpNormalized,
}


def dual_of(activation: Activation, tolerance: float = 1e-10) -> Dual:
    """Return the dual of an activation; the tolerance is for those without a closed form."""
    if activation.name in _CLOSED_FORMS:
        return _CLOSED_FORMS[activation.name](*activation.parameters)
    if activation.name == "elu":
        return Elu(activation, tolerance)
    return Quadrature(activation, tolerance)
