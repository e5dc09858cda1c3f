# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What studies, histories and searches have in common: files, and how notebooks show them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from fastntk._support import arguments
from fastntk._support.archives import read_archive, write_archive
from fastntk._support.display import frame_html
from fastntk._support.files import require_own
from fastntk._support.tables import are_rows_of, save_table
from fastntk.training.records import decode, encode, same

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Sequence
    from typing import Self

    import pandas as pd
    from matplotlib.axes import Axes

    from fastntk.figures.panels import Sheet

# The versions of the files that are read; the last one is written. Whoever adds a field to a class
# that is written adds one, and gives the field a default, which files of earlier versions mean.
# Version 2 has the settings of histories and searches, and the names of data sets; version 3 the
# architectures of depth studies.
_VERSIONS = (1, 2, 3)


class Result:
    """A dataclass that can be written to a file, read again, and shown as a table.

    A class is derived with what files call it, `kind`; with what makes a sheet of it, to be drawn;
    with the other classes that it is made of, `parts`; and with the columns of its table, `costs`,
    that differ from run to run. It leaves comparing to this class, by ``eq=False``.
    """

    _kind: ClassVar[str]
    _sheet: ClassVar[Callable[[Any], Sheet]]
    _parts: ClassVar[tuple[type, ...]]
    _costs: ClassVar[tuple[str, ...]]

    def __init_subclass__(
        cls,
        *,
        kind: str,
        sheet: Callable[[Any], Sheet],
        parts: tuple[type, ...] = (),
        costs: tuple[str, ...] = (),
    ) -> None:
        super().__init_subclass__()
        cls._kind, cls._sheet = kind, sheet
        cls._parts, cls._costs = parts, costs

    def __eq__(self, other: object) -> bool:
        """Return whether two results are of one class and equal in all attributes, times too.

        Arrays and networks are compared by their numbers, of which NaN is equal to NaN.
        """
        return same(self, other) if type(self) is type(other) else NotImplemented

    def __hash__(self) -> int:
        """Return a number that equal results share: their texts are equal."""
        return hash(repr(self))

    def to_frame(self) -> pd.DataFrame:
        """Return the numbers as a table."""
        raise NotImplementedError

    @property
    def settings(self) -> dict[str, Any]:
        """What all rows of the table have in common, by its last columns.

        Settings of the networks, of the samples and of the training, by the names of arguments:
        ``samples`` is how many there are, ``data`` what they are called, if that was said, and
        ``loss_function`` the argument `loss`. What differs from row to row is in columns alone.
        Networks of studies are drawn with an `init_scale` of 1, from the ``seed`` of their row.
        """
        raise NotImplementedError

    def plot(self, ax: Axes | Sequence[Axes] | None = None, *, panel: str | None = None) -> Any:
        """Draw the result; what there is to see, the class says.

        Parameters
        ----------
        ax : Axes or sequence of Axes, optional
            Where to draw: axes of Matplotlib, one for each panel. By default a new figure, which
            notebooks show and ``matplotlib.pyplot.show()`` opens.
        panel : str, optional
            Draw this panel alone; the class lists their names.

        Returns
        -------
        Axes, or array of Axes
            An array where there are several panels. ``fastntk.figures.save`` writes their figure;
            the functions of `fastntk.figures` make figures that pyplot does not know of.
        """
        from fastntk.figures.placing import place

        return place(self._sheet(), ax, panel)

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = False) -> Any:
        """Write everything to an ``.npz`` file, or the table of `to_frame` to a CSV file.

        Parameters
        ----------
        path : path-like
            A name that ends in ``.npz`` is for `load`, with a format version and a checksum and
            without pickle; any other is that of a CSV file. The file is written completely or not
            at all.
        overwrite : bool
            Whether any file that is there may be lost. Otherwise one is replaced if all rows of its
            table are in the new one, but for times and memory.

        Raises
        ------
        FileExistsError
            If something else is there.
        ValueError
            If an activation is a function of the user's: no file can hold it but a table.
        """
        target = arguments.path(path, "path")
        flag = arguments.flag(overwrite, "overwrite")
        if not is_archive(target):
            save_table(self.to_frame(), target, self._costs, overwrite=flag)
            return
        arrays: dict[str, Any] = {}
        content = encode(self, arrays)
        require_own(
            target,
            own=lambda: self._has_rows_of(target),
            what=f"a part of the same {self._kind}",
            overwrite=flag,
        )
        header = {"format": f"fastntk {self._kind}", "version": _VERSIONS[-1], "content": content}
        write_archive(target, header, arrays)

    def _has_rows_of(self, path: str) -> bool:
        try:
            there = type(self).load(path)
        except (OSError, ValueError):
            return False
        return are_rows_of(there.to_frame(), self.to_frame(), self._costs)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return what `save` wrote to an ``.npz`` file.

        Raises
        ------
        ValueError
            If the file is not one, holds another kind of result, was written by a newer version, or
            is damaged.
        """
        target = arguments.path(path, "path")
        try:
            header, arrays = read_archive(
                target,
                "path",
                f"fastntk {cls._kind}",
                _VERSIONS,
                f"a file written by {cls.__name__}.save",
            )
        except ValueError as error:
            if is_archive(target):
                raise
            raise ValueError(
                f"{error}; expected a name that ends in .npz: to others `save` writes a table, for "
                "pandas.read_csv"
            ) from error
        classes = {each.__name__: each for each in (cls, *cls._parts)}
        try:
            found = decode(header["content"], arrays, classes)
            if not isinstance(found, cls):
                raise TypeError(f"it holds a {type(found).__name__}")
        # The checksum is right: something else wrote this, or a newer version.
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"path={target!r}: not a {cls._kind} that this version knows: {error!r}"
            ) from error
        return found

    def _repr_html_(self) -> str:
        """Return what notebooks show: what this is, and the table of it."""
        frame, settings = getattr(self, "summary", self.to_frame)(), self.settings
        rows = frame.drop(columns=[name for name in settings if name in frame])
        return frame_html(repr(self), rows, settings)


def named_data(data: str | None) -> dict[str, str]:
    """Return the setting that says what the samples are called, if that is known."""
    return {} if data is None else {"data": data}


def is_archive(path: str) -> bool:
    """Return whether a file of this name is one for `Result.load`."""
    return Path(path).suffix.lower() == ".npz"
