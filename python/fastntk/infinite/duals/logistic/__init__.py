# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Duals of what the logistic distribution makes: tanh, sigmoid, softplus and SiLU."""

from fastntk.infinite.duals.logistic.duals import Sigmoid, Silu, Softplus, Tanh

__all__ = ["Sigmoid", "Silu", "Softplus", "Tanh"]
