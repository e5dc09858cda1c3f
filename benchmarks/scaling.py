# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""How the work spreads over cores, here and on more of them: ``python -m benchmarks.scaling``.

It measures on 1, 2, … of the cores that there are, beside a matrix multiplication in the same
rounds: what that does not gain, nothing can. For 16 and 64 cores it counts: the tasks are those
into which the core cuts the work, given out in its order to whoever is free, each as long as its
multiplications and additions. What is spent outside of the core, where one thread works, is
measured. Memory is taken to be as fast as many cores need it: these are bounds from above.

That tasks are counted as the core makes them is checked while it works, by what it tells of its
progress.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import os
import statistics
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import blas
from threadpoolctl import threadpool_limits

import fastntk
import fastntk._core as _core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SAMPLES, INPUTS, WIDTH, DEPTH = 4096, 784, 1024, 5


@dataclass(frozen=True)
class Task:
    """A task of the core: pieces of work, each of which needs some of the tasks before it."""

    pieces: tuple[tuple[float, tuple[int, ...]], ...]

    @classmethod
    def alone(cls, work: float) -> Task:
        """Return a task that waits for no other."""
        return cls(((work, ()),))


def makespan(tasks: Sequence[Task], workers: int) -> float:
    """Return when the last task ends, if each is begun in order by the worker that is free first.

    Examples
    --------
    >>> makespan([Task.alone(3.0), Task.alone(2.0), Task.alone(2.0)], 2)
    4.0
    >>> makespan([Task.alone(3.0), Task(((1.0, ()), (1.0, (0,))))], 2)  # waits for the first
    4.0
    """
    free = [0.0] * workers
    ends: list[float] = []
    for task in tasks:
        now = heapq.heappop(free)
        for work, needed in task.pieces:
            now = max([now, *(ends[k] for k in needed)]) + work
        ends.append(now)
        heapq.heappush(free, now)
    return max(ends, default=0.0)


def work_of(tasks: Sequence[Task]) -> float:
    """Return how long a single worker takes."""
    return sum(work for task in tasks for work, _ in task.pieces)


# How the core cuts its work: cpp/include/fastntk/partition.hpp, and the limits in host_device.hpp.


