# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Packed kernels in files: an array as NumPy writes it and, behind it, what tells of damage.

`numpy.load` reads such a file, and takes no notice of what follows the array: an object of JSON (in
UTF-8) with the SHA-256 of each block of the bytes before it and the precision that the numbers came
in, and a last piece of 64 bytes: the SHA-256 of the JSON, its length (little-endian, 8 bytes) and a
name (24 bytes). A file that ends with the array, as earlier versions wrote them, has no checksum,
and one without a precision came in that of the array.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fastntk._support.dtypes import epsilon_of
from fastntk._support.files import regular_file, replacing
from fastntk._support.memory import require_memory
from fastntk._support.npy import NpyHeader, read_npy_header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastntk._support.dtypes import FloatArray

_VERSION = 1
_NAME = b"fastntk packed kernel".ljust(24, b"\0")
_END = struct.Struct("<32sQ24s")
# Bytes that have a checksum of their own in files that are written; each file says how many.
_BLOCK = 2**22


def write_packed(
    path: str, data: FloatArray, epsilon: float, description: dict[str, Any] | None
) -> None:
    """Write an array of one dimension with its checksums, completely or not at all."""
    with replacing(path) as temporary, temporary.open("w+b") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(data))
        file.seek(0)
        header = file.read()
        file.seek(0)
        digests = []
        for block in _blocks(header, data, _BLOCK):
            digests.append(hashlib.sha256(block).hexdigest())
            file.write(block)
        trailer = {
            "version": _VERSION,
            "block_bytes": _BLOCK,
            "sha256": digests,
            "epsilon": epsilon,
            "description": description,
        }
        encoded = json.dumps(trailer).encode()
        file.write(encoded)
        file.write(_END.pack(hashlib.sha256(encoded).digest(), len(encoded), _NAME))


def read_packed(
    path: str,
    *,
    mmap: bool,
    verify: bool,
    description: dict[str, Any] | None,
) -> tuple[FloatArray, float]:
    """Return the array of a file, or a map of it, and the epsilon of what its numbers came in.

    ValueError if it is damaged or another one.
    """
    with regular_file(path, "path") as file:
        header = read_npy_header(file)
        end = header.bytes_before + header.bytes_of_data
        trailer = _trailer(file, end)
        if description is not None and trailer.get("description") != description:
            raise ValueError(
                f"it is the kernel of {trailer.get('description')}: expected that of "
                f"description={description}"
            )
        file.seek(0)
        before = file.read(header.bytes_before)
        data: FloatArray
        if mmap:
            data = np.memmap(
                file, header.dtype, mode="r", offset=header.bytes_before, shape=header.shape
            )
        else:
            require_memory(header.bytes_of_data, f"the kernel in {path!r}", "give mmap=True")
            count = header.bytes_of_data // header.dtype.itemsize
            data = np.fromfile(file, header.dtype, count).reshape(header.shape)
    if verify and trailer:
        _verify(before, data, trailer)
    return data, float(trailer.get("epsilon", epsilon_of(header.dtype)))


def holds_packed(path: str, data: FloatArray, description: dict[str, Any] | None) -> bool:
    """Return whether a file holds an array of this shape and what it is said to be of.

    That is the description, or, without one, the numbers themselves.
    """
    try:
        with regular_file(path, "path") as file:
            header = read_npy_header(file)
            trailer = _trailer(file, header.bytes_before + header.bytes_of_data)
            if header.shape != data.shape or trailer.get("description", object()) != description:
                return False
            return description is not None or _holds_numbers(file, header, data)
    except (OSError, ValueError, LookupError):
        return False


def _holds_numbers(file: BinaryIO, header: NpyHeader, data: FloatArray) -> bool:
    """Return whether the numbers in a file, which is read block by block, are these."""
    if header.dtype != data.dtype:
        return False
    file.seek(header.bytes_before)
    return all(file.read(len(block)) == block for block in _blocks(b"", data, _BLOCK))


def _blocks(header: bytes, data: FloatArray, size: int) -> Iterator[memoryview]:
    """Cut the bytes of a file, header and numbers, into blocks; the header is in the first."""
    numbers = memoryview(data).cast("B")  # type: ignore[arg-type]
    first = size - len(header)
    yield memoryview(header + bytes(numbers[:first]))
    for start in range(first, len(numbers), size):
        yield numbers[start : start + size]


def _trailer(file: BinaryIO, end: int) -> dict[str, Any]:
    """Return what follows the array, which ends at `end`; nothing in files of earlier versions."""
    size = os.fstat(file.fileno()).st_size
    if size < end:
        raise ValueError(f"it has {size} bytes of {end}: the end is missing")
    if size == end:
        return {}
    damaged = "what follows the array is damaged, or of something else"
    if size < end + _END.size:
        raise ValueError(damaged)
    file.seek(size - _END.size)
    digest, length, name = _END.unpack(file.read(_END.size))
    if name != _NAME or length != size - _END.size - end:
        raise ValueError(damaged)
    file.seek(end)
    encoded = file.read(length)
    if hashlib.sha256(encoded).digest() != digest:
        raise ValueError(damaged)
    trailer: dict[str, Any] = json.loads(encoded)
    if trailer["version"] != _VERSION:
        raise ValueError(
            f"it has version {trailer['version']!r} of the format; expected {_VERSION}"
        )
    return trailer


def _verify(header: bytes, data: FloatArray, trailer: dict[str, Any]) -> None:
    expected, size = trailer["sha256"], int(trailer["block_bytes"])
    if size < len(header):
        raise ValueError(
            f"it has a checksum for each {size} bytes: expected at least the {len(header)} of its "
            "header"
        )
    for i, block in enumerate(_blocks(header, data, size)):
        if i >= len(expected) or hashlib.sha256(block).hexdigest() != expected[i]:
            raise ValueError(
                f"the checksum of its bytes from {i * size} on does not match: the file is damaged"
            )
