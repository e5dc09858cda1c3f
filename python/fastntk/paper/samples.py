# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The samples of figures: data sets by name, and files."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments
from fastntk.datasets import NAMES, WITH_TEST_PART, Dataset, load

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastntk._support.dtypes import FloatArray
    from fastntk.studies.convergence_cells import Labels

_SEED = 0


@dataclass(frozen=True, eq=False)
class Split:
    """Samples of a data set to train on, and others to test with, with their labels."""

    name: str
    X: FloatArray
    y: Labels
    test: tuple[FloatArray, Labels]

    @property
    def n_test(self) -> int:
        """How many samples test."""
        return len(self.test[0])


def samples(data: str, preprocessing: str | None = None) -> Dataset:
    """Return a data set by its name, or samples from a file."""
    name = arguments.text(data, "data")
    if name not in NAMES and "." not in name and "/" not in name:
        known = ", ".join(map(repr, NAMES))
        raise ValueError(f"data={data!r}: expected {known}, or a .npy, .npz or .csv file")
    try:
        return load(name, preprocessing=preprocessing)
    except ValueError as error:
        raise ValueError(f"data={arguments.shown(name)}: {error}") from error
    except OSError as error:
        error.strerror = f"data: {str(error.strerror).removeprefix('name: ')}"
        raise


def names_apart(data: Sequence[str]) -> dict[str, str]:
    """Return what each of some data sets is called, so that no two are called the same.

    Their own names, as a rule. Files of the same name have as much of their folders before it as
    tells them apart (`a/x.csv` and `b/x.csv`: "a-x" and "b-x"), or their endings behind it.

    Raises
    ------
    ValueError
        If one of them is given twice.
    """
    own = {each: samples(each).name for each in data}
    names = {each: _name_among(each, own) for each in own}
    if len(set(names.values())) < len(data):
        raise ValueError(f"data={arguments.shown(data)}: expected each data set only once")
    return names


def _name_among(data: str, own: Mapping[str, str]) -> str:
    depth = len(_folders(data))
    for folders, ending in itertools.product(range(depth + 1), (False, True)):
        names = {each: _spelled(each, own[each], folders, ending) for each in own}
        if list(names.values()).count(names[data]) == 1:
            return names[data]
    return own[data]


def _spelled(data: str, own: str, folders: int, ending: bool) -> str:
    """Return a name with so many folders before it; that of a file also with its ending."""
    if data in NAMES:
        return own
    last = Path(data).name.replace(".", "-") if ending else own
    every = _folders(data)
    return "-".join((*every[max(0, len(every) - folders) :], last))


def _folders(data: str) -> tuple[str, ...]:
    """Return the folders that a file is in, from the top."""
    return Path(os.path.abspath(data)).parts[1:-1]  # noqa: PTH100  (which collapses "..")


def has_labels(data: str) -> bool:
    """Return whether networks can be trained on a data set."""
    return samples(data).y is not None


def part_of(dataset: Dataset, most: int | None) -> Dataset:
    """Return a data set, or as many of its samples drawn at random, in their order."""
    if most is None or len(dataset.X) <= most:
        return dataset
    rows = np.sort(np.random.default_rng(_SEED).permutation(len(dataset.X))[:most])
    labels = None if dataset.y is None else dataset.y[rows]
    return replace(dataset, X=dataset.X[rows], y=labels)


def raw_pixels(data: str, most: int | None) -> Dataset:
    """Return samples (see `part_of`), pixels as the files have them: as the authors take angles.

    Samples that are no pixels have their usual preprocessing.
    """
    dataset = samples(data)
    if dataset.preprocessing == "symmetric":
        dataset = samples(data, "raw")
    return part_of(dataset, most)


def images(data: str, most: int | None) -> np.ndarray | None:
    """Return samples (see `part_of`) as pictures, (n, height, width); None if they are none."""
    dataset = raw_pixels(data, most)
    if len(dataset.sample_shape) < 2:
        return None
    return dataset.X.reshape(-1, *dataset.sample_shape)


def split(data: str, most: int | None) -> Split:
    """Return samples to train on, at most so many, and others to test with.

    Those of the data set's own part for it or, where there is none, a fifth of the samples.
    """
    dataset = samples(data)
    if dataset.y is None:
        raise ValueError(f"data={data!r}: expected a data set with labels, to train on")
    order = np.random.default_rng(_SEED).permutation(len(dataset.X))
    if data in WITH_TEST_PART:
        held_out = load(data, "test")
        test = held_out.X, np.asarray(held_out.y)
        training = order[:most]
    else:
        count = len(order) // 5
        rest = np.sort(order[:count])
        test = dataset.X[rest], dataset.y[rest]
        training = order[count:][:most]
    rows = np.sort(training)
    return Split(dataset.name, dataset.X[rows], dataset.y[rows], test)
