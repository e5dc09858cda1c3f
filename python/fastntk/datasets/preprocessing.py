# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What is done to samples before they are used, by name.

Results are in float64. Sums over samples are NumPy's own, which no number of threads changes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.memory import require_memory
from fastntk.devices import matrices

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk._support.dtypes import FloatArray
    from fastntk.datasets.dataset import RawSamples

PREPROCESSINGS = ("symmetric", "raw", "unit-norm", "standardized")

# Rows of which the sums of squares are taken at a time.
_ROWS = 4096

_SENTENCES = {
    "symmetric": "pixels from 0 to {largest:g} scaled to [-1, 1]",
    "raw": "as they are",
    "unit-norm": "each sample divided by its norm",
    "standardized": "each feature less its mean, over its standard deviation, both of the training "
    "samples; constant features are 0",
}


def sentence(how: str, raw: RawSamples) -> str:
    """Return what was done, for the description."""
    return _SENTENCES[how].format(largest=raw.largest)


def preprocessed(
    raw: RawSamples, how: str, training: Callable[[], Any], n: int | None, argument: str
) -> FloatArray:
    """Return the first n samples as a finite matrix of floats, preprocessed.

    Parameters
    ----------
    raw : RawSamples
    how : {"symmetric", "raw", "unit-norm", "standardized"}
    training : callable
        Returns the values of the training samples, from which "standardized" takes its numbers.
    n : int or None
    argument : str
        What the samples are called in errors.
    """
    values = matrices.real_matrix(raw.values[:n], f"{argument}: X")
    if how == "raw":
        X = matrices.samples(values, f"{argument}: X")
        # Samples own their numbers, and bytes that were read may not be written to.
        return X if X.flags.writeable else X.copy()
    if how == "symmetric" and raw.largest is None:
        raise ValueError(
            f"preprocessing='symmetric': the range of the numbers of {raw.name!r} is not known, "
            "for they are no pixels (bytes): expected 'raw', 'unit-norm' or 'standardized'"
        )
    # The result, and what is computed on the way from all of it at once.
    arrays = 4 if how == "standardized" else 2
    require_memory(
        arrays * 8 * values.size, f"{argument}: X of shape {values.shape}", "take fewer with n=…"
    )
    X = matrices.samples(values, f"{argument}: X", np.dtype(np.float64))
    if X is values:
        X = X.copy()
    if raw.largest is not None and how == "symmetric":
        X /= raw.largest / 2
        X -= 1.0
    elif how == "unit-norm":
        _divide_by_norms(X)
    else:
        _standardize(X, matrices.samples(training(), f"{argument}: X", X.dtype))
    return X


def _divide_by_norms(X: FloatArray) -> None:
    largest = np.abs(X).max(axis=1)
    if not largest.all():
        i = int(np.argmin(largest))
        raise ValueError(
            f"preprocessing='unit-norm': sample {i} is zero, and has no direction "
            f"({np.count_nonzero(largest == 0)} of {len(X)} are): expected 'raw', 'symmetric' or "
            "'standardized'"
        )
    # Scaled by powers of two, which are exact: no square leaves the range.
    exponents = np.frexp(largest)[1][:, np.newaxis]
    for first in range(0, len(X), _ROWS):
        rows = slice(first, first + _ROWS)
        scaled = np.ldexp(X[rows], -exponents[rows])
        X[rows] = scaled / np.sqrt(np.square(scaled).sum(axis=1, keepdims=True))


def _standardize(X: FloatArray, training: FloatArray) -> None:
    """Subtract the mean of each feature of the training samples, and divide by its deviation."""
    # Scaled by powers of two, as above: no difference, deviation or square leaves the range.
    exponents = np.frexp(np.abs(training).max(axis=0))[1]
    scaled = np.ldexp(training, -exponents)
    mean, deviation = scaled.mean(axis=0), scaled.std(axis=0)
    # A mean is rounded: a constant feature has a deviation of a few units in the last place.
    constant = training.min(axis=0) == training.max(axis=0)
    mean[constant], deviation[constant], exponents[constant] = training[0, constant], 1.0, 0
    np.ldexp(X, -exponents, out=X)
    X -= mean
    X /= deviation


def checked(preprocessing: object) -> str | None:
    """Return the name of a preprocessing, or None."""
    if preprocessing is None:
        return None
    return arguments.choice(preprocessing, "preprocessing", PREPROCESSINGS)
