# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples in files of NumPy: ``.npy`` and ``.npz``."""

from __future__ import annotations

import os
import zipfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from fastntk._support.files import regular_file
from fastntk._support.memory import require_memory
from fastntk._support.npy import read_npy_header
from fastntk.datasets.dataset import RawSamples

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk.datasets.options import ReadOptions


def read_npy(file: Path, options: ReadOptions) -> RawSamples:
    """Return the samples of a file with one array."""
    options.require_only((), "a .npy file")
    with regular_file(file, options.argument) as stream:
        values = _array(stream, os.fstat(stream.fileno()).st_size)
    return _raw(file, values, None)


def read_npz(file: Path, options: ReadOptions) -> RawSamples:
    """Return the samples of an archive, and its labels."""
    options.require_only(("label",), "a .npz file")
    with (
        regular_file(file, options.argument) as stream,
        zipfile.ZipFile(stream) as archive,
    ):
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        chosen = "y" if options.label is None else options.label
        if options.label not in {None, False} and chosen not in members:
            raise ValueError(f"label={chosen!r}: expected one of the arrays {sorted(members)}")
        others = [name for name in members if options.label is None or name != chosen]
        if "X" not in members and len(others) != 1:
            raise ValueError(f"expected an array named X, found {sorted(members)}")
        values = _member(archive, members["X" if "X" in members else others[0]])
        labels = None
        if "X" in members or options.label is not None:
            labels = _member(archive, members[str(chosen)]) if chosen in members else None
    if labels is not None and not _are_labels(labels, len(values)):
        if options.label is not None:
            raise ValueError(
                f"label={chosen!r}: expected integers from 0, one for each of {len(values)} "
                f"samples; the array has shape {labels.shape} and dtype {labels.dtype}"
            )
        labels = None  # targets of another kind
    return _raw(file, values, None if labels is None else labels.astype(np.int64))


def _raw(file: Path, values: Any, labels: Any) -> RawSamples:
    return RawSamples(
        name=file.stem,
        values=values,
        labels=labels,
        source=f"the file {file}",
        largest=255.0 if values.dtype == np.uint8 else None,
    )


def _are_labels(array: Any, n: int) -> bool:
    return bool(array.shape == (n,) and array.dtype.kind in "iu" and n and array.min() >= 0)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Any:
    with archive.open(info) as stream:
        return _array(stream, info.file_size)


def _array(stream: IO[bytes], size: int) -> Any:
    """Return the array in a stream of so many bytes, as its header has to say."""
    header = read_npy_header(stream)
    stated = header.bytes_before + header.bytes_of_data
    if stated != size:
        raise ValueError(
            f"it has {size} bytes, but its header (shape {header.shape}, {header.dtype}) makes "
            f"that {stated}"
        )
    require_memory(header.bytes_of_data, f"an array of shape {header.shape}", "take fewer samples")
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)
