# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Power laws, fitted on logarithms: how fast something falls as networks become wider."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class PowerLaw(NamedTuple):
    """value ∝ width^slope, by least squares on logarithms.

    Attributes
    ----------
    slope : float
        NaN with fewer than two different widths.
    standard_error : float
        The standard error of the slope, from the scatter of all values about the line.
    """

    slope: float
    standard_error: float


def fit_power_law(widths: ArrayLike, values: ArrayLike) -> PowerLaw:
    """Return the power law through positive values at some widths, several at one or not.

    Examples
    --------
    >>> from fastntk.studies.power_law import fit_power_law
    >>> round(fit_power_law([10, 40, 160], [8.0, 4.0, 2.0]).slope, 12)
    -0.5
    """
    # SciPy's statistics take longer to import than fastntk.
    from scipy.stats import linregress

    x, y = np.log(widths), np.log(values)
    if x.size < 2 or np.ptp(x) == 0:
        return PowerLaw(math.nan, math.nan)
    line = linregress(x, y)
    return PowerLaw(float(line.slope), float(line.stderr))
