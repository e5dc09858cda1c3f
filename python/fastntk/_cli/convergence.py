# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The command ``fastntk convergence``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fastntk._cli.drawn import beside, draw
from fastntk._cli.kept import keep_others, table_in
from fastntk._cli.options import (
    ACTIVATION,
    ACTIVATION_SCALE,
    FORMAT,
    depths_option,
    directory_option,
    explained_ends,
    seeds_option,
    store_option,
)
from fastntk._cli.samples import Reading, load_for_training, reading_options
from fastntk._cli.tables import mean_and_deviation, print_table
from fastntk._support.display import counted
from fastntk.studies.convergence import convergence_study

if TYPE_CHECKING:
    from pathlib import Path

    from fastntk.studies.convergence_results import ConvergenceStudy

# Samples of a step, where there are so many.
_BATCH_SIZE = 500


@click.command()
@click.argument("data")
@depths_option("1-4,6,8")
@click.option("--width", type=int, default=512, help="Of every hidden layer.")
@seeds_option("3", "networks for each depth")
@click.option("--activation", type=ACTIVATION, default="relu")
@ACTIVATION_SCALE
@click.option(
    "--batch-size", type=int, show_default="500, or all of fewer", help="Samples of a step."
)
@click.option("--epochs", type=int, default=40, help="Of the training on cross-entropy.")
@click.option(
    "--loss-target", type=float, default=0.1, help="The cross-entropy that is to be reached."
)
@click.option(
    "--rate-samples", type=int, default=100, help="How many samples κ and the rates are of."
)
@click.option(
    "--rate-steps",
    type=int,
    default=2000,
    help="On the square loss; more show slower tails.",
)
@click.option(
    "--subset",
    type=int,
    show_default="10 000, or 4/5 of fewer",
    help="Train on so many samples, at random (seed 0).",
)
@reading_options
@directory_option("fastntk-convergence", "the tables (CSV) and the figure")
@FORMAT
@store_option("training")
def convergence(
    data: str,
    subset: int | None,
    reading: Reading,
    out: Path,
    endings: tuple[str, ...],
    store: Path | None,
    batch_size: int | None,
    **settings: Any,
) -> None:
    """Train networks of several depths, and set how fast they converge beside κ.

    DATA as for study, with labels. The test accuracy is that of its test samples or, where it has
    none, of the samples that are not trained on.
    """
    # Matplotlib takes longer to import than all else. Whoever lacks it hears so before the work.
    from fastntk.figures import plot_convergence_study

    with explained_ends(out if store is None else store, RuntimeError):
        name, called, X, y, test = load_for_training(data, reading, subset)
        table = table_in(out, name, data)
        result = convergence_study(
            X,
            y,
            test=test,
            store=out / f"{name}.sqlite" if store is None else store,
            data=called,
            batch_size=min(_BATCH_SIZE, len(X)) if batch_size is None else batch_size,
            **settings,
        )
        figures = beside(table, endings)
        others = [*result.files(table)[1:], *beside(table)]
        keep_others(table, result.to_frame(), others, ("seconds",))
        tables = result.save(table)
        drawn = draw(plot_convergence_study(result), figures)
    _print_convergence(name, result)
    click.echo(f"\nTables: {', '.join(map(str, tables))}\n{drawn}")


def _print_convergence(name: str, result: ConvergenceStudy) -> None:
    summary = result.summary()
    click.echo(
        f"{name}: {result.n_samples} training samples, width {result.width}, "
        f"{counted(int(summary.seeds.max()), 'seed')}, {result.seconds:.1f} s"
    )
    click.echo(
        f"Mean ± standard deviation over seeds. Of {result.results[0].rate.n} samples: κ, and what "
        "the square loss is\nmultiplied with at a step (in brackets: for how many seeds the tail "
        "was reached).\n"
    )
    target = f"epochs to {result.loss_target:g}"
    columns = ["depth", "κ", "predicted", "measured", "learning rate", target, "test accuracy"]
    rows = [
        [
            f"{row['depth']:g}",
            mean_and_deviation(row, "condition_number", ".3g"),
            f"{row['predicted_rate']:.5f}",
            f"{row['measured_rate']:.5f} ({row['rates_resolved']:g})",
            f"{row['learning_rate']:.3g}",
            mean_and_deviation(row, "epochs_to_target", ".1f") if row["reached"] else "not reached",
            mean_and_deviation(row, "test_accuracy", ".2%"),
        ]
        for _, row in summary.iterrows()
    ]
    print_table(columns, rows)
