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
from fastntk.datasets.labels import (
    array_of_labels,
    array_of_samples,
    as_labels,
    required_labels,
)

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk.datasets.options import ReadOptions


def read_npy(file: Path, options: ReadOptions) -> RawSamples:
    """Return the samples of a file with one array."""
    options.require_only((), "a .npy file")
    with regular_file(file, options.argument) as stream:
        values = _with_rows(_array(stream, os.fstat(stream.fileno()).st_size))
    return _raw(file, values, None)


def read_npz(file: Path, options: ReadOptions) -> RawSamples:
    """Return the samples of an archive, and its labels."""
    options.require_only(("label",), "a .npz file")
    with regular_file(file, options.argument) as stream, zipfile.ZipFile(stream) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        names = list(members)
        chosen = array_of_labels(options.label, names)
        # An only array has samples, whatever its name is.
        chosen = None if len(names) == 1 else chosen
        values = _with_rows(_member(archive, members[array_of_samples(chosen, names)]))
        found = None if chosen is None else _member(archive, members[chosen])
    if found is None:
        return _raw(file, values, None)
    if options.label is None:  # targets that are no integers are left out
        if found.ndim == 1 and len(found) != len(values):
            raise ValueError(
                f"its array y has {len(found)} elements, but there are {len(values)} samples: "
                "expected as many; leave it out with label=False"
            )
        labels = as_labels(found, len(values))
        if labels is None and found.dtype.kind in "biu":
            raise ValueError(
                f"its array y of shape {found.shape} and {found.dtype} is taken for labels: "
                f"expected integers from 0, one for each of {len(values)} samples; if it is "
                "something else, say so with label=False"
            )
        return _raw(file, values, labels)
    return _raw(file, values, required_labels(found, len(values), str(chosen)))


def _raw(file: Path, values: Any, labels: Any) -> RawSamples:
    return RawSamples(
        name=file.stem,
        values=values,
        labels=labels,
        source=f"the file {file}",
        largest=255.0 if values.dtype == np.uint8 else None,
    )


def _with_rows(values: Any) -> Any:
    """Return an array that has rows, whose number labels are to have, too."""
    if values.ndim == 0:
        raise ValueError("its array is a single number: expected a matrix, one sample a row")
    return values


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
