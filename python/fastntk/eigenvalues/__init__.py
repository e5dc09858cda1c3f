# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Eigenvalues of kernels: the extreme ones with certain bounds, or all of them."""

from fastntk.eigenvalues.extremes import conditioning, spectrum
from fastntk.eigenvalues.result import Bounds, Conditioning, Interval, rounded_down

__all__ = ["Bounds", "Conditioning", "Interval", "conditioning", "rounded_down", "spectrum"]
