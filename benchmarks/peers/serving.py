# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What runs in the process of a library: it prepares a computation, and then times it on request.

Requests and replies are lines of JSON on standard input and output, arrays go through files. This
file needs NumPy alone, as it runs in the environment of the peers too.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    # A function of the arrays and settings of a workload that returns the computation itself.
    Prepare = Callable[[Mapping[str, Any], Mapping[str, Any]], Callable[[], Any]]


class Server:
    """Answers requests; `prepare` has the library's computations by name."""

    def __init__(self, prepare: Mapping[str, Prepare], versions: Mapping[str, str]) -> None:
        self._prepare = prepare
        self._versions = dict(versions)
        self._ready: list[Callable[[], Any]] = []

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what is asked, and return what was found."""
        return getattr(self, f"do_{request['do']}")(  # type: ignore[no-any-return]
            *request.get("arguments", ())
        )

    def do_versions(self) -> dict[str, Any]:
        """Return which versions of what are running."""
        return {"versions": self._versions}

    def do_forget(self) -> dict[str, Any]:
        """Let go of all that was prepared, and of its memory."""
        self._ready.clear()
        gc.collect()
        return {}

    def do_prepare(
        self, function: str, given: str, settings: Mapping[str, Any], answer: str
    ) -> dict[str, Any]:
        """Get ready to compute, compute once to warm up, and keep the result in a file."""
        with np.load(given) as file:
            arrays = dict(file)
        compute = self._prepare[function](arrays, settings)
        np.save(answer, np.asarray(compute()))
        self._ready.append(compute)
        return {"which": len(self._ready) - 1}

    def do_time(self, which: int, repeats: int) -> dict[str, Any]:
        """Return the seconds of a call, and those of all cores together."""
        compute = self._ready[which]
        gc.collect()
        gc.disable()
        try:
            wall, cpu = time.perf_counter(), time.process_time()
            for _ in range(repeats):
                compute()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        finally:
            gc.enable()
        return {"wall": wall / repeats, "cpu": cpu / repeats}

    def do_peak(self, which: int) -> dict[str, Any]:
        """Return by how many bytes a call raises what the process holds of memory (on Linux)."""
        compute = self._ready[which]
        gc.collect()
        with open("/proc/self/clear_refs", "w") as file:  # noqa: PTH123
            file.write("5")  # the peak is what is held now
        before = _status("VmRSS")
        result = compute()
        del result
        return {"bytes": _status("VmHWM") - before}


def _status(key: str) -> int:
    with open("/proc/self/status") as file:  # noqa: PTH123
        for line in file:
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {key}")


def serve(prepare: Mapping[str, Prepare], versions: Mapping[str, str]) -> None:
    """Answer the lines of standard input until it ends."""
    # What libraries print must not come between the replies.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    server = Server(prepare, versions)
    for line in sys.stdin:
        try:
            reply = server.answer(json.loads(line))
        except Exception:
            reply = {"error": traceback.format_exc()}
        print(json.dumps(reply), file=replies, flush=True)
