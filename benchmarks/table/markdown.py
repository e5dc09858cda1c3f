# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""The table, as Markdown, made of results alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.table.results import OURS, grouped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.table.results import Curve, Results, Row, Timed

BEGIN = "<!-- written by python -m benchmarks.table --write-readme -->"
END = "<!-- until here -->"

_NONE = "–"
_FIGURE = "Ratios to the limit and to the best peer; growth of time and memory"
_FIGURE_OF_README = "benchmarks/gallery/table.png"


def duration(seconds: float) -> str:
    """Return a time with three digits, in s, ms or µs."""
    units = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
    unit, size = next((each for each in units if seconds >= each[1]), units[-1])
    value = seconds / size
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} {unit}"


def _lines(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (header, rule, *rows)]


def _peers(row: Row) -> str:
    """Return how many times as long as ours each of the others takes, the fastest first."""
    ordered = sorted(row.peers, key=row.times_ours)
    return ", ".join(f"{peer.name} {_ratio(row.times_ours(peer))}" for peer in ordered) or _NONE


def _ratio(value: float) -> str:
    return f"{value:.{max(0, 3 - len(str(int(value))))}f} ×"


def _variants(row: Row) -> list[Timed]:
    """Return fastntk as it is and, where that was measured, without AMX."""
    return [way for way in row.ways if way.name.startswith(OURS)]


def _limited(rows: Sequence[Row]) -> list[str]:
    """Return a table of workloads whose limit is matrix multiplication."""
    cells = []
    for row in rows:
        ours = _variants(row)
        limits = [f"{row.of_limit(way):.2f}" for way in ours]
        of_peers = [
            f"{peer.name} {row.of_limit(peer):.2f}"
            for peer in sorted(row.peers, key=row.times_ours)
            if (row.of_limit(peer) or 0) >= 0.005
        ]
        compared = _peers(row)
        if len(ours) > 1 and (best := row.best_peer()) is not None:
            compared += f"; without AMX: {_ratio(row.times_ours(best, ours[1]))}"
        cells.append(
            (
                row.name,
                row.dtype,
                ", ".join(duration(way.seconds) for way in ours),
                ", ".join(limits),
                compared,
                ", ".join(of_peers) or _NONE,
            )
        )
    header = (
        "",
        "",
        "time",
        "of the GEMM rate",
        "peers' time over ours",
        "of the GEMM rate: peers",
    )
    return _lines(header, cells)


def _by_pairs(rows: Sequence[Row]) -> list[str]:
    cells = [
        (
            row.name,
            duration(row.ours.seconds),
            f"{row.ns_core(row.ours):.1f}",
            _peers(row),
        )
        for row in rows
    ]
    return _lines(("", "time", "ns·core a pair and layer", "peers' time over ours"), cells)


def _plain(rows: Sequence[Row]) -> list[str]:
    cells = [
        (
            row.name,
            duration(row.ours.seconds),
            ", ".join(f"{peer.name} {duration(peer.seconds)}" for peer in row.peers) or _NONE,
            _peers(row),
        )
        for row in rows
    ]
    return _lines(("", "time", "peers", "peers' time over ours"), cells)


def _table(rows: Sequence[Row]) -> list[str]:
    if rows[0].flops is not None:
        return _limited(rows)
    return _by_pairs(rows) if rows[0].pair_layers is not None else _plain(rows)


def _growth(curves: Sequence[Curve]) -> list[str]:
    header = ("", "", "grows with", "from … to", "as its power", "largest")
    cells = []
    for curve in curves:
        largest = (
            duration(curve.y[-1])
            if curve.quantity == "seconds"
            else f"{curve.y[-1] / 2**20:.0f} MiB"
        )
        quantity = {"seconds": "time", "bytes": "memory"}[curve.quantity]
        cells.append(
            (
                f"{curve.workload}, {curve.way}",
                quantity,
                curve.axis,
                f"{curve.x[0]:g} … {curve.x[-1]:g}",
                f"{curve.exponent:.2f}",
                largest,
            )
        )
    return _lines(header, cells)


def tables(results: Results, level: int = 2, *, growth: bool = True) -> str:
    """Return all tables with their headings, and the warnings."""
    mark = "#" * level
    lines: list[str] = []
    for warning in results.warnings:
        lines += [f"> **Note.** {warning}", ""]
    for failure in results.failures:
        lines += [f"> **Not measured.** {failure.splitlines()[0]}", ""]
    for name, rows in grouped(results.rows, lambda row: row.section).items():
        lines += [f"{mark} {name}", "", *_table(rows), ""]
    if growth and results.curves:
        lines += [f"{mark} Growth", "", *_growth(results.curves), ""]
    return "\n".join(lines)


_HOW = (
    "Medians of interleaved rounds; every library in a process of its own, with the same number of "
    "threads, warmed up and compiled; all answers were compared before anything was timed. The "
    "limit is the rate of matrix multiplication (SciPy's BLAS) right before and after."
)


def report(results: Results, figure: str | None = None) -> str:
    """Return everything: the machine, the tables, the figure if it has a path."""
    settings = results.settings
    when = f"`{settings['command']}`, {settings['started']}, {settings['minutes']:.1f} minutes."
    lines = ["# fastntk beside its peers", "", f"{when} {_HOW}", ""]
    lines += [f"- {what}: {value}" for what, value in results.machine.items()]
    lines += ["", tables(results)]
    if figure is not None:
        lines += [f"![{_FIGURE}]({figure})", ""]
    return "\n".join(lines)


def readme_block(results: Results) -> str:
    """Return what stands in the README between `BEGIN` and `END`, these included."""
    machine = results.machine
    shown = ("processor", "threads", "instructions", "GEMM, float32", "GEMM, float64")
    words = "; ".join(f"{what}: {machine[what]}" for what in shown if what in machine)
    lines = [BEGIN, "", f"{_HOW}", "", f"*{words}.*", "", tables(results, 3, growth=False)]
    lines += [f"![{_FIGURE}]({_FIGURE_OF_README})", "", END]
    return "\n".join(lines)


def write_into(readme: Path, results: Results) -> None:
    """Replace the marked block of a README."""
    write_block(readme, readme_block(results))


def write_block(path: Path, block: str) -> None:
    """Replace what stands between the first and the last line of a block, these included."""
    begin, *_, end = block.splitlines()
    text = path.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise ValueError(f"{path} must have the lines {begin!r} and {end!r} once")
    before, rest = text.split(begin)
    path.write_text(before + block + rest.split(end)[1], encoding="utf-8")
