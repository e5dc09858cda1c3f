# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Files that are either complete or not there, and files that may be read without harm."""

from __future__ import annotations

import errno
import importlib
import os
import re
import shutil
import stat
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from fastntk._support import arguments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

fcntl: Any = importlib.import_module("fcntl") if os.name == "posix" else None

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


def require_free(path: str, name: str, *, overwrite: bool) -> None:
    """Raise FileExistsError if there is a file at all, whose content nobody can know to be lost.

    Parameters
    ----------
    path : str
        The file, given by an argument `name`.
    name : str
    overwrite : bool
        Whether there may be one.
    """
    if not overwrite and _is_there(path):
        raise _taken(path, f"{name}: a file is there")


def require_own(path: str, *, own: Callable[[], bool], what: str, overwrite: bool) -> None:
    """Raise FileExistsError if a file that is not the caller's own would be overwritten.

    Parameters
    ----------
    path : str
        The file, given by an argument `path`.
    own : callable
        Says of the file that is there whether it is an earlier state of what is to be written.
    what : str
        What such a file is called.
    overwrite : bool
        Whether it may be anything.
    """
    if not overwrite and _is_there(path) and not own():
        raise _taken(path, f"path: a file is there that is not {what}")


def _is_there(path: str) -> bool:
    try:
        return Path(path).exists()
    except OSError:  # as for a name that is too long: whoever writes there says what is wrong
        return False


def _taken(path: str, why: str) -> FileExistsError:
    return FileExistsError(
        errno.EEXIST, f"{why}: expected a name that is free, or overwrite=True", path
    )


@contextmanager
def replacing(path: str | os.PathLike[str], name: str = "path") -> Iterator[Path]:
    """Yield the name of a temporary file that becomes `path` when the block ends without error.

    It lies in a new directory beside `path` that nobody else may enter, and has the same name, for
    writers go by the ending. The last step is a rename: whoever looks at `path` sees the old file
    or the whole new one. The new file has the permissions of the old one; if `path` is a symbolic
    link, what it points to is replaced. Threads that write the same file wait for each other.

    A writer that is killed leaves its directory, which the next writer of the file removes. Errors
    of the system begin with `name`, the argument that the path was given by.
    """
    path = arguments.path(path, name)
    target = Path(os.path.realpath(path))
    with _WRITERS.alone(target):
        folder, lock = target.parent, None
        make_folder(folder, name)
        try:
            mode = _mode(target, path)
            _remove_stale(target)
            folder, lock = _new_folder(target)
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
                error.filename = path
                error.strerror = f"{name}: {error.strerror}"
            raise
        finally:
            if folder != target.parent:
                shutil.rmtree(folder, ignore_errors=True)
            if lock is not None:
                os.close(lock)


def _prefix(target: Path) -> str:
    # Not the whole name: with what is added, it could become too long.
    return f".{target.stem[:40]}.fastntk-"


def _new_folder(target: Path) -> tuple[Path, int | None]:
    """Return a new directory beside a file, and what locks it while this process lives."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
        try:
            lock = _lock(folder)
        except (BlockingIOError, FileNotFoundError):
            continue  # somebody took it for one that is left over, before it was locked
        if lock is None or folder.exists():
            return folder, lock
        os.close(lock)


def _lock(folder: Path) -> int | None:
    """Return a descriptor that has a directory locked, or None where there is no such thing.

    Raises
    ------
    BlockingIOError
        If another one has.
    """
    if fcntl is None:
        return None
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None  # not on this file system
    return descriptor


def _remove_stale(target: Path) -> None:
    """Remove the directories of writers of this file that have been killed.

    Those of living writers are locked. A directory that cannot be looked at, or not be locked, is
    left where it is.
    """
    ours = re.compile(re.escape(_prefix(target)) + "[a-z0-9_]{8}")
    with suppress(OSError):
        for folder in [path for path in target.parent.iterdir() if ours.fullmatch(path.name)]:
            with suppress(OSError):
                _remove_unlocked(folder)


def _remove_unlocked(folder: Path) -> None:
    """Remove a directory of this user that nobody has locked, if locks can be had there."""
    lock = _lock(folder)
    if lock is None:
        return
    try:
        if os.fstat(lock).st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(lock)


def make_folder(folder: Path, name: str) -> None:
    """Make a directory where there is none; errors begin with the argument that gave its path."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        error.strerror = f"{name}: {error.strerror}"
        raise


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


def regular_file(path: str | os.PathLike[str], name: str) -> BinaryIO:
    """Open a regular file to read; refuse what would hang (a pipe) or is no file (a directory).

    Errors of the system begin with `name`, the argument that the path was given by.
    """
    try:
        return open(arguments.path(path, name), "rb", opener=_open_regular)
    except OSError as error:
        error.strerror = f"{name}: {error.strerror}"
        raise


def _open_regular(path: str, flags: int) -> int:
    # Without O_NONBLOCK, to open a pipe is to wait for somebody who writes into it.
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("expected a regular file")
    return descriptor
