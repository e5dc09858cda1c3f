# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The bytes of a file, decompressed, and whether they are the expected ones.

Nothing is inflated further than what is expected, or than what its header says and memory holds.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from typing import IO, TYPE_CHECKING, BinaryIO

from fastntk._support.files import regular_file

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk.datasets.catalogue import DataFile

# Deflate makes at most so many bytes out of one.
LARGEST_INFLATION = 1032


def opened(path: Path, argument: str = "name") -> BinaryIO:
    """Open a regular file that was found; the error for anything else says which it is."""
    try:
        return regular_file(path, argument)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_verified(path: Path, file: DataFile, title: str) -> bytes:
    """Return the decompressed bytes of a data set's file, which must be the expected ones."""
    with opened(path) as stream:
        content = (
            inflated(stream, file.size + 1, path)
            if path.suffix == ".gz"
            else stream.read(file.size + 1)
        )
    if len(content) != file.size or hashlib.sha256(content).hexdigest() != file.sha256:
        longer = " or more" if len(content) > file.size else ""
        raise ValueError(
            f"{path}: is damaged, or not the file of that name of {title}: expected {file.size} "
            f"bytes with the SHA-256 {file.sha256}, found {len(content)}{longer}; remove it, or "
            "put the right one there"
        )
    return content


def inflated(stream: IO[bytes], most: int, path: Path) -> bytes:
    """Return the bytes of a gzip file, at most so many of them."""
    try:
        with gzip.GzipFile(fileobj=stream) as archive:
            return archive.read(most)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: expected a gzip file: {error}") from error
