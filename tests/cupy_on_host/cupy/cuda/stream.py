# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""`cupy.cuda.stream`: a current stream for the thread, the null stream by default."""

# ruff: noqa: ARG002 -- the parameters are those of CuPy

from __future__ import annotations

import itertools
from typing import Any, ClassVar

from cupy.cuda import runtime

_handles = itertools.count(0x1000, 0x10)


class Stream:
    """A stream; `ptr` is its handle. In a `with` statement, or after `use`, the current one."""

    null: ClassVar[Stream]

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False) -> None:
        self.ptr = 0 if null else runtime.streamPerThread if ptds else next(_handles)
        self._before: list[Stream] = []

    def use(self) -> Stream:
        """Make it current."""
        _current[0] = self
        return self

    def synchronize(self) -> None:
        """Wait for its work."""
        runtime.streamSynchronize(self.ptr)

    def __enter__(self) -> Stream:
        self._before.append(_current[0])
        return self.use()

    def __exit__(self, *error: Any) -> None:
        _current[0] = self._before.pop()


class ExternalStream(Stream):
    """A stream that was made elsewhere."""

    def __init__(self, ptr: int, device_id: int = -1) -> None:
        super().__init__(null=True)
        self.ptr = ptr


Stream.null = Stream(null=True)
_current = [Stream.null]


def get_current_stream(device_id: int = -1) -> Stream:
    """The stream that work is given to."""
    return _current[0]
