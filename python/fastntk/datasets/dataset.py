# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples, and what is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples and where they come from.

    Attributes
    ----------
    name : str
    X : ndarray (n, d)
        Samples, one a row.
    y : ndarray (n,) or None
        Labels from 0, where there are any.
    part : str
        "train" or "test".
    description : str
        Where the samples come from, under which licence, and what was done to them.
    preprocessing : str
        What was done to them, by the name that `load` takes.
    feature_names : tuple of str
        Of the columns of X; empty where they have none.
    label_names : tuple of str
        What label 0, 1, … stands for; empty where that is not known.
    sample_shape : tuple of int
        Of one sample, as (28, 28) of an image; empty where it is a mere list of d numbers.
    """

    name: str
    X: FloatArray
    y: npt.NDArray[np.int64] | None = None
    part: str = "train"
    description: str = ""
    preprocessing: str = "raw"
    feature_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    sample_shape: tuple[int, ...] = ()

    def __repr__(self) -> str:
        n, d = self.X.shape
        labels = "no labels" if self.y is None else f"{len(np.unique(self.y))} different labels"
        return f"<Dataset {self.name!r}, {self.part}: {n} samples of dimension {d}, {labels}>"


@dataclass(frozen=True, eq=False)
class RawSamples:
    """Samples as their file has them, before any preprocessing.

    Attributes
    ----------
    name : str
    values : ndarray (n, d)
    labels : ndarray (n,) or None
    source, licence : str
        For the description.
    usual : str
        The preprocessing if none is asked for.
    largest : float or None
        What pixels reach, from 0; None where the numbers are not pixels.
    """

    name: str
    values: Any
    labels: npt.NDArray[np.int64] | None = None
    source: str = ""
    licence: str = ""
    usual: str = "raw"
    largest: float | None = None
    feature_names: tuple[str, ...] = ()
    label_names: tuple[str, ...] = ()
    sample_shape: tuple[int, ...] = ()
