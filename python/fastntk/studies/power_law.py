# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Power laws, fitted on logarithms: how fast something falls as networks become wider."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

# Samples of the bootstrap, and the confidence of its intervals.
_RESAMPLINGS = 2000
_CONFIDENCE = 0.95


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


class BootstrapSlope(NamedTuple):
    """The slope of a power law with an interval of 95 %, by the bootstrap.

    Attributes
    ----------
    slope, lower, upper : float
        NaN with fewer than two different widths; the interval also where no width has two values.
    """

    slope: float
    lower: float
    upper: float


def bootstrap_slope(widths: ArrayLike, values: ArrayLike) -> BootstrapSlope:
    """Return the slope of `fit_power_law` with an interval.

    Networks of different widths are independent, whatever their seeds: the values at each width are
    drawn anew from those that were found there, with replacement, 2000 times, and the interval is
    that of the 2.5 and 97.5 per cent quantiles of the slopes. Deviations of k drawn values are
    √(k/(k − 1)) too small in the mean, and are made so much larger: with few seeds that matters.

    Examples
    --------
    >>> from fastntk.studies.power_law import bootstrap_slope
    >>> found = bootstrap_slope([10, 10, 40, 40], [8.0, 8.4, 4.0, 4.3])
    >>> bool(found.lower < -0.5 < found.upper < 0)
    True
    """
    x, y = np.log(np.asarray(widths, np.float64)), np.log(np.asarray(values, np.float64))
    slope = fit_power_law(np.exp(x), np.exp(y)).slope
    order = np.argsort(x, kind="stable")
    groups = [list(group) for _, group in itertools.groupby(order, key=lambda i: x[i])]
    if math.isnan(slope) or max(map(len, groups)) < 2:
        return BootstrapSlope(slope, math.nan, math.nan)
    # Least squares are linear in y, and the widths of a sample are always the same.
    weights = (x - x.mean()) / np.square(x - x.mean()).sum()
    random = np.random.Generator(np.random.Philox(0))
    deviations = np.zeros(_RESAMPLINGS)
    for group in groups:
        count = len(group)
        if count < 2:
            continue  # how far others would be from a single value is not known
        drawn = y[group][random.integers(count, size=(_RESAMPLINGS, count))]
        apart = (drawn - y[group].mean()).sum(axis=1)
        deviations += weights[group[0]] * apart * math.sqrt(count / (count - 1))
    tail = (1 - _CONFIDENCE) / 2
    lower, upper = np.quantile(slope + deviations, [tail, 1 - tail])
    return BootstrapSlope(slope, float(lower), float(upper))
