# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The array types that the package takes and returns."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

# float32 or float64: which of them is a matter of run time.
FloatArray: TypeAlias = npt.NDArray[Any]
FloatDType: TypeAlias = np.dtype[Any]


_DOUBLE = np.dtype(np.float64)
_EPSILON = float(np.finfo(np.float64).eps)


def epsilon_of(dtype: np.dtype[Any]) -> float:
    """Return the distance from 1 to the next number that what comes in this type was rounded to.

    Integers and truth values, which are exact, are worked on in float64, as are longer floats.
    """
    if dtype.kind != "f" or dtype == _DOUBLE:
        return _EPSILON
    return max(_EPSILON, float(np.finfo(dtype).eps))


FLOAT_DTYPES: tuple[FloatDType, ...] = (np.dtype(np.float32), np.dtype(np.float64))

# The smallest normal number of each: to ask NumPy takes as long as to look at a small array.
SMALLEST_NORMAL = {dtype: float(np.finfo(dtype).tiny) for dtype in FLOAT_DTYPES}
