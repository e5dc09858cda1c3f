# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How closely results must agree: one table, by precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

# Relative to the largest entry of what is expected: sums of up to some thousand products.
RTOL = {np.dtype(np.float32): 2e-5, np.dtype(np.float64): 1e-12}


def assert_close(actual: Any, expected: Any, dtype: npt.DTypeLike) -> None:
    """Assert that two arrays agree as far as arithmetic in `dtype` can make them."""
    reference: npt.NDArray[Any] = np.asarray(expected)
    largest = float(np.abs(reference).max()) if reference.size else 0.0
    np.testing.assert_allclose(actual, reference, rtol=0, atol=RTOL[np.dtype(dtype)] * largest)
