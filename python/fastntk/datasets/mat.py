# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples in files of MATLAB, up to its format 7, read by `scipy.io.loadmat`; SVHN is of this kind.

There the images are an array X of (height, width, colour, sample), and the labels are 1 to 10,
with 10 for the digit 0.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.files import regular_file
from fastntk._support.memory import require_memory
from fastntk.datasets.contents import LARGEST_INFLATION
from fastntk.datasets.dataset import RawSamples

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk.datasets.options import ReadOptions

_BYTES = {"int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "int32": 4, "uint32": 4, "single": 4}


def read_file(file: Path, options: ReadOptions) -> RawSamples:
    """Return the samples of a file: its matrix X, or its only one beside the labels y."""
    options.require_only(("label",), "a .mat file")
    with regular_file(file, options.argument) as stream:
        size = os.fstat(stream.fileno()).st_size
        return samples(stream, size, file.stem, options.label)


def samples(stream: Any, size: int, name: str, label: str | int | bool | None) -> RawSamples:
    """Return the samples in a stream of so many bytes."""
    shapes = _shapes(stream)
    chosen = "y" if label is None else label
    if label not in {None, False} and chosen not in shapes:
        raise ValueError(f"label={chosen!r}: expected one of the matrices {sorted(shapes)}")
    others = [each for each in shapes if each != chosen]
    if "X" not in shapes and len(others) != 1:
        raise ValueError(f"expected a matrix named X, found {sorted(shapes)}")
    wanted = ["X" if "X" in shapes else others[0]]
    wanted += [str(chosen)] if chosen in shapes else []
    for each in wanted:
        shape, kind = shapes[each]
        needed = math.prod(shape) * _BYTES.get(kind, 8)
        if needed > LARGEST_INFLATION * size:
            raise ValueError(
                f"{each} of shape {shape} is more than a file of {size} bytes can hold"
            )
        require_memory(needed, f"{each} of shape {shape}", "use a machine with more")
    read = _read(stream, wanted)
    values = np.asarray(read[wanted[0]])
    labels = np.asarray(read[wanted[1]]).reshape(-1) if len(wanted) > 1 else None
    if values.ndim == 4:
        return _images(name, values, labels)
    return RawSamples(
        name=name,
        values=values,
        labels=None if labels is None else _labels(labels, len(values), str(chosen)),
        source=f"the MATLAB file {name}",
        largest=255.0 if values.dtype == np.uint8 else None,
    )


def _shapes(stream: Any) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return shape and kind of each matrix, of which no numbers are inflated for that."""
    from scipy.io import whosmat

    try:
        found = {name: (shape, str(kind)) for name, shape, kind in whosmat(stream)}
    except NotImplementedError as error:
        raise ValueError("it is of MATLAB's format 7.3, which is HDF5: save it with -v7") from error
    except MemoryError:
        raise
    except Exception as error:  # scipy's own, and whatever damaged bytes end in
        raise ValueError(f"expected a MATLAB file: {error}") from error
    stream.seek(0)
    return found


def _read(stream: Any, wanted: list[str]) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        found: dict[str, Any] = loadmat(stream, variable_names=wanted)
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise ValueError(f"it is damaged: {error}") from error
    missing = [each for each in wanted if each not in found]
    if missing:
        raise ValueError(f"it is damaged: {missing[0]} cannot be read")
    return found


def _images(name: str, values: Any, labels: Any) -> RawSamples:
    """Return images with the samples along the last axis, as SVHN has them."""
    n = values.shape[-1]
    if labels is not None:
        labels = _labels(labels, n, "y") % 10  # 10 is the digit 0
    return RawSamples(
        name=name,
        values=np.ascontiguousarray(np.moveaxis(values, -1, 0)).reshape(n, -1),
        labels=labels,
        source=f"the MATLAB file {name}",
        largest=255.0 if values.dtype == np.uint8 else None,
        sample_shape=values.shape[:-1],
    )


def _labels(labels: Any, n: int, name: str) -> np.ndarray[Any, np.dtype[np.int64]]:
    whole = labels.dtype.kind in "iuf" and len(labels) == n and (labels == np.rint(labels)).all()
    if not whole or (labels < 0).any():
        raise ValueError(
            f"label={name!r}: expected integers from 0, one for each of {n} samples; found "
            f"{len(labels)} of {labels.dtype}; label=False leaves them out"
        )
    return np.asarray(labels, dtype=np.int64)
