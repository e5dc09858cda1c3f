# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Files that are either complete or not there, and files that may be read without harm."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterator

# Bytes that are written at a time where a file system cannot reserve room.
_STEP = 2**24

# What the system says if there is no room: on the disk, in the quota, below the limit of a process.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class _Writers:
    """Who writes which file: one thread at a time for each."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._threads: dict[Path, int] = {}

    @contextmanager
    def alone(self, target: Path) -> Iterator[None]:
        me = threading.get_ident()
        with self._changed:
            if self._threads.get(target) == me:
                raise RuntimeError(f"{str(target)!r} is being written by this thread already")
            self._changed.wait_for(lambda: target not in self._threads)
            self._threads[target] = me
        try:
            yield
        finally:
            with self._changed:
                del self._threads[target]
                self._changed.notify_all()

    def forget(self) -> None:
        """Start anew in a child process, in which the other threads do not go on."""
        self.__init__()  # type: ignore[misc]


_WRITERS = _Writers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_WRITERS.forget)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield the name of a temporary file that becomes `path` when the block ends without error.

    It lies in a new directory beside `path` that nobody else may enter, and has the same name, for
    writers go by the ending. The last step is a rename: whoever looks at `path` sees the old file
    or the whole new one. The new file has the permissions of the old one; if `path` is a symbolic
    link, what it points to is replaced. Threads that write the same file wait for each other.
    """
    target = Path(os.path.realpath(path))
    with _WRITERS.alone(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = _mode(target, path)
        folder = target.parent
        try:
            # Not the whole name: with what is added, it could become too long.
            folder = Path(tempfile.mkdtemp(prefix=f".{target.stem[:40]}-", dir=target.parent))
            temporary = folder / target.name
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            if mode is not None:
                temporary.chmod(mode)
            temporary.replace(target)
            _sync_names(target.parent)
        except OSError as error:
            # The name that the caller knows says more than one which is gone by now.
            named = error.filename
            if error.errno in _NO_ROOM if named is None else str(named).startswith(str(folder)):
                error.filename = os.fspath(path)
            raise
        finally:
            if folder != target.parent:
                shutil.rmtree(folder, ignore_errors=True)


def _mode(target: Path, path: str | os.PathLike[str]) -> int | None:
    """Return the permissions of a file, None if there is none; refuse what is not a file."""
    try:
        status = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EEXIST, "expected a regular file, or none", os.fspath(path))
    return stat.S_IMODE(status.st_mode)


def _sync_names(folder: Path) -> None:
    """Make the names of the files of a directory last, where the system has means for that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # no such thing on this file system
            raise
    finally:
        os.close(descriptor)


def reserve(file: BinaryIO, size: int) -> None:
    """Make an open file `size` bytes long, with room on the disk for all; OSError if there is none.

    Who maps a file without that is ended by a signal, not an error, when the disk is full.
    """
    try:
        os.posix_fallocate(file.fileno(), 0, size)
    except AttributeError:  # this system has no such call
        _fill(file, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        _fill(file, size)


def _fill(file: BinaryIO, size: int) -> None:
    zeros = bytes(min(_STEP, size))
    start = file.seek(0, os.SEEK_END)
    for first in range(start, size, _STEP):
        file.write(zeros[: size - first])
    file.flush()


def regular_file(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file to read; refuse what would hang (a pipe) or is no file (a directory)."""
    return open(path, "rb", opener=_open_regular)


def _open_regular(path: str, flags: int) -> int:
    # Without O_NONBLOCK, to open a pipe is to wait for somebody who writes into it.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("expected a regular file")
    return descriptor
