# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Normalized expectations of all pairs: by series, or in closed form where these are long.

In both ways only the even or odd part of a function is summed; its lead is added at the end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk.infinite.duals.logistic.pairs import GATED_SLOPE, STEP, expectation, shares
from fastntk.infinite.duals.series import PAIRS_AT_ONCE, add_series

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array, Gaps
    from fastntk.infinite.duals.logistic.mixture import Mixture


class Side(NamedTuple):
    """What single samples bring into a sum; all but the deviations divided by the norm of f.

    Attributes
    ----------
    deviations : ndarray (n,)
        Standard deviations of the argument of the function.
    inverse, lead : ndarray (n,)
        1/√E[f(u)²], and what the constant or linear part gives.
    coefficients, rest
        See `Series`.
    """

    deviations: Array
    inverse: Array
    lead: Array
    coefficients: Array
    rest: Array


@njit(nogil=True, cache=True)
def cosines(
    function: int,
    gaps: Gaps,
    rows: Side,
    columns: Side,
    limits: Array,
    missing: float,
    mixture: Mixture,
) -> Array:
    """Return the normalized expectations.

    Parameters
    ----------
    function : int
        The function.
    gaps : Gaps
        Those of ρ, of all pairs (n, m).
    rows, columns : Side
        The samples.
    limits : ndarray (K + 1,)
        See `Series`.
    missing : float
        What a series may leave out.
    mixture : Mixture
        The mixture.
    """
    n, m = gaps.near.shape
    result = np.empty((n, m))
    rho, x = np.empty((2, n, PAIRS_AT_ONCE))
    beyond = np.empty((n, PAIRS_AT_ONCE), np.bool_)
    any_beyond = np.empty(n, np.bool_)
    left, right = np.empty((2, 3, len(mixture.deviations)))
    for first in range(0, m, PAIRS_AT_ONCE):
        last = min(first + PAIRS_AT_ONCE, m)
        rests = columns.rest[first:last]
        for i in range(n):
            near, far = gaps.near[i, first:last], gaps.far[i, first:last]
            any_beyond[i] = _square_cosines(near, far, rho[i], x[i]) > limits[-1] and (
                _take_out(x[i], beyond[i], rows.rest[i], rests, limits, missing)
            )
        add_series(result, first, x, rows.coefficients, columns.coefficients[first:last], limits)
        for i in range(n):
            if any_beyond[i]:
                shares(function, rows.deviations[i], mixture, left)
                for j in range(first, last):
                    if beyond[i, j - first]:
                        shares(function, columns.deviations[j], mixture, right)
                        cosine = abs(rho[i, j - first])
                        square_sine = gaps.near[i, j] * gaps.far[i, j]
                        value = expectation(function, cosine, square_sine, left, right)
                        value *= rows.inverse[i] * columns.inverse[j]
                        # What is added for odd functions is multiplied by ρ below.
                        result[i, j] = value / cosine if function in (STEP, GATED_SLOPE) else value
            values, leads = result[i, first:last], columns.lead[first:last]
            _add_lead(function, values, rho[i], rows.lead[i], leads)
    return result


@njit(nogil=True, cache=True, fastmath={"contract", "nnan", "nsz"})
def _square_cosines(near: Array, far: Array, rho: Array, x: Array) -> float:
    """Write ρ and ρ²; return the largest ρ²."""
    largest = 0.0
    for j in range(len(near)):
        rho[j] = 1 - near[j] if near[j] <= far[j] else far[j] - 1
        x[j] = rho[j] * rho[j]
        largest = max(largest, x[j])
    return largest


@njit(nogil=True, cache=True)
def _take_out(
    x: Array, beyond: Array, rest: float, rests: Array, limits: Array, missing: float
) -> bool:
    """Write 0 for arguments at which the series of pairs are too long; return whether any are.

    Parameters
    ----------
    x : ndarray (≥ m,)
        Arguments.
    beyond : ndarray of bool (≥ m,)
        Where to note which they are.
    rest : float
        What the series leaves out of the squares of one sample.
    rests : ndarray (m,)
        The same of the others.
    limits : ndarray (K + 1,)
        See `Series`.
    missing : float
        What a series may leave out.
    """
    terms = len(limits) - 1
    some = False
    for j in range(len(rests)):
        beyond[j] = x[j] > limits[-1] and math.sqrt(rest * rests[j]) * x[j] ** terms > missing
        if beyond[j]:
            x[j] = 0.0
            some = True
    return some


@njit(nogil=True, cache=True, fastmath={"contract"})
def _add_lead(function: int, values: Array, rho: Array, lead: float, leads: Array) -> None:
    """Turn what series and closed forms give into cosines."""
    if function in (STEP, GATED_SLOPE):
        for j in range(len(values)):
            values[j] = lead * leads[j] + rho[j] * values[j]
    else:
        for j in range(len(values)):
            values[j] += rho[j] * (lead * leads[j])
