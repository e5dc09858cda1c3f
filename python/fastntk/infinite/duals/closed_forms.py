# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""All duals with a closed form: the classes among which the entry of an activation chooses."""

from fastntk.infinite.duals.clipped import Clipped
from fastntk.infinite.duals.elu import Elu
from fastntk.infinite.duals.error_function import ErrorFunction, Gaussian
from fastntk.infinite.duals.exponential import ExpNormalized, Exponential
from fastntk.infinite.duals.gabor import Gabor
from fastntk.infinite.duals.gelu import Gelu
from fastntk.infinite.duals.logistic import Sigmoid, Silu, Softplus, Tanh
from fastntk.infinite.duals.piecewise import PiecewiseLinear, Sign
from fastntk.infinite.duals.polynomials import Polynomial
from fastntk.infinite.duals.rectified import RectifiedMonomial
from fastntk.infinite.duals.softsign import Softsign
from fastntk.infinite.duals.waves import Sinusoid

__all__ = [
    "Clipped",
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
    "Softsign",
    "Tanh",
]
