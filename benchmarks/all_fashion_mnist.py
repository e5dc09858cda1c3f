# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""λ_min, λ_max, κ and the closest pair of all 60 000 training images of Fashion-MNIST.

``python -m benchmarks.all_fashion_mnist [DIRECTORY]``: depth 3, width 512, a float32 network with
Gram matrices in float64; needs 18 GB of memory and 14.4 GB in the directory (by default
``fastntk-kernel``). Stopped, it goes on from the last finished step. The log is added to
``gallery/all_fashion_mnist.log``.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path

import fastntk
from fastntk import info

LOG = Path(__file__).parent / "gallery" / "all_fashion_mnist.log"
_SECONDS_BETWEEN_LINES = 60.0


def main(directory: str = "fastntk-kernel", samples: int = 60_000, log: Path = LOG) -> None:
    started = time.monotonic()
    last = ("", -_SECONDS_BETWEEN_LINES)

    def say(text: str) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        line = f"{time.monotonic() - started:7.0f} s  {peak:5.1f} GiB  {text}"
        print(line, flush=True)
        with log.open("a", encoding="utf-8") as file:
            print(line, file=file)

    def progress(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if stage != last[0] or now - last[1] >= _SECONDS_BETWEEN_LINES:
            last = (stage, now)
            say(f"{stage} {done}/{total}")

    facts = dict(info.describe())
    say(f"fastntk {fastntk.__version__}, {os.cpu_count()} processors, {facts['instruction set']}")
    X = fastntk.datasets.load("fashion-mnist").X[:samples]
    net = fastntk.MLP([784, 512, 512, 512, 1], seed=0, dtype="float32")
    report = fastntk.kernel_report(net, X, directory, progress=progress)
    for line in str(report).splitlines():
        say(line)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "fastntk-kernel")
