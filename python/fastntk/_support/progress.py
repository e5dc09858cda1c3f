# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Progress bars for what takes more than a few seconds."""

from __future__ import annotations

import sys
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


def require_progress(progress: Progress) -> None:
    """Raise TypeError for what `monitored` does not take, where it is called after other work."""
    if not (progress is None or callable(progress) or isinstance(progress, (bool, np.bool_))):
        raise TypeError(
            f"progress={shown(progress)}: expected True, False or a function of (stage, done, "
            "total)"
        )


def monitored(progress: Progress, description: str) -> AbstractContextManager[Monitor | None]:
    """Return a context of what the core is to call with (stage, done, total), or None.

    `progress` may be such a callable itself, or None for nothing. True shows a bar on standard
    error if that is a terminal and tqdm is installed.

    Raises
    ------
    TypeError
        As `require_progress`.
    """
    require_progress(progress)
    if not isinstance(progress, (bool, np.bool_)):
        return nullcontext(progress)
    if not progress or not sys.stderr.isatty():
        return _NOBODY
    try:
        from tqdm import tqdm
    except ImportError:
        return _NOBODY
    return _shown(tqdm, description)


@contextmanager
def _shown(tqdm: Any, description: str) -> Iterator[Monitor]:
    with tqdm(desc=description, leave=False, file=sys.stderr) as bar:

        def update(stage: str, done: int, total: int) -> None:
            bar.set_description(f"{description}: {stage}", refresh=False)
            bar.total = total
            bar.update(done - bar.n)

        yield update
