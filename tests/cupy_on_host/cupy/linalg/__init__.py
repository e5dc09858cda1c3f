# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""`cupy.linalg`, which calls cuSOLVER: only arrays on the GPU are taken."""

from __future__ import annotations

from typing import Any

import numpy as np
from cupyx._ufunc_config import get_config_linalg
from scipy.linalg import lapack

from cupy._array import apply, ndarray


def _check(*arrays: Any, square: bool = True) -> None:
    for array in arrays:
        if not isinstance(array, ndarray):
            raise np.linalg.LinAlgError("cupy.linalg only supports cupy.ndarray")
        if square and array.shape[-1] != array.shape[-2]:
            raise np.linalg.LinAlgError("Last 2 dimensions of the array must be square")


def cholesky(a: Any) -> Any:
    """L of the lower triangle. A failure is an error only under errstate(linalg="raise").

    Otherwise cuSOLVER's devInfo is not looked at, and what it left in memory is returned; here NaN
    from the pivot that is not positive.
    """
    _check(a)
    factor, info = lapack.dpotrf(a.astype(np.float64)._host, lower=1, clean=1)
    if info > 0 and get_config_linalg() == "raise":
        raise np.linalg.LinAlgError(
            f"Error reported by dpotrf in cuSOLVER. devInfo = [{info}]. Please refer to the "
            "cuSOLVER documentation."
        )
    if info > 0:
        factor[info - 1 :, info - 1 :] = np.nan
    return ndarray._of(np.ascontiguousarray(factor, dtype=a.dtype))


def eigh(a: Any, UPLO: str = "L") -> Any:  # noqa: N803
    """Eigenvalues ascending, and eigenvectors in columns, by syevd."""
    _check(a)
    values, vectors = np.linalg.eigh(a._host, UPLO)  # type: ignore[call-overload]
    return ndarray._of(values), ndarray._of(np.asfortranarray(vectors))


def eigvalsh(a: Any, UPLO: str = "L") -> Any:  # noqa: N803
    """Eigenvalues ascending, by syevd."""
    _check(a)
    return ndarray._of(np.linalg.eigvalsh(a._host, UPLO))  # type: ignore[call-overload]


def qr(a: Any, mode: str = "reduced") -> Any:
    """Q is a transposed array, in Fortran's order."""
    _check(a, square=False)
    q, r = np.linalg.qr(a._host, mode)  # type: ignore[call-overload]
    return ndarray._of(np.asfortranarray(q)), ndarray._of(np.asfortranarray(r))


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:  # noqa: A002
    """An array, of 0 dimensions without `axis`; squares are made in a copy."""
    copy = x * x
    del copy
    return apply(np.linalg.norm, x, ord=ord, axis=axis, keepdims=keepdims)
