# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Archives of networks and checkpoints that are damaged, foreign or made to do harm."""

from __future__ import annotations

import io
import json
import os
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import fastntk
from fastntk._support import memory
from fastntk._support.archives import write_archive

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

X = np.random.default_rng(0).standard_normal((12, 4))
NET = fastntk.MLP([4, 5, 1], bias_std=0.1)


def resume(path: Path) -> None:
    fastntk.train(
        NET, X, X[:, :1], loss="mse", learning_rate=0.1, epochs=1, checkpoint=path, progress=False
    )


READERS = {"path": fastntk.MLP.load, "checkpoint": resume}


@pytest.fixture(params=sorted(READERS))
def reader(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def whole(path: Path, reader: str) -> bytes:
    if reader == "path":
        NET.save(path)
    else:
        resume(path)
    return path.read_bytes()


def refused(path: Path, reader: str, message: str = "") -> None:
    with pytest.raises(ValueError, match=rf"{reader}='.*{path.name}': .*{message}"):
        READERS[reader](path)


def contents(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return json.loads(str(arrays.pop("header"))), arrays


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def repacked(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def members_of(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("kind", ["flip", "cut", "zero", "noise"])
def test_damage_of_any_kind_is_one_error(tmp_path: Path, reader: str, kind: str) -> None:
    path = tmp_path / "a.npz"
    content = whole(path, reader)
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(150):
        damaged = bytearray(content)
        at = int(rng.integers(len(content)))
        length = int(rng.integers(1, 200))
        if kind == "flip":
            damaged[at] ^= 1 << int(rng.integers(8))
        elif kind == "cut":
            del damaged[at:]
        else:
            patch = bytes(length) if kind == "zero" else rng.bytes(length)
            damaged[at : at + length] = patch[: len(content) - at]
        path.write_bytes(damaged)
        # Not all bytes matter: dates, for instance, do not. What is read is right, or nothing is.
        try:
            READERS[reader](path)
        except ValueError as error:
            assert str(error).startswith(f"{reader}={str(path)!r}: ")  # noqa: PT017
            found += 1
        else:
            assert reader == "checkpoint" or fastntk.MLP.load(path).digest() == NET.digest()
    assert found > 100


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
def test_pipes_and_directories(tmp_path: Path, reader: str) -> None:
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "folder.npz").mkdir()
    for name in ("pipe.npz", "folder.npz"):
        refused(tmp_path / name, reader, "or damaged: expected a regular file")


def test_other_files(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "a.npz"
    for content in (b"", b"PK", npy(X), b"\x80\x04K\x01.", bytes(10**5)):
        path.write_bytes(content)
        refused(path, reader, "or damaged")
    np.savez(path, X=X)
    refused(path, reader, "or damaged: it has no header")
    for text in ("", "[" * 10**5, "3", '{"format": 3}'):
        np.savez(path, header=np.array(text))
        refused(path, reader)


def test_an_array_alone_is_no_network(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", X)
    refused(tmp_path / "a.npy", "path", r"MLP\.save, or damaged: File is not a zip file")


def test_headers_of_arrays_that_are_damaged(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "a.npz"
    whole(path, reader)
    members = members_of(path)
    name = next(name for name in members if name != "header.npy")
    array = members[name]
    for old, new, message in (
        (b"{'descr'", b"{('descr", "damaged"),
        (b"'shape': (", b"'shape': [", "damaged"),
        (b"'shape': (", b"'shape': {", "damaged"),
        (b"(5, 4)", b"(5, 9)", "takes"),
        (b"(5, 4)", b"(-5,4)", "shape"),
        (b"<f8", b"|O8", "dtype object"),
        (b"NUMPY\x01", b"NUMPY\x07", "unknown version"),
        (b"NUMPY", b"NUMPI", "magic"),
    ):
        if old in array:
            repacked(path, members | {name: array.replace(old, new)})
            refused(path, reader, message)
    repacked(path, members | {name: array + b"more"})
    refused(path, reader, "bytes: not what an array of shape")
    repacked(path, members)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr(name, array)
    refused(path, reader, "names in it repeat")


def test_what_is_unpacked_is_known_before(
    tmp_path: Path, reader: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.npz"
    whole(path, reader)
    members = members_of(path)
    bomb = npy(np.zeros(10**6))
    read: list[Any] = []
    unpack = np.lib.format.read_array

    def counted(stream: Any, **options: Any) -> Any:
        read.append(unpack(stream, **options))
        return read[-1]

    monkeypatch.setattr(np.lib.format, "read_array", counted)
    # Foreign: nothing but its header is unpacked.
    foreign = {"header.npy": npy(np.array('{"format": "other"}')), "W1.npy": bomb}
    repacked(path, foreign, zipfile.ZIP_DEFLATED)
    refused(path, reader, "expected a")
    assert [array.ndim for array in read] == [0]
    read.clear()
    # Too large for the memory: nothing at all.
    repacked(path, members | {"bomb.npy": bomb}, zipfile.ZIP_DEFLATED)
    monkeypatch.setattr(memory, "ALWAYS_THERE", 0)
    monkeypatch.setattr(memory, "available_memory", lambda: 10**6)
    refused(path, reader, r"what is in it needs 7\.6 MiB, but 976\.6 KiB of memory are available")
    assert read == []
    # The same without compression is no lie, but more than this machine has.
    repacked(path, members | {"bomb.npy": bomb})
    with pytest.raises(MemoryError, match=r"a\.npz': what is in it needs 7\.6 MiB"):
        READERS[reader](path)
    assert read == []
    monkeypatch.undo()
    # Packed again by hand, a file is still read.
    repacked(path, members, zipfile.ZIP_DEFLATED)
    READERS[reader](path)


def test_sizes_that_an_archive_lies_about(tmp_path: Path, reader: str) -> None:
    path = tmp_path / "a.npz"
    content = bytearray(whole(path, reader))
    entry = content.rindex(b"PK\x01\x02")
    for size in (0, 10, 2**31, 2**32 - 2):
        content[entry + 24 : entry + 28] = size.to_bytes(4, "little")  # its size when unpacked
        path.write_bytes(content)
        refused(path, reader)
    content[entry + 8] |= 1  # encrypted
    path.write_bytes(content)
    refused(path, reader)
    content[entry + 8] &= 0xFE
    content[entry + 10 : entry + 12] = (77).to_bytes(2, "little")  # an unknown compression
    path.write_bytes(content)
    refused(path, reader)


def test_networks_that_this_version_does_not_know(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    NET.save(path)
    header, arrays = contents(path)
    del header["sha256"]
    write_archive(path, header, arrays)
    assert fastntk.MLP.load(path).digest() == NET.digest()
    message = "not a network that this version knows"
    for key, value in (
        ("activation", "of tomorrow"),
        ("activation", None),
        ("activation_parameters", [1.0]),
        ("layers", []),
        ("layers", 3),
        ("layers", [{"bias": True}]),
        ("layers", header["layers"] * 2),
    ):
        write_archive(path, {**header, key: value}, arrays)
        refused(path, "path", message)
    for missing in header.keys() - {"format", "version", "drawn"}:  # no one knows how it was drawn
        write_archive(path, {k: v for k, v in header.items() if k != missing}, arrays)
        refused(path, "path", message)
    for key, array in (
        ("W1", arrays["W1"][0]),
        ("W1", arrays["W1"][:, :, None]),
        ("W2", arrays["W2"][:, :-1]),
        ("b1", arrays["b1"][:-1]),
        ("b1", arrays["b1"].astype(np.float32)),
    ):
        write_archive(path, header, {**arrays, key: array})
        refused(path, "path", message)


def test_checkpoints_that_lack_something(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    whole(path, "checkpoint")
    header, arrays = contents(path)
    del header["sha256"]
    for missing in ("call", "state"):
        write_archive(path, {k: v for k, v in header.items() if k != missing}, arrays)
        refused(path, "checkpoint", "not a checkpoint written by fastntk.train, or damaged")
    name = next(iter(arrays))
    write_archive(path, header, {k: v for k, v in arrays.items() if k != name})
    refused(path, "checkpoint", "arrays are missing or have other shapes")
    write_archive(path, header, {**arrays, name: arrays[name][:1, :1]})
    refused(path, "checkpoint", "arrays are missing or have other shapes")
    write_archive(path, header, arrays)
    resume(path)
