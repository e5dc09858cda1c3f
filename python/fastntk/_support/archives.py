# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Archives of plain arrays (``.npz``) with a header, a version and a checksum."""

from __future__ import annotations

import json
import os
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk._support import arguments
from fastntk._support.digests import sha256
from fastntk._support.files import regular_file, replacing
from fastntk._support.memory import require_memory
from fastntk._support.npy import read_npy_header

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fastntk._support.dtypes import FloatArray

# What reading a damaged archive can end in. RuntimeError: a member that is encrypted, text nested
# too deeply, or (NotImplementedError) a method of compression that Python does not know.
_DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    LookupError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
)


def checked_path(path: str | os.PathLike[str], name: str) -> str:
    """Return the name of an archive, but not without its ending, which NumPy would add."""
    return arguments.path(path, name, ".npz")


def write_archive(
    path: str | os.PathLike[str],
    header: dict[str, Any],
    arrays: Mapping[str, FloatArray],
    name: str = "path",
) -> None:
    """Write arrays and what JSON can say about them, completely or not at all."""
    signed = {**header, "sha256": checksum(header, arrays)}
    # NumPy adds ".npz" to a name that does not end so, as that of what a link points to need not.
    with replacing(path, name) as temporary, temporary.open("wb") as stream:
        np.savez(stream, header=np.array(json.dumps(signed)), **arrays)  # type: ignore[arg-type]


def read_archive(
    path: str | os.PathLike[str],
    name: str,
    file_format: str,
    versions: Sequence[int],
    expected: str,
) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """Return header and arrays of a file; refuse what is damaged, foreign or newer.

    Nothing is unpacked before the sizes that the archive states were compared with the memory that
    is available and with the shapes of its arrays, nor arrays before the header is the right one.
    """
    path = arguments.path(path, name)
    what = f"{name}={path!r}"
    try:
        with regular_file(path, name) as stream, zipfile.ZipFile(stream) as archive:
            members = _members(archive, os.fstat(stream.fileno()).st_size, what)
            if "header" not in members:
                raise ValueError("it has no header")
            header = json.loads(str(_array(archive, members.pop("header"))))
            foreign = _foreign(header, file_format, versions, expected)
            arrays = (
                {} if foreign else {key: _array(archive, member) for key, member in members.items()}
            )
    except FileNotFoundError:
        raise
    except _DAMAGE as error:
        raise ValueError(f"{what}: not {expected}, or damaged: {error}") from error
    if foreign:
        raise ValueError(f"{what}: {foreign}")
    if header.pop("sha256", None) != checksum(header, arrays):
        raise ValueError(f"{what}: the checksum does not match: the file is damaged")
    return header, arrays


def _foreign(header: Any, file_format: str, versions: Sequence[int], expected: str) -> str:
    """Return why a header is not one of this format and these versions; nothing if it is."""
    if not isinstance(header, dict) or header.get("format") != file_format:
        return f"expected {expected}"
    if header.get("version") not in versions:
        known = " or ".join(map(str, versions))
        return f"has version {header.get('version')!r} of the format; expected {known}"
    return ""


def _members(archive: zipfile.ZipFile, size: int, what: str) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays of an archive of `size` bytes by their names, if they fit in memory."""
    members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
    if len(members) != len(archive.infolist()):
        raise ValueError("names in it repeat")
    needed = sum(info.file_size for info in members.values())
    try:
        require_memory(needed, f"{what}: what is in it", "use a machine with more")
    except MemoryError as error:
        if needed <= size:
            raise
        # Whatever `write_archive` wrote is as large in the file as in memory.
        raise ValueError(str(error)) from error
    return members


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> FloatArray:
    with archive.open(member) as stream:
        header = read_npy_header(stream)
    if header.bytes_before + header.bytes_of_data != member.file_size:
        raise ValueError(
            f"{member.filename!r} has {member.file_size} bytes: not what an array of shape "
            f"{header.shape} and dtype {header.dtype} takes"
        )
    with archive.open(member) as stream:
        array: FloatArray = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def checksum(header: dict[str, Any], arrays: Mapping[str, FloatArray]) -> str:
    """Return the SHA-256 of a header and of the arrays beside it, with names and shapes."""
    parts: list[str | FloatArray] = [json.dumps(header, sort_keys=True)]
    for name in sorted(arrays):
        array = arrays[name]
        parts += [f"{name} {array.dtype.str} {array.shape}", array]
    return sha256(*parts)
