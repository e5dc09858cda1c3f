# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples from a path: which reader a file is for, by its name."""

from __future__ import annotations

import os
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from fastntk.datasets import arrays, idx, mat, speech, tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk.datasets.dataset import RawSamples
    from fastntk.datasets.options import ReadOptions

_READERS: dict[str, Callable[[Path, ReadOptions], RawSamples]] = {
    ".npy": arrays.read_npy,
    ".npz": arrays.read_npz,
    ".csv": tables.read_file,
    ".mat": mat.read_file,
}
EXPECTED = "a .npy, .npz, .csv, .mat or IDX file"

try:
    from lzma import LZMAError
except ImportError:  # this Python has been built without, and reads no such archives
    LZMAError = zipfile.BadZipFile  # type: ignore[assignment,misc]

_DAMAGE = (
    ValueError,
    OSError,
    EOFError,
    RuntimeError,  # a member of an archive that is encrypted
    zlib.error,
    LZMAError,
    zipfile.BadZipFile,
)


def is_path(value: str) -> bool:
    """Return whether a text can only be meant for a path: a known ending, a separator, or there."""
    path = Path(value)
    return bool(path.suffix) or len(path.parts) > 1 or idx.is_idx(path) or _is_folder(path)


def _is_folder(path: Path) -> bool:
    # Path.is_dir raises for a name that is too long: whoever opens the file says so with the
    # argument's name.
    return os.path.isdir(path)  # noqa: PTH112


def read(path: str, options: ReadOptions) -> RawSamples:
    """Return the samples of a file, or of a folder of audio.

    Raises
    ------
    ValueError
        If the file is damaged, or of another kind than its name says.
    OSError
        If it is not there or may not be read.
    """
    file, what = Path(path), f"{options.argument}={path!r}"
    if _is_folder(file):
        return speech.read_folder(file, options)
    reader = idx.read_file if idx.is_idx(file) else _READERS.get(file.suffix.lower())
    if reader is None:
        raise ValueError(
            f"{what}: expected a file that ends in .npy, .npz, .csv or .mat, an IDX file (as "
            "train-images-idx3-ubyte.gz), or a folder of audio"
        )
    try:
        return reader(file, options)
    except (FileNotFoundError, PermissionError):
        raise
    except MemoryError as error:
        raise MemoryError(f"{what}: {error}") from error
    except _DAMAGE as error:
        text = str(error).strip()  # pandas ends some of its messages with a new line
        raise ValueError(f"{what}: cannot be read as samples: {text}") from error
