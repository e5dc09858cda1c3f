# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The double of `cupyx.scipy.linalg`; see that of `cupy`."""

from __future__ import annotations

from typing import Any

import numpy as np
from cupy._array import ndarray
from scipy.linalg import blas


def solve_triangular(
    a: Any,
    b: Any,
    trans: Any = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = False,
) -> Any:
    """By cuBLAS's trsm, which reads one triangle. `a` is copied unless in Fortran's order.

    The result is in Fortran's order, in the memory of `b` if that may be overwritten and is so too.
    No error where the matrix is singular.
    """
    if not (isinstance(a, ndarray) and isinstance(b, ndarray)):
        raise np.linalg.LinAlgError("cupy.linalg only supports cupy.ndarray")
    if a.shape[0] != a.shape[1]:
        raise ValueError("expected square matrix")
    if len(a) != len(b):
        raise ValueError("incompatible dimensions")
    a = a.astype(a.dtype, order="F", copy=False)
    result = b.astype(a.dtype, order="F", copy=not overwrite_b)
    columns = result._host.reshape(len(b), -1)
    with np.errstate(all="ignore"):
        columns[...] = blas.dtrsm(
            1.0,
            a._host,
            columns,
            lower=int(lower),
            trans_a={"N": 0, "T": 1, "C": 1}.get(trans, trans),
            diag=int(unit_diagonal),
        )
    return result
