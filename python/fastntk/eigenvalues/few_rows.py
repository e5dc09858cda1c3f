# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Both ends of the spectrum of a matrix of few rows, by one call of the core.

For such a matrix the calls of the general way take longer than the work. This one knows no second
attempt: what it cannot tell at once is left to the general way, as is every error.
"""

from __future__ import annotations

import math

import numpy as np

import fastntk._core as _core
from fastntk._support.dtypes import FLOAT_DTYPES, epsilon_of
from fastntk.eigenvalues.enclosures import MOST_ITERATIONS
from fastntk.eigenvalues.ends import Ends
from fastntk.eigenvalues.measures import Measures, Quotient
from fastntk.eigenvalues.result import Bounds, Interval
from fastntk.eigenvalues.source import random_vector
from fastntk.symmetric.block_lanczos import RitzPairs
from fastntk.symmetric.matrix import SymmetricMatrix

_NONE = np.empty((0, 0))


def ends_of_few_rows(
    K: object, epsilon: float | None, k: int, *, bounds: bool
) -> tuple[Measures, Ends] | None:
    """Return what is known of a matrix and of k eigenvalues at each end, without vectors.

    `epsilon` is that of the precision in which the matrix came, if K does not say.

    None if K is not an array of few rows, symmetric to the last bit and of moderate scale, as the
    core takes it, or has an end that no decomposition confirms at the first attempt.
    """
    array, epsilon = (K.array, K.epsilon) if isinstance(K, SymmetricMatrix) else (K, epsilon)
    if type(array) is not np.ndarray or array.ndim != 2 or len(array) > _core.few_rows:
        return None
    rows, columns = array.shape
    if not (k <= rows == columns and array.flags.c_contiguous and array.dtype in FLOAT_DTYPES):
        return None
    found = _core.few_rows_spectrum(array, k, random_vector(rows), MOST_ITERATIONS, bounds)
    if found is None:
        return None
    squares, low, high, lower_end, upper_end = found
    matrix = Measures(
        array.diagonal(),
        math.sqrt(squares),
        epsilon_of(array.dtype) if epsilon is None else epsilon,
    )
    exact = np.zeros(k)
    smallest, largest = (
        RitzPairs(np.array(low), _NONE, exact),
        RitzPairs(np.array(high), _NONE, exact),
    )
    shift, value, length = lower_end
    around = Interval(
        -shift - matrix.decomposition_error(shift), matrix.at_most(Quotient(value, length))
    )
    if upper_end is None:
        return matrix, Ends(smallest, largest, around, matrix.largest_diagonal)
    shift, value, length = upper_end
    top = Interval(
        matrix.at_least(Quotient(value, length)),
        shift + matrix.decomposition_error(shift, sign=-1),
    )
    return matrix, Ends.proved(smallest, largest, Bounds(around, top))
