# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What several commands have in common: options, and how errors are shown."""

from __future__ import annotations

import re
import shlex
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fastntk.activations import FINITE_WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, TypeAlias

    Option: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


# What a shell reports of a command that SIGINT ended.
_INTERRUPTED = 130

# How the functions that commands call have named what an option says; `out` is where all goes.
_OTHER_NAMES = {
    "X": "data",
    "activations": "names",
    "architecture": "kinds",
    "directory": "out",
    "folder": "out",
    "path": "out",
    "residual_scale": "alphas",
    "store": "out",
    "widths": "width",
}
_ARGUMENT = re.compile(r"(?P<errno>\[Errno \d+\] )?(?P<name>\w+)(?P<index>\[\d+\])?(?=[=:]| has )")

# What an error suggests: "with label='kind'", "with index=False".
_SUGGESTED = re.compile(r"(?<=\bwith )(?P<name>\w+)=(?P<value>False|-?\d+|'[^']*')")

# An argument that is the reason why a file is refused.
_REASON = re.compile(r"(?<=: cannot be read as samples: )(?P<name>\w+)(?==)")

# Those of figures.
FORMATS = ("png", "pdf", "svg")

# Nobody means more depths or widths; a range could have any number of them.
_MOST_NUMBERS = 10_000


def numbers(value: str) -> tuple[int, ...]:
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
        if end - begin >= _MOST_NUMBERS - len(result):
            raise click.BadParameter(f"{value!r}: expected at most {_MOST_NUMBERS} numbers")
        result.extend(range(begin, end + 1))
    return tuple(result)


def how_many_or_which(value: str) -> int | tuple[int, ...]:
    """Return a number as it is, and a list of numbers and ranges as a tuple: "3-7"."""
    try:
        return int(value)
    except ValueError:
        return numbers(value)


def formats(value: str) -> tuple[str, ...]:
    """Return the formats in a list of them: "png,pdf"."""
    found = tuple(dict.fromkeys(part.strip().lower() for part in value.split(",")))
    if not set(found) <= set(FORMATS):
        raise click.BadParameter(f"{value!r}: expected some of {', '.join(FORMATS)}")
    return found


ACTIVATION = click.Choice(FINITE_WIDTH)

ACTIVATION_SCALE = click.option(
    "--activation-scale",
    type=float,
    show_default="what keeps the size of the activations",
    help="c_φ; 1: σ_w is that of the literature on the edge of chaos and of neural-tangents.",
)
TOLERANCE = click.option(
    "--tolerance",
    type=float,
    default=1e-10,
    help="Of activations without a closed form at infinite width, relative.",
)
SUBSET = click.option("--subset", type=int, help="Take only so many samples, at random (seed 0).")
FORMAT = click.option(
    "--format",
    "endings",
    type=formats,
    default="png",
    metavar="LIST",
    help="Of the figure: some of png, pdf and svg.",
)
DTYPE = click.option(
    "--dtype",
    type=click.Choice(["float32", "float64"]),
    default="float32",
    help="Of the networks; Gram matrices are always in float64.",
)


def depths_option(default: str) -> Option:
    """Return the option for several numbers of hidden layers."""
    return click.option(
        "--depths", type=numbers, default=default, metavar="LIST", help="Numbers of hidden layers."
    )


def seeds_option(default: str, what: str) -> Option:
    """Return the option for the seeds of networks: how many from 0, or which."""
    return click.option(
        "--seeds",
        type=how_many_or_which,
        default=default,
        metavar="N|LIST",
        help=f"How many {what}; or their seeds, as 3-7 in one of several jobs.",
    )


class _GivenPath(click.Path):
    """A path that is not empty, which would be the present directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("'': expected the path of a " + self.name, param, ctx)
        return super().convert(value, param, ctx)


def directory_option(default: str, content: str) -> Option:
    """Return the option for the directory that a command writes to."""
    return click.option(
        "--out",
        type=_GivenPath(path_type=Path, file_okay=False),
        default=Path(default),
        help=f"Directory for {content}.",
    )


def store_option(cell: str) -> Option:
    """Return the option for the file in which a study keeps its cells."""
    return click.option(
        "--store",
        type=_GivenPath(path_type=Path, dir_okay=False),
        show_default="DATA.sqlite beside the table",
        help=f"File that keeps each {cell} as soon as it is finished: the same command goes on "
        "there.",
    )


def _of_options(message: str) -> str:
    """Return an error that has options of the command, as they are typed, in place of arguments."""
    context = click.get_current_context()
    options = {
        each.name: each.opts[0] if isinstance(each, click.Option) else each.human_readable_name
        for each in context.command.params
    }

    def suggested(found: re.Match[str]) -> str:
        name, value = found["name"], found["value"]
        typed = "none" if value == "False" else shlex.quote(value.strip("'"))
        return f"{options[name]} {typed}" if name in options else found[0]

    message = _SUGGESTED.sub(suggested, message)
    message = _REASON.sub(lambda found: options.get(found["name"], found["name"]), message)
    found = _ARGUMENT.match(message)
    if found is None:
        return message
    name, index = found["name"], found["index"] or ""
    if options.get(name) is None or context.params[name] is None:
        name, index = _OTHER_NAMES.get(name, name), ""
    if name not in options:
        return message
    rest = message[found.end() :]
    # False is what "none" was understood as.
    if isinstance(context.params[name], str) and rest.startswith("=False"):
        rest = f"={context.params[name]!r}{rest.removeprefix('=False')}"
    return f"{found['errno'] or ''}{options[name]}{index}{rest}"


@contextmanager
def explained_ends(kept: Path, *others: type[Exception]) -> Iterator[None]:
    """Say in one line on standard error why a command ends before it is done.

    Because of what is raised for bad input, files or memory, or is of `others`; or because of
    Ctrl-C, and then also how the command is continued: what was finished is in `kept`.
    """
    kinds: tuple[type[Exception], ...] = (ValueError, TypeError, MemoryError, OSError, *others)
    try:
        yield
    except kinds as error:
        raise click.ClickException(_of_options(str(error))) from error
    except KeyboardInterrupt:
        click.echo(
            f"\nInterrupted: what was finished is in {kept}; the same command goes on there.",
            err=True,
        )
        sys.exit(_INTERRUPTED)
