# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The data sets that are known by name: their files, where these are had from, their licences.

The digests are those of the decompressed files, for distributors compress them anew. Those of
Fashion-MNIST were taken from Debian's package dataset-fashion-mnist 0.0~git20200523.55506a9-1.
Those of MNIST and SVHN could not be computed where this was written: they are what several
independent public repositories pin for these files, beside the MD5 sums in torchvision's sources
(torchvision/datasets/mnist.py, svhn.py) where both are given; those of SVHN are also in
torchvision's own prototype of 2022. The sizes follow from the shapes (MNIST) or are pinned there
(SVHN).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class DataFile(NamedTuple):
    """One file: its name, the bytes that it has when it is decompressed, and their SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class FileSet:
    """A data set in files of its own.

    Attributes
    ----------
    title : str
        How people write its name.
    parts : dict
        By part, its files: images before labels.
    compressed : bool
        Whether the files are distributed as ``.gz``.
    folders : tuple of str
        Where they lie below ``$FASTNTK_DATA`` and the like; the first is the data set's own.
    mirrors : tuple of str
        From where they are downloaded, one after the other until one answers.
    licence : str
    label_names : tuple of str
    sample_shape : tuple of int
    package : str
        The package of Debian that has it, if there is one.
    openml : int or None
        The number of the table that `sklearn.datasets.fetch_openml` keeps, of all parts together.
    """

    title: str
    parts: dict[str, tuple[DataFile, ...]]
    compressed: bool
    folders: tuple[str, ...]
    mirrors: tuple[str, ...]
    licence: str
    label_names: tuple[str, ...]
    sample_shape: tuple[int, ...]
    package: str = ""
    openml: int | None = None


_DIGITS = tuple("0123456789")

FILE_SETS = {
    "mnist": FileSet(
        title="MNIST",
        parts={
            "train": (
                DataFile(
                    "train-images-idx3-ubyte",
                    47_040_016,
                    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                ),
                DataFile(
                    "train-labels-idx1-ubyte",
                    60_008,
                    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                ),
            ),
            "test": (
                DataFile(
                    "t10k-images-idx3-ubyte",
                    7_840_016,
                    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                ),
                DataFile(
                    "t10k-labels-idx1-ubyte",
                    10_008,
                    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
                ),
            ),
        },
        compressed=True,
        folders=("mnist", "MNIST/raw"),
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        licence="CC BY-SA 3.0, Yann LeCun and Corinna Cortes",
        label_names=_DIGITS,
        sample_shape=(28, 28),
        openml=52667,
    ),
    "fashion-mnist": FileSet(
        title="Fashion-MNIST",
        parts={
            "train": (
                DataFile(
                    "train-images-idx3-ubyte",
                    47_040_016,
                    "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                ),
                DataFile(
                    "train-labels-idx1-ubyte",
                    60_008,
                    "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                ),
            ),
            "test": (
                DataFile(
                    "t10k-images-idx3-ubyte",
                    7_840_016,
                    "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                ),
                DataFile(
                    "t10k-labels-idx1-ubyte",
                    10_008,
                    "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
                ),
            ),
        },
        compressed=True,
        folders=("fashion-mnist", "FashionMNIST/raw"),
        mirrors=("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",),
        licence="MIT, Zalando SE",
        label_names=(
            *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
            *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
        ),
        sample_shape=(28, 28),
        package="dataset-fashion-mnist",
        openml=18238735,
    ),
    "svhn": FileSet(
        title="SVHN",
        parts={
            "train": (
                DataFile(
                    "train_32x32.mat",
                    182_040_794,
                    "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
                ),
            ),
            "test": (
                DataFile(
                    "test_32x32.mat",
                    64_275_384,
                    "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
                ),
            ),
        },
        compressed=False,
        folders=("svhn", "SVHN", "."),  # torchvision's files lie in its root itself
        mirrors=("http://ufldl.stanford.edu/housenumbers/",),
        licence="for non-commercial use only, Stanford University",
        label_names=_DIGITS,
        sample_shape=(32, 32, 3),
    ),
}
