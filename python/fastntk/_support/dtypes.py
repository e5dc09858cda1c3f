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

FLOAT_DTYPES: tuple[FloatDType, ...] = (np.dtype(np.float32), np.dtype(np.float64))
