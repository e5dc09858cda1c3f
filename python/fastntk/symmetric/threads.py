# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Who computes with a symmetric matrix: all threads, or, if it has few rows, the caller alone."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

import fastntk._core as _core
from fastntk._support.threads import core_threads

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

_CALLER: AbstractContextManager[int] = nullcontext(1)


def threads_for(rows: int) -> AbstractContextManager[int]:
    """Return the context of a call of the core for a symmetric matrix, which yields its threads.

    Few rows are work for one thread, and no BLAS is called that would have to be kept to one:
    asking for threads, and giving them back, would take longer than the work. So this is for those
    functions of the core that say so.
    """
    return _CALLER if rows <= _core.rows_without_blas else core_threads()
