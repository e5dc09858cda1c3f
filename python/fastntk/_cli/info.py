# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastntk info``."""

from __future__ import annotations

import click

from fastntk.info import describe


@click.command()
def info() -> None:
    """Show versions, BLAS, threads, instruction set, memory, and what is missing."""
    rows = describe()
    width = max(len(what) for what, _ in rows)
    for what, value in rows:
        click.echo(f"{what:<{width}}  {value}")
