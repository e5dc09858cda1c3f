# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Finished cells of studies in an SQLite file, from which a killed study goes on.

A cell is one row, written in a transaction of its own: it is there, complete, or not at all. The
journal is SQLite's rollback journal with ``synchronous=FULL``, not a write-ahead log: cells take
much longer than a transaction, so that the log's speed would gain nothing, while it needs shared
memory (network file systems have none) and spreads the data over two files. Each row has a checksum
of its own, because SQLite has none and damage within a number would go unnoticed.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fastntk._support.digests import sha256
from fastntk._support.files import make_folder

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator
    from typing import Self

Values: TypeAlias = dict[str, Any]

# Written into the header of the file: "FNTK", and the version of the table.
_APPLICATION = 0x464E544B
_FORMAT = 1

_TABLE = """
CREATE TABLE cell (
    key TEXT PRIMARY KEY,     -- SHA-256 of settings
    settings TEXT NOT NULL,   -- what decides the numbers, as JSON
    result TEXT NOT NULL,     -- the numbers, as JSON: every digit of every float
    checksum TEXT NOT NULL    -- SHA-256 of settings and result
) WITHOUT ROWID
"""

_SELECT = "SELECT key, settings, result, checksum FROM cell"

# Other processes hold the lock for milliseconds. SQLite's own waiting cannot be interrupted.
_LOCK_SECONDS = 30.0
_RETRY_SECONDS = 0.05

_NOTHING_LOST = "cells that were stored before are safe, and the same study goes on from them"


def key_of(settings: Values) -> str:
    """Return the key of the cell with these settings."""
    return _digest(_text(settings))


def _text(values: Values) -> str:
    return json.dumps(values, sort_keys=True, ensure_ascii=False)


def _digest(*texts: str) -> str:
    return sha256("\0".join(texts))


