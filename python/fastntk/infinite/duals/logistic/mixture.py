# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
r"""The logistic distribution as a mixture of normal ones.

A logistic random number is 2ψ times a standard normal one, where ψ has the distribution of
Kolmogorov and Smirnov (Andrews and Mallows, "Scale mixtures of normal distributions", 1974):

.. math:: \frac{1}{1 + e^{-x}} = \int P(x/σ) \, dF(σ/2), \qquad
          F'(ψ) = 8ψ \sum_{n ≥ 1} (-1)^{n+1} n² e^{-2n²ψ²}

with the normal distribution P. As a function of log σ the integrand is analytic up to imaginary
parts of π/4 and falls off doubly exponentially, so the trapezoidal rule with a step h has an error
that falls like exp(−π²/(2h)).
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Mixture(NamedTuple):
    """Normal distributions that make up another one.

    Attributes
    ----------
    deviations : ndarray (k,)
        Their standard deviations σ_i.
    weights : ndarray (k,)
        Their shares p_i, with the sum 1.
    """

    deviations: NDArray[np.float64]
    weights: NDArray[np.float64]


# The error of the trapezoidal rule over exp(−π²/(2h)), in the measure of `logistic_mixture`; the
# tests find less for all errors between 1e-3 and 1e-15.
_ERROR_FACTOR = 1600.0

# The widest step, of a dozen nodes, and the least error that float64 lets one see.
_WIDEST_STEP, _LEAST_ERROR = 0.25, 2.0**-53


@cache
def logistic_mixture(error: float) -> Mixture:
    """Return a mixture of few normal distributions that is the logistic one to a relative error.

    With φ any of the functions that `pairs` makes of the logistic distribution, and φ̂ the same
    of the mixture, E[(φ̂(u) − φ(u))²] ≤ error² E[φ(u)²] for normal u of every standard deviation.

    Parameters
    ----------
    error : float
        The error.
    """
    step = math.pi**2 / 2 / math.log(_ERROR_FACTOR / max(error, _LEAST_ERROR))
    step = min(step, _WIDEST_STEP)
    # Beyond these the density is below 1e-20.
    positions = np.arange(math.floor(math.log(0.3) / step), math.ceil(math.log(10.0) / step) + 1)
    deviations = np.exp(step * positions)
    weights = deviations * _density(deviations / 2)
    kept = weights > error / 100 * weights.max()
    return Mixture(deviations[kept], weights[kept] / weights[kept].sum())


def _density(psi: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return F'(ψ), from the sum above or from its transform by Poisson's formula."""
    n = np.arange(1.0, 8.0)[:, np.newaxis]
    direct = 8 * psi * (-((-1) ** n) * n**2 * np.exp(-2 * (n * psi) ** 2)).sum(axis=0)
    square = ((2 * n - 1) * math.pi / psi) ** 2 / 4
    transformed = (np.exp(-square / 2) * (square - 1)).sum(axis=0)
    transformed *= math.sqrt(2 * math.pi) / psi**2
    result: NDArray[np.float64] = np.where(psi > 0.8, direct, transformed)
    return result
