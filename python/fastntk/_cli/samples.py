# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The samples that a command is given: a data set by its name, or a file."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fastntk.datasets import WITH_TEST_PART, Dataset, load

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray

# The paper's experiments on convergence have all 60 000 samples; these take minutes.
_TRAINING_SAMPLES = 10_000


class Training(NamedTuple):
    """Samples with labels to train on, and others to test with if there are any."""

    name: str
    X: FloatArray
    y: npt.NDArray[np.int64]
    test: tuple[FloatArray, Any] | None


def load_samples(data: str, preprocessing: str | None, subset: int | None) -> Dataset:
    """Return the samples of a data set or file, or a subset of them."""
    dataset = _load(data, preprocessing)
    if subset is None:
        return dataset
    rows, _ = _drawn(subset, len(dataset.X))
    labels = None if dataset.y is None else dataset.y[rows]
    return replace(dataset, X=dataset.X[rows], y=labels)


def load_for_training(data: str, preprocessing: str | None, subset: int | None) -> Training:
    """Return some of the samples to train on; those of the part "test", or the others, to test."""
    dataset = _load(data, preprocessing)
    if dataset.y is None:
        raise ValueError(f"data={data!r}: has no labels: expected a data set with labels")
    total = len(dataset.y)
    count = min(_TRAINING_SAMPLES, 4 * total // 5) if subset is None else subset
    rows, others = _drawn(count, total)
    test = (dataset.X[others], dataset.y[others]) if len(others) else None
    if dataset.name in WITH_TEST_PART and dataset.name == data:
        part = load(data, "test", preprocessing=preprocessing)
        test = part.X, np.asarray(part.y)
    return Training(dataset.name, dataset.X[rows], dataset.y[rows], test)


def _load(data: str, preprocessing: str | None) -> Dataset:
    try:
        return load(data, preprocessing=preprocessing)
    except ValueError as error:
        # The argument of the command is DATA, not `name`.
        text = str(error)
        raise ValueError(re.sub("^name=", "data=", text)) from error


def _drawn(subset: int, total: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return which samples are in a subset, drawn at random, and which are not; ascending."""
    if not 2 <= subset <= total:
        raise ValueError(f"subset={subset}: expected from 2 to the {total} samples")
    order = np.random.default_rng(0).permutation(total)
    return np.sort(order[:subset]), np.sort(order[subset:])
