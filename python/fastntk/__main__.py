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
        sys.exit(f"fastntk: {error.name} is not installed; pip install 'fastntk[study]'")


if __name__ == "__main__":
    main()
