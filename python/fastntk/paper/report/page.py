# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""One page of all parts, which needs nothing else: no script, no request to anywhere."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from fastntk._support.memory import human_bytes
from fastntk.figures.panels import Sheet
from fastntk.info import describe
from fastntk.paper.claims import FAILS, HOLDS, UNDECIDED
from fastntk.paper.report.svg import element, identifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fastntk.paper.part import Part

_FOLDER = Path(__file__).parent

# What of the installation decides the numbers or their times.
_MACHINE = (
    "fastntk", "Python", "NumPy", "SciPy", "Numba", "processors", "threads", "instruction set",
    "BLAS",
)  # fmt: skip


def page(parts: Sequence[Part], command: str, seconds: float, peak_memory: int) -> str:
    """Return the page, as HTML.

    Parameters
    ----------
    parts : sequence of Part
    command : str
        What made all of it.
    seconds : float
        How long that took; what came from the store is not in it.
    peak_memory : int
        In bytes.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["identifier"] = identifier
    claims = [(part, claim) for part in parts for claim in part.claims]
    counts = Counter(claim.verdict for _, claim in claims)
    return environment.get_template("page.html.j2").render(
        style=Markup((_FOLDER / "page.css").read_text(encoding="utf-8")),
        parts=[
            {
                "part": part,
                "figures": [
                    (Markup(element(figure, stem, part.title, sheet)), len(figure.axes) > 1)
                    for (stem, figure), sheet in zip(
                        part.figures.items(), _sheets(part), strict=True
                    )
                ],
                "files": [file.name for file in part.table_files(".")],
            }
            for part in parts
        ],
        claims=claims,
        counts=[(verdict, counts[verdict]) for verdict in (HOLDS, UNDECIDED, FAILS)],
        machine=[(what, value.split(": /")[0]) for what, value in describe() if what in _MACHINE],
        command=command,
        minutes=f"{seconds / 60:.1f}",
        memory=human_bytes(peak_memory),
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def _sheets(part: Part) -> list[Sheet | None]:
    """Return what each figure was drawn of, if it was a sheet."""
    return [each if isinstance(each, Sheet) else None for each in part.drawings.values()]