class StudyStore:
    """Cells by key, in a file that several studies and several processes may share.

    Parameters
    ----------
    path : path-like
        Made, with its directories, if there is nothing yet.

    Raises
    ------
    ValueError
        If the file is no store, one of a later version, or damaged. It is left as it is.
    PermissionError, TimeoutError, OSError
        If the file cannot be opened or written, if another process keeps it locked, or if the disk
        is full. What was stored before is safe.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> from fastntk.studies.store import StudyStore, key_of
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with StudyStore(pathlib.Path(folder) / "cells.sqlite") as store:
    ...         added = store.add({"depth": 3}, {"angle": 0.1})
    ...         found = store.find([key_of({"depth": 3}), key_of({"depth": 4})])
    >>> found == {key_of({"depth": 3}): added}
    True
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        make_folder(self.path.parent, "store")
        with self._explained("opened"):
            self._connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
            # What is not UTF-8 any more has a wrong checksum.
            self._connection.text_factory = lambda text: text.decode(errors="replace")
        try:
            with self._explained("opened"):
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def find(self, keys: Iterable[str]) -> dict[str, Values]:
        """Return the results of those of the cells that are there."""
        with self._explained("read"):
            rows = [
                row
                for key in keys
                for row in self._execute(f"{_SELECT} WHERE key = ?", (key,)).fetchall()
            ]
        self._check(rows)
        return {key: json.loads(result) for key, _, result, _ in rows}

    def add(self, settings: Values, result: Values) -> Values:
        """Store a cell, durably; what is there already stays.

        Returns
        -------
        dict
            The result as it is read from a store: tuples are lists, numbers those of Python.
        """
        described, numbers = _text(settings), _text(result)
        row = (_digest(described), described, numbers, _digest(described, numbers))
        with self._explained("written"), self._transaction():
            self._execute(
                "INSERT OR IGNORE INTO cell (key, settings, result, checksum) VALUES (?, ?, ?, ?)",
                row,
            )
        read: Values = json.loads(numbers)
        return read

    def require_writable(self) -> None:
        """Raise now what `add` would raise after the first cell: an OSError of some kind."""
        with self._explained("written"), self._transaction():
            # The header, and so the file, is written, without a change.
            self._execute(f"PRAGMA user_version = {_FORMAT}")

    def _prepare(self) -> None:
        self._execute("PRAGMA synchronous = FULL")
        self._execute("PRAGMA cell_size_check = ON")
        if self._is_empty():
            self._create()
        application, version = self._pragma("application_id"), self._pragma("user_version")
        if application != _APPLICATION:
            raise ValueError(f"store={str(self.path)!r}: expected a store of fastntk's studies")
        if version != _FORMAT:
            raise ValueError(
                f"store={str(self.path)!r} has format {version}: expected {_FORMAT}, the one of "
                "this version of fastntk"
            )
        # SQLite takes what is missing of the last page for zeros.
        stated = self._pragma("page_count") * self._pragma("page_size")
        if (there := self.path.stat().st_size) < stated:
            raise ValueError(self._damaged(f"{there} bytes are there of {stated}"))
        problem = self._pragma("integrity_check")
        if problem != "ok":
            raise ValueError(self._damaged(str(problem)))
        self._check(self._execute(_SELECT))

    def _check(self, rows: Iterable[tuple[Any, ...]]) -> None:
        for row in rows:
            if not _is_intact(row):
                raise ValueError(self._damaged(f"a checksum is wrong, of {row[1]!r:.200}"))

    def _create(self) -> None:
        with self._transaction():
            if not self._is_empty():
                return  # another process was faster
            self._execute(_TABLE)
            self._execute(f"PRAGMA application_id = {_APPLICATION}")
            self._execute(f"PRAGMA user_version = {_FORMAT}")

    def _is_empty(self) -> bool:
        tables = self._execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        return bool(tables == 0)

    def _pragma(self, name: str) -> Any:
        return self._execute(f"PRAGMA {name}").fetchone()[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE takes the lock for writing at once: no deadlock between two that have read.
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # after some errors SQLite has rolled back already
                self._connection.execute("ROLLBACK")
            raise

    def _execute(self, statement: str, values: tuple[str, ...] = ()) -> sqlite3.Cursor:
        """Execute a statement, trying again for a while if the file is locked."""
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                return self._connection.execute(statement, values)
            except sqlite3.OperationalError as error:
                if not _is_lock(error) or time.monotonic() > deadline:
                    raise
            time.sleep(_RETRY_SECONDS)

    @contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        """Turn SQLite's errors into ones that say which file it is, and what is to be done."""
        try:
            yield
        except UnicodeDecodeError as error:  # in what SQLite says of a damaged table
            raise ValueError(self._damaged("a name is no text")) from error
        except sqlite3.Error as error:
            code = _primary_code(error)
            cannot = f"store={str(self.path)!r} cannot be {what}: {error}; {_NOTHING_LOST}"
            if code == sqlite3.SQLITE_NOTADB:
                raise ValueError(
                    f"store={str(self.path)!r} is not an SQLite file, or its beginning is damaged: "
                    "expected a store of fastntk's studies, or no file"
                ) from error
            if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR}:
                # Our statements are right: it is the table that is not what it was.
                raise ValueError(self._damaged(str(error))) from error
            if _is_lock(error):
                raise TimeoutError(
                    errno.ETIMEDOUT,
                    f"store={str(self.path)!r} is locked by another process for more than "
                    f"{_LOCK_SECONDS:g} s; {_NOTHING_LOST}",
                ) from error
            if code == sqlite3.SQLITE_FULL:
                raise OSError(errno.ENOSPC, cannot) from error
            if code in {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}:
                raise PermissionError(errno.EACCES, cannot) from error
            raise OSError(errno.EIO, cannot) from error

    def _damaged(self, problem: str) -> str:
        return (
            f"store={str(self.path)!r} is damaged ({problem}); it was left as it is: expected a "
            "whole one; move it away, or save what can be read with SQLite's command .recover"
        )


def _is_intact(row: tuple[object, ...]) -> bool:
    key, settings, result, checksum = row
    return (
        isinstance(settings, str)
        and isinstance(result, str)
        and key == _digest(settings)
        and checksum == _digest(settings, result)
    )


def _primary_code(error: sqlite3.Error) -> int:
    # Errors of the module itself, rather than of SQLite, have none.
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR)) & 0xFF


def _is_lock(error: sqlite3.Error) -> bool:
    return _primary_code(error) in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
