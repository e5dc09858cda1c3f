# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Data sets, and samples from files."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import _validation

if TYPE_CHECKING:
    import os

    import numpy.typing as npt

    from fastntk._typing import FloatArray

NAMES = ("digits",)


@dataclass(frozen=True)
class Dataset:
    """Samples and where they come from.

    Attributes
    ----------
    name : str
    X : ndarray (n, d)
        Samples, one a row.
    y : ndarray (n,) or None
        Labels from 0, where there are any.
    """

    name: str
    X: FloatArray
    y: npt.NDArray[np.int64] | None = None


def load(name: str) -> Dataset:
    """Return a data set by its name.

    Parameters
    ----------
    name : {"digits"}
        "digits": the 1797 images of 8 × 8 pixels that come with scikit-learn, pixels scaled to
        [−1, 1].

    Returns
    -------
    Dataset

    Examples
    --------
    >>> import fastntk
    >>> fastntk.datasets.load("digits").X.shape
    (1797, 64)
    """
    _validation.choice(name, "name", NAMES)
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return Dataset(name, digits.data / 8.0 - 1.0, digits.target.astype(np.int64))


def load_file(path: str | os.PathLike[str]) -> Dataset:
    """Return the samples in a file, one a row, as they are.

    Parameters
    ----------
    path : path-like
        ``.npy``: a matrix; ``.npz``: its array ``X``, or its only array; ``.csv``: numbers, with
        or without a line of column names.

    Returns
    -------
    Dataset
        Named after the file.

    Raises
    ------
    ValueError
        If the file is damaged, of another type, or does not hold a finite matrix.
    """
    file = Path(path)
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise ValueError(f"path={str(path)!r}: expected a file that ends in .npy, .npz or .csv")
    try:
        values = reader(file)
    except FileNotFoundError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"path={str(path)!r}: cannot be read as samples: {error}") from error
    return Dataset(file.stem, _validation.samples(values, str(file)))


def _read_npy(file: Path) -> Any:
    with file.open("rb") as stream:
        return np.load(stream, allow_pickle=False)


def _read_npz(file: Path) -> Any:
    with file.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        if "X" in archive.files:
            return archive["X"]
        if len(archive.files) == 1:
            return archive[archive.files[0]]
        raise ValueError(f"expected an array named X, found {archive.files}")


def _read_csv(file: Path) -> Any:
    import pandas as pd

    frame = pd.read_csv(file, header=None, dtype=str, keep_default_na=False)
    first_row = pd.to_numeric(frame.iloc[0], errors="coerce")
    if first_row.isna().all():
        frame = frame.iloc[1:]
    return frame.to_numpy().astype(np.float64)
