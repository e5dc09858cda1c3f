# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastntk study``."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fastntk._cli.drawn import beside, draw
from fastntk._cli.kept import keep_others, table_in
from fastntk._cli.options import (
    ACTIVATION,
    ACTIVATION_SCALE,
    DTYPE,
    FORMAT,
    SUBSET,
    TOLERANCE,
    depths_option,
    directory_option,
    explained_ends,
    numbers,
    seeds_option,
    store_option,
)
from fastntk._cli.samples import Reading, load_samples, reading_options
from fastntk._cli.tables import mean_and_deviation, print_table
from fastntk._support.display import counted
from fastntk.eigenvalues import kappa_at_least
from fastntk.layers.kinds import KINDS
from fastntk.networks.initialization import PARAMETRIZATIONS
from fastntk.studies.depth import depth_study
from fastntk.studies.depth_results import COSTS

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from fastntk.datasets import Dataset
    from fastntk.studies.depth_results import DepthStudy


def _alpha(value: str) -> float | str:
    """Return a number, or a rule, as it was typed."""
    try:
        return float(value)
    except ValueError:
        return value


@click.command()
@click.argument("data")
@click.option(
    "--architecture",
    "kinds",
    type=click.Choice(KINDS),
    multiple=True,
    default=("plain",),
    help="May be repeated.",
)
@click.option(
    "--residual-scale",
    "alphas",
    type=_alpha,
    multiple=True,
    default=("1",),
    metavar="NUMBER|1/sqrt(L)",
    help="α of the blocks, of which there are L; may be repeated.",
)
@depths_option("0-10")
@click.option("--width", type=numbers, default="512", metavar="LIST", help="Of every hidden layer.")
@seeds_option("5", "networks for each depth")
@click.option(
    "--activation",
    "names",
    type=ACTIVATION,
    multiple=True,
    default=("relu", "identity"),
    help="May be repeated; identity is the linear network.",
)
@ACTIVATION_SCALE
@click.option("--weight-std", type=float, default=1.0, help="σ_w of the weights.")
@click.option("--bias-std", type=float, default=0.0, help="σ_b of the biases; 0: none.")
@click.option(
    "--parametrization",
    type=click.Choice(PARAMETRIZATIONS),
    default="ntk",
    help="How the kernel weighs the layers.",
)
@click.option(
    "--infinite", is_flag=True, help="Set the networks of infinite width beside the others."
)
@TOLERANCE
@click.option(
    "--batches",
    type=int,
    help="Take κ of minibatches of so many samples as well (the paper's authors: 512).",
)
@click.option("--bounds", is_flag=True, help="Also enclose each κ in an interval (in the table).")
@reading_options
@SUBSET
@DTYPE
@directory_option("fastntk-study", "the table (CSV) and the figure")
@FORMAT
@store_option("network")
def study(
    data: str,
    reading: Reading,
    subset: int | None,
    width: tuple[int, ...],
    kinds: tuple[str, ...],
    alphas: tuple[float | str, ...],
    names: tuple[str, ...],
    out: Path,
    endings: tuple[str, ...],
    store: Path | None,
    **settings: Any,
) -> None:
    """Measure smallest gradient angle and condition number against depth.

    DATA is a data set (digits, mnist, fashion-mnist, svhn, synthetic or speech), a .npy, .npz,
    .csv, .mat or IDX file with one sample a row, or a folder of audio. Started again after it was
    stopped, or with more depths, seeds or activations, it computes only what is not in its store
    yet.
    """
    # Matplotlib takes longer to import than all else. Whoever lacks it hears so before the work.
    from fastntk.figures import plot_depth_study

    with explained_ends(out if store is None else store):
        dataset, called = load_samples(data, reading, subset)
        table = table_in(out, dataset.name, data)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            result = depth_study(
                dataset.X,
                architecture=kinds if len(kinds) > 1 else kinds[0],
                residual_scale=alphas if len(alphas) > 1 else alphas[0],
                width=width if len(width) > 1 else width[0],
                activations=names,
                store=out / f"{dataset.name}.sqlite" if store is None else store,
                data=called,
                **settings,
            )
        for warning in caught:
            click.echo(f"Warning: {warning.message}", err=True)
        figures = beside(table, endings)
        keep_others(table, result.to_frame(), beside(table), COSTS)
        result.save(table)
        drawn = draw(plot_depth_study(result), figures)
    _print_study(dataset, result)
    click.echo(f"\nTable of all seeds: {table}\n{drawn}")


def _print_study(dataset: Dataset, result: DepthStudy) -> None:
    n, d = dataset.X.shape
    summary = result.summary()
    widths = ", ".join(map(str, result.widths))
    stored = f" ({result.stored} of {len(result.results)} networks from the store)"
    seeds = counted(int(summary.seeds.max()), "seed")
    click.echo(
        f"{dataset.name}: {n} samples of dimension {d}, width {widths}, "
        f"{seeds}, {result.seconds:.1f} s{stored if result.stored else ''}"
    )
    of_batches = "" if result.batch_size is None else ", of κ of batches over batches"
    click.echo(
        f"Mean ± standard deviation over seeds{of_batches}; the pair is that of most seeds.\n"
    )
    columns = ["network", "depth", "smallest angle", "pair", "λ_min", "λ_max", "κ"]
    several_widths = len(summary["width"].unique()) > 1
    if several_widths:
        columns.insert(1, "width")
    if result.batch_size is not None:
        columns.append(f"κ of batches of {result.batch_size}")
    rows = [
        _table_row(row, several_widths, result.batch_size is not None)
        for _, row in summary.iterrows()
    ]
    print_table(columns, rows)


def _table_row(row: pd.Series[Any], with_width: bool, with_batches: bool) -> list[str]:
    i, j = row["pair"]
    if i < 0:
        angle, pair = "undefined", "none"
    else:
        angle, pair = mean_and_deviation(row, "smallest_angle", ".3f") + "°", f"{i}, {j}"
        if 0 < row["smallest_angle"] < 1e-3:
            angle = mean_and_deviation(row, "smallest_angle", ".4g") + "°"
        if not row["angle_resolved"]:
            angle += " (unresolved)"
    if row["resolved"]:
        smallest, kappa = (
            mean_and_deviation(row, "eigenvalue_min", ".3g"),
            mean_and_deviation(row, "condition_number", ".3g"),
        )
    else:
        smallest = f"unresolved (rank {row['rank']})"
        kappa = kappa_at_least(row["eigenvalue_max"], row["noise_floor"])
    kind = f"{row['architecture']}, " if "architecture" in row else ""
    result = [kind + row["activation"]]
    if with_width:
        result.append("infinite" if np.isinf(row["width"]) else f"{row['width']:g}")
    result += [
        str(row["depth"]),
        angle,
        pair,
        smallest,
        mean_and_deviation(row, "eigenvalue_max", ".4g"),
        kappa,
    ]
    if with_batches:
        known = np.isfinite(row["batch_condition_number"])
        # The spread over batches, which is what the authors' protocol has.
        result.append(
            mean_and_deviation(row, "batch_condition_number", ".3g", "batch_spread")
            if known
            else "unresolved"
        )
    return result
