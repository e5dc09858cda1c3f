# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Headers of arrays as NumPy writes them, read before the numbers are."""

from __future__ import annotations

import math
import tokenize
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from typing import Any

_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


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
    try:
        shape, _, dtype = _READERS[np.lib.format.read_magic(file)](file)
    except KeyError as error:
        raise ValueError(f"the array in it has the unknown version {error} of .npy") from error
    # NumPy takes a damaged header for one of Python 2, and its tokens apart.
    except (EOFError, SyntaxError, TypeError, tokenize.TokenError) as error:
        raise ValueError(f"the header of the array in it is damaged: {error}") from error
    if dtype.hasobject or min(shape, default=0) < 0:
        raise ValueError(f"the array in it has shape {shape} and dtype {dtype}")
    return NpyHeader(shape, dtype, file.tell())
