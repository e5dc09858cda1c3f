# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The commands ``fastntk figure``, ``fastntk table`` and ``fastntk reproduce``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fastntk._cli.kept import keep_others
from fastntk._cli.options import directory_option, explained_ends
from fastntk._support.display import counted
from fastntk._support.memory import human_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastntk._cli.options import Option
    from fastntk.paper.part import Part

_FOLDER = "fastntk-paper"

_FULL = click.option(
    "--full", is_flag=True, help="The paper's sizes: hours. By default minutes on two cores."
)
_SEEDS = click.option(
    "--seeds", type=int, show_default="3, with --full 5", help="How many networks of each kind."
)
_DEVICE = click.option(
    "--device",
    show_default="the processor",
    help='Where networks are trained and closest pairs searched: "cuda" for the first GPU.',
)
_WIDTH = click.option("--width", type=int, show_default="512", help="Of every hidden layer.")


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (_DEVICE, _WIDTH, _SEEDS, _FULL):
        command = option(command)
    return command


def _data(*, several: bool) -> Option:
    return click.option(
        "--data",
        multiple=several,
        default=("digits",) if several else None,
        show_default="digits",
        help="Of Figures 3 and 4 and Table 1: a data set, synthetic (the paper's random samples), "
        "or a .npy, .npz or .csv file." + (" May be repeated." if several else ""),
    )


@click.command()
@click.argument("number", type=click.IntRange(1, 6))
@_data(several=False)
@_common
@directory_option(_FOLDER, "tables (CSV), figures (PNG, SVG, PDF) and what is finished (SQLite)")
def figure(number: int, data: str | None, out: Path, **settings: Any) -> None:
    """Compute a figure of arXiv 2305.08813, and judge what the paper says of it.

    NUMBER is from 1 to 6. Started again after it was stopped, the command goes on.
    """
    # Imported here: whoever lacks what the paper needs can use the other commands.
    from fastntk import paper
    from fastntk.paper.reproduction import STORE

    with explained_ends(out / STORE, RuntimeError):
        _write(paper.figure(number, data, store=out / STORE, **settings), out)


@click.command()
@click.argument("number", type=click.IntRange(1, 1))
@_data(several=False)
@_common
@directory_option(_FOLDER, "tables (CSV), figures (PNG, SVG, PDF) and what is finished (SQLite)")
def table(number: int, data: str | None, out: Path, **settings: Any) -> None:
    """Compute a table of arXiv 2305.08813, and judge what the paper says of it.

    NUMBER is 1: test accuracy against depth.
    """
    from fastntk import paper
    from fastntk.paper.reproduction import STORE

    with explained_ends(out / STORE, RuntimeError):
        part = paper.table(number, data, store=out / STORE, **settings)
        click.echo(part.tables[""].to_string(index=False, float_format="%.4g"))
        _write(part, out)


@click.command()
@_data(several=True)
@_common
@click.option(
    "--only",
    multiple=True,
    help='A part, such as "figure 3"; may be repeated. The page is then of these alone.',
)
@directory_option(_FOLDER, "report.html, tables, figures and what is finished (SQLite)")
def reproduce(data: tuple[str, ...], only: tuple[str, ...], out: Path, **settings: Any) -> None:
    """Compute all figures, tables and statements of arXiv 2305.08813, and write one page of them.

    Started again after it was stopped, the command goes on.
    """
    from fastntk import paper
    from fastntk.paper.reproduction import STORE

    with explained_ends(out / STORE, RuntimeError):
        found = paper.reproduce(out, data, only=only or None, each=_tell, **settings)
    counts = Counter(claim.verdict for claim in found.claims)
    listed = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    judged = f"{counted(len(found.claims), 'statement')}: {listed}" if counts else "No statements"
    click.echo(
        f"\n{judged}; {found.seconds:.0f} s, at most "
        f"{human_bytes(found.peak_memory)} of memory\nPage: {found.report}"
    )


def _write(part: Part, out: Path) -> None:
    from fastntk.paper.part import COSTS, FORMATS

    for file, frame in part.table_files(out).items():
        pictures = [file.with_name(f"{file.stem}.{ending}") for ending in FORMATS]
        keep_others(file, frame, pictures, COSTS)
    files = part.save(out)
    _tell(part)
    click.echo("\nFiles: " + ", ".join(map(str, files)))


def _tell(part: Part) -> None:
    click.echo(f"{part.title} ({part.seconds:.1f} s)")
    for claim in part.claims:
        click.echo(f"  {claim}".replace("\n", "\n  "))
