# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Gaussian expectations of functions that a mixture of normal distributions makes.

With P = Σ_i p_i N(x/σ_i) the distribution of the mixture, these are the step P, its density P', the
ramp ∫P, the gated x P, and (x P)' = P + x P'. Each is a constant or linear function, the *lead*,
plus an even or an odd one. For normal u and v with the standard deviations s and t, the correlation
ρ and

    S_i = √(σ_i² + s²),   A_i = s/S_i,   a_i = σ_i/S_i,   T_j, B_j, b_j the same of t,
    x = ρ A_i B_j,        y = √(1 − x²) = √(a_i² + A_i² (b_j² + B_j² sin² θ)),

the expectation E[f(u) f(v)] of their even or odd part is the sum over i and j of p_i p_j/(2π) times

    step     arcsin x
    density  1/(S_i T_j y)
    ramp     S_i T_j (y + x arcsin x)
    gated    s t (ρ arcsin x + A_i B_j (sin² θ + ρ² (a_i² + b_j²))/y)
    slope    arcsin x + ρ A_i B_j (a_i² + b_j² + a_i² b_j²/y²)/y

by Stein's lemma, as for a single normal distribution (erf, ReLU, GELU). Nothing here cancels, and
no square overflows. In powers of ρ all coefficients have one sign, and are products of those of u
and of v: these are their coefficients in Hermite polynomials (Mehler's formula).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np
from numba import njit

from fastntk.infinite.duals.half_angle import angle_factor

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array
    from fastntk.infinite.duals.logistic.mixture import Mixture

STEP, DENSITY, RAMP, GATED, GATED_SLOPE = range(5)

# Which of them have an odd part beside the lead; the others have an even one.
ODD: Final = (True, False, False, False, True)


@njit(nogil=True, cache=True)
def shares(function: int, s: float, mixture: Mixture, out: Array) -> None:
    """Write a_i, A_i and the weights with which the parts of one sample enter: (3, k)."""
    for i in range(len(mixture.deviations)):
        size = math.hypot(mixture.deviations[i], s)
        out[0, i] = mixture.deviations[i] / size
        out[1, i] = s / size
        weight = mixture.weights[i]
        if function == DENSITY:
            weight /= size
        elif function in (RAMP, GATED):
            weight *= size
        out[2, i] = weight


@njit(nogil=True, cache=True, fastmath={"contract"})
def expectation(function: int, rho: float, square_sine: float, left: Array, right: Array) -> float:
    """Return E[f(u) f(v)], of the even or odd part of one of the functions.

    Parameters
    ----------
    function : int
        `STEP`, `DENSITY`, `RAMP`, `GATED` or `GATED_SLOPE`.
    rho, square_sine : float
        ρ ≥ 0, and sin² θ = 1 − ρ².
    left, right : ndarray (3, k)
        The `shares` of u and of v.
    """
    total = 0.0
    k = left.shape[1]
    for i in range(k):
        a2, size, weight = left[0, i] ** 2, left[1, i], left[2, i]
        part = 0.0
        for j in range(k):
            b2, product = right[0, j] ** 2, size * right[1, j]
            x = rho * product
            y2 = a2 + size * size * (b2 + right[1, j] ** 2 * square_sine)
            y = math.sqrt(y2)
            if function == DENSITY:
                value = 1 / y
            else:
                # arccos x, with v = sin² of half of it
                v = 0.5 * y2 / (1 + x)
                angle = math.pi * (0.5 - math.sqrt(v) * angle_factor(v))
                if function == STEP:
                    value = angle
                elif function == RAMP:
                    value = y + x * angle
                elif function == GATED:
                    peak = square_sine + rho * rho * (a2 + b2)
                    value = product * (rho * angle + product * peak / y)
                else:
                    value = angle + x * (a2 + b2 + a2 * b2 / y2) / y
            part += right[2, j] * value
        total += weight * part
    return total / (2 * math.pi)


@njit(nogil=True, cache=True)
def squares(function: int, deviations: Array, mixture: Mixture) -> Array:
    """Return E[f(u)²] of samples."""
    own = np.empty((3, len(mixture.deviations)))
    result = np.empty_like(deviations)
    for n in range(len(deviations)):
        shares(function, deviations[n], mixture, own)
        result[n] = expectation(function, 1.0, 0.0, own, own)
    return result


@njit(nogil=True, cache=True, fastmath={"contract", "reassoc"})
def coefficients(function: int, deviations: Array, mixture: Mixture, terms: int) -> Array:
    """Return |a_m| with E[f(u) f(v)] = Σ_m a_m(s) a_m(t) ρ^{2m}, times ρ where f is odd.

    Parameters
    ----------
    function : int
        `STEP`, `DENSITY`, `RAMP`, `GATED` or `GATED_SLOPE`.
    deviations : ndarray (n,)
        Standard deviations of samples.
    mixture : Mixture
        The mixture.
    terms : int
        How many m, from 0.

    Returns
    -------
    ndarray (n, terms)
    """
    k = len(mixture.deviations)
    own = np.empty((3, k))
    result = np.empty((len(deviations), terms))
    odd = function in (STEP, GATED_SLOPE)
    gated = function in (GATED, GATED_SLOPE)
    factors, inverse_degrees = np.empty((2, terms))
    central = 1 / (2 * math.pi)  # that of (1 − x²)^{−1/2}/(2π) at x^{2m}
    for m in range(terms):
        degree = 2 * m + 1 if odd else abs(2 * m - 1)
        factors[m] = math.sqrt(central)
        if function == STEP:
            factors[m] /= math.sqrt(degree)
        elif function == RAMP:
            factors[m] /= degree
        elif function == GATED_SLOPE:
            factors[m] *= math.sqrt(degree)
        inverse_degrees[m] = 1 / degree
        central *= (2 * m + 1) / (2 * m + 2)
    for n in range(len(deviations)):
        shares(function, deviations[n], mixture, own)
        for i in range(k):
            if odd:
                own[2, i] *= own[1, i]
            own[0, i] *= own[0, i]
            own[1, i] *= own[1, i]
        for m in range(terms):
            total, total_of_sines, next_total = 0.0, 0.0, 0.0
            for i in range(k):
                power = own[2, i]
                total += power
                total_of_sines += power * own[0, i]
                own[2, i] = power * own[1, i]
                next_total += own[2, i]
            if not gated:
                result[n, m] = factors[m] * total
            elif odd or m > 0:
                result[n, m] = factors[m] * (inverse_degrees[m] * total + total_of_sines)
            else:  # 1 − a² = A²
                result[n, m] = factors[m] * next_total
    return result
