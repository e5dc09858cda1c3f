# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Proved upper bounds of the spectral norm of a matrix of weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import scipy

from fastntk._support.rounding import UNIT, cholesky_error, gamma

if TYPE_CHECKING:
    from fastntk._support.dtypes import FloatArray

# Up to so many rows all eigenvalues of the Gram matrix cost next to nothing.
_DENSE = 128

# An estimate of λ_max is raised by the first, and where that is not enough by more.
_FIRST, _GROWTH, _MOST = 1.01, 1.1, 8


def spectral_norm(W: FloatArray) -> float:
    """Return an upper bound of ‖W‖₂, of W (m, n) in float64, which is above it by 1 % or so.

    With G = W Wᵀ or Wᵀ W, whichever is smaller, a Cholesky decomposition of σI − G that runs to its
    end proves that ‖W‖₂² ≤ σ but for rounding [1]_. It takes as long as some ten samples for each
    row of G pass through the layer. If none runs to its end, ‖W‖_F is returned.

    .. [1] S. M. Rump, "Verification of positive definiteness", BIT 46 (2006), Theorem 2.3.
    """
    largest = float(np.abs(W).max())
    if largest == 0 or not math.isfinite(largest):
        return largest
    power = math.frexp(largest)[1]
    W = np.ldexp(W, -power)  # exact; squares neither overflow nor vanish
    squares = float(np.einsum("ij,ij->", W, W)) * (1 + gamma(W.size))
    norm = math.sqrt(squares) * (1 + 4 * UNIT)
    wide = len(W) <= W.shape[1]
    G = W @ W.T if wide else W.T @ W
    m, terms = len(G), max(W.shape)
    sigma = _FIRST * _largest_eigenvalue(G)
    for _ in range(_MOST):
        shifted = -G
        shifted[np.diag_indices(m)] += sigma
        trace = float(np.trace(shifted))
        try:
            scipy.linalg.cholesky(shifted, lower=True, overwrite_a=True, check_finite=False)
        except np.linalg.LinAlgError:
            sigma *= _GROWTH
            continue
        # The decomposition, the diagonal that was shifted, and G itself are rounded.
        rounding = 2 * cholesky_error(m, trace) + 4 * UNIT * (sigma + squares)
        proved = sigma + rounding + gamma(terms) * squares
        norm = min(norm, math.sqrt(proved) * (1 + 4 * UNIT))
        break
    return math.ldexp(norm, power)


def _largest_eigenvalue(G: FloatArray) -> float:
    """Return about the largest eigenvalue of a positive semidefinite matrix."""
    m = len(G)
    if m <= _DENSE:
        return float(scipy.linalg.eigvalsh(G, check_finite=False)[-1])
    start = np.random.Generator(np.random.Philox(0)).standard_normal(m)
    values = scipy.sparse.linalg.eigsh(G, k=1, v0=start, tol=1e-3, return_eigenvectors=False)
    return float(values[0])
