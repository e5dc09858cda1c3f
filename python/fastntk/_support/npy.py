# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Headers of arrays as NumPy writes them, read before the numbers are."""

from __future__ import annotations

import math
import tokenize
from typing import IO, Any, NamedTuple

import numpy as np

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


# NumPy refuses longer ones, but only when it has read them: four bytes may promise 4 GiB, of which
# an archive has room for in four MiB.
_LONGEST = 10_000


class _Beginning:
    """A file of which nobody reads more at a time than a header may have."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int) -> bytes:
        """Return so many bytes."""
        if size > _LONGEST:
            raise ValueError(f"its header is to have {size} bytes: expected at most {_LONGEST}")
        return self._file.read(size)


class NpyHeader(NamedTuple):
    """What stands before the numbers of an array: how many there are, and of which kind."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    bytes_before: int

    @property
    def bytes_of_data(self) -> int:
        """The bytes of the numbers, those that there should be."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_npy_header(file: IO[bytes]) -> NpyHeader:
    """Read the header that `file` begins with; whatever is wrong with it is a ValueError."""
    beginning: Any = _Beginning(file)
    try:
        shape, _, dtype = _READERS[np.lib.format.read_magic(beginning)](beginning)
    except KeyError as error:
        raise ValueError(f"the array in it has the unknown version {error} of .npy") from error
    # NumPy takes a damaged header for one of Python 2, and its tokens apart.
    except (EOFError, SyntaxError, TypeError, tokenize.TokenError) as error:
        raise ValueError(f"the header of the array in it is damaged: {error}") from error
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"the array in it has shape {shape} and dtype {dtype}")
    return NpyHeader(shape, dtype, file.tell())
