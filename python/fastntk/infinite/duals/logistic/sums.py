# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gaps of normalized expectations of all pairs: by series, or in closed form where these are long.

In both ways only the even or odd part of a function is summed; its lead is added at the end.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numba import njit

from fastntk.infinite.duals.compiled import Loop
from fastntk.infinite.duals.logistic.mixture import Mixture
from fastntk.infinite.duals.logistic.pairs import GATED_SLOPE, STEP, expectation, shares
from fastntk.infinite.duals.series import PAIRS_AT_ONCE, Series, add_series, write_gaps

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array
    from fastntk.infinite.duals.compiled import RowGaps, RowPairs


class Expansion(NamedTuple):
    """What single samples bring into the sums of one function.

    Attributes
    ----------
    function : int
        Which one.
    inverse, lead : ndarray (n,)
        1/√E[f(u)²], and what the constant or linear part gives, over √E[f(u)²].
    series : Series
        That of the even or odd part, likewise.
    """

    function: int
    inverse: Array
    lead: Array
    series: Series


# Where the numbers of a function are among those of a sample: 1/√E[f(u)²], the lead, what the
# series leaves out, and its coefficients.
_INVERSE, _LEAD, _REST, _COEFFICIENTS = range(4)


def sample_numbers(deviations: Array, both: list[Expansion]) -> Array:
    """Return what `fill_logistic` takes of samples (k, n).

    Parameters
    ----------
    deviations : ndarray (n,)
        Standard deviations of the argument of the functions.
    both : list of Expansion
        Those of φ and of φ'.
    """
    parts = [deviations[np.newaxis]]
    for _, inverse, lead, series in both:
        parts += [np.stack([inverse, lead, series.rest]), series.coefficients]
    return np.concatenate(parts)


def loop_constants(both: list[Expansion], missing: float, mixture: Mixture) -> Array:
    """Return the constants of `fill_logistic`, with what a series may leave out."""
    parts = [[missing, len(mixture.weights)], mixture.deviations, mixture.weights]
    for expansion in both:
        terms = len(expansion.series.coefficients)
        parts += [[expansion.function, terms], expansion.series.limits]
    return np.concatenate([np.asarray(part, np.float64) for part in parts])


@Loop
def fill_logistic(
    pairs: RowPairs,
    row: Array,
    columns: Array,
    first: int,
    constants: Array,
    tangent: bool,
    out: RowGaps,
) -> int:
    """Write 1 ∓ c, see `Loop`; none of them are to be refined."""
    missing, size = constants[0], int(constants[1])
    mixture = Mixture(constants[2 : 2 + size], constants[2 + size : 2 + 2 * size])
    scratch = np.empty((4, PAIRS_AT_ONCE))
    at, sample = 2 + 2 * size, 1
    for part in range(2 if tangent else 1):
        function, terms = int(constants[at]), int(constants[at + 1])
        limits = constants[at + 2 : at + 3 + terms]
        given = row[0], row[sample : sample + _COEFFICIENTS + terms]
        others = columns[0], columns[sample : sample + _COEFFICIENTS + terms], first
        gaps = (pairs[0], pairs[1]), (out[2 * part], out[2 * part + 1])
        _fill_part((function, missing), mixture, limits, given, others, scratch, gaps)
        at += 3 + terms
        sample += _COEFFICIENTS + terms
    return 0


@njit(nogil=True, cache=True)
def _fill_part(
    function_and_missing: tuple[int, float],
    mixture: Mixture,
    limits: Array,
    row: tuple[float, Array],
    columns: tuple[Array, Array, int],
    scratch: Array,
    gaps: tuple[tuple[Array, Array], tuple[Array, Array]],
) -> None:
    """Write the gaps of one function.

    Parameters
    ----------
    function_and_missing : tuple
        The function, and what its series may leave out.
    mixture : Mixture
        The mixture.
    limits : ndarray (K + 1,)
        See `Series`.
    row, columns : tuple
        The standard deviation of one sample and its numbers (3 + K,); and those of others, of
        which some number is the first.
    scratch : ndarray (4, PAIRS_AT_ONCE)
        Overwritten.
    gaps : tuple
        Those of ρ, and where those of the function go.
    """
    function, missing = function_and_missing
    (near, far), out = gaps
    own, numbers = row[1], columns[1]
    for start in range(0, len(near), PAIRS_AT_ONCE):
        stop = min(start + PAIRS_AT_ONCE, len(near))
        first, last = columns[2] + start, columns[2] + stop
        rho, x = scratch[0, : stop - start], scratch[1, : stop - start]
        values, beyond = scratch[2, : stop - start], scratch[3, : stop - start]
        largest = _square_cosines(near[start:stop], far[start:stop], rho, x)
        some = False
        if largest > limits[-1]:
            rests = numbers[_REST, first:last]
            some = _take_out(x, beyond, own[_REST], rests, limits, missing)
        add_series(values, x, own[_COEFFICIENTS:], numbers[_COEFFICIENTS:], first, limits)
        if some:
            left, right = np.empty((2, 3, len(mixture.deviations)))
            shares(function, row[0], mixture, left)
            for j in range(stop - start):
                if beyond[j] > 0.0:
                    shares(function, columns[0][first + j], mixture, right)
                    cosine, across = abs(rho[j]), near[start + j] * far[start + j]
                    value = expectation(function, cosine, across, left, right)
                    value *= own[_INVERSE] * numbers[_INVERSE, first + j]
                    # What is added for odd functions is multiplied by ρ below.
                    values[j] = value / cosine if function in (STEP, GATED_SLOPE) else value
        _add_lead(function, values, rho, own[_LEAD], numbers[_LEAD, first:last])
        write_gaps(values, out[0][start:stop], out[1][start:stop])


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
    x : ndarray (m,)
        Arguments.
    beyond : ndarray (m,)
        Where 1 is written for these, and 0 for others.
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
    for j in range(len(x)):
        beyond[j] = 0.0
        if x[j] > limits[-1] and math.sqrt(rest * rests[j]) * x[j] ** terms > missing:
            x[j], beyond[j] = 0.0, 1.0
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
