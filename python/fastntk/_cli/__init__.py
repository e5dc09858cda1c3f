# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The commands: what they take, what they print, and which files they write."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

import fastntk
from fastntk import activations, datasets, figures, info
from fastntk.eigenvalues import rounded_down
from fastntk.networks import initialization

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fastntk.studies.convergence_results import ConvergenceStudy
    from fastntk.studies.results import DepthStudy

# The paper's experiments on convergence have all 60 000; these take minutes.
_TRAINING_SAMPLES = 10_000


def _numbers(value: str) -> tuple[int, ...]:
    """Return the integers in a list of numbers and ranges: "0-3,5,8"."""
    result: list[int] = []
    for part in value.split(","):
        first, dash, last = part.strip().partition("-")
        try:
            begin, end = int(first), int(last) if dash else int(first)
        except ValueError:
            raise click.BadParameter(
                f"{value!r}: expected numbers and ranges such as 0-3,5,8"
            ) from None
        if end < begin:
            raise click.BadParameter(f"{value!r}: the range {part!r} is empty")
        result.extend(range(begin, end + 1))
    return tuple(result)


_SUBSET = click.option("--subset", type=int, help="Take only so many samples, at random (seed 0).")
_DTYPE = click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    help="Of the networks; Gram matrices are always in float64.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.version_option(fastntk.__version__)
def cli() -> None:
    """Neural tangent kernels of wide networks, and how well they are conditioned."""


@cli.command("info")
def info_command() -> None:
    """Show versions, BLAS, threads, instruction set, memory, and what is missing."""
    rows = info.describe()
    width = max(len(what) for what, _ in rows)
    for what, value in rows:
        click.echo(f"{what:<{width}}  {value}")


@cli.command()
@click.argument("data")
@click.option(
    "--depths", type=_numbers, default="0-10", metavar="LIST", help="Numbers of hidden layers."
)
@click.option(
    "--width", type=_numbers, default="512", metavar="LIST", help="Of every hidden layer."
)
@click.option("--seeds", type=int, default=5, help="How many networks for each depth.")
@click.option(
    "--activation",
    "names",
    type=click.Choice(activations.FINITE_WIDTH),
    multiple=True,
    default=("relu", "identity"),
    help="May be repeated; identity is the linear network.",
)
@click.option("--weight-std", type=float, default=1.0, help="σ_w of the weights.")
@click.option("--bias-std", type=float, default=0.0, help="σ_b of the biases; 0: none.")
@click.option(
    "--parametrization",
    type=click.Choice(initialization.PARAMETRIZATIONS),
    default="ntk",
    help="How the kernel weighs the layers.",
)
@click.option(
    "--infinite", is_flag=True, help="Set the networks of infinite width beside the others."
)
@click.option(
    "--batches",
    type=int,
    help="Take κ of minibatches of so many samples as well (the paper's authors: 512).",
)
@click.option("--bounds", is_flag=True, help="Also enclose each κ in an interval (in the table).")
@_SUBSET
@_DTYPE
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("fastntk-study"),
    help="Directory for the table (CSV) and the figure (PNG).",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="DATA.sqlite beside the table",
    help="File that keeps each network as soon as it is finished: the same command goes on there.",
)
def study(
    data: str,
    subset: int | None,
    width: tuple[int, ...],
    names: tuple[str, ...],
    out: Path,
    store: Path | None,
    **settings: Any,
) -> None:
    """Measure smallest gradient angle and condition number against depth.

    DATA is a data set ("digits": 1797 images, pixels scaled to [-1, 1]) or a .npy, .npz or .csv
    file with one sample a row, taken as it is. Started again after it was stopped, or with more
    depths, seeds or activations, it computes only what is not in its store yet.
    """
    try:
        dataset = _samples(data, subset)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            result = fastntk.depth_study(
                dataset.X,
                width=width if len(width) > 1 else width[0],
                activations=names,
                store=out / f"{dataset.name}.sqlite" if store is None else store,
                **settings,
            )
        for warning in caught:
            click.echo(f"Warning: {warning.message}", err=True)
        table, figure = out / f"{dataset.name}.csv", out / f"{dataset.name}.png"
        result.save(table)
        figures.save(result.plot(), figure)
    except (ValueError, TypeError, MemoryError, OSError) as error:
        raise click.ClickException(str(error)) from error
    _print_study(dataset, result)
    click.echo(f"\nTable of all seeds: {table}\nFigure: {figure}")


