# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How GPUs multiply matrices and cut kernels into tiles: options for a `with` statement."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastntk._support import arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

_ARITHMETICS = ("standard", "tf32", "emulated_float64")


@dataclass(frozen=True)
class Options:
    """How a GPU computes; `options` explains what the fields mean."""

    arithmetic: str = "standard"
    tile: int = 4096


_DEFAULTS = Options()
_options = ContextVar("fastntk.cuda.options", default=_DEFAULTS)


@contextmanager
def options(*, arithmetic: str | None = None, tile: int | None = None) -> Iterator[Options]:
    """Compute on GPUs in another way within a `with` statement.

    Parameters
    ----------
    arithmetic : {"standard", "tf32", "emulated_float64"}, optional
        How matrices are multiplied. "standard": as the precision of the arrays says. "tf32": those
        of float32 with operands rounded to 10 bits, on tensor cores; for kernels whose condition
        does not matter. "emulated_float64": those of float64 by slices of integers, on tensor
        cores; for GPUs that have few units for float64.
    tile : int, optional
        The most rows and columns of a tile of a kernel, 4096 by default. It halves by itself where
        memory is short.

    Yields
    ------
    Options
        What holds now; what is not given stays as it was.

    Examples
    --------
    >>> from fastntk import cuda
    >>> with cuda.options(arithmetic="tf32") as now:
    ...     print(now)
    Options(arithmetic='tf32', tile=4096)
    """
    now = _options.get()
    if arithmetic is not None:
        arguments.choice(arithmetic, "arithmetic", _ARITHMETICS)
        now = replace(now, arithmetic=arithmetic)
    if tile is not None:
        now = replace(now, tile=arguments.integer(tile, "tile", minimum=1))
    token = _options.set(now)
    try:
        yield now
    finally:
        _options.reset(token)


def current_options() -> Options:
    """Return the options of the innermost `with` statement, or the defaults."""
    return _options.get()
