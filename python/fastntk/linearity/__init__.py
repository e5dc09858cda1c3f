# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A network to first and second order in its parameters."""

from fastntk.linearity.curvature import HessianNorms, hessian_norm, hessian_vector_product

__all__ = ["HessianNorms", "hessian_norm", "hessian_vector_product"]
