# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The commands: what they take, what they print, and which files they write."""

from __future__ import annotations

from importlib.metadata import version

import click

from fastntk._cli.constancy import constancy
from fastntk._cli.convergence import convergence
from fastntk._cli.info import info
from fastntk._cli.kernel import kernel
from fastntk._cli.paper import figure, reproduce, table
from fastntk._cli.study import study


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(version("fastntk"))
def cli() -> None:
    """Neural tangent kernels of wide networks, and how well they are conditioned."""


for command in (constancy, convergence, figure, info, kernel, reproduce, study, table):
    cli.add_command(command)