def cut(total: int, smallest: int, largest: int) -> list[int]:
    """Return the sizes of the blocks of a `Partition`."""
    size = min(max((-(-total // 8) + 15) // 16 * 16, smallest), largest)
    return [min(size, total - first) for first in range(0, total, size)]


def halves(n: int, smallest: int, largest: int) -> list[int]:
    """Return the sizes of the blocks of a `HalvedPartition`."""
    return cut((n + 1) // 2, smallest, largest) + cut(n // 2, smallest, largest)


def passes(n: int, widths: Sequence[int]) -> list[Task]:
    """Return the tasks of the passes in panels; cpp/include/fastntk/panel_passes.hpp.

    Where there are enough of them, others come first that pack the weights of the hidden layers, as
    they are and transposed, which is no arithmetic.
    """
    each = 2 * sum(a * b for a, b in itertools.pairwise(widths))
    size = 24 if 192 < n < 960 else 48
    blocks = [Task.alone(min(size, n - first) * each) for first in range(0, n, size)]
    hidden = widths[1:-1]
    slabs = sum(-(-units // 128) for units in (*hidden, *hidden[:-1]))
    return [Task.alone(0.0)] * (slabs if len(blocks) >= 8 else 0) + blocks


def tiles(n: int, widths: Sequence[int]) -> list[Task]:
    """Return the tiles of a symmetric kernel from packed features."""
    terms = sum(widths[:-1]) + sum(widths[1:])
    blocks = cut(n, 48, 192)
    return [
        Task.alone(rows * cols * terms / (2 if i == j else 1))
        for i, rows in enumerate(blocks)
        for j, cols in enumerate(blocks[: i + 1])
    ]


def pairs(n: int) -> list[Task]:
    """Return the blocks that are looked at together with their mirror images."""
    blocks = cut(n, 32, 512)
    return [Task.alone(a * b) for i, a in enumerate(blocks) for b in blocks[: i + 1]]


def cholesky(n: int) -> list[Task]:
    """Return the tiles of a decomposition, column by column; cpp/include/fastntk/cholesky.hpp."""
    blocks = halves(n, 64, 512)
    upper = len(cut((n + 1) // 2, 64, 512))
    count = len(blocks)
    number = {
        tile: k for k, tile in enumerate((i, j) for j in range(count) for i in range(j, count))
    }
    result = []
    for i, j in number:
        pieces: list[tuple[float, tuple[int, ...]]] = []
        starts = [k for k in range(j) if k % 4 == 0 or k == upper]
        for first, end in itertools.pairwise([*starts, j]):
            work = blocks[i] * blocks[j] * sum(blocks[first:end]) / (2 if i == j else 1)
            pieces.append((work, (number[i, end - 1], number[j, end - 1])))
        if i == j:
            pieces.append((blocks[j] ** 3 / 6, ()))
        else:
            pieces.append((blocks[i] * blocks[j] ** 2 / 2, (number[j, j],)))
        result.append(Task(tuple(pieces)))
    return result


def products(n: int) -> list[Task]:
    """Return the parts of a product of a symmetric matrix with a few vectors."""
    count = len(halves(n, 64, 256))
    parts = min(16, count * (count + 1) // 2)
    return [Task.alone(n * n / parts)] * parts


def solves(n: int) -> list[Task]:
    """Return the blocks of a triangular solve, each of which needs all before it."""
    blocks = halves(n, 64, 256)
    return [
        Task(
            (
                *((rows * blocks[k], (k,)) for k in range(i)),
                (rows * rows / 2, ()),
            )
        )
        for i, rows in enumerate(blocks)
    ]


@dataclass(frozen=True)
class Workload:
    """What is run, and of what each function of the core that it calls is made.

    Attributes
    ----------
    run : callable
        Takes what to call with the progress.
    tasks : dict of str to list of lists of Task
        For each function of the core, its stages, one after the other.
    told : dict of str to int
        How many tasks the core tells of in a stage, which is checked.
    """

    name: str
    run: Callable[[Any], object]
    tasks: dict[str, list[list[Task]]]
    told: dict[str, int]


def workloads(n: int) -> list[Workload]:
    """Return the workloads for so many samples."""
    widths = [INPUTS, *[WIDTH] * DEPTH, 1]
    X = np.random.default_rng(0).standard_normal((n, INPUTS))
    net = fastntk.MLP(widths)  # in float64, which AMX units do not multiply
    K = np.asarray(fastntk.MLP([20, 256, 256, 1]).ntk(X[:, :20]))
    stages = {
        "symmetry": [pairs(n)],
        "scale_and_shift": [pairs(n)],
        "symmetric_product": [products(n)],
        "cholesky": [cholesky(n)],
        "cholesky_solve": [solves(n)] * 2,
    }

    def kernel(progress: Any) -> object:
        return net.ntk(X, progress=progress)

    def conditioning(progress: Any, *, bounds: bool) -> object:
        return fastntk.conditioning(K, bounds=bounds, method="cholesky", progress=progress)

    return [
        Workload(
            f"ntk, n {n}, d {INPUTS}, m {WIDTH}, L {DEPTH}, float64",
            kernel,
            {"ntk": [passes(n, widths), tiles(n, widths)]},
            {"features": len(passes(n, widths)), "tiles": len(tiles(n, widths))},
        ),
        *(
            Workload(
                f"conditioning, n {n}, bounds={bounds}",
                partial(conditioning, bounds=bounds),
                stages,
                {"cholesky": len(cholesky(n))},
            )
            for bounds in (False, True)
        ),
    ]


@contextmanager
def timed_core() -> Iterator[dict[str, float]]:
    """Yield the seconds spent in each function of the core."""
    seconds: dict[str, float] = defaultdict(float)
    functions = {
        name: function
        for name, function in vars(_core).items()
        if callable(function) and not isinstance(function, type)
    }

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **keywords: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*args, **keywords)
            finally:
                seconds[name] += time.perf_counter() - started

        return call

    try:
        for name, function in functions.items():
            setattr(_core, name, timed(name, function))
        yield seconds
    finally:
        for name, function in functions.items():
            setattr(_core, name, function)


def seconds_of(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def check_tasks(workload: Workload) -> None:
    """Raise AssertionError if the core cuts the work into other tasks than are counted here."""
    told: dict[str, int] = {}
    workload.run(lambda stage, _, total: told.__setitem__(stage, total))
    assert {stage: told.get(stage) for stage in workload.told} == workload.told, told


def measured(cases: Sequence[Workload], rounds: int) -> None:
    """Print what more threads gain, beside what they gain for a matrix multiplication."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    counts = [c for c in (1, 2, 4, 8, 16, 32, 64, 128) if c < (cores or 1)] + [cores or 1]
    a = np.asfortranarray(np.random.default_rng(0).standard_normal((2048, 2048)))
    runs: dict[str, Callable[[], object]] = {
        "GEMM, n 2048, float64": partial(blas.dgemm, 1.0, a, a)
    }
    runs |= {case.name: partial(case.run, False) for case in cases}
    times: dict[tuple[str, int], list[float]] = defaultdict(list)
    for _ in range(rounds):
        for count in counts:
            with threadpool_limits(count, user_api="blas"):
                for name, run in runs.items():
                    times[name, count].append(seconds_of(run))
    print("| seconds (and times as fast as on one) |", *(f"{c} |" for c in counts))
    print("| --- |", "--- |" * len(counts))
    for name in runs:
        medians = [statistics.median(times[name, count]) for count in counts]
        print(f"| {name} |", *(f"{t:.3g} ({medians[0] / t:.2f}) |" for t in medians))


def simulated(cases: Sequence[Workload], rounds: int) -> None:
    """Print how much faster 16 and 64 cores can be, and what share one of them works alone."""
    print(
        "\n| workload | cores | times as fast, at most | outside of the core |",
        "\n|" + " --- |" * 4,
    )
    with threadpool_limits(1, user_api="blas"):
        for case in cases:
            shares = []
            for _ in range(rounds):
                with timed_core() as inside:
                    total = seconds_of(partial(case.run, False))
                shares.append((sum(inside.values()) / total, dict(inside), total))
            _, inside, total = sorted(shares, key=lambda share: share[0])[len(shares) // 2]
            outside = total - sum(inside.values())
            for cores in (16, 64):
                spent = sum(
                    seconds * _slower(case.tasks.get(name, [[Task.alone(1.0)]]), cores)
                    for name, seconds in inside.items()
                )
                print(
                    f"| {case.name} | {cores} | {total / (outside + spent):.1f} "
                    f"| {outside / (outside + spent):.1%} |"
                )


def _slower(stages: Sequence[Sequence[Task]], cores: int) -> float:
    """Return the share of the time of one core that so many take."""
    return sum(makespan(tasks, cores) for tasks in stages) / sum(map(work_of, stages))


def main() -> None:
    """Check the counts, measure, and simulate."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("-n", type=int, default=SAMPLES, help="samples (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="of each timing (%(default)s)")
    arguments = parser.parse_args()
    cases = workloads(arguments.n)
    for case in cases:
        check_tasks(case)
    measured(cases, arguments.rounds)
    simulated(cases, arguments.rounds)


if __name__ == "__main__":
    main()
