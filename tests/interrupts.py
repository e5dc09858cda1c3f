# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C for a program in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
import time


def assert_ctrl_c_stops(program: str, then: str) -> None:
    """Run a program that prints "started", on SIGINT "interrupted", and then the line `then`."""
    # Where tests run in the background, SIGINT may be ignored, by what they start as well.
    listening = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
    with subprocess.Popen(
        [sys.executable, "-c", listening + textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        sent = time.perf_counter()
        assert process.stdout.readline() == "interrupted\n"
        # A second is the promise on an idle machine; others may be at work on this one.
        assert time.perf_counter() - sent < 5.0
        assert process.stdout.readline() == f"{then}\n"
        assert process.wait() == 0
