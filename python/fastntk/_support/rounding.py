# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How far rounding takes products and Cholesky decompositions from the truth."""

from __future__ import annotations

import math

# The largest relative error of one operation in float64.
UNIT = 2.0**-53


def gamma(terms: int, unit: float = UNIT) -> float:
    """Return γ_{terms+8}: the relative rounding error of a sum of so many products.

    It is infinite where the sum has so many terms that nothing is known of it.
    """
    units = (terms + 8) * unit
    return units / (1 - units) if units < 1 else math.inf


def cholesky_error(n: int, trace: float) -> float:
    """Return the norm of the error of a completed Cholesky decomposition of this trace, in float64.

    See `fastntk.eigenvalues.enclosures` for where it comes from.
    """
    units = gamma(n)
    return units / (1 - units) * abs(trace)
