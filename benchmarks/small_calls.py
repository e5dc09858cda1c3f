# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""What small calls spend beside their arithmetic: ``python -m benchmarks.small_calls``.

Each call takes turns with what it cannot do without, called directly: the core's own function, the
drawing of the weights. The rest is checks, conversions and Python. `conditioning` takes turns with
`scipy.linalg.eigvalsh` besides, at all sizes at which it has a way of its own. Times are those of
all processors together, the smallest of many, which a busy machine disturbs least;
OPENBLAS_NUM_THREADS=1 keeps threads of BLAS from waiting in a loop. With ``--wall``: times on the
clock, which count what is waited for, such as threads that begin.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.linalg import eigvalsh

import fastntk
import fastntk._core as _core
from fastntk.eigenvalues.source import random_vector
from fastntk.training.descent import Sgd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import numpy.typing as npt

WIDTHS = [10, 64, 64, 1]
SAMPLES = 20
SIZES = (10, 20, 50, 100, 200, 300, 500, 1000)

# Calls of a turn, for what takes less than a millisecond.
_REPEATS = 20


@dataclass(frozen=True)
class SmallCall:
    """A call, and its arithmetic."""

    name: str
    whole: Callable[[], object]
    arithmetic: Callable[[], object]
    steps: int = 1  # how often the arithmetic is that of the call


def small_calls() -> Iterator[SmallCall]:
    """Yield the calls that the table of speed has."""
    net = fastntk.MLP(WIDTHS)
    network = net.network
    X = np.random.default_rng(0).standard_normal((SAMPLES, WIDTHS[0]))
    yield SmallCall(f"`MLP({WIDTHS})`", lambda: fastntk.MLP(WIDTHS), drawn_weights)
    handle, one = network.handle(), np.empty((1, 1))
    yield SmallCall(
        "`net(x)`, 1 sample",
        lambda: net(X[:1]),
        lambda: _core.evaluate(handle, X[:1], one, 1, None),
    )
    out = np.empty((SAMPLES, SAMPLES))
    yield SmallCall(
        f"`net.ntk(X)`, {SAMPLES} samples",
        lambda: net.ntk(X),
        lambda: _core.ntk(handle, (0, 1), "none", X, None, [out], 1, None),
    )
    K = kernel(SAMPLES, "float64")
    start = random_vector(SAMPLES)
    for bounds in (False, True):
        yield SmallCall(
            f"`conditioning(K, bounds={bounds})`, {SAMPLES} samples",
            partial(fastntk.conditioning, K, bounds=bounds),
            partial(_core.few_rows_spectrum, K, 1, start, 3, bounds),
        )
    steps, y = 100, np.zeros((SAMPLES, 1))
    many = np.tile(np.arange(SAMPLES), steps)
    outcomes = np.empty((len(many), 2))
    sgd = Sgd(network.copy(), np.full((len(WIDTHS) - 1, 2), 1e-9), "mse", 0.0)
    yield SmallCall(
        f"`train`, one step of {SAMPLES} samples",
        lambda: fastntk.train(net, X, y, loss="mse", learning_rate=1e-3),
        lambda: sgd.step(X, y, many, SAMPLES, outcomes, None, measure_gradient=False),
        steps,
    )


def drawn_weights() -> list[npt.NDArray[np.float64]]:
    """Return the weights of `MLP(WIDTHS)`, a stream of numbers for each layer."""
    result = []
    for layer, (n_in, n_out) in enumerate(itertools.pairwise(WIDTHS), start=1):
        seed = np.random.SeedSequence(0, spawn_key=(layer, n_out, n_in, 0))
        stream = np.random.Generator(np.random.Philox(seed))
        result.append(stream.standard_normal((n_out, n_in)))
    return result


def kernel(n: int, dtype: str) -> npt.NDArray[Any]:
    """Return the kernel of n samples."""
    X = np.random.default_rng(0).standard_normal((n, 20)).astype(dtype)
    return np.asarray(fastntk.MLP([20, 256, 256, 1], dtype=dtype).ntk(X))


def least_times(
    ways: Mapping[str, Callable[[], object]],
    *,
    rounds: int,
    repeats: int,
    clock: Callable[[], float],
) -> dict[str, float]:
    """Return the shortest time of each, in µs; they take turns."""
    least = dict.fromkeys(ways, np.inf)
    for turn in range(rounds + 1):  # the first one warms up
        for name, way in ways.items():
            before = clock()
            for _ in range(repeats):
                way()
            took = clock() - before
            if turn > 0:
                least[name] = min(least[name], took / repeats * 1e6)
    return least


def overheads(rounds: int, clock: Callable[[], float]) -> Iterator[str]:
    """Yield the lines of the table of small calls."""
    yield "| call | µs | its arithmetic | the rest |"
    yield "|---|---|---|---|"
    for call in small_calls():
        ways = {"whole": call.whole, "arithmetic": call.arithmetic}
        found = least_times(ways, rounds=rounds, repeats=_REPEATS, clock=clock)
        whole, arithmetic = found["whole"], found["arithmetic"] / call.steps
        yield f"| {call.name} | {whole:.1f} | {arithmetic:.1f} | {whole - arithmetic:.1f} |"


def beside_eigvalsh(sizes: Sequence[int], rounds: int, clock: Callable[[], float]) -> Iterator[str]:
    """Yield the lines of the table of condition numbers."""
    yield "| n | precision | eigvalsh, µs | `conditioning` without bounds | with bounds |"
    yield "|---|---|---|---|---|"
    for dtype, n in itertools.product(("float64", "float32"), sizes):
        K = kernel(n, dtype)
        ways: dict[str, Callable[[], object]] = {
            "eigvalsh": partial(eigvalsh, K),
            "without": partial(fastntk.conditioning, K, bounds=False),
            "with": partial(fastntk.conditioning, K),
        }
        repeats = _REPEATS if n <= 100 else 1
        found = least_times(ways, rounds=rounds, repeats=repeats, clock=clock)
        peer = found["eigvalsh"]
        columns = [f"{found[way]:.0f} ({found[way] / peer:.2f} ×)" for way in ("without", "with")]
        yield f"| {n} | {dtype} | {peer:.0f} | {' | '.join(columns)} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    parser.add_argument("--wall", action="store_true", help="times on the clock")
    chosen = parser.parse_args(arguments)
    clock = time.perf_counter if chosen.wall else time.process_time
    for line in overheads(chosen.rounds, clock):
        print(line, flush=True)
    print()
    for line in beside_eigvalsh(chosen.sizes, chosen.rounds, clock):
        print(line, flush=True)


if __name__ == "__main__":
    main()
