# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Limits of infinite depth, beyond that of infinite width."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk._support.memory import require_memory

if TYPE_CHECKING:
    from numpy.typing import NDArray


def limit_angle() -> float:
    """Return the angle between gradients at infinite depth: arccos(1/4) = 75.52°.

    For ReLU and all other piecewise linear activations with a kink, without biases, whatever the
    angle of the samples, unless they are parallel.

    Returns
    -------
    float

    References
    ----------
    .. [1] C. Liu, H. Bi, L. Hui, X. Liu, arXiv 2305.08813, Theorem 3.5.

    Examples
    --------
    >>> import math
    >>> from fastntk import infinite
    >>> round(math.degrees(infinite.limit_angle()), 4)
    75.5225
    """
    return math.acos(0.25)


def limit_kernel(n: int) -> NDArray[np.float64]:
    """Return the normalized kernel of n samples at infinite depth: 1, and 1/4 off the diagonal.

    Parameters
    ----------
    n : int
        Number of samples, no two of them parallel.

    Returns
    -------
    ndarray (n, n)

    Examples
    --------
    >>> from fastntk import infinite
    >>> infinite.limit_kernel(2)
    array([[1.  , 0.25],
           [0.25, 1.  ]])
    """
    n = arguments.integer(n, "n", minimum=1)
    require_memory(8 * n * n, f"n={n}: the kernel of {n} × {n}", "ask for fewer samples")
    result = np.full((n, n), 0.25)
    np.fill_diagonal(result, 1.0)
    return result


def limit_condition_number(n: int) -> float:
    """Return the condition number of `limit_kernel`: 1 + n/3, or 1 for a single sample.

    Parameters
    ----------
    n : int
        Number of samples, no two of them parallel.

    Returns
    -------
    float

    Examples
    --------
    >>> from fastntk import infinite
    >>> infinite.limit_condition_number(300)
    101.0
    """
    n = arguments.integer(n, "n", minimum=1)
    return 1.0 if n == 1 else 1 + n / 3
