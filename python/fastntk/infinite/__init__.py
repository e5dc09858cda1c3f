# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Networks of infinite width: kernels, angles, limits, predictions."""

from fastntk.infinite.kernels import Kernels, kernels, nngp, ntk

__all__ = ["Kernels", "kernels", "nngp", "ntk"]
