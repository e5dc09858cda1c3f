# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastntk``."""

from __future__ import annotations

import sys


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


if __name__ == "__main__":
    main()
