# SPDX-FileCopyrightText: The fastntk authors
# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C and progress while a GPU computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from interrupts import assert_ctrl_c_stops

import fastntk
from fastntk import cuda

pytestmark = pytest.mark.usefixtures("runtime")

NET: Any = fastntk.MLP([5, 64, 64, 2], activation="tanh")
X = np.random.default_rng(0).standard_normal((200, 5))

PROGRAM = """
    import sys
    sys.path.append({folder!r})
    import on_host
    assert on_host.use() is not None
    import numpy as np
    import fastntk
    from fastntk import cuda
    net = fastntk.MLP([5, 64, 64, 2], activation="tanh")
    X = np.random.default_rng(0).standard_normal((20000, 5))
    y = np.arange(20000) % 2
    options = dict(batch_size=50, inplace=True, device="cuda")
    before = net.weights[0].copy()
    steps = []

    def progress(stage, done, total):
        if done > 0 and not steps:
            print("started", flush=True)
            steps.append(stage)

    try:
        with cuda.options(tile=32):
            {call}, progress=progress)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    print({then}, flush=True)
"""


@pytest.mark.parametrize(
    ("call", "then"),
    [
        ("net.ntk(X, device='cuda'", "'nothing'"),
        ("net.smallest_angle(X, device='cuda'", "'nothing'"),
        # The weights of the steps that were taken.
        (
            "fastntk.train(net, X, y, learning_rate=0.1, epochs=1000, **options",
            "'changed' if (net.weights[0] != before).any() else 'not changed'",
        ),
    ],
)
def test_ctrl_c(call: str, then: str) -> None:
    folder = str(Path(__file__).parents[1])
    after = "changed" if "train" in call else "nothing"
    assert_ctrl_c_stops(PROGRAM.format(folder=folder, call=call, then=then), after)


def test_progress() -> None:
    steps: list[tuple[str, int, int]] = []
    with cuda.options(tile=50):
        NET.ntk(X, device="cuda", progress=lambda *step: steps.append(step))
        assert steps[-1] == ("tiles", 10, 10)
        with pytest.raises(ZeroDivisionError):
            NET.ntk(X, device="cuda", progress=lambda *_: 1 // 0)
    history: list[Any] = []
    fastntk.train(
        NET, X, np.arange(200) % 2, learning_rate=0.1, epochs=2, batch_size=50, device="cuda",
        progress=lambda *step: history.append(step),
    )  # fmt: skip
    assert history[-1] == ("epoch 2 of 2", 8, 8)
