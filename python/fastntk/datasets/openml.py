# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Tables that `sklearn.datasets.fetch_openml` has kept in the data home of scikit-learn.

They are read from its cache, without scikit-learn: that would ask the network for what is missing
there. OpenML has all parts of a data set in one table, the training images first, pixels as
integers; whether it is the very data set is known by the digests of the files that its parts would
have made.
"""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fastntk.datasets import idx
from fastntk.datasets.contents import inflated, opened
from fastntk.datasets.optional import library

if TYPE_CHECKING:
    import numpy.typing as npt

    from fastntk.datasets.catalogue import FileSet

# A pixel takes at most four bytes of text, with its comma.
_LONGEST_CELL = 4
_LONGEST_HEADER = 2**20


def contents(files: FileSet, part: str) -> tuple[list[bytes], str] | None:
    """Return the contents that the files of a part have, and where they were found.

    None if the table is not there, or not of this data set.
    """
    path = None if files.openml is None else _kept(files.openml)
    if path is None:
        return None
    table = _table(path, files)
    if table is None:
        return None
    sizes = [files.parts[each][1].size - idx.bytes_before(1) for each in ("train", "test")]
    rows = slice(0, sizes[0]) if part == "train" else slice(sizes[0], sum(sizes))
    images = table[rows, :-1].reshape(-1, *files.sample_shape)
    found = [idx.written(images), idx.written(table[rows, -1])]
    for content, file in zip(found, files.parts[part], strict=True):
        if hashlib.sha256(content).hexdigest() != file.sha256:
            return None
    return found, str(path)


def _kept(number: int) -> Path | None:
    home = Path(os.environ.get("SCIKIT_LEARN_DATA", "~/scikit_learn_data")).expanduser()
    folder = home / "openml" / "openml.org" / "data" / "v1" / "download"
    # The path of the address that it came from, which OpenML has written in two ways.
    paths = (*sorted(folder.glob(f"{number}/*.gz")), folder / f"{number}.gz")
    return next((path for path in paths if path.is_file()), None)


def _table(path: Path, files: FileSet) -> npt.NDArray[np.uint8] | None:
    """Return the numbers of an ARFF file, one row a line; None if they are not such ones."""
    columns = 1 + int(np.prod(files.sample_shape))
    samples = sum(part[1].size for part in files.parts.values())
    most = _LONGEST_CELL * columns * samples + _LONGEST_HEADER
    try:
        with opened(path) as stream:
            text = inflated(stream, most, path)
        start = text.lower().index(b"@data")
        pandas = library("pandas", "a table of OpenML", "fastntk[study]")
        frame = pandas.read_csv(
            io.BytesIO(text[text.index(b"\n", start) + 1 :]), header=None, dtype=np.uint8
        )
    except (ValueError, OSError):
        return None
    return frame.to_numpy() if frame.shape[1] == columns else None
