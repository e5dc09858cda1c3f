# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Kernels, κ and closest pairs on one and two workers of one core, beside the plain calls.

``python -m benchmarks.distributed`` on a quiet machine: the tiles of a kernel (n 8192, width 512,
depth 3), these into a store of zarr, its condition number from there, and the closest pairs; then
the rates of tasks, disk and memory, and what these make of a kernel of n = 10⁶ and of the closest
pairs of n = 10⁷ on 64 machines. ``--write-docs`` puts all of it into docs/clusters.md. Without
cores of their own, workers wait for each other: the processor seconds say what the tiles themselves
cost.

``python -m benchmarks.distributed --whole DIRECTORY --n 30000`` computes that kernel into a store
and κ from there, on the last number of workers, with a log in gallery/distributed.log.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.distributed import rates, runs, whole
from benchmarks.distributed.estimates import kernel_estimate, pairs_estimate
from benchmarks.table.markdown import write_block
from fastntk import info

DOCS = Path(__file__).parents[2] / "docs" / "clusters.md"
BEGIN = "<!-- written by python -m benchmarks.distributed --write-docs -->"
END = "<!-- until here -->"

_MACHINES = 64


def options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=8192)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=3)
    parser.add_argument("--chunks", type=_chunks, default="auto", help="rows of a tile")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=3, help="of which the fastest counts")
    parser.add_argument("--memory", default="2GB", help="of each worker")
    parser.add_argument("--folder", help="for stores, by default that of temporary files")
    parser.add_argument(
        "--only", nargs="+", choices=runs.NAMES, default=runs.NAMES, help="no rates, if not all"
    )
    parser.add_argument("--tasks", type=int, default=5000, help="that do nothing, for their rate")
    parser.add_argument("--disk-bytes", type=int, default=2**30, help="written for its rate")
    parser.add_argument("--write-docs", action="store_true", help=f"into {DOCS.name}")
    parser.add_argument("--whole", metavar="DIRECTORY", help="one kernel to zarr and back to κ")
    parser.add_argument("--log", default=str(whole.LOG), help="of --whole")
    return parser


def _chunks(text: str) -> int | str:
    return text if text == "auto" else int(text)


def main() -> None:
    given = options().parse_args()
    if given.whole:
        whole.run(given)
        return
    plain = runs.plain_runs(given)
    size = f"n {given.n}, width {given.width}, depth {given.depth}, chunks {given.chunks}"
    machine = dict(info.describe())["instruction set"]
    lines = [f"{size}, float64; {machine}:", "", *runs.table(given, plain)]
    if set(given.only) == set(runs.NAMES):
        found = rates.measured(given, plain)
        estimates = [
            kernel_estimate(found, 10**6, _MACHINES, shared_disk=False),
            kernel_estimate(found, 10**6, _MACHINES, shared_disk=True),
            pairs_estimate(found, 10**7, _MACHINES),
        ]
        lines += ["", "Measured there:", "", *found.lines(), "", "On paper, from these rates:", ""]
        lines += [f"- {estimate}." for estimate in estimates]
    text = "\n".join(lines)
    print(text)
    if given.write_docs:
        write_block(DOCS, "\n".join([BEGIN, "", text, "", END]))


if __name__ == "__main__":
    main()
