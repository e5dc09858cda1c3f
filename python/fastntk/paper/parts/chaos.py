# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Beyond the paper: other activations, and networks at the edge of chaos, at infinite width.

The edge is that of `fastntk.infinite.edge_of_chaos`, of plain networks.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fastntk import infinite
from fastntk.activations import label_of
from fastntk.figures.panels import Limit, Line, Panel, Sheet
from fastntk.paper.claims import Claim, Statement, falling, from_to, least_condition_number
from fastntk.paper.part import Part
from fastntk.paper.parts.theorems import on_sphere
from fastntk.paper.run import kept_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from fastntk.paper.run import Run

# Activations whose edge has some σ_b > 0, and that.
_BIAS = 0.3
_AT_EDGE = ("tanh", "erf")
_SCALED = ("relu", "gelu", "silu", "tanh")
_DEPTHS = (0, 1, 2, 4, 8, 16, 32)
_SAMPLES = (50, 10)

KAPPA = Statement(
    "Beyond the paper",
    "κ falls with depth for other activations, too, and at the edge of chaos.",
    "Steps of depth at infinite width, n = 50 samples on a sphere in 10 dimensions.",
)


def edge_part(run: Run) -> Part:
    """Return angles and κ against depth for both kinds of networks."""
    edges = {name: infinite.edge_of_chaos(name, _BIAS, activation_scale=1.0) for name in _AT_EDGE}
    frame = against_depth(run, edges)
    scaled, critical = (frame[frame["family"] == family] for family in ("scaled", "edge"))
    limit = infinite.limit_condition_number(_SAMPLES[0])
    found = "; ".join(
        f"{label_of(name)}: σ_w = {edge.weight_std:.4f} at σ_b = {edge.bias_std:g}"
        for name, edge in edges.items()
    )
    panels = []
    for rows, title in ((scaled, "scaled, no biases"), (critical, "at the edge of chaos")):
        names = _SCALED if rows is scaled else _AT_EDGE
        panels += [
            _panel(rows, names, "smallest_angle", "smallest gradient angle (degrees)", title),
            _panel(
                rows,
                names,
                "condition_number",
                "condition number κ",
                title,
                [Limit(value=limit, label=f"1 + n/3\n= {limit:.4g}")] if rows is scaled else [],
            ),
        ]
    return Part(
        name="edge-of-chaos",
        title="Beyond the paper: other activations, and the edge of chaos",
        text=(
            "Above: activations scaled to E[φ²] = 1, without biases; ReLU is then at the edge of "
            "chaos, tanh, GELU and SiLU are in the chaotic phase. Below: σ_w found so that close "
            f"samples neither drift apart nor together, with biases ({found}; c_φ = 1)."
        ),
        command="fastntk reproduce --only 'edge of chaos'" + run.options(),
        tables={"": frame},
        drawings={
            "": Sheet(
                title=f"Infinite width, n = {_SAMPLES[0]} samples on the sphere in "
                f"{_SAMPLES[1]} dimensions",
                panels=panels,
            )
        },
        claims=judged(frame),
    )


def against_depth(run: Run, edges: dict[str, infinite.Edge]) -> pd.DataFrame:
    """Return a row for each network and depth."""
    scaled: dict[str, dict[str, Any]] = {
        f"{name}, scaled": {
            "activation": name,
            "family": "scaled",
            "weight_std": 1.0,
            "bias_std": 0.0,
            "activation_scale": None,
        }
        for name in _SCALED
    }
    critical: dict[str, dict[str, Any]] = {
        f"{name}, edge": {
            "activation": name,
            "family": "edge",
            "weight_std": edge.weight_std,
            "bias_std": edge.bias_std,
            "activation_scale": 1.0,
        }
        for name, edge in edges.items()
    }
    pieces = {
        name: piece | {"depths": list(_DEPTHS)} for name, piece in (scaled | critical).items()
    }

    def compute(name: str, _: object) -> pd.DataFrame:
        return _of_network(pieces[name])

    return kept_tables(run, "edge of chaos", pieces, compute)


def _of_network(piece: dict[str, Any]) -> pd.DataFrame:
    import pandas as pd

    settings = {name: piece[name] for name in ("weight_std", "bias_std", "activation_scale")}
    X = math.sqrt(_SAMPLES[1]) * on_sphere(_SAMPLES)
    rows = []
    for depth in _DEPTHS:
        network = infinite.Network(depth, piece["activation"], **settings)
        found = network.conditioning(X)
        rows.append(
            {
                "activation": piece["activation"],
                "family": piece["family"],
                "depth": depth,
                "smallest_angle": math.degrees(network.smallest_angle(X).angle),
                "condition_number": found.condition_number,
                "condition_number_least": least_condition_number(found),
                "weight_std": piece["weight_std"],
                "bias_std": piece["bias_std"],
                "samples": len(X),
                "seed": 0,
            }
        )
    return pd.DataFrame(rows)


def _panel(
    frame: pd.DataFrame,
    names: Sequence[str],
    column: str,
    label: str,
    title: str,
    limits: Sequence[Limit] = (),
) -> Panel:
    lines = []
    for name in names:
        rows = frame[frame["activation"] == name].sort_values("depth")
        lines.append(
            Line(
                x=rows["depth"].to_numpy(np.float64),
                y=rows[column].to_numpy(np.float64),
                label=label_of(name),
                style="both",
                hue=(*_SCALED, "erf").index(name),
            )
        )
    angle = column == "smallest_angle"
    return Panel(
        title=title,
        x="depth",
        y=label,
        lines=lines,
        limits=limits,
        direct=True,
        x_kind="whole",
        y_kind="degrees" if angle else "log",
        y_from_zero=angle,
    )


def judged(frame: pd.DataFrame) -> tuple[Claim, ...]:
    """Judge, for each network, whether κ falls with each step of depth."""
    return tuple(
        falling(rows, "condition_number", "condition_number_least", exact=True).claim(
            KAPPA,
            f"κ {from_to(rows, 'condition_number')}",
            f"{label_of(str(name))}, {'edge of chaos' if family == 'edge' else 'scaled'}",
        )
        for (family, name), rows in frame.groupby(["family", "activation"], sort=False)
    )
