# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""All duals with a closed form: the classes among which the entry of an activation chooses."""

from fastntk.infinite.duals.elu import Elu
from fastntk.infinite.duals.hermite import Polynomial
from fastntk.infinite.duals.logistic import Sigmoid, Silu, Softplus, Tanh
from fastntk.infinite.duals.piecewise import PiecewiseLinear, RectifiedMonomial, Sign
from fastntk.infinite.duals.smooth import (
    ErrorFunction,
    ExpNormalized,
    Exponential,
    Gabor,
    Gaussian,
    Gelu,
    Sinusoid,
)

__all__ = [
    "Elu",
    "ErrorFunction",
    "ExpNormalized",
    "Exponential",
    "Gabor",
    "Gaussian",
    "Gelu",
    "PiecewiseLinear",
    "Polynomial",
    "RectifiedMonomial",
    "Sigmoid",
    "Sign",
    "Silu",
    "Sinusoid",
    "Softplus",
    "Tanh",
]
