# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Samples in files of MATLAB, up to its format 7, read by `scipy.io.loadmat`; SVHN is of this kind.

There the images are an array X of (height, width, colour, sample), and the labels are 1 to 10,
with 10 for the digit 0.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.files import regular_file
from fastntk._support.memory import require_memory
from fastntk.datasets.contents import LARGEST_INFLATION
from fastntk.datasets.dataset import RawSamples
from fastntk.datasets.labels import array_of_labels, array_of_samples, required_labels
from fastntk.datasets.mat_elements import require_readable

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk.datasets.options import ReadOptions

# Of each kind of numbers, as `scipy.io.whosmat` calls them, the bytes of one.
_BYTES = {
    **dict.fromkeys(("int8", "uint8", "logical"), 1),
    **dict.fromkeys(("int16", "uint16"), 2),
    **dict.fromkeys(("int32", "uint32", "single"), 4),
    **dict.fromkeys(("int64", "uint64", "double"), 8),
}


def read_file(file: Path, options: ReadOptions) -> RawSamples:
    """Return the samples of a file: its array X, or its only one beside the labels y."""
    options.require_only(("label",), "a .mat file")
    with regular_file(file, options.argument) as stream:
        size = os.fstat(stream.fileno()).st_size
        found = samples(stream, size, file.stem, options.label)
    return replace(found, source=f"the MATLAB file {file}")


def samples(stream: Any, size: int, name: str, label: str | int | bool | None) -> RawSamples:
    """Return the samples in a stream of so many bytes."""
    shapes = _shapes(stream)
    names = list(shapes)
    chosen = array_of_labels(label, names)
    wanted = [array_of_samples(chosen, names), *([] if chosen is None else [chosen])]
    for each in wanted:
        shape, kind = shapes[each]
        if kind not in _BYTES:
            left_out = "; leave it out with label=False" if each == chosen else ""
            raise ValueError(f"{each} is of MATLAB's kind {kind}: expected numbers{left_out}")
        needed = math.prod(shape) * _BYTES[kind]
        if needed > LARGEST_INFLATION * size:
            raise ValueError(
                f"{each} of shape {shape} is more than a file of {size} bytes can hold"
            )
        require_memory(needed, f"{each} of shape {shape}", "use a machine with more")
    require_readable(stream, wanted)
    stream.seek(0)
    read = _read(stream, wanted)
    values = np.asarray(read[wanted[0]])
    images = values.ndim == 4
    labels = None
    if chosen is not None:
        # A column, as all that has one dimension is in MATLAB.
        column = np.asarray(read[chosen]).reshape(-1)
        labels = required_labels(column, values.shape[-1] if images else len(values), chosen)
    raw = RawSamples(
        name=name,
        values=values,
        labels=labels,
        largest=255.0 if values.dtype == np.uint8 else None,
    )
    return _of_images(raw) if images else raw


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


def _of_images(raw: RawSamples) -> RawSamples:
    """Return images with the samples along the last axis, as SVHN has them, one a row."""
    labels, values = raw.labels, raw.values
    if labels is not None and len(labels) and labels.min() >= 1 and labels.max() == 10:
        labels = labels % 10
    return replace(
        raw,
        values=np.ascontiguousarray(np.moveaxis(values, -1, 0)).reshape(values.shape[-1], -1),
        labels=labels,
        sample_shape=values.shape[:-1],
    )
