# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Progress of what takes more than a few seconds: bars on terminals and in notebooks, or lines."""

from __future__ import annotations

import sys
import time
import warnings
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from fastntk._support.arguments import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    Monitor: TypeAlias = Callable[[str, int, int], None]
    Progress: TypeAlias = bool | Monitor


_NOBODY: AbstractContextManager[None] = nullcontext(None)

# Where there is no terminal, as in the log of a job, a line is written after so many seconds.
_SECONDS = 30.0


def require_progress(progress: Progress) -> None:
    """Raise TypeError for what `monitored` does not take, where it is called after other work."""
    if not (progress is None or callable(progress) or isinstance(progress, (bool, np.bool_))):
        raise TypeError(
            f"progress={shown(progress)}: expected True, False or a function of (stage, done, "
            "total)"
        )


def monitored(
    progress: Progress, description: str, *, clock: Callable[[], float] = time.monotonic
) -> AbstractContextManager[Monitor | None]:
    """Return a context of what the core is to call with (stage, done, total), or None.

    `progress` may be such a callable itself, or None for nothing. True shows a bar, in a notebook
    or on standard error if that is a terminal, for which tqdm has to be installed. Elsewhere it
    writes a line to standard error every 30 seconds by the `clock`.

    Raises
    ------
    TypeError
        As `require_progress`.
    """
    require_progress(progress)
    if not isinstance(progress, (bool, np.bool_)):
        return nullcontext(progress)
    if not progress:
        return _NOBODY
    try:
        if _in_notebook():
            with warnings.catch_warnings():
                # Without ipywidgets the bar is one of text, and tqdm asks for them each time.
                warnings.simplefilter("ignore")
                from tqdm.auto import tqdm as for_notebooks

            return _shown(for_notebooks, description)
        if sys.stderr.isatty():
            from tqdm import tqdm

            return _shown(tqdm, description)
    except ImportError:
        pass
    return _written(description, clock)


def _in_notebook() -> bool:
    """Return whether a kernel of Jupyter runs this."""
    ipython: Any = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return hasattr(shell, "kernel")


@contextmanager
def _shown(tqdm: Any, description: str) -> Iterator[Monitor]:
    with tqdm(desc=description, leave=False, file=sys.stderr) as bar:

        def update(stage: str, done: int, total: int) -> None:
            bar.set_description(f"{description}: {stage}", refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        yield update


@contextmanager
def _written(description: str, clock: Callable[[], float]) -> Iterator[Monitor]:
    start = last = clock()

    def update(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = clock()
        if now - last < _SECONDS:
            return
        last = now
        minutes, seconds = divmod(round(now - start), 60)
        elapsed = f"{minutes}:{seconds:02d} min"
        sys.stderr.write(f"{description}: {stage}, {done} of {total} after {elapsed}\n")
        sys.stderr.flush()

    yield update
