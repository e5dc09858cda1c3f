# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What stands before the numbers in files of MATLAB's format 5 (and 7, which is 5 compressed).

`scipy.io.loadmat` looks up the type of the numbers in a table by what the file says, without a look
at whether the table is that long: one damaged bit can end the process. So it is looked at before.

After 128 bytes the file is a row of elements, each with a tag: its type and its length in words of
four bytes. That of a matrix holds elements itself: flags, dimensions, name, and the numbers. See
"MAT-File Level 5 File Format", The MathWorks.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15

# int8 to uint32, single, double, int64, uint64.
_NUMBERS = frozenset({*range(1, 8), 9, 12, 13})

# Matrices of floats and integers; others (cells, structures, texts, …) hold no samples.
_CLASSES = range(6, 16)
_COMPLEX = 0x800

# Flags, dimensions and name are shorter than that by far: names have at most 63 letters.
_MOST_BEFORE = 1024


class _Element(NamedTuple):
    """The type and the length of an element, and where its bytes begin and those of the next."""

    kind: int
    length: int
    first: int
    after: int


def require_readable(stream: Any, wanted: Collection[str]) -> None:
    """Raise ValueError if a matrix of numbers in a file says what `loadmat` would stumble over.

    So it is where one of those that are wanted is complex. Files of format 4 have no such tags.
    """
    header = stream.read(_HEADER)
    if 0 in header[:4]:  # what tells format 4 from the text that others begin with
        return
    order = "<" if header[126:128] == b"IM" else ">"
    while tag := stream.read(8):
        if len(tag) < 8:
            raise ValueError("it is damaged: it ends within a tag")
        kind, length = struct.unpack(order + "2I", tag)
        content = stream.read(min(length, _MOST_BEFORE))
        left = length - len(content)
        if kind == _COMPRESSED:
            matrix = zlib.decompressobj().decompress(content, _MOST_BEFORE)
            length = _element(matrix, 0, order).length
            _require_numbers(matrix[8:], length, order, wanted)
        elif kind == _MATRIX:
            _require_numbers(content, length, order, wanted)
        else:
            raise ValueError(f"it is damaged: expected a matrix, found an element of type {kind}")
        stream.seek(left, 1)


def _require_numbers(matrix: bytes, length: int, order: str, wanted: Collection[str]) -> None:
    """Raise ValueError if a matrix, of which the first bytes are given, has no plain numbers."""
    try:
        flags = struct.unpack_from(order + "I", matrix, 8)[0]
        if flags & 0xFF not in _CLASSES:
            return
        dimensions = _element(matrix, 16, order)
        called = _element(matrix, dimensions.after, order)
        numbers = _element(matrix, called.after, order)
    except struct.error as error:
        raise ValueError("it is damaged: a matrix ends within its tags") from error
    name = matrix[called.first : called.first + called.length].decode("latin1")
    if flags & _COMPLEX and name in wanted:
        raise ValueError(f"{name} has complex numbers: expected real ones")
    if numbers.kind not in _NUMBERS or numbers.first + numbers.length > length:
        raise ValueError(
            f"it is damaged: a matrix of {length} bytes is to have {numbers.length} bytes of the "
            f"type {numbers.kind}: expected numbers"
        )


def _element(matrix: bytes, at: int, order: str) -> _Element:
    (word,) = struct.unpack_from(order + "I", matrix, at)
    if word >> 16:  # up to four bytes, beside a tag of four
        return _Element(word & 0xFFFF, word >> 16, at + 4, at + 8)
    (length,) = struct.unpack_from(order + "I", matrix, at + 4)
    return _Element(word, length, at + 8, at + 8 + -(-length // 8) * 8)
