# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""A library in a process of its own, as who asks sees it: `serving.py` is the other end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

ROOT = Path(__file__).parents[2]

# Freed memory goes back at once: otherwise a call would reuse what earlier ones have left.
GIVING_BACK = {"MALLOC_MMAP_THRESHOLD_": "65536"}


class PeerError(RuntimeError):
    """A library could not do what it was asked for; the message ends with its traceback."""


class Peer(Protocol):
    """What can be asked of a library, wherever it runs."""

    def versions(self) -> dict[str, str]:
        """Return which versions of what are running."""

    def prepare(
        self, function: str, arrays: Mapping[str, npt.NDArray[Any]], settings: Mapping[str, Any]
    ) -> tuple[int, npt.NDArray[Any]]:
        """Get ready to compute, warmed up; return the number of what is ready, and the answer."""

    def forget(self) -> None:
        """Let go of all that was prepared, and of its memory."""

    def time(self, which: int, repeats: int = 1) -> tuple[float, float]:
        """Return the seconds of a call of what is ready, and those of all cores together."""

    def peak(self, which: int) -> int:
        """Return by how many bytes a call raises what the process holds of memory."""

    def close(self) -> None:
        """End the process."""


def thread_environment(threads: int) -> dict[str, str]:
    """Return the variables that tell every library how many threads to use."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    return {f"{name}_NUM_THREADS": str(threads) for name in names}


class PeerProcess:
    """A module of this package, run by a Python; replies are waited for.

    Parameters
    ----------
    python : str or path
    module : str
        `benchmarks.peers.by_…`.
    threads : int
        The process keeps to as many processors where the system can tell it so.
    environment : mapping, optional
        More variables.
    """

    def __init__(
        self,
        python: str | Path,
        module: str,
        threads: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.module = module
        self._folder = tempfile.TemporaryDirectory()
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115
        here = (str(ROOT), os.environ.get("PYTHONPATH", "")) if _is_ours(python) else (str(ROOT),)
        variables = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, here))}
        variables |= thread_environment(threads) | dict(environment or {})
        self._process = subprocess.Popen(
            [str(python), "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=variables,
        )

    def __enter__(self) -> PeerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def versions(self) -> dict[str, str]:
        """Return which versions of what are running."""
        return dict(self._ask("versions")["versions"])

    def prepare(
        self, function: str, arrays: Mapping[str, npt.NDArray[Any]], settings: Mapping[str, Any]
    ) -> tuple[int, npt.NDArray[Any]]:
        """Get ready to compute, warmed up; return the number of what is ready, and the answer."""
        given, answer = (Path(self._folder.name, name) for name in ("given.npz", "answer.npy"))
        np.savez(given, allow_pickle=False, **arrays)
        reply = self._ask("prepare", function, str(given), dict(settings), str(answer))
        result: npt.NDArray[Any] = np.load(answer)
        for file in (given, answer):
            file.unlink()
        return int(reply["which"]), result

    def forget(self) -> None:
        """Let go of all that was prepared, and of its memory."""
        self._ask("forget")

    def time(self, which: int, repeats: int = 1) -> tuple[float, float]:
        """Return the seconds of a call of what is ready, and those of all cores together."""
        reply = self._ask("time", which, repeats)
        return float(reply["wall"]), float(reply["cpu"])

    def peak(self, which: int) -> int:
        """Return by how many bytes a call raises what the process holds of memory."""
        return int(self._ask("peak", which)["bytes"])

    def close(self) -> None:
        """End the process."""
        self._process.communicate()
        self._log.close()
        self._folder.cleanup()

    def _ask(self, what: str, *arguments: Any) -> dict[str, Any]:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"do": what, "arguments": arguments}) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            raise PeerError(
                f"{self.module} has ended ({process.wait()}):\n{self._log.read()[-4000:]}"
            )
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            trace = reply["error"].strip()
            raise PeerError(f"{self.module} failed: {trace.splitlines()[-1]}\n{trace}")
        return reply


def _is_ours(python: str | Path) -> bool:
    return Path(python) == Path(sys.executable)
