# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What the paper's parts say and draw: texts, labels, units, styles and columns, as written down.

`paper_parts.json` has them for tiny networks. After a wanted change, look at the difference that
``python tests/test_paper_parts.py`` makes in it, and commit that as well.
"""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

from fastntk import paper
from fastntk.figures.panels import Sheet
from fastntk.paper.catalogue import NAMES
from fastntk.paper.parts import architectures, architectures_trained, theorems

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fastntk.paper.part import Part

WRITTEN = Path(__file__).with_name("paper_parts.json")
# Without the one that takes half a minute, which has tests of its own.
PARTS = [name for name in NAMES if name != "constancy"]


def samples(folder: Path) -> str:
    """Write 60 samples with labels."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.standard_normal((60, 5)), columns=list("abcde"))
    path = folder / "small.csv"
    frame.assign(label=(frame["a"] > 0).astype(int)).to_csv(path, index=False)
    return str(path)


def described(part: Part, data: str) -> dict[str, Any]:
    """Return all of a part but its numbers."""
    texts = {name: getattr(part, name) for name in ("name", "title", "text", "command")}
    return {name: text.replace(data, "DATA") for name, text in texts.items()} | {
        "tables": {name: list(table.columns) for name, table in part.tables.items()},
        "claims": [
            [
                claim.statement.source,
                claim.statement.text,
                claim.statement.judged,
                claim.data,
                # Which words and units surround the numbers, not how many digits these have.
                re.sub(r"[-+]?\d[\d.]*(e[-+]?\d+)?|inf|nan", "#", claim.evidence),
            ]
            for claim in part.claims
        ],
        "drawings": {name: drawn(part, name) for name in part.drawings},
    }


def drawn(part: Part, name: str) -> Any:
    """Return what is to be read and told apart in a figure."""
    sheet = part.drawings[name]
    figure = part.figures[f"{part.name}-{name}" if name else part.name]
    return {
        "title": sheet.title if isinstance(sheet, Sheet) else figure.get_suptitle(),
        "legend": [text.get_text() for legend in figure.legends for text in legend.get_texts()],
        "size": [round(float(length), 2) for length in figure.get_size_inches()],
        "axes": [of_axes(axes) for axes in figure.axes],
    }


def of_axes(axes: Axes) -> dict[str, Any]:
    return {
        "labels": [axes.get_xlabel(), axes.get_ylabel(), axes.get_title()],
        "scales": [axes.get_xscale(), axes.get_yscale()],
        "texts": [text.get_text() for text in axes.texts],
        "bands": len(axes.collections),
        "from zero": bool(axes.get_ylim()[0] == 0),
        "lines": [
            " ".join(
                map(
                    str,
                    (
                        line.get_label(),
                        line.get_linestyle(),
                        line.get_marker(),
                        matplotlib.colors.to_hex(line.get_color()),
                        line.get_linewidth(),
                        line.get_zorder(),
                        len(np.atleast_1d(np.asarray(line.get_xdata()))),
                    ),
                )
            )
            for line in axes.lines
        ],
    }


def computed(name: str, folder: Path) -> dict[str, Any]:
    data = samples(folder)
    with (
        patch.object(theorems, "_WIDTHS", (8, 16)),
        patch.object(architectures, "_DEPTHS", (1, 3)),
        patch.object(architectures_trained, "_DEPTHS", (1, 3)),
        patch.object(architectures_trained, "_EPOCHS", 30),
    ):
        part, *_ = paper.reproduce(
            folder / "out", [data], only=[name], seeds=2, width=16, progress=False
        ).parts
    return described(part, data)


@pytest.mark.parametrize("name", PARTS)
def test_what_is_said_and_drawn(name: str, tmp_path: Path) -> None:
    written = json.loads(WRITTEN.read_text(encoding="utf-8"))
    assert computed(name, tmp_path) == written[name]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        found = {name: computed(name, Path(folder)) for name in PARTS}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    WRITTEN.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
