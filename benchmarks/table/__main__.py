# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""fastntk beside its peers and the limit of the machine, in one table.

``python -m benchmarks.table --environment DIR`` makes an environment with the peers (torch,
neural-tangents) in DIR unless it is there, computes every workload with every library in
interleaved rounds, compares the answers, and writes ``table.json``, ``table.md`` and ``table.png``.
About 15 minutes on two cores that have nothing else to do, a minute with ``--quick``. What differs
or fails is left out and named; the exit status is 1 then.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from benchmarks.peers.environment import make_environment
from benchmarks.peers.process import GIVING_BACK, ROOT, PeerError, PeerProcess
from benchmarks.table import machine, markdown
from benchmarks.table.figure import draw
from benchmarks.table.growth import curves, sweeps
from benchmarks.table.imports import measure_imports
from benchmarks.table.results import OURS, Results, Row
from benchmarks.table.rounds import measure
from benchmarks.table.workloads import FULL, NEURAL_TANGENTS, NUMPY, PRECISIONS, QUICK, TORCH
from benchmarks.table.workloads import workloads as all_workloads
from benchmarks.yardstick import gemm_rate
from fastntk import figures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.peers.process import Peer
    from benchmarks.table.results import Curve
    from benchmarks.table.workloads import Sizes

_MODULES = {
    OURS: "benchmarks.peers.by_fastntk",
    NUMPY: "benchmarks.peers.by_numpy",
    TORCH: "benchmarks.peers.by_torch",
    NEURAL_TANGENTS: "benchmarks.peers.by_neural_tangents",
}
_OF_THE_ENVIRONMENT = (TORCH, NEURAL_TANGENTS)
_QUICK_GEMM = 512


class Gemm:
    """Measures the rate of matrix multiplication, and remembers what it has found."""

    def __init__(self, size: int | None = None) -> None:
        self._rate = gemm_rate if size is None else partial(gemm_rate, size=size)
        self.rates: dict[str, list[float]] = defaultdict(list)

    def __call__(self, dtype: str) -> float:
        """Measure once more."""
        self.rates[dtype].append(self._rate(dtype))
        return self.rates[dtype][-1]


@dataclass
class Measured:
    """What was found so far; what fails is noted, and does not stop the rest."""

    rows: list[Row] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def attempt(self, name: str, measure_it: Callable[[], Row | list[Curve]]) -> None:
        """Measure one thing, and say on the screen what was found."""
        try:
            found = measure_it()
        except (AssertionError, PeerError) as error:
            self.failures.append(f"{name}: {error}")
            print(f"FAILED: {name}: {error}", flush=True)
        else:
            if isinstance(found, Row):
                self.rows.append(found)
                _show(found)
            else:
                self.curves += found
                print(name, flush=True)


def run(
    sizes: Sizes,
    peers: Mapping[str, Peer],
    frugal: Mapping[str, Peer],
    gemm: Gemm,
    given: argparse.Namespace,
) -> Measured:
    """Measure all workloads and curves of the names that are asked for."""
    rounds = given.rounds or (2 if given.quick else None)
    jobs: list[tuple[str, Callable[[], Row | list[Curve]]]] = [
        (f"{each.section}: {each.name}", partial(measure, each, peers, rounds, gemm))
        for each in all_workloads(sizes)
    ]
    jobs.append(("Small calls: import", partial(measure_imports, 3 if given.quick else 7)))
    jobs += [
        (f"Growth: {sweep.name} with {sweep.axis}", partial(curves, sweep, peers, frugal))
        for sweep in sweeps(given.quick)
    ]
    found = Measured()
    for name, job in jobs:
        if re.search(given.only, name):
            found.attempt(name, job)
    return found


def _show(row: Row) -> None:
    times = ", ".join(
        f"{way.name} {markdown.duration(way.seconds)} "
        f"({markdown.duration(statistics.median(way.cpu))} of all cores)"
        for way in row.ways
    )
    print(f"{row.section}: {row.name} {row.dtype}: {times}", flush=True)


def measure_all(given: argparse.Namespace) -> Results:
    """Start the processes, measure, and return what was found."""
    threads = given.threads or machine.processors()
    machine.keep_to_processors(threads)
    python = None if given.environment is None else make_environment(given.environment)
    started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    clock, others = time.perf_counter(), machine.OtherWork()
    gemm = Gemm(_QUICK_GEMM if given.quick else None)
    with contextlib.ExitStack() as stack, threadpool_limits(threads, user_api="blas"):

        def start(environment: Mapping[str, str]) -> dict[str, Peer]:
            found: dict[str, Peer] = {}
            for name, module in _MODULES.items():
                interpreter = python if name in _OF_THE_ENVIRONMENT else sys.executable
                if interpreter is not None:
                    process = PeerProcess(interpreter, module, threads, environment)
                    found[name] = stack.enter_context(process)
            return found

        peers, frugal = start({}), start(GIVING_BACK) if sys.platform == "linux" else {}
        versions = {name: peer.versions() for name, peer in peers.items() if name != OURS}
        scaling = {
            dtype: machine.gemm_by_threads(threads, dtype, gemm_rate) for dtype in PRECISIONS
        }
        of_torch = {
            f"GEMM of torch, {dtype}": f"{machine.gemm_of(peers[TORCH], dtype) / 1e9:.0f} GFLOP/s"
            for dtype in PRECISIONS
            if TORCH in peers
        }
        found = run(QUICK if given.quick else FULL, peers, frugal, gemm, given)
    known = machine.facts(threads, versions, scaling) | of_torch | machine.varied(gemm.rates)
    warnings = machine.warnings(threads, scaling, gemm.rates, others.processors())
    if python is None:
        warnings.insert(0, "torch and neural-tangents are missing: --environment names where.")
    settings: dict[str, Any] = {
        "command": "python -m benchmarks.table " + " ".join(sys.argv[1:]),
        "started": started,
        "minutes": (time.perf_counter() - clock) / 60,
        "quick": given.quick,
        "threads": threads,
        "only": given.only,
        "rounds": given.rounds,
    }
    return Results(settings, known, warnings, found.failures, found.rows, found.curves)


def write(results: Results, folder: Path) -> None:
    """Write the three files."""
    folder.mkdir(parents=True, exist_ok=True)
    results.save(folder / "table.json")
    figures.save(draw(results), folder / "table.png")
    (folder / "table.md").write_text(markdown.report(results, "table.png"), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.table", description=__doc__.splitlines()[0]
    )
    parser.add_argument(
        "--environment", type=Path, help="where torch and neural-tangents are, or are to be"
    )
    parser.add_argument("--output", type=Path, default=Path("fastntk-table"), help="a folder")
    parser.add_argument("--quick", action="store_true", help="small sizes, about a minute")
    parser.add_argument("--threads", type=int, help="of every library; by default all processors")
    parser.add_argument("--rounds", type=int, help="instead of each workload's own number")
    parser.add_argument("--only", default="", help="workloads whose 'section: name' matches this")
    parser.add_argument(
        "--from", dest="source", type=Path, help="a table.json to write again, nothing is measured"
    )
    parser.add_argument(
        "--write-readme", action="store_true", help="write the tables into README.md as well"
    )
    given = parser.parse_args(arguments)
    results = Results.load(given.source) if given.source else measure_all(given)
    write(results, given.output)
    print(markdown.report(results))
    if given.write_readme:
        markdown.write_into(ROOT / "README.md", results)
    return 1 if results.failures else 0


if __name__ == "__main__":
    sys.exit(main())
