# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Archives of plain arrays (``.npz``) with a header, a version and a checksum."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support.digests import sha256
from fastntk._support.files import replacing

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from fastntk._support.dtypes import FloatArray


def check_name(path: str | os.PathLike[str], name: str) -> None:
    """Refuse the name of an archive without its ending, which NumPy would add."""
    if Path(path).suffix != ".npz":
        raise ValueError(f"{name}={str(path)!r}: expected a file that ends in .npz")


def write_archive(
    path: str | os.PathLike[str], header: dict[str, Any], arrays: Mapping[str, FloatArray]
) -> None:
    """Write arrays and what JSON can say about them, completely or not at all."""
    signed = {**header, "sha256": checksum(header, arrays)}
    with replacing(path) as temporary:
        np.savez(temporary, header=np.array(json.dumps(signed)), **arrays)  # type: ignore[arg-type]


def read_archive(
    path: str | os.PathLike[str],
    name: str,
    file_format: str,
    versions: Sequence[int],
    expected: str,
) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Return header and arrays of a file; refuse what is damaged, foreign or newer."""
    try:
        with Path(path).open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            header = json.loads(str(archive["header"]))
            arrays = {key: archive[key] for key in archive.files if key != "header"}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zipfile.error) as error:
        what = file_format.removeprefix("fastntk ")
        raise ValueError(f"{name}={str(path)!r}: not a {what}, or damaged: {error}") from error
    if not isinstance(header, dict) or header.get("format") != file_format:
        raise ValueError(f"{name}={str(path)!r}: expected {expected}")
    if header.get("version") not in versions:
        raise ValueError(
            f"{name}={str(path)!r}: has version {header.get('version')!r} of the format; expected "
            f"{' or '.join(map(str, versions))}"
        )
    if header.pop("sha256", None) != checksum(header, arrays):
        raise ValueError(f"{name}={str(path)!r}: the checksum does not match: the file is damaged")
    return header, arrays


def checksum(header: dict[str, Any], arrays: Mapping[str, FloatArray]) -> str:
    """Return the SHA-256 of a header and of the arrays beside it, with names and shapes."""
    parts: list[str | FloatArray] = [json.dumps(header, sort_keys=True)]
    for name in sorted(arrays):
        array = arrays[name]
        parts += [f"{name} {array.dtype.str} {array.shape}", array]
    return sha256(*parts)
