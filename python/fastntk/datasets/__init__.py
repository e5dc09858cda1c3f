# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Data sets, and samples from files."""

from fastntk.datasets.dataset import Dataset
from fastntk.datasets.duplicates import NearDuplicates, near_duplicates
from fastntk.datasets.loading import NAMES, WITH_TEST_PART, load, load_file
from fastntk.datasets.preprocessing import PREPROCESSINGS

__all__ = [
    "NAMES",
    "PREPROCESSINGS",
    "WITH_TEST_PART",
    "Dataset",
    "NearDuplicates",
    "load",
    "load_file",
    "near_duplicates",
]


def __dir__() -> list[str]:
    """Return the public names, and not those of the files that they come from."""
    return sorted(__all__)
