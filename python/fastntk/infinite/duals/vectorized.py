# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the compiled loops over pairs share: functions without branches, which are vectorized.

With a = arctan s of each sample, covariances come in as sines and cosines, all of them of size 1 at
most: for k = cov(u, v) and m = √((1 + s²)(1 + t²)),

    sin ψ = k/m = sin a sin b ρ,
    cos² ψ = (m² − k²)/m² = cos² a + sin² a cos² b + (sin a sin b)² (1 − ρ)(1 + ρ) .
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

from fastntk.infinite.duals.half_angle import arc_factor

if TYPE_CHECKING:
    from fastntk.infinite.duals.base import Array


def arc_samples(s: Array) -> Array:
    """Return sin a and cos a for each sample (2, n)."""
    length = np.hypot(1, s)
    return np.stack([s / length, 1 / length])


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def correlation(near: float, far: float) -> float:
    """Return ρ from 1 − ρ and 1 + ρ."""
    return 1.0 - near if near <= far else far - 1.0


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def arc_cosine(sine: float, cosine: float, other: float, share: float, across: float) -> float:
    """Return cos ψ from sin a, cos a, cos b, sin a sin b and (1 − ρ)(1 + ρ)."""
    part = sine * other
    return math.sqrt(cosine * cosine + part * part + share * share * across)


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def arc_angle(sine: float, cosine: float) -> float:
    """Return ψ/π from sin ψ and cos ψ ≥ 0."""
    return sine * arc_factor(0.5 - 0.5 * cosine)


def _generate_bits(context: Any, x: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


def _generate_number(context: Any, x: Any) -> Any:  # noqa: ARG001
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


# A number's bits as an integer, and the number with these bits.
_bits: Any = intrinsic(_generate_bits)
_from_bits: Any = intrinsic(_generate_number)

_LEAST = -708.0  # exp is 3e-308
_LOG2 = math.log2(math.e)
_LN2_HIGH = 0.693147180369123816490  # with 21 zero bits at the end
_LN2_LOW = 1.90821492927058770002e-10
_ROUND = 1.5 * 2.0**52  # added to a small number, rounds it to an integer, in the last bits
_ONE = 1023 << 52  # the bits of 1
# Of (exp(r) − 1 − r)/r²: it interpolates this at 10 Chebyshev points of |r| ≤ ½ log 2.
EXP_COEFFICIENTS: Final = (
    0.5000000000000001,
    0.16666666666666669,
    0.04166666666662416,
    0.008333333333330065,
    0.0013888888917198419,
    0.00019841269863041851,
    2.480152131972762e-05,
    2.7557268478279004e-06,
    2.762007713646922e-07,
    2.51003767988125e-08,
)
_C = EXP_COEFFICIENTS


@njit(nogil=True, cache=True, fastmath={"contract"}, error_model="numpy")
def exp_parts(x: float) -> tuple[float, float]:
    """Return two numbers for x ≤ 0: exp(x) is their sum, and exp(x) − 1 that and the second less 1.

    x = n log 2 + r with an integer n: the second is 2^n, the first 2^n (exp(r) − 1), by a
    polynomial of degree 11 with a relative error below 5e-17 (the tests redo this).
    """
    x = max(x, _LEAST)
    shifted = x * _LOG2 + _ROUND
    n = shifted - _ROUND
    r = (x - n * _LN2_HIGH) - n * _LN2_LOW
    scale = _from_bits((_bits(shifted) << 52) + _ONE)
    r2 = r * r
    r4 = r2 * r2
    low = (_C[0] + r * _C[1]) + r2 * (_C[2] + r * _C[3])
    middle = (_C[4] + r * _C[5]) + r2 * (_C[6] + r * _C[7])
    high = _C[8] + r * _C[9]
    return scale * (r + r2 * (low + r4 * (middle + r4 * high))), scale
