# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The array types that the package takes and returns."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

FloatArray: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.float64]
FloatDType: TypeAlias = np.dtype[np.float32] | np.dtype[np.float64]

FLOAT_DTYPES: tuple[FloatDType, ...] = (np.dtype(np.float32), np.dtype(np.float64))
