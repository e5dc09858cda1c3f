# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastntk kernel``."""

from __future__ import annotations

from contextlib import nullcontext
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
from fastntk.eigenvalues import conditioning
from fastntk.mlp import MLP
from fastntk.studies.large_kernel import kernel_report

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk._support.dtypes import FloatArray


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
@click.option(
    "--cluster",
    metavar="ADDRESS",
    show_default="this process",
    help="With --out NAME.zarr: tcp://HOST:PORT of a Dask scheduler, or local:N for N processes.",
)
@click.option(
    "--chunks", type=int, show_default="2048", help="With --out NAME.zarr: rows of a tile."
)
@directory_option(
    "fastntk-kernel",
    "the results and, meanwhile, the kernel: 4 n² bytes on disk; or NAME.zarr for the kernel, "
    "tile by tile: 8 n² bytes",
)
def kernel(
    data: str,
    reading: Reading,
    subset: int | None,
    depth: int,
    width: int,
    out: Path,
    bounds: bool,
    keep_kernel: bool,
    cluster: str | None,
    chunks: int | None,
    **network: Any,
) -> None:
    """Report smallest angle, λ_min, λ_max and κ of one kernel, as large as half the memory.

    DATA as for study. Each finished step is kept: started again, the command goes on there. With
    --out NAME.zarr the kernel is kept, in tiles, and λ_min, λ_max and κ are those of the tiles:
    neither has to fit in the memory of a machine.
    """
    with explained_ends(out):
        dataset, _ = load_samples(data, reading, subset)
        if depth < 0:
            raise ValueError(f"depth={depth}: expected at least 0")
        if width < 1:  # without hidden layers, too
            raise ValueError(f"width={width}: expected an integer of at least 1")
        widths = [dataset.X.shape[1], *[width] * depth, 1]
        net = MLP(widths, **network)
        report: object
        if out.suffix != ".zarr" and out.name.lower().endswith(".zarr"):
            raise ValueError(
                f"out={str(out)!r}: expected NAME.zarr in small letters for the kernel in tiles, "
                "or another directory"
            )
        if out.suffix == ".zarr":
            if keep_kernel:
                raise ValueError("keep_kernel=True: expected no such option with --out NAME.zarr")
            report = _in_tiles(net, dataset.X, out, bounds, cluster, chunks)
        elif cluster is not None or chunks is not None:
            name, value = ("chunks", chunks) if cluster is None else ("cluster", cluster)
            raise ValueError(f"{name}={value!r}: expected --out NAME.zarr with it, not --out {out}")
        else:
            report = kernel_report(
                net, dataset.X, out, bounds=bounds, keep_kernel=keep_kernel, progress=True
            )
    click.echo(f"{dataset.name}, {net!r}\n{report}")


def _in_tiles(
    net: MLP, X: FloatArray, out: Path, bounds: bool, cluster: str | None, chunks: int | None
) -> str:
    """Compute a kernel into a store of zarr, and return a report."""
    from fastntk.distributed import plan, store
    from fastntk.distributed.clusters import connected

    size: Any = "auto" if chunks is None else chunks
    with nullcontext() if cluster is None else connected(cluster):
        click.echo(str(plan(net, X, chunks=size, dtype="float64")))
        stored = store(out, net, X, chunks=size, dtype="float64", progress=True)
        click.echo(str(stored))
        error = net.astype("float64").feature_error  # that of a kernel in float64
        result = conditioning(stored.array(), bounds=bounds, feature_error=error, progress=True)
    if bounds:
        result = result.widened(**net.ntk_errors(X, dtype="float64"))
    return str(result)
