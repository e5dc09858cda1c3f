# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastntk constancy``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import numpy as np

from fastntk._cli.drawn import beside, draw
from fastntk._cli.kept import keep_others, table_in
from fastntk._cli.options import (
    ACTIVATION,
    FORMAT,
    directory_option,
    explained_ends,
    numbers,
    seeds_option,
    store_option,
)
from fastntk._cli.samples import Reading, load_samples, reading_options
from fastntk._cli.tables import print_table
from fastntk._support.display import counted
from fastntk.studies.constancy import constancy_study
from fastntk.studies.constancy_cells import ARCHITECTURES
from fastntk.studies.samples import numbers_of_labels

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk.studies.constancy_results import ConstancyStudy

# Kernels are formed, and Hessians multiplied, for each network: some tens of samples do.
_SAMPLES = 32


@click.command()
@click.argument("data")
@click.option(
    "--widths",
    type=numbers,
    default="64,128,256,512,1024",
    metavar="LIST",
    help="Of the hidden layers.",
)
@click.option(
    "--architecture",
    "architectures",
    type=click.Choice(ARCHITECTURES),
    multiple=True,
    default=ARCHITECTURES,
    show_default="all",
    help="May be repeated.",
)
@click.option("--depth", type=int, default=2, help="Number of hidden layers.")
@click.option("--bottleneck", type=int, default=2, help="Width of the narrow layer.")
@click.option("--activation", type=ACTIVATION, default="tanh")
@seeds_option("5", "networks of each kind")
@click.option("--learning-rate", type=float, show_default="half of the largest stable one")
@click.option("--epochs", type=int, default=4000, help="At most so many steps.")
@click.option("--loss-target", type=float, default=2e-3, help="The loss at which training ends.")
@click.option(
    "--subset",
    type=int,
    show_default=f"{_SAMPLES}, or all of fewer",
    help="Take only so many samples, at random (seed 0).",
)
@reading_options
@directory_option("fastntk-constancy", "the table (CSV) and the figure")
@FORMAT
@store_option("network")
def constancy(
    data: str,
    subset: int | None,
    reading: Reading,
    out: Path,
    endings: tuple[str, ...],
    store: Path | None,
    **settings: Any,
) -> None:
    """Measure whether the kernel is constant, and how all that decides it scales with the width.

    DATA as for study, with labels: networks learn them as numbers from 0.25 to 0.75.
    """
    # Matplotlib takes longer to import than all else. Whoever lacks it hears so before the work.
    from fastntk.figures import plot_constancy

    with explained_ends(out if store is None else store):
        samples, called = load_samples(data, reading, subset, _SAMPLES)
        if samples.y is None:
            raise ValueError(f"data={data!r}: has no labels: expected a data set with labels")
        name = samples.name
        table = table_in(out, name, data)
        result = constancy_study(
            samples.X,
            numbers_of_labels(np.asarray(samples.y)),
            store=out / f"{name}.sqlite" if store is None else store,
            data=called,
            **settings,
        )
        figures = beside(table, endings)
        keep_others(table, result.to_frame(), beside(table), ("seconds",))
        result.save(table)
        drawn = draw(plot_constancy(result), figures)
    _print_constancy(name, result)
    click.echo(f"\nTable: {table}\n{drawn}")


def _print_constancy(name: str, result: ConstancyStudy) -> None:
    summary = result.summary()
    widths = sorted(summary["width"].unique().tolist())
    click.echo(
        f"{name}: {result.n_samples} samples, widths {', '.join(map(str, widths))}, "
        f"{counted(int(summary['seeds'].max()), 'seed')}, {result.seconds:.1f} s"
    )
    click.echo(
        "Slopes in log–log against the width, with intervals of 95 % (bootstrap over seeds); what\n"
        "is measured after training is of the networks that reached the loss.\n"
    )
    slopes = result.slopes()
    columns = {
        "‖H‖": "hessian_norm",
        "‖∇f‖": "gradient_norm",
        "‖ΔK‖/‖K‖": "relative_change",
        "‖Δw‖₂": "weight_change",
        "‖Δw‖∞": "weight_change_max",
    }
    rows = []
    for architecture, cells in slopes.groupby("architecture", sort=False):
        by_name = cells.set_index("quantity")
        chosen = summary[summary["architecture"] == architecture]
        reached = f"{chosen['reached'].sum()} of {chosen['seeds'].sum()}"
        if chosen["diverged"].sum():
            reached += f", {chosen['diverged'].sum()} diverged"
        rows.append(
            [
                str(architecture),
                *(_slope(by_name.loc[quantity]) for quantity in columns.values()),
                reached,
            ]
        )
    print_table(["architecture", *columns, "reached"], rows)


def _slope(row: Any) -> str:
    if np.isnan(row["slope"]):
        return "–"
    text = f"{row['slope']:+.2f}"
    if not np.isnan(row["lower"]):
        text += f" [{row['lower']:+.2f}, {row['upper']:+.2f}]"
    return text.replace("-", "−")