@cli.command()
@click.argument("data")
@click.option("--depth", type=int, default=3, help="Number of hidden layers.")
@click.option("--width", type=int, default=512, help="Of every hidden layer.")
@click.option(
    "--activation", type=click.Choice(activations.FINITE_WIDTH), default="relu", help="φ."
)
@click.option("--seed", type=int, default=0, help="Of the weights.")
@click.option("--bounds", is_flag=True, help="Also enclose κ: a second Cholesky decomposition.")
@_SUBSET
@_DTYPE
@click.option("--keep-kernel", is_flag=True, help="Leave the packed kernel in the directory.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("fastntk-kernel"),
    help="Directory for the results and, meanwhile, the kernel: 4 n² bytes on disk.",
)
def kernel(
    data: str,
    depth: int,
    width: int,
    activation: str,
    seed: int,
    bounds: bool,
    subset: int | None,
    dtype: str,
    keep_kernel: bool,
    out: Path,
) -> None:
    """Report smallest angle, λ_min, λ_max and κ of one kernel, as large as half the memory.

    DATA as for study. Each finished step is kept: started again, the command goes on there.
    """
    try:
        dataset = _samples(data, subset)
        if depth < 0:
            raise ValueError(f"depth={depth}: expected at least 0")
        widths = [dataset.X.shape[1], *[width] * depth, 1]
        net = fastntk.MLP(widths, activation=activation, seed=seed, dtype=dtype)
        report = fastntk.kernel_report(
            net, dataset.X, out, bounds=bounds, keep_kernel=keep_kernel, progress=True
        )
    except (ValueError, TypeError, MemoryError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{dataset.name}, {net!r}\n{report}")


@cli.command()
@click.argument("data", type=click.Choice(datasets.NAMES))
@click.option(
    "--depths", type=_numbers, default="1-4,6,8", metavar="LIST", help="Numbers of hidden layers."
)
@click.option("--width", type=int, default=512, help="Of every hidden layer.")
@click.option("--seeds", type=int, default=3, help="How many networks for each depth.")
@click.option("--activation", type=click.Choice(activations.FINITE_WIDTH), default="relu")
@click.option("--batch-size", type=int, default=500, help="Samples of a step.")
@click.option("--epochs", type=int, default=40, help="Of the training on cross-entropy.")
@click.option(
    "--loss-target", type=float, default=0.1, help="The cross-entropy that is to be reached."
)
@click.option(
    "--rate-samples", type=int, default=100, help="How many samples κ and the rates are of."
)
@click.option(
    "--rate-steps", type=int, default=2000, help="On the square loss; more show slower tails."
)
@click.option(
    "--subset",
    type=int,
    show_default="10 000, or 4/5 of fewer",
    help="Train on so many samples, at random (seed 0).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("fastntk-convergence"),
    help="Directory for the tables (CSV) and the figure (PNG).",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    show_default="DATA.sqlite beside the table",
    help="File that keeps each training as soon as it is finished: the same command goes on there.",
)
def convergence(
    data: str, subset: int | None, out: Path, store: Path | None, **settings: Any
) -> None:
    """Train networks of several depths, and set how fast they converge beside κ.

    DATA is a data set with labels. The test accuracy is that of its test samples or, where it has
    none, of the samples that are not trained on.
    """
    try:
        X, y, test = _labelled(data, subset)
        result = fastntk.convergence_study(
            X, y, test=test, store=out / f"{data}.sqlite" if store is None else store, **settings
        )
        tables, figure = result.save(out / f"{data}.csv"), out / f"{data}.png"
        figures.save(result.plot(), figure)
    except (ValueError, TypeError, MemoryError, OSError, RuntimeError) as error:
        raise click.ClickException(str(error)) from error
    _print_convergence(data, result)
    click.echo(f"\nTables: {', '.join(map(str, tables))}\nFigure: {figure}")


def _labelled(data: str, subset: int | None) -> tuple[Any, Any, tuple[Any, Any] | None]:
    """Return samples to train on and their labels, and others to test with if there are any."""
    dataset = datasets.load(data)
    labels = np.asarray(dataset.y)
    total = len(labels)
    count = min(_TRAINING_SAMPLES, 4 * total // 5) if subset is None else subset
    if not 2 <= count <= total:
        raise ValueError(f"subset={subset}: expected from 2 to the {total} samples")
    order = np.random.default_rng(0).permutation(total)
    rows, others = np.sort(order[:count]), np.sort(order[count:])
    test: Any = (dataset.X[others], labels[others]) if len(others) else None
    if data in datasets.WITH_TEST_PART:
        part = datasets.load(data, "test")
        test = part.X, part.y
    return dataset.X[rows], labels[rows], test


def _print_convergence(data: str, result: ConvergenceStudy) -> None:
    summary = result.summary()
    click.echo(
        f"{data}: {result.n_samples} training samples, width {result.width}, "
        f"{int(summary.seeds.max())} seeds, {result.seconds:.1f} s"
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
            _spread(row, "condition_number", ".3g"),
            f"{row['predicted_rate']:.5f}",
            f"{row['measured_rate']:.5f} ({row['rates_resolved']:g})",
            f"{row['learning_rate']:.3g}",
            _spread(row, "epochs_to_target", ".1f") if row["reached"] else "not reached",
            _spread(row, "test_accuracy", ".2%"),
        ]
        for _, row in summary.iterrows()
    ]
    _print_table(columns, rows)


def _samples(data: str, subset: int | None) -> datasets.Dataset:
    dataset = datasets.load(data) if data in datasets.NAMES else _from_file(data)
    if subset is None:
        return dataset
    if not 2 <= subset <= len(dataset.X):
        raise ValueError(f"subset={subset}: expected from 2 to the {len(dataset.X)} samples")
    rows = np.sort(np.random.default_rng(0).permutation(len(dataset.X))[:subset])
    labels = None if dataset.y is None else dataset.y[rows]
    return datasets.Dataset(dataset.name, dataset.X[rows], labels)


def _from_file(data: str) -> datasets.Dataset:
    if not Path(data).suffix:
        known = ", ".join(datasets.NAMES)
        raise ValueError(f"data={data!r}: expected {known}, or a .npy, .npz or .csv file")
    return datasets.load_file(data)


def _print_study(dataset: datasets.Dataset, result: DepthStudy) -> None:
    n, d = dataset.X.shape
    summary = result.summary()
    widths = ", ".join(map(str, result.widths))
    stored = f" ({result.stored} of {len(result.results)} networks from the store)"
    click.echo(
        f"{dataset.name}: {n} samples of dimension {d}, width {widths}, "
        f"{int(summary.seeds.max())} seeds, {result.seconds:.1f} s{stored if result.stored else ''}"
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
        _cells(row, several_widths, result.batch_size is not None) for _, row in summary.iterrows()
    ]
    _print_table(columns, rows)


def _print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    sizes = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        click.echo(
            "  ".join(cell.rjust(size) for cell, size in zip(row, sizes, strict=True)).rstrip()
        )


def _spread(row: pd.Series[Any], name: str, form: str, std_name: str | None = None) -> str:
    std = row[f"{name}_std" if std_name is None else std_name]
    mean = format(row[name], form)
    return mean if np.isnan(std) else f"{mean} ± {std:{'.2g' if 'g' in form else form}}"


def _cells(row: pd.Series[Any], with_width: bool, with_batches: bool) -> list[str]:
    i, j = row["pair"]
    if i < 0:
        angle, pair = "undefined", "none"
    else:
        angle, pair = _spread(row, "smallest_angle", ".3f") + "°", f"{i}, {j}"
        if 0 < row["smallest_angle"] < 1e-3:
            angle = _spread(row, "smallest_angle", ".4g") + "°"
    if row["resolved"]:
        smallest, kappa = (
            _spread(row, "eigenvalue_min", ".3g"),
            _spread(row, "condition_number", ".3g"),
        )
    else:
        smallest = f"unresolved (rank {row['rank']})"
        kappa = f"> {rounded_down(row['eigenvalue_max'] / row['noise_floor'], 2)}"
    result = [row["activation"]]
    if with_width:
        result.append("infinite" if np.isinf(row["width"]) else f"{row['width']:g}")
    result += [
        str(row["depth"]),
        angle,
        pair,
        smallest,
        _spread(row, "eigenvalue_max", ".4g"),
        kappa,
    ]
    if with_batches:
        known = np.isfinite(row["batch_condition_number"])
        # The spread over batches, which is what the authors' protocol has.
        result.append(
            _spread(row, "batch_condition_number", ".3g", "batch_spread") if known else "unresolved"
        )
    return result
