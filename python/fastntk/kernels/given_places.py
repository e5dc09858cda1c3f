# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels that are written where a user wants them: into an array that is given, or a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.files import replacing, require_free, reserve

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from fastntk._support.dtypes import FloatArray, FloatDType


def asks_for_packed(out: object) -> bool:
    """Return whether `out` is the word for a `PackedKernel`."""
    return isinstance(out, str) and out == "packed"


def written_to(
    out: FloatArray | str | os.PathLike[str],
    shape: tuple[int, int],
    dtype: FloatDType,
    write: Callable[[FloatArray], object],
    *,
    overwrite: bool,
) -> FloatArray:
    """Return `out`, an array, or the map of a file of this name, that `write` has filled.

    Parameters
    ----------
    out : ndarray or path-like
        Where the kernel is to go. A file appears under its name when it is complete; one that is
        there is replaced only with `overwrite`, and otherwise an error before any work.
    shape, dtype
        Those of the kernel.
    write : callable
        Fills an array of the shape and type.
    overwrite : bool
    """
    if not isinstance(out, np.ndarray):
        return _written_to_file(out, shape, dtype, write, overwrite=overwrite)
    if out.shape != shape or out.dtype != dtype or not out.flags.writeable:
        raise ValueError(
            f"out has shape {out.shape} and dtype {out.dtype}"
            f"{'' if out.flags.writeable else ', and is read-only'}: expected a writable array "
            f"of shape {shape} and dtype {dtype}"
        )
    if _overlaps(out):
        raise ValueError(
            f"out has strides {out.strides}: expected an array whose elements do not share "
            "memory with each other"
        )
    write(out)
    return out


def _overlaps(out: FloatArray) -> bool:
    """Return whether elements of an array lie on each other, as with strides of 0."""
    reach = out.itemsize
    for stride, length in sorted((abs(s), n) for s, n in zip(out.strides, out.shape, strict=True)):
        if length > 1 and stride < reach:
            return True
        reach += stride * (length - 1)
    return False


def _written_to_file(
    out: str | os.PathLike[str],
    shape: tuple[int, int],
    dtype: FloatDType,
    write: Callable[[FloatArray], object],
    *,
    overwrite: bool,
) -> FloatArray:
    """Write a file, which appears under its name when it is complete."""
    try:
        name = arguments.path(out, "out", ".npy")
    except (TypeError, ValueError) as error:
        raise type(error)(f"{error}, or an array, or 'packed'") from None
    with replacing(name, "out") as temporary:
        # Looked at when no other thread writes there: what that leaves is not overwritten either.
        require_free(name, "out", overwrite=overwrite)
        with temporary.open("w+b") as file:
            header = np.lib.format.header_data_from_array_1_0(np.empty(0, dtype))
            np.lib.format.write_array_header_1_0(file, header | {"shape": shape})
            reserve(file, file.tell() + math.prod(shape) * dtype.itemsize)
        written: Any = np.lib.format.open_memmap(temporary, mode="r+")
        write(written)
        written.flush()
    # The file was mapped before it got its name. To open that anew could give another kernel: that
    # of a thread or process which has written to the same name since.
    written.filename = str(Path(name).absolute())
    result: FloatArray = written
    return result
