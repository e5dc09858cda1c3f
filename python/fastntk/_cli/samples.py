# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The samples that a command is given: a data set by its name, or a file; and its options."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import click
import numpy as np

from fastntk.datasets import PREPROCESSINGS, WITH_TEST_PART, Dataset, load

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray

# The paper's experiments on convergence have all 60 000 samples; these take minutes.
_TRAINING_SAMPLES = 10_000


@dataclass(frozen=True)
class Reading:
    """How samples are read: the arguments of `fastntk.datasets.load` that commands have too."""

    preprocessing: str | None = None
    label: str | int | bool | None = None
    index: str | int | bool | None = None

    def called(self, name: str, drawn: int | None) -> str:
        """Return what samples are called in tables: by their name, and by what was asked for.

        `drawn` is how many of them were drawn at random, None where all were taken.
        """
        parts = [name] if self.preprocessing is None else [name, self.preprocessing]
        for option, column in (("label", self.label), ("index", self.index)):
            if column is not None:
                parts.append(f"{option} {'none' if column is False else column}")
        return ", ".join(parts if drawn is None else [*parts, f"subset of {drawn}"])


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of how samples are read, which the command has as one argument `reading`."""

    @functools.wraps(command)
    def wrapped(
        preprocessing: str | None, label: str | None, index: str | None, **others: Any
    ) -> Any:
        return command(reading=Reading(preprocessing, _column(label), _column(index)), **others)

    for option in (
        click.option(
            "--index", help="Column of a table that counts the rows and is left out, or none."
        ),
        click.option(
            "--label",
            show_default="the one that is named so",
            help="Column of a table with the labels: name, number from 0, or none.",
        ),
        click.option(
            "--preprocessing",
            type=click.Choice(PREPROCESSINGS),
            show_default="symmetric for images, standardized for speech, else raw",
            help="symmetric: pixels in [-1, 1]; unit-norm: of samples; standardized: features.",
        ),
    ):
        wrapped = option(wrapped)
    return wrapped


def _column(text: str | None) -> str | int | bool | None:
    if text is None or text.lower() == "none":
        return None if text is None else False
    return int(text) if re.fullmatch("-?[0-9]{1,9}", text) else text


class Training(NamedTuple):
    """Samples with labels to train on, and others to test with if there are any.

    `called` is what tables call them.
    """

    name: str
    called: str
    X: FloatArray
    y: npt.NDArray[np.int64]
    test: tuple[FloatArray, Any] | None


def load_samples(
    data: str, reading: Reading, subset: int | None, most: int | None = None
) -> tuple[Dataset, str]:
    """Return the samples of a data set or file, or a subset of them, and what tables call them.

    By default there are at most `most` of them.
    """
    dataset = _load(data, reading)
    if subset is None and most is not None and len(dataset.X) > most:
        subset = most
    called = reading.called(dataset.name, subset)
    if subset is None:
        return dataset, called
    rows, _ = _drawn(subset, len(dataset.X))
    labels = None if dataset.y is None else dataset.y[rows]
    return replace(dataset, X=dataset.X[rows], y=labels), called


def load_for_training(data: str, reading: Reading, subset: int | None) -> Training:
    """Return some of the samples to train on; those of the part "test", or the others, to test."""
    dataset = _load(data, reading)
    if dataset.y is None:
        raise ValueError(f"data={data!r}: has no labels: expected a data set with labels")
    total = len(dataset.y)
    count = min(_TRAINING_SAMPLES, 4 * total // 5) if subset is None else subset
    rows, others = _drawn(count, total)
    test = (dataset.X[others], dataset.y[others]) if len(others) else None
    if dataset.name in WITH_TEST_PART and dataset.name == data:
        part = load(data, "test", **vars(reading))
        test = part.X, np.asarray(part.y)
    called = reading.called(dataset.name, count)
    return Training(dataset.name, called, dataset.X[rows], dataset.y[rows], test)


def _load(data: str, reading: Reading) -> Dataset:
    try:
        return load(data, **vars(reading))
    except (TypeError, ValueError, OSError, MemoryError) as error:
        # The argument of the command is DATA, not `name`.
        text = str(error)
        if text.startswith("name="):
            raise type(error)(f"data{text.removeprefix('name')}") from error
        if isinstance(error, OSError) and str(error.strerror).startswith("name: "):
            error.strerror = f"data{str(error.strerror).removeprefix('name')}"
        raise


def _drawn(subset: int, total: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Return which samples are in a subset, drawn at random, and which are not; ascending."""
    if not 2 <= subset <= total:
        raise ValueError(f"subset={subset}: expected from 2 to the {total} samples")
    order = np.random.default_rng(0).permutation(total)
    return np.sort(order[:subset]), np.sort(order[subset:])
