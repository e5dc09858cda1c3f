# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The samples that a command is given: a data set by its name, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk.datasets import NAMES, WITH_TEST_PART, Dataset, load, load_file

if TYPE_CHECKING:
    import numpy.typing as npt

# The paper's experiments on convergence have all 60 000 samples; these take minutes.
_TRAINING_SAMPLES = 10_000


def load_samples(data: str, subset: int | None) -> Dataset:
    """Return the samples of a data set or file, or a subset of them."""
    dataset = load(data) if data in NAMES else _from_file(data)
    if subset is None:
        return dataset
    rows, _ = _drawn(subset, len(dataset.X))
    labels = None if dataset.y is None else dataset.y[rows]
    return Dataset(dataset.name, dataset.X[rows], labels)


def load_for_training(data: str, subset: int | None) -> tuple[Any, Any, tuple[Any, Any] | None]:
    """Return samples to train on and their labels, and others to test with if there are any."""
    dataset = load(data)
    labels = np.asarray(dataset.y)
    total = len(labels)
    count = min(_TRAINING_SAMPLES, 4 * total // 5) if subset is None else subset
    rows, others = _drawn(count, total)
    test: Any = (dataset.X[others], labels[others]) if len(others) else None
    if data in WITH_TEST_PART:
        part = load(data, "test")
        test = part.X, part.y
    return dataset.X[rows], labels[rows], test


def _drawn(subset: int, total: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return which samples are in a subset, drawn at random, and which are not; ascending."""
    if not 2 <= subset <= total:
        raise ValueError(f"subset={subset}: expected from 2 to the {total} samples")
    order = np.random.default_rng(0).permutation(total)
    return np.sort(order[:subset]), np.sort(order[subset:])


def _from_file(data: str) -> Dataset:
    if not Path(data).suffix:
        known = ", ".join(NAMES)
        raise ValueError(f"data={data!r}: expected {known}, or a .npy, .npz or .csv file")
    return load_file(data)
