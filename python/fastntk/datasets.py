# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Data sets, and samples from files."""

from __future__ import annotations

import gzip
import hashlib
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.files import regular_file
from fastntk.devices import matrices

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk._support.dtypes import FloatArray

__all__ = ["NAMES", "WITH_TEST_PART", "Dataset", "load", "load_file"]

NAMES = ("digits", "fashion-mnist")
# Those that have a part "test".
WITH_TEST_PART = ("fashion-mnist",)

# Where the files of a data set are looked for: a directory of the user's choice, then that of the
# Debian package dataset-fashion-mnist.
_DIRECTORY_VARIABLE = "FASTNTK_DATA"
_SYSTEM_DIRECTORY = Path("/usr/share/datasets")

# The names of columns of labels in files, and what stands for a missing number.
_LABELS = ("label", "labels", "target", "class")
_MISSING = ("na", "n/a", "null", "none", "<na>", "-")

# Distributors compress the files anew: the hashes are those of the decompressed bytes.
_FASHION_MNIST = {
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
_PARTS = {"train": "train-", "test": "t10k-"}  # how the names of its files begin


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


def load(name: str, part: str = "train") -> Dataset:
    """Return a data set by its name.

    Parameters
    ----------
    name : {"digits", "fashion-mnist"}
        "digits": the 1797 images of 8 × 8 pixels that come with scikit-learn. "fashion-mnist": the
        60 000 training images of 28 × 28 pixels, from the files of the Debian package
        ``dataset-fashion-mnist`` or from ``$FASTNTK_DATA/fashion-mnist``. Pixels are scaled to
        [−1, 1].
    part : {"train", "test"}
        "test": the 10 000 test images of "fashion-mnist"; the digits have none.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        If the files are not there; the message says how to get them.
    ValueError
        If there is no such data set, or a file is damaged.

    Examples
    --------
    >>> import fastntk
    >>> fastntk.datasets.load("digits").X.shape
    (1797, 64)
    """
    name = arguments.choice(name, "name", NAMES)
    prefix = _PARTS[arguments.choice(part, "part", tuple(_PARTS))]
    if part == "test" and name not in WITH_TEST_PART:
        raise ValueError(f"part={part!r}: expected 'train'; the {name} have no other part")
    if name == "fashion-mnist":
        images, labels = (
            _verified(name, file, digest)
            for file, digest in _FASHION_MNIST.items()
            if file.startswith(prefix)
        )
        # IDX: a magic number and the dimensions, in words of four bytes, then the bytes themselves.
        pixels = np.frombuffer(images, dtype=np.uint8, offset=16).reshape(-1, 28 * 28)
        y = np.frombuffer(labels, dtype=np.uint8, offset=8).astype(np.int64)
        return Dataset(name, pixels / 127.5 - 1.0, y)
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return Dataset(name, digits.data / 8.0 - 1.0, digits.target.astype(np.int64))


def _verified(dataset: str, name: str, digest: str) -> bytes:
    """Return the decompressed bytes of a data set's file, which must be the expected ones."""
    chosen = os.environ.get(_DIRECTORY_VARIABLE)
    directories = [Path(chosen)] if chosen else []
    for directory in (*directories, _SYSTEM_DIRECTORY):
        file = directory / dataset / f"{name}.gz"
        if not file.exists():
            continue
        try:
            content = gzip.decompress(file.read_bytes())
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{file}: expected a gzip file: {error}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError(f"{file}: is damaged, or not the file of that name of {dataset}")
        return content
    raise FileNotFoundError(
        f"{name}.gz of {dataset} is not there: install the Debian package dataset-{dataset}, or "
        f"put the file into the directory {dataset} of the directory that {_DIRECTORY_VARIABLE} "
        "names"
    )


def load_file(path: str | os.PathLike[str]) -> Dataset:
    """Return the samples in a file, one a row, as they are.

    Parameters
    ----------
    path : path-like
        ``.npy``: a matrix; ``.npz``: its array ``X``, or its only array; ``.csv``: numbers, with
        or without a line of column names. A column that is named "label", "labels", "target" or
        "class" is taken for the labels.

    Returns
    -------
    Dataset
        Named after the file.

    Raises
    ------
    ValueError
        If the file is damaged, of another type, or does not hold a finite matrix. A first column
        without a name, which is the index that pandas writes, is refused.
    """
    file = Path(arguments.path(path, "path"))
    readers = {".npy": _read_npy, ".npz": _read_npz, ".csv": _read_csv}
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise ValueError(f"path={str(file)!r}: expected a file that ends in .npy, .npz or .csv")
    try:
        values, labels = reader(file)
    except FileNotFoundError:
        raise
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"path={str(file)!r}: cannot be read as samples: {error}") from error
    return Dataset(file.stem, matrices.samples(values, f"path={str(file)!r}: X"), labels)


def _read_npy(file: Path) -> tuple[Any, None]:
    with regular_file(file, "path") as stream:
        return np.load(stream, allow_pickle=False), None


def _read_npz(file: Path) -> tuple[Any, None]:
    with regular_file(file, "path") as stream, np.load(stream, allow_pickle=False) as archive:
        if "X" in archive.files:
            return archive["X"], None
        if len(archive.files) == 1:
            return archive[archive.files[0]], None
        raise ValueError(f"expected an array named X, found {archive.files}")


def _read_csv(file: Path) -> tuple[Any, Any]:
    import pandas as pd

    with regular_file(file, "path") as stream:
        # Texts as they are, and blank lines: a row of missing values is not to be passed over.
        frame = pd.read_csv(
            stream, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False
        ).fillna("")
    while len(frame) and (frame.iloc[-1] == "").all():
        frame = frame.iloc[:-1]
    if len(frame) == 0:
        raise ValueError("it is empty")
    first_row = frame.iloc[0].str.strip()
    if not all(map(_is_name, first_row)) or (first_row == "").all():
        return _numbers(frame, [f"column {k + 1}" for k in range(len(first_row))]), None
    if first_row.iloc[0] == "":
        raise ValueError(
            "its first column has no name, as the index of a table of pandas: expected columns of "
            "numbers only; write it with index=False"
        )
    names = first_row.tolist()
    numbers = _numbers(frame.iloc[1:], [f"column {name!r}" for name in names])
    labelled = [k for k, name in enumerate(names) if name.lower() in _LABELS]
    if not labelled:
        return numbers, None
    if len(labelled) > 1:
        raise ValueError(f"it has several columns of labels: {[names[k] for k in labelled]}")
    labels = numbers[:, labelled[0]]
    if not (np.isfinite(labels) & (labels == np.rint(labels)) & (labels >= 0)).all():
        raise ValueError(
            f"its column {names[labelled[0]]!r} is taken for labels: expected integers from 0; "
            "give it another name if it is a coordinate of the samples"
        )
    return np.delete(numbers, labelled, axis=1), labels.astype(np.int64)


def _is_name(cell: str) -> bool:
    """Return whether a cell of the first line is the name of a column: no number, and not NaN."""
    return not _is_number(cell) and cell.lower() not in _MISSING


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _numbers(frame: Any, columns: list[str]) -> npt.NDArray[np.float64]:
    """Return the numbers of a table of texts; ValueError with the first cell that is none."""
    texts = frame.to_numpy()
    try:
        numbers: npt.NDArray[np.float64] = texts.astype(np.float64)
    except ValueError:
        i, k = next(at for at, cell in np.ndenumerate(texts) if not _is_number(cell))
        raise ValueError(
            f"{columns[k]} has {texts[i, k]!r} in row {i + 1} of the samples: expected a number"
        ) from None
    return numbers
