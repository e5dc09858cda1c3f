# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Little memory, in steps: what does not fit is a MemoryError that says how much was wanted.

Each limit holds in a process of its own, a copy of one that has imported everything.
"""

from __future__ import annotations

import collections
import json
import re
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits the address space, and reads it from /proc"
)

# Forks a child for each limit, in MiB beyond what is in use, and prints how each ended.
PROGRAM = """
import json, os, resource, signal, sys
import numpy as np
import fastntk
from fastntk import infinite, layers

call, limits = sys.argv[1], json.loads(sys.argv[2])
n = int(sys.argv[3])
X = np.random.default_rng(0).standard_normal((n, 30))
y = X[:, 0] * X[:, 1]
net = fastntk.MLP([30, 128, 128, 1])
smooth = fastntk.MLP([30, 128, 128, 1], activation="gelu", dtype="float32")
block = layers.Residual([layers.LayerNorm(gain=True), layers.ReLU(), layers.Dense(128)])
described = fastntk.Network([layers.Dense(128), block, layers.Dense(1)], inputs=30).sample()
calls = {
    "finite": lambda X: net.ntk(X),
    "angle": lambda X: smooth.smallest_angle(X),
    "train": lambda X: fastntk.train(
        net, X, y[: len(X)], learning_rate=0.1, loss="mse", epochs=1, batch_size=20),
    "train layers": lambda X: fastntk.train(
        described, X, y[: len(X)], learning_rate=0.1, loss="mse", epochs=1, batch_size=20),
    "conditioning": lambda X: fastntk.conditioning(net.ntk(X)),
    "fit": lambda X: net.linearize().fit(X, y[: len(X)]).outputs(X[:5], time=1.0),
    "relu": lambda X: infinite.ntk(X, depth=3),
    "gelu": lambda X: infinite.ntk(X, depth=3, activation="gelu"),
    "tanh": lambda X: infinite.ntk(X[: len(X) // 3], depth=2, activation="tanh"),
    "predict": lambda X: infinite.predict(X, y[: len(X)], X[:5], depth=2),
}
calls[call](X[:40])  # whatever is compiled or imported at first
for limit in limits:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(120)
        used = int(open("/proc/self/statm").read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        bound = used + int(limit * 2**20)
        resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
        try:
            calls[call](X)
            answer = b"fine"
        except MemoryError as error:
            answer = b"MemoryError: " + str(error).encode()
        except BaseException as error:
            answer = type(error).__name__.encode() + b": " + str(error).encode()
        os.write(writing, answer[:1000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    _, status = os.waitpid(child, 0)
    print(json.dumps([limit, status, answer]), flush=True)
"""
CALLS = [
    "finite",
    "angle",
    "train",
    "train layers",
    "conditioning",
    "fit",
    "relu",
    "gelu",
    "tanh",
    "predict",
]


def ends(call: str, limits: list[float], n: int) -> dict[float, str]:
    """Return how a call for n samples ends under each limit of memory."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, call, json.dumps(limits), str(n)],
        capture_output=True,
        text=True,
        check=True,
        timeout=1200,
    )
    found = {}
    for limit, status, answer in map(json.loads, done.stdout.splitlines()):
        found[limit] = answer if status == 0 else f"ended with status {status}: {done.stderr}"
    assert list(found) == limits
    return found


def assert_clear(found: dict[float, str]) -> None:
    """A MemoryError with a size, or a result; and a result where there is enough memory."""
    bad = {
        limit: end
        for limit, end in found.items()
        if end != "fine" and not re.match(r"MemoryError: .*\d\.? (bytes|[KMG]iB)", end)
    }
    assert not bad
    kinds = collections.Counter(end.split(":")[0] for end in found.values())
    assert kinds["fine"] > 0
    assert kinds["MemoryError"] > 0


@pytest.mark.parametrize("call", ["finite", "relu"])
def test_a_few_limits(call: str) -> None:
    assert_clear(ends(call, [0.5, 4.0, 12.0, 60.0, 400.0], 1000))


@pytest.mark.long
@pytest.mark.parametrize("call", CALLS)
def test_many_limits(call: str) -> None:
    assert_clear(ends(call, [*np.arange(0.5, 100.0, 1.5).tolist(), 1000.0], 1000))
