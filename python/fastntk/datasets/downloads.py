# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Downloads, by pooch, and only when they were asked for."""

from __future__ import annotations

import logging
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fastntk._support import arguments
from fastntk._support.files import make_folder, replacing
from fastntk.datasets.contents import read_verified
from fastntk.datasets.optional import library

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastntk.datasets.catalogue import DataFile, FileSet

DOWNLOAD_VARIABLE = "FASTNTK_DOWNLOAD"

_YES, _NO = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")

# Seconds until a server that does not answer is given up.
_PATIENCE = 30


def asked(download: object) -> bool:
    """Return whether files may be downloaded: by the argument, or else by the environment."""
    if download is not None:
        return arguments.flag(download, "download")
    value = os.environ.get(DOWNLOAD_VARIABLE, "").strip().lower()
    if value not in (*_YES, *_NO):
        raise ValueError(
            f"{DOWNLOAD_VARIABLE}={arguments.shown(value)} in the environment: expected 1 or 0"
        )
    return value in _YES


def cache_folder() -> Path:
    """Return the folder for downloads where the user has chosen none."""
    return Path(library("pooch", "download=True").os_cache("fastntk"))


def cache_if_known() -> Path | None:
    """Return that folder, or None where nothing can have been downloaded yet."""
    try:
        return cache_folder()
    except ModuleNotFoundError:  # pooch is not there, or lacks what it stands on
        return None


def fetch(file: DataFile, files: FileSet, folder: Path) -> Path:
    """Download a file into a folder, verified before it is put there; return its path."""
    pooch = library("pooch", "download=True")
    name = file.name + (".gz" if files.compressed else "")
    make_folder(folder, "download")
    problems = []
    for mirror in files.mirrors:
        with tempfile.TemporaryDirectory(prefix=".fastntk-", dir=folder) as beside:
            try:
                with _quiet(pooch.get_logger()):
                    pooch.retrieve(
                        mirror + name,
                        known_hash=None,
                        fname=name,
                        path=beside,
                        downloader=pooch.HTTPDownloader(timeout=_PATIENCE),
                    )
                downloaded = Path(beside) / name
                read_verified(downloaded, file, files.title)
            except (OSError, ValueError) as error:  # no network, no such file; a wrong one
                problems.append(f"{mirror}{name}: {error}")
                continue
            with replacing(folder / name, "download") as temporary:
                downloaded.replace(temporary)
            return folder / name
    raise ConnectionError(
        f"download=True: {name} of {files.title} cannot be had ({'; '.join(problems)}): put it "
        f"into {folder} by hand"
    )


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """Keep pooch from telling the digest of a compressed file, of which nothing is expected."""
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)
