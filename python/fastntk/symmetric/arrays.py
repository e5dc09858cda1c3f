# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Arrays of NumPy or CuPy: long vectors stay where the matrix is, small ones go to the host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


def on_host(values: Any) -> npt.NDArray[np.float64]:
    """Return an array of NumPy: the given one, or a copy of one of CuPy."""
    result: npt.NDArray[np.float64] = values if isinstance(values, np.ndarray) else values.get()
    return result
