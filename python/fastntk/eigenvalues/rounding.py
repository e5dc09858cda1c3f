# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far rounding takes products and Cholesky decompositions from the truth, in float64."""

from __future__ import annotations

# The largest relative error of one operation.
UNIT = 2.0**-53


def gamma(terms: int) -> float:
    """Return γ_{terms+8}: the relative rounding error of a sum of so many products."""
    units = (terms + 8) * UNIT
    return units / (1 - units)


def cholesky_error(n: int, trace: float) -> float:
    """Return the norm of the error of a completed Cholesky decomposition of this trace."""
    return gamma(n) / (1 - gamma(n)) * abs(trace)
