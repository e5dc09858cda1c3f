# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The functions of an angle that the kernels of activations need.

With v = sin²(ε/2) in [0, 1/2], so that the angle ε is at most π/2,

    ε = π √v · angle_factor(v) = π sin ε · arc_factor(v),
    sin ε − ε cos ε = π v √v · deficit_factor(v).

The factors are analytic in v up to v = 1, hence polynomials to all digits; forming sin ε − ε cos ε
from its two terms would lose all of them at small ε. The coefficients interpolate the functions at
19, 21 and 18 Chebyshev points of [0, 1/2], computed in 60 digits; relative error below 7e-17, so
that only the rounding of the evaluation remains (the tests redo both statements). Where sin ε is
at hand, the second form of ε takes no root, and v needs no more than its absolute digits.

The polynomials are summed as four interleaved ones in v⁴: short chains of dependent operations,
which is what keeps a core's multiply-add units busy.
"""

from __future__ import annotations

from typing import Final

from numba import njit

ANGLE_COEFFICIENTS: Final = (
    0.6366197723675814,
    0.1061032953945862,
    0.04774648293012664,
    0.0284205253100545,
    0.01934175862172034,
    0.014242193209712971,
    0.011054444897088705,
    0.008787546584130976,
    0.008397653054530151,
    -0.0016561904327901946,
    0.05011223430260762,
    -0.18899365755121583,
    0.6418411145069239,
    -1.585743975926583,
    2.955232852791724,
    -3.9656954686852686,
    3.6656189813375657,
    -2.0874336798522144,
    0.5661398754212812,
)

ARC_COEFFICIENTS: Final = (
    0.3183098861837907,
    0.21220659078917858,
    0.16976527263580107,
    0.14551309031139373,
    0.1293450011993469,
    0.11758515507437206,
    0.10857062888963726,
    0.10079007877355164,
    0.1019474852415895,
    0.02676214728886929,
    0.5544767588136745,
    -2.592227526334072,
    11.988845958765637,
    -41.360897259065815,
    112.30390161822494,
    -234.20639035312587,
    370.0346937171317,
    -428.0324644122765,
    343.3630918434539,
    -171.16495541658276,
    40.44418701021034,
)

DEFICIT_COEFFICIENTS: Final = (
    0.8488263631567751,
    0.0848826363156822,
    0.027283704529032192,
    0.012631344775214751,
    0.007033358578229209,
    0.004382428659647406,
    0.0029440634241017305,
    0.002114562340108277,
    0.00134525492072802,
    0.0025195203473248827,
    -0.005635592347876795,
    0.02495562073139833,
    -0.06619013632495001,
    0.1365859684996282,
    -0.1988128321343354,
    0.19957965569483233,
    -0.12251498942288691,
    0.03617952371851371,
)

_A = ANGLE_COEFFICIENTS
_B = DEFICIT_COEFFICIENTS
_F = ARC_COEFFICIENTS


@njit(nogil=True, cache=True, fastmath={"contract"})
def angle_factor(v: float) -> float:
    """Return ε / (π √v)."""
    v2 = v * v
    v4 = v2 * v2
    p0 = _A[0] + v4 * (_A[4] + v4 * (_A[8] + v4 * (_A[12] + v4 * _A[16])))
    p1 = _A[1] + v4 * (_A[5] + v4 * (_A[9] + v4 * (_A[13] + v4 * _A[17])))
    p2 = _A[2] + v4 * (_A[6] + v4 * (_A[10] + v4 * (_A[14] + v4 * _A[18])))
    p3 = _A[3] + v4 * (_A[7] + v4 * (_A[11] + v4 * _A[15]))
    return (p0 + v * p1) + v2 * (p2 + v * p3)


@njit(nogil=True, cache=True, fastmath={"contract"})
def arc_factor(v: float) -> float:
    """Return ε / (π sin ε)."""
    v2 = v * v
    v4 = v2 * v2
    p0 = _F[0] + v4 * (_F[4] + v4 * (_F[8] + v4 * (_F[12] + v4 * (_F[16] + v4 * _F[20]))))
    p1 = _F[1] + v4 * (_F[5] + v4 * (_F[9] + v4 * (_F[13] + v4 * _F[17])))
    p2 = _F[2] + v4 * (_F[6] + v4 * (_F[10] + v4 * (_F[14] + v4 * _F[18])))
    p3 = _F[3] + v4 * (_F[7] + v4 * (_F[11] + v4 * (_F[15] + v4 * _F[19])))
    return (p0 + v * p1) + v2 * (p2 + v * p3)


@njit(nogil=True, cache=True, fastmath={"contract"})
def deficit_factor(v: float) -> float:
    """Return (sin ε − ε cos ε) / (π v √v)."""
    v2 = v * v
    v4 = v2 * v2
    p0 = _B[0] + v4 * (_B[4] + v4 * (_B[8] + v4 * (_B[12] + v4 * _B[16])))
    p1 = _B[1] + v4 * (_B[5] + v4 * (_B[9] + v4 * (_B[13] + v4 * _B[17])))
    p2 = _B[2] + v4 * (_B[6] + v4 * (_B[10] + v4 * _B[14]))
    p3 = _B[3] + v4 * (_B[7] + v4 * (_B[11] + v4 * _B[15]))
    return (p0 + v * p1) + v2 * (p2 + v * p3)
