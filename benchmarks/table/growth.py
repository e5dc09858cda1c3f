# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How time and memory grow with the samples, the width and the depth."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.table.results import Curve
from benchmarks.table.rounds import possible, prepare
from benchmarks.table.workloads import FULL, Shape, infinite_kernel, kernel
from benchmarks.yardstick import pause

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from benchmarks.peers.process import Peer
    from benchmarks.table.rounds import Workload


@dataclass(frozen=True)
class Sweep:
    """A workload at several sizes along one axis."""

    name: str
    axis: str
    sizes: Sequence[int]
    at: Callable[[int], Workload]


def _kernel_sweep(start: Shape, axis: str, sizes: Sequence[int]) -> Sweep:
    def at(size: int) -> Workload:
        # neural-tangents would spend minutes compiling a kernel for each size.
        return kernel(replace(start, **{axis: size}), "float32", replace(FULL, structured=0))

    return Sweep("`net.ntk`, float32", axis, sizes, at)


def sweeps(quick: bool) -> Iterator[Sweep]:
    """Yield what is measured; sizes double."""
    start = Shape(128, 32, 64, 2) if quick else Shape(1024, 64, 512, 3)
    steps = range(3) if quick else range(4)
    yield _kernel_sweep(start, "n", [start.n * 2**k for k in steps])
    yield _kernel_sweep(start, "m", [start.m // 2 * 2**k for k in steps])
    yield _kernel_sweep(start, "L", [2 * 2**k for k in steps])

    def infinite(n: int) -> Workload:
        return infinite_kernel(Shape(n, 64, 0, start.L), "relu")

    yield Sweep(
        "infinite width, relu, float64", "n", [start.n // 2 * 2**k for k in steps], infinite
    )


def curves(sweep: Sweep, peers: Mapping[str, Peer], frugal: Mapping[str, Peer]) -> list[Curve]:
    """Return a curve of time and one of memory for each way.

    Parameters
    ----------
    sweep : Sweep
    peers : mapping of str to Peer
        Where time is taken.
    frugal : mapping of str to Peer
        Where memory is, by processes that give back what they do not need.
    """
    found: dict[tuple[str, str], list[float]] = {}
    xs = [float(size) for size in sweep.sizes]
    for size in sweep.sizes:
        workload = sweep.at(size)
        for quantity, processes in (("seconds", peers), ("bytes", frugal)):
            ways = possible(workload.ways, processes)
            ready = prepare(workload, ways, processes)
            for way, which in zip(ways, ready, strict=True):
                process = processes[way.peer]
                value = (
                    _seconds(process, which)
                    if quantity == "seconds"
                    else float(process.peak(which))
                )
                found.setdefault((way.name, quantity), []).append(value)
    # A way may be missing at some sizes; and what takes less memory than is seen has no curve.
    return [
        Curve(sweep.name, way, quantity, sweep.axis, xs, ys)
        for (way, quantity), ys in found.items()
        if len(ys) == len(xs) and min(ys) > 0
    ]


def _seconds(peer: Peer, which: int, times: int = 3) -> float:
    pause()
    return statistics.median(peer.time(which)[0] for _ in range(times))
