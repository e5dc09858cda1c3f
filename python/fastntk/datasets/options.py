# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What `load` was asked for, checked; and which of it a kind of samples has a use for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fastntk._support import arguments

if TYPE_CHECKING:
    from collections.abc import Collection

# No data set has more samples or features than can be counted in half an address.
_MOST = 2**31 - 1


@dataclass(frozen=True)
class ReadOptions:
    """The arguments of `load` that some readers look at, None where they are left out.

    Attributes
    ----------
    argument : str
        What the argument that names the samples is called, for errors.
    """

    argument: str = "name"
    part: str = "train"
    n: int | None = None
    d: int | None = None
    seed: int | None = None
    hop: int | None = None
    label: str | int | bool | None = None
    index: str | int | bool | None = None
    download: bool = False

    def require_only(self, used: Collection[str], what: str) -> None:
        """Raise ValueError if an argument is given that means nothing for `what`."""
        for name in ("d", "seed", "hop", "label", "index"):
            value = getattr(self, name)
            if value is not None and name not in used:
                raise ValueError(
                    f"{name}={arguments.shown(value)}: expected None for {what}, which has no use "
                    "for it"
                )


def checked_options(part: str, download: bool, **given: object) -> ReadOptions:
    """Return options from the arguments of `load`, each checked by itself."""
    return ReadOptions(
        "name",
        part,
        n=_count(given["n"], "n"),
        d=_count(given["d"], "d"),
        seed=None if given["seed"] is None else arguments.seed(given["seed"]),
        hop=_count(given["hop"], "hop"),
        label=_column(given["label"], "label"),
        index=_column(given["index"], "index"),
        download=download,
    )


def _count(value: object, name: str) -> int | None:
    return None if value is None else arguments.integer(value, name, minimum=1, maximum=_MOST)


def _column(value: object, name: str) -> str | int | bool | None:
    """Return what says which column has the labels or the index, checked."""
    if value is None:
        return None
    if isinstance(value, (bool, np.bool_)) and not value:
        return False
    if isinstance(value, str) and value.strip():
        return str(value)
    try:
        return arguments.integer(value, name, minimum=-_MOST, maximum=_MOST)
    except TypeError as error:
        raise TypeError(
            f"{name}={arguments.shown(value)}: expected the name of a column, its number from 0, "
            "or False for none"
        ) from error
