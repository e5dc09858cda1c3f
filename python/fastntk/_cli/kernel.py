# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastntk kernel``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fastntk._cli.options import (
    ACTIVATION,
    ACTIVATION_SCALE,
    DTYPE,
    SUBSET,
    directory_option,
    explained_ends,
)
from fastntk._cli.samples import Reading, load_samples, reading_options
from fastntk.mlp import MLP
from fastntk.studies.large_kernel import kernel_report

if TYPE_CHECKING:
    from pathlib import Path


@click.command()
@click.argument("data")
@click.option("--depth", type=int, default=3, help="Number of hidden layers.")
@click.option("--width", type=int, default=512, help="Of every hidden layer.")
@click.option("--activation", type=ACTIVATION, default="relu", help="φ.")
@ACTIVATION_SCALE
@click.option("--seed", type=int, default=0, help="Of the weights.")
@click.option("--bounds", is_flag=True, help="Also enclose κ: a second Cholesky decomposition.")
@reading_options
@SUBSET
@DTYPE
@click.option("--keep-kernel", is_flag=True, help="Leave the packed kernel in the directory.")
@directory_option("fastntk-kernel", "the results and, meanwhile, the kernel: 4 n² bytes on disk")
def kernel(
    data: str,
    reading: Reading,
    subset: int | None,
    depth: int,
    width: int,
    out: Path,
    bounds: bool,
    keep_kernel: bool,
    **network: Any,
) -> None:
    """Report smallest angle, λ_min, λ_max and κ of one kernel, as large as half the memory.

    DATA as for study. Each finished step is kept: started again, the command goes on there.
    """
    with explained_ends(out):
        dataset = load_samples(data, reading, subset)
        if depth < 0:
            raise ValueError(f"depth={depth}: expected at least 0")
        widths = [dataset.X.shape[1], *[width] * depth, 1]
        net = MLP(widths, **network)
        report = kernel_report(
            net, dataset.X, out, bounds=bounds, keep_kernel=keep_kernel, progress=True
        )
    click.echo(f"{dataset.name}, {net!r}\n{report}")
