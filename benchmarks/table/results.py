# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What a run has measured, as kept in a file of JSON; tables and figures are made of these."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")

FORMAT = 1
OURS = "fastntk"


@dataclass(frozen=True)
class Timed:
    """One way to compute a workload, in all rounds.

    Attributes
    ----------
    name : str
    wall, cpu : list of float
        Seconds of the whole workload, and seconds of all cores together.
    gemm : list of float
        Operations a second of matrix multiplication, right before and after (mean).
    share : float
        Of the workload, what was timed; the seconds are those divided by it.
    """

    name: str
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    gemm: list[float] = field(default_factory=list)
    share: float = 1.0

    @property
    def seconds(self) -> float:
        """The median time."""
        return statistics.median(self.wall)


@dataclass(frozen=True)
class Row:
    """A workload; the first of `ways` is fastntk, the others are compared with it.

    Attributes
    ----------
    section, name, dtype : str
    flops : float or None
        Useful operations of matrix multiplication, where these are the limit.
    pair_layers : float or None
        Pairs of samples times layers, where time is stated for one.
    ways : list of Timed
    """

    section: str
    name: str
    dtype: str
    flops: float | None
    pair_layers: float | None
    ways: list[Timed]

    @property
    def ours(self) -> Timed:
        """Fastntk itself."""
        return self.ways[0]

    @property
    def peers(self) -> list[Timed]:
        """All but fastntk, with whatever instructions."""
        return [way for way in self.ways if not way.name.startswith(OURS)]

    def of_limit(self, way: Timed) -> float | None:
        """Return useful operations over the rate of matrix multiplication next to it."""
        if self.flops is None:
            return None
        pairs = zip(way.wall, way.gemm, strict=True)
        return statistics.median(self.flops / wall / gemm for wall, gemm in pairs)

    def times_ours(self, way: Timed, ours: Timed | None = None) -> float:
        """Return how many times as long as fastntk it takes, in the same rounds."""
        pairs = zip(way.wall, (ours or self.ours).wall, strict=True)
        return statistics.median(theirs / mine for theirs, mine in pairs)

    def best_peer(self) -> Timed | None:
        """Return the fastest of the others."""
        return min(self.peers, key=self.times_ours, default=None)

    def ns_core(self, way: Timed) -> float | None:
        """Return nanoseconds of one core for a pair and layer."""
        if self.pair_layers is None:
            return None
        return statistics.median(way.cpu) / self.pair_layers * 1e9


@dataclass(frozen=True)
class Curve:
    """How time or memory grows with one of the sizes of a workload.

    Attributes
    ----------
    workload, way : str
    quantity : {"seconds", "bytes"}
    axis : {"n", "m", "L"}
    x, y : list of float
    """

    workload: str
    way: str
    quantity: str
    axis: str
    x: list[float]
    y: list[float]

    @property
    def exponent(self) -> float:
        """The slope of the line nearest to the points in logarithms."""
        return float(np.polyfit(np.log(self.x), np.log(self.y), 1)[0])


@dataclass(frozen=True)
class Results:
    """All of a run.

    Attributes
    ----------
    settings : dict
        How the command was called.
    machine : dict of str to str
        What matters for speed, in words.
    warnings : list of str
        What to bear in mind when reading the numbers.
    failures : list of str
        What was not measured, as answers differ or a library could not compute.
    rows : list of Row
    curves : list of Curve
    """

    settings: dict[str, Any]
    machine: dict[str, str]
    warnings: list[str]
    failures: list[str]
    rows: list[Row]
    curves: list[Curve]

    def save(self, path: Path) -> None:
        """Write everything, raw times included."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1, ensure_ascii=False)
        path.write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` has written."""
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("format", None) != FORMAT:
            raise ValueError(f"{path} is not a result of this version of benchmarks.table")
        rows = [
            Row(**{**row, "ways": [Timed(**way) for way in row["ways"]]})
            for row in found.pop("rows")
        ]
        curves = [Curve(**curve) for curve in found.pop("curves")]
        return cls(**found, rows=rows, curves=curves)


def grouped(items: Sequence[T], name: Callable[[T], str]) -> dict[str, list[T]]:
    """Return the items by what `name` makes of them, in their order."""
    found: dict[str, list[T]] = {}
    for item in items:
        found.setdefault(name(item), []).append(item)
    return found
