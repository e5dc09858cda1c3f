# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastntk``."""

from __future__ import annotations

import os
import sys
from typing import Any


def main() -> None:
    """Run the command line interface, or say what it lacks."""
    try:
        from fastntk._cli import cli

        cli(prog_name="fastntk")
    except ModuleNotFoundError as error:
        # Some say themselves what is to be installed.
        told = str(error)
        if "pip install" not in told:
            told = f"{error.name} is not installed; pip install 'fastntk[study]'"
        sys.exit(f"fastntk: {told}")
    except OSError as error:  # of what is printed: commands explain those of files themselves
        sys.exit(f"Error: standard output: {error.strerror}")
    finally:
        _end_output()


def _end_output() -> None:
    """Drop what cannot be printed, of which Python would complain once more when it ends."""
    output: Any = sys.stdout
    if output is None:  # closed before the start
        return
    try:
        output.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), output.fileno())


if __name__ == "__main__":
    main()
