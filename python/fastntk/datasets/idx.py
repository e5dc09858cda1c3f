# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""IDX files, the format of MNIST: http://yann.lecun.com/exdb/mnist.

Two bytes of zeros, one for the type of the numbers, one for how many dimensions there are; then
the dimensions in words of four bytes, then the numbers, all with the most significant byte first.
The package idx2numpy reads them too; its last release is of 2020 and stands on Python 2's `six`.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.files import regular_file
from fastntk._support.memory import require_memory
from fastntk.datasets.contents import LARGEST_INFLATION
from fastntk.datasets.dataset import RawSamples

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk.datasets.options import ReadOptions

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}

# train-images-idx3-ubyte, train-images.idx3-ubyte, samples.idx; each also compressed.
_NAME = re.compile(r".*([-.]idx\d+-[a-z]+|\.idx)(\.gz)?", re.IGNORECASE)
_KINDS = re.compile(r"images([-.])idx\d+")


def is_idx(file: Path) -> bool:
    """Return whether a file has the name of one in this format."""
    return _NAME.fullmatch(file.name) is not None


def bytes_before(dimensions: int) -> int:
    """Return the length of a header."""
    return 4 + 4 * dimensions


def written(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Return the file that holds an array of bytes."""
    return struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape) + array.tobytes()


def read_array(stream: Any, most: int) -> np.ndarray[Any, np.dtype[Any]]:
    """Return the array in a stream, of which there are at most so many bytes.

    Raises
    ------
    ValueError
        If the stream is not in this format, or shorter or longer than its header says.
    """
    magic = stream.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise ValueError(f"expected an IDX file: it begins with {magic!r}")
    words = stream.read(4 * magic[3])
    if len(words) < 4 * magic[3]:
        raise ValueError(f"it ends within its header, which is to have {magic[3]} dimensions")
    shape, dtype = struct.unpack(f">{magic[3]}I", words), np.dtype(_TYPES[magic[2]])
    needed = math.prod(shape) * dtype.itemsize
    if needed > most:
        raise ValueError(f"an array of shape {shape} and {dtype} is more than such a file can hold")
    require_memory(needed, f"an array of shape {shape}", "use a machine with more")
    content = stream.read(needed)
    if len(content) < needed or stream.read(1):
        found = "more" if len(content) == needed else f"{len(content)}"
        raise ValueError(f"expected {needed} bytes for an array of shape {shape}, found {found}")
    return np.frombuffer(content, dtype).reshape(shape)


def read_file(file: Path, options: ReadOptions) -> RawSamples:
    """Return the samples of a file, and their labels if the file of these lies beside it.

    That is the one of the same name with "labels" for "images" and one dimension, as MNIST has it.
    """
    options.require_only((), "an IDX file")
    array = _array(file, options.argument)
    pixels = array.dtype == np.uint8
    labels = _labels_beside(file, options.argument)
    if labels is not None and len(labels) != len(array):
        raise ValueError(
            f"the file of its labels has {len(labels)}, but there are {len(array)} samples: "
            "expected as many; remove the file that is not its own"
        )
    return RawSamples(
        name=re.sub(r"\.gz$", "", file.name),
        values=array.reshape(len(array), math.prod(array.shape[1:])) if len(array) else array,
        labels=labels,
        source=f"the IDX file {file}",
        largest=255.0 if pixels else None,
        sample_shape=array.shape[1:] if array.ndim > 2 else (),
    )


def _array(file: Path, argument: str) -> np.ndarray[Any, np.dtype[Any]]:
    with regular_file(file, argument) as stream:
        size = os.fstat(stream.fileno()).st_size
        if file.suffix.lower() != ".gz":
            return read_array(stream, size)
        try:
            with gzip.GzipFile(fileobj=stream) as archive:
                return read_array(archive, LARGEST_INFLATION * size)
        except zlib.error as error:
            raise ValueError(f"expected a gzip file: {error}") from error


def _labels_beside(file: Path, argument: str) -> np.ndarray[Any, np.dtype[np.int64]] | None:
    name, found = _KINDS.subn(r"labels\1idx1", file.name)
    if not found:
        return None
    stem = re.sub(r"\.gz$", "", name)
    paths = (file.with_name(each) for each in (name, stem, f"{stem}.gz"))
    path = next((each for each in paths if each.exists()), None)
    if path is None:
        return None
    try:
        labels = _array(path, argument)
    except (ValueError, EOFError, gzip.BadGzipFile) as error:
        raise ValueError(f"the file of its labels, {path}: {error}") from error
    if labels.ndim != 1 or labels.dtype != np.uint8:
        raise ValueError(f"{path} has shape {labels.shape}: expected one label for each sample")
    return labels.astype(np.int64)
