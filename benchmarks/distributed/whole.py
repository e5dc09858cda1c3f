# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""One kernel of many samples in float64, to zarr and back to κ, with a log."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import fastntk
from benchmarks.distributed.cluster import Watch, peaks, problem, workers
from fastntk import info
from fastntk.distributed.requirements import dask

if TYPE_CHECKING:
    import argparse

LOG = Path(__file__).parents[1] / "gallery" / "distributed.log"
_SECONDS_BETWEEN_LINES = 60.0


def run(given: argparse.Namespace) -> None:
    """Compute the kernel without keeping it, into a store, and κ from there."""
    folder = Path(given.whole)
    folder.mkdir(parents=True, exist_ok=True)
    net, X = problem(given)
    with (
        dask().config.set({"temporary-directory": str(folder)}),
        workers(given.workers[-1], given.memory, folder) as client,
    ):
        watch, last = Watch(), ("", 0.0)

        def say(text: str) -> None:
            most = " ".join(f"{peak:.2f}" for peak in peaks(client))
            line = f"{watch.seconds:7.0f} s  workers {most} GB  {text}"
            print(line, flush=True)
            with Path(given.log).open("a", encoding="utf-8") as file:
                print(line, file=file)

        def progress(stage: str, done: int, total: int) -> None:
            nonlocal last
            if stage != last[0] or watch.seconds - last[1] >= _SECONDS_BETWEEN_LINES:
                last = stage, watch.seconds
                say(f"{stage} {done}/{total}")

        facts = dict(info.describe())
        say(
            f"fastntk {fastntk.__version__}, {os.cpu_count()} processors, "
            f"{facts['instruction set']}; {given.workers[-1]} workers of {given.memory}"
        )
        say(f"{net!r}, n {given.n}, float64")
        began = watch.seconds
        compute_tiles(net, X, given.chunks)
        computed = watch.seconds - began
        say(f"the tiles, computed and not kept: {computed:.1f} s")
        began = watch.seconds
        stored = fastntk.distributed.store(
            folder / "K.zarr", net, X, chunks=given.chunks, dtype="float64", progress=progress
        )
        spent = watch.seconds - began
        say(f"{stored}")
        say(f"planned: {stored.plan}")
        say(f"into the store: {spent:.1f} s, {spent / computed:.3f} × computing them")
        began = watch.seconds
        error = net.astype("float64").feature_error
        result = fastntk.conditioning(stored.array(), feature_error=error, progress=progress)
        for line in str(result).splitlines():
            say(line)
        say(f"κ: {watch.seconds - began:.1f} s")


def compute_tiles(net: fastntk.MLP, X: Any, chunks: int | Literal["auto"]) -> None:
    """Compute the tiles that a store has written, one element of each of which comes here."""
    K = fastntk.distributed.ntk(net, X, chunks=chunks, dtype="float64")
    blocks = range(K.numblocks[0])
    pairs = itertools.combinations_with_replacement(blocks, 2)
    dask().compute(*[K.blocks[i, j][0, 0] for i, j in pairs])
